//! HTTP/2 by ALPN and with prior knowledge, with clients that nobody here wrote: curl, nghttp2's tools, and
//! hyper.

use crate::clients::{curl, has_curl};
use crate::connector::Connector;
use crate::place::{Place, Transport, tests};
use crate::support::Program;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_testing::needs;
use std::process::Command;

tests! {
    everywhere:
        curl_gets_and_sends,
        nghttp_gets_many_at_once,
        h2load_is_answered_on_all_streams,
        hyper_streams_in_both_directions,
        a_slow_handler_does_not_hold_up_other_streams,
        http2_can_be_switched_off,
        http1_can_be_switched_off;
}

/// How curl asks for HTTP/2 there.
fn way(place: Place) -> &'static str {
    match place.transport {
        Transport::Plaintext => "--http2-prior-knowledge",
        Transport::Tls => "--http2",
    }
}

/// Whether nghttp2's tools are installed. If not, reports the test as skipped.
#[track_caller]
fn has_nghttp2() -> bool {
    needs("h2load", "apt-get install nghttp2-client")
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn curl_gets_and_sends(place: Place) {
    if !has_curl() {
        return;
    }
    let program = Program::with(place, &[]);
    let http2 = way(place);
    let url = program.url("/hello");
    let hello = curl(&[http2, "-w", " over %{http_version}", &url], b"");
    assert_eq!(hello, "Hello, world! over 2");
    assert_eq!(curl(&[http2, &program.url("/bytes/5000000")], b"").len(), 5_000_000);
    assert!(curl(&[http2, "-I", &url], b"").contains("content-length: 13"));
    let content: Vec<u8> = (0..3_000_000).map(|place| b'a' + (place % 23) as u8).collect();
    for (path, answer) in
        [("/sink", &b"3000000"[..]), ("/lazy/100", b"3000000"), ("/echo", &content)]
    {
        let url = program.url(path);
        for way in [&["--data-binary", "@-"][..], &["-T", "-", "-X", "POST"]] {
            let got = curl(&[&[http2], way, &[&url]].concat(), &content);
            assert!(got.as_bytes() == answer, "{path} {way:?}: {} bytes", got.len());
        }
    }
    // A refusal reaches a client that is still sending.
    let refused = ["-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@-"];
    let got = curl(&[&[http2], &refused[..], &[&program.url("/hello")]].concat(), &content);
    assert_eq!(got, "405");
}

fn nghttp_gets_many_at_once(place: Place) {
    if !has_nghttp2() {
        return;
    }
    let program = Program::with(place, &[]);
    let urls: Vec<String> =
        (0..50).map(|number| program.url(&format!("/bytes/{number}"))).collect();
    let text = output(Command::new("nghttp").args(["-n", "-s", "--no-verify-peer"]).args(&urls));
    let answered = text.lines().filter(|line| line.contains(" 200 ")).count();
    assert_eq!(answered, urls.len(), "{text}");
}

fn h2load_is_answered_on_all_streams(place: Place) {
    if !has_nghttp2() {
        return;
    }
    let program = Program::with(place, &["requests_per_connection=100000"]);
    for (path, count, streams) in [("/hello", "2000", "20"), ("/bytes/300000", "100", "10")] {
        let load = ["-n", count, "-c", "4", "-m", streams];
        let text = output(Command::new("h2load").args(load).arg(program.url(path)));
        assert!(text.contains(&format!("{count} succeeded, 0 failed, 0 errored")), "{text}");
    }
}

/// A client on one connection.
async fn client(program: &Program) -> http2::SendRequest<Full<Bytes>> {
    let stream = Connector::http2(program).connect().await.expect("it connects");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (client, connection) = handshake.await.expect("a handshake");
    ::tokio::spawn(connection);
    client
}

fn request(
    program: &Program,
    method: &str,
    path: &str,
    content: Bytes,
) -> hyper::Request<Full<Bytes>> {
    let request = hyper::Request::builder().method(method).uri(program.url(path));
    request.body(Full::new(content)).expect("a request")
}

fn run(future: impl Future<Output = ()>) {
    ::tokio::runtime::Runtime::new().expect("a runtime").block_on(future);
}

fn hyper_streams_in_both_directions(place: Place) {
    let program = Program::with(place, &[]);
    run(async {
        let mut client = client(&program).await;
        let content = Bytes::from(vec![b'x'; 500_000]);
        let mut answers = Vec::new();
        for _ in 0..8 {
            let echo = request(&program, "POST", "/echo", content.clone());
            answers.push(client.send_request(echo));
        }
        for answer in answers {
            let answer = answer.await.expect("an answer");
            let echoed = answer.into_body().collect().await.expect("content").to_bytes();
            assert!(echoed == content, "{} bytes", echoed.len());
        }
    });
}

fn a_slow_handler_does_not_hold_up_other_streams(place: Place) {
    let program = Program::with(place, &[]);
    run(async {
        let mut client = client(&program).await;
        // Handlers that take an hour.
        let slow = client.send_request(request(&program, "GET", "/slow/3600000", Bytes::new()));
        let slow = ::tokio::spawn(slow);
        // Content that nobody reads meanwhile.
        let content = Bytes::from(vec![b'x'; 30_000]);
        let lazy = client.send_request(request(&program, "POST", "/lazy/3600000", content));
        let lazy = ::tokio::spawn(lazy);
        for _ in 0..20 {
            let answer = client.send_request(request(&program, "GET", "/hello", Bytes::new()));
            let answer = answer.await.expect("an answer");
            assert_eq!(
                answer.into_body().collect().await.expect("content").to_bytes(),
                "Hello, world!"
            );
        }
        assert!(!slow.is_finished() && !lazy.is_finished());
        for path in ["/slow/1", "/lazy/1"] {
            let method = if path == "/slow/1" { "GET" } else { "POST" };
            let answer = client.send_request(request(&program, method, path, Bytes::new()));
            assert_eq!(answer.await.expect("an answer").status(), 200);
        }
    });
}

fn http2_can_be_switched_off(place: Place) {
    if !has_curl() {
        return;
    }
    let program = Program::with(place, &["http2=false"]);
    let url = program.url("/hello");
    let hello = curl(&["--http2", "-w", " over %{http_version}", &url], b"");
    assert_eq!(hello, "Hello, world! over 1.1");
}

fn http1_can_be_switched_off(place: Place) {
    if !has_curl() {
        return;
    }
    let program = Program::with(place, &["http1=false"]);
    let url = program.url("/hello");
    let version = ["-w", " over %{http_version}", &url];
    assert_eq!(curl(&[&[way(place)][..], &version].concat(), b""), "Hello, world! over 2");
    // The client is told that it has to speak HTTP/2: by TLS, or by a GOAWAY.
    let refused = Command::new("curl").args(["-sk", "--http1.1"]).args(version).output();
    assert!(!refused.expect("curl starts").status.success());
}
