//! An application that all drivers have on top. It knows a connection and its events, and neither a
//! socket nor a clock: what it wants to say is said as an action, and what there is no room for waits
//! here until [`Event::Writable`].
//!
//! | route | answer |
//! |---|---|
//! | `GET /hello` | a greeting |
//! | `POST /sink` | the length of what was uploaded |
//! | `POST /echo` | what was uploaded, as it comes, no faster than the client takes it |
//! | `GET /big` | 64 MiB |
//! | `/ws` | a websocket that repeats each message |
//!
//! Left out: a `Date` field, which a server that has a clock ought to add (RFC 9110 6.6.1).

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::HeaderMap;
use portcullis::websocket::{DeflateSettings, Handshake, Message, Options};
use portcullis::{
    Begun, BodyLength, Connection, Event, Events, Misuse, RequestHead, Sent, StreamId, Tick,
};

const BIG: u64 = 64 << 20;
static PIECE: [u8; 32 << 10] = [b'.'; 32 << 10];
/// How much of an upload is asked for at a time, and so the most that waits here.
const CREDIT: u64 = 16 << 10;

/// One connection's share of the application.
#[derive(Default)]
pub(crate) struct App {
    doing: Doing,
}

#[derive(Default)]
enum Doing {
    /// It waits for a request, or has answered it.
    #[default]
    Nothing,
    /// So many bytes were uploaded.
    Counting(u64),
    /// What waits to be sent; whether the answer ends with it, or more of the upload is to come.
    Passing(BytesMut, bool),
    /// So much of the big answer is left.
    Sending(u64),
    /// What of a message, text or not, waits to be sent.
    Repeating(Bytes, bool),
}

impl App {
    /// Pulls what happened, and acts on it. That is all a driver has to call.
    pub(crate) fn take(&mut self, now: Tick, mut events: Events<'_, '_>) {
        while let Some((connection, event)) = events.next() {
            match self.on_event(now, connection, event) {
                // The request is gone, for example refused for its declared length: its end, and
                // the answer to it, are the connection's business.
                Ok(()) | Err(Misuse::UnknownStream) => {}
                Err(misuse) => panic!("a mistake of this application: {misuse}"),
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
                    // Credit is for one wait, as a read is: who wants more asks again.
                    connection.stream(now, stream).read(u64::MAX)
                }
                Doing::Passing(rest, _) => {
                    // Lent bytes are gone with the event: what cannot be sent yet is copied.
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
                connection.stream(now, stream).read(u64::MAX)
            }
            ("POST", "/echo") => {
                // Asked for before the answer begins: a client may wait for a 100 (Continue).
                connection.stream(now, stream).read(CREDIT)?;
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
        // A page of somebody else's would speak with the cookies of this server's user.
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
        connection.stream(now, stream).read(1)
    }

    /// Answers with all of `content`, now or as room comes.
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

    /// Sends what there is room for. What was cut short goes on at [`Event::Writable`]; what was
    /// not is followed by the next thing.
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
                    (true, false) => connection.stream(now, stream).read(CREDIT),
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
                connection.stream(now, stream).read(1)?;
            }
        }
        self.doing = Doing::Nothing;
        Ok(())
    }
}
