//! One of the compared servers, as a child process of this program.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_tests::cores;
use portcullis_tests::load::Transport;
use portcullis_tests::load::blocking::Connection;
use portcullis_tests::reference::{HELLO, Stack, bytes_target};
#[cfg(unix)]
use portcullis_tests::reference::{nginx_directory, nginx_listens};

use crate::case::Field;

/// How long a server may take for one answer of the check.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than any answer of the check has.
const ANSWER_LIMIT: u64 = 1 << 20;

/// A server that runs until this is dropped.
pub(crate) struct Server {
    stack: Stack,
    transport: Transport,
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a server on its core and waits until it listens.
    pub(crate) fn start(
        stack: Stack,
        transport: &Transport,
        core: Option<usize>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg(stack.to_string());
        if matches!(transport, Transport::Tls(_)) {
            command.arg("--tls");
        }
        if let Some(core) = core {
            command.arg("--core").arg(core.to_string());
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let address = listening(&mut child)
            .and_then(|address| await_nginx(stack, &mut child).map(|()| address));
        match address {
            Ok(address) => Ok(Self { stack, transport: transport.clone(), child, address }),
            Err(error) => {
                end(&mut child);
                Err(format!("{stack} does not start: {error}").into())
            }
        }
    }

    pub(crate) fn stack(&self) -> Stack {
        self.stack
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time that the server has used so far.
    pub(crate) fn time_used(&self) -> Option<Duration> {
        cores::time_used(self.child.id())
    }

    /// Checks the answer of each route, since comparing wrong answers would mean nothing.
    /// Websockets need no check: the load compares every message. Over HTTP/2 it compares lengths.
    pub(crate) fn check(&self, field: Field) -> Result<(), Box<dyn Error>> {
        if matches!(field, Field::WebSocket | Field::Http2) {
            return Ok(());
        }
        let count = 100_001;
        let target = bytes_target(count as u64);
        let (upload, length) = ("y".repeat(count), count.to_string());
        let cases: [(&str, &str, &str, &[u8]); 3] = [
            ("GET", "/hello", "", HELLO.as_bytes()),
            ("GET", &target, "", &vec![b'x'; count]),
            ("POST", "/sink", &upload, length.as_bytes()),
        ];
        for (method, target, body, expected) in cases {
            if self.ask(method, target, body)? != expected {
                return Err(format!("{method} {target} has a wrong answer").into());
            }
        }
        Ok(())
    }

    /// The body of one answer with status 200.
    fn ask(&self, method: &str, target: &str, body: &str) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut stream = Connection::open(self.address, &self.transport, PATIENCE)?;
        let length = body.len();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        stream.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        match end {
            Some(end) if answer.starts_with(b"HTTP/1.1 200 ") => Ok(answer.split_off(end + 4)),
            _ => Err(format!("{method} {target} is not answered with 200").into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
        #[cfg(unix)]
        if matches!(self.stack, Stack::Nginx | Stack::NginxH2) {
            // What is left is temporary, so errors are ignored.
            drop(std::fs::remove_dir_all(nginx_directory(self.child.id())));
        }
    }
}

/// Reads the server's address from its first line.
fn listening(child: &mut Child) -> Result<SocketAddr, Box<dyn Error>> {
    let output = child.stdout.take().ok_or("its output is not captured")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let line = line.trim_end();
    let address = line
        .strip_prefix("listening on http://")
        .or_else(|| line.strip_prefix("listening on https://"));
    Ok(address.ok_or("its first line has no address")?.parse()?)
}

/// Waits until nginx listens, which the other servers do when they print their address.
fn await_nginx(stack: Stack, child: &mut Child) -> Result<(), Box<dyn Error>> {
    #[cfg(unix)]
    if matches!(stack, Stack::Nginx | Stack::NginxH2) {
        let start = Instant::now();
        while !nginx_listens(child.id()) {
            if let Some(status) = child.try_wait()? {
                return Err(format!("it ended with {status}").into());
            }
            if start.elapsed() > PATIENCE {
                return Err("it does not listen".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// Ends a child. It may have ended by itself, so errors are ignored.
fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}
