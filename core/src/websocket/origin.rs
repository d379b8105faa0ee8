//! Decides whether a page may open a websocket here (RFC 6454, RFC 6455 10.2).
//!
//! In: an `Origin`, and a `Host` or an allowed origin. Out: whether both name the same origin.
//!
//! Any page in a browser can open a websocket to any server, and the browser sends the user's cookies
//! along. Only the `Origin` shows that the request comes from a foreign page.

/// The origin of a page. Names are compared without regard to case, ports by number.
#[derive(Clone, Copy, Debug)]
struct Origin<'o> {
    scheme: &'o [u8],
    host: &'o [u8],
    /// The port that is given, or else the scheme's default, if it has one.
    port: Option<u16>,
}

impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
    }
}

impl<'o> Origin<'o> {
    /// Reads `scheme://host:port`, as browsers write it. `null` and lists are not accepted.
    fn read(text: &'o [u8]) -> Option<Self> {
        let end = text.windows(3).position(|three| three == b"://")?;
        let (scheme, authority) = (text.get(..end)?, text.get(end + 3..)?);
        let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        if scheme.is_empty() || !scheme.iter().all(is_scheme) {
            return None;
        }
        let (host, port) = authority_parts(authority, default_port(scheme))?;
        Some(Origin { scheme, host, port })
    }
}

/// Whether the page with this `Origin` came from the server that `Host` names. The scheme is not
/// compared: a server behind a proxy that terminates TLS does not know it.
pub(super) fn is_same(origin: &[u8], host: &[u8]) -> bool {
    let Some(origin) = Origin::read(origin) else { return false };
    // Servers send pages only under schemes that have a default port.
    let Some(default) = default_port(origin.scheme) else { return false };
    let Some((host, port)) = authority_parts(host, Some(default)) else { return false };
    origin.host.eq_ignore_ascii_case(host) && origin.port == port
}

/// Whether `origin` equals the `allowed` origin.
pub(super) fn is_allowed(origin: &[u8], allowed: &str) -> bool {
    let allowed = allowed.strip_suffix('/').unwrap_or(allowed).as_bytes();
    match (Origin::read(origin), Origin::read(allowed)) {
        (Some(origin), Some(allowed)) => origin == allowed,
        _ => origin == b"null" && allowed == b"null",
    }
}

fn default_port(scheme: &[u8]) -> Option<u16> {
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    match () {
        () if is(b"http") || is(b"ws") => Some(80),
        () if is(b"https") || is(b"wss") => Some(443),
        () => None,
    }
}

/// The host and the port of an authority without userinfo.
fn authority_parts(authority: &[u8], default: Option<u16>) -> Option<(&[u8], Option<u16>)> {
    let is_part = |byte: &u8| byte.is_ascii_graphic() && !b"/?#@\\".contains(byte);
    if !authority.iter().all(is_part) {
        return None;
    }
    // Skip the colons of an IPv6 address, which is in brackets.
    let from = authority.iter().rposition(|byte| *byte == b']').unwrap_or(0);
    let colon = authority.iter().skip(from).position(|byte| *byte == b':').map(|at| from + at);
    let (host, port) = match colon {
        None => (authority, default),
        Some(colon) => {
            let digits = authority.get(colon + 1..)?;
            let is_number = digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit);
            let port = match digits {
                [] => default,
                digits if is_number => Some(core::str::from_utf8(digits).ok()?.parse().ok()?),
                _ => return None,
            };
            (authority.get(..colon)?, port)
        }
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_origin_is_the_same_host_and_port() {
        for (origin, host) in [
            ("http://a", "a"),
            ("https://a", "a"),
            ("HTTPS://Example.ORG", "example.org"),
            ("http://a", "a:80"),
            ("http://a:80", "a"),
            ("https://a:443", "a"),
            ("https://a", "A:443"),
            ("http://a:8080", "a:8080"),
            ("http://a:08080", "a:8080"),
            ("http://a", "a:"),
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://[::1]:3000", "[::1]:3000"),
            ("https://[FE80::1]", "[fe80::1]:443"),
        ] {
            assert!(is_same(origin.as_bytes(), host.as_bytes()), "{origin} of {host}");
        }
        for (origin, host) in [
            ("http://b", "a"),
            ("http://a.evil.example", "a"),
            ("http://evil-a", "a"),
            ("http://a.", "a"),
            ("http://a", "a:443"),
            ("https://a", "a:80"),
            ("http://a:8080", "a"),
            ("http://a", "a:8080"),
            ("http://a:8080", "a:8081"),
            ("http://a:99999", "a:99999"),
            ("http://a:x", "a:x"),
            ("null", "null"),
            ("null", "a"),
            ("", "a"),
            ("a", "a"),
            ("http://", "a"),
            ("http://:80", ":80"),
            ("http:///a", "a"),
            ("http://a/", "a"),
            ("http://a/b", "a"),
            ("http://b@a", "a"),
            ("http://b#@a", "a"),
            ("http://a http://b", "a"),
            ("http://a,http://a", "a"),
            ("file://a", "a"),
            ("chrome-extension://a", "a"),
            (" http://a", "a"),
            ("http://[::1]", "[::2]"),
            ("http://\u{e4}", "\u{e4}"),
        ] {
            assert!(!is_same(origin.as_bytes(), host.as_bytes()), "{origin} of {host}");
        }
        assert!(!is_same(b"http://a\xff", b"a\xff"));
    }

    #[test]
    fn an_allowed_origin_has_the_same_scheme_host_and_port() {
        for (origin, allowed) in [
            ("https://a", "https://a"),
            ("https://a", "https://A:443/"),
            ("http://a:80", "http://a"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abc", "chrome-extension://abc"),
            ("null", "null"),
        ] {
            assert!(is_allowed(origin.as_bytes(), allowed), "{origin}, {allowed}");
        }
        for (origin, allowed) in [
            ("http://a", "https://a"),
            ("https://a:444", "https://a"),
            ("https://b.a", "https://a"),
            ("https://a", "a"),
            ("https://a", "*"),
            ("https://a", ""),
            ("null", "https://a"),
            ("https://a", "null"),
            ("", ""),
            ("x", "x"),
        ] {
            assert!(!is_allowed(origin.as_bytes(), allowed), "{origin}, {allowed}");
        }
    }
}
