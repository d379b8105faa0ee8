//! The input of an attacker: fragments of HTTP, so that arbitrary bytes reach deep into the
//! machine, and sometimes raw bytes.

use super::source::Source;

const FRAGMENTS: &[&[u8]] = &[
    // Whole heads.
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
    b"GET http://a HTTP/1.1\r\nHost: a:80\r\n\r\n",
    // Parts of heads.
    b"GET / HTTP/1.1\r\n",
    b"POST /l\xc3\xb6ng/target?with=\"query\" HTTP/1.1\r\n",
    b"HEAD ",
    b" HTTP/1.1",
    b" HTTP/1.0\r\n",
    b" HTTP/2.0\r\n",
    b"Host: a\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 7\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Expect: other\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"X-Field: value\r\n",
    b"a:b\r\n",
    b" folded\r\n",
    // Ends of lines.
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"\0",
    b" ",
    b":",
    // Content and chunks.
    b"1\r\nx\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nTrailer: 1\r\n\r\n",
    b"0\r\nHost: no\r\n\r\n",
    b"0\r\n",
    b"3;e=1 ; f=\";\\\"\"\r\nabc\r\n",
    b";e=\"",
    b"a \t;x\r\n0123456789\r\n",
    b"ffffffffffffffff\r\n",
    b"10000\r\n",
    b"12c\r\n",
    b"content of a request, as plain as it gets",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
];

/// Heads that ask for a tunnel.
pub const TUNNELS: [&[u8]; 3] = [
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    b"CONNECT a:1 HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
];

const REPEATED: &[&[u8]] = &[
    b"x",
    b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"a:b\r\n",
    b"1\r\nx\r\n",
    b"1;e\r\nx\r\n",
    b"e",
    b"4\r\nabcd\r\n",
];

/// Writes the next piece.
pub fn write(source: &mut Source<'_>, wire: &mut Vec<u8>) {
    let choice = usize::from(source.byte());
    match FRAGMENTS.get(choice % 64) {
        Some(fragment) => wire.extend_from_slice(fragment),
        None if choice < 128 => {
            let piece = source.one_of(REPEATED);
            let times = (source.size() as usize).min(70_000 / piece.len());
            wire.extend(piece.repeat(times));
        }
        None => {
            let count = source.below(32) + 1;
            wire.extend_from_slice(source.raw(count));
        }
    }
}
