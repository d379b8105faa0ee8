//! The cases in which servers are compared.

use std::path::Path;

use portcullis_tests::load::{Browser, Limit, Plan, Request};
use portcullis_tests::reference::{ECHO, HELLO, Stack, bytes_target};

use crate::h2load::H2load;
use crate::server::Server;

/// The servers of a case. Ratios are those of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Http,
    Http2,
    WebSocket,
    #[cfg(feature = "other-runtimes")]
    Smol,
    #[cfg(feature = "other-runtimes")]
    AsyncStd,
}

impl Field {
    pub(crate) const ALL: &[Field] = &[
        Field::Http,
        Field::Http2,
        Field::WebSocket,
        #[cfg(feature = "other-runtimes")]
        Field::Smol,
        #[cfg(feature = "other-runtimes")]
        Field::AsyncStd,
    ];

    pub(crate) fn stacks(self) -> &'static [Stack] {
        match self {
            Field::Http => &[Stack::Hyper, Stack::Axum, Stack::Portcullis],
            Field::Http2 => &[Stack::HyperH2, Stack::NginxH2, Stack::Portcullis],
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
    /// Streams of each connection at the same time: one, unless it is HTTP/2.
    streams: usize,
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
    Case {
        name,
        field: Field::Http,
        unit: Unit::Requests,
        tls: false,
        kind,
        connections,
        streams: 1,
    }
}

const fn transfer(name: &'static str, connections: usize, kind: Kind) -> Case {
    Case {
        name,
        field: Field::Http,
        unit: Unit::Megabytes,
        tls: false,
        kind,
        connections,
        streams: 1,
    }
}

const fn fresh(name: &'static str, connections: usize) -> Case {
    Case {
        name,
        field: Field::Http,
        unit: Unit::Requests,
        tls: false,
        kind: Kind::Fresh,
        connections,
        streams: 1,
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
    Case {
        name,
        field: Field::WebSocket,
        unit: Unit::Requests,
        tls: false,
        kind,
        connections,
        streams: 1,
    }
}

/// Over HTTP/2, with so many streams of each connection at the same time.
const fn http2(streams: usize, case: Case) -> Case {
    Case { field: Field::Http2, streams, ..case }
}

const fn hello2(name: &'static str, connections: usize, streams: usize) -> Case {
    http2(streams, hello(name, connections, 1, Browser::None))
}

const fn tls(case: Case) -> Case {
    Case { tls: true, ..case }
}

#[cfg(feature = "other-runtimes")]
const fn on(field: Field, case: Case) -> Case {
    Case { field, ..case }
}

const MIB: u64 = 1 << 20;

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
    hello2("HTTP/2: 1 connection, 1 stream", 1, 1),
    hello2("HTTP/2: 1 connection, 32 streams", 1, 32),
    hello2("HTTP/2: 1 connection, 100 streams", 1, 100),
    hello2("HTTP/2: 8 connections, 1 stream", 8, 1),
    hello2("HTTP/2: 8 connections, 32 streams", 8, 32),
    hello2("HTTP/2: 8 connections, 100 streams", 8, 100),
    hello2("HTTP/2: 64 connections, 1 stream", 64, 1),
    hello2("HTTP/2: 64 connections, 32 streams", 64, 32),
    hello2("HTTP/2: 64 connections, 100 streams", 64, 100),
    http2(4, transfer("HTTP/2: download 1 MiB, 8 connections, 4 streams", 8, Kind::Download(MIB))),
    http2(4, transfer("HTTP/2: upload 1 MiB, 8 connections, 4 streams", 8, Kind::Upload(MIB))),
    http2(1, transfer("HTTP/2: upload 1 MiB, 1 connection, 1 stream", 1, Kind::Upload(MIB))),
    tls(hello2("HTTP/2 over TLS: 1 connection, 32 streams", 1, 32)),
    tls(hello2("HTTP/2 over TLS: 8 connections, 32 streams", 8, 32)),
    tls(hello2("HTTP/2 over TLS: 64 connections, 1 stream", 64, 1)),
    tls(hello2("HTTP/2 over TLS: 64 connections, 100 streams", 64, 100)),
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
            Kind::Upload(_) => stack.has_uploads(),
            _ => true,
        }
    }

    /// The number of bytes that each request uploads.
    pub(crate) fn upload(&self) -> Option<u64> {
        match self.kind {
            Kind::Upload(count) => Some(count),
            _ => None,
        }
    }

    /// The bytes of bodies, in both directions, of one request.
    pub(crate) fn bytes(&self, answer_length: u64) -> u64 {
        answer_length + self.upload().unwrap_or(0)
    }

    /// The load over HTTP/2, with a file to upload.
    pub(crate) fn h2load<'a>(&self, upload: &'a Path) -> H2load<'a> {
        let (target, answer_length) = match self.kind {
            Kind::Download(count) => (bytes_target(count), count),
            Kind::Upload(count) => ("/sink".to_owned(), count.to_string().len() as u64),
            _ => ("/hello".to_owned(), HELLO.len() as u64),
        };
        H2load {
            connections: self.connections,
            streams: self.streams,
            target,
            answer_length,
            upload: self.upload().map(|_| upload),
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
