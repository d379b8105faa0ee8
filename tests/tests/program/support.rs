//! The program as a child process, and a raw client.

use crate::place::{Place, Transport};
use crate::trust;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portcullis_testing::{Watched, watched};
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Type};
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Ends a wait that would never end. It is not a measure of speed: a busy machine may take long for
/// everything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Settings of every program here, before those of its test. No timer fires unless the test sets
/// it. So a client needs no speed on a busy machine, and a close has the reason that the test
/// expects.
pub(crate) const CALM: [&str; 14] = [
    "tls_handshake_timeout=1h",
    "keep_alive_timeout=1h",
    "request_head_timeout=1h",
    "request_body_grace=1h",
    "request_body_silence=1h",
    "response_grace=1h",
    "response_silence=1h",
    "peer_gone_timeout=1h",
    "linger_timeout=1h",
    // Short, so that a connection that was refused and is silent is soon closed and counted.
    "linger_silence=1s",
    "websocket_ping_interval=1h",
    "websocket_pong_timeout=1h",
    "websocket_close_timeout=1h",
    "drain_timeout=1h",
];

static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    escargot::CargoBuild::new()
        .package("portcullis-serve")
        .bin("portcullis")
        .features("async-std")
        .run()
        .expect("the program builds")
        .path()
        .to_owned()
});

/// The path of the program.
pub(crate) fn binary() -> &'static Path {
    &BINARY
}

/// Builds an example of core and returns its path.
pub(crate) fn example(name: &str) -> PathBuf {
    example_of("portcullis", name)
}

/// Builds an example of a package and returns its path.
pub(crate) fn example_of(package: &str, name: &str) -> PathBuf {
    let build = escargot::CargoBuild::new().package(package).example(name);
    build.run().expect("the example builds").path().to_owned()
}

/// A running program, which ends with the test.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The clients' TLS configuration, if the program speaks TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    _watched: Watched,
}

impl Program {
    /// Starts the program with settings such as `keep_alive_timeout=1s`. Over TLS it makes a
    /// self-signed certificate.
    pub(crate) fn with(place: Place, settings: &[&str]) -> Self {
        Self::start(command(place, settings))
    }

    /// Starts the program with further arguments. It logs everything to a file, if there is one.
    pub(crate) fn with_args(
        place: Place,
        settings: &[&str],
        args: &[&str],
        log: Option<File>,
    ) -> Self {
        let mut command = command(place, settings);
        command.args(args);
        if let Some(log) = log {
            command.env("RUST_LOG", "debug").stderr(log);
        }
        if args.contains(&"--listen") { Self::listen(command) } else { Self::start(command) }
    }

    /// Starts the program at an address.
    pub(crate) fn at(place: Place, address: SocketAddr, settings: &[&str]) -> Self {
        let mut command = command(place, settings);
        command.args(["--listen", &address.to_string()]);
        Self::listen(command)
    }

    /// Starts the program over TLS with the certificate in these files.
    pub(crate) fn with_certificate(place: Place, chain: &Path, key: &Path) -> Self {
        let mut command = command(place.plaintext(), &[]);
        command.arg("--tls-cert").arg(chain).arg("--tls-key").arg(key);
        Self::start(command)
    }

    /// Starts the program with a limit of `count` descriptors.
    pub(crate) fn with_descriptors(place: Place, count: u32) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {count}; exec \"$0\" \"$@\"");
        command.args(["-c", &script]).arg(&*BINARY).args(["--runtime", place.runtime.name()]);
        for setting in CALM {
            command.args(["--set", setting]);
        }
        Self::start(command)
    }

    /// Starts the program with a profile.
    pub(crate) fn with_profile(place: Place, profile: &str) -> Self {
        let mut command = command(place, &[]);
        command.args(["--profile", profile]);
        Self::start(command)
    }

    /// Serves the files of a folder.
    pub(crate) fn with_files(place: Place, root: &Path) -> Self {
        let mut command = command(place, &[]);
        command.arg("--root").arg(root);
        Self::start(command)
    }

    /// Starts an example of core with settings.
    pub(crate) fn example(name: &str, settings: &[&str]) -> Self {
        let mut command = Command::new(example(name));
        command.arg("127.0.0.1:0").args(CALM).args(settings);
        Self::listen(command)
    }

    /// Starts an example of an adapter, which takes an address after `args`.
    pub(crate) fn example_of(package: &str, name: &str, args: &[&Path]) -> Self {
        let mut command = Command::new(example_of(package, name));
        command.args(args).arg("127.0.0.1:0");
        Self::listen(command)
    }

    /// Starts the program with an access log.
    pub(crate) fn with_access_log(place: Place, path: &Path, format: &str) -> Self {
        let mut command = command(place, &[]);
        command.arg("--access-log").arg(path).args(["--access-log-format", format]);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]);
        Self::listen(command)
    }

    fn listen(mut command: Command) -> Self {
        let watched = watched();
        command.stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the program prints its address");
        let url = line.trim().strip_prefix("listening on ").unwrap_or_default();
        // An example may go on with what to try.
        let url = url.split(',').next().unwrap_or_default();
        let (scheme, address) = url.split_once("://").unwrap_or_default();
        let address = address.parse().unwrap_or_else(|_| panic!("not an address: {line:?}"));
        let tls = (scheme == "https").then(|| Arc::new(trust::client_config()));
        Program { child, address, tls, _watched: watched }
    }

    /// Connects, over TLS if the program speaks it. The client sends nothing yet.
    pub(crate) fn connect(&self) -> Client {
        let since = Instant::now();
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).expect("it accepts");
        Client { since, ..self.client(stream) }
    }

    /// Connects from an address of this machine, such as 127.0.0.2.
    pub(crate) fn connect_from(&self, source: [u8; 4]) -> Client {
        let since = Instant::now();
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("an address of this machine");
        socket.connect_timeout(&self.address.into(), PATIENCE).expect("it accepts");
        Client { since, ..self.client(socket.into()) }
    }

    /// Connects with a receive buffer of about so many bytes, so that the server sees how little is read.
    pub(crate) fn connect_with_buffer(&self, bytes: usize) -> Client {
        let since = Instant::now();
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("it can be set");
        socket.connect_timeout(&self.address.into(), PATIENCE).expect("it accepts");
        Client { since, ..self.client(socket.into()) }
    }

    /// Connects by way of another address.
    pub(crate) fn connect_through(&self, address: SocketAddr) -> Client {
        self.client(TcpStream::connect_timeout(&address, PATIENCE).expect("it accepts"))
    }

    fn client(&self, stream: TcpStream) -> Client {
        self.connector().client(stream)
    }

    /// Connects to the program's address, also after this process has ended.
    pub(crate) fn connector(&self) -> Connector {
        Connector { address: self.address, tls: self.tls.clone() }
    }

    /// Whether the program starts with these arguments.
    pub(crate) fn starts(place: Place, args: &[&str]) -> bool {
        let mut command = command(place, &[]);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program is there");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        let read = BufReader::new(stdout).read_line(&mut line).expect("text");
        // It may have ended already.
        let _ = child.kill();
        child.wait().expect("it is a child");
        read > 0
    }

    /// Connects without TLS, whatever the program speaks.
    pub(crate) fn connect_plainly(&self) -> Client {
        let since = Instant::now();
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).expect("it accepts");
        Client { since, ..Client::plain(stream) }
    }

    /// A client that has sent `request` and received the beginning of its answer. With short timers
    /// a busy machine may lose a connection before that, so this tries again.
    pub(crate) fn begun(&self, request: impl AsRef<[u8]>) -> Client {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let mut client = self.connect();
            if client.send(&request) && client.more() > 0 {
                return client;
            }
        }
        panic!("no connection lived until its answer");
    }

    /// A URL of the program.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// The JSON of `GET /status`. A program that is full may refuse it for a while.
    pub(crate) fn status(&self) -> serde_json::Value {
        let start = Instant::now();
        loop {
            let answer = self.begun("GET /status HTTP/1.1\r\nHost: a\r\n\r\n").answer();
            if answer.status != 503 {
                return serde_json::from_slice(&answer.content).expect("JSON");
            }
            assert!(start.elapsed() < PATIENCE, "the program stays full");
        }
    }

    /// Waits until `is_so` holds for the status.
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
        let start = Instant::now();
        loop {
            let status = self.status();
            if is_so(&status) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {status:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("/proc can be read");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("KiB");
        kib * 1024
    }

    /// Sends the program a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let process = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        let signal: Signal = format!("SIG{name}").parse().expect("a signal");
        kill(process, signal).expect("it runs");
    }

    /// Waits until the program has ended by itself, and returns its exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("it is a child").code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects to an address.
pub(crate) struct Connector {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Connector {
    /// Connects, over TLS if the program speaks it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn try_connect(&self) -> io::Result<Client> {
        TcpStream::connect_timeout(&self.address, PATIENCE).map(|stream| self.client(stream))
    }

    fn client(&self, stream: TcpStream) -> Client {
        let tls = self.tls.as_ref().map(|config| {
            ClientConnection::new(config.clone(), trust::server_name())
                .expect("a configuration that works")
        });
        Client { tls, ..Client::plain(stream) }
    }
}

/// An answer with its content.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) content: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.content).expect("text")
    }

    pub(crate) fn has_field(&self, line: &str) -> bool {
        self.head.lines().any(|other| other.eq_ignore_ascii_case(line))
    }
}

/// A raw connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) tls: Option<ClientConnection>,
    unread: Vec<u8>,
    /// Just before it last sent bytes or connected: no timer of the server can have started
    /// earlier.
    since: Instant,
}

impl Client {
    /// A client on a connection to any server.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Client::plain(stream)
    }

    fn plain(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("it can be set");
        Client { stream, tls: None, unread: Vec::new(), since: Instant::now() }
    }

    /// Sends `bytes`. Returns false if the server has closed.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.since = Instant::now();
        let Some(tls) = &mut self.tls else { return self.stream.write_all(bytes.as_ref()).is_ok() };
        let mut stream = rustls::Stream::new(tls, &mut self.stream);
        stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()).is_ok()
    }

    /// Completes the TLS handshake, if there is one.
    pub(crate) fn shake_hands(&mut self) {
        assert!(self.send(""), "the handshake succeeds");
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            let tls = self.tls.as_mut().expect("it is there");
            tls.complete_io(&mut self.stream).expect("the handshake succeeds");
        }
    }

    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(bytes) };
        if tls.is_handshaking() {
            tls.complete_io(&mut self.stream)?;
        }
        // `rustls::Stream` would first write, which fails once the server has closed.
        loop {
            match tls.reader().read(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            tls.read_tls(&mut self.stream)?;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Sends `part` at intervals until the server answers or closes. Returns the time since the
    /// last bytes before them.
    pub(crate) fn dribble(&mut self, part: &[u8], pause: Duration) -> Duration {
        let since = self.since;
        self.stream.set_read_timeout(Some(pause)).expect("a timeout can be set");
        while self.send(part) {
            assert!(since.elapsed() < PATIENCE, "the server neither answers nor closes");
            // The pause is a read with a timeout, so an answer ends it early.
            let mut bytes = [0; 4096];
            match self.receive(&mut bytes) {
                Ok(count) => {
                    self.unread.extend_from_slice(&bytes[..count]);
                    break;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        since.elapsed()
    }

    /// Reads so many bytes at intervals until the server closes. Returns the time since the last bytes sent.
    pub(crate) fn read_until_closed(&mut self, bytes: usize, pause: Duration) -> Duration {
        let mut bytes = vec![0; bytes];
        while matches!(self.receive(&mut bytes), Ok(1..)) {
            assert!(self.since.elapsed() < PATIENCE, "the server does not close");
            std::thread::sleep(pause);
        }
        self.since.elapsed()
    }

    /// Sends `part` at intervals until a write fails because the server has closed. Returns the
    /// time since the last bytes before them.
    pub(crate) fn send_until_closed(
        &mut self,
        part: impl AsRef<[u8]>,
        pause: Duration,
    ) -> Duration {
        let since = self.since;
        while self.send(&part) {
            assert!(since.elapsed() < PATIENCE, "the server does not close");
            std::thread::sleep(pause);
        }
        since.elapsed()
    }

    /// Sends a GET for `path` and returns the answer.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        assert!(self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")));
        self.answer()
    }

    /// The next answer. Its content ends by its length, by chunks or with the connection.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// The next answer, or `None` if the connection ends before a complete head.
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        let end = loop {
            let found = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            match found {
                Some(place) => break place + 4,
                None if self.more() == 0 => return None,
                None => {}
            }
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).expect("ASCII");
        let status = head.get(9..12).and_then(|it| it.parse().ok()).expect("a status");
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let content = if status / 100 == 1 || status == 204 || status == 304 {
            Vec::new()
        } else if let Some(length) = field("content-length") {
            self.take(length.parse().expect("a number"))
        } else if field("transfer-encoding").is_some() {
            self.take_chunks()
        } else {
            while self.more() > 0 {}
            std::mem::take(&mut self.unread)
        };
        Some(Answer { status, head, content })
    }

    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.more() > 0, "the content is cut off at {}", self.unread.len());
        }
        self.unread.drain(..length).collect()
    }

    pub(crate) fn take_line(&mut self) -> String {
        loop {
            if let Some(place) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = self.unread.drain(..place + 2).take(place).collect();
                return String::from_utf8(line).expect("text");
            }
            assert!(self.more() > 0, "the line is cut off");
        }
    }

    fn take_chunks(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.take_line(), 16).expect("a chunk size");
            if size == 0 {
                while !self.take_line().is_empty() {}
                return content;
            }
            content.extend(self.take(size));
            assert_eq!(self.take_line(), "");
        }
    }

    /// Reads once; 0 at the end, by FIN or by reset.
    pub(crate) fn more(&mut self) -> usize {
        let mut bytes = [0; 65536];
        match self.receive(&mut bytes) {
            Ok(count) => {
                self.unread.extend_from_slice(&bytes[..count]);
                count
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("nothing arrived for {PATIENCE:?}")
            }
            Err(_) => 0,
        }
    }

    /// Waits until the server closes, and drops what arrives before. Returns the time since the
    /// last bytes sent.
    pub(crate) fn closed_after(&mut self) -> Duration {
        while self.more() > 0 {
            self.unread.clear();
        }
        self.since.elapsed()
    }

    /// Waits until the server closes. Tests of an immediate close set timers so long that they
    /// would not fire in time.
    pub(crate) fn wait_until_closed(&mut self) {
        self.closed_after();
    }

    /// The time since bytes were last sent.
    pub(crate) fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether nothing arrives, and nothing is closed, for `time`.
    pub(crate) fn is_quiet_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("a timeout can be set");
        let mut bytes = [0; 4096];
        // Messages of TLS itself, such as session tickets, don't count.
        let read = self.receive(&mut bytes);
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        match read {
            Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        false
    }

    /// Half-closes: the client sends nothing more.
    pub(crate) fn finish_sending(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            tls.complete_io(&mut self.stream).expect("it is connected");
        }
        // The server may have closed after the close_notify.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection with a RST.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("it is set");
    }
}

/// For clients that bring their own protocol.
impl Read for Client {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.receive(bytes)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.stream).write(bytes),
            None => self.stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.stream).flush(),
            None => self.stream.flush(),
        }
    }
}

fn command(place: Place, settings: &[&str]) -> Command {
    let mut command = Command::new(&*BINARY);
    command.args(["--runtime", place.runtime.name()]);
    if place.transport == Transport::Tls {
        command.arg("--tls-self-signed");
    }
    for setting in CALM.iter().chain(settings) {
        command.args(["--set", setting]);
    }
    command
}

/// Asserts that something did not happen before its time. How late it happens depends on the
/// machine. `core` tests the deadlines, and the adapters' `services` test the timers set for them.
#[track_caller]
pub(crate) fn assert_not_before(taken: Duration, expected: Duration) {
    assert!(taken >= expected, "{taken:?} is before {expected:?}");
}
