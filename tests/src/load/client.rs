//! One connection of the load: sends a burst, reads its answers, sends the next.

use std::io::{self, ErrorKind};
use std::time::Instant;

use mio::event::Event;
use mio::{Interest, Poll, Token};

use super::reader::Reader;
use super::stream::Stream;
use super::{BadAnswer, LoadError, Plan, Tally};

/// A connection, replaced by a new one when the server closes it.
pub(super) struct Client<'p> {
    plan: &'p Plan,
    token: Token,
    stream: Stream,
    /// The heads of a whole burst, so that one write sends them all.
    heads: Vec<u8>,
    burst: usize,
    /// Unwritten bytes of the connection's opening, and of this burst.
    opening_left: usize,
    heads_left: usize,
    body_left: u64,
    awaited: Awaited,
    /// No requests are left.
    done: bool,
}

/// The answers that a burst still waits for.
struct Awaited {
    /// The start of the burst, or of the connection opened for it.
    began: Instant,
    /// Requests of this burst without an answer.
    owed: usize,
    reader: Reader,
    /// Each answer is the connection's last.
    alone: bool,
    /// The connection's last answer has arrived: wait for the close, then open another.
    closing: bool,
}

impl<'p> Client<'p> {
    /// Connects and prepares the first burst; `None` if no requests are left.
    pub(super) fn start(
        plan: &'p Plan,
        poll: &Poll,
        token: Token,
        tally: &mut Tally,
    ) -> Result<Option<Self>, LoadError> {
        let alone = plan.request.body() > 0 || plan.request.closes();
        let burst = if alone { 1 } else { plan.burst };
        let owed = tally.take(burst);
        if owed == 0 {
            return Ok(None);
        }
        let mut client = Self {
            plan,
            token,
            stream: connect(plan, poll, token, tally)?,
            heads: plan.request.head().repeat(burst),
            burst,
            opening_left: plan.request.opening().len(),
            heads_left: 0,
            body_left: 0,
            awaited: Awaited {
                began: Instant::now(),
                owed,
                reader: Reader::new(&plan.request, plan.answer_length),
                alone: plan.request.closes(),
                closing: false,
            },
            done: false,
        };
        client.load();
        Ok(Some(client))
    }

    /// Whether this client has its last answer.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Reads and writes what the socket allows. Returns true once the client is done.
    pub(super) fn ready(
        &mut self,
        poll: &Poll,
        event: &Event,
        buffer: &mut [u8],
        tally: &mut Tally,
    ) -> Result<bool, LoadError> {
        if event.is_writable() {
            self.write(tally)?;
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(poll, buffer, tally)?;
        }
        Ok(self.done)
    }

    /// Prepares the missing requests of the burst for writing.
    fn load(&mut self) {
        self.heads_left = self.awaited.owed * self.plan.request.head().len();
        self.body_left = self.plan.request.body();
    }

    /// Starts the next burst on this connection, if requests are left.
    fn next_burst(&mut self, tally: &mut Tally) -> io::Result<()> {
        self.awaited.owed = tally.take(self.burst);
        if self.awaited.owed == 0 {
            self.done = true;
            return Ok(());
        }
        self.awaited.began = Instant::now();
        self.load();
        self.write(tally)
    }

    fn write(&mut self, tally: &mut Tally) -> io::Result<()> {
        loop {
            let opening = self.plan.request.opening();
            let sent = if self.opening_left > 0 {
                self.stream.send(&opening[opening.len() - self.opening_left..], 0)
            } else if !self.awaited.reader.is_open() {
                return self.stream.flush().or_else(unless_later);
            } else if self.heads_left > 0 || self.body_left > 0 {
                let end = self.awaited.owed * self.plan.request.head().len();
                let heads = &self.heads[end - self.heads_left..end];
                self.stream.send(heads, self.body_left)
            } else {
                return self.stream.flush().or_else(unless_later);
            };
            match sent {
                Ok(count) if self.opening_left > 0 => self.opening_left -= count,
                Ok(count) => {
                    let heads = count.min(self.heads_left);
                    self.heads_left -= heads;
                    self.body_left -= (count - heads) as u64;
                    tally.sent += (count - heads) as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return unless_later(error),
            }
        }
    }

    fn read(&mut self, poll: &Poll, buffer: &mut [u8], tally: &mut Tally) -> Result<(), LoadError> {
        while !self.done {
            let awaited = &mut self.awaited;
            let was_open = awaited.reader.is_open();
            match self.stream.receive(buffer, |bytes| awaited.count(bytes, tally)) {
                Ok(received) => {
                    if self.awaited.owed == 0 && !self.awaited.closing {
                        self.next_burst(tally)?;
                    } else if received.unblocked || was_open != self.awaited.reader.is_open() {
                        self.write(tally)?;
                    }
                    if received.ended && !self.done {
                        self.closed(poll, tally)?;
                        continue;
                    }
                    // After an announced close there may be no further event: keep reading.
                    if received.emptied && !self.awaited.closing {
                        return Ok(());
                    }
                    if tally.is_over(Instant::now()) {
                        return Ok(());
                    }
                }
                Err(LoadError::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(LoadError::Io(error)) if is_too_early(&error) => return Ok(()),
                // Bytes that we sent after the server's last answer can turn its close into a
                // reset.
                Err(LoadError::Io(error)) if is_cut(&error) => self.closed(poll, tally)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Handles a close. If it was announced, the missing requests or the next burst go over a new
    /// connection.
    fn closed(&mut self, poll: &Poll, tally: &mut Tally) -> Result<(), LoadError> {
        if !self.awaited.closing {
            return Err(LoadError::Cut(self.awaited.owed));
        }
        if self.awaited.owed == 0 {
            self.awaited.owed = tally.take(self.burst);
        }
        if self.awaited.owed == 0 {
            self.done = true;
            return Ok(());
        }
        self.awaited.began = Instant::now();
        self.stream = connect(self.plan, poll, self.token, tally)?;
        self.awaited.reader.restart();
        self.opening_left = self.plan.request.opening().len();
        self.awaited.closing = false;
        self.load();
        Ok(())
    }
}

impl Awaited {
    /// Counts the answers in these bytes.
    fn count(&mut self, mut bytes: &[u8], tally: &mut Tally) -> Result<(), LoadError> {
        let now = Instant::now();
        while !bytes.is_empty() {
            if self.owed == 0 || self.closing {
                return Err(BadAnswer::Excess.into());
            }
            let step = self.reader.step(bytes)?;
            bytes = &bytes[step.used..];
            tally.received += step.body as u64;
            if let Some(end) = step.end {
                self.owed -= 1;
                self.closing = end.closes || self.alone;
                tally.answered(now - self.began);
            }
        }
        Ok(())
    }
}

/// Starts to connect. The poller reports when the connection is open.
fn connect(plan: &Plan, poll: &Poll, token: Token, tally: &mut Tally) -> Result<Stream, LoadError> {
    tally.connections += 1;
    Stream::connect(plan, |socket| {
        poll.registry().register(socket, token, Interest::READABLE | Interest::WRITABLE)
    })
}

/// Ignores errors that end by themselves or that a read will report. The socket may not be
/// connected yet, or full, or the server may be gone.
fn unless_later(error: io::Error) -> io::Result<()> {
    if is_too_early(&error) || is_cut(&error) { Ok(()) } else { Err(error) }
}

fn is_too_early(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
