//! The program behind nginx and HAProxy, with the configurations in the README.

use crate::place::{Place, tests};
use crate::support::{PATIENCE, Program};
use portcullis_testing::needs;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

tests! {
    plaintext:
        posts_through_nginx_at_many_intervals_are_all_answered,
        websockets_and_content_pass_through_nginx,
        haproxy_health_checks_succeed;
}

const README: &str = include_str!("../../../README.md");

/// A proxy in front of the program, and the folder of its files.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the machine has this proxy. If not, reports the test as skipped, or fails if every test
/// must run.
pub(crate) fn has(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    if folders.into_iter().any(|folder| folder.join(name).is_file()) {
        return true;
    }
    needs(name, &format!("apt-get install {name}"))
}

/// The README's configuration for this proxy, with these two addresses.
fn configuration(language: &str, address: SocketAddr, program: SocketAddr) -> String {
    let begin = format!("```{language}\n");
    let block = README.split(&begin).nth(1).and_then(|rest| rest.split("```").next());
    let block = block.expect("a configuration in the README");
    let mut replaced = block.to_owned();
    let told = if language == "nginx" { "listen 80;" } else { "bind :80" };
    let keyword = told.split(' ').next().unwrap_or_default();
    let end = if told.ends_with(';') { ";" } else { "" };
    for (from, to) in [
        (told, format!("{keyword} {address}{end}")),
        ("127.0.0.1:8080", program.to_string()),
        (" check\n", " check inter 100ms\n".to_owned()),
    ] {
        assert!(language == "nginx" || replaced.contains(from), "{from}");
        replaced = replaced.replace(from, &to);
    }
    replaced
}

/// Starts a proxy on a free port. It cannot report a port that it picked itself, so it is given
/// one. Another process may take that port first, so this tries several.
fn start(prepare: impl Fn(&Path, SocketAddr) -> Command) -> Proxy {
    for _ in 0..10 {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let address = free.expect("a free port");
        let folder = TempDir::new().expect("a folder");
        let mut command = prepare(folder.path(), address);
        let mut child = command.stderr(Stdio::null()).spawn().expect("the proxy starts");
        let begun = Instant::now();
        while child.try_wait().expect("it is a child").is_none() {
            if TcpStream::connect(address).is_ok() {
                return Proxy { child, address, folder };
            }
            assert!(begun.elapsed() < PATIENCE, "the proxy runs but does not listen");
            thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("the proxy does not start");
}

pub(crate) fn nginx(program: SocketAddr) -> Proxy {
    start(|folder, address| {
        let place = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {place}/{name};\n"))
            .concat();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {place}/nginx.pid;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{}}}\n",
            configuration("nginx", address, program)
        );
        let (file, log) = (folder.join("nginx.conf"), folder.join("error.log"));
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder).arg("-c").arg(file).arg("-e").arg(log);
        command.env("PATH", path());
        command
    })
}

fn haproxy(program: SocketAddr) -> Proxy {
    haproxy_with(|address| configuration("haproxy", address, program))
}

/// HAProxy with a configuration for its address.
pub(crate) fn haproxy_with(configuration: impl Fn(SocketAddr) -> String) -> Proxy {
    start(|folder, address| {
        let text = format!(
            "global\nstats socket {}/stats mode 600\n{}",
            folder.display(),
            configuration(address)
        );
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file).env("PATH", path()).stdout(Stdio::null());
        command
    })
}

/// Debian installs them where only root's PATH looks.
fn path() -> String {
    format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Sends a POST through the proxy on a new connection and returns the answer's status line.
fn post(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let head = "POST /sink HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 7\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(b"content").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

fn posts_through_nginx_at_many_intervals_are_all_answered(place: Place) {
    if !has("nginx") {
        return;
    }
    let program = Program::with_profile(place, "proxied");
    let proxy = nginx(program.address);
    // Each pause is about as long as nginx's default keeps an idle connection, or much shorter.
    let rhythms = [0, 1, 30, 250, 4990, 5000, 5000, 5010].map(Duration::from_millis);
    thread::scope(|scope| {
        for pause in rhythms {
            let address = proxy.address;
            scope.spawn(move || {
                let count = if pause < Duration::from_secs(1) { 20 } else { 3 };
                for number in 0..count {
                    if number > 0 {
                        thread::sleep(pause);
                    }
                    assert_eq!(post(address), "HTTP/1.1 200 OK", "{number} after {pause:?}");
                }
            });
        }
    });
    // nginx reuses its connections: it opens about as many as there are requests at once.
    let status = program.status();
    let (accepted, requests) = (status["accepted"].as_u64(), status["requests"].as_u64());
    assert!(accepted.zip(requests).is_some_and(|(some, all)| some < all / 3), "{status:#}");
}

fn websockets_and_content_pass_through_nginx(place: Place) {
    if !has("nginx") {
        return;
    }
    let program = Program::with_profile(place, "proxied");
    let proxy = nginx(program.address);
    let stream = TcpStream::connect(proxy.address).expect("it listens");
    let url = format!("ws://{}/ws", proxy.address);
    let (mut websocket, _) = tungstenite::client(url, stream).expect("a websocket");
    websocket.send("hello".into()).expect("sent");
    assert_eq!(websocket.read().expect("a message"), "hello".into());
    drop(websocket);
    let mut stream = TcpStream::connect(proxy.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let head = "GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    assert_eq!(answer.len() - head, 3_000_000);
}

fn haproxy_health_checks_succeed(place: Place) {
    if !has("haproxy") {
        return;
    }
    let program = Program::with_profile(place, "proxied");
    let proxy = haproxy(program.address);
    wait_until_up(&proxy, "204");
    assert_eq!(post(proxy.address), "HTTP/1.1 200 OK");
}

/// Waits until HAProxy's check of the program was answered with this status.
pub(crate) fn wait_until_up(proxy: &Proxy, code: &str) {
    wait_until_checked(proxy, "UP", code);
}

/// The same; HAProxy then takes the program for `status`, UP or DOWN.
pub(crate) fn wait_until_checked(proxy: &Proxy, status: &str, code: &str) {
    let begun = Instant::now();
    // Before its first check, HAProxy reports a server as up, without the code of an answer. On a busy machine a
    // check may come too late, and others follow.
    let is_so = |server: &HashMap<String, String>| {
        server["status"] == status
            && server["check_status"].starts_with("L7")
            && server["check_code"] == code
    };
    loop {
        let server = server(proxy);
        if server.as_ref().is_some_and(is_so) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{server:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// HAProxy's statistics about the program; `None` before it has begun to tell them.
fn server(proxy: &Proxy) -> Option<HashMap<String, String>> {
    let mut stats = UnixStream::connect(proxy.folder.path().join("stats")).ok()?;
    stats.write_all(b"show stat\n").expect("sent");
    let mut table = String::new();
    stats.read_to_string(&mut table).expect("a table");
    let row = table.lines().find(|line| line.starts_with("app,one,")).expect("the server");
    let names = table.trim_start_matches("# ").lines().next().expect("a line of names");
    Some(names.split(',').map(str::to_owned).zip(row.split(',').map(str::to_owned)).collect())
}
