//! A reverse proxy: the gate before any HTTP/1.1 server.
//!
//! A request reaches the upstream server only when its head is whole and valid, and with at most one meaning: it is
//! written anew. Its content streams; the first 64 KiB are read before, so that a slow upload of that size holds no
//! worker of the server. Larger uploads hold a place while they stream, at most half of them together;
//! `request_body_rate` and `request_body_deadline` bound that time.
//!
//! Answers are read ahead of slow clients, up to 1 MiB each and [`ProxySettings::buffers`] together. So the server is
//! done with an answer of that size as soon as it has sent it. A larger answer whose client reads slowly holds its place,
//! as long as nobody else waits for it. If a request has waited for a second, the slowest answer is cut off whose client
//! takes less than 16 KiB a second, on average over the time after `response_grace` for which the answer has waited for
//! it, or whose prefix of addresses has more than half of the places. Nothing is written to disk: serve large files
//! with `--root`, or choose `--proxy-concurrency` for as many downloads at once as there may be.
//!
//! All of this memory counts in `bytes_held`. Beyond the buffers, a request that has a place takes at most 64 KiB in each
//! direction, which are read or written at once, and 16 KiB that may be read ahead in any case.
//!
//! | what | how |
//! |---|---|
//! | `Host` | as the client sent it |
//! | `Forwarded`, `X-Forwarded-For`, `-Host`, `-Proto` | set; what the client sent in `Forwarded`, `X-Forwarded-*` and `X-Real-IP` is removed, as are `Proxy` and names with an underscore |
//! | fields of one connection | removed in both directions, with those that `Connection` names |
//! | `Via` | `1.1 portcullis` is added in both directions, with the version in which the message came |
//! | `Expect: 100-continue` | answered here when the content is wanted |
//! | interim answers (1xx) | passed on, such as 103 (Early Hints); 100 is not, since no server behind is asked for one. One for which the client's connection has no room is dropped |
//! | TRACE, CONNECT | 405 and 501 |
//! | requests at once | [`ProxySettings::concurrency`]; the next ones wait in a queue, in order; 503 with `Retry-After` if it is full or too slow |
//! | one client with many requests | a free place goes to the prefix of addresses (`prefix_ipv4_bits`, `prefix_ipv6_bits`) that has the fewest places; in a full queue, its newest request makes room for one of a prefix with fewer |
//! | a client that leaves | its request leaves the queue, or the server's connection is closed. A client that only ends its sending side counts as one that leaves, as with nginx |
//! | the server is down, breaks off, or answers with nonsense | 502. A request that is idempotent and has no content is sent again if it met the close of a kept connection |
//! | the server is silent | 504 after [`ProxySettings::timeout`]; within its answer, the answer is cut off. Time in which the client's upload is awaited doesn't count |
//! | a websocket | passes message by message, over HTTP/1.1 and HTTP/2, with the limits of the settings in both directions. It holds a place until it is accepted |
//!
//! | room | what it does |
//! |---|---|
//! | `upstream` | the server's address, connections to it |
//! | `fields` | fields on their way through |
//! | `places` | requests at once, and the queue |
//! | `content` | a request's content, on its way to the server |
//! | `answer` | an answer's content, on its way to the client |
//! | `buffers` | the memory for both |
//! | `websocket` | messages in both directions |
//! | `counters` | what is counted |

mod answer;
mod buffers;
mod content;
mod counters;
mod fields;
mod places;
#[cfg(test)]
mod tests;
mod upstream;
mod websocket;

use crate::later::{Later, Sleep};
use answer::Way;
use buffers::{Buffers, Charge, Taken};
use content::{Content, Upload};
use counters::{Counters, Outcome, Present};
use futures_util::future::{Either, select};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming as Answered;
use hyper::ext::on_informational;
use places::{Full, Group, Place, Places};
use portcullis::Config;
use portcullis::websocket::BadHandshake;
use portcullis_driver::{
    Address, Body, Disconnected, FunctionAnswer, Held, Incoming, Interim, IpNet, LiveConfig,
    Native, Reply, Service, Upgrade, refuse_upgrade,
};
use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use upstream::{Client, ReadBuffer, Used};

pub use answer::ProxyBody;
pub use counters::ProxyCounters;
pub use upstream::{Reactor, Upstream};

/// How often a request is sent again that met the close of a kept connection.
const REPEATS: usize = 3;
/// Seconds that a client is asked to wait.
const RETRY: HeaderValue = HeaderValue::from_static("1");

/// How the proxy treats its upstream server.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// Where the server is.
    pub upstream: Upstream,
    /// The longest silence of the server, before its answer and within. Default: 60 s, as nginx has.
    pub timeout: Duration,
    /// How many requests it works on at once. Default: 100.
    pub concurrency: usize,
    /// How many more may wait. Default: 1000.
    pub queue: usize,
    /// How long they may wait. Default: 10 s.
    pub queue_timeout: Duration,
    /// The most bytes of content that are held between clients and the server, of all requests together. Default:
    /// 64 MiB.
    pub buffers: usize,
}

impl ProxySettings {
    /// The defaults for this server.
    pub const fn new(upstream: Upstream) -> Self {
        ProxySettings {
            upstream,
            timeout: Duration::from_secs(60),
            concurrency: 100,
            queue: 1000,
            queue_timeout: Duration::from_secs(10),
            buffers: 64 << 20,
        }
    }
}

/// A service that passes requests on to another server.
#[derive(Clone)]
pub struct Proxy(Arc<Shared>);

struct Shared {
    client: Client,
    authority: Authority,
    places: Places,
    buffers: Arc<Buffers>,
    counters: Arc<Counters>,
    reactor: Reactor,
    timeout: Duration,
    sleep: Sleep,
    live: LiveConfig,
}

/// Who has asked, and what counts for the request.
struct Asker {
    address: Address,
    held: Held,
    interim: Interim,
}

/// Counts a request at its end. One whose future is dropped was left by its client.
struct Ending {
    counters: Arc<Counters>,
    outcome: Outcome,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.counters.count(self.outcome);
    }
}

type Forwarded = Result<(Outcome, Response<ProxyBody>), Failure>;

impl Proxy {
    /// A proxy that opens its connections with `reactor`, waits with `sleep`, and limits messages of websockets as
    /// `live` says.
    pub fn new(settings: &ProxySettings, reactor: Reactor, sleep: Sleep, live: LiveConfig) -> Self {
        let ProxySettings { upstream, timeout, concurrency, queue, queue_timeout, buffers } =
            settings;
        let buffers = Arc::new(Buffers::new(*buffers));
        let counters = Arc::new(Counters::new(*concurrency, buffers.clone()));
        Proxy(Arc::new(Shared {
            client: reactor.client(upstream, *concurrency, counters.clone()),
            authority: upstream.authority(),
            places: Places::new(*concurrency, *queue, *queue_timeout, sleep, counters.clone()),
            buffers,
            counters,
            reactor,
            timeout: *timeout,
            sleep,
            live,
        }))
    }

    /// What the proxy counts.
    pub fn counters(&self) -> ProxyCounters {
        ProxyCounters(self.0.counters.clone())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("places", &self.0.places).finish_non_exhaustive()
    }
}

impl Service<Native> for Proxy {
    type ResponseBody = ProxyBody;
    type Future = FunctionAnswer<Later<Response<ProxyBody>>>;

    fn call(&mut self, mut incoming: Incoming<'_>) -> Reply<Self::Future> {
        let shared = self.0.clone();
        let asker = Asker {
            address: incoming.peer_address().clone(),
            held: incoming.held(),
            interim: incoming.interim(),
        };
        let gone = incoming.disconnected();
        incoming.handle(|request| {
            let answer: Later<_> =
                Box::pin(async move { shared.answer(request, asker, gone).await });
            FunctionAnswer::new(answer)
        })
    }
}

/// Why a request has no answer of the upstream server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Its content ended early; in most cases the client has been told already.
    Content,
    /// Its target can't be written as HTTP/1.1 wants it.
    Target,
    Full,
    /// No connection.
    Unreachable,
    /// It ended before its answer.
    Broken,
    /// The same on a connection that had been used before.
    Stale,
    /// Its answer breaks a rule.
    Malformed,
    Slow,
    /// The client has left.
    Gone,
}

impl Failure {
    const fn outcome(self) -> Outcome {
        match self {
            Failure::Content => Outcome::Content,
            Failure::Target => Outcome::Refused,
            Failure::Full => Outcome::Full,
            Failure::Unreachable => Outcome::Unreachable,
            Failure::Broken | Failure::Stale => Outcome::Broken,
            Failure::Malformed => Outcome::Malformed,
            Failure::Slow => Outcome::Slow,
            Failure::Gone => Outcome::Gone,
        }
    }

    fn answer(self) -> Response<ProxyBody> {
        let (status, text) = match self {
            Failure::Content => (400, "the request's content ended early\n"),
            Failure::Target => (400, "the request's target cannot be passed on\n"),
            Failure::Full => (503, "the server is busy: try again in a moment\n"),
            Failure::Unreachable => (502, "the server behind the proxy cannot be reached\n"),
            Failure::Broken | Failure::Stale => {
                (502, "the server behind the proxy broke off before its answer\n")
            }
            Failure::Malformed => (502, "the server behind the proxy sent a malformed answer\n"),
            Failure::Slow => (504, "the server behind the proxy did not answer in time\n"),
            // As nginx logs it.
            Failure::Gone => (499, "the client left before the answer\n"),
        };
        let mut answer =
            line(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), text);
        if self == Failure::Full {
            answer.headers_mut().insert(RETRY_AFTER, RETRY);
        }
        answer
    }
}

fn line(status: StatusCode, text: &'static str) -> Response<ProxyBody> {
    let mut answer = Response::new(ProxyBody::own(text.as_bytes()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, crate::answer::TEXT);
    answer
}

impl Shared {
    async fn answer(
        self: Arc<Self>,
        request: Request<Body>,
        asker: Asker,
        gone: Disconnected,
    ) -> Response<ProxyBody> {
        let mut ending = Ending { counters: self.counters.clone(), outcome: Outcome::Gone };
        let forwarded = match select(pin!(self.forward(request, &asker)), gone).await {
            Either::Left((forwarded, _)) => forwarded,
            Either::Right(_) => Err(Failure::Gone),
        };
        let (outcome, answer) =
            forwarded.unwrap_or_else(|failure| (failure.outcome(), failure.answer()));
        ending.outcome = outcome;
        answer
    }

    async fn forward(&self, request: Request<Body>, asker: &Asker) -> Forwarded {
        let (parts, content) = request.into_parts();
        let asked = Request::from_parts(parts, ());
        // Twice: the request that is sent is a copy.
        let _head = Charge::new(asker.held.clone(), 2 * memory_of(&asked));
        match Upgrade::new(&asked).map(drop) {
            Ok(()) => return self.forward_websocket(asked, asker).await,
            Err(BadHandshake::NotAsked) => {}
            Err(bad) => return Ok((Outcome::Refused, refuse_upgrade(bad))),
        }
        match *asked.method() {
            // It would show cookies to scripts.
            Method::TRACE => {
                let answer = line(StatusCode::METHOD_NOT_ALLOWED, "TRACE is not allowed here\n");
                return Ok((Outcome::Refused, answer));
            }
            Method::CONNECT => {
                let text = "tunnels are not implemented here\n";
                return Ok((Outcome::Refused, line(StatusCode::NOT_IMPLEMENTED, text)));
            }
            _ => {}
        }
        let taken = Taken::new(self.buffers.clone(), asker.held.clone());
        let mut content = Content::begin(content, taken).await.map_err(|_| Failure::Content)?;
        let _content = content.whole();
        let request = self.request(&asked, &asker.address, content.may_have_trailers())?;
        let place = self.place(asker, content.is_on_its_way()).await?;
        let busy = self.counters.busy();
        let answer = self.send(request.map(|()| content), &asker.interim).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::Malformed);
        }
        self.pass(answer, place, busy, asker).await
    }

    async fn place(&self, asker: &Asker, is_upload: bool) -> Result<Place, Failure> {
        let config = self.live.get();
        let group = group(&config, &asker.address);
        let taken = self.places.take(group, is_upload, config.response_grace()).await;
        taken.map_err(|Full| Failure::Full)
    }

    async fn forward_websocket(&self, asked: Request<()>, asker: &Asker) -> Forwarded {
        let mut request = self.request(&asked, &asker.address, false)?;
        let key = websocket::ask(&mut request);
        let place = self.place(asker, false).await?;
        let busy = self.counters.busy();
        let answer = self.send(request.map(|()| Content::default()), &asker.interim).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            // Over HTTP/2 it would open the websocket.
            if asked.method() == Method::CONNECT && answer.status().is_success() {
                return Err(Failure::Malformed);
            }
            return self.pass(answer, place, busy, asker).await;
        }
        let limit = self.live.get().websocket_message_limit();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (server, protocol, mut fields) = websocket::accepted(answer, &key, limit).await?;
        let mut upgrade = Upgrade::new(&asked).map_err(|_| Failure::Malformed)?;
        if let Some(protocol) = protocol {
            let protocol = protocol.to_str().map_err(|_| Failure::Malformed)?;
            upgrade = upgrade.protocol(protocol).map_err(|_| Failure::Malformed)?;
        }
        fields::answer(&mut fields, Version::HTTP_11);
        let (sleep, held) = (self.sleep, asker.held.clone());
        let mut answer = upgrade.accept(async move |client| {
            let _busy = busy;
            websocket::pass(client, server, sleep, held).await;
        });
        answer.headers_mut().extend(fields);
        Ok((Outcome::WebSocket, answer))
    }

    /// The request to the upstream server.
    fn request(
        &self,
        asked: &Request<()>,
        client: &Address,
        has_trailers: bool,
    ) -> Result<Request<()>, Failure> {
        let client = fields::Client { address: client, is_tls: self.live.get().has_tls() };
        fields::request(asked, client, &self.authority, has_trailers).ok_or(Failure::Target)
    }

    /// The upstream server's answer, for the client.
    async fn pass(
        &self,
        answer: Response<Answered>,
        place: Place,
        busy: Present,
        asker: &Asker,
    ) -> Forwarded {
        let (parts, mut content) = answer.into_parts();
        let buffer = parts.extensions.get::<ReadBuffer>().cloned().unwrap_or_default();
        let charge = Charge::new(asker.held.clone(), buffer.bytes());
        let mut taken = Taken::new(self.buffers.clone(), asker.held.clone());
        let (timeout, sleep) = (self.timeout, self.sleep);
        let content = match answer::short(&mut content, &mut taken, timeout, sleep).await? {
            Some(content) => content,
            None => {
                let (place, counters) = (place.answered(), self.counters.clone());
                let way = Way { place, busy, taken, buffer, charge, timeout, sleep, counters };
                answer::pass(content, way, self.reactor)
            }
        };
        let mut answer = Response::new(content);
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = parts.headers;
        fields::answer(answer.headers_mut(), parts.version);
        Ok((Outcome::Answered, answer))
    }

    /// Sends a request. One that may be sent twice, because it does no more then, is sent again if it met the close
    /// of a kept connection (RFC 9110 9.2.2).
    async fn send(
        &self,
        mut request: Request<Content>,
        interim: &Interim,
    ) -> Result<Response<Answered>, Failure> {
        let repeatable = request.method().is_idempotent() && request.body().is_empty();
        for _ in 0..REPEATS {
            let again = repeatable.then(|| copy(&request));
            match (self.send_once(request, interim).await, again) {
                (Err(Failure::Stale), Some(again)) => {
                    self.counters.retry();
                    request = again;
                }
                (answer, _) => return answer,
            }
        }
        self.send_once(request, interim).await
    }

    async fn send_once(
        &self,
        mut request: Request<Content>,
        interim: &Interim,
    ) -> Result<Response<Answered>, Failure> {
        let interim = interim.clone();
        on_informational(&mut request, move |answer| {
            if answer.status() != StatusCode::CONTINUE {
                let mut fields = answer.headers().clone();
                fields::answer(&mut fields, answer.version());
                interim.send(answer.status(), fields);
            }
        });
        let upload = request.body().upload();
        // A client may take its time for its upload.
        let since = (!request.body().is_on_its_way()).then(Instant::now);
        let mut answer = self.client.request(request);
        loop {
            let before = upload.moved();
            match select(answer, (self.sleep)(self.timeout)).await {
                Either::Left((Ok(answer), _)) => {
                    if let Some(used) = answer.extensions().get::<Used>() {
                        used.set();
                    }
                    if let Some(since) = since {
                        self.counters.answer(since.elapsed());
                    }
                    return Ok(answer);
                }
                Either::Left((Err(error), _)) => {
                    tracing::debug!(%error, source = error.source(), "no answer from upstream");
                    return Err(failure_of(&error));
                }
                Either::Right(((), waiting)) if is_moving(&upload, before) => answer = waiting,
                Either::Right(_) => return Err(Failure::Slow),
            }
        }
    }
}

/// The requests with which one shares places: those from the same prefix of addresses.
fn group(config: &Config, address: &Address) -> Group {
    let ip = address.ip()?.to_canonical();
    let bits = if ip.is_ipv4() { config.prefix_ipv4_bits() } else { config.prefix_ipv6_bits() };
    let net = IpNet::new(ip, u8::try_from(bits).ok()?).ok()?;
    Some(net.network())
}

/// About the memory of a request's head, in bytes.
fn memory_of(request: &Request<()>) -> usize {
    // A place in the map, and the value's own parts.
    const FIELD: usize = 104;
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    fields.sum::<usize>() + request.uri().path().len()
}

/// Whether the upload has moved since `before`, or waits for the client.
fn is_moving(upload: &Upload, before: Option<u64>) -> bool {
    let now = upload.moved();
    now.is_none() || now != before
}

fn failure_of(error: &hyper_util::client::legacy::Error) -> Failure {
    if error.is_connect() {
        return Failure::Unreachable;
    }
    let source = error.source().and_then(<dyn Error>::downcast_ref::<hyper::Error>);
    match source {
        Some(error) if error.is_parse() => Failure::Malformed,
        Some(error) if error.is_user() => Failure::Content,
        _ if Used::is_set_for(error) => Failure::Stale,
        _ => Failure::Broken,
    }
}

/// The same request without content.
fn copy(request: &Request<Content>) -> Request<Content> {
    let mut copy = Request::new(Content::default());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
