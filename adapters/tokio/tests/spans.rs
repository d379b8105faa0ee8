//! Which spans surround what is logged, and what they tell. `portcullis_driver` has the table.

use http::{Request, Response};
use http_body_util::Full;
use portcullis_tokio::{Body, IpNet, serve};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tracing::level_filters::LevelFilter;

/// The lines of a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }

    /// The only line that contains `what`.
    #[track_caller]
    fn line(&self, what: &str) -> String {
        let text = self.text();
        let mut lines = text.lines().filter(|line| line.contains(what));
        let line = lines.next().unwrap_or_else(|| panic!("no {what} in {text}"));
        assert_eq!(lines.next(), None, "{what} twice");
        line.to_owned()
    }
}

/// Logs before, while and after it waits, and answers with 201.
async fn handler(request: Request<Body>) -> Response<Full<&'static [u8]>> {
    let path = request.uri().path().to_owned();
    tracing::info!("{path} begins");
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    tracing::info!("{path} ends");
    let answer = Response::builder().status(201).body(Full::new(&b"content"[..]));
    answer.expect("an answer")
}

/// Serves what `client` asks for on one thread, under a subscriber up to `level`. Returns the log.
fn logged(level: LevelFilter, proxy: bool, request: &'static [u8]) -> Log {
    let log = Log::default();
    let of_subscriber = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .without_time()
        .with_writer(move || of_subscriber.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let loopback: IpNet = "127.0.0.0/8".parse().expect("a prefix");
        let proxies = proxy.then_some(loopback);
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let server =
            serve(listener, handler).trust_proxies(proxies).with_graceful_shutdown(async move {
                let _ = stopped.recv().await;
            });
        let server = tokio::spawn(server);
        let mut client = TcpStream::connect(address).await.expect("it accepts");
        client.write_all(request).await.expect("it reads");
        let mut answer = Vec::new();
        let ended = client.read_to_end(&mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(600), ended).await;
        ended.expect("in time").expect("an end");
        drop(client);
        drop(stop);
        server.await.expect("no panic").expect("it never fails");
    });
    log
}

const CLOSE: &[u8] = b"GET /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn a_handler_logs_within_the_spans_of_its_connection_and_its_request() {
    let log = logged(LevelFilter::DEBUG, false, CLOSE);
    for what in ["/one begins", "/one ends"] {
        let line = log.line(what);
        let (connection, request) = line.split_once(":request{").expect("two spans");
        assert!(connection.contains("connection{peer=127.0.0.1:"), "{line}");
        assert!(connection.ends_with(" tls=false}"), "{line}");
        let known = r#"method="GET" target="/one" version=HTTP/1.1 stream=1}: spans: "#;
        assert!(request.starts_with(known), "{line}");
    }
    let line = log.line("request over");
    assert!(line.contains("status=201 sent=7 seconds="), "{line}");
    assert!(line.contains(r#" ending="complete"}:"#), "{line}");
    let line = log.line(" closed ");
    assert!(line.contains(r#"tls=false requests=1 reason="completed"}: "#), "{line}");
    assert!(!line.contains("request{"), "{line}");
}

#[test]
fn spans_tell_the_client_of_a_proxy_and_why_a_request_is_refused() {
    let wire = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nGET /\x1b[2J HTTP/1.1\r\n\r\n";
    let log = logged(LevelFilter::DEBUG, true, wire);
    let line = log.line("request refused");
    assert!(line.contains("connection{peer=127.0.0.1:"), "{line}");
    assert!(line.contains("client=192.0.2.7:4711}"), "{line}");
    // No control of the client's reaches the log.
    let known =
        r#"method=Some("GET") target=Some("/\u{1b}[2J") version=HTTP/1.1 stream=0 status=400"#;
    assert!(line.contains(known), "{line}");
    assert!(line.contains(r#"reason="bad_target""#), "{line}");
}

/// Two streams of one connection work by turns, and each logs within its own span.
#[test]
fn streams_that_take_turns_keep_their_spans_apart() {
    // GET on streams 1 and 3: field blocks without compression or from the static table, and then a GOAWAY.
    let wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
        \0\0\0\x04\0\0\0\0\0\
        \0\0\x0b\x01\x05\0\0\0\x01\x82\x86\x04\x04/one\x41\x01a\
        \0\0\x0b\x01\x05\0\0\0\x03\x82\x86\x04\x04/two\x41\x01a\
        \0\0\x04\0\0\0\0\0\0data";
    let log = logged(LevelFilter::DEBUG, false, wire);
    let text = log.text();
    let order: Vec<_> = text.lines().filter_map(|line| line.split("spans: ").nth(1)).collect();
    assert_eq!(order[..2], ["/one begins", "/two begins"], "{text}");
    for (path, stream) in [("/one", 1), ("/two", 3)] {
        let line = log.line(&format!("{path} begins"));
        let known = format!("target=\"{path}\" version=HTTP/2.0 stream={stream}}}");
        assert!(line.contains(&known), "{line}");
        assert_eq!(line.matches("request{").count(), 1, "{line}");
    }
}

#[test]
fn there_are_no_spans_if_their_level_is_not_wanted() {
    let log = logged(LevelFilter::INFO, false, CLOSE);
    assert_eq!(log.text(), " INFO spans: /one begins\n INFO spans: /one ends\n");
}
