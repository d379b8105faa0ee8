//! One connection of the load: sends a burst, reads its answers, sends the next.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::time::Instant;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Poll, Token};

use super::answer::Answers;
use super::request::BLOCK;
use super::{BadAnswer, LoadError, Plan, Tally};

/// Blocks of body in one vectored write: a megabyte.
const BLOCKS: usize = 16;

/// A connection, and the next one once that is closed.
pub(super) struct Client<'p> {
    plan: &'p Plan,
    token: Token,
    stream: TcpStream,
    /// As many heads as a burst has, so that one write sends them all.
    heads: Vec<u8>,
    burst: usize,
    /// When the burst began, or the connection that it needed.
    began: Instant,
    /// Requests of this burst whose answers have not come.
    owed: usize,
    /// Bytes of this burst that have not been written.
    heads_left: usize,
    body_left: u64,
    answers: Answers,
    /// The connection's last answer has come: wait for its end, then open another.
    closing: bool,
    /// Nothing is left to do.
    done: bool,
}

impl<'p> Client<'p> {
    /// Connects and prepares the first burst; `None` if no requests are left for it.
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
            began: Instant::now(),
            owed,
            heads_left: 0,
            body_left: 0,
            answers: Answers::new(plan.answer_length),
            closing: false,
            done: false,
        };
        client.load();
        Ok(Some(client))
    }

    /// Whether this client has had its last answer.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Does what the socket allows. True when that was the last of it.
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

    /// What the requests owed look like on the wire.
    fn load(&mut self) {
        self.heads_left = self.owed * self.plan.request.head().len();
        self.body_left = self.plan.request.body();
    }

    /// Goes on with the next burst on this connection, if there is one.
    fn next_burst(&mut self, tally: &mut Tally) -> io::Result<()> {
        self.owed = tally.take(self.burst);
        if self.owed == 0 {
            self.done = true;
            return Ok(());
        }
        self.began = Instant::now();
        self.load();
        self.write(tally)
    }

    fn write(&mut self, tally: &mut Tally) -> io::Result<()> {
        while self.heads_left > 0 || self.body_left > 0 {
            let end = self.owed * self.plan.request.head().len();
            let heads = &self.heads[end - self.heads_left..end];
            let written = if self.body_left == 0 {
                self.stream.write(heads)
            } else {
                self.stream.write_vectored(&slices(heads, self.body_left))
            };
            match written {
                Ok(count) => {
                    let heads = count.min(self.heads_left);
                    self.heads_left -= heads;
                    self.body_left -= (count - heads) as u64;
                    tally.sent += (count - heads) as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Not connected yet, or full: the poller tells when to go on.
                // Or the server is gone, which reading tells together with its last words.
                Err(error) if is_too_early(&error) || is_cut(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, poll: &Poll, buffer: &mut [u8], tally: &mut Tally) -> Result<(), LoadError> {
        while !self.done {
            match self.stream.read(buffer) {
                Ok(0) => self.closed(poll, tally)?,
                Ok(count) => {
                    self.answers(&buffer[..count], tally)?;
                    // A short read emptied the socket; the next bytes bring a new event. What
                    // follows an announced close is the close: it may have come already.
                    if count < buffer.len() && !self.closing {
                        return Ok(());
                    }
                    if tally.is_over(Instant::now()) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_too_early(&error) => return Ok(()),
                // What we sent after the server's last answer can turn its close into a reset.
                Err(error) if is_cut(&error) => self.closed(poll, tally)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Counts the answers in these bytes, and sends the next burst after the last one.
    fn answers(&mut self, mut bytes: &[u8], tally: &mut Tally) -> Result<(), LoadError> {
        let now = Instant::now();
        while !bytes.is_empty() {
            if self.owed == 0 || self.closing {
                return Err(BadAnswer::Excess.into());
            }
            let step = self.answers.step(bytes)?;
            bytes = &bytes[step.used..];
            tally.received += step.body as u64;
            if let Some(end) = step.end {
                self.owed -= 1;
                self.closing = end.closes || self.plan.request.closes();
                tally.answered(now - self.began);
            }
        }
        if self.owed == 0 && !self.closing {
            self.next_burst(tally)?;
        }
        Ok(())
    }

    /// The server has closed. As announced: what is owed, or the next burst, goes over a new
    /// connection.
    fn closed(&mut self, poll: &Poll, tally: &mut Tally) -> Result<(), LoadError> {
        if !self.closing {
            return Err(LoadError::Cut(self.owed));
        }
        if self.owed == 0 {
            self.owed = tally.take(self.burst);
        }
        if self.owed == 0 {
            self.done = true;
            return Ok(());
        }
        self.began = Instant::now();
        self.stream = connect(self.plan, poll, self.token, tally)?;
        self.answers.restart();
        self.closing = false;
        self.load();
        Ok(())
    }
}

/// Opens a connection; the poller says when it is there.
fn connect(plan: &Plan, poll: &Poll, token: Token, tally: &mut Tally) -> io::Result<TcpStream> {
    tally.connections += 1;
    let mut stream = TcpStream::connect(plan.address)?;
    stream.set_nodelay(true)?;
    poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// The rest of the heads, then up to a megabyte of body.
fn slices(heads: &[u8], body: u64) -> [IoSlice<'_>; BLOCKS + 1] {
    let mut left = usize::try_from(body).unwrap_or(usize::MAX);
    let mut slices = [IoSlice::new(heads); BLOCKS + 1];
    for slice in &mut slices[1..] {
        let length = left.min(BLOCK.len());
        left -= length;
        *slice = IoSlice::new(&BLOCK[..length]);
    }
    slices
}

fn is_too_early(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
