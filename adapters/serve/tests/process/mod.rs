//! Runs the program as a child process, with a plain client.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The runtimes that the program was built with.
pub(crate) const RUNTIMES: &[&str] =
    if cfg!(feature = "async-std") { &["tokio", "smol", "async-std"] } else { &["tokio", "smol"] };

/// Ends a wait that would never end. Long, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running program. Dropping it kills the process.
pub(crate) struct Program {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    pub(crate) addresses: Vec<String>,
}

/// How the program ended.
pub(crate) struct Finished {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Finished {
    Program { child: spawn(args, &[]), out: None, addresses: Vec::new() }.finish()
}

fn spawn(args: &[&str], envs: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(args)
        .env_remove("RUST_LOG")
        .envs(envs.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

impl Program {
    /// Starts the program and waits until it listens on that many addresses.
    pub(crate) fn start(args: &[&str], addresses: usize) -> Program {
        Program::start_with(args, addresses, &[])
    }

    pub(crate) fn start_with(args: &[&str], addresses: usize, envs: &[(&str, &str)]) -> Program {
        Program::start_as("http", args, addresses, envs)
    }

    /// Starts it with one address for TLS.
    #[cfg(unix)]
    pub(crate) fn start_over_tls(args: &[&str]) -> Program {
        Program::start_as("https", args, 1, &[])
    }

    fn start_as(scheme: &str, args: &[&str], addresses: usize, envs: &[(&str, &str)]) -> Program {
        let mut child = spawn(args, envs);
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut read = || {
            let mut line = String::new();
            out.read_line(&mut line).expect("a line");
            let address = line.strip_prefix("listening on ").and_then(|it| it.strip_suffix('\n'));
            let address = address.and_then(|it| it.strip_prefix(scheme)?.strip_prefix("://"));
            address.unwrap_or_else(|| panic!("instead of an address: {line:?}")).to_owned()
        };
        let addresses = (0..addresses).map(|_| read()).collect();
        Program { child, out: Some(out), addresses }
    }

    pub(crate) fn address(&self) -> &str {
        &self.addresses[0]
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is running");
    }

    /// The JSON of `GET /status`.
    pub(crate) fn status(&self) -> Value {
        let answer = get(self.address(), "/status");
        let (head, json) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains("content-type: application/json"), "{head}");
        serde_json::from_str(json).expect("JSON")
    }

    /// The number of its threads whose names begin with `prefix`.
    #[cfg(target_os = "linux")]
    pub(crate) fn threads(&self, prefix: &str) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let names = tasks.expect("it runs").filter_map(|task| {
            // A thread may have ended meanwhile.
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
        });
        names.filter(|name| name.starts_with(prefix)).count()
    }

    /// Waits until a connection is in the given phase.
    pub(crate) fn wait_for_phase(&self, phase: &str) {
        wait(|| self.status()["phases"][phase].as_u64().is_some_and(|count| count > 0));
    }

    /// Waits until the program refuses connections.
    pub(crate) fn wait_until_refused(&self) {
        wait(|| TcpStream::connect(self.address()).is_err());
    }

    /// Closes the pipes that the program prints to.
    pub(crate) fn stop_reading(&mut self) {
        self.out = None;
        self.child.stderr = None;
    }

    /// Waits until the process ends.
    pub(crate) fn finish(&mut self) -> Finished {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                break status;
            }
            assert!(Instant::now() < deadline, "the program is still running");
            thread::sleep(Duration::from_millis(5));
        };
        let (mut out, mut err) = (String::new(), String::new());
        if let Some(rest) = &mut self.out {
            rest.read_to_string(&mut out).expect("text");
        } else if let Some(all) = &mut self.child.stdout {
            all.read_to_string(&mut out).expect("text");
        }
        if let Some(all) = &mut self.child.stderr {
            all.read_to_string(&mut err).expect("text");
        }
        Finished { code: status.code(), out, err }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `done` returns true.
pub(crate) fn wait(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "the condition is still false");
        thread::sleep(Duration::from_millis(5));
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// Sends a GET and returns the whole answer as text.
pub(crate) fn get(address: &str, target: &str) -> String {
    let mut stream = connect(address);
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
