//! What the application does for one request: its handler runs, and then the content of its answer is sent.

use crate::allowance::{Allowance, PIECE};
use crate::error::BoxError;
use crate::interim::Interim;
use crate::presence::Presence;
use crate::record::Record;
use crate::reply;
use crate::room;
use crate::spare;
use crate::upgrade::Tunneling;
use crate::upload::Upload;
use crate::websocket::{Accepting, Messaging};
use bytes::{Buf, Bytes};
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderMap, Response};
use pin_project_lite::pin_project;
use portcullis::{Begun, BodyLength, Misuse, Sent, Stream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

pin_project! {
    #[project = WorkProjection]
    #[project_ref = WorkRef]
    pub(crate) enum Work<F, B> {
        Handling { #[pin] future: F },
        Answering { #[pin] answer: Answering<B> },
        // The rest of an answer that the service gave on the spot.
        Finishing { content: Bytes },
    }
}

pin_project! {
    pub(crate) struct Answering<B> {
        #[pin]
        body: B,
        // Data of the body for which there was no room yet.
        data: Bytes,
        trailers: Option<HeaderMap>,
        ended: bool,
        // The head, while it waits for room.
        head: Option<Box<Head>>,
    }
}

/// The time within which the client has to take the whole answer, or none, instead of `response_deadline`. Put it
/// among the extensions of a response. It counts while bytes of the answer wait for the client.
///
/// ```
/// use http::Response;
/// use portcullis_driver::ResponseDeadline;
/// use std::time::Duration;
///
/// let mut response = Response::new(());
/// response.extensions_mut().insert(ResponseDeadline(Some(Duration::from_secs(60))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseDeadline(pub Option<Duration>);

/// The head of an answer that is not sent yet.
struct Head {
    parts: Parts,
    /// The length of the content, if the body tells it.
    length: Option<u64>,
}

/// The least content that an answer begins with, if it is not alone.
const LEAST: usize = 4096;

/// How far a step came.
pub(crate) enum Outcome {
    /// The exchange waits for the handler, for content, or for the event that tells of room.
    Waits,
    /// The request has become a websocket, which is polled next. Its first handler is to be dropped.
    Upgraded(Box<Messaging>),
    /// The request has become a tunnel, which is polled next.
    Connected(Box<Tunneling>),
    /// The turn of the connection is over: the exchange goes on at the next one.
    Yields,
    /// The answer is complete, or can't be completed.
    Over,
}

/// What a step works on.
pub(crate) struct Step<'a, 's> {
    pub(crate) stream: &'a mut Stream<'s>,
    pub(crate) upload: Option<&'a Upload>,
    pub(crate) interim: Option<&'a Interim>,
    pub(crate) presence: Option<&'a Presence>,
    pub(crate) allowance: &'a mut Allowance,
    /// The handlers that the connection has.
    pub(crate) handlers: usize,
    /// What the access log and the span are told.
    pub(crate) record: &'a mut Record,
}

impl Step<'_, '_> {
    /// Sends as much of `data` as there is room for. `None` if all of it was sent.
    fn send(&mut self, data: &mut Bytes) -> Option<Outcome> {
        let length = data.len();
        let sent = self.stream.send(data);
        self.record.sent(length - data.len());
        match sent {
            Ok(Sent::All) => None,
            Ok(Sent::Part) => Some(Outcome::Waits),
            Err(Misuse::UnknownStream) => Some(self.is_gone()),
            Err(misuse) => Some(self.fail("the answer's content cannot be sent", misuse)),
        }
    }

    /// Sends the interim answers that wait.
    fn inform(&mut self, cx: &Context<'_>) {
        let Some(interim) = self.interim else { return };
        for (status, fields) in interim.take(cx) {
            if let Err(misuse) = self.stream.inform(status, &fields) {
                tracing::debug!(%misuse, %status, "an interim answer is dropped");
            }
        }
    }

    /// How much content is worth having before the answer begins. An answer that is alone may have all that it
    /// wants. Several share what may be unsent, since the client may take none of them.
    fn first_room(&self) -> Option<usize> {
        let share = self.stream.config().send_buffer_limit() as usize / self.handlers.max(1);
        (self.handlers > 1).then_some(share.max(LEAST))
    }

    /// The stream is gone before the answer was complete.
    #[cold]
    fn is_gone(&mut self) -> Outcome {
        self.record.is_gone();
        Outcome::Over
    }

    fn finish(&mut self, trailers: Option<&HeaderMap>) -> Outcome {
        match self.stream.finish(trailers) {
            Ok(()) | Err(Misuse::UnknownStream) => Outcome::Over,
            Err(misuse) => self.fail("the answer cannot be ended", misuse),
        }
    }

    fn fail(&mut self, why: &str, error: impl std::fmt::Display) -> Outcome {
        let is_answered = reply::fail(self.stream, why, error);
        self.has_failed(is_answered)
    }

    fn fail_with(&mut self, why: &str, error: &BoxError) -> Outcome {
        let is_answered = reply::fail_with(self.stream, why, error);
        self.has_failed(is_answered)
    }

    #[cold]
    fn has_failed(&mut self, is_answered: bool) -> Outcome {
        self.record.failed(is_answered);
        Outcome::Over
    }

    /// Begins the websocket that the handler has asked for.
    #[cold]
    fn begin_websocket(&mut self, accepting: Accepting, parts: &mut Parts) -> Outcome {
        // Frameworks add a length although a 101 has no content.
        parts.headers.remove(CONTENT_LENGTH);
        let begun = Messaging::begin(self.stream, accepting, &parts.headers);
        if begun.is_ok() {
            self.record.upgraded();
        }
        match begun {
            Ok(messaging) => Outcome::Upgraded(Box::new(messaging)),
            Err(Misuse::UnknownStream) => self.is_gone(),
            Err(misuse) => self.fail("the websocket cannot be accepted", misuse),
        }
    }

    /// Begins the tunnel that the request asks for, if the application holds it still. `has_content`: the answer has
    /// some, which no answer that accepts a tunnel may have.
    #[cold]
    fn begin_tunnel(&mut self, parts: &mut Parts, has_content: bool) -> Result<Tunneling, Misuse> {
        let presence = self.presence.filter(|_| !has_content).ok_or(Misuse::Status)?;
        let pipe = presence.take_offer().ok_or(Misuse::Status)?;
        let begun = Tunneling::begin(self.stream, pipe.clone(), parts);
        match &begun {
            Ok(_) => self.record.answered(parts.status, 0),
            // It is tried again when there is room. If it is not, the presence ends it.
            Err(_) => presence.offer(pipe),
        }
        begun
    }
}

impl<F, B> Work<F, B>
where
    F: Future<Output = Result<Response<B>, BoxError>>,
    B: http_body::Body<Error: Into<BoxError>>,
{
    /// Works as far as it can.
    pub(crate) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        step: &mut Step<'_, '_>,
    ) -> Outcome {
        let polled = match self.as_mut().project() {
            WorkProjection::Answering { answer } => return answer.poll_answer(cx, step),
            WorkProjection::Finishing { content } => {
                return step.send(content).unwrap_or_else(|| step.finish(None));
            }
            WorkProjection::Handling { future } => future.poll(cx),
        };
        // They came before the answer, if there is one now.
        step.inform(cx);
        let response = match polled {
            Poll::Pending => return Outcome::Waits,
            Poll::Ready(Ok(response)) => response,
            Poll::Ready(Err(error)) => return step.fail_with("the handler failed", &error),
        };
        let (mut parts, body) = response.into_parts();
        if let Some(ResponseDeadline(time)) = parts.extensions.get() {
            // A stream that is gone needs no time.
            let _ = step.stream.limit_response_time(*time);
        }
        if let Some(accepting) = Accepting::take(&mut parts) {
            return step.begin_websocket(accepting, &mut parts);
        }
        let answer =
            Answering { body, data: Bytes::new(), trailers: None, ended: false, head: None };
        self.set(Work::Answering { answer });
        match self.project() {
            WorkProjection::Answering { answer } => answer.begin(cx, step, parts),
            _ => Outcome::Waits,
        }
    }
}

impl<F, B> Work<F, B> {
    /// Bytes that wait for room.
    pub(crate) fn memory(self: Pin<&Self>) -> usize {
        match self.project_ref() {
            WorkRef::Answering { answer } => answer.data.len(),
            WorkRef::Finishing { content } => content.len(),
            WorkRef::Handling { .. } => 0,
        }
    }
}

impl<B: http_body::Body<Error: Into<BoxError>>> Answering<B> {
    fn begin(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        step: &mut Step<'_, '_>,
        parts: Parts,
    ) -> Outcome {
        // Asked for before the first frame is taken, since it shrinks then.
        let length =
            if self.body.is_end_stream() { Some(0) } else { self.body.size_hint().exact() };
        let polled = match step.first_room() {
            Some(room) => room::with(room, || self.as_mut().poll_data(cx)),
            None => self.as_mut().poll_data(cx),
        };
        // Wishes from before the answer take effect before it: a limit, or the 100 (Continue).
        reply::pass_wishes(step.stream, step.upload, cx, step.handlers);
        if let Err(error) = polled {
            // No byte of the answer was sent yet.
            return step.fail_with("the answer's content failed", &error);
        }
        self.send_head(cx, step, Head { parts, length })
    }

    /// Sends the head, or waits for room with it. Other streams of the connection may have filled the output.
    fn send_head(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        step: &mut Step<'_, '_>,
        mut head: Head,
    ) -> Outcome {
        let this = self.as_mut().project();
        let Head { parts, length } = &mut head;
        let length = *length;
        let before = this.data.len();
        let is_whole =
            length == Some(this.data.len() as u64) && (*this.ended || this.body.is_end_stream());
        let begun = if is_whole {
            let sent = reply::answer(step.stream, parts.status, parts.headers.iter(), this.data);
            sent.map(|sent| if sent == Sent::All { Begun::Complete } else { Begun::Open })
        } else {
            let length = length.map_or(BodyLength::Unknown, BodyLength::Known);
            reply::respond(step.stream, parts.status, &parts.headers, length)
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(misuse) => return self.not_begun(step, head, misuse),
        };
        step.record.answered(parts.status, before - this.data.len());
        spare::keep(&mut parts.headers);
        match begun {
            Begun::Open => self.poll_answer(cx, step),
            Begun::Complete => Outcome::Over,
        }
    }

    /// The head could not be sent.
    #[cold]
    fn not_begun(
        self: Pin<&mut Self>,
        step: &mut Step<'_, '_>,
        mut head: Head,
        mut misuse: Misuse,
    ) -> Outcome {
        let this = self.project();
        if misuse == Misuse::Status {
            // 2xx to CONNECT, or 101.
            let has_content = !this.data.is_empty() || !(*this.ended || this.body.is_end_stream());
            match step.begin_tunnel(&mut head.parts, has_content) {
                Ok(tunneling) => return Outcome::Connected(Box::new(tunneling)),
                Err(other) => misuse = other,
            }
        }
        match misuse {
            Misuse::Full => {
                *this.head = Some(Box::new(head));
                Outcome::Waits
            }
            Misuse::UnknownStream => step.is_gone(),
            misuse => step.fail("the handler's answer cannot be sent", misuse),
        }
    }

    fn poll_answer(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        step: &mut Step<'_, '_>,
    ) -> Outcome {
        if let Some(head) = self.as_mut().project().head.take() {
            return self.send_head(cx, step, *head);
        }
        loop {
            if step.allowance.is_spent() {
                return Outcome::Yields;
            }
            step.allowance.work(PIECE);
            let room = step.stream.room();
            if room > 0
                && let Err(error) = room::with(room, || self.as_mut().poll_data(cx))
            {
                return step.fail_with("the answer's content failed", &error);
            }
            let this = self.as_mut().project();
            if !this.data.is_empty() {
                match step.send(this.data) {
                    Some(outcome) => return outcome,
                    None => continue,
                }
            }
            if *this.ended || this.body.is_end_stream() {
                return step.finish(this.trailers.as_ref());
            }
            if room > 0 {
                return Outcome::Waits;
            }
            // Over HTTP/2 room may come without a write: the client opens a window.
            return match step.stream.await_room() {
                Ok(()) => Outcome::Waits,
                Err(_) => step.is_gone(),
            };
        }
    }

    /// Takes the next frame out of the body, if there is one and the last one was sent.
    fn poll_data(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<(), BoxError> {
        let mut this = self.project();
        while this.data.is_empty() && !*this.ended {
            if this.body.is_end_stream() {
                *this.ended = true;
                break;
            }
            match this.body.as_mut().poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => *this.ended = true,
                Poll::Ready(Some(Err(error))) => return Err(error.into()),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut data) => *this.data = data.copy_to_bytes(data.remaining()),
                    Err(frame) => *this.trailers = frame.into_trailers().ok(),
                },
            }
        }
        Ok(())
    }
}
