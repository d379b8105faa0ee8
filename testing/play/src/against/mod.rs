//! Other implementations, against which the connection is played: what one side sends has to arrive at the
//! other side unchanged.
//!
//! | function | the other side | what is compared |
//! |---|---|---|
//! | [`client`] | the client of the crate `h2` | requests and answers, as they were sent |
//! | [`frames`] | the server of the crate `h2` | what both servers make of the same frames |
//! | [`blocks`] | `loona-hpack` | field blocks in both directions |
//!
//! `pipe` is the transport of `h2` in memory. Everything is polled by hand, and no time passes.

mod blocks;
mod client;
mod frames;
mod pipe;

pub use blocks::blocks;
pub use client::client;
pub use frames::frames;

use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue};

/// Field lines in order.
type Lines = Vec<(String, Vec<u8>)>;

/// `lines` as a map, with the crumbs of a cookie joined as in HTTP/1.1 (RFC 9113 8.2.3).
fn joined<'l>(lines: impl IntoIterator<Item = (&'l str, &'l [u8])>) -> HeaderMap {
    let mut map = HeaderMap::new();
    let mut crumbs: Vec<&[u8]> = Vec::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        if name == COOKIE {
            crumbs.push(value);
        } else {
            map.append(name, HeaderValue::from_bytes(value).expect("a value"));
        }
    }
    if !crumbs.is_empty() {
        let cookie = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).expect("a value");
        map.append(COOKIE, cookie);
    }
    map
}
