//! The invariants of the design on a websocket, played with arbitrary sessions and with valid
//! messages.

use play::websocket_frames::{
    BINARY, CLOSE, COMPRESSED, CONTINUATION, FIN, HANDSHAKE, PING, TEXT, compressor, deflate, put,
};
use play::websocket_output::{self as readback, Said};
use play::{
    Echo, Heard, HeardEvent, compare_websocket, heard, settings, websocket, websocket_cuts,
    websocket_pure,
};
use portcullis::websocket::DeflateSettings;
use portcullis::{CloseReason, Config, Expiry};
use portcullis_play::play;
use portcullis_testing::watched;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

fn bounded(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(bounded(600))]

    /// Deadline, memory, nothing lost, reason.
    #[test]
    fn sessions_keep_the_invariants(bytes in vec(any::<u8>(), 0..300)) {
        let _watched = watched();
        websocket(&bytes, None);
    }
}

proptest! {
    #![proptest_config(bounded(400))]

    #[test]
    fn the_same_calls_give_the_same_results(bytes in vec(any::<u8>(), 0..300)) {
        let _watched = watched();
        websocket_pure(&bytes);
    }
}

proptest! {
    #![proptest_config(bounded(60))]

    #[test]
    fn cuts_of_anything_make_no_difference(bytes in vec(any::<u8>(), 0..80)) {
        let _watched = watched();
        websocket_cuts(&bytes);
    }
}

// ---- valid messages -----------------------------------------------------------------------------

/// A message as its sender means it.
#[derive(Clone, Debug)]
struct Valid {
    text: bool,
    bytes: Vec<u8>,
    compressed: bool,
    key: [u8; 4],
    /// Where its payload is cut into fragments.
    fragments: Vec<prop::sample::Index>,
    /// A control frame between its fragments, and after it.
    pings: Vec<Vec<u8>>,
}

impl Valid {
    fn write(&self, context: &mut flate2::Compress, wire: &mut Vec<u8>) {
        let payload =
            if self.compressed { deflate(context, &self.bytes) } else { self.bytes.clone() };
        let places = self.fragments.iter().map(|place| place.index(payload.len() + 1));
        let mut places: Vec<usize> = places.chain([0, payload.len()]).collect();
        places.sort_unstable();
        let kind = if self.text { TEXT } else { BINARY };
        let mut first = if self.compressed { COMPRESSED | kind } else { kind };
        let mut pings = self.pings.iter();
        let last = places.len() - 2;
        for (place, ends) in places.windows(2).enumerate() {
            let fin = if place == last { FIN } else { 0 };
            put(wire, fin | first, self.key, &payload[ends[0]..ends[1]]);
            first = CONTINUATION;
            pings.by_ref().take(1).for_each(|ping| put(wire, PING, self.key, ping));
        }
        pings.for_each(|ping| put(wire, PING, self.key, ping));
    }
}

fn valid() -> impl Strategy<Value = Valid> {
    let size = prop_oneof![8 => 0..200usize, 2 => 0..5000usize, 1 => 0..72_000usize];
    let bytes = (any::<bool>(), size, "\\PC{0,40}", vec(any::<u8>(), 1..40)).prop_map(
        |(text, size, line, noise)| {
            let some = if text { line.as_bytes() } else { &noise };
            let times = size.checked_div(some.len()).unwrap_or(0);
            (text, some.repeat(times))
        },
    );
    let pings = vec(vec(any::<u8>(), 0..=125), 0..4);
    (bytes, any::<bool>(), any::<[u8; 4]>(), vec(any::<prop::sample::Index>(), 0..5), pings)
        .prop_map(|((text, bytes), compressed, key, fragments, pings)| Valid {
            text,
            bytes,
            compressed,
            key,
            fragments,
            pings,
        })
}

/// The client's view of its own messages, which arrive in reads of these sizes.
fn play_valid(messages: &[Valid], echo: Echo, sizes: &[usize]) -> (Heard, Said) {
    let mut wire = HANDSHAKE.to_vec();
    let mut context = compressor();
    for message in messages {
        message.write(&mut context, &mut wire);
    }
    put(&mut wire, CLOSE, [9; 4], &[&4000u16.to_be_bytes()[..], b"done"].concat());
    let mut sizes = sizes.iter().copied().cycle();
    let config = Arc::new(Config::default());
    let heard = heard(&config, &echo, &wire, &mut |_| sizes.next().unwrap_or(1));
    let said = readback::read(&heard.out);
    (heard, said)
}

proptest! {
    #![proptest_config(bounded(150))]

    /// Each message is delivered once, complete and unchanged. Its echo can be read, and every ping
    /// and the close are answered.
    #[test]
    fn valid_messages_are_delivered(
        messages in vec(valid(), 0..6),
        sizes in vec(prop_oneof![1..20usize, 1..3000usize, Just(usize::MAX)], 1..8),
        pieces: bool,
        bite in prop::sample::select(&[1, 100, u64::MAX][..]),
        least in prop::sample::select(&[0, 256, usize::MAX][..]),
        server_takeover: bool,
    ) {
        let _watched = watched();
        let settings = DeflateSettings {
            client_takeover: true,
            server_takeover,
            least,
            ..DeflateSettings::default()
        };
        let mut echo = Echo { bite, ..Echo::PLAIN };
        echo.terms.options.pieces = pieces;
        echo.terms.deflate = Some(settings);
        let (heard, said) = play_valid(&messages, echo, &sizes);
        let mut told = heard.told.into_iter();
        prop_assert_eq!(told.next(), Some(HeardEvent::Opened));
        for Valid { text, bytes, .. } in &messages {
            let (text, bytes) = (*text, bytes.clone());
            let expected = match pieces {
                false => HeardEvent::Message { text, bytes },
                true => HeardEvent::Pieces { text, bytes, last: true },
            };
            prop_assert_eq!(told.next(), Some(expected));
        }
        let closing = HeardEvent::Closing { code: Some(4000), reason: "done".to_owned() };
        prop_assert_eq!(told.next(), Some(closing));
        prop_assert_eq!(told.next(), None);
        prop_assert_eq!(heard.reason, CloseReason::Completed);

        prop_assert_eq!(said.messages.len(), messages.len());
        for (read, sent) in said.messages.iter().zip(&messages) {
            prop_assert!(read.complete && read.text == sent.text && read.plain == sent.bytes);
        }
        let pings: Vec<_> = messages.iter().flat_map(|message| message.pings.clone()).collect();
        prop_assert_eq!(said.pongs, pings);
        prop_assert_eq!(said.close, Some(4000u16.to_be_bytes().to_vec()));
        prop_assert!(said.pings.is_empty() && !said.cut);
    }

    #[test]
    fn cuts_of_valid_messages_make_no_difference(
        messages in vec(valid().prop_map(short), 0..4),
        pieces: bool,
        seed: u8,
    ) {
        let _watched = watched();
        let mut wire = HANDSHAKE.to_vec();
        let mut context = compressor();
        messages.iter().for_each(|message| message.write(&mut context, &mut wire));
        let mut echo = Echo::PLAIN;
        echo.terms.options.pieces = pieces;
        echo.terms.deflate =
            Some(DeflateSettings { client_takeover: true, ..DeflateSettings::default() });
        compare_websocket(&settings::tiny_websocket(), &echo, &wire, seed);
    }

    /// If a message is cut anywhere, its rest is waited for with a deadline, though this
    /// configuration sends no pings.
    #[test]
    fn an_incomplete_message_always_has_a_deadline(
        message in valid().prop_map(|message| Valid { pings: Vec::new(), ..short(message) }),
        pieces: bool,
        place: prop::sample::Index,
    ) {
        let _watched = watched();
        let mut wire = HANDSHAKE.to_vec();
        message.write(&mut compressor(), &mut wire);
        let begun = HANDSHAKE.len() + 1 + place.index(wire.len() - HANDSHAKE.len() - 1);
        wire.truncate(begun);
        let mut echo = Echo::PLAIN;
        echo.terms.options.pieces = pieces;
        echo.terms.deflate = Some(DeflateSettings::default());
        let config = settings::with(&[("websocket_ping_interval", "none")]).expect("valid");
        let reason = play::left_alone(&config, &echo, &wire);
        prop_assert_eq!(reason, Some(CloseReason::Expired(Expiry::WebSocketMessage)));
        prop_assert_eq!(play::left_alone(&config, &echo, HANDSHAKE), None, "no message has begun");
    }
}

fn short(mut message: Valid) -> Valid {
    let least = message.bytes.len().min(150);
    let most = (0..=least)
        .rev()
        .find(|end| !message.text || str::from_utf8(&message.bytes[..*end]).is_ok());
    message.bytes.truncate(most.unwrap_or_default());
    message
}

// ---- regressions found by the players -----------------------------------------------------------

#[test]
fn final_blocks_cost_the_same_however_they_are_cut() {
    let mut wire = HANDSHAKE.to_vec();
    let blocks = b"\x01\x15\x00\xea\xffa final, stored block".repeat(68);
    put(&mut wire, FIN | COMPRESSED | BINARY, [0; 4], &blocks);
    for pieces in [false, true] {
        let mut echo = Echo::PLAIN;
        echo.terms.options.pieces = pieces;
        echo.terms.deflate = Some(DeflateSettings::default());
        compare_websocket(&Arc::new(Config::default()), &echo, &wire, 0);
    }
}
