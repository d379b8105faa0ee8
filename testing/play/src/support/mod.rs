//! A connection between a peer and an application, with a clock that stands still until a script
//! moves it. A script has a line for each thing that the peer or the application does.

pub mod cuts;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use portcullis::{
    Begun, BodyLength, Builder, CloseReason, Config, Connection, Event, Events, FieldLines, Life,
    Misuse, ResetReason, Status, Stream, StreamId, Tick, Timer,
};
use std::io::IoSlice;
use std::iter::empty;
use std::sync::Arc;
use std::time::Duration;

pub const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub const POST_5: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
pub const POST_MUCH: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";
pub const POST_CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

pub const NANOSECOND: Duration = Duration::from_nanos(1);
pub const HOUR: Duration = Duration::from_secs(3600);

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The time since the connection was accepted.
pub const fn tick(moment: Duration) -> Tick {
    Tick::ZERO.after(moment)
}

pub const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A GET request with `Host` and these field lines.
pub fn get_with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// An event as an owned value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Method, target and field lines.
    Request(String, String, Vec<(String, String)>),
    Data(String),
    /// The trailer fields.
    End(Vec<(String, String)>),
    Writable,
    Reset(ResetReason),
    /// The reason; method and target, as far as they are known.
    Refused(CloseReason, Option<String>, Option<String>),
}

impl Seen {
    pub fn of(event: &Event<'_>) -> Seen {
        match event {
            Event::Request { head, .. } => {
                Seen::Request(head.method().into(), head.target().into(), owned(head.fields()))
            }
            Event::Data { data, .. } => Seen::Data(text(data)),
            Event::End { trailers, .. } => Seen::End(owned(trailers.fields())),
            Event::Writable { .. } => Seen::Writable,
            Event::Reset { reason, .. } => Seen::Reset(*reason),
            Event::Refused { reason, head, .. } => {
                let owned = |text: Option<&str>| text.map(str::to_owned);
                Seen::Refused(*reason, owned(head.method()), owned(head.target()))
            }
            other => panic!("not an event of HTTP/1.1: {other:?}"),
        }
    }
}

pub fn data(content: &str) -> Seen {
    Seen::Data(content.into())
}

pub fn end() -> Seen {
    Seen::End(Vec::new())
}

fn owned(lines: FieldLines<'_>) -> Vec<(String, String)> {
    lines.map(|(name, value)| (name.into(), text(value))).collect()
}

/// Each byte as a character.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The defaults with these settings.
pub fn with(settings: &[(&str, &str)]) -> Config {
    let set = |builder: Builder, (name, value): &(&str, &str)| {
        builder.set(name, value).expect("a setting")
    };
    settings.iter().fold(Config::builder(), set).build().expect("valid settings")
}

/// Field lines of an answer.
pub fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    lines.iter().map(pair).collect()
}

/// The connection under test, and the state of the script.
pub struct Script {
    pub connection: Connection,
    pub now: Tick,
    /// The stream of the newest request.
    pub stream: Option<StreamId>,
}

impl Default for Script {
    fn default() -> Script {
        Script::under(Config::default())
    }
}

impl Script {
    /// A connection with the default configuration, accepted at 0.
    pub fn new() -> Script {
        Script::default()
    }

    pub fn under(config: Config) -> Script {
        let connection = Connection::new(Arc::new(config), Tick::ZERO);
        Script { connection, now: Tick::ZERO, stream: None }
    }

    /// A connection that was accepted at 0, and received `bytes`.
    pub fn after(bytes: &str) -> Script {
        let mut script = Script::new();
        script.send(bytes);
        script
    }

    // ---- the peer -------------------------------------------------------------------------------

    /// The peer sends. Returns the events, on which the application does not act.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Vec<Seen> {
        self.try_send(bytes).expect("the connection reads")
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<Vec<Seen>, Misuse> {
        let mut bytes = bytes.as_ref().to_vec();
        let events = self.connection.receive(self.now, &mut bytes)?;
        Ok(pull(events, &mut self.stream))
    }

    /// The peer ends its input.
    pub fn eof(&mut self) -> Vec<Seen> {
        pull(self.connection.receive_eof(self.now), &mut self.stream)
    }

    /// The unsent output.
    pub fn waiting(&mut self) -> String {
        let mut slices = vec![IoSlice::new(&[]); 1024];
        let filled = self.connection.outgoing(&mut slices);
        slices[..filled].iter().map(|slice| text(slice)).collect()
    }

    /// The peer takes all output.
    pub fn output(&mut self) -> String {
        let all = self.waiting();
        self.connection.sent(self.now, all.len());
        assert_eq!(self.waiting(), "", "all was sent");
        all
    }

    /// The peer takes `bytes` of the output.
    pub fn take(&mut self, bytes: usize) {
        let mut slices = vec![IoSlice::new(&[]); 1024];
        let filled = self.connection.outgoing(&mut slices);
        let waiting: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        assert!(bytes <= waiting, "there are not as many unsent bytes");
        self.connection.sent(self.now, bytes);
    }

    // ---- the application ------------------------------------------------------------------------

    pub fn stream(&self) -> StreamId {
        self.stream.expect("a request came")
    }

    /// Resumes, and returns the events.
    pub fn resume(&mut self) -> Vec<Seen> {
        pull(self.connection.resume(self.now), &mut self.stream)
    }

    pub fn ask(&mut self, bytes: u64) -> Vec<Seen> {
        let stream = self.stream();
        read_more(self.connection.stream(self.now, stream), bytes).expect("a stream to ask on");
        self.resume()
    }

    pub fn respond(&mut self, status: u16, length: BodyLength) -> Begun {
        self.respond_with(status, &[], length).expect("an answer is owed")
    }

    pub fn respond_with(
        &mut self,
        status: u16,
        lines: &[(&'static str, &'static str)],
        length: BodyLength,
    ) -> Result<Begun, Misuse> {
        let status = StatusCode::from_u16(status).expect("a status");
        let stream = self.stream();
        self.connection.stream(self.now, stream).respond(status, &fields(lines), length)
    }

    /// Sends content, and returns how much was accepted.
    pub fn content(&mut self, content: &[u8]) -> Result<usize, Misuse> {
        let stream = self.stream();
        let mut data = Bytes::copy_from_slice(content);
        self.connection.stream(self.now, stream).send(&mut data)?;
        Ok(content.len() - data.len())
    }

    pub fn finish(&mut self) -> Result<(), Misuse> {
        let stream = self.stream();
        self.connection.stream(self.now, stream).finish(None)
    }

    /// Sends a whole answer at once.
    pub fn answer(&mut self, status: u16, content: &str) {
        let stream = self.stream();
        answer(&mut self.connection, self.now, stream, status, content);
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Sets the time since the connection was accepted, and ticks.
    pub fn at(&mut self, moment: Duration) {
        self.now = Tick::ZERO.after(moment);
        self.connection.tick(self.now);
    }

    /// Reports that the system still holds `held` bytes for the peer.
    pub fn acknowledged(&mut self, held: u64) {
        self.connection.acknowledged(self.now, held);
    }

    /// Sets the time as a driver does that asks the system: the system reports `held` before a
    /// deadline can pass.
    pub fn at_with(&mut self, moment: Duration, held: u64) {
        self.now = Tick::ZERO.after(moment);
        if self.connection.deadline().is_some_and(|(at, _)| at <= self.now) {
            self.acknowledged(held);
        }
        self.at(moment);
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.connection.tick(self.now);
    }

    /// The deadline, as a time since the connection was accepted.
    pub fn deadline(&mut self) -> Option<(Duration, Timer)> {
        self.connection.deadline().map(|(at, timer)| (at.since(Tick::ZERO), timer))
    }

    /// Asserts that nothing changes one nanosecond before `moment`, and that the connection ends at
    /// `moment` for `reason`.
    pub fn closes_at(&mut self, moment: Duration, reason: CloseReason) -> String {
        let before = self.status();
        assert!(before.is_open(), "{before:?}");
        self.at(moment - NANOSECOND);
        assert_eq!(self.status(), before, "one nanosecond before {moment:?}");
        self.at(moment);
        assert!(!self.status().is_open(), "at {moment:?}");
        self.closes_with(reason)
    }

    // ---- the state ------------------------------------------------------------------------------

    pub fn status(&self) -> Status {
        self.connection.status()
    }

    /// What to do with the socket, and how far the connection has come in ending.
    pub fn socket(&self) -> (bool, bool, Life) {
        let Status { read, write, life, .. } = self.status();
        (read, write, life)
    }

    pub fn is_open(&self) -> bool {
        self.status().is_open()
    }

    pub fn reads(&self) -> bool {
        self.status().read
    }

    /// Asserts that the connection has closed, or closes once the peer has taken everything and
    /// ends. Returns the last output.
    pub fn closes_with(&mut self, reason: CloseReason) -> String {
        assert!(!self.is_open(), "open: {:?}", self.status());
        let last = self.output();
        self.eof();
        assert_eq!(self.status().closed(), Some(reason));
        assert_eq!(self.connection.deadline(), None);
        assert_eq!(self.connection.memory(), size_of::<Connection>());
        last
    }
}

/// Gives credit for `bytes` more than were delivered.
pub fn read_more(mut stream: Stream<'_>, bytes: u64) -> Result<(), Misuse> {
    let end = stream.received().saturating_add(bytes);
    stream.read_to(end)
}

pub fn pull(mut events: Events<'_, '_>, newest: &mut Option<StreamId>) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some((_, event)) = events.next() {
        if let Event::Request { stream, .. } = &event {
            *newest = Some(*stream);
        }
        seen.push(Seen::of(&event));
    }
    seen
}

/// Sends a whole answer at once.
pub fn answer(
    connection: &mut Connection,
    now: Tick,
    stream: StreamId,
    status: u16,
    content: &str,
) {
    let status = StatusCode::from_u16(status).expect("a status");
    let length = BodyLength::Known(content.len() as u64);
    let begun =
        connection.stream(now, stream).respond(status, empty(), length).expect("an answer is owed");
    if begun == Begun::Open {
        let mut content = Bytes::copy_from_slice(content.as_bytes());
        connection.stream(now, stream).send(&mut content).expect("the head was sent");
        assert!(content.is_empty(), "all of it fits");
        connection.stream(now, stream).finish(None).expect("the content is complete");
    }
}
