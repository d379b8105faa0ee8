//! How to write a driver of one's own: what moves bytes between a socket, a clock and a [`Connection`].
//!
//! There is nothing to call in this module; it is a chapter. Four drivers to start from lie in the
//! folder `examples`: `blocking` (threads), `epoll` (readiness), `uring` (completions) and
//! `simulation` (no sockets at all). All have the same application on top, `support/app.rs`.
//!
//! # The loop
//!
//! A driver keeps little for each connection, and goes round as long as something moves:
//!
//! ```
//! use portcullis::{CloseReason, Connection, Events, PeerClose, Status, Tick};
//! use std::io::{ErrorKind, IoSlice, Read, Write};
//! use std::mem::replace;
//!
//! struct Driven<S> {
//!     socket: S,
//!     connection: Connection,
//!     shut_down: bool,
//! }
//!
//! impl<S: Read + Write> Driven<S> {
//!     /// Does all that can be done without waiting. Says until when to wait, at the longest, for
//!     /// the socket or the application; or why it has ended.
//!     fn attend(
//!         &mut self,
//!         now: Tick,
//!         scratch: &mut [u8],
//!         take: &mut impl FnMut(Events<'_, '_>),
//!     ) -> Result<Option<Tick>, CloseReason> {
//!         let Driven { socket, connection, shut_down } = self;
//!         let gone = CloseReason::Peer(PeerClose::Reset);
//!         loop {
//!             // 1. Events that need no new bytes: after credit, an answer, room in the output, a tick.
//!             if connection.has_events() {
//!                 take(connection.resume(now));
//!             }
//!             let status = connection.status();
//!             // 2. What goes out. It frees memory, and the peer waits for it.
//!             if status.wants_write() {
//!                 let mut slices = [IoSlice::new(&[]); 16];
//!                 let count = connection.outgoing(&mut slices);
//!                 match socket.write_vectored(&slices[..count]) {
//!                     Ok(bytes) if bytes > 0 => {
//!                         connection.sent(now, bytes);
//!                         continue;
//!                     }
//!                     Err(error) if error.kind() == ErrorKind::WouldBlock => {}
//!                     Ok(_) | Err(_) => connection.abort(now, gone),
//!                 }
//!             }
//!             // 3. The last answer is out: the peer is told that no more comes, once.
//!             if status.wants_shutdown() && !replace(shut_down, true) {
//!                 // For example `socket.shutdown(Shutdown::Write)`.
//!                 continue;
//!             }
//!             // 4. What comes in, and only when it is wanted: that is how a peer is held back.
//!             if connection.wants_read() {
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
//!                     Err(error) if error.kind() == ErrorKind::WouldBlock => {}
//!                     Err(_) => connection.abort(now, gone),
//!                 }
//!             }
//!             // 5. Time comes last: all that has arrived was looked at, and all that fits is sent.
//!             if connection.has_work() {
//!                 continue;
//!             }
//!             if connection.deadline().is_none_or(|(at, _)| at > now) {
//!                 break;
//!             }
//!             connection.tick(now);
//!         }
//!         // 6. Is it over? If an answer was cut off the socket is reset instead of closed.
//!         if let Status::Closed(reason) = connection.status() {
//!             let _reset = connection.is_cut_off();
//!             return Err(reason);
//!         }
//!         // 7. The deadline comes last: everything above may have moved it.
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
//! # use portcullis::{Config, Event, Timer};
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
//! #             Event::Request { stream, .. } => connection.stream(now, stream).read(64).unwrap(),
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
//! Then the driver waits for the first of three: the socket can be read or written as the status wants,
//! the deadline has come, or the application has something to say.
//!
//! # Events, actions and credit
//!
//! Events are pulled. Each comes with the connection, so that the application can act while it reads the
//! event. The bytes that an event lends are gone with the next event.
//!
//! - **Credit.** No content is delivered, and none is waited for, without
//!   [`read`](crate::Stream::read). A credit is for one wait, as the read of a socket is: an application
//!   that wants more asks again, at the latest when it has dealt with an [`Event::Data`]. A credit may bring
//!   several of these events if enough bytes are at hand. On a websocket credit is a number of messages, and
//!   lasts. Without credit, `receive_buffer_limit` bytes are read ahead, so that the peer shows that it is
//!   there.
//! - **Room.** [`send`](crate::Stream::send) takes the bytes that fit. The application keeps the rest until
//!   [`Event::Writable`] says to go on. That event comes once, and only after [`Sent::Part`](crate::Sent).
//! - **The end of a request.** [`Misuse::UnknownStream`] is routine: the peer has reset, or the
//!   request was refused meanwhile. Other kinds of [`Misuse`] are mistakes in the application.
//! - **Stopping early** is fine: the connection keeps the bytes that were not looked at, and `has_events` is
//!   true. But it reads nothing more until they were, so come back without waiting for the socket.
//! - **Work that is left.** A compressed message of a few kilobytes may inflate to megabytes. The
//!   connection stops after [`INFLATED_AT_ONCE`](crate::websocket::INFLATED_AT_ONCE) bytes, and
//!   [`has_work`](Connection::has_work) is true: resume it after the other connections of the thread,
//!   without waiting for the socket. Meanwhile nothing is read, and no deadline of the peer's runs.
//!
//! # Buffers
//!
//! The buffer for reading is the driver's, and one serves all connections of a thread: nothing is left
//! in it when the events are dropped. Its bytes may be changed (TLS opens records and websockets are
//! unmasked in place). One call may bring
//! [`receive_buffer_limit`](crate::Config::receive_buffer_limit) of them at any time. Who has a larger
//! buffer may ask for [`receive_limit`](Connection::receive_limit) before each read: an upload from a
//! fast peer costs less in large reads, and then all events have to be pulled.
//!
//! For writing, [`lend_buffer`](Connection::lend_buffer) before a connection is attended to, and
//! [`return_buffer`](Connection::return_buffer) after, spare it an allocation for each answer:
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
//! With completions instead of readiness an operation in flight owns its buffer: a write owns a copy
//! of what is [`outgoing`](Connection::outgoing), which stays the same until it is
//! [`sent`](Connection::sent), and a read that completes when nothing is wanted is kept until
//! [`wants_read`](Connection::wants_read).
//!
//! # Timers
//!
//! A connection has one deadline, which moves with nearly every call, and most often to later. So
//! leave the earlier alarm armed, come back for nothing, and arm again then: a busy connection costs
//! one alarm in a few seconds. For many connections one ordered set is enough:
//!
//! ```
//! # use portcullis::{Config, Connection, Tick};
//! # use std::collections::BTreeSet;
//! /// Called last, whenever connection `id` was attended to. `alarm` is its entry in `alarms`, which
//! /// is taken out when it comes, and when the connection is closed.
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
//! The thread then waits until the first of `alarms`, or for ever if there is none. A wait that the
//! platform rounds down ends too early; that does no harm if it is not repeated at once, so round up.
//!
//! # Look before you close
//!
//! A deadline that has come says that the peer was silent for too long. Whether it was, only the
//! socket knows: a process that stood still (a handler that blocked its thread, a stopped machine)
//! has not looked at it. So do I/O first, and [`tick`](Connection::tick) only when the socket itself
//! had nothing. Readiness that a runtime has cached may be older than the deadline.
//!
//! The same holds for what the peer takes. The system accepts bytes that the peer has not taken,
//! and tells of room in lumps of up to several 100 KiB, so that a steady reader looks silent in
//! between. Where the system can be asked (`SIOCOUTQ` on Linux), tell the connection so at the
//! beginning with [`acknowledged`](Connection::acknowledged), and ask whenever a deadline has come:
//!
//! ```
//! # use portcullis::{Connection, Tick};
//! /// Called in the place of `tick` in step 5. `held` asks the system.
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
//! Without that, tell [`sent`](Connection::sent) as soon as the write returns, and before the next
//! tick: bytes then count as taken when they are told.
//!
//! While the application has the turn and backpressure holds (`read` is false), the driver does not read the
//! socket, and no read notices a reset. Check for a reset from time to time (`SO_ERROR`), or watch for
//! `EPOLLERR`, and [`abort`](Connection::abort). Check for a FIN as well (`POLLRDHUP`), and call
//! [`fin_arrived`](Connection::fin_arrived). After the peer's FIN
//! [`is_half_closed`](Connection::is_half_closed) is true. Tell the handler, which may stop; the connection
//! closes after `peer_gone_timeout`.
//!
//! # Fairness, and bounds
//!
//! A fast peer keeps the loop going for ever. After some rounds (16 in the examples) put the connection at
//! the end of a queue, and don't wait for sockets until the queue is empty. Bound the number of connections:
//! no connection can put off its end, so a place becomes free. One connection owns at most
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
//! | actions on a stream: `respond`, `send`, `finish`, `read`, … | yes | yes | yes | yes |
//! | `sent` | yes: `Writable`, the next request | less | yes | yes |
//! | `tick` | yes: `Reset` | yes: a 408, a ping | yes | yes |
//! | `outgoing` | no | makes TLS records | if TLS fails | if TLS fails |
//! | `acknowledged` | no | no | no | yes |
//! | `drain`, `abort` | yes | yes | yes | yes |
//! | `lend_buffer`, `return_buffer`, `set_wall_clock` | no | no | no | no |
//! | `status`, `deadline`, `has_events`, `has_work`, `room`, `memory`, … | no | no | no | no |
//!
//! So a driver remembers nothing from round to round. It asks again, and each answer costs next to nothing.
//!
//! # Mistakes
//!
//! | mistake | what it does |
//! |---|---|
//! | `has_events` is not asked after `sent`, or after an action from elsewhere | `Writable`, or the next pipelined request, never comes; and where that looks like a wait for the application, no deadline ends it |
//! | the driver waits for the socket while `has_work` is true | a compressed message stays half inflated until something else wakes the driver; nothing is read meanwhile |
//! | `outgoing` is asked after answers only | over TLS, a handshake, a key update or an alert is never sent; a ping, a 408 or the 100 (Continue) is not either |
//! | the deadline is read before the last call | it was moved; the connection lives too long, or the loop spins |
//! | the socket is read though `read` is false | [`Misuse::NotReading`]: nothing holds the peer back, and the bytes are yours to keep |
//! | the socket is not read though `read` is true, since a handler computes | a peer that is gone is not seen |
//! | reading goes on after its end | it returns 0 for ever: after `receive_eof`, `read` is false |
//! | readiness that is told once is forgotten while `read` or `write` is false | the connection stalls: keep a flag until a call would block |
//! | the socket is closed when the last answer is written | what the peer still sends is answered with a reset, which may overtake the answer: shut down writing, and go on reading until `Closed` |
//! | a socket that [`is_cut_off`](Connection::is_cut_off) is closed in good order | the peer may take what it has for all of an answer that ends with the connection |
//! | time passes before the socket is read | what arrived while the process stood still is answered with a 408, or a close |
//! | a blocking write without a short timeout | what the peer took is told when the call returns, and so counts as taken then |
//! | `Instant::now()` is asked for each call | it works, and costs: once in each round is enough |
//!
//! # A checklist
//!
//! 1. A client that sends nothing is gone after `keep_alive_timeout`, and one that sends a byte a
//!    second after `request_head_timeout`, with a 408.
//! 2. One that asks for much and reads nothing is reset after `response_grace`; the memory of the
//!    process does not grow with the answer.
//! 3. An upload larger than all buffers comes back whole from an echo, in one go and in bytes.
//! 4. Several requests in one packet are answered, in order, and also if the client has shut down its
//!    writing.
//! 5. A client that sends 40 MB to a path that does not want it, and reads nothing before it has sent
//!    all, reads the answer, not a reset (`linger_timeout` says for how long it may send).
//! 6. With a thousand idle connections the processor is idle, and wakes as often as deadlines expire.
//! 7. With all descriptors in use, accepting pauses and goes on.
//! 8. A process that is stopped for longer than every timer, and continued, answers what arrived.
//! 9. Over TLS: a handshake in bytes, a renewed key, and an end without a close_notify.
//!
//! The end-to-end tests of this project play most of these on the examples.

#[cfg(doc)]
use crate::{Connection, Event, Misuse};
