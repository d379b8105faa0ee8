//! How to write a driver of your own: the code that moves bytes between a socket, a clock and a
//! [`Connection`].
//!
//! This module is a chapter and has nothing to call. The folder `examples` has four drivers to start
//! from: `blocking` (threads), `epoll` (readiness), `uring` (completions) and `simulation` (no sockets
//! at all). All four run the same application, `support/app.rs`.
//!
//! # The loop
//!
//! A driver keeps little state for each connection. Its loop repeats as long as something moves:
//!
//! ```
//! use portcullis::{CloseReason, Connection, Events, PeerClose, Tick};
//! use std::io::{ErrorKind, IoSlice, Read, Write};
//! use std::mem::replace;
//!
//! struct Driven<S> {
//!     socket: S,
//!     connection: Connection,
//!     shut_down: bool,
//! }
//!
//! /// Whether the socket has only to be waited for: also one that blocks, after its timeout or a signal.
//! fn waits(error: &std::io::Error) -> bool {
//!     matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
//! }
//!
//! impl<S: Read + Write> Driven<S> {
//!     /// Does all that can be done without waiting. Returns the time until which to wait for the
//!     /// socket or the application, or the reason if the connection has ended.
//!     fn attend(
//!         &mut self,
//!         now: Tick,
//!         scratch: &mut [u8],
//!         take: &mut impl FnMut(Events<'_, '_>),
//!     ) -> Result<Option<Tick>, CloseReason> {
//!         let Driven { socket, connection, shut_down } = self;
//!         let gone = CloseReason::Peer(PeerClose::Reset);
//!         loop {
//!             // 1. Pull the events that need no new bytes: after credit, an answer, a write, a tick.
//!             if connection.status().resume {
//!                 take(connection.resume(now));
//!             }
//!             let status = connection.status();
//!             // 2. Write. Writing frees memory, and the peer waits for these bytes.
//!             if status.write {
//!                 let mut slices = [IoSlice::new(&[]); 16];
//!                 let count = connection.outgoing(&mut slices);
//!                 match socket.write_vectored(&slices[..count]) {
//!                     Ok(bytes) if bytes > 0 => {
//!                         connection.sent(now, bytes);
//!                         continue;
//!                     }
//!                     Err(error) if waits(&error) => {}
//!                     Ok(_) | Err(_) => connection.abort(now, gone),
//!                 }
//!             }
//!             // 3. After the last answer, shut down writing once: the peer then sees the end.
//!             if status.wants_shutdown() && !replace(shut_down, true) {
//!                 // For example `socket.shutdown(Shutdown::Write)`.
//!                 continue;
//!             }
//!             // 4. Read, but only when the status says so: this is the backpressure on the peer.
//!             if connection.status().read {
//!                 match socket.read(scratch) {
//!                     Ok(0) => {
//!                         take(connection.receive_eof(now));
//!                         continue;
//!                     }
//!                     Ok(bytes) => {
//!                         let events = connection.receive(now, &mut scratch[..bytes]);
//!                         take(events.expect("it wants to read, and this is not too much"));
//!                         continue;
//!                     }
//!                     Err(error) if waits(&error) => {}
//!                     Err(_) => connection.abort(now, gone),
//!                 }
//!             }
//!             // 5. Time comes last: everything that arrived was read, everything that fits is sent.
//!             if connection.status().has_work {
//!                 continue;
//!             }
//!             if connection.deadline().is_none_or(|(at, _)| at > now) {
//!                 break;
//!             }
//!             connection.tick(now);
//!         }
//!         // 6. Check for the end. If an answer was cut off, reset the socket instead of closing it.
//!         let status = connection.status();
//!         if let Some(reason) = status.closed() {
//!             let _reset = status.is_cut_off();
//!             return Err(reason);
//!         }
//!         // 7. Read the deadline last: everything above may have moved it.
//!         Ok(connection.deadline().map(|(at, _)| at))
//!     }
//! }
//! #
//! # // A socket in memory: what is to be read, then nothing yet; and what was written.
//! # struct Wire(&'static [u8], Vec<u8>);
//! # impl Read for Wire {
//! #     fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
//! #         if self.0.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
//! #     }
//! # }
//! # impl Write for Wire {
//! #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.1.write(bytes) }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! #
//! # use portcullis::{Config, Event, Expiry};
//! # use std::{sync::Arc, time::Duration};
//! # let config = Arc::new(Config::default());
//! # let socket = Wire(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", Vec::new());
//! # let connection = Connection::new(config, Tick::ZERO);
//! # let mut driven = Driven { socket, connection, shut_down: false };
//! # let mut seen = 0;
//! # let now = Tick::ZERO;
//! # let mut take = |mut events: Events<'_, '_>| {
//! #     while let Some((connection, event)) = events.next() {
//! #         match event {
//! #             Event::Request { stream, .. } => connection.stream(now, stream).read_to(64).unwrap(),
//! #             Event::Data { data, .. } => seen += data.len(),
//! #             Event::End { stream, .. } => {
//! #                 let (ok, mut content) = (http::StatusCode::OK, bytes::Bytes::from_static(b"!"));
//! #                 let _ = connection.stream(now, stream).answer(ok, None, &mut content).unwrap();
//! #             }
//! #             _ => {}
//! #         }
//! #     }
//! # };
//! # let until = driven.attend(now, &mut [0; 1024], &mut take).expect("it is open").expect("a deadline");
//! # assert_eq!(until, now.after(Duration::from_secs(5)));
//! # assert_eq!(driven.attend(until, &mut [0; 1024], &mut take), Err(CloseReason::Expired(Expiry::KeepAlive)));
//! # assert!(driven.socket.1.starts_with(b"HTTP/1.1 200 OK\r\n") && driven.socket.1.ends_with(b"\r\n\r\n!"));
//! # assert_eq!(seen, 3);
//! ```
//!
//! Then the driver waits for the first of three things. The socket can be read or written as the status
//! says, the deadline has come, or the application has an action.
//!
//! # Events, actions and credit
//!
//! Events are pulled. Each comes with the connection, so that the application can act while it reads the
//! event. The bytes that an event lends are gone with the next event.
//!
//! - **Credit.** Without credit, the connection delivers no content and does not wait for any.
//!   [`read_to`](crate::Stream::read_to) gives credit up to a byte of the content. Credit is never taken
//!   back. While some is left, the application waits for the peer, and `request_body` runs. To take a
//!   piece at a time, ask for [`received`](crate::Stream::received) bytes and some more. If the
//!   application stops waiting, call [`cancel_read`](crate::Stream::cancel_read). On a websocket credit is
//!   a number of messages. Without it the connection still reads `receive_buffer_limit` bytes ahead, so
//!   that it sees whether the peer is alive.
//! - **Room.** [`send`](crate::Stream::send) takes the bytes that fit. The application keeps the rest until
//!   [`Event::Writable`] comes. That event comes once, and only after [`Sent::Part`](crate::Sent) or
//!   [`await_room`](crate::Stream::await_room).
//! - **The end of a request.** [`Misuse::UnknownStream`] is routine: the peer has reset the stream, or the
//!   connection has refused the request meanwhile. Every other [`Misuse`] is a bug in the application.
//! - **Stopping early** is fine. The connection keeps the bytes that were not looked at, and
//!   [`Status::resume`] is true. It reads nothing more until they are pulled, so come back without waiting
//!   for the socket.
//! - **Work that is left.** A compressed message of a few kilobytes may inflate to megabytes. The
//!   connection stops after [`INFLATED_AT_ONCE`](crate::websocket::INFLATED_AT_ONCE) bytes, and
//!   [`Status::has_work`] is true. Resume it after the other connections of the thread, without waiting
//!   for the socket. Until then the connection reads nothing, and no deadline of the peer's runs.
//!
//! # Several streams
//!
//! A client that speaks HTTP/2 works on up to `http2_concurrent_streams` requests at once. The events and the
//! actions are the same; the number of the stream tells which request they belong to. A driver that keeps its
//! handlers in a map by that number is ready for it:
//!
//! - [`Event::Request`] adds a handler. Others go on, and none of them is the newest for long.
//! - [`Event::Reset`] ends one handler, and no other. Drop its work: the client may begin another request in
//!   its place at once, and only work that has ended is bounded by `http2_concurrent_streams`.
//! - [`Event::Writable`] names the stream whose turn it is by its priority (RFC 9218). If several are told, let
//!   them send in that order. What a stream was told of is kept for it until the next `resume`; others that ask
//!   meanwhile get none of it, and none at all while a more urgent one waits.
//! - The head of an answer may find no room either: [`Misuse::Full`]. Keep it until `Writable` comes.
//! - Room may come without a write, when the client opens a window. A handler that looks at
//!   [`room`](crate::Stream::room) before it makes content asks to be told: see
//!   [`await_room`](crate::Stream::await_room).
//! - Credit opens the windows. Streams without credit hold up none that has some. Divide what you give by the
//!   number of handlers if they share memory.
//! - A websocket ends its stream, and the connection goes on. So does a tunnel.
//!
//! # Tunnels
//!
//! A request that [asks for a tunnel](crate::RequestHead::asks_for_tunnel) becomes one by
//! [`accept_tunnel`](crate::Stream::accept_tunnel). The events and the actions stay those of a request and its answer,
//! with three differences for a driver:
//!
//! - `finish` ends the application's direction only. Over HTTP/1.1 [`Status::wants_shutdown`] is then true while the
//!   connection is open: shut the socket down for writing, and go on reading.
//! - An [`Event::End`] may have told of the end of the request already. The tunnel has one of its own.
//! - The handler is over when it has accepted, and the tunnel goes on. Keep the stream in the map until both
//!   directions have ended, and call [`close_tunnel`](crate::Stream::close_tunnel) when nobody wants it any more.
//!
//! Switch HTTP/2 off with the setting `http2` where one request at a time is enough.
//!
//! # Buffers
//!
//! The driver owns the buffer for reading. One buffer serves all connections of a thread, because nothing
//! is left in it when the events are dropped. The connection may change its bytes: TLS opens records and
//! websockets unmask frames in place. Each read may bring
//! [`receive_buffer_limit`](crate::Config::receive_buffer_limit) bytes at any time. A driver with a larger
//! buffer may ask for [`receive_limit`](Connection::receive_limit) before each read. Large reads make an
//! upload from a fast peer cheaper, but all their events have to be pulled.
//!
//! For writing, lend the connection a buffer before you attend to it
//! ([`lend_buffer`](Connection::lend_buffer)), and ask for it back afterwards
//! ([`return_buffer`](Connection::return_buffer)). This saves an allocation for each answer:
//!
//! ```
//! # use portcullis::{Config, Connection, Tick};
//! # let mut connection = Connection::new(Default::default(), Tick::ZERO);
//! # let idle = connection.memory();
//! # let attend = |_: &mut Connection| {};
//! let mut spare = Vec::with_capacity(1024); // at most 4 KiB; one for all connections of a thread
//! connection.lend_buffer(std::mem::take(&mut spare));
//! attend(&mut connection);
//! spare = connection.return_buffer(); // without capacity if bytes in it are still unsent
//! # assert_eq!((connection.memory(), spare.capacity()), (idle, 1024));
//! ```
//!
//! With completions instead of readiness, an operation in flight owns its buffer. A write owns a copy of
//! the [`outgoing`](Connection::outgoing) bytes, which stay the same until they are
//! [`sent`](Connection::sent). If a read completes while [`Status::read`] is false, keep its bytes until it
//! is true.
//!
//! # Timers
//!
//! A connection has one deadline. Nearly every call moves it, most often to a later time. So leave the
//! earlier alarm armed, let it come for nothing, and arm it again then: a busy connection costs one alarm
//! in a few seconds. For many connections one ordered set is enough:
//!
//! ```
//! # use portcullis::{Config, Connection, Tick};
//! # use std::collections::BTreeSet;
//! /// Call this last, whenever you have attended to connection `id`. `alarm` is its entry in `alarms`.
//! /// Remove the entry when the alarm comes, and when the connection is closed.
//! fn arm(
//!     alarms: &mut BTreeSet<(Tick, usize)>,
//!     alarm: &mut Option<Tick>,
//!     id: usize,
//!     connection: &mut Connection,
//! ) {
//!     let Some((at, _)) = connection.deadline() else { return };
//!     if alarm.is_none_or(|alarm| at < alarm) {
//!         if let Some(alarm) = alarm.replace(at) {
//!             alarms.remove(&(alarm, id));
//!         }
//!         alarms.insert((at, id));
//!     }
//! }
//! # let mut connection = Connection::new(Default::default(), Tick::ZERO);
//! # let mut later = Connection::new(Default::default(), Tick::from_nanos(1));
//! # let (mut alarms, mut alarm) = (BTreeSet::new(), None);
//! # arm(&mut alarms, &mut alarm, 7, &mut connection);
//! # arm(&mut alarms, &mut alarm, 7, &mut later);
//! # assert_eq!(alarms.into_iter().collect::<Vec<_>>(), [(connection.deadline().unwrap().0, 7)]);
//! ```
//!
//! The thread then waits until the first of `alarms`, or for ever if there is none. If the platform rounds
//! a wait down, it ends too early and has to be repeated, so round up.
//!
//! # Look before you close
//!
//! A deadline says that the peer was silent for too long. Only the socket knows whether that is true: a
//! process that stood still (a handler that blocked its thread, a stopped machine) has not looked at it. So
//! do I/O first, and [`tick`](Connection::tick) only when the socket itself has nothing. Readiness that a
//! runtime has cached may be older than the deadline.
//!
//! The same holds for writing. The system accepts bytes that the peer has not taken, and reports room in
//! lumps of up to several 100 KiB, so a steady reader looks silent in between. If the system can be asked
//! (`SIOCOUTQ` on Linux), call [`acknowledged`](Connection::acknowledged) once at the beginning, and again
//! whenever a deadline has come:
//!
//! ```
//! # use portcullis::{Connection, Tick};
//! /// Replaces `tick` in step 5. `held` asks the system.
//! fn expire(connection: &mut Connection, now: Tick, held: impl FnOnce() -> u64) {
//!     if connection.unacknowledged() > 0 {
//!         connection.acknowledged(now, held());
//!     }
//!     // The deadline may have moved: a tick that comes early changes nothing.
//!     connection.tick(now);
//! }
//! # let mut connection = Connection::new(Default::default(), Tick::ZERO);
//! # connection.acknowledged(Tick::ZERO, 0);
//! # expire(&mut connection, Tick::ZERO, || 0);
//! ```
//!
//! If the system can't be asked, call [`sent`](Connection::sent) as soon as the write returns, before the
//! next tick. Bytes then count as taken at that call.
//!
//! While the application has the turn and backpressure holds (`read` is false), the driver does not read the
//! socket, so no read notices a reset. Check for a reset from time to time (`SO_ERROR`), or watch for
//! `EPOLLERR`, and call [`abort`](Connection::abort). Check for a FIN as well (`POLLRDHUP`), and call
//! [`fin_arrived`](Connection::fin_arrived). After the peer's FIN
//! [`is_half_closed`](Connection::is_half_closed) is true. Tell the handler, which may stop; the connection
//! closes after `peer_gone_timeout`.
//!
//! # TLS
//!
//! With [`Builder::tls`](crate::Builder::tls) the connection opens and makes records by itself. A driver passes bytes
//! on as they are, in both directions. The first request follows the handshake, and
//! [`Connection::tls_info`](crate::Connection::tls_info) then tells the name of the server that the client asked
//! for, and its certificates. Each call makes it anew. So make it once for a connection, share it between its
//! requests, and count [`TlsInfo::memory`](crate::TlsInfo::memory) as yours.
//!
//! # Fairness, and bounds
//!
//! A fast peer keeps the loop running for ever. After some rounds (16 in the examples) put the connection
//! at the end of a queue, and don't wait for sockets until the queue is empty. Bound the number of
//! connections: no connection can put off its end, so a place becomes free. One connection owns at most
//! [`memory_bound`](crate::Config::memory_bound) bytes.
//!
//! # An application on other threads
//!
//! A connection is not shared: its driver owns it. A handler on another thread sends its actions (credit,
//! content of an answer) through a channel, and wakes the driver by an `eventfd`, a `mio::Waker`, or the waker
//! of the task. The driver does the actions and goes round as above. While the connection waits for the
//! application alone, there is no deadline, and none is needed. But `read` stays true, so keep watching the
//! socket: a peer that is gone shows as its end, or as a reset. Pass [`Event::Reset`], and the end of the
//! connection, on to the handler.
//!
//! # What each call may change
//!
//! | call | events to pull | outgoing | status | deadline |
//! |---|---|---|---|---|
//! | `receive`, `resume`, `receive_eof`, until the events are dropped | brings them | yes | yes | yes |
//! | actions on a stream: `respond`, `send`, `finish`, `read_to`, … | yes | yes | yes | yes |
//! | `sent` | yes: `Writable`, the next request | less | yes | yes |
//! | `tick` | yes: `Reset` | yes: a 408, a ping | yes | yes |
//! | `outgoing` | no | makes TLS records | if TLS fails | if TLS fails |
//! | `acknowledged` | no | no | no | yes |
//! | `drain`, `abort` | yes | yes | yes | yes |
//! | `lend_buffer`, `return_buffer`, `set_wall_clock` | no | no | no | no |
//! | `status`, `deadline`, `room`, `received`, `memory`, … | no | no | no | no |
//!
//! So a driver remembers nothing from round to round. It asks again, and each answer costs next to nothing.
//!
//! # Mistakes
//!
//! | mistake | what it does |
//! |---|---|
//! | the driver does not look at `Status::resume` after `sent`, or after an action from elsewhere | `Writable`, or the next pipelined request, never comes; where this looks like a wait for the application, no deadline ends it |
//! | the driver waits for the socket while `Status::has_work` is true | a compressed message stays half inflated until something else wakes the driver; nothing is read meanwhile |
//! | the driver asks for `outgoing` after answers only | over TLS, a handshake, a key update or an alert is never sent; a ping, a 408 or a 100 (Continue) is not sent either |
//! | the driver reads the deadline before its last call | the deadline has moved: the connection lives too long, or the loop spins |
//! | the driver reads the socket although `read` is false | [`Misuse::NotReading`]: there is no backpressure, and the driver has to keep the bytes |
//! | the driver does not read the socket although `read` is true, because a handler computes | it does not see that the peer is gone |
//! | the driver goes on reading after the end of input | the read returns 0 for ever: after `receive_eof`, `read` is false |
//! | the driver forgets edge-triggered readiness while `read` or `write` is false | the connection stalls: keep a flag until a call would block |
//! | the driver closes the socket when the last answer is written | the system answers later bytes of the peer with a reset, which may overtake the answer: shut down writing, and go on reading until the connection is closed |
//! | the driver looks at `wants_shutdown` after the last answer only | the peer of a tunnel never hears that the application has ended its direction |
//! | the driver closes a socket in good order although the status is cut off | the peer may take the part that it has for the whole answer |
//! | the driver passes time before it reads the socket | bytes that arrived while the process stood still are answered with a 408, or a close |
//! | the driver blocks in a write without a short timeout | the call returns late, and the peer's progress counts from then on |
//! | the driver asks for `Instant::now()` before each call | it works, but costs time: once in each round is enough |
//!
//! # A checklist
//!
//! 1. A client that sends nothing is gone after `keep_alive_timeout`. A client that sends a byte a second
//!    gets a 408 after `request_head_timeout`.
//! 2. A client that asks for a large answer and reads nothing is reset after `response_grace`. The memory
//!    of the process does not grow with the answer.
//! 3. An echo returns an upload that is larger than all buffers, sent at once and byte by byte.
//! 4. Several requests in one packet are answered in order, also if the client has shut down its writing.
//! 5. A client sends 40 MB to a path that refuses it, and reads only after it has sent everything. It gets
//!    the answer, not a reset (`linger_timeout` is the time that it may take).
//! 6. With a thousand idle connections the processor is idle, and wakes only when deadlines expire.
//! 7. With all descriptors in use, accepting pauses, and goes on later.
//! 8. A process that is stopped for longer than every timer answers what has arrived when it continues.
//! 9. Over TLS: a handshake byte by byte, a key update, and an end without a close_notify.
//! 10. Over HTTP/2: `h2load -m 100` is answered; a client that asks for a hundred answers and takes none holds no
//!     more memory than one that asks for one; a slow handler holds up no other stream; a client that resets
//!     each request at once is told ENHANCE_YOUR_CALM.
//!
//! The end-to-end tests of this project check most of these on the examples.

#[cfg(doc)]
use crate::{Connection, Event, Misuse, Status};
