//! What the portcullis adapters share: the loop that turns a [`Connection`](portcullis::Connection)
//! and a socket into a future, requests and answers in the ecosystem's types, accepting, counting
//! and shutting down.
//!
//! A connection needs a [`Socket`] and a [`Timer`]; that is a [`ServeConnection`]. A [`Server`] accepts
//! connections from a [`Listener`], and spawns each on a [`Runtime`]. An adapter implements these traits
//! for its runtime, and offers `serve(listener, service)` and `serve_connection(io, service)`.
//!
//! | room | what it does |
//! |---|---|
//! | `server` | accepts, spawns, drains: the future that `serve` returns |
//! | `serve_connection` | one connection as a future, on any stream |
//! | `accept` | gets over errors of the listener |
//! | `access` | what an access log is told of each request when it is over |
//! | `within` | being within a span |
//! | `record` | what is noted of a request meanwhile, for the access log and its span |
//! | `admission`, `membership` | places for connections, and who leaves for a newcomer |
//! | `drive` | the loop of one connection, getting over panics, leaving its place for another |
//! | `exchanges` | the application's side of a connection: an exchange for each stream, and the queue of those that were woken |
//! | `streams` | a map from streams to values |
//! | `exchange`, `work` | one request on its way through the application: its handler, then its answer's content |
//! | `bell` | the waker of one handler |
//! | `reply` | what the driver adds to answers: a date, a 500 where the application fails |
//! | `error` | errors of the application, and of the content of a request |
//! | `body` | a request's content, asked for by polling |
//! | `upload` | the same on its way from the driver |
//! | `allowance` | how much a connection may do before others get their turn |
//! | `guard` | gets over a handler that panics |
//! | `websocket` | websockets for handlers: a stream and a sink of messages |
//! | [`upgrade`] | tunnels for handlers: CONNECT and upgrades as a stream of bytes |
//! | `make_service` | what gives each connection its service |
//! | `service` | what answers: async functions, tower services, types that look at the head first |
//! | `incoming` | a request as a service first sees it |
//! | `interim` | interim answers (1xx) of a handler |
//! | `ticket_keys` | session tickets that several processes can read |
//! | `tls_told` | what services are told of the TLS of their connection |
//! | `presence` | tells handlers that the peer has gone, or that the server drains |
//! | `waiting` | the wakers of the tasks that wait where the driver and the application meet |
//! | `timer`, `clock` | the lazy timer, the clocks |
//! | `scratch`, `spare` | what a thread's connections share: the read buffer, room for requests |
//! | `shared` | what all connections of a server share |
//! | `live_config` | a configuration that is exchanged while servers run |
//! | `control`, `stats` | orders to all connections, counters of all connections |
//! | `metrics` | the counters for a recorder of the `metrics` facade; behind the feature `metrics` |
//! | `room` | how much content a connection has room for, for content that asks |
//! | `runtime` | what a runtime has to offer |
//! | `listener`, `socket` | what accepts connections, and a connected stream of bytes |
//! | `handover` | hands a port over to another process |
//! | `held` | bytes that the application holds itself |
//! | `address` | where a peer is |
//! | `proxy_protocol` | the header by which a proxy tells whom it stands for |
//! | `system` | what the system tells about the peer of a socket |
//! | `tcp`, `unix` | options of TCP sockets, and accepting without waiting |
//! | `futures_socket` | any stream with the traits of `futures_io` as a socket |
//! | `memory` | a stream in memory, for clients in the same process |
//! | `axum_types` | what axum asks of types of this crate; behind the feature `axum` |
//! | `async_io` | listener, socket and timer of smol and async-std; behind the feature `async-io` |
//!
//! # What an operator sees
//!
//! Counters are in [`Stats`] and [`Admission`], and as metrics in `metrics`, which has the table of names and labels.
//! They are counted with a recorder and without one. Requests as they end go to the hook of
//! [`Server::access_log`], as an [`Access`].
//!
//! `tracing` has two spans, both of the level DEBUG and the target `portcullis_driver`. What a handler logs while it
//! is polled is within both. Tasks that a handler spawns are not, unless it instruments them. If no subscriber wants
//! the level, a request costs a few branches, and neither allocates nor looks at the clock for them.
//!
//! | span | field | what it tells |
//! |---|---|---|
//! | `connection` | `peer` | the address of the other end |
//! | | `client` | the client that a trusted proxy stands for, once its header has come |
//! | | `tls` | whether it is over TLS |
//! | | `requests`, `reason` | at the end: the requests that were delivered, and the label of the [`CloseReason`](portcullis::CloseReason) |
//! | `request` | `method`, `target`, `version` | the head, as the service gets it |
//! | | `stream` | the number of the [`StreamId`](portcullis::StreamId) |
//! | | `status`, `sent`, `seconds` | at the end: the status if there was one, bytes of content, and the time since the head |
//! | | `ending`, `reason` | at the end: the label of the [`Ending`], and why the request was reset |
//!
//! | event | level | within |
//! |---|---|---|
//! | `closed`: a connection has ended | DEBUG | `connection` |
//! | `request over` | DEBUG | `request` |
//! | `request refused`: before it reached the service; `method`, `target`, `version`, `stream`, `status`, `reason` | DEBUG | `connection` |
//! | the application failed or made a mistake | ERROR | `request` |
#![deny(missing_docs)]

mod accept;
mod access;
mod address;
mod admission;
mod allowance;
#[cfg(feature = "async-io")]
mod async_io;
#[cfg(feature = "axum")]
mod axum_types;
mod bell;
mod body;
mod clock;
mod control;
#[cfg(test)]
mod counted;
mod drive;
mod error;
mod exchange;
mod exchanges;
mod futures_socket;
mod guard;
pub mod handover;
mod held;
mod incoming;
mod interim;
mod listener;
mod live_config;
mod machine;
mod make_service;
mod membership;
pub mod memory;
#[cfg(feature = "metrics")]
pub mod metrics;
mod presence;
mod proxy_protocol;
mod record;
mod reply;
mod room;
mod roster;
mod runtime;
mod scratch;
mod serve_connection;
mod server;
mod service;
mod shared;
mod socket;
mod spare;
mod stats;
mod streams;
mod system;
pub mod tcp;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod ticket_keys;
mod timer;
mod tls_told;
#[cfg(unix)]
pub mod unix;
pub mod upgrade;
mod upload;
mod waiting;
mod websocket;
mod within;
mod work;

#[cfg(feature = "async-io")]
pub use self::async_io::{AsyncListener, AsyncSocket, AsyncTimer, StdListener, StdStream};
pub use access::{Access, Ending};
pub use address::Address;
pub use admission::{Admission, Gauge};
pub use body::{Body, BodyLimiter};
pub use error::{BodyError, BoxError};
pub use exchange::PeerAddress;
pub use futures_socket::FuturesSocket;
pub use held::Held;
pub use incoming::{Incoming, Reply};
pub use interim::Interim;
pub use ipnet::IpNet;
pub use listener::Listener;
pub use live_config::{LiveConfig, TlsDiffers};
pub use make_service::{Cloned, Made, MakeService, Making, Peer};
#[cfg(feature = "tls")]
pub use portcullis::{ChooseTls, TlsChoice, TlsInfo};
pub use presence::{Disconnected, Draining};
pub use proxy_protocol::{
    BadProxyHeader, BadProxySource, ProxyHeader, ProxyHeaderEnd, ProxySource,
};
pub use room::content_room;
pub use roster::{Roster, Row};
pub use runtime::{Runtime, Timer};
pub use serve_connection::ServeConnection;
pub use server::{Report, Server};
pub use service::{Function, FunctionAnswer, IntoAnswer, Native, Service, Tower, TowerAnswer};
pub use socket::Socket;
pub use stats::{Snapshot, Stats, memory_bound};
pub use system::System;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use ticket_keys::{TicketKeys, TicketKeysError};
pub use websocket::{CloseFrame, Closed, Message, Upgrade, WebSocket, refuse_upgrade};
pub use work::ResponseDeadline;
