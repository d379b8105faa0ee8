use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a length");
    [BINARY, &[command, family][..], &length.to_be_bytes(), rest].concat()
}

/// The addresses and ports of a client, 192.0.2.1:258, and a server.
const IP4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 1, 2, 0, 80];

fn ip6() -> Vec<u8> {
    let client = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets();
    [&client, &Ipv6Addr::LOCALHOST.octets()[..], &[1, 2, 0, 80]].concat()
}

fn at(address: &str) -> Option<Address> {
    Some(Address::Ip(address.parse().expect("an address")))
}

/// Headers, and the clients that they tell.
fn examples() -> Vec<(Vec<u8>, Option<Address>)> {
    let lines = [
        ("PROXY TCP4 192.0.2.1 10.0.0.1 258 80\r\n", at("192.0.2.1:258")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", at("255.255.255.255:65535")),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", at("0.0.0.0:0")),
        ("PROXY TCP6 2001:db8::7 ::1 258 80\r\n", at("[2001:db8::7]:258")),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            at("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        ("PROXY UNKNOWN\r\n", None),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            None,
        ),
    ];
    let tlvs = [4, 0, 3, b'a', b'b', b'c'];
    let long = vec![4; LONGEST_BINARY - FIXED - 12];
    let lines = lines.map(|(line, client)| (line.as_bytes().to_vec(), client));
    let binaries = [
        (binary(0x21, 0x11, &IP4), at("192.0.2.1:258")),
        (binary(0x21, 0x11, &[&IP4[..], &tlvs].concat()), at("192.0.2.1:258")),
        (binary(0x21, 0x11, &[&IP4[..], &long].concat()), at("192.0.2.1:258")),
        (binary(0x21, 0x21, &ip6()), at("[2001:db8::7]:258")),
        (binary(0x21, 0x21, &[ip6(), tlvs.into()].concat()), at("[2001:db8::7]:258")),
        (binary(0x21, 0x31, &[b'/'; 216]), Some(Address::Unix(None))),
        (binary(0x21, 0x31, &[b'/'; 220]), Some(Address::Unix(None))),
        (binary(0x21, 0x00, &[]), None),
        (binary(0x21, 0x00, &tlvs), None),
        (binary(0x20, 0x00, &[]), None),
        (binary(0x20, 0x11, &IP4), None),
        (binary(0x20, 0xff, &tlvs), None),
    ];
    lines.into_iter().chain(binaries).collect()
}

#[test]
fn every_header_is_understood_however_it_is_cut_and_no_byte_after_it_is_taken() {
    for (bytes, client) in examples() {
        let all = [&bytes[..], b"GET"].concat();
        for cut in 0..=bytes.len() {
            let mut header = ProxyHeader::new();
            let (first, rest) = all.split_at(cut);
            let mut complete = header.receive(first).expect("well-formed");
            let before = if complete.is_some() { 0 } else { cut };
            if complete.is_none() {
                complete = header.receive(rest).expect("well-formed");
            }
            let length = bytes.len() - before;
            assert_eq!(complete, Some(ProxyHeaderEnd { length, client: client.clone() }), "{cut}");
        }
        let mut header = ProxyHeader::new();
        let (last, front) = bytes.split_last().expect("not empty");
        for byte in front {
            assert_eq!(header.receive(&[*byte]), Ok(None), "{bytes:?}");
        }
        assert_eq!(header.receive(&[*last]), Ok(Some(ProxyHeaderEnd { length: 1, client })));
    }
}

#[test]
fn malformed_headers_are_refused_at_the_same_byte_however_they_are_cut() {
    let mut short6 = ip6();
    short6.pop();
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let lines: [&[u8]; 26] = [
        b"GET / HTTP/1.1\r\n",
        b"POST",
        b"PRI * HTTP/2.0\r\n",
        b"\x16\x03\x01",
        b"proxy TCP4",
        b"PROXYTCP4",
        b"PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
        b"PROXY \r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY UNKNOWN\rx",
        b"PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 1 x\r\n",
        b"PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.01 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 \xff 1 2\r\n",
        &endless,
    ];
    let binaries = [
        b"\r\n\r\nGET".to_vec(),
        binary(0x11, 0x11, &IP4),
        binary(0x22, 0x11, &IP4),
        binary(0x31, 0x11, &IP4),
        binary(0x21, 0x12, &IP4),
        binary(0x21, 0x10, &IP4),
        binary(0x21, 0x41, &IP4),
        binary(0x21, 0x11, &IP4[..11]),
        binary(0x21, 0x11, &[]),
        binary(0x21, 0x21, &short6),
        binary(0x21, 0x31, &[b'/'; 215]),
        binary(0x20, 0x00, &vec![0; LONGEST_BINARY - FIXED + 1]),
        binary(0x21, 0x11, &vec![0; 0xffff]),
    ];
    for bytes in lines.iter().map(|it| it.to_vec()).chain(binaries) {
        assert_eq!(ProxyHeader::new().receive(&bytes), Err(MALFORMED), "{bytes:?}");
        let mut header = ProxyHeader::new();
        let refused = bytes.iter().position(|byte| header.receive(&[*byte]).is_err());
        let refused = refused.expect("refused");
        assert!(refused < LONGEST_LINE, "{bytes:?}");
        for cut in 0..=refused {
            let mut header = ProxyHeader::new();
            assert_eq!(header.receive(&bytes[..cut]), Ok(None), "{bytes:?}");
            assert_eq!(header.receive(&bytes[cut..]), Err(MALFORMED), "{bytes:?}");
        }
    }
}

/// A connection holds the header in a box of this size until it is complete.
#[test]
fn a_header_needs_little_room() {
    assert!(size_of::<ProxyHeader>() <= 160, "{}", size_of::<ProxyHeader>());
}

#[test]
fn a_source_is_a_prefix_an_address_or_unix_sockets() {
    let source = |text: &str| text.parse::<ProxySource>().expect("a source");
    let ip = |text: &str| Address::Ip(text.parse().expect("an address"));
    for (text, peer, contains) in [
        ("10.0.0.0/8", ip("10.1.2.3:4"), true),
        ("10.0.0.0/8", ip("[::ffff:10.1.2.3]:4"), true),
        ("10.0.0.0/8", ip("11.1.2.3:4"), false),
        ("10.0.0.0/8", Address::Unix(None), false),
        ("192.0.2.7", ip("192.0.2.7:1"), true),
        ("192.0.2.7", ip("192.0.2.8:1"), false),
        ("2001:db8::/32", ip("[2001:db8::1]:1"), true),
        ("0.0.0.0/0", ip("[::1]:1"), false),
        ("unix", Address::Unix(None), true),
        ("unix", Address::Unknown, false),
        ("::/0", Address::Unknown, false),
    ] {
        assert_eq!(source(text).contains(&peer), contains, "{text} {peer}");
    }
    assert_eq!(source("unix").to_string(), "unix");
    assert_eq!(source("10.0.0.1").to_string(), "10.0.0.1/32");
    for text in ["", "10.0.0.0/33", "10.0.0", "example.com", "Unix", "10.0.0.0/8 "] {
        let error = text.parse::<ProxySource>().expect_err(text);
        assert!(error.to_string().contains("10.0.0.0/8"), "{error}");
    }
}

/// Bytes that begin like a header.
fn alike() -> impl Strategy<Value = Vec<u8>> {
    let examples: Vec<_> = examples().into_iter().map(|(bytes, _)| bytes).collect();
    let begun = (0..examples.len(), any::<prop::sample::Index>(), vec(any::<u8>(), 0..300));
    let changed = begun.prop_map(move |(number, end, tail)| {
        let example = &examples[number];
        [&example[..end.index(example.len() + 1)], &tail].concat()
    });
    prop_oneof![vec(any::<u8>(), 0..300), changed]
}

proptest! {
    #[test]
    fn cuts_make_no_difference(bytes in alike(), cuts in vec(1_usize..40, 1..300)) {
        let whole = ProxyHeader::new().receive(&bytes);
        let (mut header, mut taken, mut cuts) = (ProxyHeader::new(), 0, cuts.into_iter().cycle());
        let in_pieces = loop {
            let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) else {
                break Ok(None);
            };
            let piece = &rest[..rest.len().min(cuts.next().unwrap_or(1))];
            match header.receive(piece) {
                Ok(None) => taken += piece.len(),
                Ok(Some(complete)) => {
                    break Ok(Some(ProxyHeaderEnd { length: taken + complete.length, ..complete }));
                }
                Err(malformed) => break Err(malformed),
            }
        };
        prop_assert_eq!(&whole, &in_pieces);
        if let Ok(Some(complete)) = whole {
            prop_assert!(complete.length <= bytes.len().min(LONGEST_BINARY));
        }
    }
}
