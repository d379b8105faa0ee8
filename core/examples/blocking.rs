//! A driver on plain threads of the standard library, one for each connection.
//!
//!     cargo run -p portcullis --example blocking -- 127.0.0.1:8080 keep_alive_timeout=2s
//!
//! The thread does one thing at a time: it writes while there is something to write, and otherwise
//! reads. Either call blocks, but never beyond the connection's deadline: that is the socket's
//! timeout for the call. So no client holds a thread for longer than the configuration says. The
//! price: nothing is read while a write blocks. A client that uploads while it is answered has to
//! read as it sends.

mod support;

use portcullis::{CloseReason, Config, Connection, PeerClose, Tick};
use socket2::SockRef;
use std::error::Error;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::app::App;

/// Connections at a time. Further ones wait in the kernel's queue until one of these has ended, and
/// no client can delay that end.
const MOST: usize = 512;
/// Bytes of one read.
const BUFFER: usize = 16 << 10;
/// How long one write may block. Only when it returns does the connection learn what the client
/// took. A long write would count that progress late, and give a client that takes nothing more an
/// extra wait.
const LONGEST_WRITE: Duration = Duration::from_millis(250);
/// Slices of one write.
const SLICES: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let (address, config) = support::arguments()?;
    let listener = TcpListener::bind(address)?;
    println!("listening on http://{}", listener.local_addr()?);
    let places = Arc::new(Places::default());
    loop {
        let place = Places::take(&places);
        match listener.accept() {
            Ok((socket, _)) => {
                let config = config.clone();
                let serve = move || {
                    let _place = place;
                    serve(&socket, config);
                };
                // If no thread can be started, the connection is dropped, and the others are still
                // served.
                let _ = thread::Builder::new().stack_size(128 << 10).spawn(serve);
            }
            // Most often no descriptors are left, and some will be freed soon.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Serves one connection to its end.
fn serve(mut socket: &TcpStream, config: Arc<Config>) -> CloseReason {
    // The machine has no clock. Ticks count from an origin that the driver chooses, here one for
    // each connection.
    let start = Instant::now();
    let clock = || Tick::ZERO.after(start.elapsed());
    let gone = CloseReason::Peer(PeerClose::Reset);

    // Never read more than the connection takes at once.
    let size = BUFFER.min(config.receive_buffer_limit() as usize);
    let mut buffer = [0; BUFFER];
    let mut connection = Connection::new(config, clock());
    let mut app = App::default();
    let mut shut_down = false;
    // Answers are already written in as few pieces as possible.
    let _ = socket.set_nodelay(true);
    loop {
        // 1. Events that need no new bytes: `sent` may have made room, or a deadline may have
        //    passed.
        if connection.status().resume {
            app.take(clock(), connection.resume(clock()));
        }
        // 2. Ask for the status now, since everything above may have changed it.
        let status = connection.status();
        let patience = connection.deadline().map(|(at, _)| {
            // The kernel may return a little early, so wait for at least a millisecond.
            at.since(clock()).max(Duration::from_millis(1))
        });
        if let Some(reason) = status.closed() {
            if connection.status().is_cut_off() {
                // A truncated answer must not look complete, so close with a reset.
                let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
            }
            return reason;
        }
        // 3. Write first: that frees memory, and the client waits for it.
        let mut moved = false;
        if status.write {
            let most = patience.map_or(LONGEST_WRITE, |patience| patience.min(LONGEST_WRITE));
            let _ = socket.set_write_timeout(Some(most));
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = connection.outgoing(&mut slices);
            match socket.write_vectored(&slices[..count]) {
                // Report it before the next tick, so that it counts as taken in time.
                Ok(bytes) if bytes > 0 => {
                    connection.sent(clock(), bytes);
                    moved = true;
                }
                Err(error) if is_in_vain(error.kind()) => {}
                Ok(_) | Err(_) => connection.abort(clock(), gone),
            }
        } else if status.wants_shutdown() && !shut_down {
            // The last answer is out. Further input is read and discarded, since a reset for it
            // could overtake the answer.
            (shut_down, moved) = (true, true);
            if socket.shutdown(Shutdown::Write).is_err() {
                connection.abort(clock(), gone);
            }
        } else if !status.read && !connection.status().has_work {
            // The connection waits only for the application, but this application answers at once.
            // An application with threads of its own would have to wake this one, for example
            // through a channel.
            connection.abort(clock(), CloseReason::Aborted);
        }
        // 4. Read. A client that takes nothing may still send something.
        if !moved && status.read {
            let patience = match status.write {
                true => Some(Duration::from_millis(1)),
                false => patience,
            };
            let _ = socket.set_read_timeout(patience);
            match socket.read(&mut buffer[..size]) {
                Ok(0) => {
                    app.take(clock(), connection.receive_eof(clock()));
                    moved = true;
                }
                Ok(bytes) => {
                    match connection.receive(clock(), &mut buffer[..bytes]) {
                        Ok(events) => app.take(clock(), events),
                        Err(misuse) => {
                            unreachable!("the connection wants to read, but refused: {misuse}")
                        }
                    }
                    moved = true;
                }
                Err(error) if is_in_vain(error.kind()) => {}
                Err(_) => connection.abort(clock(), gone),
            }
        }
        // 5. Let time pass last, after the socket had nothing to offer.
        if !moved {
            connection.tick(clock());
        }
    }
}

/// Whether the call timed out or was interrupted: nothing is lost then.
fn is_in_vain(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Counts connections, and makes the acceptor wait while there are [`MOST`].
#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    fn take(places: &Arc<Places>) -> Place {
        let taken = places.taken.lock().expect("no thread panics while it holds the lock");
        let mut taken = places
            .freed
            .wait_while(taken, |taken| *taken >= MOST)
            .expect("no thread panics while it holds the lock");
        *taken += 1;
        Place(places.clone())
    }
}

/// A counted connection. Dropping it frees the place, however its thread ends.
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.taken.lock().expect("no thread panics while it holds the lock") -= 1;
        self.0.freed.notify_one();
    }
}
