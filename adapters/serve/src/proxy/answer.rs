//! An answer's content on its way from the upstream server to the client.
//!
//! Short content is awaited with the answer's head, and leaves with it. Of other content a task of its own reads ahead of the client, as far as the [buffers](super::buffers) allow. So the server is done
//! with an answer of up to 1 MiB as soon as it has sent it, and its place is free, however slowly the client reads.
//! A larger answer keeps its place while it waits for its client, and may have to [make room](super::places) for
//! others.

use super::Failure;
use super::buffers::{Charge, Taken};
use super::counters::{Counters, Cut, Present};
use super::places::Answering;
use super::upstream::{Reactor, ReadBuffer};
use crate::body::BoxError;
use crate::later::{Later, Sleep};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::rt::Executor;
use parking_lot::Mutex;
use portcullis_driver::BodyError;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// Content of this length, if the server has told it, is awaited before the answer begins.
const SHORT: u64 = 32 << 10;
/// Small pieces are joined up to this length: each keeps alive what the server has sent with it.
const JOINED: usize = 4 << 10;
/// The client's connection is woken to count when so much more is held for it, in bytes.
const UNTOLD: usize = 64 << 10;

/// The content of an answer of the proxy.
pub struct ProxyBody(Kind);

enum Kind {
    /// A short text of the proxy's own.
    Own(Bytes),
    Upstream(Reader),
}

impl From<Bytes> for ProxyBody {
    fn from(text: Bytes) -> Self {
        ProxyBody::own(text)
    }
}

impl ProxyBody {
    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        ProxyBody(Kind::Own(text.into()))
    }
}

impl Default for ProxyBody {
    fn default() -> Self {
        ProxyBody::own(Bytes::new())
    }
}

impl fmt::Debug for ProxyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Own(_) => "Own",
            Kind::Upstream(_) => "Upstream",
        })
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Own(text) if text.is_empty() => Poll::Ready(None),
            Kind::Own(text) => Poll::Ready(Some(Ok(Frame::data(take(text))))),
            Kind::Upstream(reader) => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(text) => text.is_empty(),
            Kind::Upstream(reader) => reader.is_at_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(text) => SizeHint::with_exact(text.len() as u64),
            Kind::Upstream(reader) => {
                reader.left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

/// Waits for content that is short, if its length says so. The time that the server may be silent is `timeout`.
pub(super) async fn short(
    content: &mut Incoming,
    taken: &mut Taken,
    timeout: Duration,
    sleep: Sleep,
) -> Result<Option<ProxyBody>, Failure> {
    match content.size_hint().exact() {
        Some(0) if content.is_end_stream() => return Ok(Some(ProxyBody::default())),
        Some(1..=SHORT) => {}
        _ => return Ok(None),
    }
    let mut whole = Bytes::new();
    while !content.is_end_stream() {
        let frame = match content.frame().now_or_never() {
            Some(frame) => frame,
            None => match select(content.frame(), sleep(timeout)).await {
                Either::Left((frame, _)) => frame,
                Either::Right(_) => return Err(Failure::Slow),
            },
        };
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else { continue };
        taken.add(data.len());
        whole = if whole.is_empty() { data } else { [whole, data].concat().into() };
    }
    Ok(Some(ProxyBody::own(whole)))
}

/// The client takes an answer too slowly, while others wait for its place.
#[derive(Debug)]
struct TooSlow(BodyError);

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client took the answer slowly while others waited for its place")
    }
}

/// The driver logs what stems from an error of a client's as the client's.
impl Error for TooSlow {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Where the task that reads ahead and the client's connection meet.
type Meeting = Arc<Mutex<Flow>>;

struct Flow {
    /// What was read and not taken yet.
    pieces: VecDeque<Piece>,
    taken: Taken,
    trailers: Option<HeaderMap>,
    end: Option<Result<(), BoxError>>,
    /// The client's connection has gone.
    is_abandoned: bool,
    /// Bytes that the client's connection has taken.
    passed: u64,
    /// The client's connection.
    reader: Option<Waker>,
    /// It waits for content.
    is_awaited: bool,
    /// The bytes that were held when it was last woken, or looked.
    told: usize,
    /// The task.
    pump: Option<Waker>,
}

enum Piece {
    Own(BytesMut),
    Shared(Bytes),
}

/// The client's side.
struct Reader {
    flow: Meeting,
    /// Bytes that are to come, if the server has told.
    left: Option<u64>,
    /// It was polled before: the answer's head is on its way.
    has_begun: bool,
}

impl Reader {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let has_begun = std::mem::replace(&mut self.has_begun, true);
        let mut flow = self.flow.lock();
        if let Some(piece) = flow.pieces.pop_front() {
            let bytes = match piece {
                Piece::Own(bytes) => bytes.freeze(),
                Piece::Shared(bytes) => bytes,
            };
            flow.taken.remove(bytes.len());
            flow.passed += bytes.len() as u64;
            flow.meet(cx, false);
            let pump = flow.pump.take();
            drop(flow);
            if let Some(pump) = pump {
                pump.wake();
            }
            self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(trailers) = flow.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match flow.end.as_mut() {
            None => {
                flow.meet(cx, true);
                Poll::Pending
            }
            Some(Ok(())) => Poll::Ready(None),
            // An error before the head would become a 500 of the driver's: it comes after, and cuts the answer off.
            Some(Err(_)) if !has_begun => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(end @ Err(_)) => Poll::Ready(std::mem::replace(end, Ok(())).err().map(Err)),
        }
    }

    fn is_at_end(&self) -> bool {
        let flow = self.flow.lock();
        flow.pieces.is_empty() && flow.trailers.is_none() && matches!(flow.end, Some(Ok(())))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut flow = self.flow.lock();
        flow.is_abandoned = true;
        flow.taken.remove_all();
        let (_pieces, pump) = (take(&mut flow.pieces), flow.pump.take());
        drop(flow);
        if let Some(pump) = pump {
            pump.wake();
        }
    }
}

/// What an answer needs on its way.
pub(super) struct Way {
    pub(super) place: Answering,
    /// The connection is in use until all has come.
    pub(super) busy: Present,
    pub(super) taken: Taken,
    /// The memory into which the connection reads, and what counts of it.
    pub(super) buffer: ReadBuffer,
    pub(super) charge: Charge,
    pub(super) timeout: Duration,
    pub(super) sleep: Sleep,
    pub(super) counters: Arc<Counters>,
}

/// Begins to read an answer's content ahead.
pub(super) fn pass(content: Incoming, way: Way, reactor: Reactor) -> ProxyBody {
    let left = content.size_hint().exact();
    let Way { place, busy, taken, buffer, charge, timeout, sleep, counters } = way;
    let flow = Flow {
        pieces: VecDeque::new(),
        taken,
        trailers: None,
        end: None,
        is_abandoned: false,
        passed: 0,
        reader: None,
        is_awaited: false,
        told: 0,
        pump: None,
    };
    let flow = Arc::new(Mutex::new(flow));
    let pump = Pump {
        content,
        flow: flow.clone(),
        place,
        _busy: busy,
        buffer,
        charge,
        timeout,
        sleep,
        stall: None,
        passed: 0,
    };
    reactor.execute(async move { pump.run(&counters).await });
    ProxyBody(Kind::Upstream(Reader { flow, left, has_begun: false }))
}

/// Reads an answer ahead.
struct Pump {
    content: Incoming,
    flow: Meeting,
    place: Answering,
    _busy: Present,
    buffer: ReadBuffer,
    charge: Charge,
    timeout: Duration,
    sleep: Sleep,
    /// While nothing comes.
    stall: Option<Later<()>>,
    /// Bytes that the client's connection had taken at the last look.
    passed: u64,
}

/// What comes next of an answer.
enum Next {
    Frame(Frame<Bytes>),
    End,
    Cut(Cut, BoxError),
    /// The client has gone.
    Abandoned,
}

impl Pump {
    /// Until all has come. The place and the connection are free afterwards.
    async fn run(mut self, counters: &Counters) {
        let end = loop {
            match poll_fn(|cx| self.poll_next(cx)).await {
                Next::Frame(frame) => self.put(frame),
                Next::End => break Ok(()),
                Next::Abandoned => return,
                Next::Cut(cut, error) => {
                    counters.cut(cut);
                    break Err(error);
                }
            }
            if self.content.is_end_stream() {
                break Ok(());
            }
        };
        let flow = self.flow.clone();
        // Free before the client hears of the end: its next request finds the place.
        drop(self);
        let mut flow = flow.lock();
        if end.is_err() {
            // The answer can't become whole any more.
            flow.taken.remove_all();
            flow.pieces.clear();
        }
        flow.end = Some(end);
        let reader = flow.reader.take();
        drop(flow);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut flow = self.flow.lock();
        if flow.is_abandoned {
            return Poll::Ready(Next::Abandoned);
        }
        flow.pump = Some(cx.waker().clone());
        let (passed, has_room) = (flow.passed, flow.taken.has_room());
        drop(flow);
        self.place.took(passed - std::mem::replace(&mut self.passed, passed));
        if !has_room {
            ready!(self.place.poll_cut(cx));
            let error = TooSlow(BodyError::Closed).into();
            return Poll::Ready(Next::Cut(Cut::ClientSlow, error));
        }
        self.place.goes_on();
        let Poll::Ready(frame) = Pin::new(&mut self.content).poll_frame(cx) else {
            let Pump { timeout, sleep, stall, .. } = self;
            ready!(stall.get_or_insert_with(|| sleep(*timeout)).as_mut().poll(cx));
            let error = "the server behind the proxy has stalled".into();
            return Poll::Ready(Next::Cut(Cut::Stalled, error));
        };
        self.stall = None;
        self.charge.set(self.buffer.bytes());
        Poll::Ready(match frame {
            None => Next::End,
            Some(Ok(frame)) => Next::Frame(frame),
            Some(Err(error)) => Next::Cut(Cut::Broken, error.into()),
        })
    }

    fn put(&self, frame: Frame<Bytes>) {
        let mut flow = self.flow.lock();
        if flow.is_abandoned {
            return;
        }
        match frame.into_data() {
            Ok(data) => flow.push(data),
            Err(frame) => flow.trailers = frame.into_trailers().ok(),
        }
        let reader = flow.reader_to_wake();
        drop(flow);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Flow {
    /// The client's connection has looked.
    fn meet(&mut self, cx: &Context<'_>, is_awaited: bool) {
        (self.is_awaited, self.told) = (is_awaited, self.taken.bytes());
        if !self.reader.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
    }

    /// The waker of the client's connection if it waits for content, or has to count what is held for it.
    fn reader_to_wake(&mut self) -> Option<Waker> {
        let held = self.taken.bytes();
        if !self.is_awaited && held < self.told + UNTOLD {
            return None;
        }
        (self.is_awaited, self.told) = (false, held);
        self.reader.clone()
    }

    fn push(&mut self, data: Bytes) {
        self.taken.add(data.len());
        match self.pieces.back_mut() {
            Some(Piece::Own(last)) if last.len() + data.len() <= JOINED => {
                last.extend_from_slice(&data);
            }
            _ if data.len() < JOINED => self.pieces.push_back(Piece::Own(BytesMut::from(&*data))),
            _ => self.pieces.push_back(Piece::Shared(data)),
        }
    }
}
