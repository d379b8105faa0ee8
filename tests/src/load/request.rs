//! The requests that a load is made of.

use std::sync::Arc;

use super::echo::Message;
use super::frames;

/// Bodies are written from this block, repeatedly.
pub(super) const BLOCK: &[u8] = &[b'x'; 64 << 10];

/// The kind of client that a head imitates: the cost of a head grows with its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// Only `Host`.
    None,
    /// The ten fields, about 450 bytes, that a desktop browser sends with a navigation.
    Desktop,
}

const DESKTOP: &str = "\
    Connection: keep-alive\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: http://127.0.0.1/\r\n\
    Cookie: session=5f2b9c1e7a3d4086; theme=dark\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Mode: navigate\r\n";

/// One request: a head with a body of a given length, a websocket message, or a request over HTTP/2.
#[derive(Clone, Debug)]
pub struct Request {
    head: Arc<[u8]>,
    body: u64,
    closes: bool,
    message: Option<Message>,
    http2: bool,
}

impl Request {
    /// `GET target` with no field but `Host`.
    pub fn get(target: &str) -> Self {
        Self::get_as(target, Browser::None)
    }

    /// `GET target` with the fields of this kind of client.
    pub fn get_as(target: &str, browser: Browser) -> Self {
        let fields = match browser {
            Browser::None => "",
            Browser::Desktop => DESKTOP,
        };
        Self::new(&format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n"), 0, false)
    }

    /// `GET target` that asks for the connection to be closed after the answer.
    pub fn get_and_close(target: &str) -> Self {
        let head = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        Self::new(&head, 0, true)
    }

    /// `POST target` with a body of `body` bytes.
    pub fn post(target: &str, body: u64) -> Self {
        let host = "Host: 127.0.0.1";
        let head = format!("POST {target} HTTP/1.1\r\n{host}\r\nContent-Length: {body}\r\n\r\n");
        Self::new(&head, body, false)
    }

    /// A websocket message of `length` bytes for `target`, which sends it back. The handshake of
    /// each connection is not counted.
    pub fn message(target: &str, length: usize, text: bool) -> Self {
        let message = Message::new(target, length, text);
        let head = message.frame.clone();
        Self { head, body: 0, closes: false, message: Some(message), http2: false }
    }

    /// `GET target` over HTTP/2, for [`idle`](super::idle) connections: each of them asks once.
    pub fn get_http2(target: &str, tls: bool) -> Self {
        let head = frames::get(target, tls).into();
        Self { head, body: 0, closes: false, message: None, http2: true }
    }

    fn new(head: &str, body: u64, closes: bool) -> Self {
        Self { head: head.as_bytes().into(), body, closes, message: None, http2: false }
    }

    /// The bytes before a connection's first request. The server answers them separately.
    pub(super) fn opening(&self) -> &[u8] {
        match &self.message {
            Some(message) => &message.opening,
            None if self.http2 => frames::OPENING,
            None => &[],
        }
    }

    /// The message that the server sends back, if this is one.
    pub(super) fn echo(&self) -> Option<&Message> {
        self.message.as_ref()
    }

    /// Whether the answer comes over HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.http2
    }

    /// The head, or the message's frame, as it is sent.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The body's length.
    pub fn body(&self) -> u64 {
        self.body
    }

    /// Whether the request says that it is the connection's last one.
    pub fn closes(&self) -> bool {
        self.closes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(request: &Request) -> usize {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Request::new(&mut fields);
        assert!(head.parse(request.head()).expect("well-formed").is_complete());
        head.headers.len()
    }

    #[test]
    fn heads_are_well_formed_and_have_all_fields() {
        assert_eq!(
            Request::get("/hello").head(),
            b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        );
        assert_eq!(fields(&Request::get("/hello")), 1);
        assert_eq!(fields(&Request::get_as("/hello", Browser::Desktop)), 10);
        assert_eq!(fields(&Request::get_and_close("/hello")), 2);
        assert_eq!(fields(&Request::post("/sink", 7)), 2);
    }
}
