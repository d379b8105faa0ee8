//! Content that waits for a handler that does not take it. It is bounded, and counted.

use super::{Adapter, PATIENCE, connect, listener, start_server};
use crate::adapter::{Body, Config, Stats, memory_bound};
use axum::body::Bytes;
use futures_lite::future::poll_once;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes that are held for a large upload. The handler takes this number of pieces as soon as they
/// come. Then it asks for one more piece, and does not wait for it.
fn held<A: Adapter>(taken: usize) -> u64 {
    let (listener, address) = listener();
    let stats = Arc::new(Stats::new());
    let config = Arc::new(Config::default());
    let (told, asked) = channel();
    let service = move |request: Request<Body>| {
        let told = told.clone();
        async move {
            let mut body = request.into_body();
            for _ in 0..taken {
                body.frame().await.expect("there is more").expect("it is whole");
            }
            // A future asks for this piece and is dropped, as by a timeout or in a race.
            assert!(poll_once(body.frame()).await.is_none_or(|frame| frame.is_some()));
            told.send(()).expect("the test waits");
            std::future::pending::<()>().await;
            drop(body);
            Response::new(Full::<Bytes>::default())
        }
    };
    start_server::<A, _, _, _, _>(
        A::server(listener, config.clone(), service).stats(stats.clone()),
    );
    let mut stream = connect(address);
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16000000\r\n\r\n")
        .expect("it reads");
    stream.set_nonblocking(true).expect("it can be set");
    // Waits until the server has taken nothing for a while.
    let (mut quiet, start) = (Instant::now(), Instant::now());
    while quiet.elapsed() < Duration::from_millis(200) {
        assert!(start.elapsed() < PATIENCE);
        match stream.write(&[b'x'; 64 << 10]) {
            Ok(bytes) => {
                assert!(bytes > 0);
                quiet = Instant::now();
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    asked.recv_timeout(PATIENCE).expect("the handler has asked");
    let held = stats.snapshot().bytes_held;
    assert!(held <= memory_bound(&config) as u64, "{held}");
    held
}

pub fn unread_content_is_bounded_and_counted<A: Adapter>() {
    let limit = Config::default().receive_buffer_limit();
    // The content that waits for the handler, and the content that waits in the connection.
    let slow = held::<A>(0);
    assert!(slow >= limit && slow <= 2 * limit + 4096, "{slow}");
    let fast = held::<A>(20);
    assert!(fast >= limit, "{fast}");
}
