//! Unix sockets are served as TCP is, and the system knows their peers.

use super::connections::run;
use super::{Adapter, GET, PATIENCE, hello, start_server};
use crate::adapter::{Body, Disconnected, PeerAddress, Stats};
use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use std::future::ready;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use tempfile::TempDir;

fn listener(folder: &TempDir) -> UnixListener {
    let listener = UnixListener::bind(folder.path().join("server")).expect("bound");
    listener.set_nonblocking(true).expect("it can be set");
    listener
}

fn connect(folder: &TempDir) -> UnixStream {
    let stream = UnixStream::connect(folder.path().join("server")).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    stream
}

fn ask(mut stream: UnixStream) -> String {
    stream.write_all(GET.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

pub fn many_clients_of_a_unix_socket_are_served_and_drained<A: Adapter>() {
    let folder = TempDir::new().expect("a folder");
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let signal = async move { _ = stopped.recv().await };
    let stats = Arc::new(Stats::new());
    let server = A::unix_server(listener(&folder), Arc::default(), hello);
    let report =
        start_server::<A, _, _, _, _>(server.stats(stats.clone()).with_graceful_shutdown(signal));
    thread::scope(|scope| {
        let answers: Vec<_> = (0..20).map(|_| scope.spawn(|| ask(connect(&folder)))).collect();
        for answer in answers {
            assert!(answer.join().expect("no panic").ends_with("\r\n\r\nhello"));
        }
    });
    // The clients have left, so only the idle connection is open from now on.
    super::open(&stats, 0);
    let mut idle = connect(&folder);
    super::open(&stats, 1);
    drop(stop);
    let report = report.recv_timeout(PATIENCE).expect("it ends");
    assert_eq!((report.finished, report.cut), (1, 0));
    assert_eq!(idle.read(&mut [0]).expect("a FIN"), 0);
}

pub fn a_client_of_a_unix_socket_that_came_before_the_shutdown_is_answered<A: Adapter>() {
    let folder = TempDir::new().expect("a folder");
    let listener = listener(&folder);
    let mut client = connect(&folder);
    client.write_all(GET.as_bytes()).expect("the kernel takes it");
    start_server::<A, _, _, _, _>(
        A::unix_server(listener, Arc::default(), hello).with_graceful_shutdown(ready(())),
    );
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

pub fn the_path_of_a_client_of_a_unix_socket_is_told_if_it_has_one<A: Adapter>() {
    let tell = |request: Request<Body>| async move {
        let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0.to_string());
        Response::new(Full::<Bytes>::from(peer.unwrap_or_default()))
    };
    let folder = TempDir::new().expect("a folder");
    start_server::<A, _, _, _, _>(
        A::unix_server(listener(&folder), Arc::default(), tell).tell_peer_address(),
    );
    assert!(ask(connect(&folder)).ends_with("\r\n\r\nunix"));
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let (socket, path) = (socket.expect("a socket"), folder.path().join("client"));
    socket.bind(&socket2::SockAddr::unix(&path).expect("a path")).expect("bound");
    let server = socket2::SockAddr::unix(folder.path().join("server")).expect("a path");
    socket.connect(&server).expect("it listens");
    let answer = ask(socket.into());
    assert!(answer.ends_with(&format!("\r\n\r\nunix:{}", path.display())), "{answer}");
}

/// Unread content keeps the driver from reading the socket, so only the system knows of the end.
pub fn the_end_of_a_unix_peer_is_noticed_though_it_is_not_read<A: Adapter>() {
    for abrupt in [false, true] {
        if !abrupt && !cfg!(target_os = "linux") {
            continue;
        }
        let (told, seen) = channel();
        let waits = move |request: Request<Body>| {
            let told = told.clone();
            async move {
                let gone = request.extensions().get::<Disconnected>().cloned().expect("there");
                told.send("begun").expect("the test waits");
                gone.await;
                let _ = told.send("disconnected");
                let _unread = request;
                std::future::pending::<Response<Full<Bytes>>>().await
            }
        };
        let (mut client, server) = UnixStream::pair().expect("a pair");
        server.set_nonblocking(true).expect("it can be set");
        let ended = run::<A, _, _, _, _>(A::unix_connection(server, Arc::default(), waits));
        let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12345";
        client.write_all(request).expect("it reads");
        assert_eq!(seen.recv_timeout(PATIENCE), Ok("begun"));
        if abrupt {
            drop(client);
            assert_eq!(seen.recv_timeout(PATIENCE), Ok("disconnected"));
        } else {
            client.shutdown(Shutdown::Write).expect("shut down");
            assert_eq!(seen.recv_timeout(PATIENCE), Ok("disconnected"));
            assert!(ended.try_recv().is_err(), "it may still read its answer");
        }
    }
}
