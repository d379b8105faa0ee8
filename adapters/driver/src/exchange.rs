//! One request on its way through the application: the handler, then its answer's content.
//!
//! In: events of the connection. Out: actions on it. The handler is polled on the connection's own task.
//! It is boxed while it runs, and dropped when its answer is complete.

use crate::address::Address;
use crate::allowance::{Allowance, HANDLER, PIECE};
use crate::error::{BodyError, BoxError};
use crate::guard::guarded;
use crate::incoming::{Incoming, Reply};
use crate::link::Link;
use crate::presence::Presence;
use crate::room;
use crate::service::Service;
use crate::shared::Shared;
use crate::spare::{self, Slot};
use crate::upload::Upload;
use crate::websocket::{Accepting, CloseFrame, Closed, Meeting, Message, Messaging};
use bytes::{Buf, Bytes};
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderMap, Response};
use http_body::Body as _;
use pin_project_lite::pin_project;
use portcullis::{
    Begun, BodyLength, CloseReason, Connection, Event, Misuse, RequestHead, Sent, StreamId, Tick,
};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The peer's address, among the request's extensions if the server was told to add it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub Address);

pin_project! {
    #[project = WorkProjection]
    #[project_ref = WorkRef]
    enum Work<F, B> {
        Handling { #[pin] future: F },
        Answering { #[pin] answer: Answering<B> },
        // The rest of an answer that the service gave on the spot.
        Finishing { content: Bytes },
    }
}

pin_project! {
    struct Answering<B> {
        #[pin]
        body: B,
        // Data of the body for which there was no room yet.
        data: Bytes,
        trailers: Option<HeaderMap>,
        ended: bool,
    }
}

/// What the application is doing.
enum Activity<F, B> {
    /// It handles or answers a request.
    Work(Slot<Work<F, B>>),
    /// The request has become a websocket, and its first handler is dropped.
    Messaging(Box<Messaging>),
}

/// The application's side of a connection.
pub(crate) struct Exchange<S: Service<K>, K> {
    service: S,
    stream: Option<StreamId>,
    activity: Option<Activity<S::Future, S::ResponseBody>>,
    upload: Option<Arc<Upload>>,
    presence: Option<Arc<Presence>>,
    /// The application is to be polled.
    due: bool,
    /// The service is writing an answer.
    answering: bool,
    /// What is left of the connection's turn.
    pub(crate) allowance: Allowance,
}

/// How far a step came.
enum Outcome {
    /// The exchange waits for the handler, for content, or for room.
    Waits,
    /// The answer is complete, or can't be completed.
    Over,
    /// The request has become a websocket.
    Upgraded(Box<Messaging>),
}

impl<S: Service<K>, K> Exchange<S, K> {
    pub(crate) const fn new(service: S) -> Self {
        Exchange {
            service,
            stream: None,
            activity: None,
            upload: None,
            presence: None,
            due: false,
            answering: false,
            allowance: Allowance::new(),
        }
    }

    /// Whether a poll may bring the application further.
    pub(crate) fn is_due(&self) -> bool {
        self.due && self.activity.is_some()
    }

    /// Whether the application is at work.
    pub(crate) fn is_busy(&self) -> bool {
        self.activity.is_some()
    }

    /// The task was woken, and its turn begins.
    pub(crate) fn woken(&mut self, now: Tick) {
        self.due = true;
        self.allowance.renew(now);
    }

    /// Bytes that the exchange holds: content that waits for the handler or for room.
    pub(crate) fn memory(&self) -> usize {
        let upload = self.upload.as_ref().map_or(0, |upload| upload.memory());
        let answer = match &self.activity {
            Some(Activity::Work(work)) => work.as_ref().as_pin_ref().map_or(0, Work::memory),
            Some(Activity::Messaging(messaging)) => messaging.meeting().memory(),
            None => 0,
        };
        upload + answer
    }

    /// Bytes were written, so there may be room. A websocket is told of room by an event.
    pub(crate) fn written(&mut self) {
        self.due |= self.meeting().is_none();
    }

    /// Takes in an event. A handler is called and polled for the first time within the event of its request;
    /// a websocket's handler is polled with the last message at hand. Returns whether the turn is over.
    pub(crate) fn on_event(
        &mut self,
        cx: &mut Context<'_>,
        now: Tick,
        connection: &mut Connection,
        event: Event<'_>,
        shared: &Shared,
        peer: &Address,
    ) -> bool {
        self.due = true;
        match event {
            Event::Request { stream, head } => {
                // Without a stream there is no exchange to end.
                if self.stream.is_some() {
                    self.end(Err(BodyError::Closed));
                }
                self.begin(now, connection, stream, &head, shared, peer);
                self.poll(cx, now, connection);
                return self.allowance.is_spent();
            }
            Event::Data { data, .. } => {
                if let Some(upload) = &self.upload {
                    upload.push(data);
                }
            }
            Event::End { trailers, .. } => {
                if let Some(upload) = &self.upload {
                    upload.end(Ok(trailers.to_http()));
                }
            }
            Event::Reset { reason, .. } => {
                if let Some(upload) = &self.upload {
                    upload.end(Err(BodyError::Reset(reason)));
                }
                if let Some(meeting) = self.meeting() {
                    meeting.end(Closed::Reset(reason));
                }
            }
            Event::Message { message, behind, .. } => {
                return self.deliver(cx, now, connection, message.into(), behind);
            }
            Event::OwnedMessage { text, bytes, behind, .. } => {
                return self.deliver(cx, now, connection, Message::own(text, bytes), behind);
            }
            Event::Closing { code, reason, .. } => {
                if let Some(meeting) = self.meeting() {
                    meeting.end(Closed::Peer(CloseFrame { code, reason: reason.into() }));
                }
            }
            // The next poll finds the room.
            _ => {}
        }
        false
    }

    /// Takes in a message that an event brought, and polls the application when no byte is at
    /// hand `behind` it. Says whether the turn is over.
    fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        now: Tick,
        connection: &mut Connection,
        message: Message,
        behind: usize,
    ) -> bool {
        self.on_message(now, connection, message, 0);
        if behind == 0 {
            self.poll(cx, now, connection);
        }
        self.allowance.is_spent()
    }

    /// Takes in a message of the websocket, which keeps `kept` bytes alive beside its own.
    pub(crate) fn on_message(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        message: Message,
        kept: usize,
    ) {
        self.due = true;
        if let (Some(meeting), Some(stream)) = (self.meeting(), self.stream)
            && meeting.receive(message, kept)
        {
            // The stream is alive: a message came just now.
            let mut stream = connection.stream(now, stream);
            let end = stream.received() + 1;
            let _ = stream.read_to(end);
        }
    }

    /// Takes in content, which keeps `kept` bytes alive.
    pub(crate) fn on_data(&mut self, data: Bytes, kept: usize) {
        self.due = true;
        if let Some(upload) = &self.upload {
            upload.push_shared(data, kept);
        }
    }

    fn begin(
        &mut self,
        now: Tick,
        connection: &mut Connection,
        stream: StreamId,
        head: &RequestHead<'_>,
        shared: &Shared,
        peer: &Address,
    ) {
        // Set first, in case the service panics.
        self.stream = Some(stream);
        let mut left = None;
        let Exchange { service, upload, presence, answering, .. } = self;
        let incoming = Incoming {
            link: Link { now, connection, stream },
            head,
            peer,
            tell_peer: shared.tell_peer,
            left: &mut left,
            upload,
            presence,
            answering,
        };
        // Each value is made in its box: moving a handler costs more than the branch.
        let work = match service.call(incoming) {
            Reply(Some(future)) => spare::boxed(|| Work::Handling { future }),
            Reply(None) => match left {
                Some(content) => spare::boxed(|| Work::Finishing { content }),
                None => return self.answered(),
            },
        };
        self.activity = Some(Activity::Work(work));
    }

    /// The service has answered on the spot: the exchange is over.
    #[inline]
    fn answered(&mut self) {
        self.stream = None;
        if self.presence.is_some() || self.upload.is_some() {
            // The service may have kept the body or `Disconnected`, which are told of the end.
            self.end(Err(BodyError::Closed));
        }
    }

    /// Tells the handler that the peer has sent its FIN and may be gone.
    pub(crate) fn disconnect(&mut self) {
        if let Some(presence) = &self.presence {
            presence.leave();
        }
    }

    /// Tells the handler that the connection drains.
    pub(crate) fn drain(&mut self) {
        if let Some(presence) = &self.presence {
            presence.drain();
        }
    }

    /// Wakes the reader of the content. A reader that still waits asks for content again; one that was
    /// dropped, or waits for something else, does not.
    pub(crate) fn ask_reader(&mut self) {
        self.due = true;
        if let Some(upload) = &self.upload {
            upload.ask_reader();
        }
    }

    /// Whether the reader has asked for content since it was woken.
    pub(crate) fn is_read(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.is_read())
    }

    /// The number of the exchange in progress.
    pub(crate) fn stream(&self) -> Option<StreamId> {
        self.stream
    }

    /// Lets the application work as far as it can.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Tick, connection: &mut Connection) {
        self.due = false;
        self.allowance.work(HANDLER);
        let Some(stream) = self.stream else { return };
        let mut link = Link { now, connection, stream };
        let outcome = match &mut self.activity {
            Some(Activity::Work(work)) => {
                let Some(work) = work.as_mut().as_pin_mut() else { return };
                let (upload, allowance) = (self.upload.as_deref(), &mut self.allowance);
                let step = Step { link, upload, allowance };
                work.poll_work(cx, step)
            }
            Some(Activity::Messaging(messaging)) => {
                match messaging.poll(cx, &mut link, &mut self.allowance) {
                    true => Outcome::Over,
                    false => Outcome::Waits,
                }
            }
            None => Outcome::Waits,
        };
        match outcome {
            Outcome::Waits => {
                // Passes on what the reader of the content asked for, here or on another task.
                let upload = self.upload.as_deref();
                Link { now, connection, stream }.pass_wishes(upload, cx);
            }
            Outcome::Over => {
                self.put_away();
                self.end(Err(BodyError::Closed));
            }
            Outcome::Upgraded(messaging) => {
                self.put_away();
                self.activity = Some(Activity::Messaging(messaging));
                self.poll(cx, now, connection);
            }
        }
    }

    /// The service, its handler, the body of its answer, or the handler of a websocket has panicked.
    #[cold]
    pub(crate) fn panicked(&mut self, now: Tick, connection: &mut Connection) {
        if let Some(Activity::Messaging(messaging)) = &mut self.activity {
            return messaging.panicked();
        }
        match self.stream {
            Some(stream) if !self.answering => Link { now, connection, stream }.give_up(),
            // The answer may have ended within its head.
            _ => connection.abort(now, CloseReason::Application),
        }
        // Dropping the handler may panic once more.
        let _ = guarded(|| self.put_away());
        self.end(Err(BodyError::Closed));
    }

    /// Leaves the handler's box for the next one.
    fn put_away(&mut self) {
        if let Some(Activity::Work(work)) = self.activity.take() {
            spare::keep_box(work);
        }
    }

    /// Where messages go, once the request has become a websocket.
    fn meeting(&self) -> Option<&Meeting> {
        match &self.activity {
            Some(Activity::Messaging(messaging)) => Some(messaging.meeting()),
            _ => None,
        }
    }

    /// Ends the exchange, and tells the reader of its content.
    pub(crate) fn end(&mut self, end: Result<Option<HeaderMap>, BodyError>) {
        self.activity = None;
        self.stream = None;
        if let Some(presence) = self.presence.take() {
            spare::keep_presence(presence);
        }
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
struct Step<'a> {
    link: Link<'a>,
    upload: Option<&'a Upload>,
    allowance: &'a mut Allowance,
}

impl Step<'_> {
    /// Sends as much of `data` as there is room for. `None` if all of it was sent.
    fn send(&mut self, data: &mut Bytes) -> Option<Outcome> {
        match self.link.send(data) {
            Ok(()) => (!data.is_empty()).then_some(Outcome::Waits),
            Err(Misuse::UnknownStream) => Some(Outcome::Over),
            Err(misuse) => Some(self.fail("the answer's content cannot be sent", misuse)),
        }
    }

    fn finish(&mut self, trailers: Option<&HeaderMap>) -> Outcome {
        match self.link.finish(trailers) {
            Ok(()) | Err(Misuse::UnknownStream) => Outcome::Over,
            Err(misuse) => self.fail("the answer cannot be ended", misuse),
        }
    }

    fn fail(&mut self, why: &str, error: impl std::fmt::Display) -> Outcome {
        self.link.fail(why, error);
        Outcome::Over
    }

    fn fail_with(&mut self, why: &str, error: &BoxError) -> Outcome {
        self.link.fail_with(why, error);
        Outcome::Over
    }

    #[cold]
    fn begin_websocket(&mut self, accepting: Accepting, parts: &mut Parts) -> Outcome {
        // Frameworks add a length although a 101 has no content.
        parts.headers.remove(CONTENT_LENGTH);
        match Messaging::begin(&mut self.link, accepting, &parts.headers) {
            Ok(messaging) => Outcome::Upgraded(Box::new(messaging)),
            Err(Misuse::UnknownStream) => Outcome::Over,
            Err(misuse) => self.fail("the websocket cannot be accepted", misuse),
        }
    }
}

impl<F, B> Work<F, B>
where
    F: Future<Output = Result<Response<B>, BoxError>>,
    B: http_body::Body<Error: Into<BoxError>>,
{
    fn poll_work(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut step: Step<'_>) -> Outcome {
        let step = &mut step;
        let polled = match self.as_mut().project() {
            WorkProjection::Answering { answer } => return answer.poll_answer(cx, step),
            WorkProjection::Finishing { content } => {
                return step.send(content).unwrap_or_else(|| step.finish(None));
            }
            WorkProjection::Handling { future } => future.poll(cx),
        };
        let response = match polled {
            Poll::Pending => return Outcome::Waits,
            Poll::Ready(Ok(response)) => response,
            Poll::Ready(Err(error)) => return step.fail_with("the handler failed", &error),
        };
        let (mut parts, body) = response.into_parts();
        if let Some(accepting) = Accepting::take(&mut parts) {
            return step.begin_websocket(accepting, &mut parts);
        }
        let answer = Answering { body, data: Bytes::new(), trailers: None, ended: false };
        self.set(Work::Answering { answer });
        match self.project() {
            WorkProjection::Answering { answer } => answer.begin(cx, step, &mut parts),
            _ => Outcome::Waits,
        }
    }
}

impl<F, B> Work<F, B> {
    /// Bytes that wait for room.
    fn memory(self: Pin<&Self>) -> usize {
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
        step: &mut Step<'_>,
        parts: &mut Parts,
    ) -> Outcome {
        // Asked for before the first frame is taken, since it shrinks then.
        let length =
            if self.body.is_end_stream() { Some(0) } else { self.body.size_hint().exact() };
        let polled = self.as_mut().poll_data(cx);
        // Wishes from before the answer take effect before it: a limit, or the 100 (Continue).
        step.link.pass_wishes(step.upload, cx);
        if let Err(error) = polled {
            // No byte of the answer was sent yet.
            return step.fail_with("the answer's content failed", &error);
        }
        let this = self.as_mut().project();
        let is_whole =
            length == Some(this.data.len() as u64) && (*this.ended || this.body.is_end_stream());
        let begun = if is_whole {
            let sent = step.link.answer(parts.status, parts.headers.iter(), this.data);
            sent.map(|sent| if sent == Sent::All { Begun::Complete } else { Begun::Open })
        } else {
            let length = length.map_or(BodyLength::Unknown, BodyLength::Known);
            step.link.respond(parts.status, &parts.headers, length)
        };
        spare::keep(&mut parts.headers);
        match begun {
            Ok(Begun::Open) => {}
            Ok(Begun::Complete) | Err(Misuse::UnknownStream) => return Outcome::Over,
            Err(misuse) => return step.fail("the handler's answer cannot be sent", misuse),
        }
        self.poll_answer(cx, step)
    }

    fn poll_answer(mut self: Pin<&mut Self>, cx: &mut Context<'_>, step: &mut Step<'_>) -> Outcome {
        loop {
            if step.allowance.is_spent() {
                // The task is polled again at once.
                return Outcome::Waits;
            }
            step.allowance.work(PIECE);
            let room = step.link.room();
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
            return Outcome::Waits;
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
