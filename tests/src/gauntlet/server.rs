//! The attacked server: the program as a child process, or any server on this machine.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::Failure;
use super::attack::{Attack, Place};
use crate::cores;
use crate::load::idle::resident;

/// The files of the large directory of row 67.
const FILES: usize = 10_000;

/// Builds the program with all runtimes, and returns its path.
pub fn build(release: bool) -> Result<PathBuf, Failure> {
    let build = escargot::CargoBuild::new()
        .package("portcullis-serve")
        .bin("portcullis")
        .features("async-std");
    let build = if release { build.release() } else { build };
    let build = build.run().map_err(|error| format!("the program cannot be built: {error}"))?;
    Ok(build.path().to_owned())
}

/// The settings that a program has, as its help lists them.
pub fn program_settings(program: &Path) -> Result<HashSet<String>, Failure> {
    let output = Command::new(program).arg("--help").output();
    let output = output.map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = help.lines().filter_map(|line| line.strip_prefix("  "));
    let names = names.filter_map(|line| line.split_once(": "));
    Ok(names.map(|(name, _)| name.to_owned()).collect())
}

/// Lets this process, and those that it starts, open as many files as it may. Returns that number.
pub fn raise_descriptor_limit() -> Result<u64, Failure> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|error| format!("the limit of descriptors is unknown: {error}"))?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
        .map_err(|error| format!("the limit of descriptors cannot be raised to {most}: {error}"))?;
    Ok(most)
}

/// What is attacked.
#[derive(Clone, Debug)]
pub enum Target {
    /// This program, started anew for each attack.
    Program(PathBuf),
    /// A server that runs already.
    Other {
        /// Where it listens.
        address: SocketAddr,
        /// Its processes; found by its address if there are none here.
        pids: Vec<u32>,
    },
}

/// A server during one attack.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// Its processes. Empty if they are unknown.
    pub(super) pids: Vec<u32>,
    /// The path that the healthy client asks for.
    pub(super) path: &'static str,
    child: Option<Child>,
    _folder: Option<TempDir>,
}

impl Server {
    pub(super) fn start(target: &Target, attack: &Attack, place: Place) -> Result<Self, Failure> {
        match target {
            Target::Program(program) => Self::program(program, attack, place),
            Target::Other { address, pids } => {
                let pids = if pids.is_empty() { listeners(*address) } else { pids.clone() };
                let (child, folder) = (None, None);
                Ok(Self { address: *address, pids, path: "/hello", child, _folder: folder })
            }
        }
    }

    fn program(program: &Path, attack: &Attack, place: Place) -> Result<Self, Failure> {
        let mut command = match attack.descriptors {
            None => Command::new(program),
            Some(count) => {
                let mut command = Command::new("sh");
                let script = format!("ulimit -n {count}; exec \"$0\" \"$@\"");
                command.args(["-c", &script]).arg(program);
                command
            }
        };
        command.args(["--listen", "127.0.0.1:0", "--runtime", &place.runtime.to_string()]);
        if place.tls {
            command.arg("--tls-self-signed");
        }
        for setting in attack.settings {
            command.args(["--set", setting]);
        }
        let folder = attack.files.then(folder).transpose()?;
        if let Some(folder) = &folder {
            command.arg("--root").arg(folder.path());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn();
        let mut child =
            child.map_err(|error| format!("{} does not start: {error}", program.display()))?;
        match listening(&mut child) {
            Ok(address) => Ok(Self {
                address,
                pids: vec![child.id()],
                path: if folder.is_some() { "/hello.txt" } else { "/hello" },
                child: Some(child),
                _folder: folder,
            }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Resident bytes of all its processes together.
    pub(super) fn memory(&self) -> Option<u64> {
        let each = self.pids.iter().map(|pid| resident(*pid).ok());
        each.sum::<Option<u64>>().filter(|sum| *sum > 0)
    }

    /// Open descriptors of all its processes together.
    pub(super) fn descriptors(&self) -> Option<usize> {
        let count = |pid: &u32| Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count());
        let each = self.pids.iter().map(count);
        each.sum::<Option<usize>>().filter(|sum| *sum > 0)
    }

    /// The processor time that it has used.
    pub(super) fn time_used(&self) -> Option<Duration> {
        let each = self.pids.iter().map(|pid| cores::time_used(*pid));
        each.sum::<Option<Duration>>().filter(|sum| !sum.is_zero())
    }

    /// Whether its process still runs; unknown counts as running.
    pub(super) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
    }
}

/// Ends a child. It may have ended by itself, so errors are ignored.
fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

/// Reads the server's address from its first line.
fn listening(child: &mut Child) -> Result<SocketAddr, Failure> {
    let output = child.stdout.take().ok_or("the program's output is not captured")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let url = line.trim().strip_prefix("listening on ").and_then(|url| url.split_once("://"));
    let (_, address) = url.ok_or("the program printed no address; its settings may be wrong")?;
    Ok(address.parse()?)
}

/// A folder with a small file, and a directory of many.
fn folder() -> Result<TempDir, Failure> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("hello.txt"), "Hello, world!")?;
    let many = folder.path().join("many");
    fs::create_dir(&many)?;
    for number in 0..FILES {
        fs::write(many.join(format!("file-{number}")), "")?;
    }
    Ok(folder)
}

/// Stops a process, or lets it go on.
pub(super) fn signal(pids: &[u32], signal: Signal) -> Result<(), Failure> {
    for pid in pids {
        kill(Pid::from_raw(i32::try_from(*pid)?), signal)
            .map_err(|error| format!("process {pid} cannot be sent {signal}: {error}"))?;
    }
    Ok(())
}

/// The fields of one line of the kernel's table of TCP sockets.
pub(super) fn sockets() -> Result<Vec<Vec<String>>, Failure> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    Ok(table.lines().skip(1).map(words).collect())
}

/// Connections of the kernel's table that a process still holds, and when they were read.
type Held = (Instant, HashSet<(u16, SocketAddrV4)>);

/// How old the kernel's table may be. Reading it costs time with thousands of sockets.
const HELD_AGE: Duration = Duration::from_millis(300);

/// Whether the server at `port` still holds the connection of a client that connected at `since`. A
/// client that reads slowly sees the end only once it has read all that its own system buffers.
pub(super) fn holds(port: u16, client: SocketAddrV4, since: Instant) -> bool {
    static HELD: Mutex<Option<Held>> = Mutex::new(None);
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if held.as_ref().is_none_or(|(read, _)| read.elapsed() > HELD_AGE) {
        let now = Instant::now();
        let lines = sockets().unwrap_or_default();
        // ESTABLISHED, SYN_RECV and CLOSE_WAIT. In the other states the process has closed.
        let open = lines.iter().filter(|line| ["01", "03", "08"].contains(&line[3].as_str()));
        let pairs = open.filter_map(|line| Some((address(&line[1])?.port(), address(&line[2])?)));
        *held = Some((now, pairs.collect()));
    }
    held.as_ref().is_none_or(|(read, pairs)| *read <= since || pairs.contains(&(port, client)))
}

/// An address as the kernel's table writes it, such as `0100007F:1F90`.
fn address(text: &str) -> Option<SocketAddrV4> {
    let (host, port) = text.split_once(':')?;
    let host = u32::from_str_radix(host, 16).ok()?.to_le_bytes();
    Some(SocketAddrV4::new(host.into(), u16::from_str_radix(port, 16).ok()?))
}

/// The processes that listen at an address. Empty if they can't be found.
fn listeners(address: SocketAddr) -> Vec<u32> {
    let port = format!(":{:04X}", address.port());
    let lines = sockets().unwrap_or_default();
    // State 0A is LISTEN.
    let mut inodes = lines.iter().filter(|line| line[1].ends_with(&port) && line[3] == "0A");
    let Some(name) = inodes.next().map(|line| format!("socket:[{}]", line[9])) else {
        return Vec::new();
    };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|link| link.to_str() == Some(&name))
    };
    pids.filter(has).collect()
}
