use super::super::deflate::Deflater;
use super::super::extension;
use super::super::negotiation::{DeflateSettings, Negotiation};
use super::*;
use crate::input::Held;
use proptest::prelude::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A client's frame.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = declared(first, payload.as_ref().len() as u64);
    let mut payload = payload.as_ref().to_vec();
    Mask::new(KEY).apply(&mut payload);
    bytes.extend(payload);
    bytes
}

/// The header of a client's frame.
fn declared(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes
}

/// An event as the application sees it.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    /// All pieces of a message; true if the last one has come.
    Pieces(bool, Vec<u8>, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Ended(Violation),
}

fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

/// Records what is paid and earned.
#[derive(Debug, Default)]
struct Purse {
    paid: Vec<Cost>,
    earned: u64,
    most: Option<usize>,
    /// Bytes that may still be inflated in this call, if that is bounded.
    inflatable: Option<usize>,
}

impl Payer for Purse {
    fn spend(&mut self, cost: Cost) -> bool {
        self.paid.push(cost);
        self.most.is_none_or(|most| self.paid.len() <= most)
    }

    fn earn(&mut self, bytes: u64) {
        self.earned += bytes;
    }

    fn inflatable(&self) -> usize {
        self.inflatable.unwrap_or(usize::MAX)
    }

    fn inflated(&mut self, bytes: usize) {
        self.inflatable = self.inflatable.map(|left| left.saturating_sub(bytes));
    }
}

/// A receiver with the state that a connection keeps beside it.
struct Side {
    receiver: Receiver,
    held: Held,
    purse: Purse,
    seen: Vec<Seen>,
    /// Messages or pieces that were not lent from the driver's buffer.
    copied: usize,
    /// The most memory of the receiver between two reads.
    memory: usize,
    /// The largest piece.
    piece: usize,
}

fn agreed(settings: DeflateSettings) -> Agreed {
    let mut negotiation = Negotiation::new(&settings);
    extension::read(b"permessage-deflate", |part| negotiation.look(part)).expect("well-formed");
    negotiation.finish().expect("agreed")
}

const ENDLESS: u64 = u64::MAX;

impl Side {
    fn new(message: u64, pieces: bool, deflate: Option<DeflateSettings>) -> Self {
        let receiver = Receiver::new(Limits { message, pieces }, deflate.map(agreed));
        Side {
            receiver,
            held: Held::default(),
            purse: Purse::default(),
            seen: Vec::new(),
            copied: 0,
            memory: 0,
            piece: 0,
        }
    }

    fn whole(message: u64) -> Self {
        Side::new(message, false, None).credit(ENDLESS)
    }

    fn more(&mut self, credit: u64) {
        let end = self.receiver.delivered().saturating_add(credit);
        self.receiver.grant(end);
    }

    fn credit(mut self, credit: u64) -> Self {
        self.receiver.grant(credit);
        self
    }

    fn feed(&mut self, bytes: &[u8]) {
        let mut fresh = bytes.to_vec();
        let mut input = Input::new(core::mem::take(&mut self.held), &mut fresh);
        let mut whole = Vec::new();
        loop {
            let step = match self.receiver.step(&mut input, &mut whole, &mut self.purse) {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(violation) => {
                    self.seen.push(Seen::Ended(violation));
                    break;
                }
            };
            if !self.look(step, &mut input, &mut whole) {
                break;
            }
        }
        self.held = if self.receiver.ended { Held::default() } else { input.put_back(0) };
        self.receiver.release();
        self.memory = self.memory.max(self.receiver.memory());
    }

    fn look(&mut self, step: Arrival, input: &mut Input<'_>, whole: &mut [u8]) -> bool {
        let seen = match step {
            Arrival::Message { text, at } => match lend(text, self.lent(at, input, whole)) {
                Ok(Message::Text(text)) => Seen::Text(text.into()),
                Ok(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
                Err(violation) => {
                    self.seen.push(Seen::Ended(violation));
                    self.receiver.ended = true;
                    return false;
                }
            },
            Arrival::Piece { text, last, at } => {
                let bytes = self.lent(at, input, whole).to_vec();
                self.piece = self.piece.max(bytes.len());
                match self.seen.last_mut() {
                    Some(Seen::Pieces(was_text, before, was_last)) if !*was_last => {
                        assert_eq!(*was_text, text);
                        before.extend(bytes);
                        *was_last = last;
                        return true;
                    }
                    _ => Seen::Pieces(text, bytes, last),
                }
            }
            Arrival::Ping(span) => Seen::Ping(input.span(span).to_vec()),
            Arrival::Pong(span) => Seen::Pong(input.span(span).to_vec()),
            Arrival::Close { code, reason } => {
                let reason = core::str::from_utf8(input.span(reason)).expect("checked");
                Seen::Close(code, reason.into())
            }
        };
        self.seen.push(seen);
        true
    }

    fn lent<'b>(
        &mut self,
        at: Place,
        input: &'b mut Input<'_>,
        whole: &'b mut [u8],
    ) -> &'b mut [u8] {
        match at {
            Place::Input(span) => input.span(span),
            Place::Whole => {
                self.copied += 1;
                whole
            }
        }
    }
}

/// Plays a wire whole, cut in two at every place, byte by byte and in threes. The result must be
/// the same.
fn play(side: impl Fn() -> Side, wire: &[u8]) -> Vec<Seen> {
    let run = |pieces: &[&[u8]]| {
        let mut side = side();
        for piece in pieces {
            side.feed(piece);
        }
        (side.seen, side.purse.paid, side.purse.earned)
    };
    let (seen, paid, earned) = run(&[wire]);
    let ended = matches!(seen.last(), Some(Seen::Ended(_)));
    let same = |other: (Vec<Seen>, Vec<Cost>, u64), cut: &str| {
        assert_eq!(other.0, seen, "{cut}");
        assert_eq!(other.1, paid, "{cut}");
        assert!(ended || other.2 == earned, "{cut}");
    };
    for cut in 0..=wire.len() {
        same(run(&[&wire[..cut], &wire[cut..]]), &format!("cut at {cut}"));
    }
    same(run(&wire.chunks(1).collect::<Vec<_>>()), "byte by byte");
    same(run(&wire.chunks(3).collect::<Vec<_>>()), "in threes");
    seen
}

fn plain(wire: &[u8]) -> Vec<Seen> {
    play(|| Side::whole(1 << 20), wire)
}

fn in_pieces(wire: &[u8]) -> Vec<Seen> {
    play(|| Side::new(1 << 20, true, None).credit(ENDLESS), wire)
}

fn with_deflate(wire: &[u8]) -> Vec<Seen> {
    play(|| Side::new(1 << 20, false, Some(DeflateSettings::default())).credit(ENDLESS), wire)
}

// ---- messages and frames ------------------------------------------------------------------------

#[test]
fn messages_in_one_frame_of_every_length_encoding() {
    for length in [0, 1, 5, 125, 126, 300] {
        let payload: Vec<u8> = (0..length).map(|it| it as u8).collect();
        assert_eq!(plain(&frame(FIN | BINARY, &payload)), [Seen::Binary(payload.clone())]);
        let whole = Seen::Pieces(false, payload.clone(), true);
        assert_eq!(in_pieces(&frame(FIN | BINARY, &payload)), [whole]);
    }
    let mut side = Side::whole(1 << 20);
    let payload = vec![b'x'; 70_000];
    side.feed(&frame(FIN | TEXT, &payload));
    assert_eq!(side.seen, [Seen::Text("x".repeat(70_000))]);
    assert_eq!((side.copied, side.memory, side.purse.earned), (0, 0, 70_000), "lent where it lies");
}

#[test]
fn fragments_with_control_frames_between_them() {
    let wire = [
        frame(TEXT, "Hel"),
        frame(PING, "are you there"),
        frame(0, "l"),
        frame(PONG, ""),
        frame(0, ""),
        frame(FIN, "o"),
        frame(FIN | BINARY, "next"),
        frame(CLOSE, b"\x03\xe8bye"),
        frame(FIN | TEXT, "never"),
    ]
    .concat();
    let controls = [Seen::Ping(b"are you there".into()), Seen::Pong(vec![])];
    let [ping, pong] = controls.clone();
    let close = Seen::Close(Some(1000), "bye".into());
    let expected = [ping, pong, text("Hello"), Seen::Binary(b"next".into()), close];
    assert_eq!(plain(&wire), expected);
    let seen = in_pieces(&wire);
    let pieces = seen.iter().filter_map(|seen| match seen {
        Seen::Pieces(_, bytes, _) => Some(bytes.as_slice()),
        _ => None,
    });
    assert_eq!(pieces.collect::<Vec<_>>().concat(), b"Hellonext");
}

#[test]
fn a_message_after_a_partial_one_is_lent_where_it_lies() {
    let wire = [frame(FIN | TEXT, "one"), frame(FIN | TEXT, "two")].concat();
    for cut in 0..wire.len() {
        let mut side = Side::whole(100);
        side.feed(&wire[..cut]);
        side.feed(&wire[cut..]);
        assert_eq!(side.seen, [text("one"), text("two")]);
        // A message that is cut within its payload has to be assembled. A cut header costs nothing.
        let within = |start: usize| cut > start + 6 && cut < start + 9;
        assert_eq!(side.copied, usize::from(within(0) || within(9)), "{cut}");
    }
}

#[test]
fn rules_of_section_5() {
    use Violation::*;
    let hello = || frame(FIN | TEXT, "hello");
    let cases: Vec<(Vec<u8>, Violation)> = vec![
        (frame(FIN | 0x20 | TEXT, "x"), ReservedBits),
        (frame(FIN | 0x10 | TEXT, "x"), ReservedBits),
        (frame(FIN | COMPRESSED | TEXT, "x"), ReservedBits),
        (frame(FIN | 3, "x"), ReservedOpcode),
        (frame(FIN | 7, ""), ReservedOpcode),
        (frame(FIN | 11, ""), ReservedOpcode),
        (frame(FIN | 15, "x"), ReservedOpcode),
        (vec![FIN | TEXT, 1, b'x'], Unmasked),
        (vec![FIN | TEXT, 0x80 | 126, 0, 125, 1, 2, 3, 4], Length),
        (vec![FIN | TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Length),
        (vec![FIN | TEXT, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Length),
        (frame(0x09, "ping"), ControlFragmented),
        (frame(0x08, ""), ControlFragmented),
        (frame(PING, [b'x'; 126]), ControlTooLong),
        (frame(CLOSE, [3; 126]), ControlTooLong),
        (frame(FIN, "nothing to go on with"), Continuation),
        (frame(0, ""), Continuation),
        ([frame(TEXT, "a"), frame(FIN | TEXT, "b")].concat(), Interleaved),
        ([frame(BINARY, ""), frame(BINARY, "b")].concat(), Interleaved),
        (frame(CLOSE, [3]), ClosePayload),
        (frame(CLOSE, 1005u16.to_be_bytes()), CloseCode),
        (frame(CLOSE, b"\x03\xe8\xff"), Utf8),
    ];
    for (wire, violation) in cases {
        let wire = [hello(), wire, hello()].concat();
        let seen = plain(&wire);
        assert_eq!(seen, [text("hello"), Seen::Ended(violation)], "{wire:x?}");
        let seen = in_pieces(&wire);
        assert_eq!(seen.last(), Some(&Seen::Ended(violation)), "{wire:x?}");
    }
    let wire = [frame(TEXT, "a"), frame(FIN, "b"), frame(FIN, "c")].concat();
    assert_eq!(plain(&wire), [text("ab"), Seen::Ended(Continuation)]);
}

#[test]
fn a_close_ends_the_websocket_with_its_code() {
    for code in [1000, 1003, 1007, 1014, 3000, 4999u16] {
        let expected = [Seen::Close(Some(code), String::new())];
        assert_eq!(plain(&frame(CLOSE, code.to_be_bytes())), expected);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535u16] {
        let expected = [Seen::Ended(Violation::CloseCode)];
        assert_eq!(plain(&frame(CLOSE, code.to_be_bytes())), expected);
    }
    let nothing = [Seen::Close(None, String::new())];
    assert_eq!(plain(&frame(CLOSE, "")), nothing);
    let long = [b"\x03\xe9".as_slice(), &[b'r'; 123]].concat();
    assert_eq!(plain(&frame(CLOSE, long)), [Seen::Close(Some(1001), "r".repeat(123))]);
    let within = [frame(BINARY, "begun"), frame(CLOSE, "")].concat();
    assert_eq!(plain(&within), nothing, "a close may interrupt a message");
}

// ---- text ---------------------------------------------------------------------------------------

#[test]
fn text_may_be_cut_within_a_character() {
    let whole = "aé漢😀z";
    for first in 0..=whole.len() {
        for second in first..=whole.len() {
            let bytes = whole.as_bytes();
            let wire = [
                frame(TEXT, &bytes[..first]),
                frame(0, &bytes[first..second]),
                frame(FIN, &bytes[second..]),
            ]
            .concat();
            let mut side = Side::whole(100);
            side.feed(&wire);
            assert_eq!(side.seen, [text(whole)]);
            let mut side = Side::new(100, true, None).credit(ENDLESS);
            wire.chunks(2).for_each(|piece| side.feed(piece));
            assert_eq!(side.seen, [Seen::Pieces(true, bytes.to_vec(), true)]);
        }
    }
}

#[test]
fn invalid_text_is_refused_at_once() {
    let invalid = [Seen::Ended(Violation::Utf8)];
    for bytes in [&b"\xff"[..], b"a\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe6\xbc"] {
        assert_eq!(plain(&frame(FIN | TEXT, bytes)), invalid, "{bytes:x?}");
        assert_eq!(plain(&frame(FIN | BINARY, bytes)), [Seen::Binary(bytes.to_vec())]);
        let cut = [frame(TEXT, &bytes[..1]), frame(FIN, &bytes[1..])].concat();
        assert_eq!(plain(&cut), invalid, "{bytes:x?}");
        for step in 1..=cut.len() {
            let mut side = Side::new(1 << 20, true, None).credit(ENDLESS);
            cut.chunks(step).for_each(|piece| side.feed(piece));
            assert_eq!(side.seen.last(), invalid.last(), "{bytes:x?} in steps of {step}");
        }
    }
    // The mistake is found before the frame or the message is over.
    for pieces in [false, true] {
        let mut side = Side::new(1 << 20, pieces, None).credit(ENDLESS);
        let mut wire = frame(TEXT, [&b"good"[..], b"\xed\xa0", &[b'x'; 500]].concat());
        wire.truncate(8 + 6);
        side.feed(&wire[..8 + 5]);
        assert!(!side.seen.iter().any(|seen| matches!(seen, Seen::Ended(_))));
        side.feed(&wire[8 + 5..]);
        assert_eq!(side.seen.last(), invalid.last(), "refused at the first bad byte");
    }
}

// ---- limits and memory --------------------------------------------------------------------------

#[test]
fn the_limit_and_one_past_it() {
    let at = |length: usize| frame(FIN | BINARY, vec![b'x'; length]);
    let in_two = |one: usize, two: usize| {
        [frame(BINARY, vec![b'x'; one]), frame(FIN, vec![b'x'; two])].concat()
    };
    for pieces in [false, true] {
        let side = || Side::new(200, pieces, None).credit(ENDLESS);
        for wire in [at(200), in_two(100, 100), in_two(200, 0), in_two(0, 200)] {
            let seen = play(side, &wire);
            let all = vec![b'x'; 200];
            let expected = if pieces { Seen::Pieces(false, all, true) } else { Seen::Binary(all) };
            assert_eq!(seen, [expected]);
        }
        for wire in [at(201), in_two(100, 101), in_two(200, 1), in_two(0, 201)] {
            let seen = play(side, &wire);
            assert_eq!(seen.last(), Some(&Seen::Ended(Violation::TooLarge)));
        }
    }
}

#[test]
fn a_declared_length_alone_is_refused_and_allocates_nothing() {
    for length in [1025, 17 << 20, i64::MAX as u64] {
        let mut side = Side::whole(1024);
        side.feed(&declared(FIN | TEXT, length));
        assert_eq!(side.seen, [Seen::Ended(Violation::TooLarge)]);
        assert_eq!(side.memory, 0);
    }
    let idle = size_of::<Inflater>();
    for pieces in [false, true] {
        for first in [FIN | BINARY, TEXT, COMPRESSED | TEXT] {
            let mut side =
                Side::new(ENDLESS, pieces, Some(DeflateSettings::default())).credit(ENDLESS);
            side.feed(&declared(first, i64::MAX as u64));
            assert_eq!((side.seen.len(), side.memory), (0, idle), "nothing is allocated");
        }
    }
}

#[test]
fn memory_grows_with_the_bytes_that_came_and_is_freed() {
    let length = 1 << 20;
    let mut side = Side::whole(16 << 20);
    side.feed(&declared(FIN | BINARY, length as u64));
    assert_eq!(side.receiver.memory(), 0);
    let mut sent = 0;
    while sent < length {
        let piece = vec![KEY[0]; 1000.min(length - sent)];
        side.feed(&piece);
        sent += piece.len();
        let most = (2 * sent).clamp(1000, length);
        assert!(sent == length || side.receiver.memory() <= most, "{sent}");
    }
    assert_eq!(side.seen.len(), 1);
    assert_eq!(
        (side.receiver.memory(), side.held.memory()),
        (0, 0),
        "an idle websocket owns nothing"
    );
}

#[test]
fn an_idle_websocket_is_small() {
    assert!(size_of::<Receiver>() <= 112, "{}", size_of::<Receiver>());
    assert!(size_of::<Deflater>() <= 32, "{}", size_of::<Deflater>());
}

// ---- credit -------------------------------------------------------------------------------------

#[test]
fn without_credit_no_data_frame_is_read() {
    let wire =
        [frame(PING, "1"), frame(FIN | TEXT, "one"), frame(PING, "2"), frame(FIN | TEXT, "two")]
            .concat();
    let mut side = Side::new(100, false, None);
    side.feed(&wire);
    assert_eq!(side.seen, [Seen::Ping(b"1".into())]);
    assert!(side.receiver.is_blocked());
    assert_eq!(side.held.len(), wire.len() - 7);
    side.more(1);
    side.feed(b"");
    assert_eq!(side.seen[1..], [text("one"), Seen::Ping(b"2".into())]);
    assert!(side.receiver.is_blocked() && side.held.len() == 9);
    side.more(1);
    side.feed(b"");
    assert_eq!(side.seen[3..], [text("two")]);
    assert!(!side.receiver.is_blocked() && side.held.is_empty());
}

#[test]
fn one_credit_is_one_message_of_any_number_of_frames() {
    let message = [frame(TEXT, "a"), frame(0, "b"), frame(FIN, "c")].concat();
    let side = || Side::new(100, false, None).credit(1);
    assert_eq!(play(side, &message.repeat(2)), [text("abc")]);
}

#[test]
fn pieces_stay_within_the_credit() {
    let wire = [frame(BINARY, "abcdef"), frame(0, ""), frame(FIN, "ghi")].concat();
    let mut side = Side::new(100, true, None);
    side.feed(&wire);
    assert_eq!(side.seen, []);
    for (credit, sum) in [(1, "a"), (4, "abcde"), (1, "abcdef"), (2, "abcdefgh"), (9, "abcdefghi")]
    {
        assert!(side.receiver.is_blocked());
        side.more(credit);
        side.feed(b"");
        let last = sum.len() == 9;
        assert_eq!(side.seen, [Seen::Pieces(false, sum.into(), last)]);
    }
    assert!(!side.receiver.is_blocked() && !side.receiver.has_more());
}

#[test]
fn a_discarding_receiver_still_sees_the_close() {
    let before = [frame(TEXT, "begun"), declared(0, 1000)].concat();
    let after =
        [vec![0; 1000], frame(PING, ""), frame(FIN, "x"), frame(FIN | BINARY, vec![1; 5000])];
    let wire = [&before[..], &after.concat(), &frame(CLOSE, b"\x03\xe8")].concat();
    let mut side = Side::whole(2000);
    side.feed(&before);
    side.receiver.discard();
    assert_eq!(side.receiver.memory(), 0);
    wire[before.len()..].chunks(7).for_each(|piece| side.feed(piece));
    assert_eq!(side.seen, [Seen::Ping(vec![]), Seen::Close(Some(1000), String::new())]);
    let mut side = Side::whole(2000);
    side.receiver.discard();
    side.feed(&frame(FIN | COMPRESSED | TEXT, ""));
    assert_eq!(side.seen, [Seen::Ended(Violation::ReservedBits)], "violations are still found");
}

// ---- budget -------------------------------------------------------------------------------------

#[test]
fn useless_frames_are_paid() {
    use Cost::*;
    let wire = [
        frame(PING, ""),
        frame(PONG, "x"),
        frame(FIN | TEXT, ""),
        frame(FIN | TEXT, "a whole message costs nothing"),
        frame(TEXT, ""),
        frame(0, [b'x'; 63]),
        frame(0, [b'x'; 64]),
        frame(FIN, "x"),
    ]
    .concat();
    let mut side = Side::whole(1000);
    side.feed(&wire);
    let expected = [Ping, Pong, EmptyFrame, EmptyFrame, TinyFragment, TinyFragment];
    assert_eq!(side.purse.paid, expected);
    assert_eq!(side.purse.earned, 29 + 63 + 64 + 1);
}

#[test]
fn floods_end_with_the_budget() {
    let floods: Vec<Vec<u8>> = vec![
        frame(PING, "x").repeat(20),
        frame(PONG, "").repeat(20),
        [frame(BINARY, ""), frame(0, "").repeat(20)].concat(),
        [frame(TEXT, "x"), frame(0, "x").repeat(20)].concat(),
        frame(FIN | TEXT, "").repeat(20),
    ];
    for wire in floods {
        let side = || {
            let mut side = Side::whole(1000);
            side.purse.most = Some(9);
            side
        };
        let seen = play(side, &wire);
        assert_eq!(seen.last(), Some(&Seen::Ended(Violation::Costly)));
        assert!(seen.len() <= 10);
    }
}

// ---- compression --------------------------------------------------------------------------------

fn deflated(message: &[u8]) -> Vec<u8> {
    let settings =
        DeflateSettings { least: 0, level: 9, server_takeover: true, ..DeflateSettings::default() };
    let mut out = Vec::new();
    assert!(Deflater::new(agreed(settings)).deflate(message, &mut out));
    out
}

#[test]
fn examples_of_rfc_7692() {
    let first = FIN | COMPRESSED | TEXT;
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let fragments =
        [frame(COMPRESSED | TEXT, &hello[..3]), frame(PING, "!"), frame(FIN, &hello[3..])].concat();
    let not_compressed = [0x00, 0x05, 0x00, 0xfa, 0xff, b'H', b'e', b'l', b'l', b'o', 0x00];
    let final_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    for payload in [&hello[..], &not_compressed, &final_block, &final_block[..7], &two_blocks] {
        assert_eq!(with_deflate(&frame(first, payload)), [text("Hello")], "{payload:x?}");
    }
    assert_eq!(with_deflate(&fragments), [Seen::Ping(b"!".into()), text("Hello")]);
    let empty = [frame(first, [0]), frame(first, []), frame(FIN | TEXT, "plain")].concat();
    assert_eq!(with_deflate(&empty), [text(""), text(""), text("plain")]);
}

#[test]
fn context_takeover_across_messages() {
    // The second message refers to the first one.
    let wire = [
        frame(FIN | COMPRESSED | TEXT, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]),
        frame(FIN | TEXT, "not compressed, not referred to"),
        frame(FIN | COMPRESSED | TEXT, [0xf2, 0x00, 0x11, 0x00, 0x00]),
    ]
    .concat();
    let takeover = || {
        let settings = DeflateSettings { client_takeover: true, ..DeflateSettings::default() };
        Side::new(1 << 20, false, Some(settings)).credit(ENDLESS)
    };
    let seen = play(takeover, &wire);
    assert_eq!(seen, [text("Hello"), text("not compressed, not referred to"), text("Hello")]);
    let mut side = takeover();
    side.feed(&wire);
    assert!(side.receiver.memory() > 40_000, "the context is kept");
    let seen = with_deflate(&wire);
    assert_eq!(seen.last(), Some(&Seen::Ended(Violation::Deflated)), "no context to refer to");
}

#[test]
fn compressed_messages_in_any_fragments_and_pieces() {
    let message: String = (0..500).map(|it| format!("line {} of é漢😀; ", it * it)).collect();
    let payload = deflated(message.as_bytes());
    assert!(payload.len() > 1500 && payload.len() < message.len());
    for size in [1, 7, 100, 1000, 5000] {
        let mut wire = Vec::new();
        let count = payload.len().div_ceil(size);
        for (place, part) in payload.chunks(size).enumerate() {
            let first = if place == 0 { COMPRESSED | TEXT } else { 0 };
            let fin = if place + 1 == count { FIN } else { 0 };
            wire.extend(frame(first | fin, part));
        }
        for step in [1, 13, 700, wire.len()] {
            let settings = Some(DeflateSettings::default());
            let mut whole = Side::new(1 << 20, false, settings).credit(ENDLESS);
            wire.chunks(step).for_each(|piece| whole.feed(piece));
            assert_eq!(whole.seen, [Seen::Text(message.clone())], "{size} {step}");
            assert_eq!(
                whole.receiver.memory(),
                size_of::<Inflater>(),
                "the context is freed when idle"
            );
            for credit in [1, 100, 4096, 1 << 20] {
                let mut pieces = Side::new(1 << 20, true, settings).credit(credit);
                wire.chunks(step).for_each(|piece| pieces.feed(piece));
                while pieces.receiver.is_blocked() || pieces.receiver.has_more() {
                    pieces.more(credit);
                    pieces.feed(b"");
                }
                let all = Seen::Pieces(true, message.clone().into_bytes(), true);
                assert_eq!(pieces.seen, [all], "{size} {step} {credit}");
                assert!(pieces.piece <= (credit as usize).min(compressed::PIECE));
                assert_eq!(pieces.purse.earned, payload.len() as u64, "each byte earns once");
            }
        }
    }
}

#[test]
fn bombs_end_at_the_limit() {
    let limit = 100_000;
    let settings = || Some(DeflateSettings::default());
    let bomb = |length: usize| frame(FIN | COMPRESSED | BINARY, deflated(&vec![0; length]));
    for pieces in [false, true] {
        let mut side = Side::new(limit, pieces, settings()).credit(ENDLESS);
        side.feed(&bomb(100_000));
        let all = vec![0; 100_000];
        let expected = if pieces { Seen::Pieces(false, all, true) } else { Seen::Binary(all) };
        assert_eq!(side.seen, [expected]);
        for length in [100_001, 8 << 20] {
            let wire = bomb(length);
            assert!(wire.len() < 9000, "{}", wire.len());
            for step in [1000, wire.len()] {
                let mut side = Side::new(limit, pieces, settings()).credit(ENDLESS);
                for piece in wire.chunks(step) {
                    if !side.receiver.ended {
                        side.feed(piece);
                    }
                }
                assert_eq!(side.seen.last(), Some(&Seen::Ended(Violation::TooLarge)));
                let lent = match &side.seen[0] {
                    Seen::Pieces(_, bytes, false) => bytes.len() as u64,
                    _ => 0,
                };
                assert!(lent <= limit && side.memory <= 200_000, "{lent} {}", side.memory);
            }
        }
    }
}

#[test]
fn inflating_pauses_without_losing_bytes() {
    let text: Vec<u8> = (0..300_000u32).map(|it| b'a' + (it / 1000 % 26) as u8).collect();
    let compressed = deflated(&text);
    let (begin, end) = compressed.split_at(compressed.len() / 2);
    let wire = [
        frame(FIN | COMPRESSED | TEXT, &compressed),
        frame(PING, "!"),
        frame(COMPRESSED | BINARY, begin),
        frame(FIN, end),
        frame(FIN | TEXT, "plain"),
    ]
    .concat();
    for pieces in [false, true] {
        let mut side = Side::new(1 << 20, pieces, Some(DeflateSettings::default())).credit(ENDLESS);
        let mut looks = 0;
        side.purse.inflatable = Some(50_000);
        side.feed(&wire);
        while side.receiver.is_paused() {
            assert!(side.receiver.has_more() && side.receiver.is_blocked());
            side.purse.inflatable = Some(50_000);
            side.feed(b"");
            looks += 1;
        }
        assert!((8..=12).contains(&looks), "{looks} looks");
        let message = |is_text: bool| match (pieces, is_text) {
            (true, _) => Seen::Pieces(is_text, text.clone(), true),
            (false, true) => Seen::Text(String::from_utf8(text.clone()).expect("text")),
            (false, false) => Seen::Binary(text.clone()),
        };
        let last = match pieces {
            true => Seen::Pieces(true, b"plain".into(), true),
            false => Seen::Text("plain".into()),
        };
        let expected = [message(true), Seen::Ping(b"!".into()), message(false), last];
        assert_eq!(side.seen, expected);
        assert_eq!(side.receiver.memory(), size_of::<Inflater>());
        assert!(!side.receiver.has_more() && side.held.is_empty());
    }
}

#[test]
fn endless_compressed_bytes_that_inflate_to_nothing() {
    // Empty blocks would never exceed the limit of inflated bytes.
    let blocks = [0x00, 0x00, 0x00, 0xff, 0xff].repeat(300);
    let mut side = Side::new(1000, false, Some(DeflateSettings::default())).credit(ENDLESS);
    side.feed(&frame(FIN | COMPRESSED | BINARY, &blocks[..1186]));
    assert_eq!(
        side.seen,
        [Seen::Binary(vec![])],
        "an eighth and 64 bytes beyond the limit are allowed"
    );
    side.feed(&declared(FIN | COMPRESSED | BINARY, 1190));
    assert_eq!(side.seen[1..], [Seen::Ended(Violation::TooLarge)], "refused by the length alone");
}

#[test]
fn final_blocks_are_paid() {
    let mut side = Side::new(1 << 20, false, Some(DeflateSettings::default())).credit(ENDLESS);
    side.purse.most = Some(9);
    side.feed(&frame(FIN | COMPRESSED | BINARY, [0x03, 0x00].repeat(9)));
    assert_eq!((side.seen.len(), side.purse.paid.len()), (1, 9));
    side.feed(&frame(FIN | COMPRESSED | BINARY, [0x03, 0x00].repeat(9)));
    assert_eq!(side.seen[1..], [Seen::Ended(Violation::Costly)]);
}

#[test]
fn a_final_block_is_paid_once_however_it_is_cut() {
    let payload = b"\x01\x05\x00\xfa\xffHello".repeat(9);
    let wire = frame(FIN | COMPRESSED | BINARY, &payload);
    for pieces in [false, true] {
        for step in [1, 3, wire.len()] {
            let mut side =
                Side::new(1000, pieces, Some(DeflateSettings::default())).credit(ENDLESS);
            wire.chunks(step).for_each(|piece| side.feed(piece));
            let paid = side.purse.paid.len();
            assert_eq!((paid, side.purse.earned), (9, payload.len() as u64), "{pieces} {step}");
        }
    }
}

#[test]
fn compressed_data_that_is_broken_or_ends_early() {
    let broken = [Seen::Ended(Violation::Deflated)];
    let good = deflated(b"some text that is long enough to be cut, some text that is cut");
    for payload in [&b"\xff\xff\xff"[..], b"\x07", b"\x00\x05\x00\xfa\xfeHello"] {
        assert_eq!(with_deflate(&frame(FIN | COMPRESSED | BINARY, payload)), broken);
    }
    let stored = [&[0x00, 0x0a, 0x00, 0xf5, 0xff][..], b"abcdefghij", &[0x00]].concat();
    assert_eq!(
        with_deflate(&frame(FIN | COMPRESSED | BINARY, &stored)),
        [Seen::Binary(b"abcdefghij".into())]
    );
    for good in [good, stored] {
        // A single zero byte is an empty message.
        for length in usize::from(good[0] == 0) + 1..good.len() {
            let cut = &good[..length];
            let fragments =
                [frame(COMPRESSED | BINARY, &cut[..length / 2]), frame(FIN, &cut[length / 2..])];
            for wire in [frame(FIN | COMPRESSED | BINARY, cut), fragments.concat()] {
                assert_eq!(with_deflate(&wire), broken, "{length} of {}", good.len());
                for pieces in [false, true] {
                    let settings =
                        DeflateSettings { client_takeover: true, ..DeflateSettings::default() };
                    for step in [1, 5, wire.len()] {
                        let mut side = Side::new(1 << 20, pieces, Some(settings)).credit(ENDLESS);
                        wire.chunks(step).for_each(|piece| side.feed(piece));
                        let last = side.seen.last();
                        assert_eq!(last, Some(&broken[0]), "{length} of {}", good.len());
                    }
                }
            }
        }
    }
    let invalid = with_deflate(&frame(FIN | COMPRESSED | TEXT, deflated(b"good, then \xff bad")));
    assert_eq!(invalid, [Seen::Ended(Violation::Utf8)]);
    // Of two mistakes the first one counts, wherever the bytes are cut.
    let two = [&[0x00, 0x01, 0x00, 0xfe, 0xff, 0xff][..], &[0x07]].concat();
    let seen = with_deflate(&frame(FIN | COMPRESSED | TEXT, &two));
    assert_eq!(seen, [Seen::Ended(Violation::Utf8)]);
    let wire = [frame(COMPRESSED | TEXT, "x"), frame(FIN | COMPRESSED, "x")].concat();
    let seen = with_deflate(&wire);
    assert_eq!(
        seen,
        [Seen::Ended(Violation::ReservedBits)],
        "only the first frame may have the bit"
    );
}

// ---- anything -----------------------------------------------------------------------------------

/// Frames that are often valid, so that much of the code is reached.
fn some_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![TEXT, BINARY, 0, FIN, FIN | TEXT, FIN | BINARY]),
        4 => prop::sample::select(vec![FIN | COMPRESSED | TEXT, COMPRESSED | BINARY]),
        4 => prop::sample::select(vec![PING, PONG]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        ".{0,40}".prop_map(String::into_bytes),
        ".{0,200}".prop_map(|text| deflated(format!("{text}!").as_bytes())),
        prop::collection::vec(any::<u8>(), 0..300),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, payload))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_make_no_difference(
        frames in prop::collection::vec(some_frame(), 1..8),
        noise in prop::collection::vec(any::<u8>(), 0..20),
        pieces: bool,
        takeover: bool,
        steps in prop::collection::vec(1..400usize, 1..6),
    ) {
        let wire = [frames.concat(), noise].concat();
        let settings = DeflateSettings { client_takeover: takeover, ..DeflateSettings::default() };
        let side = || Side::new(1000, pieces, Some(settings)).credit(ENDLESS);
        let mut at_once = side();
        at_once.feed(&wire);
        let mut cut = side();
        let mut rest = wire.as_slice();
        for step in steps.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*step));
            cut.feed(piece);
            prop_assert!(cut.receiver.memory() <= 2100 + 50_000);
            prop_assert!(cut.held.len() <= 131);
            rest = after;
            if rest.is_empty() || cut.receiver.ended {
                break;
            }
        }
        // How many pieces come before a mistake depends on the cuts.
        let ended = |side: &Side| matches!(side.seen.last(), Some(Seen::Ended(_)));
        prop_assert_eq!(at_once.seen.last().filter(|_| ended(&at_once)),
                        cut.seen.last().filter(|_| ended(&cut)));
        if !(pieces && ended(&at_once)) {
            prop_assert_eq!(at_once.seen, cut.seen);
        }
    }

    #[test]
    fn what_is_deflated_can_be_inflated(
        messages in prop::collection::vec(prop::collection::vec(0..20u8, 0..3000), 1..5),
        takeover: bool,
        bits in 9..=15u8,
        level in 1..=9u8,
    ) {
        let settings = DeflateSettings {
            server_takeover: takeover,
            client_takeover: takeover,
            server_window_bits: bits,
            level,
            least: 0,
            ..DeflateSettings::default()
        };
        let mut deflater = Deflater::new(agreed(settings));
        let mut side = Side::new(3000, false, Some(settings)).credit(ENDLESS);
        for message in &messages {
            let mut payload = Vec::new();
            let compressed = deflater.deflate(message, &mut payload);
            if compressed {
                side.feed(&frame(FIN | COMPRESSED | BINARY, &payload));
            } else {
                prop_assert!(payload.is_empty());
                side.feed(&frame(FIN | BINARY, message));
            }
            deflater.release();
        }
        let expected: Vec<_> = messages.into_iter().map(Seen::Binary).collect();
        prop_assert_eq!(side.seen, expected);
    }
}
