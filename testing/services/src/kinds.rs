//! The kinds of services: tower services that are not `Sync`, functions that fail, and clones for each
//! connection.

use super::{Adapter, GET, ask, connect, listener, start, start_server};
use crate::adapter::portcullis::Builder;
use crate::adapter::{Body, BoxError, Config};
use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tower::service_fn;
use tower::util::{BoxCloneService, BoxCloneSyncService};

pub fn tower_services_that_are_not_sync_are_served<A: Adapter>() {
    // A `Cell` is `Send`, and not `Sync`.
    let count = Cell::new(0);
    let counts = service_fn(move |_: Request<Body>| {
        count.set(count.get() + 1);
        let text = format!("request {}", count.get());
        async move { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text))) }
    });
    let address = start::<A, _, _>(BoxCloneService::new(counts));
    assert!(ask(address, GET).ends_with("\r\n\r\nrequest 1"));
    let router = Router::new().route("/", get(async || "routed"));
    let address = start::<A, _, _>(BoxCloneService::new(router.clone()));
    assert!(ask(address, GET).ends_with("\r\n\r\nrouted"));
    let address = start::<A, _, _>(BoxCloneSyncService::new(router));
    assert!(ask(address, GET).ends_with("\r\n\r\nrouted"));
}

/// An error of an application's own.
#[derive(Debug)]
struct NotFound;

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was not found")
    }
}

impl std::error::Error for NotFound {}

pub fn an_async_function_may_fail_and_the_client_gets_a_500<A: Adapter>() {
    async fn find(request: Request<Body>) -> Result<Response<Full<Bytes>>, NotFound> {
        match request.uri().path() {
            "/" => Ok(Response::new(Full::from("found"))),
            _ => Err(NotFound),
        }
    }
    let address = start::<A, _, _>(find);
    assert!(ask(address, GET).ends_with("\r\n\r\nfound"));
    let other = "GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = ask(address, other);
    assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("not found"), "{answer}");
    // Errors of several kinds, as `?` makes them.
    let address = start::<A, _, _>(async |request: Request<Body>| {
        let code = request.uri().path().trim_start_matches('/').parse::<u16>()?;
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = StatusCode::from_u16(code)?;
        Ok::<_, BoxError>(response)
    });
    for (path, status) in [("/204", "204"), ("/text", "500"), ("/1", "500")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = ask(address, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
}

pub fn each_connection_calls_a_clone_of_its_own<A: Adapter>() {
    let mut count = 0;
    let address = start::<A, _, _>(move |_: Request<Body>| {
        count += 1;
        let text = format!("request {count};");
        async move { Response::new(Full::<Bytes>::from(text)) }
    });
    for _ in 0..2 {
        let mut stream = connect(address);
        let two = format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{GET}");
        stream.write_all(two.as_bytes()).expect("it reads");
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("two answers");
        assert!(answers.contains("request 1;") && answers.ends_with("request 2;"), "{answers}");
    }
}

/// Panics when it is cloned for the first time.
struct Fragile(Arc<AtomicBool>);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(self.0.swap(true, SeqCst), "as the test wants it");
        Fragile(self.0.clone())
    }
}

pub fn a_service_that_cannot_be_cloned_costs_its_connection_alone<A: Adapter>() {
    let fragile = Fragile(Arc::default());
    let service = move |_: Request<Body>| {
        let _fragile = &fragile;
        async { Response::new(Full::new(&b"cloned"[..])) }
    };
    // There is one place, which has to be free again.
    let config = Config::builder().set("max_connections", "1").and_then(Builder::build);
    let (listener, address) = listener();
    start_server::<A, _, _, _, _>(A::server(listener, Arc::new(config.expect("valid")), service));
    let mut stream = connect(address);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "a close");
    assert!(ask(address, GET).ends_with("\r\n\r\ncloned"));
}
