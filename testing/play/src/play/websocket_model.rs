//! The model of a websocket, kept beside its connection.
//!
//! In: every call's result and every event. Out: a panic at the first contradiction to the
//! contract.

use super::source::Source;
use bytes::Bytes;
use portcullis::websocket::{Accepted, DeflateSettings, Message, Options};
use portcullis::{Config, Event, Status, StreamId, Timer};

/// How the application of a session accepts websockets.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub options: Options,
    pub deflate: Option<DeflateSettings>,
}

impl Terms {
    /// Limits and compression stay within the configuration. Only then does its memory bound hold.
    pub fn choose(source: &mut Source<'_>, config: &Config) -> Self {
        let limit = source.one_of(&[None, None, Some(10), Some(1000)]);
        let settings = [
            DeflateSettings::default(),
            DeflateSettings { least: 0, ..DeflateSettings::default() },
            DeflateSettings {
                server_takeover: true,
                client_takeover: true,
                least: 1,
                level: 9,
                ..DeflateSettings::default()
            },
            // Invalid values count as the nearest valid one.
            DeflateSettings {
                server_takeover: true,
                server_window_bits: 0,
                client_window_bits: 200,
                level: 200,
                least: 0,
                ..DeflateSettings::default()
            },
        ];
        let deflate = source.one_of(&[None, Some(0), Some(1), Some(2), Some(3)]);
        let form = source.below(6);
        Terms {
            options: Options {
                message_limit: limit.map(|limit| limit.min(config.websocket_message_limit())),
                pieces: form.is_multiple_of(3),
                owned: form > 2,
                controls: false,
            },
            deflate: deflate.filter(|_| config.websocket_deflate()).map(|place| settings[place]),
        }
    }
}

/// A message that the application sent.
#[derive(Debug)]
pub struct Sent {
    pub text: bool,
    /// The part that was accepted, or the whole message if it may be compressed.
    pub plain: Vec<u8>,
    pub complete: bool,
}

#[derive(Debug)]
pub struct Socket {
    pub id: StreamId,
    /// How many bytes the connection had sent before the 101.
    pub start: usize,
    limit: u64,
    pieces: bool,
    /// Compression was agreed on.
    pub deflates: bool,
    /// Messages, or bytes of pieces, that may still be delivered.
    pub credit: u64,
    /// `send_message` was cut short, and `Writable` is owed.
    pub cut: bool,
    /// The rest of a message of which a part was accepted.
    pub rest: Option<(bool, Bytes)>,
    pub messages: Vec<Sent>,
    pub pings: Vec<Vec<u8>>,
    /// The application closed: the expected payload of the close frame.
    pub close: Option<Vec<u8>>,
    /// The idle timeout may end the websocket.
    pub idles: bool,
    /// The connection was told to drain.
    pub drained: bool,
    /// The peer's close was delivered, with this code.
    pub closing: Option<Option<u16>>,
    pub reset: bool,
    /// The connection was seen to close by itself.
    pub silent: bool,
    /// The current message in pieces: whether it is text, and its bytes.
    begun: Option<(bool, Vec<u8>)>,
}

impl Socket {
    pub fn new(
        id: StreamId,
        start: usize,
        terms: Terms,
        accepted: &Accepted,
        config: &Config,
    ) -> Self {
        let extensions = http::header::SEC_WEBSOCKET_EXTENSIONS;
        Socket {
            id,
            start,
            limit: terms.options.message_limit.unwrap_or(config.websocket_message_limit()),
            pieces: terms.options.pieces,
            deflates: accepted.fields().any(|(name, _)| name == extensions),
            credit: 0,
            cut: false,
            rest: None,
            messages: Vec::new(),
            pings: Vec::new(),
            close: None,
            idles: config.websocket_idle_timeout().is_some(),
            drained: false,
            closing: None,
            reset: false,
            silent: false,
            begun: None,
        }
    }

    /// Whether the application may still send, as far as it was told.
    pub fn speaks(&self) -> bool {
        self.close.is_none() && !self.reset && !self.drained && !self.silent
    }

    // ---- events ---------------------------------------------------------------------------------

    pub fn event(&mut self, event: &Event<'_>, last: Status) {
        assert!(!self.reset, "an event after the reset: {event:?}");
        let open = last.is_open();
        match event {
            Event::Message { stream, message, .. } => {
                let length = match message {
                    Message::Text(text) => text.len(),
                    Message::Binary(bytes) => bytes.len(),
                };
                self.check_whole(*stream, open, length);
            }
            Event::OwnedMessage { stream, text, bytes, .. } => {
                assert!(!text || str::from_utf8(bytes).is_ok(), "a text message is not UTF-8");
                let room = bytes.capacity() - bytes.len();
                assert!(room <= bytes.len() / 8, "{room} bytes to spare");
                self.check_whole(*stream, open, bytes.len());
            }
            Event::Piece { stream, text, last, data } => {
                self.check_data(*stream, open);
                assert!(self.pieces, "a piece, though it was not asked for");
                assert!(*last || !data.is_empty(), "an empty piece");
                let left = self.credit.checked_sub(data.len() as u64);
                self.credit = left.expect("no more bytes than were asked for");
                let (kind, mut bytes) = self.begun.take().unwrap_or((*text, Vec::new()));
                assert_eq!(kind, *text, "the type changed within a message");
                bytes.extend_from_slice(data);
                assert!(bytes.len() as u64 <= self.limit, "beyond {}", self.limit);
                if *last {
                    assert!(!text || str::from_utf8(&bytes).is_ok(), "a text message is not UTF-8");
                } else {
                    self.begun = Some((kind, bytes));
                }
            }
            Event::Closing { stream, code, reason } => {
                assert_eq!(*stream, self.id);
                assert!(self.closing.is_none(), "the peer closes twice");
                assert!(reason.len() <= 123 && code.is_none_or(|code| code >= 1000));
                self.closing = Some(*code);
            }
            Event::Writable { stream } => {
                assert_eq!(*stream, self.id);
                assert!(
                    self.cut && open,
                    "Writable, but nothing was cut short, or the websocket has ended"
                );
                assert!(self.close.is_none(), "Writable after our close");
                self.cut = false;
            }
            Event::Reset { stream, .. } => {
                assert_eq!(*stream, self.id);
                assert!(self.closing.is_none(), "a reset after the close");
                self.reset = true;
            }
            other => panic!("an event that is not a websocket's: {other:?}"),
        }
    }

    fn check_whole(&mut self, stream: StreamId, open: bool, length: usize) {
        self.check_data(stream, open);
        assert!(!self.pieces, "a whole message, though pieces were asked for");
        assert!(length as u64 <= self.limit, "{length} bytes of at most {}", self.limit);
        let left = self.credit.checked_sub(1);
        self.credit = left.expect("no more messages than were asked for");
    }

    fn check_data(&self, stream: StreamId, open: bool) {
        assert_eq!(stream, self.id);
        assert!(open, "a message after the end");
        assert!(self.closing.is_none(), "a message after the peer's close");
        assert!(self.close.is_none() && !self.drained, "a message after our close");
    }

    // ---- after every call -----------------------------------------------------------------------

    /// Checks what holds while the connection is open, after all events were pulled.
    ///
    /// Whatever has begun must have a deadline: unsent bytes, an incomplete message, a close. A
    /// silent peer has one only if pings and pongs, or an idle timeout, are configured. Without
    /// them a silent websocket may stay for ever, at the cost of its memory, until the application
    /// closes it.
    pub fn check_waits(
        &self,
        config: &Config,
        status: (bool, bool),
        deadline: Option<Timer>,
        draining: bool,
        eof: bool,
    ) {
        let (read, write) = status;
        // Bytes that wait for the application hide later ones.
        let blocked = !read && !eof;
        let ends = self.close.is_some() || self.closing.is_some() || self.drained;
        let pinged = config.websocket_ping_interval().is_some();
        let ponged = config.websocket_pong_timeout().is_some();
        // The model cannot see whether bytes wait for the application. If they do, idling does not
        // count.
        let idles = config.websocket_idle_timeout().is_some() && self.credit > 0;
        let watched = pinged && ponged || idles;
        let allowed = match deadline {
            None => !write && !ends && (!watched && !eof || blocked),
            Some(Timer::PeerGone) => eof && self.credit == 0 && !write && !ends,
            Some(Timer::Response) => write,
            Some(Timer::Drain) => draining,
            Some(Timer::ConnectionAge) => config.connection_age_limit().is_some(),
            Some(Timer::WebSocketPing) => pinged && !write && !blocked && !ends,
            Some(Timer::WebSocketPong) => pinged && ponged && !blocked && !ends,
            Some(Timer::WebSocketMessage) => !blocked && !ends,
            Some(Timer::WebSocketIdle) => config.websocket_idle_timeout().is_some() && !ends,
            Some(Timer::WebSocketClose) => ends || config.websocket_idle_timeout().is_some(),
            Some(_) => false,
        };
        assert!(allowed, "deadline: {deadline:?} with read, write {status:?} and {self:?}");
        assert!(!blocked || self.credit == 0, "asked for messages, but does not read: {self:?}");
        let answering = self.closing.is_some() && self.speaks();
        assert!(
            !eof || write || answering || self.credit == 0,
            "open after the end of input: {self:?}"
        );
    }
}
