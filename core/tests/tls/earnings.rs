//! The exact prices and earnings of content over TLS. A record without content costs 64, a record with
//! content costs 2, each byte of content earns 1, and the budget holds at most 16384.

use crate::pair::Pair;
use crate::support::{POST_MUCH, secs};
use portcullis::rustls::{ContentType, version};
use portcullis::{CloseReason, Tick, TlsFailure};

const MOST: usize = 16_384;
const BARREN: usize = 64;

struct Sealed<S> {
    pair: Pair,
    seal: S,
}

impl<S: FnMut(ContentType, &[u8]) -> Vec<u8>> Sealed<S> {
    /// Delivers content in a record of its own. Returns whether the budget paid for it.
    fn bring(&mut self, length: usize) -> bool {
        let record = (self.seal)(ContentType::ApplicationData, &vec![b'x'; length]);
        self.pair.deliver(&record);
        let is_open = self.pair.server.status().is_open();
        if is_open {
            let stream = self.pair.stream();
            self.pair
                .server
                .stream(self.pair.now, stream)
                .read_to(u64::MAX)
                .expect("the stream is open");
            let now = self.pair.now;
            while self.pair.server.resume(now).next().is_some() {}
        }
        is_open
    }

    /// Spends all but `left` points of a full budget on records without content. Since rustls
    /// limits such records in a row, a record with a byte stands between them: it costs 2, and
    /// earns 1.
    fn spend_all_but(&mut self, left: usize) {
        let mut points = MOST;
        let mut in_a_row = 0;
        while points - left >= BARREN + 2 {
            if in_a_row == 20 {
                assert!(self.bring(1));
                (points, in_a_row) = (points - 1, 0);
            } else {
                assert!(self.bring(0), "{points} points are left");
                (points, in_a_row) = (points - BARREN, in_a_row + 1);
            }
        }
        for _ in left..points {
            assert!(self.bring(1));
        }
    }

    /// How many more records of `length` bytes the budget pays for.
    fn count(&mut self, length: usize) -> usize {
        let count = (0..20_000).find(|_| !self.bring(length));
        count.expect("the budget runs out")
    }

    fn ends_as_a_flood(&mut self) {
        let flood = CloseReason::Tls(TlsFailure::Flood);
        self.pair.closes_with(flood);
    }
}

/// An upload with a full budget.
fn full() -> Sealed<impl FnMut(ContentType, &[u8]) -> Vec<u8>> {
    let mut pair = Pair::shaken(&version::TLS13);
    let mut seal = pair.sealer();
    pair.deliver(&seal(ContentType::ApplicationData, POST_MUCH.as_bytes()));
    let mut sealed = Sealed { pair, seal };
    assert!(sealed.bring(MOST) && sealed.bring(10_000));
    sealed
}

#[test]
fn records_without_content_cost_64_each() {
    for (left, paid) in [(10 * BARREN, 10), (10 * BARREN - 1, 9), (20 * BARREN, 20)] {
        let mut sealed = full();
        sealed.spend_all_but(left);
        assert_eq!(sealed.count(0), paid, "{left} points are left");
        sealed.ends_as_a_flood();
    }
}

#[test]
fn a_record_with_content_costs_what_two_bytes_earn() {
    // A record of one byte costs 1.
    let mut sealed = full();
    sealed.spend_all_but(100);
    assert_eq!(sealed.count(1), 100);
    sealed.ends_as_a_flood();
    // Records of two bytes go on for ever.
    let mut sealed = full();
    sealed.spend_all_but(2);
    for _ in 0..2000 {
        assert!(sealed.bring(2));
    }
    assert_eq!(sealed.count(1), 2);
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
    // Records in parts earn the same.
    let mut sealed = full();
    sealed.spend_all_but(2);
    let record = (sealed.seal)(ContentType::ApplicationData, &[b'x'; 642]);
    sealed.pair.deliver_in(&record, 7);
    assert_eq!(sealed.count(0), 10);
    sealed.ends_as_a_flood();
    // Padding earns nothing. The type follows the content, and zeros follow the type (RFC 8446
    // 5.4).
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
fn time_brings_back_1024_points_a_second_up_to_the_maximum() {
    for (seconds, paid) in [(1, 16), (2, 32), (3600, MOST / BARREN)] {
        let mut sealed = full();
        // Time counts from the creation of the budget.
        sealed.spend_all_but(2);
        sealed.pair.now = Tick::ZERO.after(secs(seconds));
        let mut count = 0;
        // Records with content in between, so that rustls does not count too many empty ones in a
        // row.
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
