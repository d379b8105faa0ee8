//! Parses a request target and its authority, and normalizes it for the application (RFC 9112 3.2,
//! RFC 9110 4.2 and 7.2).
//!
//! In: a target as it was sent. Out: the same text for nearly all targets. Bytes that clients send raw
//! are percent-encoded. An absolute target gets a lower-case scheme, and the path `/` if it has no
//! path. This applies to OPTIONS too, where an empty path could mean `*`: `http::Uri` cannot express
//! that. `http::Uri` accepts the result, and prints it unchanged.

use super::grammar::{self, decimal};
use crate::close::Refusal;
use crate::config::Config;
use crate::head::MethodKind;
use core::net::Ipv6Addr;

/// The longest target that `http::Uri` holds.
const LONGEST: u64 = u16::MAX as u64 - 1;

/// The most bytes of a target that the application gets.
pub(crate) fn longest(config: &Config) -> u64 {
    config.request_target_limit().min(config.request_head_limit()).min(LONGEST)
}

/// The four forms of a target (RFC 9112 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form<'h> {
    /// A path and an optional query; nearly all targets have this form.
    Origin,
    Absolute(Absolute<'h>),
    /// A host and a port, for CONNECT.
    Authority(&'h [u8]),
    /// `*`, for OPTIONS.
    Asterisk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Absolute<'h> {
    scheme: Scheme,
    authority: &'h [u8],
    /// Path and query, which are both optional.
    rest: &'h [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Scheme::Http => b"http://",
            Scheme::Https => b"https://",
        }
    }

    /// The port of a URI without one (RFC 9110 4.2.1, 4.2.2).
    const fn default_port(self) -> &'static [u8] {
        match self {
            Scheme::Http => b"80",
            Scheme::Https => b"443",
        }
    }
}

impl<'h> Form<'h> {
    pub(crate) fn of(target: &'h [u8], method: &[u8], kind: MethodKind) -> Result<Self, Refusal> {
        if kind == MethodKind::Connect {
            let (_, port) = split_port(target);
            let has_port = port.is_some_and(|port| !port.is_empty());
            let is_place = has_port && is_plain_authority(target);
            return if is_place { Ok(Form::Authority(target)) } else { Err(Refusal::Target) };
        }
        match target {
            [b'/', ..] => Ok(Form::Origin),
            b"*" if method == b"OPTIONS" => Ok(Form::Asterisk),
            _ => Absolute::read(target).map(Form::Absolute).ok_or(Refusal::Target),
        }
    }

    /// Whether the `Host` field names the same authority as the target. The target takes precedence
    /// (RFC 9112 3.2.2), but other parsers use the field.
    pub(crate) fn agrees_with(&self, host: &[u8]) -> bool {
        match self {
            Form::Origin | Form::Asterisk => true,
            Form::Authority(authority) => host.eq_ignore_ascii_case(authority),
            Form::Absolute(absolute) => absolute.agrees_with(host),
        }
    }

    /// Writes `target`, which has this form, as the application gets it. A path in which no byte has to
    /// be encoded stays as it was sent.
    pub(crate) fn tell(
        &self,
        target: &[u8],
        config: &Config,
        told: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let (start, rest) = match self {
            Form::Absolute(Absolute { scheme, authority, rest }) => {
                let slash: &[u8] = if rest.starts_with(b"/") { b"" } else { b"/" };
                ([scheme.prefix(), authority, slash], *rest)
            }
            _ => ([&b""[..]; 3], target),
        };
        let encoded = |byte: &u8| if grammar::is_target(*byte) { 1 } else { 3 };
        let length = start.iter().map(|it| it.len()).chain(rest.iter().map(encoded)).sum::<usize>();
        if length as u64 > longest(config) {
            return Err(Refusal::TargetTooLong);
        }
        told.clear();
        told.reserve_exact(length);
        told.extend(start.iter().copied().flatten());
        for byte in rest {
            if grammar::is_target(*byte) {
                told.push(*byte);
            } else {
                let digit = |it: u8| b"0123456789ABCDEF"[usize::from(it & 15)];
                told.extend([b'%', digit(*byte >> 4), digit(*byte)]);
            }
        }
        Ok(())
    }
}

impl<'h> Absolute<'h> {
    fn read(target: &'h [u8]) -> Option<Self> {
        let begins = |scheme: &Scheme| {
            let prefix = scheme.prefix();
            target.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix))
        };
        let scheme = [Scheme::Http, Scheme::Https].into_iter().find(begins)?;
        let behind = target.get(scheme.prefix().len()..)?;
        let end = behind.iter().position(|byte| matches!(byte, b'/' | b'?'));
        let (authority, rest) = behind.split_at_checked(end.unwrap_or(behind.len()))?;
        let is_named = !authority.is_empty() && is_plain_authority(authority);
        is_named.then_some(Absolute { scheme, authority, rest })
    }

    /// Whether host and port are the same, without regard to case. A missing or empty port is the
    /// scheme's default.
    fn agrees_with<'a>(&'a self, host: &'a [u8]) -> bool {
        let parts = |authority: &'a [u8]| {
            let (host, port) = split_port(authority);
            let port = port.filter(|port| !port.is_empty());
            (host, port.unwrap_or(self.scheme.default_port()))
        };
        let (ours, theirs) = (parts(self.authority), parts(host));
        ours.0.eq_ignore_ascii_case(theirs.0) && ours.1 == theirs.1
    }
}

/// The host in an authority, and the text after its colon.
fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    // Skip the colons of an IPv6 address.
    let address = authority.iter().rposition(|byte| *byte == b']').unwrap_or(0);
    let colon = authority.iter().rposition(|byte| *byte == b':').filter(|at| *at > address);
    match colon.and_then(|at| authority.split_at_checked(at)) {
        Some((host, [_, port @ ..])) => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Whether this is a valid authority in a target. `http::Uri` accepts no percent-encoded names, and no
/// client sends them.
fn is_plain_authority(authority: &[u8]) -> bool {
    is_authority(authority) && !authority.contains(&b'%')
}

/// Whether this is `uri-host [ ":" port ]` (RFC 9110 7.2), without userinfo. It may be empty, but may
/// not be a port without a host (RFC 9110 4.2.1).
pub(crate) fn is_authority(authority: &[u8]) -> bool {
    let port = match authority {
        [b':', ..] => return false,
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (address, after) = rest.split_at(end);
            let address = core::str::from_utf8(address).ok();
            match after {
                _ if address.is_none_or(|it| it.parse::<Ipv6Addr>().is_err()) => return false,
                [b']'] => return true,
                [b']', b':', port @ ..] => port,
                _ => return false,
            }
        }
        _ => match authority.get(name_length(authority)..) {
            Some([]) => return true,
            Some([b':', port @ ..]) => port,
            _ => return false,
        },
    };
    port.is_empty()
        || (port.len() <= 5 && decimal(port).is_some_and(|port| port <= u64::from(u16::MAX)))
}

/// The length of the registered name or IPv4 address at the start.
#[inline(always)]
fn name_length(authority: &[u8]) -> usize {
    let plain = grammar::host_length(authority);
    if authority.get(plain) == Some(&b'%') { encoded_name_length(authority) } else { plain }
}

/// The length of a name that is percent-encoded in part (RFC 3986 3.2.2).
#[cold]
fn encoded_name_length(authority: &[u8]) -> usize {
    let mut rest = authority;
    loop {
        rest = rest.get(grammar::host_length(rest)..).unwrap_or_default();
        match rest {
            [b'%', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest = after;
            }
            _ => return authority.len() - rest.len(),
        }
    }
}
