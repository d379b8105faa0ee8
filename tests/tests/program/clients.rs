//! Independent clients: curl and hyper.

use crate::connector::Connector;
use crate::place::{Place, tests};
use crate::support::Program;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use portcullis_testing::needs;
use std::io::Write as _;
use std::process::{Command, Stdio};

tests! {
    everywhere:
        curl_gets_each_route,
        curl_uploads_with_and_without_a_length,
        curl_reuses_the_connection,
        concurrent_hyper_clients_get_their_own_answers;
}

/// Whether curl is installed. If not, reports the test as skipped.
#[track_caller]
pub(crate) fn has_curl() -> bool {
    needs("curl", "apt-get install curl")
}

/// Runs curl with `input` and returns its output.
pub(crate) fn curl(arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("curl")
        .args(["-sS", "--insecure", "--max-time", "600"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("curl ends");
    // An error here means that curl stopped reading; its output is checked instead.
    let _ = writer.join().expect("the writer ends");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn curl_gets_each_route(place: Place) {
    if !has_curl() {
        return;
    }
    let program = Program::with(place, &[]);
    assert_eq!(curl(&[&program.url("/hello")], b""), "Hello, world!");
    assert!(curl(&[&program.url("/")], b"").contains("/events"));
    assert_eq!(curl(&[&program.url("/bytes/100000")], b"").len(), 100_000);
    assert_eq!(
        curl(&["-o", "/dev/null", "-w", "%{http_code}", &program.url("/slow/10")], b""),
        "200"
    );
    // Over TLS, curl then offers only `http/1.0` by ALPN, or nothing.
    assert_eq!(curl(&["--http1.0", &program.url("/hello")], b""), "Hello, world!");
    assert_eq!(curl(&["--http1.0", "--no-alpn", &program.url("/hello")], b""), "Hello, world!");
    assert!(curl(&["-I", &program.url("/hello")], b"").contains("content-length: 13"));
    let status = curl(&[&program.url("/status")], b"");
    assert!(serde_json::from_str::<serde_json::Value>(&status).is_ok(), "{status}");
}

fn curl_uploads_with_and_without_a_length(place: Place) {
    if !has_curl() {
        return;
    }
    let program = Program::with(place, &[]);
    let content: Vec<u8> = (0..3_000_000).map(|place| b'a' + (place % 23) as u8).collect();
    let known = ["--data-binary", "@-", "-H", "Expect:"];
    let expecting = ["--data-binary", "@-", "-H", "Expect: 100-continue"];
    let chunked = ["-T", "-"];
    for (path, answer) in
        [("/sink", "3000000".as_bytes()), ("/lazy/100", b"3000000"), ("/echo", &content)]
    {
        let url = program.url(path);
        for way in [&known[..], &expecting, &[&chunked[..], &["-X", "POST"]].concat()] {
            let got = curl(&[way, &[&url]].concat(), &content);
            assert!(got.as_bytes() == answer, "{path} {way:?}: {} bytes", got.len());
        }
    }
}

fn curl_reuses_the_connection(place: Place) {
    if !has_curl() {
        return;
    }
    let program = Program::with(place, &[]);
    let url = program.url("/hello");
    let count =
        ["-w", "%{num_connects}\n", "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null"];
    assert_eq!(curl(&[&count[..], &[&url, &url, &url]].concat(), b""), "1\n0\n0\n");
}

fn concurrent_hyper_clients_get_their_own_answers(place: Place) {
    let program = Program::with(place, &["requests_per_connection=10"]);
    let runtime = ::tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::builder(TokioExecutor::new());
        let client = client.build::<_, Full<Bytes>>(Connector::to(&program));
        let tasks: Vec<_> = (0..32)
            .map(|number: usize| {
                let (client, url) = (client.clone(), program.url("/echo"));
                ::tokio::spawn(async move {
                    for round in 0..20 {
                        let content = vec![number as u8; number * 1000 + round];
                        let request = http::Request::post(&url).body(Full::from(content.clone()));
                        let answer =
                            client.request(request.expect("valid")).await.expect("an answer");
                        let got = answer.into_body().collect().await.expect("whole").to_bytes();
                        assert!(got == content, "{number} {round}: {} bytes", got.len());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no client fails");
        }
    });
    // A request counts at the end of the turn that answers it, so a client may be faster.
    program.wait_for("all are counted", |status| status["requests"].as_u64() >= Some(640));
}
