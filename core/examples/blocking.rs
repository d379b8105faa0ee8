//! A driver on plain threads of the standard library, one for each connection.
//!
//!     cargo run -p portcullis --example blocking -- 127.0.0.1:8080 keep_alive_timeout=2s
//!
//! The thread does one thing at a time: it writes while there is something to write, and otherwise
//! reads. Either call blocks, but never beyond the connection's deadline, which is the socket's
//! timeout for that call. So no client keeps a thread for longer than the configuration says.
//! What a blocking write costs is that nothing is read meanwhile: who uploads and is answered at the
//! same time has to read as it sends.

mod support;

use portcullis::{CloseReason, Config, Connection, PeerClose, Status, Tick};
use socket2::SockRef;
use std::error::Error;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::app::App;

/// Connections at a time. The next ones wait in the kernel's queue until one of these has ended,
/// which none can put off.
const MOST: usize = 512;
/// Bytes of one read.
const BUFFER: usize = 16 << 10;
/// How long one write may block. It tells what the client took when it returns, and what is told late
/// would count as taken late: a client that takes nothing any more would gain a wait by it.
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
                // Without a thread the connection is dropped; others may still be served.
                let _ = thread::Builder::new().stack_size(128 << 10).spawn(serve);
            }
            // Most often there are no descriptors left: some are freed soon.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Serves one connection to its end.
fn serve(mut socket: &TcpStream, config: Arc<Config>) -> CloseReason {
    // The machine has no clock. Ticks count from an origin of ours; here each connection has its own.
    let start = Instant::now();
    let clock = || Tick::ZERO.after(start.elapsed());
    let gone = CloseReason::Peer(PeerClose::Reset);

    // No more is read than the connection takes at once.
    let size = BUFFER.min(config.receive_buffer_limit() as usize);
    let mut buffer = [0; BUFFER];
    let mut connection = Connection::new(config, clock());
    let mut app = App::default();
    let mut shut_down = false;
    // Answers are written at once, as few and as large as they can be.
    let _ = socket.set_nodelay(true);
    loop {
        // 1. Events that need no new bytes: `sent` may have made room, a deadline may have passed.
        if connection.has_events() {
            app.take(clock(), connection.resume(clock()));
        }
        // 2. What is to be done? All of the above may have changed it, so it is asked now.
        let status = connection.status();
        let patience = connection.deadline().map(|(at, _)| {
            // The kernel may be early by its own measure: a moment is the least it is told to wait.
            at.since(clock()).max(Duration::from_millis(1))
        });
        if let Status::Closed(reason) = status {
            if connection.is_cut_off() {
                // An answer that is not whole must not look as if it were.
                let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
            }
            return reason;
        }
        // 3. Writing goes first: it frees memory, and the client waits for it.
        let mut moved = false;
        if status.wants_write() {
            let most = patience.map_or(LONGEST_WRITE, |patience| patience.min(LONGEST_WRITE));
            let _ = socket.set_write_timeout(Some(most));
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = connection.outgoing(&mut slices);
            match socket.write_vectored(&slices[..count]) {
                // Told before the next tick, so that what was taken in time counts.
                Ok(bytes) if bytes > 0 => {
                    connection.sent(clock(), bytes);
                    moved = true;
                }
                Err(error) if is_in_vain(error.kind()) => {}
                Ok(_) | Err(_) => connection.abort(clock(), gone),
            }
        } else if status.wants_shutdown() && !shut_down {
            // The last answer is out. What the client still sends is read and thrown away, since a
            // reset for it could overtake the answer.
            (shut_down, moved) = (true, true);
            if socket.shutdown(Shutdown::Write).is_err() {
                connection.abort(clock(), gone);
            }
        } else if !status.wants_read() && !connection.has_work() {
            // It waits for the application alone, which here never keeps anybody waiting. One with
            // threads of its own would wake this one, for example through a channel.
            connection.abort(clock(), CloseReason::Aborted);
        }
        // 4. Reading. A client that takes nothing may have sent something all the same.
        if !moved && status.wants_read() {
            let patience = match status.wants_write() {
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
                        Err(misuse) => unreachable!("it wants to read: {misuse}"),
                    }
                    moved = true;
                }
                Err(error) if is_in_vain(error.kind()) => {}
                Err(_) => connection.abort(clock(), gone),
            }
        }
        // 5. Time comes last: the socket was asked, and had nothing.
        if !moved {
            connection.tick(clock());
        }
    }
}

/// The timeout passed, or a signal came: nothing is lost.
fn is_in_vain(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Counts connections, and makes the acceptor wait when there are [`MOST`].
#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    fn take(places: &Arc<Places>) -> Place {
        let taken = places.taken.lock().expect("nobody panics with it");
        let mut taken = places.freed.wait_while(taken, |taken| *taken >= MOST).expect("the same");
        *taken += 1;
        Place(places.clone())
    }
}

/// Freed when it is dropped, however its thread ends.
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.taken.lock().expect("nobody panics with it") -= 1;
        self.0.freed.notify_one();
    }
}
