//! The cases in which servers are compared.

use portcullis_tests::load::{Browser, Limit, Plan, Request};
use portcullis_tests::reference::{ECHO, HELLO, Stack, bytes_target};

use crate::server::Server;

/// The servers of a case. Ratios are those of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Http,
    WebSocket,
    #[cfg(feature = "other-runtimes")]
    Smol,
    #[cfg(feature = "other-runtimes")]
    AsyncStd,
}

impl Field {
    pub(crate) const ALL: &[Field] = &[
        Field::Http,
        Field::WebSocket,
        #[cfg(feature = "other-runtimes")]
        Field::Smol,
        #[cfg(feature = "other-runtimes")]
        Field::AsyncStd,
    ];

    pub(crate) fn stacks(self) -> &'static [Stack] {
        match self {
            Field::Http => &[Stack::Hyper, Stack::Axum, Stack::Portcullis],
            Field::WebSocket => &[Stack::Fastwebsockets, Stack::Tungstenite, Stack::Portcullis],
            #[cfg(feature = "other-runtimes")]
            Field::Smol => &[Stack::HyperSmol, Stack::PortcullisSmol],
            #[cfg(feature = "other-runtimes")]
            Field::AsyncStd => &[Stack::AsyncH1, Stack::PortcullisAsyncStd],
        }
    }
}

/// The unit of a case's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Answers, or messages that came back.
    Requests,
    /// Bytes of bodies, in millions.
    Megabytes,
}

/// One kind of load.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The servers that take part.
    pub(crate) field: Field,
    pub(crate) unit: Unit,
    pub(crate) tls: bool,
    kind: Kind,
    connections: usize,
}

enum Kind {
    /// Small requests, `burst` in one write.
    Hello { burst: usize, browser: Browser },
    /// One small request on each connection.
    Fresh,
    /// A download of this many bytes.
    Download(u64),
    /// An upload of this many bytes.
    Upload(u64),
    /// Websocket messages of `size` bytes, `burst` in one write.
    Echo { size: usize, burst: usize, text: bool },
}

const fn hello(name: &'static str, connections: usize, burst: usize, browser: Browser) -> Case {
    let kind = Kind::Hello { burst, browser };
    Case { name, field: Field::Http, unit: Unit::Requests, tls: false, kind, connections }
}

const fn transfer(name: &'static str, connections: usize, kind: Kind) -> Case {
    Case { name, field: Field::Http, unit: Unit::Megabytes, tls: false, kind, connections }
}

const fn fresh(name: &'static str, connections: usize) -> Case {
    Case {
        name,
        field: Field::Http,
        unit: Unit::Requests,
        tls: false,
        kind: Kind::Fresh,
        connections,
    }
}

const fn echo(
    name: &'static str,
    connections: usize,
    size: usize,
    burst: usize,
    text: bool,
) -> Case {
    let kind = Kind::Echo { size, burst, text };
    Case { name, field: Field::WebSocket, unit: Unit::Requests, tls: false, kind, connections }
}

const fn tls(case: Case) -> Case {
    Case { tls: true, ..case }
}

#[cfg(feature = "other-runtimes")]
const fn on(field: Field, case: Case) -> Case {
    Case { field, ..case }
}

pub(crate) const CASES: &[Case] = &[
    hello("keep-alive, 1 connection", 1, 1, Browser::None),
    hello("keep-alive, 64 connections", 64, 1, Browser::None),
    hello("the same with browser heads", 64, 1, Browser::Desktop),
    hello("pipelined 16 deep, 8 connections", 8, 16, Browser::None),
    fresh("connection per request, 16 at once", 16),
    transfer("download 1 MB, 8 connections", 8, Kind::Download(1_000_000)),
    transfer("download 100 MB, 1 connection", 1, Kind::Download(100_000_000)),
    transfer("upload 10 MB, 4 connections", 4, Kind::Upload(10_000_000)),
    tls(hello("TLS: keep-alive, 64 connections", 64, 1, Browser::None)),
    tls(fresh("TLS: connection per request, 16 at once", 16)),
    tls(transfer("TLS: download 1 MB, 8 connections", 8, Kind::Download(1_000_000))),
    tls(transfer("TLS: download 100 MB, 1 connection", 1, Kind::Download(100_000_000))),
    tls(transfer("TLS: upload 10 MB, 4 connections", 4, Kind::Upload(10_000_000))),
    echo("websocket: 64 B, 1 connection", 1, 64, 1, false),
    echo("websocket: 64 B, 64 connections", 64, 64, 1, false),
    echo("websocket: 64 B text, 64 connections", 64, 64, 1, true),
    echo("websocket: 64 B, 16 in a write, 8 connections", 8, 64, 16, false),
    echo("websocket: 16 KiB, 8 connections", 8, 16 << 10, 1, false),
    echo("websocket: 16 KiB text, 8 connections", 8, 16 << 10, 1, true),
];

/// The same cases on other runtimes.
#[cfg(not(feature = "other-runtimes"))]
pub(crate) const ELSEWHERE: &[Case] = &[];
#[cfg(feature = "other-runtimes")]
pub(crate) const ELSEWHERE: &[Case] = &[
    on(Field::Smol, hello("on smol: keep-alive, 1 connection", 1, 1, Browser::None)),
    on(Field::Smol, hello("on smol: keep-alive, 64 connections", 64, 1, Browser::None)),
    on(Field::Smol, hello("on smol: pipelined 16 deep, 8 connections", 8, 16, Browser::None)),
    on(Field::Smol, fresh("on smol: connection per request, 16 at once", 16)),
    on(
        Field::Smol,
        transfer("on smol: download 1 MB, 8 connections", 8, Kind::Download(1_000_000)),
    ),
    on(Field::Smol, transfer("on smol: upload 10 MB, 4 connections", 4, Kind::Upload(10_000_000))),
    on(Field::AsyncStd, hello("on async-std: keep-alive, 1 connection", 1, 1, Browser::None)),
    on(Field::AsyncStd, hello("on async-std: keep-alive, 64 connections", 64, 1, Browser::None)),
    on(
        Field::AsyncStd,
        hello("on async-std: pipelined 16 deep, 8 connections", 8, 16, Browser::None),
    ),
    on(Field::AsyncStd, fresh("on async-std: connection per request, 16 at once", 16)),
    on(
        Field::AsyncStd,
        transfer("on async-std: download 1 MB, 8 connections", 8, Kind::Download(1_000_000)),
    ),
    on(
        Field::AsyncStd,
        transfer("on async-std: upload 10 MB, 4 connections", 4, Kind::Upload(10_000_000)),
    ),
];

impl Case {
    /// Whether this server can take part.
    pub(crate) fn suits(&self, stack: Stack) -> bool {
        match self.kind {
            Kind::Hello { burst: 2.., .. } => stack.has_pipelining(),
            _ => true,
        }
    }

    /// The load for one server.
    pub(crate) fn plan(&self, server: &Server, limit: Limit) -> Plan {
        let hello = HELLO.len() as u64;
        let (request, burst, answer_length) = match self.kind {
            Kind::Echo { size, burst, text } => {
                (Request::message(ECHO, size, text), burst, size as u64)
            }
            Kind::Hello { burst, browser } => (Request::get_as("/hello", browser), burst, hello),
            Kind::Fresh => (Request::get_and_close("/hello"), 1, hello),
            Kind::Download(count) => (Request::get(&bytes_target(count)), 1, count),
            // The server answers the length in decimal.
            Kind::Upload(count) => {
                (Request::post("/sink", count), 1, count.to_string().len() as u64)
            }
        };
        Plan::new(server.address(), request, limit)
            .over(server.transport().clone())
            .connections(self.connections)
            .burst(burst)
            .answer_length(answer_length)
    }
}
