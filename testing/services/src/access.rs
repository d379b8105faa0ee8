//! What an access log is told of each request.

use super::*;
use crate::adapter::{Access, Ending};
use crate::basics::OnTheSpot;
use std::sync::mpsc::Sender;

/// What a line of a log would say: path, status, bytes of content, and the ending.
type Line = (String, Option<u16>, u64, Ending);

/// A hook that passes lines on.
fn hook(told: Sender<Line>) -> impl Fn(&Access<'_>) + Send + Sync {
    move |access| {
        assert!(access.peer.ip().is_some() && access.duration < PATIENCE);
        let status = access.status.map(|status| status.as_u16());
        // The test may be over.
        let target = access.target.unwrap_or("-").to_owned();
        let _ = told.send((target, status, access.sent, access.ending));
    }
}

fn get(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
}

pub fn the_access_log_tells_how_each_request_ended<A: Adapter>() {
    let service = |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        assert_ne!(path, "/panics", "as the test wants it");
        async move {
            match &*path {
                "/panics/later" => panic!("as the test wants it"),
                "/fails" => Err("as the test wants it"),
                "/waits" => {
                    // The handler asks for content, so it is told of the end at once.
                    let _ = http_body_util::BodyExt::collect(request.into_body()).await;
                    std::future::pending().await
                }
                "/ws" => {
                    let upgrade = Upgrade::new(&request).expect("it asks well");
                    Ok(upgrade.accept(async |websocket| drop(websocket)))
                }
                _ => Ok(Response::new(Full::new(Bytes::from(vec![b'x'; LARGE])))),
            }
        }
    };
    let (told, lines) = channel();
    let (listener, address) = listener();
    let server = A::server(listener, Arc::default(), service).access_log(hook(told));
    start_server::<A, _, _, _, _>(server);
    let next = || lines.recv_timeout(PATIENCE).expect("a line");
    for (method, path, status, sent, ending) in [
        ("GET", "/", 200, LARGE as u64, Ending::Complete),
        ("HEAD", "/", 200, 0, Ending::Complete),
        ("GET", "/fails", 500, 0, Ending::Failed),
        ("GET", "/panics", 500, 0, Ending::Failed),
        ("GET", "/panics/later", 500, 0, Ending::Failed),
    ] {
        ask(address, &get(method, path));
        assert_eq!(next(), (path.to_owned(), Some(status), sent, ending), "{method}");
    }
    talk(address, &frame(0x88, &1000u16.to_be_bytes()));
    assert_eq!(next(), ("/ws".to_owned(), Some(101), 0, Ending::Complete));
    // A client that ends the connection within its content.
    let post = "POST /waits HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab";
    let mut client = connect(address);
    client.write_all(post.as_bytes()).expect("it reads");
    client.shutdown(std::net::Shutdown::Write).expect("it is connected");
    assert_eq!(next(), ("/waits".to_owned(), Some(400), 0, Ending::Reset));
    // What does not reach the service has a line too.
    ask(address, "nonsense\r\n\r\n");
    assert_eq!(next(), ("-".to_owned(), Some(400), 0, Ending::Refused));
    ask(address, "GET /x HTTP/1.1\r\n\r\n");
    assert_eq!(next(), ("/x".to_owned(), Some(400), 0, Ending::Refused));
    ask(address, &get("GET", "/last"));
    assert_eq!(next().0, "/last");
}

pub fn the_access_log_tells_of_answers_on_the_spot<A: Adapter>() {
    let (told, lines) = channel();
    let (listener, address) = listener();
    let server = A::server(listener, Arc::default(), OnTheSpot).access_log(hook(told));
    start_server::<A, _, _, _, _>(server);
    for (method, path, status, sent, ending) in [
        ("GET", "/large", 200, LARGE as u64, Ending::Complete),
        ("HEAD", "/large", 200, 0, Ending::Complete),
        ("GET", "/wrong", 500, 0, Ending::Failed),
        ("GET", "/refused", 400, 0, Ending::Complete),
        ("GET", "/later", 200, 1, Ending::Complete),
    ] {
        ask(address, &get(method, path));
        let line = lines.recv_timeout(PATIENCE).expect("a line");
        assert_eq!(line, (path.to_owned(), Some(status), sent, ending), "{method}");
    }
}
