//! One request on its way through the application: the handler, then its answer's content.
//!
//! In: events of the connection. Out: actions on it. The handler is polled on the connection's own
//! task; it is boxed while it runs, and gone when its answer is complete.

use crate::body::{Body, BodyError, Upload};
use crate::clock;
use crate::service::{BoxError, Service};
use crate::shared::Shared;
use crate::spare::{self, Slot};
use bytes::{Buf, Bytes};
use http::header::{self, HeaderName, HeaderValue};
use http::response::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body as _;
use pin_project_lite::pin_project;
use portcullis::{Begun, BodyLength, Connection, Event, Misuse, RequestHead, StreamId, Tick};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The peer's address, among the request's extensions if the server was told to add it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

pin_project! {
    #[project = WorkProjection]
    enum Work<F, B> {
        Handling { #[pin] future: F },
        Answering { #[pin] answer: Answering<B> },
    }
}

pin_project! {
    struct Answering<B> {
        #[pin]
        body: B,
        // What came from the body and had no room yet.
        data: Bytes,
        trailers: Option<HeaderMap>,
        ended: bool,
    }
}

/// The application's side of a connection.
pub(crate) struct Exchange<S: Service<K>, K> {
    stream: Option<StreamId>,
    /// The box holds it for as long as there is one here.
    work: Option<Slot<Work<S::Future, S::ResponseBody>>>,
    upload: Option<Arc<Upload>>,
}

/// How far a step came.
enum Outcome {
    /// It waits: for the handler, for the content, or for room.
    Waits,
    /// The answer is complete, or can't be.
    Over,
}

impl<S: Service<K>, K> Exchange<S, K> {
    pub(crate) const fn new() -> Self {
        Exchange { stream: None, work: None, upload: None }
    }

    /// Whether a request is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        self.work.is_some()
    }

    /// Takes in an event. A handler is called, and polled for the first time, within its event.
    pub(crate) fn on_event(
        &mut self,
        cx: &mut Context<'_>,
        now: Tick,
        connection: &mut Connection,
        event: Event<'_>,
        shared: &Shared<S>,
        peer: SocketAddr,
    ) {
        match event {
            Event::Request { stream, head } => {
                self.end(Err(BodyError::Closed));
                self.begin(now, connection, stream, &head, shared, peer);
                self.poll(cx, now, connection);
            }
            Event::Data { data, .. } => self.on_data(Bytes::copy_from_slice(data)),
            Event::End { trailers, .. } => {
                if let Some(upload) = &self.upload {
                    upload.end(Ok(trailers.to_http()));
                }
            }
            Event::Reset { reason, .. } => {
                if let Some(upload) = &self.upload {
                    upload.end(Err(BodyError::Reset(reason)));
                }
            }
            // The next poll sees the room.
            _ => {}
        }
    }

    /// Takes in content.
    pub(crate) fn on_data(&mut self, data: Bytes) {
        if let Some(upload) = &self.upload {
            upload.push(data);
        }
    }

    fn begin(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
        head: &RequestHead<'_>,
        shared: &Shared<S>,
        peer: SocketAddr,
    ) {
        let length = head.content_length();
        let body = if length == Some(0) {
            Body::empty()
        } else {
            let upload = Arc::<Upload>::default();
            self.upload = Some(upload.clone());
            Body::new(upload, length)
        };
        let mut request = Request::new(body);
        if let Err(refusal) = spare::write(head, &mut request) {
            // The stream is alive: it was delivered just now.
            let _ = connection.refuse(now, stream, refusal);
            return;
        }
        if shared.tell_peer {
            request.extensions_mut().insert(PeerAddress(peer));
        }
        self.stream = Some(stream);
        self.work = Some(spare::boxed(|| Work::Handling { future: shared.service.call(request) }));
    }

    /// Lets the application work as far as it can.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Tick, connection: &mut Connection) {
        let Some(stream) = self.stream else { return };
        let Some(work) = self.work.as_mut().and_then(|work| work.as_mut().as_pin_mut()) else {
            return;
        };
        let mut link = Link { now, connection, stream, upload: self.upload.as_deref() };
        if let Outcome::Over = work.poll_work(cx, &mut link) {
            if let Some(work) = self.work.take() {
                spare::keep_box(work);
            }
            self.end(Err(BodyError::Closed));
        }
    }

    /// The exchange is over; whoever still reads its content is told.
    pub(crate) fn end(&mut self, end: Result<Option<HeaderMap>, BodyError>) {
        self.work = None;
        self.stream = None;
        if let Some(upload) = self.upload.take() {
            upload.end(end);
        }
    }
}

impl<S: Service<K>, K> Drop for Exchange<S, K> {
    fn drop(&mut self) {
        self.end(Err(BodyError::Closed));
    }
}

/// What a step works on.
struct Link<'a> {
    now: Tick,
    connection: &'a mut Connection,
    stream: StreamId,
    upload: Option<&'a Upload>,
}

impl Link<'_> {
    /// Passes the application's wishes for content on to the connection.
    fn pass_wishes(&mut self, cx: &Context<'_>) {
        if let Some(upload) = self.upload {
            self.pass_wishes_of(upload, cx);
        }
    }

    fn pass_wishes_of(&mut self, upload: &Upload, cx: &Context<'_>) {
        let (limit, wanted) = upload.wishes(cx);
        if let Some(limit) = limit
            && self.connection.limit_request_body(self.now, self.stream, limit).is_err()
        {
            tracing::warn!("a limit for content came after the content had begun");
        }
        if wanted {
            // A stream that is gone gets its end by an event.
            let most = u64::MAX;
            let _ = self.connection.request_data(self.now, self.stream, most);
        }
    }

    /// Answers with a bare 500, if no answer has begun; otherwise cuts it off.
    fn fail(&mut self, why: &str, error: impl std::fmt::Display) {
        tracing::error!(%error, "{why}");
        let Link { now, connection, stream, .. } = self;
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let answered = connection.respond(*now, *stream, status, None, BodyLength::Known(0));
        let _ = match answered {
            Ok(_) => connection.finish(*now, *stream, None),
            Err(_) => connection.reset(*now, *stream),
        };
    }

    /// Sends the head of the answer.
    fn respond(&mut self, parts: &Parts, length: BodyLength) -> Result<Begun, Misuse> {
        let Link { now, connection, stream, .. } = self;
        clock::with_date(*now, |date| {
            let fields = WithDate { fields: parts.headers.iter(), date: Some(date) };
            connection.respond(*now, *stream, parts.status, fields, length)
        })
    }

    /// Sends the whole answer, or the head only if there is no room for all of it.
    fn answer(&mut self, parts: &Parts, content: &mut Bytes) -> Result<Begun, Misuse> {
        let Link { now, connection, stream, .. } = self;
        clock::with_date(*now, |date| {
            let fields = WithDate { fields: parts.headers.iter(), date: Some(date) };
            connection.answer(*now, *stream, parts.status, fields, content)
        })
    }
}

impl<F, B> Work<F, B>
where
    F: Future<Output = Result<Response<B>, BoxError>>,
    B: http_body::Body<Error: Into<BoxError>>,
{
    fn poll_work(mut self: Pin<&mut Self>, cx: &mut Context<'_>, link: &mut Link<'_>) -> Outcome {
        let response = match self.as_mut().project() {
            WorkProjection::Answering { answer } => return answer.poll_answer(cx, link),
            WorkProjection::Handling { future } => match future.poll(cx) {
                Poll::Pending => {
                    link.pass_wishes(cx);
                    return Outcome::Waits;
                }
                Poll::Ready(Ok(response)) => response,
                Poll::Ready(Err(error)) => {
                    link.fail("the handler failed", error);
                    return Outcome::Over;
                }
            },
        };
        // The handler's wishes count even for an answer that came at once.
        link.pass_wishes(cx);
        let (mut parts, body) = response.into_parts();
        let answer = Answering { body, data: Bytes::new(), trailers: None, ended: false };
        self.set(Work::Answering { answer });
        match self.project() {
            WorkProjection::Answering { answer } => answer.begin(cx, link, &mut parts),
            WorkProjection::Handling { .. } => Outcome::Waits,
        }
    }
}

impl<B: http_body::Body<Error: Into<BoxError>>> Answering<B> {
    fn begin(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        link: &mut Link<'_>,
        parts: &mut Parts,
    ) -> Outcome {
        // The length has to be asked for before the first frame is taken.
        let length =
            if self.body.is_end_stream() { Some(0) } else { self.body.size_hint().exact() };
        let polled = self.as_mut().poll_data(cx, link);
        let this = self.as_mut().project();
        let is_whole = length == Some(this.data.len() as u64)
            && polled.is_ok()
            && (*this.ended || this.body.is_end_stream());
        let begun = if is_whole {
            link.answer(parts, this.data)
        } else {
            link.respond(parts, length.map_or(BodyLength::Unknown, BodyLength::Known))
        };
        spare::keep(&mut parts.headers);
        match begun {
            Ok(Begun::Open) => {}
            Ok(Begun::Complete) | Err(Misuse::UnknownStream) => return Outcome::Over,
            Err(misuse) => {
                link.fail("the handler's answer cannot be sent", misuse);
                return Outcome::Over;
            }
        }
        match polled {
            Ok(()) => self.poll_answer(cx, link),
            Err(error) => {
                link.fail("the answer's content failed", error);
                Outcome::Over
            }
        }
    }

    fn poll_answer(mut self: Pin<&mut Self>, cx: &mut Context<'_>, link: &mut Link<'_>) -> Outcome {
        loop {
            if link.connection.room(link.stream) > 0
                && let Err(error) = self.as_mut().poll_data(cx, link)
            {
                link.fail("the answer's content failed", error);
                return Outcome::Over;
            }
            let this = self.as_mut().project();
            let (now, stream) = (link.now, link.stream);
            if !this.data.is_empty() {
                match link.connection.send_data(now, stream, this.data) {
                    Ok(_) if this.data.is_empty() => continue,
                    Ok(_) => return Outcome::Waits,
                    Err(Misuse::UnknownStream) => return Outcome::Over,
                    Err(misuse) => {
                        link.fail("the answer's content cannot be sent", misuse);
                        return Outcome::Over;
                    }
                }
            }
            if *this.ended || this.body.is_end_stream() {
                match link.connection.finish(now, stream, this.trailers.as_ref()) {
                    Ok(()) | Err(Misuse::UnknownStream) => {}
                    Err(misuse) => link.fail("the answer cannot be ended", misuse),
                }
                return Outcome::Over;
            }
            return Outcome::Waits;
        }
    }

    /// Takes the next frame out of the body, if there is one and the last one was sent.
    fn poll_data(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        link: &mut Link<'_>,
    ) -> Result<(), BoxError> {
        let mut this = self.project();
        while this.data.is_empty() && !*this.ended {
            if this.body.is_end_stream() {
                *this.ended = true;
                break;
            }
            let polled = this.body.as_mut().poll_frame(cx);
            link.pass_wishes(cx);
            match polled {
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

/// The answer's fields, and a `Date` if they have none (RFC 9110 6.6.1).
struct WithDate<'f, I> {
    fields: I,
    date: Option<&'f HeaderValue>,
}

impl<'f, I: Iterator<Item = (&'f HeaderName, &'f HeaderValue)>> Iterator for WithDate<'f, I> {
    type Item = (&'f HeaderName, &'f HeaderValue);

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
