//! Compressed messages through the public calls: invalid ones, messages that leave in one frame,
//! and inflating that lets other connections run.

use bytes::Bytes;
use play::websocket_frames::{
    self as frames, BINARY, COMPRESSED, CONTINUATION, FIN, HANDSHAKE, PING, TEXT,
};
use play::websocket_output as readback;
use portcullis::websocket::{
    DeflateSettings, Handshake, INFLATED_AT_ONCE, Message, Options, Violation,
};
use portcullis::{CloseReason, Config, Connection, Event, Events, Sent, StreamId, Tick};
use portcullis_play::play;
use std::sync::Arc;

const NOW: Tick = Tick::ZERO;

/// A websocket whose application keeps what it was told.
struct Side {
    connection: Connection,
    stream: StreamId,
    told: Vec<Vec<u8>>,
    out: Vec<u8>,
}

fn settings(takeover: bool) -> DeflateSettings {
    DeflateSettings { client_takeover: takeover, least: 0, level: 6, ..DeflateSettings::default() }
}

impl Side {
    fn new(deflate: DeflateSettings) -> Self {
        let config = Config::builder().websocket_deflate(true).build().expect("valid");
        let mut connection = Connection::new(Arc::new(config), NOW);
        let mut wire = HANDSHAKE.to_vec();
        let mut events = connection.receive(NOW, &mut wire).expect("the connection reads");
        let Some((_, Event::Request { stream, head })) = events.next() else { panic!("a request") };
        let handshake = Handshake::read(&head).expect("a valid handshake");
        let accepted = handshake.accept(None, Some(&deflate)).expect("no subprotocol was chosen");
        drop(events);
        connection
            .stream(NOW, stream)
            .accept_websocket(&accepted, None, Options::default())
            .expect("the handshake is accepted");
        connection.stream(NOW, stream).read_to(u64::MAX).expect("the stream is open");
        let mut side = Side { connection, stream, told: Vec::new(), out: Vec::new() };
        side.take();
        side
    }

    fn receive(&mut self, first: u8, payload: &[u8]) {
        let mut wire = Vec::new();
        frames::put(&mut wire, first, [1, 2, 3, 4], payload);
        self.pull(|connection| connection.receive(NOW, &mut wire).expect("the connection reads"));
    }

    fn pull<'i>(&mut self, events: impl FnOnce(&mut Connection) -> Events<'_, 'i>) {
        let mut events = events(&mut self.connection);
        while let Some((_, event)) = events.next() {
            if let Event::Message { message, .. } = event {
                self.told.push(match message {
                    Message::Text(text) => text.as_bytes().to_vec(),
                    Message::Binary(bytes) => bytes.to_vec(),
                });
            }
        }
    }

    fn take(&mut self) {
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        while self.connection.status().write {
            let count = self.connection.outgoing(&mut slices);
            let before = self.out.len();
            slices[..count].iter().for_each(|slice| self.out.extend_from_slice(slice));
            let bytes = self.out.len() - before;
            slices = [std::io::IoSlice::new(&[]); 64];
            self.connection.sent(NOW, bytes);
        }
    }

    fn assert_broken(mut self, what: &str) {
        assert!(self.told.is_empty(), "{what}: {:?} was delivered", self.told);
        self.take();
        let said = readback::read(&self.out);
        let close = [&1007u16.to_be_bytes()[..], b"invalid_compression"].concat();
        assert_eq!(said.close, Some(close), "{what}");
        let _ = self.connection.receive_eof(NOW);
        let reason = CloseReason::Violation(Violation::Deflated);
        assert_eq!(self.connection.status().closed(), Some(reason), "{what}");
    }
}

#[test]
fn a_message_that_ends_within_a_block_is_not_delivered() {
    // A stored block that declares 10 bytes and has 6.
    let short = [&[0x00, 0x0a, 0x00, 0xf5, 0xff][..], b"abcdef"].concat();
    for takeover in [false, true] {
        let mut whole = Side::new(settings(takeover));
        whole.receive(FIN | COMPRESSED | BINARY, &short);
        whole.assert_broken("in one frame");
        let mut fragments = Side::new(settings(takeover));
        fragments.receive(COMPRESSED | BINARY, &short[..8]);
        fragments.receive(FIN | CONTINUATION, &short[8..]);
        fragments.assert_broken("in fragments");
    }
}

/// As Safari does.
#[test]
fn a_client_that_wrongly_keeps_its_context_is_closed_with_1007() {
    let mut context = frames::compressor();
    let mut side = Side::new(settings(false));
    let first = frames::deflate(&mut context, b"the same text again and again");
    side.receive(FIN | COMPRESSED | TEXT, &first);
    assert_eq!(side.told, [b"the same text again and again"]);
    side.told.clear();
    let second = frames::deflate(&mut context, b"the same text again and again");
    side.receive(FIN | COMPRESSED | TEXT, &second);
    side.assert_broken("a reference to the first message");
}

#[test]
fn a_compressed_message_that_fits_leaves_in_one_frame() {
    let mut side = Side::new(settings(false));
    let limit = side.connection.config().send_buffer_limit() as usize;
    // Random letters out of 26: each takes about five bits.
    let mut seed = 1u32;
    let mut text = |length: usize| -> Vec<u8> {
        let letter = |_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (seed >> 24) as u8 % 26
        };
        (0..length).map(letter).collect()
    };
    // Whatever is already in the output.
    for before in [0, limit / 2, limit * 7 / 8] {
        let message = text(limit + limit / 4);
        let mut sent = Vec::new();
        let mut data = Bytes::from(message.clone());
        let Side { connection, stream, .. } = &mut side;
        if before > 0 {
            let first = text(before * 3 / 2);
            sent.push(first.clone());
            let mut first = Bytes::from(first);
            assert_eq!(
                connection.stream(NOW, *stream).send_message(false, &mut first),
                Ok(Sent::All)
            );
        }
        assert!(connection.stream(Tick::ZERO, *stream).room() <= limit - before * 3 / 4);
        assert_eq!(connection.stream(NOW, *stream).send_message(true, &mut data), Ok(Sent::All));
        assert!(connection.memory() <= connection.config().websocket_memory_bound());
        sent.push(message);
        let start = side.out.len();
        side.take();
        let out = &side.out[start..];
        let fragmented = readback::fragments(out);
        assert_eq!(fragmented, vec![1; sent.len()], "frames of each message");
    }
    let said = readback::read(&side.out);
    assert_eq!(said.messages.len(), 5);
    // A message that does not fit leaves in fragments.
    let mut data = Bytes::from(text(4 * limit));
    let Side { connection, stream, .. } = &mut side;
    assert_eq!(connection.stream(NOW, *stream).send_message(true, &mut data), Ok(Sent::Part));
}

#[test]
fn inflating_lets_others_run_without_losing_bytes() {
    let mut context = frames::compressor();
    let large = vec![b'x'; 1 << 20];
    let mut wire = Vec::new();
    for _ in 0..3 {
        let payload = frames::deflate(&mut context, &large);
        frames::put(&mut wire, FIN | COMPRESSED | TEXT, [1, 2, 3, 4], &payload);
        frames::put(&mut wire, PING, [0; 4], b"between");
    }
    let mut side = Side::new(settings(true));
    side.pull(|connection| connection.receive(NOW, &mut wire).expect("the connection reads"));
    let mut looks = 0;
    while side.connection.status().has_work {
        assert!(side.connection.status().resume);
        side.pull(|connection| connection.resume(NOW));
        looks += 1;
    }
    let least = 3 * large.len() / (INFLATED_AT_ONCE + 16 * 1024);
    assert!((least..=3 * large.len() / INFLATED_AT_ONCE).contains(&looks), "{looks} looks");
    assert_eq!(side.told, [&large[..]; 3]);
    side.take();
    assert_eq!(readback::read(&side.out).pongs.len(), 3);
    assert!(!side.connection.status().resume, "no events are left");
}
