//! What the servers are compared in.

use portcullis_tests::load::{Browser, Limit, Plan, Request};
use portcullis_tests::reference::{ECHO, HELLO, Stack, bytes_target};

use crate::server::Server;

/// Who is compared in a case; the ratios are the last one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Http,
    WebSocket,
}

impl Field {
    pub(crate) const ALL: [Field; 2] = [Field::Http, Field::WebSocket];

    pub(crate) fn stacks(self) -> &'static [Stack; 3] {
        match self {
            Field::Http => &[Stack::Hyper, Stack::Axum, Stack::Portcullis],
            Field::WebSocket => &[Stack::Fastwebsockets, Stack::Tungstenite, Stack::Portcullis],
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Answers, or messages that came back.
    Requests,
    /// Bytes of bodies, by the million.
    Megabytes,
}

/// One kind of load.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) tls: bool,
    kind: Kind,
    connections: usize,
}

enum Kind {
    /// Small requests, so many in one write.
    Hello { burst: usize, browser: Browser },
    /// A small request on each connection.
    Fresh,
    /// A download of so many bytes.
    Download(u64),
    /// An upload of so many bytes.
    Upload(u64),
    /// Messages of so many bytes over websockets, so many in one write.
    Echo { size: usize, burst: usize, text: bool },
}

const fn hello(name: &'static str, connections: usize, burst: usize, browser: Browser) -> Case {
    let kind = Kind::Hello { burst, browser };
    Case { name, unit: Unit::Requests, tls: false, kind, connections }
}

const fn transfer(name: &'static str, connections: usize, kind: Kind) -> Case {
    Case { name, unit: Unit::Megabytes, tls: false, kind, connections }
}

const fn fresh(name: &'static str, connections: usize) -> Case {
    Case { name, unit: Unit::Requests, tls: false, kind: Kind::Fresh, connections }
}

const fn echo(
    name: &'static str,
    connections: usize,
    size: usize,
    burst: usize,
    text: bool,
) -> Case {
    let kind = Kind::Echo { size, burst, text };
    Case { name, unit: Unit::Requests, tls: false, kind, connections }
}

const fn tls(case: Case) -> Case {
    Case { tls: true, ..case }
}

pub(crate) const CASES: [Case; 19] = [
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

impl Case {
    /// Who takes part.
    pub(crate) fn field(&self) -> Field {
        match self.kind {
            Kind::Echo { .. } => Field::WebSocket,
            _ => Field::Http,
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
            // The answer is the length in decimal.
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
