//! The server's side of a connection as a pure state machine: bytes and clock ticks go in; events,
//! bytes and one deadline come out. It is built so that no peer can hold a connection, or make the
//! server hold memory, for longer or more than a number that the configuration names.
//!
//! # The one idea
//!
//! At every moment each direction waits for exactly one party.
//!
//! - It waits for **the peer**: a deadline runs, always. It is [`Connection::deadline`].
//! - It waits for **the application**: no deadline of the peer's runs, and nothing more is read or
//!   accepted than the limits allow.
//! - It waits for neither: the work is done in the call.
//!
//! So a slow application never gets a connection killed, and a slow peer never holds one.
//!
//! # The table of waits
//!
//! | it waits for | who has to act | timer | from | phase |
//! |---|---|---|---|---|
//! | the rest of a TLS handshake | the peer | `tls_handshake` |  | `handshake` |
//! | a request of which nothing has arrived | the peer | `keep_alive` | its first beginning | `idle` |
//! | the rest of a head, or of the record that carries it | the peer | `request_head` | its beginning | `request_head` |
//! | content that the application asked for | the peer | `request_body` | as progress pays | `request_body` |
//! | the application: an answer, or that it asks for content | the application |  |  | `application` |
//! | the application, although the peer has sent its FIN | the application | `peer_gone` | its beginning | `application` |
//! | the rest of the content of a request that is answered | the peer | `linger` | its first beginning | `lingering` |
//! | messages of a websocket, in either direction | either |  |  | `websocket` |
//! | bytes of a tunnel, in either direction | either | `tunnel_idle` | as progress pays | `tunnel` |
//! | a window for an answer, or the rest of the content of an answered request (HTTP/2) | the peer | `stream` | as progress pays | `response` |
//!
//! Beside the row, `response` runs while the peer does not take what was sent, `drain` while the connection
//! is told to finish, and `connection_age` if it is set. A websocket has timers of its own: see
//! [`websocket`]. The timer of a tunnel runs while its application waits for the peer and nothing passes in either
//! direction; while the application has not asked for bytes, none runs.
//!
//! # Driving it
//!
//! There is no I/O here, and no clock. A driver that has a socket passes in the bytes that it reads, writes
//! the [`outgoing`](Connection::outgoing) bytes, and comes back at the deadline:
//!
//! ```
//! use bytes::Bytes;
//! use core::time::Duration;
//! use portcullis::{CloseReason, Config, Connection, Event, Expiry, Tick, Timer};
//! use std::io::IoSlice;
//! use std::sync::Arc;
//!
//! let config = Config::builder().keep_alive_timeout(Duration::from_secs(5)).build()?;
//! let now = Tick::ZERO;
//! let mut connection = Connection::new(Arc::new(config), now);
//!
//! // Bytes in: they lie in a buffer of the driver's, and events are lent out of it.
//! let mut buffer = *b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
//! let mut events = connection.receive(now, &mut buffer)?;
//! while let Some((connection, event)) = events.next() {
//!     if let Event::Request { stream, head } = event {
//!         assert_eq!((head.method(), head.target()), ("GET", "/hello"));
//!         let fields = head.to_http()?.headers().clone();
//!         assert_eq!(fields["host"], "localhost");
//!
//!         let mut content = Bytes::from_static(b"Hello, world!");
//!         connection.stream(now, stream).answer(http::StatusCode::OK, None, &mut content)?;
//!     }
//! }
//! drop(events);
//!
//! // Bytes out, as slices for a vectored write.
//! let mut slices = [IoSlice::new(&[]); 16];
//! let count = connection.outgoing(&mut slices);
//! let answer: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
//! assert_eq!(answer, b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nHello, world!");
//! connection.sent(now, answer.len());
//!
//! // Time: the peer may be silent for so long, and no longer.
//! let (deadline, timer) = connection.deadline().expect("it waits for the peer");
//! assert_eq!((deadline, timer), (now.after(Duration::from_secs(5)), Timer::KeepAlive));
//! connection.tick(deadline);
//! assert_eq!(connection.status().closed(), Some(CloseReason::Expired(Expiry::KeepAlive)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`driving`] shows the loop of a driver step by step, and the mistakes to avoid. The folder `examples` has
//! four drivers: on threads, on readiness, on io_uring, and one that simulates it all.
//!
//! # What is where
//!
//! | room | what it does |
//! |---|---|
//! | `connection` | the public calls; composes what follows |
//! | `config` | every limit and timeout, its default and its source |
//! | [`driving`] | how to write a driver: nothing but documentation |
//! | [`behind_a_proxy`] | what to set behind nginx, HAProxy or a cloud balancer: nothing but documentation |
//! | [`close`] | why things end: close reasons, refusals, misuse; the table of all of them |
//! | `event`, `head`, `stream`, `status` | what a driver is told |
//! | `time`, `rate`, `budget` | ticks, the one table of timers, the minimum rate, tokens for what is useless |
//! | `protocol` | the protocol in use, HTTP/1.1, HTTP/2, WebSocket or a tunnel: the one place that knows which there are |
//! | `step` | what a protocol has found, as places in the input |
//! | `waits`, `endings` | the two tables: what is waited for, and how a connection ends |
//! | `bound` | the most memory that a connection owns |
//! | `input`, `output` | the bytes at hand, and the bytes to be written |
//! | `tls` | records to plaintext and back, by rustls: `session`, `hello`, `receive`, `seal`, `record`, `info` |
//! | `transport` | what all protocols share; how a connection ends |
//! | `websocket` | WebSocket: `handshake`, `origin`, `extension` and `negotiation` (how it begins), `frame`, `mask`, `utf8`, `close` (what is read and written), `message` (what frames add up to), `ahead` (pings behind what is not read yet), `deflate` (compression), `session` (what both sides do, and when) |
//! | `socket` | a websocket over a stream of HTTP/2 |
//! | `exchange` | one request and its answer, in all versions of HTTP: `state` (the table of an answer's states), `upload` (credit, limit and minimum rate), `answer` and `fields` (the rules), `grammar` and `target` (what names, values and targets may be) |
//! | `h2` | HTTP/2: `frame` and `hpack` (what is read and written), `head` (requests and trailers), `streams` (the table of a stream's states), `receive`, `blocks`, `content` and `actions` (what moves them), `flow` (windows), `schedule` (who sends next), `settings`, `connect` (tunnels), `guard` (what frames cost), `endings` |
//! | `h1` | HTTP/1.1: `state` (the table of receiving), `framed` (how an exchange is framed), `receive` and `actions` (what moves them), `tunnel` (what is left when HTTP is over), `section`, `head`, `body`, `trailers` (what is read), `response` (what is written) |
//!
//! # What a slow peer can hold
//!
//! A peer may be slow, pause, and sit behind a network that delivers in lumps. What it has to do to
//! hold a request body or an answer for a time T, at the defaults:
//!
//! - move 240 bytes for each second of T on average, at any time before, so that a burst pays ahead;
//! - send a byte of content every 30 s (`request_body_silence`), or take bytes every 30 s
//!   (`response_silence`; while it reads a lump that its system took at once, up to four times that
//!   may pass unseen).
//!
//! So the worst case of a body of 16 MiB, the default limit, is 19 hours for 16 MiB and 2,330 single
//! bytes. An answer that nobody reads is reset after 5 s (`response_grace`) if the peer's system takes
//! nothing either. If it takes some into its buffer, the peer can't be told from one that reads it
//! slowly: it is reset when the time is over that those bytes are worth, and at most 150 s later.
//! `request_body_deadline` and `response_deadline` bound the whole as well; [`Config::strict`] sets
//! the former to 10 minutes and both silences to 10 s. Meanwhile the peer holds one connection and at
//! most [`Config::memory_bound`] bytes.
//!
//! A tunnel of which a byte passes now and then, in either direction, may last for ever: such tunnels are honest, and
//! the application has accepted them. One in which nothing passes ends after an hour (`tunnel_idle_timeout`, which
//! shrinks under pressure); [`Config::strict`] allows five minutes. What a peer does not take is guarded as an answer.
//!
//! # Promises
//!
//! After every call, for every input and every order of calls: memory is at most
//! [`Config::memory_bound`]; while the peer is waited for there is a deadline; events and output
//! depend on the bytes, not on how they were cut; nothing panics.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod behind_a_proxy;
mod bound;
mod budget;
pub mod close;
mod config;
mod connection;
pub mod driving;
mod endings;
mod event;
mod exchange;
pub mod gate;
mod h1;
mod h2;
mod head;
mod input;
mod output;
mod protocol;
mod rate;
mod socket;
mod status;
mod step;
mod stream;
mod time;
mod tls;
mod transport;
mod waits;
pub mod websocket;

pub use close::{
    CloseReason, ErrorCode, Expiry, Fault, Misuse, PeerClose, Refusal, ResetReason, TlsFailure,
};
pub use config::{Builder, Config, ConfigError, ConnectionLimit, MemoryLimit, Setting, Stress};
#[cfg(feature = "tls")]
pub use config::{ChooseTls, TlsChoice};
pub use connection::{Connection, Events, Stream};
pub use event::{Begun, BodyLength, Event, Sent};
pub use head::{FieldLines, RefusedHead, RequestHead, Trailers};
/// The version that [`Builder::tls`] takes.
#[cfg(feature = "tls")]
pub use rustls;
pub use status::{Life, Party, Phase, Status};
pub use stream::StreamId;
pub use time::{Tick, Timer};
#[cfg(feature = "tls")]
pub use tls::TlsInfo;
