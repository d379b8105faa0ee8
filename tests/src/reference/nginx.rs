//! One nginx process with the same answers, except for `/sink`: nginx does not read a body that nobody wants.
//!
//! This process becomes nginx, so that its id, its core and its processor time are those of the server. nginx
//! can't report a port that it picked, so it gets one that was free just before.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::content::{BLOCK, HELLO, bytes_target};
use super::tls::PemCertificate;

/// The lengths that `/bytes/N` has.
const FILES: [u64; 3] = [100_001, 1_000_000, 1 << 20];

/// Whether nginx can be run.
pub fn has_nginx() -> bool {
    let version =
        Command::new("nginx").arg("-v").stdin(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// The files of the nginx process `pid`. They stay when it ends.
pub fn nginx_directory(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("portcullis-nginx-{pid}"))
}

/// Whether the nginx process `pid` listens: it writes its id to a file then.
pub fn nginx_listens(pid: u32) -> bool {
    fs::metadata(nginx_directory(pid).join("nginx.pid")).is_ok_and(|file| file.len() > 0)
}

/// Becomes nginx. Returns only if that fails.
pub(super) fn serve(listener: TcpListener, tls: bool, http2: bool) -> io::Result<()> {
    let directory = nginx_directory(std::process::id());
    // Fails if it is there: the files of an older process would mislead.
    fs::create_dir(&directory)?;
    fs::create_dir(directory.join("bytes"))?;
    for length in FILES {
        let file = directory.join(bytes_target(length).trim_start_matches('/'));
        fs::write(file, vec![BLOCK[0]; length as usize])?;
    }
    if tls {
        let PemCertificate { chain, key } = PemCertificate::new()?;
        fs::write(directory.join("certificate.pem"), chain)?;
        fs::write(directory.join("key.pem"), key)?;
    }
    let configuration = directory.join("nginx.conf");
    fs::write(&configuration, configure(&directory, listener.local_addr()?, tls, http2))?;
    // Its port is free again for nginx.
    drop(listener);
    let log = directory.join("error.log");
    let error = Command::new("nginx")
        .arg("-p")
        .arg(&directory)
        .arg("-c")
        .arg(&configuration)
        .arg("-e")
        .arg(&log)
        .exec();
    Err(io::Error::new(error.kind(), format!("nginx cannot be run: {error}")))
}

/// The configuration, without that of the machine.
fn configure(directory: &Path, address: SocketAddr, tls: bool, http2: bool) -> String {
    let options = match (tls, http2) {
        (false, false) => "",
        (false, true) => " http2",
        (true, false) => " ssl",
        (true, true) => " ssl http2",
    };
    let certificate = if tls {
        "ssl_certificate certificate.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.3;"
    } else {
        ""
    };
    let directory = directory.display();
    format!(
        "daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_timeout 60s;
    keepalive_requests 1000000000;
    sendfile on;
    server {{
        listen {address}{options};
        {certificate}
        root {directory};
        default_type text/plain;
        location = /hello {{ return 200 \"{HELLO}\"; }}
    }}
}}
"
    )
}
