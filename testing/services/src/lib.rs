//! What can be served, and how it ends: the tests of every adapter.
//!
//! An adapter implements [`Adapter`], and declares the tests with [`services!`]. The clients block, and need
//! no runtime.

pub mod access;
pub mod basics;
pub mod connections;
pub mod counted;
pub mod gone;
pub mod kinds;
pub mod panics;
pub mod places;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub mod tls;
pub mod tunnels;
pub mod turns;
#[cfg(unix)]
pub mod unix_sockets;
pub mod uploads;

/// What every adapter exports.
mod adapter {
    pub(crate) use portcullis::{self, Config};
    pub(crate) use portcullis_driver::*;
}

use crate::adapter::portcullis::websocket::Violation;
use crate::adapter::portcullis::{Refusal, ResetReason};
use crate::adapter::{
    Body, BoxError, Cloned, CloseFrame, Closed, Config, Incoming, Listener, MakeService, Message,
    Native, PeerAddress, ProxySource, Reply, Report, ResponseDeadline, Runtime, ServeConnection,
    Server, Service, Socket, Stats, Timer, Upgrade, memory, refuse_upgrade,
};
use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, post};
use futures_lite::future::or;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use std::future::{Ready, ready};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What an adapter brings to the tests.
pub trait Adapter: 'static {
    /// Its runtime.
    type Runtime: Runtime;
    /// Its listener.
    type Listener: Listener;

    /// Runs `future` as a task.
    fn spawn(future: impl Future<Output = ()> + Send + 'static);

    /// A server on `listener`.
    fn server<S: Service<K>, K: 'static>(
        listener: TcpListener,
        config: Arc<Config>,
        service: S,
    ) -> Server<Self::Runtime, Self::Listener, S, Cloned<K>>;

    /// The runtime, and `listener` as one of its own.
    fn parts(listener: TcpListener) -> (Self::Runtime, Self::Listener);

    /// A connection on a stream in memory.
    fn connection<S: Service<K>, K: 'static>(
        io: memory::Stream,
        config: Arc<Config>,
        service: S,
    ) -> ServeConnection<impl Timer, impl Socket, S, K>;

    /// A connection on a TCP stream.
    fn tcp_connection<S: Service<K>, K: 'static>(
        stream: TcpStream,
        config: Arc<Config>,
        service: S,
    ) -> ServeConnection<impl Timer, impl Socket, S, K>;

    /// A connection on a Unix socket.
    #[cfg(unix)]
    fn unix_connection<S: Service<K>, K: 'static>(
        stream: std::os::unix::net::UnixStream,
        config: Arc<Config>,
        service: S,
    ) -> ServeConnection<impl Timer, impl Socket, S, K>;

    /// A server on a Unix socket.
    #[cfg(unix)]
    fn unix_server<S: Service<K>, K: 'static>(
        listener: std::os::unix::net::UnixListener,
        config: Arc<Config>,
        service: S,
    ) -> Server<Self::Runtime, impl Listener, S, Cloned<K>>;
}

/// Ends a wait for an event that never comes. It measures nothing: on a busy machine an event may take long.
const PATIENCE: Duration = Duration::from_secs(600);

fn listener() -> (TcpListener, SocketAddr) {
    listener_at(([127, 0, 0, 1], 0).into())
}

/// A listener on an address that only one test uses. Once its port is free again, the system may give the
/// port to another test, but not at this address.
fn listener_of_its_own(test: u8) -> (TcpListener, SocketAddr) {
    // Only Linux has all of 127.0.0.0/8.
    let host = if cfg!(target_os = "linux") { [127, 31, 41, test] } else { [127, 0, 0, 1] };
    listener_at((host, 0).into())
}

fn listener_at(address: SocketAddr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).expect("a free port");
    listener.set_nonblocking(true).expect("it can be set");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Serves on a free port.
fn start<A: Adapter, S: Service<K>, K: 'static>(service: S) -> SocketAddr {
    let (listener, address) = listener();
    start_server::<A, _, _, _, _>(A::server(listener, Arc::default(), service));
    address
}

/// Runs the server. Returns where its report will be.
fn start_server<A: Adapter, R: Runtime, L: Listener, M: MakeService<L, K>, K: 'static>(
    server: Server<R, L, M, K>,
) -> Receiver<Report> {
    let (told, report) = channel();
    A::spawn(async move {
        // The test may be over before the server ends.
        let _ = told.send(server.await.expect("it never fails"));
    });
    report
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    stream
}

/// The bytes that the server sends until it closes.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    // A connection that is cut off ends as well.
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Waits until this number of connections is open.
fn open(stats: &Stats, count: u64) {
    let start = Instant::now();
    while stats.snapshot().open != count {
        assert!(start.elapsed() < PATIENCE, "{:?}", stats.snapshot());
        thread::yield_now();
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
    Response::new(Full::new(b"hello"))
}

/// More bytes than a connection holds at once.
const LARGE: usize = 1_000_000;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: odd, even\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A small frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// The answer to an upgrade and to the bytes that follow it: the head, and the bytes after it.
fn talk(address: SocketAddr, said: &[u8]) -> (String, Vec<u8>) {
    let mut stream = connect(address);
    stream.write_all(&[UPGRADE.as_bytes(), said].concat()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an end");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let rest = answer.split_off(end);
    (String::from_utf8(answer).expect("text"), rest)
}

/// The content, without its framing if it is chunked.
fn dechunk(head: &[u8], content: Vec<u8>) -> Vec<u8> {
    if !head.windows(7).any(|seven| seven == b"chunked") {
        return content;
    }
    let (mut rest, mut whole) = (&content[..], Vec::new());
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").expect("a size");
        let size = std::str::from_utf8(&rest[..line]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("hexadecimal");
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}

/// Declares a test for each function of this crate that tests an [`Adapter`].
#[macro_export]
macro_rules! services {
    ($adapter:ident) => {
        $crate::room! { $adapter; access:
            the_access_log_tells_how_each_request_ended,
            the_access_log_tells_of_answers_on_the_spot,
        }
        $crate::room! { $adapter; basics:
            many_clients_at_once_are_served,
            an_axum_router_is_served_as_it_is,
            a_native_service_answers_on_the_spot,
            a_handler_of_axum_becomes_a_websocket,
            a_websocket_tells_how_it_ended_and_may_be_used_from_another_task,
            a_websocket_ends_with_its_handler_though_it_was_given_away,
            the_peer_address_is_told_on_demand,
            the_peer_address_is_the_one_in_the_header_of_a_trusted_proxy,
            a_body_limit_of_the_handlers_own,
            deadlines_of_the_handlers_own,
            content_of_a_fast_peer_comes_in_large_pieces,
            content_is_read_on_another_task_while_the_answer_waits_for_its_reader,
            dropping_the_server_closes_everything,
            a_graceful_shutdown_reports,
            a_connection_that_waits_for_the_peer_ends_on_time,
            large_content_goes_both_ways_at_its_readers_pace,
        }
        $crate::room! { $adapter; connections:
            a_connection_in_memory_is_served_and_tells_how_it_ended,
            a_connection_in_memory_ends_on_time_and_with_its_peer,
            a_connection_that_is_dropped_is_closed,
            a_connection_drains_when_it_is_told_to,
            a_router_and_a_websocket_are_served_on_a_stream_in_memory,
            the_peer_address_is_what_the_caller_says,
            the_header_of_a_proxy_tells_the_peer_address_of_a_connection,
            a_tcp_stream_is_served_and_gets_its_options,
            a_reset_of_a_tcp_stream_is_noticed_though_it_is_not_read,
            bytes_that_a_socket_holds_back_are_flushed_also_at_the_end,
        }
        $crate::room! { $adapter; counted:
            a_request_is_one_poll_and_no_alarm,
            the_alarm_is_never_later_than_the_deadline,
            a_connection_that_waits_is_not_polled,
            content_that_comes_in_pieces_is_one_poll_a_piece,
            a_socket_without_bytes_is_read_once_a_poll,
        }
        $crate::room! { $adapter; gone:
            a_handler_is_told_of_a_fin_at_once_and_dropped_later,
            a_reset_is_noticed_whatever_is_held,
            a_read_that_was_given_up_is_no_wait_for_the_peer,
            requests_that_arrived_while_a_handler_blocked_its_thread_are_answered,
        }
        $crate::room! { $adapter; kinds:
            tower_services_that_are_not_sync_are_served,
            an_async_function_may_fail_and_the_client_gets_a_500,
            each_connection_calls_a_clone_of_its_own,
            a_service_that_cannot_be_cloned_costs_its_connection_alone,
        }
        $crate::room! { $adapter; panics:
            a_request_whose_handler_panics_is_answered,
            a_request_whose_router_panics_is_answered,
            a_request_whose_native_service_panics_is_answered,
            content_that_panics_is_cut_off_or_answered_with_500,
            a_websocket_whose_handler_panics_is_closed_with_1011,
        }
        $crate::room! { $adapter; places:
            as_many_idle_connections_leave_as_newcomers_come,
            a_newcomer_waits_for_one_of_those_that_are_busy,
            silent_connections_leave_too_and_servers_share_their_places,
            clients_that_came_before_a_drain_are_answered,
        }
        #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
        $crate::room! { $adapter; tls:
            tls_is_spoken_on_a_stream_in_memory,
            tls_is_spoken_on_a_listener,
            requests_are_told_of_the_handshake,
            tls_settings_are_chosen_by_the_clients_first_message,
            a_panic_while_tls_settings_are_chosen_costs_one_connection,
            certificates_are_exchanged_while_a_server_runs,
            a_tunnel_over_tls_ends_with_a_close_notify_in_each_direction,
        }
        $crate::room! { $adapter; tunnels:
            an_upgrade_and_connect_become_tunnels_whose_directions_end_by_themselves,
            the_application_may_end_its_direction_first,
            a_tunnel_that_is_dropped_sends_its_rest_and_one_that_panics_is_reset,
            a_handler_that_knows_nothing_of_tunnels_accepts_none,
            a_request_that_asks_for_no_tunnel_has_none,
            much_passes_in_both_directions_at_once,
            a_client_that_reads_slowly_holds_up_the_writer_and_little_is_held,
            an_application_that_reads_slowly_holds_up_the_client_and_little_is_held,
            a_tunnel_in_which_nothing_passes_is_ended_on_time,
            a_client_of_a_tunnel_that_is_gone_is_noticed,
            a_shutdown_gives_tunnels_their_time,
            connect_over_http2_becomes_a_tunnel_beside_others,
        }
        $crate::room! { $adapter; turns:
            many_requests_at_once_take_many_turns,
            a_request_is_answered_beside_many_that_take_their_time,
            a_request_is_answered_beside_many_messages_that_take_their_time,
            a_request_is_answered_beside_many_assembled_messages_that_take_their_time,
        }
        #[cfg(unix)]
        $crate::room! { $adapter; unix_sockets:
            many_clients_of_a_unix_socket_are_served_and_drained,
            a_client_of_a_unix_socket_that_came_before_the_shutdown_is_answered,
            the_path_of_a_client_of_a_unix_socket_is_told_if_it_has_one,
            the_end_of_a_unix_peer_is_noticed_though_it_is_not_read,
        }
        $crate::room! { $adapter; uploads:
            unread_content_is_bounded_and_counted,
        }
    };
}

/// Declares the tests of one room.
#[doc(hidden)]
#[macro_export]
macro_rules! room {
    ($adapter:ident; $room:ident: $($test:ident,)*) => {
        mod $room {
            $(
                #[test]
                fn $test() {
                    $crate::$room::$test::<super::$adapter>();
                }
            )*
        }
    };
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn each_function_that_tests_an_adapter_is_declared() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let declared = fs::read_to_string(folder.join("lib.rs")).expect("the sources are there");
        let mut count = 0;
        for entry in fs::read_dir(&folder).expect("the sources are there") {
            let path = entry.expect("an entry").path();
            for line in fs::read_to_string(&path).expect("a source").lines() {
                let Some(rest) = line.strip_prefix("pub fn ") else { continue };
                let Some((name, _)) = rest.split_once("<A: Adapter>()") else { continue };
                assert!(declared.contains(&format!(" {name},\n")), "{name} is not declared");
                count += 1;
            }
        }
        assert!(count > 50, "{count} tests");
    }
}
