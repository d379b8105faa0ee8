//! The application that all example drivers share. It knows a connection and its events, but
//! neither a socket nor a clock. Its answers are actions on the connection. What does not fit waits
//! here until [`Event::Writable`].
//!
//! | route | answer |
//! |---|---|
//! | `GET /hello` | a greeting |
//! | `POST /sink` | the length of the upload |
//! | `POST /echo` | the upload as it comes, no faster than the client takes it |
//! | `GET /big` | 64 MiB |
//! | `/ws` | a websocket that repeats each message |
//!
//! The answers have no `Date` field. A server with a clock should add one (RFC 9110 6.6.1).

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::HeaderMap;
use portcullis::websocket::{DeflateSettings, Handshake, Message, Options};
use portcullis::{
    Begun, BodyLength, Connection, Event, Events, Misuse, RequestHead, Sent, Stream, StreamId, Tick,
};

const BIG: u64 = 64 << 20;
static PIECE: [u8; 32 << 10] = [b'.'; 32 << 10];
/// How many bytes of an upload are asked for at a time, and so the most that waits here.
const CREDIT: u64 = 16 << 10;

/// The application's state for one connection.
#[derive(Default)]
pub(crate) struct App {
    doing: Doing,
}

#[derive(Default)]
enum Doing {
    /// Waits for a request, or has answered it.
    #[default]
    Nothing,
    /// Counts an upload: this many bytes so far.
    Counting(u64),
    /// Sends these bytes. The flag says whether the answer ends with them, or more of the upload is
    /// to come.
    Passing(BytesMut, bool),
    /// Sends the big answer: this many bytes are left.
    Sending(u64),
    /// Sends the rest of a message. The flag says whether it is text.
    Repeating(Bytes, bool),
}

impl App {
    /// Pulls all events, and acts on them. A driver has to call nothing else.
    pub(crate) fn take(&mut self, now: Tick, mut events: Events<'_, '_>) {
        while let Some((connection, event)) = events.next() {
            match self.on_event(now, connection, event) {
                // The request is gone, for example refused for its declared length. The connection
                // answers it by itself.
                Ok(()) | Err(Misuse::UnknownStream) => {}
                Err(misuse) => panic!("the application called the connection wrongly: {misuse}"),
            }
        }
    }

    fn on_event(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        event: Event<'_>,
    ) -> Result<(), Misuse> {
        match event {
            Event::Request { stream, head } => self.begin(now, connection, stream, &head),
            Event::Data { stream, data, .. } => match &mut self.doing {
                Doing::Counting(length) => {
                    *length += data.len() as u64;
                    Ok(())
                }
                Doing::Passing(rest, _) => {
                    // Lent bytes are gone after the event, so copy those that cannot be sent yet.
                    rest.extend_from_slice(data);
                    self.go_on(now, connection, stream)
                }
                _ => Ok(()),
            },
            Event::End { stream, .. } => match &mut self.doing {
                Doing::Counting(length) => {
                    let length = format!("{length}\n");
                    self.answer(now, connection, stream, StatusCode::OK, length.into())
                }
                Doing::Passing(_, whole) => {
                    *whole = true;
                    self.go_on(now, connection, stream)
                }
                _ => Ok(()),
            },
            Event::Writable { stream } => self.go_on(now, connection, stream),
            Event::Message { stream, message, .. } => {
                self.doing = match message {
                    Message::Text(text) => {
                        Doing::Repeating(Bytes::copy_from_slice(text.as_bytes()), true)
                    }
                    Message::Binary(bytes) => {
                        Doing::Repeating(Bytes::copy_from_slice(bytes), false)
                    }
                };
                self.go_on(now, connection, stream)
            }
            Event::Closing { stream, .. } => connection.stream(now, stream).close(None, ""),
            Event::Reset { .. } => {
                self.doing = Doing::Nothing;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
        head: &RequestHead<'_>,
    ) -> Result<(), Misuse> {
        self.doing = Doing::Nothing;
        match (head.method(), head.path()) {
            ("GET" | "HEAD", "/hello") => {
                let hello = Bytes::from_static(b"Hello, world!\n");
                self.answer(now, connection, stream, StatusCode::OK, hello)
            }
            ("POST", "/sink") => {
                self.doing = Doing::Counting(0);
                connection.stream(now, stream).read_to(u64::MAX)
            }
            ("POST", "/echo") => {
                // Ask before the answer begins, since the client may wait for a 100 (Continue).
                connection.stream(now, stream).read_to(CREDIT)?;
                let length = head.content_length().map_or(BodyLength::Unknown, BodyLength::Known);
                if connection.stream(now, stream).respond(StatusCode::OK, None, length)?
                    == Begun::Open
                {
                    self.doing = Doing::Passing(BytesMut::new(), false);
                }
                Ok(())
            }
            ("GET" | "HEAD", "/big") => {
                let length = BodyLength::Known(BIG);
                if connection.stream(now, stream).respond(StatusCode::OK, None, length)?
                    == Begun::Open
                {
                    self.doing = Doing::Sending(BIG);
                }
                self.go_on(now, connection, stream)
            }
            (_, "/ws") => self.begin_websocket(now, connection, stream, head),
            _ => self.answer(now, connection, stream, StatusCode::NOT_FOUND, Bytes::new()),
        }
    }

    fn begin_websocket(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
        head: &RequestHead<'_>,
    ) -> Result<(), Misuse> {
        // A page of another site would use the cookies of this server's user.
        let asked = Handshake::read(head);
        let asked = asked.and_then(|handshake| handshake.same_origin().map(|()| handshake));
        let handshake = match asked {
            Ok(handshake) => handshake,
            Err(bad) => {
                let fields: HeaderMap = bad.fields().collect();
                let none = &mut Bytes::new();
                return connection
                    .stream(now, stream)
                    .answer(bad.status(), &fields, none)
                    .map(drop);
            }
        };
        let usual = DeflateSettings::default();
        let deflate = connection.config().websocket_deflate().then_some(&usual);
        let accepted = handshake.accept(None, deflate);
        let accepted = accepted.expect("no subprotocol was chosen");
        connection.stream(now, stream).accept_websocket(&accepted, None, Options::default())?;
        connection.stream(now, stream).read_to(1)
    }

    /// Answers with all of `content`, at once or as room comes.
    fn answer(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
        status: StatusCode,
        mut content: Bytes,
    ) -> Result<(), Misuse> {
        self.doing = Doing::Nothing;
        if connection.stream(now, stream).answer(status, None, &mut content)? == Sent::Part {
            self.doing = Doing::Passing(content.into(), true);
            self.go_on(now, connection, stream)?;
        }
        Ok(())
    }

    /// Sends as much as fits. If something is left, [`Event::Writable`] calls this again. Otherwise
    /// the next step follows.
    fn go_on(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
    ) -> Result<(), Misuse> {
        match &mut self.doing {
            Doing::Nothing | Doing::Counting(_) => return Ok(()),
            Doing::Passing(rest, whole) => {
                let mut piece = rest.split().freeze();
                connection.stream(now, stream).send(&mut piece)?;
                *rest = piece.into();
                return match (rest.is_empty(), *whole) {
                    (false, _) => Ok(()),
                    (true, false) => read_more(connection.stream(now, stream), CREDIT),
                    (true, true) => connection.stream(now, stream).finish(None),
                };
            }
            Doing::Sending(left) => {
                while *left > 0 {
                    let length = PIECE.len().min(*left as usize);
                    let mut piece = Bytes::from_static(&PIECE[..length]);
                    let sent = connection.stream(now, stream).send(&mut piece)?;
                    *left -= (length - piece.len()) as u64;
                    if sent == Sent::Part {
                        return Ok(());
                    }
                }
                connection.stream(now, stream).finish(None)?;
            }
            Doing::Repeating(rest, text) => {
                if connection.stream(now, stream).send_message(*text, rest)? == Sent::Part {
                    return Ok(());
                }
                read_more(connection.stream(now, stream), 1)?;
            }
        }
        self.doing = Doing::Nothing;
        Ok(())
    }
}

/// Asks for `more` bytes, or messages, than have come.
fn read_more(mut stream: Stream<'_>, more: u64) -> Result<(), Misuse> {
    let end = stream.received() + more;
    stream.read_to(end)
}
