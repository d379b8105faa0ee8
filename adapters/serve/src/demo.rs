//! The demo routes: something to try out, and to attack.
//!
//! | route | answer |
//! |---|---|
//! | `GET /`, `POST /` | a page that explains the demo and links the other routes |
//! | `GET /hello` | `Hello, world!`, text/plain |
//! | `POST /echo` | the request's content, sent back as it arrives |
//! | `POST /sink` | the length of the request's content, in decimal |
//! | `GET /bytes/N` | N bytes, as fast as the client reads, `Content-Length: N` |
//! | `GET /events` | server-sent events: `data: K` once a second, until the server drains |
//! | `GET /slow/MS` | 200 after MS milliseconds in which the handler works |
//! | `POST /lazy/MS` | as `/sink`, but the handler reads nothing for MS milliseconds |
//! | `GET /ws` | a websocket that sends each message back; 403 for pages of other origins |
//!
//! The program puts the routes of [`StatusSite`](crate::StatusSite) and of [`Health`](crate::Health) before them.
//!
//! HEAD works as GET does, except for the websocket. OPTIONS tells the methods of a route, or with `*` the
//! methods of all routes. Another method gets 405, and a method that the program does not know gets 501.
//! An unknown path gets 404, and a malformed number 400.

mod route;

use crate::answer::{self, Answer, HTML, TEXT};
use crate::body::{AnswerBody, BoxError};
use crate::later::{Later, Sleep};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use portcullis_driver::{
    Body as Content, Disconnected, FunctionAnswer, Incoming, Native, Reply, Service, Upgrade,
    WebSocket, refuse_upgrade,
};
use route::{NoRoute, Route};
use std::fmt::Display;
use std::time::Duration;

const PAGE: &str = include_str!("demo/page.html");
const HELLO: Bytes = Bytes::from_static(b"Hello, world!");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The demo routes.
#[derive(Clone, Debug)]
pub struct Demo {
    sleep: Sleep,
}

impl Demo {
    /// Demo routes that wait with `sleep`.
    pub const fn new(sleep: Sleep) -> Self {
        Demo { sleep }
    }

    /// Answers a request for `route`.
    fn answer<B>(&self, route: Result<Route, NoRoute>, request: Request<B>) -> Answer<B>
    where
        B: Body<Data = Bytes, Error: Into<BoxError> + Display> + Send + Unpin + 'static,
    {
        let route = match route {
            Ok(route) => route,
            Err(NoRoute::Unknown) => return Answer::now(answer::not_found()),
            Err(NoRoute::UnknownMethod) => return Answer::now(answer::unknown_method()),
            Err(NoRoute::BadMethod(allowed)) => return Answer::now(answer::wrong_method(allowed)),
            Err(NoRoute::BadNumber(expected)) => {
                return Answer::now(answer::line(StatusCode::BAD_REQUEST, expected));
            }
        };
        Answer::now(match route {
            Route::Hello => answer::of_type(TEXT, AnswerBody::whole(HELLO)),
            Route::Page => answer::of_type(HTML, AnswerBody::whole(PAGE)),
            Route::Bytes(count) => answer::of_type(TEXT, AnswerBody::repeated(count)),
            Route::Events => {
                let events = AnswerBody::events(self.sleep, draining(&request));
                let mut response = unstored(EVENT_STREAM, events);
                // Otherwise nginx buffers the events and passes them on in lumps.
                response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
                response
            }
            Route::Options(allowed) => answer::options(allowed),
            // Without the check, a page of another site could open the websocket with the user's
            // cookies.
            Route::WebSocket => match Upgrade::new(&request).and_then(Upgrade::same_origin) {
                Ok(upgrade) => upgrade.accept(send_back),
                Err(bad) => refuse_upgrade(bad),
            },
            // The client must not choose the type: its HTML would run with this server's origin.
            Route::Echo => answer::of_type(OCTETS, AnswerBody::echo(request.into_body())),
            Route::Sink => return Answer::later(count(request.into_body())),
            Route::Slow(pause) => return Answer::later(think(self.sleep, pause)),
            Route::Lazy(pause) => {
                let wait = (self.sleep)(pause);
                return Answer::later(async move {
                    wait.await;
                    count(request.into_body()).await
                });
            }
        })
    }
}

impl Service<Native> for Demo {
    type ResponseBody = AnswerBody<Content>;
    type Future = FunctionAnswer<Answer<Content>>;

    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        let head = incoming.head();
        let route = match head.protocol() {
            // Over HTTP/2 a websocket begins with an extended CONNECT (RFC 8441).
            Some(_) => Route::of_connect(head.path()),
            None => Route::find(head.method(), head.path()),
        };
        match route {
            // The route for benchmarks: answered on the spot, without a request object.
            Ok(Route::Hello) => {
                static TYPE: HeaderValue = TEXT;
                incoming.answer(StatusCode::OK, [(&CONTENT_TYPE, &TYPE)], HELLO)
            }
            _ => incoming.handle(|request| FunctionAnswer::new(self.answer(route, request))),
        }
    }
}

/// Ready when the server drains or the peer is gone. Content that has no end of its own can then
/// end in good order.
fn draining<B>(request: &Request<B>) -> Later<()> {
    match request.extensions().get::<Disconnected>() {
        Some(peer) => Box::pin(peer.draining()),
        None => Box::pin(std::future::pending()),
    }
}

/// An answer that caches must not store.
fn unstored<B>(content_type: HeaderValue, body: AnswerBody<B>) -> Response<AnswerBody<B>> {
    let mut response = answer::of_type(content_type, body);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Reads the content to its end and answers its length.
async fn count<B>(mut content: B) -> Response<AnswerBody<B>>
where
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
    let mut length = 0;
    while let Some(frame) = content.frame().await {
        match frame {
            Ok(frame) => length += frame.data_ref().map_or(0, |data| data.len() as u64),
            Err(error) => return cut_off(&error),
        }
    }
    answer::line(StatusCode::OK, length.to_string())
}

/// The answer to content that ended early. In most cases the server has sent a refusal already.
fn cut_off<B>(error: &impl Display) -> Response<AnswerBody<B>> {
    answer::line(StatusCode::BAD_REQUEST, format!("the request's content ended early: {error}\n"))
}

/// Sends each message back until one side closes.
async fn send_back(mut websocket: WebSocket) {
    while let Some(Ok(message)) = websocket.receive().await {
        if websocket.send(message).await.is_err() {
            break;
        }
    }
}

/// Answers after a pause.
async fn think<B>(sleep: Sleep, pause: Duration) -> Response<AnswerBody<B>> {
    sleep(pause).await;
    answer::line(StatusCode::OK, format!("thought for {} ms\n", pause.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Frames, whole};
    use http::Method;
    use http::header::ALLOW;
    use http_body::Frame;
    use http_body_util::{Empty, Full};
    use std::future::{pending, ready};

    fn demo(sleep: Sleep) -> Demo {
        Demo::new(sleep)
    }

    fn at_once() -> Demo {
        demo(|_| Box::pin(ready(())))
    }

    fn request<B>(method: Method, target: &str, content: B) -> Request<B> {
        Request::builder().method(method).uri(target).body(content).expect("a request")
    }

    fn answer<B>(demo: &Demo, request: Request<B>) -> Answer<B>
    where
        B: Body<Data = Bytes, Error: Into<BoxError> + Display> + Send + Unpin + 'static,
    {
        demo.answer(Route::find(request.method().as_str(), request.uri().path()), request)
    }

    fn get(target: &str) -> Response<Result<Bytes, BoxError>> {
        whole(answer(&at_once(), request(Method::GET, target, Empty::<Bytes>::new())))
    }

    fn text(response: &Response<Result<Bytes, BoxError>>) -> &str {
        str::from_utf8(response.body().as_ref().expect("no error")).expect("text")
    }

    #[test]
    fn hello_is_plain_text_and_ready_at_once() {
        let response = get("/hello?who=me");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
        assert_eq!(response.headers().len(), 1);
        assert_eq!(text(&response), "Hello, world!");
    }

    #[test]
    fn the_page_names_every_other_route() {
        let response = get("/");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        for path in [
            "/hello", "/echo", "/sink", "/bytes/", "/events", "/slow/", "/lazy/", "/status",
            "/status/", "/metrics", "/ws",
        ] {
            assert!(text(&response).contains(path), "{path}");
        }
    }

    #[test]
    fn bytes_sends_as_many_as_asked_for() {
        assert_eq!(text(&get("/bytes/70000")).len(), 70_000);
        assert_eq!(text(&get("/bytes/0")).len(), 0);
        assert_eq!(get("/bytes/many").status(), 400);
    }

    #[test]
    fn sink_and_lazy_answer_the_length_and_echo_the_content() {
        for target in ["/sink", "/lazy/100"] {
            let frames = ["abc", "", "defg"].map(|it| Ok(Frame::data(Bytes::from(it))));
            let content = Frames::from_iter(frames);
            let response = whole(answer(&at_once(), request(Method::POST, target, content)));
            assert_eq!((response.status().as_u16(), text(&response)), (200, "7"), "{target}");
        }
        let content = Full::new(Bytes::from("<b>abc</b>"));
        let response = whole(answer(&at_once(), request(Method::POST, "/echo", content)));
        assert_eq!(text(&response), "<b>abc</b>");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/octet-stream");
    }

    #[test]
    fn content_that_fails_is_answered_with_400() {
        for target in ["/sink", "/lazy/1"] {
            let frames = [Ok(Frame::data(Bytes::from("abc"))), Err("cut off".into())];
            let content = Frames::from_iter(frames);
            let response = whole(answer(&at_once(), request(Method::POST, target, content)));
            assert_eq!(response.status(), 400);
            assert_eq!(text(&response), "the request's content ended early: cut off\n");
        }
    }

    #[test]
    fn slow_and_lazy_wait_for_the_given_time() {
        let waiting = demo(|pause| {
            assert_eq!(pause, Duration::from_millis(25));
            Box::pin(pending())
        });
        /// Content that must not be polled.
        struct Untouched;
        impl Body for Untouched {
            type Data = Bytes;
            type Error = BoxError;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
                panic!("the handler polled the content before its pause ended")
            }
        }
        for (method, target) in [(Method::GET, "/slow/25"), (Method::POST, "/lazy/25")] {
            let answer = answer(&waiting, request(method, target, Untouched));
            let mut answer = std::pin::pin!(answer);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(answer.as_mut().poll(&mut cx).is_pending(), "{target}");
        }
        assert_eq!(text(&get("/slow/25")), "thought for 25 ms\n");
    }

    #[test]
    fn events_must_not_be_cached() {
        let answer = answer(&at_once(), request(Method::GET, "/events", Empty::<Bytes>::new()));
        let response = futures_lite::future::block_on(answer);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn other_methods_and_paths_are_refused() {
        for (method, target, status, allow) in [
            (Method::POST, "/hello", 405, Some("GET, HEAD, OPTIONS")),
            (Method::POST, "/events", 405, Some("GET, HEAD, OPTIONS")),
            (Method::GET, "/echo", 405, Some("POST, OPTIONS")),
            (Method::DELETE, "/bytes/5", 405, Some("GET, HEAD, OPTIONS")),
            (Method::HEAD, "/sink", 405, Some("POST, OPTIONS")),
            (Method::GET, "/nowhere", 404, None),
            (Method::CONNECT, "example.com:443", 501, None),
            (Method::CONNECT, "/hello", 501, None),
            (Method::from_bytes(b"XGET").expect("a token"), "/hello", 501, None),
            (Method::from_bytes(b"XGET").expect("a token"), "/nowhere", 501, None),
            (Method::OPTIONS, "*", 204, Some("GET, HEAD, POST, OPTIONS")),
            (Method::OPTIONS, "/", 204, Some("GET, HEAD, POST, OPTIONS")),
            (Method::OPTIONS, "/nowhere", 404, None),
            (Method::HEAD, "/bytes/5", 200, None),
        ] {
            let response =
                whole(answer(&at_once(), request(method.clone(), target, Empty::<Bytes>::new())));
            assert_eq!(response.status(), status, "{method} {target}");
            let allowed = response.headers().get(ALLOW).map(|it| it.to_str().expect("text"));
            assert_eq!(allowed, allow, "{method} {target}");
        }
    }
}
