//! The header of the PROXY protocol, versions 1 and 2, with which a proxy tells whom it stands for.
//!
//! In: the first bytes of a connection, cut as they arrive. Out: the length of the header and the client's
//! address. The parser keeps no byte for longer than it needs: a line of version 1, or the addresses of version
//! 2. It skips the rest of a header of version 2 (its TLVs). It does no I/O.
//!
//! The specification is `doc/proxy-protocol.txt` of HAProxy. Crates that parse the header want all of it at
//! once. They would need a buffer for 64 KiB of TLVs, and would look at each byte again whenever another one
//! arrives.

use crate::address::Address;
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest line of version 1, with its CRLF.
const LONGEST_LINE: usize = 107;
/// The longest header of version 2, as in nginx. Senders need some hundred bytes. TLVs with a client's
/// certificate fit, and a header without end does not.
const LONGEST_BINARY: usize = 4096;
const LINE: &[u8; 6] = b"PROXY ";
const BINARY: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The part of version 2 that all headers have: signature, version and command, family, length.
const FIXED: usize = 16;
const MALFORMED: BadProxyHeader = BadProxyHeader(());

/// A proxy that begins each of its connections with a header of the PROXY protocol.
///
/// ```
/// use portcullis_driver::ProxySource;
///
/// let prefix: ProxySource = "10.0.0.0/8".parse()?;
/// let address: ProxySource = "2001:db8::7".parse()?;
/// assert_eq!("unix".parse(), Ok(ProxySource::Unix));
/// # Ok::<(), portcullis_driver::BadProxySource>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxySource {
    /// Every peer with an address of this prefix.
    Prefix(IpNet),
    /// Every peer on a Unix socket.
    Unix,
}

impl ProxySource {
    /// Whether a peer at this address is meant. An IPv4 address may also come as an IPv6 one (`::ffff:1.2.3.4`),
    /// as it does from a socket for both.
    pub(crate) fn contains(&self, peer: &Address) -> bool {
        match (self, peer) {
            (ProxySource::Prefix(prefix), Address::Ip(peer)) => {
                prefix.contains(&peer.ip()) || prefix.contains(&peer.ip().to_canonical())
            }
            (ProxySource::Unix, Address::Unix(_)) => true,
            _ => false,
        }
    }
}

/// Whether a peer at this address is one of these proxies.
pub(crate) fn is_proxy(proxies: &[ProxySource], peer: &Address) -> bool {
    proxies.iter().any(|proxy| proxy.contains(peer))
}

impl From<IpNet> for ProxySource {
    fn from(prefix: IpNet) -> Self {
        ProxySource::Prefix(prefix)
    }
}

/// An address counts as the prefix that has no other.
impl From<IpAddr> for ProxySource {
    fn from(address: IpAddr) -> Self {
        ProxySource::Prefix(address.into())
    }
}

/// A text is no [`ProxySource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadProxySource(());

impl FromStr for ProxySource {
    type Err = BadProxySource;

    fn from_str(text: &str) -> Result<Self, BadProxySource> {
        if text == "unix" {
            return Ok(ProxySource::Unix);
        }
        let prefix = text.parse::<IpNet>().map(ProxySource::Prefix);
        prefix.or_else(|_| text.parse::<IpAddr>().map(Self::from)).map_err(|_| BadProxySource(()))
    }
}

impl fmt::Display for ProxySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxySource::Prefix(prefix) => prefix.fmt(f),
            ProxySource::Unix => f.write_str("unix"),
        }
    }
}

impl fmt::Display for BadProxySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a prefix such as 10.0.0.0/8, an address, or `unix`")
    }
}

impl std::error::Error for BadProxySource {}

impl Default for ProxyHeader {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for BadProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection does not begin with a header of the PROXY protocol")
    }
}

impl std::error::Error for BadProxyHeader {}

/// Reads the header of the PROXY protocol, version 1 or 2, at the beginning of a connection.
///
/// A [`Server`](crate::Server) does this for the proxies that it trusts. A driver of one's own can do it before it
/// hands the first bytes to its connection. The header has at most 107 bytes in version 1 and 4096 in version 2. A
/// driver has to give it a deadline.
///
/// ```
/// use portcullis_driver::ProxyHeader;
///
/// let mut header = ProxyHeader::new();
/// assert_eq!(header.receive(b"PROXY TCP4 192.0.2.1 10.0"), Ok(None));
/// let read = b".0.1 258 80\r\nGET / HTTP/1.1\r\n";
/// let complete = header.receive(read)?.expect("the rest of the header");
/// assert_eq!(complete.client.map(|it| it.to_string()), Some("192.0.2.1:258".to_owned()));
/// assert_eq!(&read[complete.length..], b"GET / HTTP/1.1\r\n");
/// # Ok::<(), portcullis_driver::BadProxyHeader>(())
/// ```
#[derive(Debug)]
pub struct ProxyHeader {
    held: [u8; LONGEST_LINE],
    length: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// A line of version 1, or version 2 up to the end of its addresses.
    Collects,
    /// So many bytes of version 2 are left.
    Skips(usize, Option<Address>),
}

/// The bytes are no header of the PROXY protocol, so the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadProxyHeader(());

/// A complete header of the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyHeaderEnd {
    /// The number of its bytes in those that were received last. The bytes after them are the connection's.
    pub length: usize,
    /// The client's address; `None` if the proxy speaks for itself, or does not know.
    pub client: Option<Address>,
}

impl ProxyHeader {
    /// A header of which no byte has arrived.
    pub fn new() -> Self {
        ProxyHeader { held: [0; LONGEST_LINE], length: 0, stage: Stage::Collects }
    }

    /// Takes the bytes that arrived next. `None` if the header is not complete yet.
    ///
    /// # Errors
    /// The bytes so far begin no header. Nothing can be received after that.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<ProxyHeaderEnd>, BadProxyHeader> {
        let mut place = 0;
        loop {
            match &mut self.stage {
                Stage::Collects => {
                    let Some(byte) = bytes.get(place) else { return Ok(None) };
                    self.collect(*byte)?;
                    place += 1;
                }
                Stage::Skips(left, client) => {
                    let part = bytes.len().saturating_sub(place).min(*left);
                    *left -= part;
                    if *left > 0 {
                        return Ok(None);
                    }
                    return Ok(Some(ProxyHeaderEnd {
                        length: place + part,
                        client: client.take(),
                    }));
                }
            }
        }
    }

    fn collect(&mut self, byte: u8) -> Result<(), BadProxyHeader> {
        let place = self.length;
        self.length += 1;
        *self.held.get_mut(place).ok_or(MALFORMED)? = byte;
        match self.held.first() {
            Some(b'P') => self.collect_line(place, byte),
            _ => self.collect_binary(place, byte),
        }
    }

    fn collect_line(&mut self, place: usize, byte: u8) -> Result<(), BadProxyHeader> {
        if let Some(expected) = LINE.get(place) {
            return if byte == *expected { Ok(()) } else { Err(MALFORMED) };
        }
        let line = self.held.get(LINE.len()..self.length).unwrap_or_default();
        match line {
            [line @ .., b'\r', b'\n'] => {
                self.stage = Stage::Skips(0, client_in(line)?);
                Ok(())
            }
            // The last byte of the longest line is its LF.
            [.., b'\n'] | [.., b'\r', _] => Err(MALFORMED),
            _ if self.length == LONGEST_LINE => Err(MALFORMED),
            _ => Ok(()),
        }
    }

    fn collect_binary(&mut self, place: usize, byte: u8) -> Result<(), BadProxyHeader> {
        if BINARY.get(place).is_some_and(|expected| byte != *expected) {
            return Err(MALFORMED);
        }
        // Version 2, and the command LOCAL or PROXY.
        if place == BINARY.len() && !matches!(byte, 0x20 | 0x21) {
            return Err(MALFORMED);
        }
        let held = self.held.get(BINARY.len()..self.length).unwrap_or_default();
        let [command, family, high, low, addresses @ ..] = held else { return Ok(()) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length > LONGEST_BINARY - FIXED {
            return Err(MALFORMED);
        }
        // The family of a LOCAL header means nothing.
        let family = if *command == 0x20 { 0 } else { *family };
        let (needed, client) = match (family, addresses) {
            (0x00, _) => (0, None),
            (0x11, [a, b, c, d, _, _, _, _, port @ .., _, _]) => {
                (12, ip([*a, *b, *c, *d].into(), port))
            }
            (0x11, _) => (12, None),
            (0x21, [source @ .., _, _]) if addresses.len() == 36 => {
                let (address, rest) = source.split_at(16);
                let address = <[u8; 16]>::try_from(address).map_err(|_| MALFORMED)?;
                (36, ip(address.into(), rest.get(16..).unwrap_or_default()))
            }
            (0x21, _) => (36, None),
            // A path on the proxy's machine would mean nothing here.
            (0x31, _) => (216, Some(Address::Unix(None))),
            // Datagrams never come on a stream, and the specification has no other families.
            _ => return Err(MALFORMED),
        };
        if length < needed {
            return Err(MALFORMED);
        }
        // The addresses of a Unix socket are skipped.
        let is_held = needed > LONGEST_LINE || addresses.len() == needed;
        if is_held {
            self.stage = Stage::Skips(length - addresses.len(), client);
        }
        Ok(())
    }
}

/// The address, if the two bytes of its port are there.
fn ip(address: IpAddr, port: &[u8]) -> Option<Address> {
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(Address::Ip(SocketAddr::new(address, port)))
}

/// The client in a line of version 1, without its beginning and end.
fn client_in(line: &[u8]) -> Result<Option<Address>, BadProxyHeader> {
    let line = str::from_utf8(line).map_err(|_| MALFORMED)?;
    let mut words = line.split(' ');
    let family = words.next();
    if family == Some("UNKNOWN") {
        // The specification has the rest ignored.
        return Ok(None);
    }
    let mut word = || words.next().ok_or(MALFORMED);
    let [client, own] = match family {
        Some("TCP4") => [word()?, word()?].map(|it| it.parse::<Ipv4Addr>().map(IpAddr::from)),
        Some("TCP6") => [word()?, word()?].map(|it| it.parse::<Ipv6Addr>().map(IpAddr::from)),
        _ => return Err(MALFORMED),
    };
    let (client, _) = client.and_then(|client| Ok((client, own?))).map_err(|_| MALFORMED)?;
    let (port, _) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(MALFORMED);
    }
    Ok(Some(Address::Ip(SocketAddr::new(client, port))))
}

/// A port: digits, and no leading zeros.
fn port(word: &str) -> Result<u16, BadProxyHeader> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain || (word.len() > 1 && word.starts_with('0')) {
        return Err(MALFORMED);
    }
    word.parse().map_err(|_| MALFORMED)
}

#[cfg(test)]
mod tests;
