//! Finds the demo route, and its number, that a request's target names.

use crate::answer;
use std::time::Duration;

/// The longest pause of a handler.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// A demo route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Page,
    Hello,
    Echo,
    Sink,
    Bytes(u64),
    Events,
    Slow(Duration),
    Lazy(Duration),
    WebSocket,
    /// The methods of a route, or of all routes, as an `Allow` field.
    Options(&'static str),
}

/// Why a request has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoute {
    Unknown,
    /// No route has such a method.
    UnknownMethod,
    /// The route is there, but not its number: what was expected.
    BadNumber(&'static str),
    /// The route exists for other methods only. Holds them as an `Allow` field.
    BadMethod(&'static str),
}

impl Route {
    /// The route of a request. `path` is without the query.
    pub(super) fn find(method: &str, path: &str) -> Result<Route, NoRoute> {
        if !answer::knows(method) {
            return Err(NoRoute::UnknownMethod);
        }
        let route = match Route::of_path(path) {
            // `*` asks about the server as a whole (RFC 9110 9.3.7).
            Err(NoRoute::Unknown) if (method, path) == ("OPTIONS", "*") => {
                return Ok(Route::Options("GET, HEAD, POST, OPTIONS"));
            }
            route => route?,
        };
        let (methods, allowed) = route.methods();
        match method {
            "OPTIONS" => Ok(Route::Options(allowed)),
            _ if methods.contains(&method) => Ok(route),
            _ => Err(NoRoute::BadMethod(allowed)),
        }
    }

    /// The route of a request for a websocket over HTTP/2.
    pub(super) fn of_connect(path: &str) -> Result<Route, NoRoute> {
        match Route::of_path(path)? {
            Route::WebSocket => Ok(Route::WebSocket),
            other => Err(NoRoute::BadMethod(other.methods().1)),
        }
    }

    fn of_path(path: &str) -> Result<Route, NoRoute> {
        match path {
            "/hello" => return Ok(Route::Hello),
            "/" => return Ok(Route::Page),
            "/echo" => return Ok(Route::Echo),
            "/sink" => return Ok(Route::Sink),
            "/events" => return Ok(Route::Events),
            "/ws" => return Ok(Route::WebSocket),
            _ => {}
        }
        let (name, number) =
            path.strip_prefix('/').and_then(|it| it.split_once('/')).ok_or(NoRoute::Unknown)?;
        match name {
            "bytes" => digits(number)
                .map(Route::Bytes)
                .ok_or(NoRoute::BadNumber("expected a number of bytes from 0 to 2^64 - 1\n")),
            "slow" => pause(number).map(Route::Slow),
            "lazy" => pause(number).map(Route::Lazy),
            _ => Err(NoRoute::Unknown),
        }
    }

    /// The methods that the route answers, without OPTIONS, and all of them as an `Allow` field.
    const fn methods(self) -> (&'static [&'static str], &'static str) {
        match self {
            Route::Echo | Route::Sink | Route::Lazy(_) => (&["POST"], "POST, OPTIONS"),
            Route::WebSocket => (&["GET"], "GET, OPTIONS"),
            // Test suites of HTTP/2 send content to the first page, and expect 200.
            Route::Page => (&["GET", "HEAD", "POST"], "GET, HEAD, POST, OPTIONS"),
            Route::Options(allowed) => (&[], allowed),
            _ => (&["GET", "HEAD"], "GET, HEAD, OPTIONS"),
        }
    }
}

fn pause(text: &str) -> Result<Duration, NoRoute> {
    digits(text)
        .map(Duration::from_millis)
        .filter(|pause| *pause <= LONGEST)
        .ok_or(NoRoute::BadNumber("expected a number of milliseconds from 0 to 3600000\n"))
}

/// Parses digits only. The standard parser would also accept a sign.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found() {
        for (path, route) in [
            ("/", Route::Page),
            ("/hello", Route::Hello),
            ("/echo", Route::Echo),
            ("/sink", Route::Sink),
            ("/bytes/0", Route::Bytes(0)),
            ("/bytes/18446744073709551615", Route::Bytes(u64::MAX)),
            ("/events", Route::Events),
            ("/slow/25", Route::Slow(Duration::from_millis(25))),
            ("/lazy/3600000", Route::Lazy(LONGEST)),
            ("/ws", Route::WebSocket),
        ] {
            assert_eq!(Route::of_path(path), Ok(route), "{path}");
        }
    }

    #[test]
    fn near_misses_are_unknown() {
        for path in [
            "", "*", "//", "/hello/", "/Hello", "/hell", "/helloo", "/bytes", "/slow", "/%68ello",
            "hello", "/x/5", "//5",
        ] {
            assert_eq!(Route::of_path(path), Err(NoRoute::Unknown), "{path}");
        }
    }

    #[test]
    fn malformed_numbers_are_not_unknown_routes() {
        for path in [
            "/bytes/",
            "/bytes/x",
            "/bytes/-1",
            "/bytes/+1",
            "/bytes/1.5",
            "/bytes/1/",
            "/bytes/0x10",
            "/bytes/18446744073709551616",
            "/slow/",
            "/slow/3600001",
            "/lazy/1s",
            "/lazy/%31",
        ] {
            let found = Route::of_path(path);
            assert!(matches!(found, Err(NoRoute::BadNumber(_))), "{path}: {found:?}");
        }
    }

    #[test]
    fn each_route_has_its_methods() {
        for method in ["GET", "HEAD", "POST"] {
            assert_eq!(Route::find(method, "/"), Ok(Route::Page), "{method}");
        }
        for path in ["/hello", "/bytes/1", "/events", "/slow/1"] {
            assert!(Route::find("GET", path).is_ok() && Route::find("HEAD", path).is_ok());
            for method in ["POST", "PUT", "TRACE"] {
                let found = Route::find(method, path);
                assert_eq!(found, Err(NoRoute::BadMethod("GET, HEAD, OPTIONS")), "{method} {path}");
            }
            for method in ["CONNECT", "get", "GE", ", ", ""] {
                let found = Route::find(method, path);
                assert_eq!(found, Err(NoRoute::UnknownMethod), "{method} {path}");
            }
        }
        for path in ["/echo", "/sink", "/lazy/1"] {
            assert!(Route::find("POST", path).is_ok());
            assert_eq!(
                Route::find("GET", path),
                Err(NoRoute::BadMethod("POST, OPTIONS")),
                "{path}"
            );
        }
        for (path, methods) in [
            ("/", "GET, HEAD, POST, OPTIONS"),
            ("/sink", "POST, OPTIONS"),
            ("*", "GET, HEAD, POST, OPTIONS"),
        ] {
            assert_eq!(Route::find("OPTIONS", path), Ok(Route::Options(methods)), "{path}");
        }
        assert_eq!(Route::of_connect("/ws"), Ok(Route::WebSocket));
        assert_eq!(Route::of_connect("/echo"), Err(NoRoute::BadMethod("POST, OPTIONS")));
        assert_eq!(Route::of_connect("/nowhere"), Err(NoRoute::Unknown));
        assert_eq!(Route::find("OPTIONS", "/nowhere"), Err(NoRoute::Unknown));
        assert_eq!(Route::find("GET", "*"), Err(NoRoute::Unknown));
        assert_eq!(Route::find("HEAD", "/ws"), Err(NoRoute::BadMethod("GET, OPTIONS")));
    }
}
