//! Targets and hosts. The application gets the same from its own view of a head and from the types
//! of `http`, whatever the client sent. Everything that is delivered fits into those types.

use http::uri::Authority;
use portcullis::{Config, Connection, Event, Tick};
use portcullis_play::support;
use std::fmt::Write;
use std::sync::Arc;
use support::cuts::{assert_refused_under, told_under};
use support::{text, with};

/// The request as the application gets it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    method: String,
    target: String,
    path: String,
}

/// The head of this request in both views; `None` if it is refused.
fn head(config: &Arc<Config>, wire: &[u8]) -> Option<Told> {
    let mut connection = Connection::new(Arc::clone(config), Tick::ZERO);
    let mut bytes = wire.to_vec();
    let mut events = connection.receive(Tick::ZERO, &mut bytes).expect("the connection reads");
    let Some((_, Event::Request { head, .. })) = events.next() else { return None };
    let request = head.to_http().unwrap_or_else(|why| panic!("{why}: {}", text(wire)));
    let uri = request.uri();
    assert_eq!(uri.to_string(), head.target(), "{}", text(wire));
    assert_eq!(uri.path(), head.path(), "{}", text(wire));
    let query = head.target().split_once('?').map(|(_, query)| query);
    assert_eq!(uri.query(), query, "{}", text(wire));
    assert!(head.target().bytes().all(|it| it.is_ascii_graphic()), "{}", head.target());
    assert!(!head.target().contains(|it| "\"#<>\\^`{|}".contains(it)), "{}", head.target());
    assert_eq!(request.method().as_str(), head.method());
    assert_eq!(request.headers().len(), head.fields().count());
    for (name, value) in head.fields() {
        let all = request.headers().get_all(name);
        assert!(all.iter().any(|it| it.as_bytes() == value), "{name} in {}", text(wire));
    }
    let [method, target, path] = [head.method(), head.target(), head.path()].map(str::to_owned);
    Some(Told { method, target, path })
}

fn get(target: &[u8], host: &[u8]) -> Vec<u8> {
    [b"GET ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat()
}

fn target_of(target: &[u8]) -> Option<String> {
    head(&Arc::default(), &get(target, b"a")).map(|told| told.target)
}

/// Each byte has one rule in paths, in queries, and after an authority.
#[test]
fn each_byte_is_delivered_alike_wherever_it_stands() {
    for byte in 0..=255u8 {
        let encoded = match byte {
            // These bytes end a target, at least for some readers.
            0..=b' ' | b'#' | 0x7f => None,
            // Alone, these bytes are not UTF-8.
            0x80.. => None,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                Some(format!("%{byte:02X}"))
            }
            _ => Some(char::from(byte).to_string()),
        };
        for before in ["/", "/eight-by", "/a?", "/a?b=eightbyt", "http://a/", "http://a/?"] {
            for after in ["", "z", "-eight-b"] {
                let target = [before.as_bytes(), &[byte], after.as_bytes()].concat();
                let expected = encoded.as_ref().map(|byte| format!("{before}{byte}{after}"));
                assert_eq!(target_of(&target), expected, "{byte:#x} after {before}");
            }
        }
    }
}

#[test]
fn targets_that_are_rewritten() {
    for (target, told) in [
        ("/café", "/caf%C3%A9"),
        ("/日本?語=\"<>\"", "/%E6%97%A5%E6%9C%AC?%E8%AA%9E=%22%3C%3E%22"),
        ("/%C3%A9é", "/%C3%A9%C3%A9"),
        ("/?q={\"a\":[1|2]}", "/?q=%7B%22a%22:[1%7C2]%7D"),
        ("/a\\b^c`d", "/a%5Cb%5Ec%60d"),
        ("http://a", "http://a/"),
        ("http://a?q", "http://a/?q"),
        ("HTTP://A?", "http://A/?"),
        ("hTTps://a:443/é", "https://a:443/%C3%A9"),
    ] {
        assert_eq!(target_of(target.as_bytes()).as_deref(), Some(told), "{target}");
    }
    for malformed in
        [&b"/\xe9"[..], b"/\xc0\xaf", b"/\xed\xa0\x80", b"/?\xf5\x80\x80\x80", b"/\xc3/\xa9"]
    {
        assert_eq!(target_of(malformed), None, "{}", malformed.escape_ascii());
    }
}

#[test]
fn a_rewritten_target_does_not_depend_on_cuts_or_the_previous_request() {
    let wires = [get("/é".as_bytes(), b"a"), get(b"/plain", b"a"), get(b"http://a", b"a")];
    let told = told_under(&Arc::default(), wires.concat());
    let expected = ["/%C3%A9", "/plain", "http://a/"];
    let mut targets = Vec::new();
    for seen in told.seen {
        if let support::Seen::Request(_, target, _) = seen {
            targets.push(target);
        }
    }
    assert_eq!(targets, expected);
}

/// The limit applies to the rewritten target, so it also bounds the encoding.
#[test]
fn the_limit_holds_for_the_rewritten_target() {
    let config = Arc::new(with(&[("request_target_limit", "10")]));
    let told =
        |target: &str| head(&config, &get(target.as_bytes(), b"a")).map(|it| it.target.len());
    assert_eq!(told("/123456789"), Some(10));
    assert_eq!(told("/123\"\""), Some(10));
    assert_eq!(told("/ééx"), None);
    assert_eq!(told("http://a"), Some(9));
    assert_eq!(told("http://a?"), Some(10));
    for target in ["/1234567890", "/1234\"\"", "/éé", "http://a?x", "http://a/xx"] {
        let wire = get(target.as_bytes(), b"a");
        assert_refused_under(&config, wire, portcullis::Refusal::TargetTooLong);
    }
}

/// The largest heads that a configuration can allow.
#[test]
fn the_largest_heads_fit_too() {
    let largest = [
        ("request_target_limit", "1MiB"),
        ("request_head_limit", "64KiB"),
        ("request_fields_limit", "256"),
    ];
    let config = Arc::new(with(&largest));
    let most = (64 << 10) - "G  HTTP/1.0\r\n\r\n".len();
    let long =
        |middle: &str| format!("G /{} HTTP/1.0\r\n\r\n", middle.repeat((most - 1) / middle.len()));
    assert!(head(&config, long("x").as_bytes()).is_some());
    assert!(head(&config, long("\"x").as_bytes()).is_none(), "longer than `http::Uri` allows");
    for told in [65533, 65534, 65535] {
        let target = format!("/{}{}", "\"".repeat(told / 3), "x".repeat(told % 3));
        let wire = format!("GET {} HTTP/1.0\r\n\r\n", &target[..target.len() - 1]);
        let seen = head(&config, wire.as_bytes()).map(|it| it.target.len());
        let length = told - if told % 3 == 0 { 2 } else { 0 };
        assert_eq!(seen, (length <= 65534).then_some(length), "{told}");
    }
    let fields: String = (0..256).fold("Host: a\r\n".into(), |mut all, number| {
        if number > 0 {
            let _ = write!(all, "x{number}: {number}\r\n");
        }
        all
    });
    assert!(head(&config, format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()).is_some());
}

/// Hosts made of short pieces. An accepted host is an authority for `http`, unless its name is
/// percent-encoded, which only the field may be.
#[test]
fn hosts_are_authorities() {
    const PIECES: [&str; 24] = [
        "",
        "a",
        "A.b",
        "1.2.3.4",
        ":",
        ":80",
        ":65535",
        ":65536",
        ":080",
        "%",
        "%41",
        "%4g",
        "[",
        "]",
        "[::1]",
        "[1:2:3:4:5:6:7::]",
        "::",
        "@",
        "/",
        "_~!$&'()*+,;=",
        "\\",
        "\"",
        "é",
        " ",
    ];
    let mut taken = 0;
    for first in PIECES {
        for second in PIECES {
            for third in PIECES {
                let host = [first, second, third].concat();
                let field = head(&Arc::default(), &get(b"/", host.as_bytes())).is_some();
                let trimmed = host.trim_matches(' ');
                let absolute = format!("http://{host}/");
                let in_target = head(&Arc::default(), &get(absolute.as_bytes(), host.as_bytes()));
                assert!(field || in_target.is_none(), "{host:?}");
                if field && !trimmed.contains('%') {
                    Authority::try_from(trimmed).unwrap_or_else(|why| panic!("{why}: {host:?}"));
                    assert_eq!(in_target.is_some(), host == trimmed, "{host:?}");
                    taken += 1;
                } else {
                    assert_eq!(in_target, None, "{host:?}");
                }
            }
        }
    }
    assert!(taken > 300, "{taken}");
}

/// Targets of any form, made of meaningful pieces.
#[test]
fn all_delivered_targets_agree_in_both_views() {
    const PIECES: [&[u8]; 40] = [
        b"/",
        b"//",
        b"*",
        b"?",
        b"http://",
        b"HTTPS://",
        b"ftp://",
        b"a",
        b"a",
        b"a:80",
        b":443",
        b":",
        b"[::1]",
        b"[",
        b"]",
        b"@",
        b"%",
        b"%2f",
        b"%zz",
        b"..",
        b"\\",
        b"|",
        b"{",
        b"}",
        b"^",
        b"`",
        b"\"",
        b"<",
        b">",
        b"'",
        b"~",
        b"!",
        b"\xc3\xa9",
        b"\xff",
        b"\x80",
        b"=&+;,$()",
        b"eight-by",
        b"x.y",
        b"#",
        b"\x7f",
    ];
    const METHODS: [&str; 7] =
        ["GET", "HEAD", "OPTIONS", "CONNECT", "get", "!#$%&'*+-.^_`|~0", "M"];
    let mut random = fastrand::Rng::with_seed(16);
    let mut taken = 0;
    for _ in 0..30_000 {
        let start = [&b""[..], b"/", b"/", b"http://a", b"http://a/", b"a:8", b"*"];
        let mut target = start[random.usize(..start.len())].to_vec();
        for _ in 0..random.usize(..5) {
            target.extend(PIECES[random.usize(..PIECES.len())]);
        }
        let method = METHODS[random.usize(..METHODS.len())];
        let authority = [&b""[..], b"a", b"a:80", b"[::1]", b"x.y", &target];
        let host = authority[random.usize(..authority.len())];
        let wire =
            [method.as_bytes(), b" ", &target, b" HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
        taken += usize::from(head(&Arc::default(), &wire).is_some());
    }
    assert!(taken > 5_000, "{taken}");
}

/// Names and values of fields, byte by byte.
#[test]
fn fields_that_are_delivered_fit_into_a_map() {
    let mut taken = 0;
    for byte in 0..=255u8 {
        for around in [["", ""], ["x", ""], ["", "x"], ["x", "x"]] {
            let name = [around[0].as_bytes(), &[byte], around[1].as_bytes()].concat();
            for line in [[&name[..], b": y"].concat(), [&b"x: "[..], &name].concat()] {
                let wire = [&b"GET / HTTP/1.1\r\nHost: a\r\n"[..], &line, b"\r\n\r\n"].concat();
                taken += usize::from(head(&Arc::default(), &wire).is_some());
            }
        }
    }
    assert!(taken > 1_000, "{taken}");
}
