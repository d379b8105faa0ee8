//! The proxy in this process, on connections in memory, before a server on a socket.

use super::*;
use crate::Status;
use portcullis_driver::{Stats, memory};
use portcullis_tokio::serve_connection;
use serde_json::Value;
use std::future::Future;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(600);
/// More than the proxy's connection and the connection in memory hold, and less than is read ahead.
const MUCH: usize = 600_000;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

/// A server that answers as the target asks for, and closes its connections at the end.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has one");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).expect("text");
        let content = vec![b'x'; MUCH];
        let (answer, content): (_, &[u8]) = match head.split(' ').nth(1) {
            Some("/hello") => ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_owned(), b"hi"),
            Some("/much") => {
                (format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"), &content)
            }
            Some("/nonsense") => ("hello\r\n\r\n".to_owned(), b""),
            Some("/half") => ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_owned(), b""),
            Some("/halves") => (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_owned(),
                b"",
            ),
            Some("/silent") => return std::future::pending().await,
            _ => return,
        };
        let sent = async {
            stream.write_all(answer.as_bytes()).await?;
            stream.write_all(content).await
        };
        if sent.await.is_err() || head.starts_with("GET /hal") {
            return;
        }
    }
}

struct Served {
    stats: Arc<Stats>,
    proxy: Proxy,
    status: Status,
}

impl Served {
    fn before(address: SocketAddr, change: impl FnOnce(&mut ProxySettings)) -> Self {
        let url = format!("http://{address}");
        let mut settings = ProxySettings::new(url.parse().expect("an address"));
        change(&mut settings);
        let sleep: Sleep = |time| Box::pin(tokio::time::sleep(time));
        let live = LiveConfig::new(Arc::default());
        let proxy = Proxy::new(&settings, Reactor::Tokio, sleep, live);
        let stats = Arc::<Stats>::default();
        let status = Status::new(stats.clone(), 0).proxy(proxy.counters());
        Served { stats, proxy, status }
    }

    /// A client that has sent a request.
    async fn ask(&self, request: &str) -> memory::Stream {
        let (mut client, server) = memory::pair(4 << 10);
        let connection = serve_connection(server, self.proxy.clone()).stats(self.stats.clone());
        tokio::spawn(connection);
        AsyncWriteExt::write_all(&mut client, request.as_bytes()).await.expect("it is taken");
        client
    }

    /// The whole answer.
    async fn get(&self, target: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut client = self.ask(&request).await;
        let mut answer = String::new();
        AsyncReadExt::read_to_string(&mut client, &mut answer).await.expect("an answer");
        answer
    }

    fn counted(&self) -> Value {
        let report: Value = serde_json::from_str(&self.status.json()).expect("JSON");
        report["proxy"].clone()
    }

    async fn wait_for(&self, what: &str, is_so: impl Fn(&Value, usize) -> bool) {
        let since = Instant::now();
        loop {
            let held = self.stats.snapshot().bytes_held as usize;
            let counted = self.counted();
            if is_so(&counted, held) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{what}: {held} bytes are held, {counted:#}");
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn requests_count_by_their_outcome() {
    run(async {
        let served = Served::before(upstream().await, |settings| {
            settings.timeout = Duration::from_millis(100);
        });
        for (target, status) in [
            ("/hello", 200),
            ("/hello", 200),
            ("/broken", 502),
            ("/nonsense", 502),
            ("/silent", 504),
            ("/half", 502),
            ("/halves", 200),
        ] {
            let answer = served.get(target).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
        }
        let mut client = served.ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        AsyncReadExt::read_u8(&mut client).await.expect("an answer");
        // A client that leaves.
        drop(served.ask("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n").await);
        served.wait_for("it has left", |it, _| it["requests"]["client_gone"] == 1).await;
        let counted = served.counted();
        let requests = &counted["requests"];
        let count = |outcome: &str| requests[outcome].as_u64();
        assert_eq!(count("answered"), Some(3), "{counted:#}");
        // That on a kept connection is sent again.
        assert_eq!(count("broken"), Some(2), "{counted:#}");
        for outcome in ["malformed", "timeout", "refused"] {
            assert_eq!(count(outcome), Some(1), "{outcome}: {counted:#}");
        }
        assert_eq!(counted["answers"], 4);
        assert!(counted["answer_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
        assert_eq!(counted["answers_cut"]["broken"], 1, "{counted:#}");
        served.wait_for("all places are free", |it, _| it["places_in_use"] == 0).await;
        assert_eq!((&counted["places"], &counted["waiting"]), (&100.into(), &0.into()));
        let text = served.status.prometheus();
        for line in [
            "portcullis_proxy_requests_total{outcome=\"answered\"} 3",
            "portcullis_proxy_requests_total{outcome=\"queue_full\"} 0",
            "portcullis_proxy_answers_cut_total{reason=\"broken\"} 1",
            "portcullis_proxy_places 100",
            "portcullis_proxy_places_in_use 0",
            "portcullis_proxy_connections{state=\"busy\"} 0",
            "portcullis_proxy_limit_buffers_bytes 67108864",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    });
}

#[test]
fn a_server_that_is_down_counts() {
    run(async {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = free.local_addr().expect("it has one");
        drop(free);
        let served = Served::before(address, |_| {});
        assert!(served.get("/").await.starts_with("HTTP/1.1 502 "));
        assert_eq!(served.counted()["requests"]["unreachable"], 1);
    });
}

#[test]
fn what_is_read_ahead_counts_and_holds_no_place() {
    run(async {
        let served = Served::before(upstream().await, |settings| settings.concurrency = 1);
        let mut client = served.ask("GET /much HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let is_done = |it: &Value, held: usize| {
            it["places_in_use"] == 0 && it["connections"]["busy"] == 0 && held > MUCH - 100_000
        };
        served.wait_for("all is held", is_done).await;
        let held = served.counted()["buffered_bytes"].as_u64();
        assert!(held > Some(MUCH as u64 - 200_000), "{held:?}");
        // The place is free for others.
        assert!(served.get("/hello").await.ends_with("\r\n\r\nhi"));
        let mut answer = vec![0; MUCH];
        AsyncReadExt::read_exact(&mut client, &mut answer).await.expect("all of it");
        served.wait_for("nothing is held", |it, _| it["buffered_bytes"] == 0).await;
        drop(client);
        served.wait_for("nothing is held", |_, held| held == 0).await;
    });
}

#[test]
fn what_is_read_of_uploads_counts() {
    run(async {
        let served = Served::before(upstream().await, |_| {});
        let head = "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
        let client = served.ask(&format!("{head}{}", "x".repeat(50_000))).await;
        let is_held = |it: &Value, held: usize| {
            it["buffered_bytes"].as_u64() >= Some(50_000) && held >= 50_000
        };
        served.wait_for("it is held", is_held).await;
        assert_eq!(served.counted()["places_in_use"], 0, "it holds none");
        drop(client);
        served.wait_for("nothing is held", |it, held| it["buffered_bytes"] == 0 && held == 0).await;
    });
}
