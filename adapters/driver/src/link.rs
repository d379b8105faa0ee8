//! A connection at one of its streams: what the application's side does to it.

use crate::clock;
use crate::error::{BodyError, BoxError};
use crate::upload::{LARGE, Pace, Upload, Wishes};
use crate::websocket::Closed;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use portcullis::websocket::{Accepted, Options};
use portcullis::{
    Begun, BodyLength, CloseReason, Connection, Misuse, Refusal, Sent, StreamId, Tick,
};
use std::error::Error;
use std::io;
use std::task::Context;

/// A connection at one moment, and one of its streams.
pub(crate) struct Link<'a> {
    pub(crate) now: Tick,
    pub(crate) connection: &'a mut Connection,
    pub(crate) stream: StreamId,
}

impl Link<'_> {
    /// How much content the connection would take.
    pub(crate) fn room(&mut self) -> usize {
        self.connection.stream(self.now, self.stream).room()
    }

    /// Sends the head of the answer, with a `Date` if it has none.
    pub(crate) fn respond(
        &mut self,
        status: StatusCode,
        fields: &HeaderMap,
        length: BodyLength,
    ) -> Result<Begun, Misuse> {
        let Link { now, connection, stream } = self;
        clock::with_date(*now, |date| {
            let fields = WithDate { fields: fields.iter(), date: Some(date) };
            connection.stream(*now, *stream).respond(status, fields, length)
        })
    }

    /// Sends the whole answer, or the head only if there is no room for all of it.
    pub(crate) fn answer<'f>(
        &mut self,
        status: StatusCode,
        fields: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>,
        content: &mut Bytes,
    ) -> Result<Sent, Misuse> {
        let Link { now, connection, stream } = self;
        clock::with_date(*now, |date| {
            connection.stream(*now, *stream).answer(
                status,
                WithDate { fields, date: Some(date) },
                content,
            )
        })
    }

    /// Makes the request a websocket.
    pub(crate) fn accept_websocket(
        &mut self,
        accepted: &Accepted,
        fields: &HeaderMap,
        options: Options,
    ) -> Result<(), Misuse> {
        let Link { now, connection, stream } = self;
        clock::with_date(*now, |date| {
            let fields = WithDate { fields: fields.iter(), date: Some(date) };
            connection.stream(*now, *stream).accept_websocket(accepted, fields, options)
        })
    }

    /// Sends what there is room for.
    pub(crate) fn send(&mut self, data: &mut Bytes) -> Result<(), Misuse> {
        self.connection.stream(self.now, self.stream).send(data).map(drop)
    }

    /// Ends the answer.
    pub(crate) fn finish(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Misuse> {
        self.connection.stream(self.now, self.stream).finish(trailers)
    }

    /// Answers with the status that goes with `refusal`.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        // A stream that is gone needs no answer.
        let _ = self.connection.stream(self.now, self.stream).refuse(refusal);
    }

    /// The handler, or the content of its answer, failed with an error of its own. If that comes from
    /// the peer, which may have ended its content early, it is nothing that the operator can mend.
    pub(crate) fn fail_with(&mut self, why: &str, error: &BoxError) {
        if is_of_the_peer(&**error) {
            tracing::debug!(%error, "{why}");
            self.cut();
        } else {
            self.fail(why, error);
        }
    }

    /// Answers with a bare 500, if no answer has begun; otherwise cuts it off. That is a mistake of the
    /// application's.
    pub(crate) fn fail(&mut self, why: &str, error: impl std::fmt::Display) {
        tracing::error!(%error, "{why}");
        self.cut();
    }

    fn cut(&mut self) {
        let Link { now, connection, stream } = self;
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let answered = connection.stream(*now, *stream).respond(status, None, BodyLength::Known(0));
        let _ = match answered {
            Ok(_) => connection.stream(*now, *stream).finish(None),
            Err(_) => connection.stream(*now, *stream).reset(),
        };
    }

    /// Answers with 500 what its handler has panicked over, and closes the connection; if an answer has
    /// begun, it is cut off.
    #[cold]
    pub(crate) fn give_up(&mut self) {
        let fields =
            HeaderMap::from_iter([(header::CONNECTION, HeaderValue::from_static("close"))]);
        let answered =
            self.respond(StatusCode::INTERNAL_SERVER_ERROR, &fields, BodyLength::Known(0));
        let Link { now, connection, stream } = self;
        let ended = match answered {
            Ok(_) => connection.stream(*now, *stream).finish(None),
            Err(_) => connection.stream(*now, *stream).reset(),
        };
        // The stream may have ended already, because its answer was complete.
        if ended.is_err_and(|misuse| misuse != Misuse::UnknownStream) {
            connection.abort(*now, CloseReason::Application);
        }
    }

    /// Passes the application's wishes for content on to the connection, if the request has any.
    pub(crate) fn pass_wishes(&mut self, upload: Option<&Upload>, cx: &Context<'_>) {
        let Some(upload) = upload else { return };
        let Wishes { limit, wanted } = upload.wishes(cx);
        if let Some(limit) = limit
            && self.connection.stream(self.now, self.stream).limit_body(limit).is_err()
        {
            tracing::warn!("a limit for content came after the content had begun");
        }
        if let Some(pace) = wanted {
            let most = match pace {
                Pace::Slow => self.connection.config().receive_buffer_limit(),
                Pace::Fast => LARGE * self.connection.config().receive_buffer_limit(),
            };
            // A stream that is gone gets its end by an event.
            let mut stream = self.connection.stream(self.now, self.stream);
            let end = stream.received().saturating_add(most);
            let _ = stream.read_to(end);
        }
    }
}

/// Whether the error, or what it stems from, is one that this crate gave to the application, since the
/// peer reset, vanished, or broke a rule.
fn is_of_the_peer(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<BodyError>() || error.is::<Closed>() {
            return true;
        }
        // The source of an I/O error is the source of what it holds, and not that itself.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = held.map(|error| error as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}

/// The answer's fields, and a `Date` if they have none (RFC 9110 6.6.1).
struct WithDate<'d, I> {
    fields: I,
    date: Option<&'d HeaderValue>,
}

impl<'d, 'f: 'd, I> Iterator for WithDate<'d, I>
where
    I: Iterator<Item = (&'f HeaderName, &'f HeaderValue)>,
{
    type Item = (&'d HeaderName, &'d HeaderValue);

    fn next(&mut self) -> Option<Self::Item> {
        match self.fields.next() {
            Some((name, value)) => {
                if *name == header::DATE {
                    self.date = None;
                }
                Some((name, value))
            }
            None => self.date.take().map(|date| (&header::DATE, date)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Wrapped(BoxError);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wrapped")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    #[test]
    fn an_error_is_the_peers_if_it_stems_from_its_content() {
        let wrapped = |error: BoxError| Wrapped(Box::new(Wrapped(error)));
        assert!(is_of_the_peer(&BodyError::Closed));
        assert!(is_of_the_peer(&wrapped(BodyError::Closed.into())));
        assert!(is_of_the_peer(&wrapped(Closed::Lost.into())));
        assert!(is_of_the_peer(&wrapped(io::Error::other(BodyError::Closed).into())));
        assert!(!is_of_the_peer(&wrapped("the disk is full".into())));
    }
}
