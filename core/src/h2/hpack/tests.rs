//! Both directions together, and the examples of RFC 7541 appendix C.

use super::*;

pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

pub(super) fn decoded(decoder: &mut Decoder, mut block: &[u8]) -> Result<Pairs, HpackError> {
    let mut text = b"?".to_vec();
    let mut fields = Vec::new();
    decoder.begin();
    while let Some(field) = decoder.field(&mut block, &mut text, usize::MAX)? {
        assert!(field.fits);
        assert_eq!(field.end, text.len());
        assert_eq!(field.size, field.end - field.start + 32);
        let name = text[field.start..field.name_end].to_vec();
        if let Some(entry) = table::static_entry(field.name_index.into()) {
            assert_eq!(entry.name(), name);
        }
        if let Some(entry) = table::static_entry(field.static_index.into()) {
            assert_eq!(entry.text[..entry.length.into()], text[field.start..field.end]);
        }
        fields.push((name, text[field.name_end..field.end].to_vec()));
    }
    Ok(fields)
}

/// Decodes a block to `name: value` lines.
fn lines(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, HpackError> {
    let fields = decoded(decoder, block)?;
    Ok(fields
        .iter()
        .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()))
        .collect())
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|it| !it.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).expect("hex"))
        .collect()
}

/// The dynamic table, as fields by their index, from the newest on.
fn table_of(decoder: &mut Decoder) -> Vec<String> {
    let mut all = Vec::new();
    for index in 62..127 {
        match lines(decoder, &[0x80 | index]) {
            Ok(line) => all.extend(line),
            Err(error) => {
                assert_eq!(error, HpackError::BadIndex);
                break;
            }
        }
    }
    all
}

// ---- appendix C ------------------------------------------------------------------------------------

#[test]
fn examples_c_2_single_fields() {
    for (block, line, inserted) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key: custom-header",
            1,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", 0),
        ("82", ":method: GET", 0),
    ] {
        let mut decoder = Decoder::new(4096);
        let block = bytes(block);
        assert_eq!(lines(&mut decoder, &block).as_deref(), Ok(&[line.to_owned()][..]));
        assert_eq!(table_of(&mut decoder).len(), inserted);
        let mut rest = &block[..];
        decoder.begin();
        let field = decoder.field(&mut rest, &mut Vec::new(), 100).expect("valid").expect("one");
        assert_eq!(field.never_indexed, line.starts_with("password"));
    }
}

fn requests(blocks: [&str; 3]) {
    let mut decoder = Decoder::new(4096);
    let common = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
    let [first, second, third] = blocks.map(bytes);
    assert_eq!(lines(&mut decoder, &first).expect("valid"), common);
    assert_eq!(table_of(&mut decoder), common[3..]);
    assert_eq!(
        lines(&mut decoder, &second).expect("valid"),
        [&common[..], &["cache-control: no-cache"]].concat()
    );
    assert_eq!(
        lines(&mut decoder, &third).expect("valid"),
        [
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value"
        ]
    );
    assert_eq!(
        table_of(&mut decoder),
        ["custom-key: custom-value", "cache-control: no-cache", ":authority: www.example.com"]
    );
}

#[test]
fn examples_c_3_requests_without_huffman() {
    requests([
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ]);
}

#[test]
fn examples_c_4_requests_with_huffman() {
    requests([
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ]);
}

fn responses(blocks: [&str; 3]) {
    let mut decoder = Decoder::new(4096);
    assert_eq!(lines(&mut decoder, &bytes("3f e1 01")), Ok(vec![]));
    let [first, second, third] = blocks.map(bytes);
    let [private, date, location] = [
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ];
    assert_eq!(
        lines(&mut decoder, &first).expect("valid"),
        [":status: 302", private, date, location]
    );
    assert_eq!(table_of(&mut decoder), [location, date, private, ":status: 302"]);
    assert_eq!(
        lines(&mut decoder, &second).expect("valid"),
        [":status: 307", private, date, location]
    );
    assert_eq!(table_of(&mut decoder), [":status: 307", location, date, private]);
    let last = [
        ":status: 200",
        private,
        "date: Mon, 21 Oct 2013 20:13:22 GMT",
        location,
        "content-encoding: gzip",
        "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ];
    assert_eq!(lines(&mut decoder, &third).expect("valid"), last);
    assert_eq!(table_of(&mut decoder), [last[5], last[4], last[2]]);
}

#[test]
fn examples_c_5_responses_without_huffman() {
    responses([
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a \
         3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 \
         677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 \
         553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ]);
}

#[test]
fn examples_c_6_responses_with_huffman() {
    responses([
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e \
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 \
         821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed \
         4ee5 b106 3d50 07",
    ]);
}

// ---- the decoder -----------------------------------------------------------------------------------

#[test]
fn bad_indices() {
    let mut decoder = Decoder::new(4096);
    for block in [&[0x80][..], &[0xbe], &[0xff, 0x00], &[0x7f, 0x00, 0], &[0x0f, 0x2f, 0]] {
        assert_eq!(lines(&mut decoder, block), Err(HpackError::BadIndex));
    }
    assert_eq!(lines(&mut decoder, b"\x40\x01a\x01b\xbe"), Ok(vec!["a: b".into(); 2]));
    for block in [&[0xbf][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x7f, 1, 0]] {
        assert_eq!(lines(&mut decoder, block), Err(HpackError::BadIndex));
    }
    let large = [0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(lines(&mut decoder, &large), Err(HpackError::IntegerTooLarge));
}

#[test]
fn a_block_that_is_cut() {
    let whole = bytes(
        "3f e1 01 88 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54 \
         4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf 1008 7061 7373 776f 7264 0673 6563 7265 \
         74 0f2f 7f00",
    );
    let whole = [&whole[..], &[b'v'; 127]].concat();
    let fields = lines(&mut Decoder::new(4096), &whole).expect("valid");
    assert_eq!(fields.len(), 5);
    let mut complete = 0;
    for length in 0..whole.len() {
        let mut decoder = Decoder::new(4096);
        match lines(&mut decoder, &whole[..length]) {
            Ok(some) => {
                assert_eq!(fields[..some.len()], some);
                complete += 1;
            }
            Err(error) => assert_eq!(error, HpackError::Truncated),
        }
    }
    // Nothing, the update, and the first four fields.
    assert_eq!(complete, 6);
}

#[test]
fn size_updates_of_the_peer() {
    let mut decoder = Decoder::new(4096);
    let insert = b"\x40\x01a\x01b";
    assert_eq!(lines(&mut decoder, insert), Ok(vec!["a: b".into()]));
    assert!(decoder.memory() > 0);
    assert_eq!(lines(&mut decoder, &[0x20]), Ok(vec![]));
    assert_eq!(decoder.memory(), 0);
    // With a maximum size of 0 nothing is kept.
    assert_eq!(lines(&mut decoder, insert), Ok(vec!["a: b".into()]));
    assert_eq!((decoder.memory(), table_of(&mut decoder)), (0, vec![]));
    // Two updates, 0 and 4096, are fine; a third is not, nor one after a field, nor one that is too large.
    let most = [0x3f, 0xe1, 0x1f];
    let both = [&[0x20], &most[..]].concat();
    assert_eq!(lines(&mut decoder, &[&both[..], insert].concat()), Ok(vec!["a: b".into()]));
    assert_eq!(table_of(&mut decoder), ["a: b"]);
    let misplaced = Err(HpackError::MisplacedTableSize);
    assert_eq!(lines(&mut decoder, &[0x20, 0x20, 0x20]), misplaced);
    assert_eq!(lines(&mut decoder, &[0x88, 0x20]), misplaced);
    assert_eq!(lines(&mut decoder, &[0x00, 1, b'a', 1, b'b', 0x20]), misplaced);
    assert_eq!(lines(&mut decoder, &[0x3f, 0xe2, 0x1f]), Err(HpackError::TableSize));
}

#[test]
fn a_lower_limit_needs_an_update() {
    let start = || {
        let mut decoder = Decoder::new(4096);
        assert_eq!(lines(&mut decoder, b"\x40\x01a\x01b"), Ok(vec!["a: b".into()]));
        decoder.set_limit(100);
        decoder
    };
    assert_eq!(lines(&mut start(), &[0x88]), Err(HpackError::MissingTableSize));
    assert_eq!(lines(&mut start(), &[0x3f, 70, 0x88]), Err(HpackError::TableSize));
    assert_eq!(lines(&mut start(), &[0x3f, 69, 0xbe]), Ok(vec!["a: b".into()]));
    assert_eq!(lines(&mut start(), &[0x20, 0x88]), Ok(vec![":status: 200".into()]));
    // Lowered and raised again: the lowest limit has to be named first.
    let again = || {
        let mut decoder = start();
        decoder.set_limit(4096);
        decoder
    };
    assert_eq!(lines(&mut again(), &[0x88]), Err(HpackError::MissingTableSize));
    assert_eq!(lines(&mut again(), &[0x3f, 70, 0x88]), Err(HpackError::MissingTableSize));
    assert_eq!(lines(&mut again(), &[0x3f, 69, 0x3f, 0xe1, 0x1f, 0xbe]), Ok(vec!["a: b".into()]));
    // A peer that uses less already, and a higher limit, need none.
    let mut decoder = Decoder::new(4096);
    assert_eq!(lines(&mut decoder, &[0x3f, 0]), Ok(vec![]));
    decoder.set_limit(1000);
    decoder.set_limit(10_000);
    assert_eq!(lines(&mut decoder, &[0x88]), Ok(vec![":status: 200".into()]));
}

#[test]
fn a_name_from_an_entry_that_is_evicted_by_its_use() {
    let mut decoder = Decoder::new(100);
    let name = "n".repeat(60);
    let block = [b"\x40\x3c", name.as_bytes(), b"\x01a"].concat();
    assert_eq!(lines(&mut decoder, &block), Ok(vec![format!("{name}: a")]));
    assert_eq!(lines(&mut decoder, &[0x7e, 1, b'b']), Ok(vec![format!("{name}: b")]));
    assert_eq!(table_of(&mut decoder), [format!("{name}: b")]);
    // One that is too large takes its name from the table, and then empties it.
    let large = [&[0x7e, 10], &[b'c'; 10][..]].concat();
    assert_eq!(lines(&mut decoder, &large), Ok(vec![format!("{name}: cccccccccc")]));
    assert_eq!((table_of(&mut decoder), decoder.memory()), (vec![], 0));
}

/// Decodes with little room beside a decoder with much: all the rest is the same.
#[test]
fn a_field_that_does_not_fit() {
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..100 {
        let limit = random.u32(..300);
        let mut encoder = Recoder::new(limit);
        let mut decoders = [Decoder::new(limit), Decoder::new(limit)];
        for _ in 0..20 {
            let block = encoder.block(&mut random);
            let [mut some, mut all] = [&block[..], &block[..]];
            let [mut little, mut much] = [Vec::with_capacity(64), Vec::new()];
            decoders.iter_mut().for_each(Decoder::begin);
            loop {
                let before = little.len();
                let room = random.usize(..80);
                let capacity = little.capacity();
                let field = decoders[0].field(&mut some, &mut little, room).expect("valid");
                let other = decoders[1].field(&mut all, &mut much, usize::MAX).expect("valid");
                let (Some(field), Some(other)) = (field, other) else {
                    assert_eq!((field, other), (None, None));
                    break;
                };
                let length = other.end - other.start;
                assert_eq!(field.fits, length <= room);
                assert_eq!(field.size, other.size);
                assert_eq!(
                    (field.name_index, field.static_index, field.never_indexed),
                    (other.name_index, other.static_index, other.never_indexed)
                );
                if field.fits {
                    assert_eq!(little[field.start..], much[other.start..]);
                    assert_eq!(field.name_end - field.start, other.name_end - other.start);
                } else {
                    assert_eq!((little.len(), field.start, field.end), (before, before, before));
                }
                // A Vec that has to grow may double.
                let grown = before + room.max(limit as usize);
                let now = little.capacity();
                assert!(now <= capacity.max(2 * grown));
                assert_eq!(some.len(), all.len());
                assert_eq!(table_of(&mut decoders[0]), table_of(&mut decoders[1]));
                for decoder in &decoders {
                    assert!(decoder.memory() <= memory_bound(limit));
                }
                // `table_of` began blocks of its own: only fields follow.
            }
        }
    }
}

/// Makes valid blocks of all representations, from a dictionary of few strings.
struct Recoder {
    /// Real sizes are known to the decoder only: here it is enough to know its entries.
    decoder: Decoder,
    limit: u32,
}

impl Recoder {
    fn new(limit: u32) -> Self {
        Recoder { decoder: Decoder::new(limit), limit }
    }

    fn block(&mut self, random: &mut fastrand::Rng) -> Vec<u8> {
        fn literal(random: &mut fastrand::Rng, most: usize, out: &mut Vec<u8>) {
            let text: Vec<u8> = (0..random.usize(..=most)).map(|_| random.u8(b'!'..b'~')).collect();
            if random.bool() {
                integer::encode(huffman::encoded_length(&text) as u32, 0x80, 0x7f, out);
                huffman::encode(&text, out);
            } else {
                integer::encode(text.len() as u32, 0, 0x7f, out);
                out.extend_from_slice(&text);
            }
        }
        let mut block = Vec::new();
        for _ in 0..random.usize(..3) {
            if random.u8(..6) == 0 {
                integer::encode(random.u32(..=self.limit), 0x20, 0x1f, &mut block);
            }
        }
        lines(&mut self.decoder, &block).expect("valid");
        for _ in 0..random.usize(..10) {
            let mut field = Vec::new();
            let entries = 61 + table_of(&mut self.decoder).len() as u32;
            let most = if random.u8(..10) == 0 { 400 } else { 40 };
            let least = if random.bool() { 0 } else { 61 };
            let index = random.u32(least..=entries);
            let (pattern, mask) = [(0x80, 0x7f), (0x40, 0x3f), (0x00, 0x0f), (0x10, 0x0f)]
                [random.usize(..if index == 0 { 1 } else { 4 })];
            if pattern == 0x80 {
                integer::encode(index.max(1), pattern, mask, &mut field);
            } else {
                integer::encode(index, pattern, mask, &mut field);
                if index == 0 {
                    literal(random, most, &mut field);
                }
                literal(random, most, &mut field);
            }
            lines(&mut self.decoder, &field).expect("valid");
            block.extend_from_slice(&field);
        }
        block
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..1400 {
        let mut limit = [0, 31, 100, 1000, 4096, 65_535, u32::MAX][round % 7];
        let mut decoder = Decoder::new(limit);
        let mut text = Vec::new();
        for _ in 0..30 {
            if random.u8(..20) == 0 {
                limit = random.u32(..=limit.min(100_000));
                decoder.set_limit(limit);
            }
            let block: Vec<u8> = (0..random.usize(..60))
                .map(|_| match random.u8(..4) {
                    0 => random.u8(..),
                    1 => random.u8(..8),
                    2 => 0x40 | random.u8(..0x40),
                    _ => 0x80 | random.u8(..0x48),
                })
                .collect();
            decoder.begin();
            text.clear();
            let room = random.usize(..100);
            let mut rest = &block[..];
            while let Ok(Some(field)) = decoder.field(&mut rest, &mut text, room) {
                assert!(field.start <= field.name_end && field.name_end <= field.end);
                assert_eq!(field.end, text.len());
                assert!(field.end - field.start <= room);
                assert!(decoder.memory() <= memory_bound(limit));
            }
            assert!(decoder.memory() <= memory_bound(limit));
        }
    }
}

// ---- round trips -----------------------------------------------------------------------------------

#[test]
fn statuses() {
    let mut encoder = Encoder::new();
    let mut decoder = Decoder::new(4096);
    for status in (100..1000).chain([200, 204, 206, 304, 400, 404, 500, 999]) {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        encoder.status(status, &mut block);
        assert_eq!(lines(&mut decoder, &block), Ok(vec![format!(":status: {status}")]));
        if [200, 204, 206, 304, 400, 404, 500].contains(&status) {
            assert_eq!(block.len(), 1);
        }
    }
}

#[test]
fn random_fields_survive() {
    const NAMES: [&str; 12] = [
        "content-type",
        "content-length",
        "date",
        "server",
        "vary",
        "set-cookie",
        "x-cache",
        "x-request-id",
        "access-control-allow-origin",
        "etag",
        "a",
        "",
    ];
    let mut random = fastrand::Rng::with_seed(6);
    for _ in 0..100 {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new(4096);
        for _ in 0..60 {
            if random.u8(..15) == 0 {
                for _ in 0..random.usize(1..4) {
                    let most = if random.bool() { 200 } else { 6000 };
                    let limit = random.u32(..most);
                    decoder.set_limit(limit);
                    encoder.set_peer_limit(limit);
                }
            }
            let mut block = Vec::new();
            let mut fields = Vec::new();
            encoder.begin(&mut block);
            for _ in 0..random.usize(..12) {
                let name = NAMES[random.usize(..NAMES.len())].as_bytes().to_vec();
                let most = [1, 3, 40, 40, 300, 2000][random.usize(..6)];
                let digits = random.bool();
                let value: Vec<u8> = (0..random.usize(..most))
                    .map(|_| match digits {
                        true => random.u8(b'0'..b'2'),
                        false => random.u8(b'a'..b'c'),
                    })
                    .collect();
                encoder.field(&name, &value, &mut block);
                fields.push((name, value));
                assert!(encoder.memory() <= ENCODER_MEMORY);
            }
            assert_eq!(decoded(&mut decoder, &block), Ok(fields));
        }
    }
}

#[test]
fn secrets_are_never_indexed() {
    let mut encoder = Encoder::new();
    let mut block = Vec::new();
    encoder.begin(&mut block);
    encoder.field(b"set-cookie", b"id=1", &mut block);
    encoder.field(b"x-auth-token", b"1", &mut block);
    let mut decoder = Decoder::new(4096);
    let mut rest = &block[..];
    decoder.begin();
    for _ in 0..2 {
        let field = decoder.field(&mut rest, &mut Vec::new(), 100).expect("valid").expect("one");
        assert!(field.never_indexed);
    }
    assert_eq!((encoder.memory(), decoder.memory()), (0, 0));
}
