//! The content of requests: credit, windows, limits and deadlines.

use portcullis::{Config, Party, Refusal, ResetReason, Timer};
use portcullis_play::http2::{Pair, data, get, last_data, post, reset, window_update};
use portcullis_play::support::{secs, tick};

#[test]
fn content_waits_for_credit_and_other_streams_go_on() {
    let mut pair = Pair::new(Config::default());
    assert_eq!(pair.send(&[post(1, "/", &[]), data(1, b"hello")]), ["1 POST /"]);
    assert_eq!(pair.connection.waits_for(), Party::Application);
    assert_eq!(pair.send(&[get(3, "/")]), ["3 GET /", "3 end"]);
    assert_eq!(pair.stream(1).read_to(3), Ok(()));
    assert_eq!(pair.resume(), ["1 data 3"]);
    assert_eq!(pair.stream(1).read_to(9), Ok(()));
    assert_eq!(pair.resume(), ["1 data 2"]);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(5)), Timer::RequestBody)));
    assert_eq!(pair.send(&[last_data(1, b"!!")]), ["1 data 2", "1 end"]);
    pair.takes();
    assert_eq!(pair.connection.deadline(), None);
}

#[test]
fn trailers_wait_behind_content() {
    use portcullis_play::http2::{END_HEADERS, END_STREAM, HEADERS, block, frame};
    let mut pair = Pair::new(Config::default());
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("a", "b"), ("c", "d")]));
    let told = pair.send(&[post(1, "/", &[]), data(1, b"hello"), trailers, get(3, "/")]);
    assert_eq!(told, ["1 POST /", "3 GET /", "3 end"]);
    assert_eq!(pair.stream(1).read_to(5), Ok(()));
    assert_eq!(pair.resume(), ["1 data 5", "1 end a=b c=d"]);
}

#[test]
fn windows_open_as_the_application_reads() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    // The application reads on, so the window opens again and again.
    let mut sent = 0;
    let mut allowed = 32_767;
    while sent < 1_000_000 {
        assert_eq!(pair.stream(1).read_to(sent + 65_536), Ok(()));
        for update in pair.takes() {
            if let Some(more) = update.strip_prefix("1 WINDOW_UPDATE ") {
                allowed += more.parse::<u64>().expect("a number");
            }
        }
        let piece = (allowed - sent).min(16_000);
        assert!(piece > 0, "stuck after {sent} bytes");
        assert_eq!(pair.send(&[data(1, &vec![0; piece as usize])]), [format!("1 data {piece}")]);
        sent += piece;
    }
}

#[test]
fn content_beyond_a_window_is_an_error() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    let piece = || data(1, &[0; 16_000]);
    pair.send(&[piece(), piece()]);
    assert_eq!(pair.takes(), [""; 0]);
    pair.send(&[piece()]);
    assert_eq!(pair.takes()[0], "1 RST_STREAM FLOW_CONTROL_ERROR");
}

#[test]
fn streams_that_nobody_reads_do_not_hold_up_others() {
    let mut pair = Pair::new(Config::default());
    // Two streams fill all of the connection's window.
    let full = |id| [data(id, &[0; 16_000]), data(id, &[0; 16_000])].concat();
    pair.send(&[post(1, "/", &[]), full(1), post(3, "/", &[]), full(3), post(5, "/", &[])]);
    assert_eq!(pair.takes(), [""; 0], "no more may come unread");
    assert_eq!(pair.stream(5).read_to(100_000), Ok(()));
    let taken = pair.takes();
    assert!(taken.iter().any(|it| it.starts_with("0 WINDOW_UPDATE")), "{taken:?}");
    assert_eq!(pair.send(&[data(5, &[0; 16_000])]), ["5 data 16000"]);
}

#[test]
fn a_stream_that_ends_gives_its_part_of_the_window_back() {
    for cancel in [true, false] {
        let mut pair = Pair::new(Config::default());
        let full = |id| [data(id, &[0; 16_000]), data(id, &[0; 16_000])].concat();
        pair.send(&[post(1, "/", &[]), full(1), post(3, "/", &[]), full(3)]);
        assert_eq!(pair.takes(), [""; 0]);
        if cancel {
            assert_eq!(pair.send(&[reset(1)]), ["1 reset Cancelled"]);
        } else {
            pair.answer(1, 0);
        }
        let taken = pair.takes();
        assert!(taken.iter().any(|it| it.starts_with("0 WINDOW_UPDATE 3")), "{taken:?}");
    }
}

#[test]
fn padding_is_given_back() {
    use portcullis_play::http2::{DATA, PADDED, frame};
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    assert_eq!(pair.stream(1).read_to(1 << 30), Ok(()));
    pair.takes();
    let padded = [&[200][..], b"x", &[0; 200]].concat();
    for _ in 0..1000 {
        let told = pair.send(&[frame(DATA, PADDED, 1, &padded)]);
        assert_eq!(told, ["1 data 1"]);
        pair.takes();
        pair.now = pair.now.after(secs(1));
    }
}

#[test]
fn each_stream_has_its_own_deadline() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[]), post(3, "/", &[]), post(5, "/", &[])]);
    assert_eq!(pair.stream(1).read_to(10), Ok(()));
    pair.after(secs(2));
    assert_eq!(pair.stream(3).read_to(10), Ok(()));
    assert_eq!(pair.connection.deadline(), Some((tick(secs(5)), Timer::RequestBody)));
    pair.after(secs(3));
    assert_eq!(pair.resume(), ["1 reset Timeout"]);
    let taken = pair.takes();
    assert!(taken[0].starts_with("1 HEADERS :status=408"), "{taken:?}");
    assert_eq!(pair.connection.deadline(), Some((tick(secs(7)), Timer::RequestBody)));
    assert_eq!(pair.send(&[data(3, b"hi")]), ["3 data 2"]);
    assert!(pair.connection.status().is_open());
    pair.after(secs(3));
    assert!(pair.connection.status().is_open());
}

#[test]
fn too_much_content_is_413_on_its_stream_alone() {
    let config = Config::builder().request_body_limit(Some(10)).build().expect("valid");
    let mut pair = Pair::new(config);
    pair.send(&[post(1, "/", &[("content-length", "1000000")]), post(3, "/", &[])]);
    assert!(pair.stream(1).read_to(100).is_err());
    assert_eq!(pair.stream(3).read_to(100), Ok(()));
    let too_large = ResetReason::Refused(Refusal::ContentTooLarge);
    assert_eq!(pair.resume(), [format!("1 reset {too_large:?}")]);
    assert_eq!(pair.send(&[data(3, b"0123456789")]), ["3 data 10"]);
    assert_eq!(pair.send(&[data(3, b"0")]), [format!("3 reset {too_large:?}")]);
    let taken = pair.takes();
    let heads = taken.iter().filter(|it| it.contains("HEADERS :status=413")).count();
    assert_eq!(heads, 2, "{taken:?}");
    // The rest is discarded, so that the client gets the answer.
    let mut allowed = 65_535 - 11_i64;
    for _ in 0..100 {
        assert_eq!(pair.send(&[data(1, &[0; 8_000])]), [""; 0]);
        for update in pair.takes() {
            if let Some(more) = update.strip_prefix("0 WINDOW_UPDATE ") {
                allowed += more.parse::<i64>().expect("a number");
            }
        }
        allowed -= 8_000;
        assert!(allowed > 0);
    }
    pair.after(secs(6));
    let taken = pair.takes();
    assert_eq!(taken, ["3 RST_STREAM NO_ERROR", "1 RST_STREAM NO_ERROR"]);
    assert!(pair.connection.status().is_open());
}

#[test]
fn a_limit_can_be_changed_before_content_is_read() {
    let config = Config::builder().request_body_limit(Some(1)).build().expect("valid");
    let mut pair = Pair::new(config);
    pair.send(&[post(1, "/", &[("content-length", "3")])]);
    assert_eq!(pair.stream(1).limit_body(Some(3)), Ok(()));
    assert_eq!(pair.stream(1).read_to(3), Ok(()));
    assert_eq!(pair.send(&[last_data(1, b"abc")]), ["1 data 3", "1 end"]);
}

#[test]
fn a_client_that_waits_for_100_gets_it_when_content_is_asked_for() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[("expect", "100-continue")]), window_update(0, 1)]);
    assert_eq!(pair.takes(), [""; 0]);
    assert_eq!(pair.stream(1).read_to(3), Ok(()));
    assert_eq!(pair.takes(), ["1 HEADERS :status=100"]);
    assert_eq!(pair.send(&[last_data(1, b"abc")]), ["1 data 3", "1 end"]);
    pair.answer(1, 0);
    assert_eq!(pair.takes(), ["1 HEADERS :status=200 content-length=0, end"]);
}

#[test]
fn an_early_answer_ends_and_the_rest_is_discarded() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    pair.answer(1, 2);
    assert_eq!(pair.takes(), ["1 HEADERS :status=200 content-length=2", "1 DATA 2, end"]);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(5)), Timer::Stream)));
    assert_eq!(pair.send(&[data(1, b"more"), last_data(1, b"more")]), [""; 0]);
    assert_eq!(pair.connection.deadline(), Some((tick(secs(5)), Timer::KeepAlive)));
}
