//! The fields of messages on their way through the proxy (RFC 9110 7.6).
//!
//! Fields for one connection only are removed in both directions. What a client says of itself in `Forwarded` or
//! `X-Forwarded-*` is removed, and set anew from what the server knows. Fields whose names have an underscore are
//! removed: many applications can't tell `X_Forwarded_For` from `X-Forwarded-For`.

use bytes::BytesMut;
use http::header::{
    self, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName,
    HeaderValue, TRAILER, VIA,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};
use portcullis_driver::Address;
use std::net::IpAddr;

/// Fields for one connection only (RFC 9110 7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What the server knows of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'c> {
    pub(super) address: &'c Address,
    pub(super) is_tls: bool,
}

/// The request to the upstream server that stands for a client's, without content. `None` if its target can't be
/// passed on.
pub(super) fn request(
    asked: &Request<()>,
    client: Client<'_>,
    upstream: &Authority,
    has_trailers: bool,
) -> Option<Request<()>> {
    let mut fields = asked.headers().clone();
    // An absolute target counts, not `Host` (RFC 9112 3.2.2). HTTP/2 has both as `:authority`.
    let host = match asked.uri().authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => fields.get(HOST).cloned(),
    };
    remove_hop_by_hop(&mut fields);
    let untrusted: Vec<_> = fields.keys().filter(|name| is_untrusted(name)).cloned().collect();
    for name in untrusted {
        fields.remove(name);
    }
    // The length is that of the content. Its 100 (Continue) comes from this server.
    for name in [CONTENT_LENGTH, EXPECT] {
        fields.remove(name);
    }
    if !has_trailers {
        fields.remove(TRAILER);
    }
    join_cookies(&mut fields);
    tell_client(&mut fields, client, host.as_ref());
    let fallback = || HeaderValue::from_str(upstream.as_str()).ok();
    fields.insert(HOST, host.or_else(fallback)?);
    fields.append(VIA, via(asked.version()));
    let mut request = Request::new(());
    *request.method_mut() = asked.method().clone();
    let path = asked.uri().path_and_query().cloned();
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(upstream.clone());
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.headers_mut() = fields;
    Some(request)
}

/// Turns the fields of the upstream server's answer, which came with this version, into those for the client.
pub(super) fn answer(fields: &mut HeaderMap, version: Version) {
    remove_hop_by_hop(fields);
    fields.append(VIA, via(version));
}

fn remove_hop_by_hop(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        fields.remove(name);
    }
    fields.remove("proxy-connection");
}

/// Whether an application could take the field for one of the proxy's, or for one that no client may set.
fn is_untrusted(name: &HeaderName) -> bool {
    let text = name.as_str();
    // `Proxy` becomes HTTP_PROXY, the variable by which programs find their proxy (CVE-2016-5385).
    text.contains('_')
        || text.starts_with("x-forwarded-")
        || matches!(text, "forwarded" | "x-real-ip" | "proxy")
}

/// HTTP/2 splits cookies; over HTTP/1.1 they are one field (RFC 9113 8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let mut values = fields.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (values.next(), values.next()) else { return };
    let mut joined = BytesMut::from(first.as_bytes());
    for value in std::iter::once(second).chain(values) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_maybe_shared(joined.freeze()) {
        fields.insert(COOKIE, joined);
    }
}

fn tell_client(fields: &mut HeaderMap, client: Client<'_>, host: Option<&HeaderValue>) {
    let proto = if client.is_tls { "https" } else { "http" };
    let address = client.address.ip().map(|ip| ip.to_canonical());
    // An IPv6 address is in brackets, and so quoted (RFC 7239 6).
    let node = match address {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
        None => "unknown".to_owned(),
    };
    let mut forwarded = format!("for={node};proto={proto}");
    // A host has neither quotes nor backslashes.
    if let Some(host) = host.and_then(|host| host.to_str().ok())
        && !host.contains(['"', '\\'])
    {
        forwarded += &format!(";host=\"{host}\"");
    }
    let address = address.map(|ip| ip.to_string());
    for (name, value) in [
        (FORWARDED, Some(forwarded)),
        (X_FORWARDED_FOR, address),
        (X_FORWARDED_PROTO, Some(proto.into())),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            fields.insert(name, value);
        }
    }
    if let Some(host) = host {
        fields.insert(X_FORWARDED_HOST, host.clone());
    }
}

/// This server's part of `Via`: the version in which the message came (RFC 9110 7.6.3).
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 portcullis",
        Version::HTTP_2 => "2 portcullis",
        _ => "1.1 portcullis",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPSTREAM: Authority = Authority::from_static("app:1");

    fn passed(target: &str, fields: &[(&str, &str)]) -> HeaderMap {
        let mut asked = Request::builder().uri(target);
        for (name, value) in fields {
            asked = asked.header(*name, *value);
        }
        let address = Address::Ip("[2001:db8::1]:80".parse().expect("an address"));
        let client = Client { address: &address, is_tls: true };
        let asked = asked.body(()).expect("a request");
        request(&asked, client, &UPSTREAM, false).expect("it can be passed on").headers().clone()
    }

    #[test]
    fn the_client_is_told_and_not_believed() {
        let fields = passed(
            "/a?b",
            &[
                ("host", "site"),
                ("forwarded", "for=1.2.3.4"),
                ("x-forwarded-for", "1.2.3.4"),
                ("x_forwarded_for", "1.2.3.4"),
                ("x-forwarded-port", "1"),
                ("x-real-ip", "1.2.3.4"),
                ("proxy", "http://evil"),
                ("via", "1.0 cache"),
            ],
        );
        assert_eq!(fields["forwarded"], "for=\"[2001:db8::1]\";proto=https;host=\"site\"");
        assert_eq!(fields["x-forwarded-for"], "2001:db8::1");
        assert_eq!(fields["x-forwarded-proto"], "https");
        assert_eq!(fields["x-forwarded-host"], "site");
        assert_eq!(fields["host"], "site");
        let via: Vec<_> = fields.get_all("via").iter().collect();
        assert_eq!(via, ["1.0 cache", "1.1 portcullis"]);
        assert_eq!(fields.len(), 7, "{fields:?}");
    }

    #[test]
    fn fields_of_the_connection_stay_behind() {
        let fields = passed(
            "http://other/",
            &[
                ("host", "site"),
                ("connection", "close, X-Mine ,host, x-forwarded-for"),
                ("x-mine", "1"),
                ("keep-alive", "1"),
                ("te", "trailers"),
                ("transfer-encoding", "chunked"),
                ("content-length", "1"),
                ("upgrade", "h2c"),
                ("proxy-connection", "close"),
                ("proxy-authorization", "secret"),
                ("expect", "100-continue"),
                ("trailer", "x"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
            ],
        );
        assert_eq!(fields["host"], "other", "an absolute target counts");
        assert_eq!(fields["cookie"], "a=1; b=2");
        assert_eq!(fields["x-forwarded-for"], "2001:db8::1", "the client can't remove it");
        let names = ["host", "cookie", "via", "forwarded", "x-forwarded-for"];
        let others = ["x-forwarded-host", "x-forwarded-proto"];
        assert_eq!(fields.keys_len(), names.len() + others.len(), "{fields:?}");
        let mut fields = HeaderMap::new();
        fields.insert("connection", HeaderValue::from_static("x-app"));
        fields.insert("x-app", HeaderValue::from_static("1"));
        fields.insert("content-length", HeaderValue::from_static("5"));
        answer(&mut fields, Version::HTTP_10);
        assert_eq!(fields.keys_len(), 2);
        assert_eq!(fields["via"], "1.0 portcullis");
    }
}
