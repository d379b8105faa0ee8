//! What an idle connection costs a server: its resident memory before and after many of them.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::answer::Answers;
use super::blocking::Connection;
use super::{BadAnswer, LoadError, Request, Transport};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the server may take to come to rest, and how long it must stay there.
const SETTLING: Duration = Duration::from_secs(3);
const REST: Duration = Duration::from_millis(100);

/// How the connections come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// One after the other: each has its answer before the next one comes.
    InTurn,
    /// All connect, then (with TLS) all begin a handshake, then all ask, then all read their answers.
    AtOnce,
}

/// Connections held open, and what that did to the server.
#[derive(Debug)]
pub struct Idle {
    connections: Vec<Connection>,
    before: u64,
    after: u64,
}

impl Idle {
    /// Resident bytes of the server before the first connection.
    pub fn before(&self) -> u64 {
        self.before
    }

    /// Resident bytes of the server with all connections idle.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// Resident bytes that each connection added.
    pub fn each(&self) -> f64 {
        (self.after as f64 - self.before as f64) / self.connections.len().max(1) as f64
    }
}

/// Opens so many connections to the process `pid`, has one request answered on each, leaves them
/// idle and measures. They stay open until the result is dropped.
pub fn hold(
    address: SocketAddr,
    pid: u32,
    count: usize,
    transport: &Transport,
    arrival: Arrival,
) -> Result<Idle, LoadError> {
    let request = Request::get("/hello");
    let before = resident(pid)?;
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = Connection::open(address, transport, PATIENCE)?;
        if arrival == Arrival::InTurn {
            ask(&mut stream, &request)?;
        }
        connections.push(stream);
    }
    if arrival == Arrival::AtOnce {
        for stream in &mut connections {
            stream.greet()?;
        }
        for stream in &mut connections {
            stream.write_all(request.head())?;
        }
        for stream in &mut connections {
            read_answer(stream)?;
        }
    }
    let after = settled(pid)?;
    for stream in &mut connections {
        check_open(stream)?;
    }
    Ok(Idle { connections, before, after })
}

fn ask(stream: &mut Connection, request: &Request) -> Result<(), LoadError> {
    stream.write_all(request.head())?;
    read_answer(stream)
}

fn read_answer(stream: &mut Connection) -> Result<(), LoadError> {
    let mut answers = Answers::new(None);
    let mut buffer = [0; 4 << 10];
    loop {
        let count = stream.read(&mut buffer)?;
        let mut bytes = &buffer[..count];
        if bytes.is_empty() {
            return Err(LoadError::Cut(1));
        }
        while !bytes.is_empty() {
            let step = answers.step(bytes)?;
            bytes = &bytes[step.used..];
            match step.end {
                Some(_) if bytes.is_empty() => return Ok(()),
                Some(_) => return Err(BadAnswer::Excess.into()),
                None => {}
            }
        }
    }
}

/// A connection that the server has closed meanwhile would make the rest look cheap.
fn check_open(stream: &mut Connection) -> Result<(), LoadError> {
    match stream.is_quiet() {
        Ok(true) => Ok(()),
        Ok(false) => Err(BadAnswer::Excess.into()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(LoadError::Cut(0)),
        Err(error) => Err(error.into()),
    }
}

/// The resident memory once it no longer changes.
fn settled(pid: u32) -> io::Result<u64> {
    let start = Instant::now();
    let mut last = resident(pid)?;
    loop {
        thread::sleep(REST);
        let now = resident(pid)?;
        if now == last || start.elapsed() > SETTLING {
            return Ok(now);
        }
        last = now;
    }
}

/// `VmRSS` of a process, in bytes.
pub fn resident(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .and_then(|value| value.parse::<u64>().ok());
    let missing = || io::Error::new(ErrorKind::InvalidData, "no VmRSS in the process's status");
    kibibytes.map(|count| count << 10).ok_or_else(missing)
}
