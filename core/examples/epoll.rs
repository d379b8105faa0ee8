//! A driver on readiness: one thread, one read buffer and one set of deadlines for all connections.
//! `mio` uses epoll on Linux, kqueue on the BSDs, and their counterparts elsewhere.
//!
//!     cargo run -p portcullis --example epoll -- 127.0.0.1:8080 keep_alive_timeout=2s
//!
//! Readiness is reported once, when it begins ("edge-triggered"). So each client remembers that its
//! socket is readable or writable until a call says otherwise.

mod support;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use portcullis::{CloseReason, Config, Connection, PeerClose, Tick};
use slab::Slab;
use socket2::SockRef;
use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::{replace, take};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::app::App;

/// Connections at a time. Further ones wait in the kernel's queue.
const MOST: usize = 10_000;
/// Reads and writes of one client before other clients get their turn.
const FAIR: usize = 16;
/// Slices of one write.
const SLICES: usize = 16;
const LISTENER: Token = Token(usize::MAX);

struct Client {
    socket: TcpStream,
    connection: Connection,
    app: App,
    readable: bool,
    writable: bool,
    /// The system reported that the client has reset the connection.
    is_reset: bool,
    shut_down: bool,
    /// The client's entry among the deadlines: at its deadline, or earlier.
    alarm: Option<Tick>,
    /// The client is in the queue.
    queued: bool,
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    /// More connections may wait to be accepted.
    acceptable: bool,
    config: Arc<Config>,
    clients: Slab<Client>,
    /// Clients that have something to do now.
    queue: VecDeque<usize>,
    /// When to come back to each client. A client has at most one entry.
    deadlines: BTreeSet<(Tick, usize)>,
    scratch: Scratch,
}

/// The read and write buffers that all connections share, so that an idle one has no buffers.
struct Scratch {
    read: Vec<u8>,
    write: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (address, config) = support::arguments()?;
    let mut listener = TcpListener::bind(address)?;
    println!("listening on http://{}", listener.local_addr()?);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let read = vec![0; config.receive_buffer_limit() as usize];
    let mut server = Server {
        poll,
        listener,
        acceptable: true,
        config,
        clients: Slab::new(),
        queue: VecDeque::new(),
        deadlines: BTreeSet::new(),
        scratch: Scratch { read, write: Vec::with_capacity(1024) },
    };
    let start = Instant::now();
    let clock = || Tick::ZERO.after(start.elapsed());
    let mut ready = Events::with_capacity(1024);
    loop {
        // 1. Wait until the first deadline. Do not wait if a client yielded, or if a place has
        //    become free for a connection in the kernel's queue.
        let patience = if server.queue.is_empty() && !server.has_newcomers() {
            server.deadlines.first().map(|(at, _)| at.since(clock()))
        } else {
            Some(Duration::ZERO)
        };
        match server.poll.poll(&mut ready, patience) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            polled => polled?,
        }
        // 2. Read the clock once for everything that is ready.
        let now = clock();
        for event in &ready {
            if event.token() == LISTENER {
                server.acceptable = true;
            } else if let Some(client) = server.clients.get_mut(event.token().0) {
                client.readable |=
                    event.is_readable() || event.is_read_closed() || event.is_error();
                client.writable |= event.is_writable() || event.is_write_closed();
                client.is_reset |= event.is_error();
                server.call(event.token().0);
            }
        }
        while let Some((_, id)) = server.deadlines.first().filter(|(at, _)| *at <= now).copied() {
            server.deadlines.pop_first();
            match server.clients.get_mut(id) {
                Some(client) => {
                    client.alarm = None;
                    // The process may have been stopped since the poll, so ask the socket before
                    // time passes.
                    (client.readable, client.writable) = (true, true);
                }
                None => server.acceptable = true,
            }
            server.call(id);
        }
        // 3. Accept new connections, then attend once to each client in the queue.
        server.accept(clock);
        for id in take(&mut server.queue) {
            server.attend(id, now);
        }
    }
}

impl Server {
    fn call(&mut self, id: usize) {
        if let Some(client) = self.clients.get_mut(id)
            && !replace(&mut client.queued, true)
        {
            self.queue.push_back(id);
        }
    }

    fn has_newcomers(&self) -> bool {
        self.acceptable && self.clients.len() < MOST
    }

    fn accept(&mut self, clock: impl Fn() -> Tick) {
        while self.has_newcomers() {
            let (mut socket, _) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.acceptable = false;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(_) => {
                    // Most likely no descriptors are left. The listener gets a deadline as well, to
                    // try again.
                    self.acceptable = false;
                    let again = clock().after(Duration::from_millis(100));
                    self.deadlines.insert((again, LISTENER.0));
                    return;
                }
            };
            let id = self.clients.vacant_key();
            let both = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut socket, Token(id), both).is_err() {
                continue;
            }
            let _ = socket.set_nodelay(true);
            self.clients.insert(Client {
                socket,
                // The client may have come after the round began, and gets all of its time.
                connection: Connection::new(self.config.clone(), clock()),
                app: App::default(),
                readable: true,
                writable: true,
                is_reset: false,
                shut_down: false,
                alarm: None,
                queued: false,
            });
            self.call(id);
        }
    }

    /// Does what a client needs now, and makes sure to come back in time.
    fn attend(&mut self, id: usize, now: Tick) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.queued = false;
        client.connection.lend_buffer(take(&mut self.scratch.write));
        let has_more = client.attend(now, &mut self.scratch.read);
        self.scratch.write = client.connection.return_buffer();

        if client.connection.status().closed().is_some() {
            if client.connection.status().is_cut_off() {
                let _ = SockRef::from(&client.socket).set_linger(Some(Duration::ZERO));
            }
            if let Some(alarm) = client.alarm {
                self.deadlines.remove(&(alarm, id));
            }
            // Dropping the socket closes it, and removes it from the poll.
            self.clients.remove(id);
            return;
        }
        // Ask for the deadline last, since everything above may move it. It moves with nearly every
        // call, mostly later. Then the earlier alarm stays, and finds nothing to do.
        if let Some((at, _)) = client.connection.deadline()
            && client.alarm.is_none_or(|alarm| at < alarm)
        {
            if let Some(alarm) = client.alarm.replace(at) {
                self.deadlines.remove(&(alarm, id));
            }
            self.deadlines.insert((at, id));
        }
        if has_more {
            self.call(id);
        }
    }
}

impl Client {
    /// Goes on until the socket and the connection have nothing to do. True if this client had to
    /// yield before that.
    fn attend(&mut self, now: Tick, buffer: &mut [u8]) -> bool {
        let Client { socket, connection, app, .. } = self;
        let gone = CloseReason::Peer(PeerClose::Reset);
        for _ in 0..FAIR {
            if connection.status().resume {
                app.take(now, connection.resume(now));
            }
            let status = connection.status();
            if status.write && self.writable {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = connection.outgoing(&mut slices);
                match socket.write_vectored(&slices[..count]) {
                    Ok(bytes) if bytes > 0 => connection.sent(now, bytes),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(_) | Err(_) => connection.abort(now, gone),
                }
            } else if status.wants_shutdown() && !replace(&mut self.shut_down, true) {
                if socket.shutdown(Shutdown::Write).is_err() {
                    connection.abort(now, gone);
                }
            } else if status.read && self.readable {
                match socket.read(buffer) {
                    Ok(0) => app.take(now, connection.receive_eof(now)),
                    Ok(bytes) => match connection.receive(now, &mut buffer[..bytes]) {
                        Ok(events) => app.take(now, events),
                        Err(misuse) => {
                            unreachable!("the connection wants to read, but refused: {misuse}")
                        }
                    },
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => connection.abort(now, gone),
                }
            } else if replace(&mut self.is_reset, false) {
                // Backpressure stopped reading, so no read has reported the reset.
                connection.abort(now, gone);
            } else if connection.status().has_work {
                // The next round goes on with it.
            } else if connection.deadline().is_some_and(|(at, _)| at <= now) {
                // Let time pass last: all input was read, and all output that fits was sent.
                connection.tick(now);
            } else {
                return false;
            }
        }
        // There is more to do, but time has to pass all the same.
        connection.tick(now);
        true
    }
}
