//! The worst application: it sends as much as is accepted, in pieces of every size, and leaves
//! unread whatever it can.

use super::{Kind, NOW, magnitude};
use bytes::Bytes;
use fastrand::Rng;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use portcullis::websocket::{DeflateSettings, Handshake, Options};
use portcullis::{BodyLength, Config, Connection, Event, Sent, StreamId};

static CONTENT: [u8; 4 << 20] = [0; 4 << 20];

/// Content that is not on the heap.
pub fn lent(length: usize) -> Bytes {
    Bytes::from_static(&CONTENT[..length.min(CONTENT.len())])
}

/// Fields of `bytes` bytes.
pub fn fields(length: usize) -> HeaderMap {
    let name = HeaderName::from_static("x-large");
    let value = vec![b'v'; length.saturating_sub(name.as_str().len() + 4)];
    let value = HeaderValue::from_maybe_shared(Bytes::from(value)).expect("a valid value");
    HeaderMap::from_iter([(name, value)])
}

/// The lengths of pieces of content.
#[derive(Clone, Copy)]
enum Pieces {
    Of(usize),
    Any,
}

impl Pieces {
    fn next(self, limit: usize, draw: &mut Rng) -> Bytes {
        lent(match self {
            Pieces::Of(length) => length,
            Pieces::Any => magnitude(draw, 1, 2 * limit as u64) as usize,
        })
    }
}

pub(super) struct Application {
    kind: Kind,
    /// The limit of answer heads.
    head: usize,
    limit: usize,
    /// How often it asks for content: never, sometimes, always.
    eager: u8,
    options: Options,
    deflate: Option<DeflateSettings>,
    stream: Option<StreamId>,
    /// Whether its answer has begun.
    begun: Option<StreamId>,
    /// The rest of a message.
    rest: Option<Bytes>,
    /// Bytes that compressed messages keep alive.
    pinned: usize,
}

impl Application {
    pub(super) fn new(kind: Kind, config: &Config, draw: &mut Rng) -> Application {
        let limit = config.send_buffer_limit() as usize;
        let deflate = DeflateSettings {
            server_takeover: draw.bool(),
            client_takeover: draw.bool(),
            server_window_bits: draw.u8(9..=15),
            least: draw.usize(0..3000),
            ..DeflateSettings::default()
        };
        let message_limit = draw.bool().then(|| magnitude(draw, 16, 1 << 20));
        Application {
            kind,
            head: config.response_head_limit() as usize,
            limit,
            eager: draw.u8(0..3),
            options: Options {
                message_limit,
                pieces: draw.bool(),
                owned: draw.bool(),
                controls: true,
            },
            deflate: draw.bool().then_some(deflate),
            stream: None,
            begun: None,
            rest: None,
            pinned: 0,
        }
    }

    /// The message limit that it asks for instead of the configured one.
    pub(super) fn message_limit(&self) -> Option<u64> {
        self.options.message_limit
    }

    /// Handles an event, and may act. Returns how many bytes are pinned.
    pub(super) fn look(
        &mut self,
        connection: &mut Connection,
        event: Event<'_>,
        draw: &mut Rng,
    ) -> usize {
        if let Event::Request { stream, head } = event {
            self.stream = Some(stream);
            self.rest = None;
            if self.kind == Kind::WebSocket {
                let handshake = Handshake::read(&head).expect("a valid handshake");
                let accepted = handshake
                    .accept(None, self.deflate.as_ref())
                    .expect("no subprotocol was chosen");
                let fields = fields(draw.usize(12..self.head / 2));
                let options = self.options;
                let _ =
                    connection.stream(NOW, stream).accept_websocket(&accepted, &fields, options);
            }
        }
        self.ask(connection, draw);
        if draw.u8(0..4) == 0 {
            self.act(connection, draw);
        }
        self.pinned
    }

    fn ask(&self, connection: &mut Connection, draw: &mut Rng) {
        let Some(stream) = self.stream else { return };
        let credit = match (self.eager, draw.u8(0..3)) {
            (2, _) => u64::MAX,
            (1, 0) => draw.u64(1..4),
            (1, 1) => draw.u64(1..20_000),
            _ => return,
        };
        let _ = crate::play::read_more(connection.stream(NOW, stream), credit);
    }

    /// Acts, and returns how many bytes may be pinned beyond those that the connection reports.
    pub(super) fn act(&mut self, connection: &mut Connection, draw: &mut Rng) -> usize {
        let Some(stream) = self.stream else { return 0 };
        if self.rest.is_none() && !connection.status().write {
            self.pinned = 0;
        }
        if draw.u8(0..8) == 0 {
            self.ask(connection, draw);
        }
        match self.kind {
            Kind::Http => self.answer(connection, stream, draw),
            Kind::WebSocket => self.speak(connection, stream, draw),
        }
        self.pinned
    }

    /// Sends until the queue is full, or some pieces were sent. The pieces all have one length, or
    /// each has its own.
    fn fill(&mut self, connection: &mut Connection, stream: StreamId, draw: &mut Rng) {
        let most = if draw.bool() { 1000 } else { draw.usize(1..1000) };
        let pieces = self.pieces(draw);
        for _ in 0..most {
            if connection.stream(NOW, stream).room() == 0 {
                break;
            }
            let mut data = pieces.next(self.limit, draw);
            let _ = connection.stream(NOW, stream).send(&mut data);
        }
    }

    fn pieces(&self, draw: &mut Rng) -> Pieces {
        let sizes = [900, 1023, 1024, 1025, 1026, 1100, 4096, self.limit / 100 + 1, self.limit];
        match draw.usize(0..sizes.len() + 2) {
            place if place < sizes.len() => Pieces::Of(sizes[place]),
            _ => Pieces::Any,
        }
    }

    fn piece(&self, draw: &mut Rng) -> Bytes {
        self.pieces(draw).next(self.limit, draw)
    }

    /// Fields that are mostly within the limit.
    fn fields(&self, draw: &mut Rng) -> HeaderMap {
        fields(match draw.u8(0..4) {
            0 => 20,
            1 => magnitude(draw, 16, 2 * self.head as u64) as usize,
            // The status line and the framing need some room as well.
            _ => self.head - draw.usize(50..120),
        })
    }

    /// Continues an answer: interim answers, the head, content, trailers.
    fn answer(&mut self, connection: &mut Connection, stream: StreamId, draw: &mut Rng) {
        let fields = self.fields(draw);
        if self.begun == Some(stream) {
            match draw.u8(0..8) {
                0 => {
                    let fields = (draw.u8(0..8) > 0).then_some(&fields);
                    let _ = connection.stream(NOW, stream).finish(fields);
                }
                1 => {
                    let mut data = self.piece(draw);
                    let _ = connection.stream(NOW, stream).send(&mut data);
                }
                _ => self.fill(connection, stream, draw),
            }
            return;
        }
        let begun = match draw.u8(0..8) {
            0..4 => {
                let _ = connection.stream(NOW, stream).inform(StatusCode::EARLY_HINTS, &fields);
                return;
            }
            4 => {
                let mut content = self.piece(draw);
                connection
                    .stream(NOW, stream)
                    .answer(StatusCode::OK, &fields, &mut content)
                    .map(drop)
            }
            5 => {
                let length = BodyLength::Known(magnitude(draw, 1, 1 << 40));
                connection.stream(NOW, stream).respond(StatusCode::OK, &fields, length).map(drop)
            }
            _ => connection
                .stream(NOW, stream)
                .respond(StatusCode::OK, &fields, BodyLength::Unknown)
                .map(drop),
        };
        if begun.is_ok() {
            self.begun = Some(stream);
        }
    }

    fn speak(&mut self, connection: &mut Connection, stream: StreamId, draw: &mut Rng) {
        match draw.u8(0..24) {
            0 => {
                let _ = connection.stream(NOW, stream).ping(&[7; 125]);
            }
            1 if draw.u8(0..8) == 0 => {
                let _ = connection.stream(NOW, stream).close(Some(1000), "over");
            }
            _ => {
                let mut data = self.rest.take().unwrap_or_else(|| self.piece(draw));
                let before = data.len();
                let sent = connection.stream(NOW, stream).send_message(false, &mut data);
                if sent == Ok(Sent::Part) {
                    self.rest = Some(data);
                }
                // A compressed message is one allocation, of which a part may be unsent. Zeros
                // compress well.
                self.pinned += if self.deflate.is_some() { 64 + before / 100 } else { 0 };
            }
        }
    }
}
