//! Measures the memory of idle connections or websockets: a server's resident memory before and
//! after many of them.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::blocking::Connection;
use super::reader::Reader;
use super::{BadAnswer, LoadError, Request, Transport};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the server's memory may take to settle, and the interval at which it is read.
const SETTLING: Duration = Duration::from_secs(3);
const REST: Duration = Duration::from_millis(100);

/// The order in which connections arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// One after the other: each gets its answer before the next one connects.
    InTurn,
    /// All connect, then (with TLS) all begin a handshake, then all send a request, then all read
    /// their answers. Websockets are all opened first.
    AtOnce,
}

/// Connections held open, and the server's memory.
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

/// Opens `count` connections to the process `pid`, sends `request` on each, leaves them idle and
/// measures. They stay open until the result is dropped.
pub fn hold(
    address: SocketAddr,
    pid: u32,
    count: usize,
    transport: &Transport,
    request: &Request,
    arrival: Arrival,
) -> Result<Idle, LoadError> {
    let before = resident(pid)?;
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = Connection::open(address, transport, PATIENCE)?;
        if arrival == Arrival::InTurn {
            let mut reader = open(&mut stream, request)?;
            stream.write_all(request.head())?;
            read_answer(&mut stream, &mut reader)?;
        }
        connections.push(stream);
    }
    if arrival == Arrival::AtOnce {
        for stream in &mut connections {
            stream.greet()?;
        }
        let open = |stream| open(stream, request);
        let mut readers = connections.iter_mut().map(open).collect::<Result<Vec<_>, _>>()?;
        for stream in &mut connections {
            stream.write_all(request.head())?;
        }
        for (stream, reader) in connections.iter_mut().zip(&mut readers) {
            read_answer(stream, reader)?;
        }
    }
    let after = settled(pid)?;
    for stream in &mut connections {
        check_open(stream)?;
    }
    Ok(Idle { connections, before, after })
}

/// Opens a websocket, if `request` is a message.
fn open(stream: &mut Connection, request: &Request) -> Result<Reader, LoadError> {
    let mut reader = Reader::new(request, None);
    stream.write_all(request.opening())?;
    while !reader.is_open() {
        if read(stream, &mut reader)? {
            return Err(BadAnswer::Excess.into());
        }
    }
    Ok(reader)
}

fn read_answer(stream: &mut Connection, reader: &mut Reader) -> Result<(), LoadError> {
    while !read(stream, reader)? {}
    Ok(())
}

/// Reads once; true if an answer ended and nothing followed it.
fn read(stream: &mut Connection, reader: &mut Reader) -> Result<bool, LoadError> {
    let mut buffer = [0; 4 << 10];
    let count = stream.read(&mut buffer)?;
    let mut bytes = &buffer[..count];
    if bytes.is_empty() {
        return Err(LoadError::Cut(1));
    }
    while !bytes.is_empty() {
        let step = reader.step(bytes)?;
        bytes = &bytes[step.used..];
        match step.end {
            Some(_) if bytes.is_empty() => return Ok(true),
            Some(_) => return Err(BadAnswer::Excess.into()),
            None => {}
        }
    }
    Ok(false)
}

/// Fails if the server has closed the connection: closed connections would make the rest look
/// cheap.
fn check_open(stream: &mut Connection) -> Result<(), LoadError> {
    match stream.is_quiet() {
        Ok(true) => Ok(()),
        Ok(false) => Err(BadAnswer::Excess.into()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(LoadError::Cut(0)),
        Err(error) => Err(error.into()),
    }
}

/// The resident memory once it stops changing, or after `SETTLING`.
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
