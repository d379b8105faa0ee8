//! What the driver adds to the actions on a [`Stream`]: a `Date` on each answer, a 500 where the application
//! fails, and the wishes of the reader of the content.

use crate::clock;
use crate::error::{BodyError, BoxError};
use crate::upload::{Upload, Wishes};
use crate::websocket::Closed;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use portcullis::websocket::{Accepted, Options};
use portcullis::{Begun, BodyLength, Misuse, Sent, Stream};
use std::error::Error;
use std::io;
use std::task::Context;

/// Sends the head of the answer, with a `Date` if it has none.
pub(crate) fn respond(
    stream: &mut Stream<'_>,
    status: StatusCode,
    fields: &HeaderMap,
    length: BodyLength,
) -> Result<Begun, Misuse> {
    clock::with_date(stream.now(), |date| {
        let fields = WithDate { fields: fields.iter(), date: Some(date) };
        stream.respond(status, fields, length)
    })
}

/// Sends the whole answer, or the head only if there is no room for all of it.
pub(crate) fn answer<'f>(
    stream: &mut Stream<'_>,
    status: StatusCode,
    fields: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    content: &mut Bytes,
) -> Result<Sent, Misuse> {
    clock::with_date(stream.now(), |date| {
        stream.answer(status, WithDate { fields, date: Some(date) }, content)
    })
}

/// Makes the request a websocket.
pub(crate) fn accept_websocket(
    stream: &mut Stream<'_>,
    accepted: &Accepted,
    fields: &HeaderMap,
    options: Options,
) -> Result<(), Misuse> {
    clock::with_date(stream.now(), |date| {
        let fields = WithDate { fields: fields.iter(), date: Some(date) };
        stream.accept_websocket(accepted, fields, options)
    })
}

/// Makes the request a tunnel.
pub(crate) fn accept_tunnel(
    stream: &mut Stream<'_>,
    status: StatusCode,
    fields: &HeaderMap,
) -> Result<(), Misuse> {
    clock::with_date(stream.now(), |date| {
        stream.accept_tunnel(status, WithDate { fields: fields.iter(), date: Some(date) })
    })
}

/// The handler, or the content of its answer, failed with an error of its own. An error that comes from the
/// peer, which may have ended its content early, is not the operator's to mend.
/// Returns whether the client gets a 500.
pub(crate) fn fail_with(stream: &mut Stream<'_>, why: &str, error: &BoxError) -> bool {
    if is_of_the_peer(&**error) {
        tracing::debug!(%error, "{why}");
        cut(stream)
    } else {
        fail(stream, why, error)
    }
}

/// Answers with a bare 500 if no answer has begun, and otherwise cuts the answer off. The application has
/// made a mistake. Returns whether the client gets the 500.
pub(crate) fn fail(stream: &mut Stream<'_>, why: &str, error: impl std::fmt::Display) -> bool {
    tracing::error!(%error, "{why}");
    cut(stream)
}

fn cut(stream: &mut Stream<'_>) -> bool {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let is_answered = stream.respond(status, None, BodyLength::Known(0)).is_ok();
    let _ = if is_answered { stream.finish(None) } else { stream.reset() };
    is_answered
}

/// Answers a request whose handler has panicked with 500, and closes the connection. If an answer has
/// begun, it is cut off.
///
/// # Errors
/// The stream can be given up in neither way.
#[cold]
pub(crate) fn give_up(stream: &mut Stream<'_>) -> Result<(), Misuse> {
    let fields = HeaderMap::from_iter([(header::CONNECTION, HeaderValue::from_static("close"))]);
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let ended = match respond(stream, status, &fields, BodyLength::Known(0)) {
        Ok(_) => stream.finish(None),
        Err(_) => stream.reset(),
    };
    match ended {
        // The stream may have ended already, because its answer was complete.
        Err(Misuse::UnknownStream) => Ok(()),
        ended => ended,
    }
}

/// Passes the application's wishes for content on to the connection, if the request has any. The credit is
/// divided by the number of `handlers` that the connection has.
#[inline]
pub(crate) fn pass_wishes(
    stream: &mut Stream<'_>,
    upload: Option<&Upload>,
    cx: &Context<'_>,
    handlers: usize,
) {
    if let Some(upload) = upload {
        pass_wishes_of(upload, stream, cx, handlers);
    }
}

fn pass_wishes_of(upload: &Upload, stream: &mut Stream<'_>, cx: &Context<'_>, handlers: usize) {
    let Wishes { limit, deadline, wanted } = upload.wishes(cx);
    if let Some(limit) = limit
        && stream.limit_body(limit).is_err()
    {
        tracing::warn!("a limit for content came after the content had begun");
    }
    if let Some(time) = deadline {
        // A stream that is gone has no content any more.
        let _ = stream.limit_body_time(time);
    }
    if let Some(times) = wanted {
        let most = times.saturating_mul(stream.config().receive_buffer_limit());
        let most = (most / handlers.max(1) as u64).max(1);
        let end = stream.received().saturating_add(most);
        // A stream that is gone gets its end by an event.
        let _ = stream.read_to(end);
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
