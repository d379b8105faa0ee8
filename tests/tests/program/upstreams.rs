//! Servers behind the program, for tests of `--proxy`: Flask on Hypercorn, Node, and threads that speak as a test
//! wants.

use crate::place::Place;
use crate::support::{PATIENCE, Program};
use portcullis_testing::{needs, skip};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

/// The program before the server at `upstream`.
pub(crate) fn before(place: Place, upstream: &str, settings: &[&str], args: &[&str]) -> Program {
    start(place, upstream, settings, args, None)
}

/// The same with everything logged to a file.
pub(crate) fn before_with_log(
    place: Place,
    upstream: &str,
    settings: &[&str],
    args: &[&str],
    log: File,
) -> Program {
    start(place, upstream, settings, args, Some(log))
}

fn start(
    place: Place,
    upstream: &str,
    settings: &[&str],
    args: &[&str],
    log: Option<File>,
) -> Program {
    let args = [&["--proxy", upstream][..], args].concat();
    Program::with_args(place, settings, &args, log)
}

/// A server that handles its connections one after the other.
pub(crate) fn server(mut handle: impl FnMut(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
            handle(stream);
        }
    });
    format!("http://{address}")
}

/// Reads a head. Empty at the end of the stream.
pub(crate) fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// A server of another make, as a process.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/peers").join(name)
}

pub(crate) fn node() -> Option<Process> {
    if !needs("node", "apt-get install nodejs") {
        return None;
    }
    let mut command = Command::new("node");
    let mut child =
        command.arg(file("upstream.mjs")).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("it prints its address");
    let url = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
    Some(Process { child, url })
}

/// Flask on Hypercorn. The system's Python is asked first: Debian's packages are for that one only.
#[track_caller]
pub(crate) fn flask() -> Option<Process> {
    let has_both = |python: &&str| {
        let output = Command::new(python).args(["-c", "import flask, hypercorn"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(python) = ["/usr/bin/python3", "python3"].into_iter().find(has_both) else {
        skip(
            "Flask or Hypercorn is missing; to install them: apt-get install python3-flask python3-hypercorn",
        );
        return None;
    };
    let mut command = Command::new(python);
    command.args(["-m", "hypercorn", "--bind", "127.0.0.1:0", "flask_app:application"]);
    command.current_dir(file("")).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let url = loop {
        let line = lines.next().expect("it prints its address").expect("text");
        if let Some((_, rest)) = line.split_once("Running on ") {
            break rest.split(' ').next().expect("an address").to_owned();
        }
    };
    // It must not wait for room to log.
    thread::spawn(move || lines.for_each(drop));
    Some(Process { child, url })
}
