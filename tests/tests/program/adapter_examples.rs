//! The examples of the adapters, each with a client of what it shows.

use crate::support::{Answer, PATIENCE, Program, example_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portcullis_testing::{Watched, watched};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

fn on_tokio(name: &str) -> Program {
    Program::example_of("portcullis-tokio", name, &[])
}

fn on_axum(name: &str) -> Program {
    Program::example_of("portcullis-axum", name, &[])
}

fn get(program: &Program, path: &str) -> Answer {
    program.begun(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).answer()
}

#[test]
fn greetings() {
    assert_eq!(get(&on_tokio("hello"), "/").text(), "Hello, world!");
    let program = Program::example_of("portcullis-smol", "hello_smol", &[]);
    assert_eq!(get(&program, "/").text(), "Hello, world!");
    let program = Program::example_of("portcullis-async-std", "hello_async_std", &[]);
    assert_eq!(get(&program, "/").text(), "Hello, world!");
    let greeting = get(&on_axum("hello_axum"), "/greet/you");
    assert!(greeting.text().starts_with("Hello, you at 127.0.0.1:"), "{}", greeting.text());
}

#[test]
fn https() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let folder = tempfile::tempdir().expect("a folder");
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&chain, own.cert.pem()).expect("written");
    std::fs::write(&key, own.signing_key.serialize_pem()).expect("written");
    let program = Program::example_of("portcullis-tokio", "https", &[&chain, &key]);
    assert_eq!(get(&program, "/").text(), "Hello over HTTP/1.1!\n");
}

/// An example on tokio that is interrupted, as by Ctrl-C. Its output is read, so that it can write to the end.
struct Interrupted {
    child: Child,
    output: BufReader<ChildStdout>,
    _watched: Watched,
}

impl Interrupted {
    /// Starts it. It says that it listens.
    fn start(name: &str, argument: &str) -> (Self, String) {
        let mut command = Command::new(example_of("portcullis-tokio", name));
        let command = command.arg(argument).stdout(Stdio::piped());
        let watched = watched();
        let mut child = command.spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut example = Interrupted { child, output, _watched: watched };
        let line = example.line();
        let address = line.trim().trim_start_matches("listening on ").to_owned();
        (example, address)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line
    }

    fn interrupt(&self) {
        let process = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(process, Signal::SIGINT).expect("it runs");
    }
}

/// Sends a request, and reads until the server closes.
fn ask(mut stream: impl Read + Write) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let (mut example, told) = Interrupted::start("unix_socket", path.to_str().expect("text"));
    assert_eq!(told, format!("unix:{}", path.display()));
    let answer = ask(UnixStream::connect(&path).expect("it accepts"));
    assert!(answer.ends_with("\r\n\r\nHello!\n"), "{answer}");
    example.interrupt();
    assert!(example.child.wait().expect("it ends").success());
    assert!(!path.exists(), "the next one can bind");
}

#[test]
fn shutdown() {
    let (mut example, told) = Interrupted::start("shutdown", "127.0.0.1:0");
    let address = told.trim_start_matches("http://");
    // The server hears signals once it answers.
    assert!(ask(TcpStream::connect(address).expect("it accepts")).ends_with("done\n"));
    let stream = TcpStream::connect(address).expect("it accepts");
    let asking = thread::spawn(|| ask(stream));
    // Whether the request is in progress by now or not: a client that has connected is answered.
    example.interrupt();
    assert!(asking.join().expect("no panic").ends_with("done\n"));
    // The first connection may have ended before or after the signal.
    let report = example.line();
    assert!(report.ends_with(" connections finished, 0 were cut\n"), "{report}");
    assert!(example.child.wait().expect("it ends").success());
}

type Client = WebSocket<crate::support::Client>;

fn websocket(program: &Program, path: &str) -> Client {
    let url = format!("ws://localhost{path}");
    // On a busy machine the server may give up on a client before it has asked.
    let mut tries = (0..100).map(|_| tungstenite::client(&url, program.connect()).ok());
    tries.find_map(|opened| opened).expect("it is accepted").0
}

fn hears(client: &mut Client, text: &str) {
    assert_eq!(client.read().expect("it is open"), Message::text(text));
}

#[test]
fn websocket_of_tokio() {
    let program = on_tokio("websocket");
    let mut client = websocket(&program, "/");
    client.send(Message::text("one two  three")).expect("sent");
    hears(&mut client, "3");
    client.send(Message::binary(vec![7])).expect("sent");
    let close = client.read().expect("a close");
    let Message::Close(Some(frame)) = close else { panic!("{close:?}") };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Unsupported, "text only"));
    let url = "ws://localhost/".parse().expect("a URL");
    let foreign = tungstenite::ClientRequestBuilder::new(url).with_header("Origin", "http://b");
    let refused = tungstenite::client(foreign, program.connect()).err();
    let Some(tungstenite::HandshakeError::Failure(Error::Http(answer))) = refused else {
        panic!("it is not refused: {refused:?}")
    };
    assert_eq!(answer.status(), 403);
}

#[test]
fn chat() {
    let program = on_axum("chat");
    let [mut one, mut other] = [(); 2].map(|()| websocket(&program, "/chat"));
    one.send(Message::text("hello")).expect("sent");
    hears(&mut one, "hello");
    // The other may have come to the room after that.
    other.send(Message::text("here")).expect("sent");
    hears(&mut one, "here");
}

#[test]
fn layers() {
    let program = on_tokio("layers");
    let answer = get(&program, "/1");
    assert_eq!((answer.status, answer.text()), (200, "done\n"));
    let answer = get(&program, "/3600000");
    assert_eq!((answer.status, answer.text()), (503, "it took too long\n"));
}

#[test]
fn server_sent_events() {
    let program = on_axum("sse");
    assert!(get(&program, "/").text().contains("EventSource('/ticks')"));
    let mut client = program.begun("GET /ticks HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..2 {
        while !client.take_line().starts_with("data: ") {}
    }
}

#[test]
fn uploads() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::example_of("portcullis-axum", "upload", &[folder.path()]);
    let put = |name: &str, content: &str| {
        let length = content.len();
        let mut client = program.connect();
        client.send(format!(
            "PUT /{name} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{content}"
        ));
        client.answer().status
    };
    assert_eq!(put("new", &"x".repeat(1_000_000)), 200);
    assert_eq!(put("new", "again"), 409);
    assert_eq!(put("..%2Fabove", "x"), 400);
    assert_eq!(std::fs::metadata(folder.path().join("new")).expect("it is there").len(), 1_000_000);
    // A client that goes away in between leaves nothing.
    let mut client = program.connect();
    client.send("PUT /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n12345");
    wait_for_files(folder.path(), 2);
    drop(client);
    wait_for_files(folder.path(), 1);
}

fn wait_for_files(folder: &Path, count: usize) {
    let start = Instant::now();
    while std::fs::read_dir(folder).expect("it is there").count() != count {
        assert!(start.elapsed() < PATIENCE, "there are never {count} files");
        thread::yield_now();
    }
}

#[test]
fn grpc_beside_a_page() {
    use crate::connector::Connector;
    use tonic::transport::Endpoint;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    let program = on_axum("grpc");
    assert_eq!(get(&program, "/").text(), "ask me by gRPC how I am\n");
    let runtime = ::tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{}", program.address));
        let connector = Connector::http2(&program);
        let channel = endpoint.expect("a URL").connect_with_connector(connector).await;
        let mut client = HealthClient::new(channel.expect("it connects"));
        let answer = client.check(HealthCheckRequest::default()).await.expect("an answer");
        assert_eq!(answer.into_inner().status().as_str_name(), "SERVING");
    });
}
