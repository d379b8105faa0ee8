//! What the budget of TLS pays for and earns, to the point: a record that brings nothing costs 64, one
//! that brings content costs 2, each byte of content earns 1, and no more than 16384 are kept.

use crate::pair::Pair;
use crate::support::{POST_MUCH, secs};
use portcullis::rustls::{ContentType, version};
use portcullis::{CloseReason, Status, Tick, TlsFailure};

const MOST: usize = 16_384;
const BARREN: usize = 64;

struct Sealed<S> {
    pair: Pair,
    seal: S,
}

impl<S: FnMut(ContentType, &[u8]) -> Vec<u8>> Sealed<S> {
    /// Delivers content in a record of its own; whether it was not too much.
    fn bring(&mut self, length: usize) -> bool {
        let record = (self.seal)(ContentType::ApplicationData, &vec![b'x'; length]);
        self.pair.deliver(&record);
        let is_open = matches!(self.pair.server.status(), Status::Open { .. });
        if is_open {
            let stream = self.pair.stream();
            self.pair.server.stream(self.pair.now, stream).read(u64::MAX).expect("it is open");
            let now = self.pair.now;
            while self.pair.server.resume(now).next().is_some() {}
        }
        is_open
    }

    /// Spends all but `left` of a full budget, on records that bring nothing. Not too many of them
    /// may follow each other: a byte between them costs 2, and earns 1.
    fn spend_all_but(&mut self, left: usize) {
        let mut points = MOST;
        let mut in_a_row = 0;
        while points - left >= BARREN + 2 {
            if in_a_row == 20 {
                assert!(self.bring(1));
                (points, in_a_row) = (points - 1, 0);
            } else {
                assert!(self.bring(0), "{points} are left");
                (points, in_a_row) = (points - BARREN, in_a_row + 1);
            }
        }
        for _ in left..points {
            assert!(self.bring(1));
        }
    }

    /// How many more records of so many bytes can be paid.
    fn count(&mut self, length: usize) -> usize {
        let count = (0..20_000).find(|_| !self.bring(length));
        count.expect("it ends")
    }

    fn ends_as_a_flood(&mut self) {
        let flood = CloseReason::Tls(TlsFailure::Flood);
        self.pair.closes_with(flood);
    }
}

/// An upload whose budget is full.
fn full() -> Sealed<impl FnMut(ContentType, &[u8]) -> Vec<u8>> {
    let mut pair = Pair::shaken(&version::TLS13);
    let mut seal = pair.sealer();
    pair.deliver(&seal(ContentType::ApplicationData, POST_MUCH.as_bytes()));
    let mut sealed = Sealed { pair, seal };
    assert!(sealed.bring(MOST) && sealed.bring(10_000));
    sealed
}

#[test]
fn records_that_bring_nothing_cost_64_each() {
    for (left, paid) in [(10 * BARREN, 10), (10 * BARREN - 1, 9), (20 * BARREN, 20)] {
        let mut sealed = full();
        sealed.spend_all_but(left);
        assert_eq!(sealed.count(0), paid, "{left} are left");
        sealed.ends_as_a_flood();
    }
}

#[test]
fn a_record_of_content_costs_what_two_bytes_earn() {
    // One byte: 2 are paid, and 1 is earned, until there are not 2 any more.
    let mut sealed = full();
    sealed.spend_all_but(100);
    assert_eq!(sealed.count(1), 99);
    sealed.ends_as_a_flood();
    // Two bytes go on for ever.
    let mut sealed = full();
    sealed.spend_all_but(2);
    for _ in 0..2000 {
        assert!(sealed.bring(2));
    }
    assert_eq!(sealed.count(1), 1);
    sealed.ends_as_a_flood();
}

#[test]
fn content_earns_a_point_a_byte_in_records_of_any_size() {
    for length in [3, 64, 258, 642, 1282] {
        let mut sealed = full();
        sealed.spend_all_but(2);
        assert!(sealed.bring(length));
        assert_eq!(sealed.count(0), length / BARREN, "{length} bytes");
        sealed.ends_as_a_flood();
    }
    // In parts it is the same.
    let mut sealed = full();
    sealed.spend_all_but(2);
    let record = (sealed.seal)(ContentType::ApplicationData, &[b'x'; 642]);
    sealed.pair.deliver_in(&record, 7);
    assert_eq!(sealed.count(0), 10);
    sealed.ends_as_a_flood();
    // Padding earns nothing: the type is behind the content, and zeros follow it (RFC 8446 5.4).
    let mut sealed = full();
    sealed.spend_all_but(2);
    let mut padded = vec![0; 5000];
    padded[..642].fill(b'x');
    padded[642] = 23;
    let record = (sealed.seal)(ContentType::Unknown(0), &padded);
    sealed.pair.deliver(&record);
    assert_eq!(sealed.count(0), 10);
    sealed.ends_as_a_flood();
}

#[test]
fn time_brings_back_1024_points_a_second_and_no_more_than_there_were() {
    for (seconds, paid) in [(1, 16), (2, 32), (3600, MOST / BARREN)] {
        let mut sealed = full();
        // It counts from when the budget was made.
        sealed.spend_all_but(2);
        sealed.pair.now = Tick::ZERO.after(secs(seconds));
        let mut count = 0;
        // Records of content in between, so that rustls does not count too many in a row.
        let mut in_a_row = 0;
        while sealed.bring(0) {
            (count, in_a_row) = (count + 1, in_a_row + 1);
            if in_a_row == 20 {
                assert!(sealed.bring(2));
                in_a_row = 0;
            }
        }
        assert_eq!(count, paid, "after {seconds} s");
        sealed.ends_as_a_flood();
    }
}
