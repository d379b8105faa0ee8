//! The content of requests: credit, windows, limits and deadlines.

use portcullis::{Config, Party, Refusal, ResetReason, Timer};
use portcullis_play::http2::{Pair, data, get, last_data, post, reset, settings, window_update};
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

/// Content that fills the window of a stream.
fn full(id: u32) -> Vec<u8> {
    [data(id, &[0; 16_000]), data(id, &[0; 16_000])].concat()
}

#[test]
fn streams_that_nobody_reads_do_not_hold_up_others() {
    let mut pair = Pair::new(Config::default());
    // Two streams fill all of the connection's window, so no more may come unread.
    pair.send(&[post(1, "/", &[]), full(1), post(3, "/", &[]), full(3), post(5, "/", &[])]);
    assert_eq!(pair.takes(), [""; 0]);
    assert_eq!(pair.stream(5).read_to(100_000), Ok(()));
    let taken = pair.takes();
    assert!(taken.iter().any(|it| it.starts_with("0 WINDOW_UPDATE")), "{taken:?}");
    assert_eq!(pair.send(&[data(5, &[0; 16_000])]), ["5 data 16000"]);
}

/// A client that spends windows where it can.
struct Spending {
    pair: Pair,
    /// The window of a new stream, of the connection, and of each stream.
    usual: i64,
    connection: i64,
    streams: Vec<(u32, i64)>,
}

impl Spending {
    fn new() -> Self {
        let pair = Pair::new(Config::default());
        Spending { pair, usual: 32_768, connection: 65_535, streams: Vec::new() }
    }

    fn begin(&mut self, id: u32) {
        self.streams.push((id, self.usual));
        self.pair.send(&[post(id, "/", &[])]);
    }

    /// Takes what the server sends, and acknowledges SETTINGS.
    fn listen(&mut self) {
        if let Some(usual) = self.hear() {
            self.acknowledge(usual);
        }
    }

    /// Acknowledges SETTINGS that make `usual` the window of a new stream.
    fn acknowledge(&mut self, usual: i64) {
        self.streams.iter_mut().for_each(|(_, window)| *window += usual - self.usual);
        self.usual = usual;
        self.pair.send(&[frame_of_ack()]);
    }

    /// Takes what the server sends. Returns the window that it sets.
    fn hear(&mut self) -> Option<i64> {
        let mut set = None;
        for frame in self.pair.takes() {
            if let Some(usual) = frame.strip_prefix("0 SETTINGS 4=") {
                set = Some(usual.parse().expect("a number"));
            } else if let Some((id, more)) = frame.split_once(" WINDOW_UPDATE ") {
                let (id, more): (u32, i64) = (id.parse().unwrap(), more.parse().unwrap());
                match self.streams.iter_mut().find(|(stream, _)| *stream == id) {
                    Some((_, window)) => *window += more,
                    None => self.connection += more,
                }
            }
        }
        set
    }

    /// Spends as much as it can on the stream. Returns how much.
    fn spend(&mut self, id: u32) -> i64 {
        let (_, window) = self.streams.iter_mut().find(|(stream, _)| *stream == id).expect("begun");
        let bytes = (*window).min(self.connection).clamp(0, 16_000);
        if bytes > 0 {
            (*window, self.connection) = (*window - bytes, self.connection - bytes);
            let told = self.pair.send(&[data(id, &vec![0; bytes as usize])]);
            assert!(told.iter().all(|it| it.contains(" data ")), "{told:?}");
        }
        bytes
    }
}

fn frame_of_ack() -> Vec<u8> {
    use portcullis_play::http2::{ACK, SETTINGS, frame};
    frame(SETTINGS, ACK, 0, &[])
}

#[test]
fn a_client_that_spends_all_windows_on_unread_streams_can_send_on_those_that_are_read() {
    let mut client = Spending::new();
    (0..50).for_each(|place| client.begin(2 * place + 1));
    client.begin(101);
    let (mut delivered, mut unread) = (0, 0);
    for _ in 0..200 {
        assert_eq!(client.pair.stream(101).read_to(delivered as u64 + 65_536), Ok(()));
        client.listen();
        // What is read comes last.
        for place in 0..50 {
            while let bytes @ 1.. = client.spend(2 * place + 1) {
                unread += bytes;
                client.listen();
            }
        }
        while let bytes @ 1.. = client.spend(101) {
            delivered += bytes;
            client.listen();
        }
    }
    assert!(delivered > 1_000_000, "{delivered} bytes");
    assert!(unread < 4 * 65_536 + 50 * 2048, "{unread} bytes");
    // All of it is read, so windows are wide again.
    for place in 0..50 {
        let id = 2 * place + 1;
        assert_eq!(client.pair.stream(id).read_to(1 << 20), Ok(()));
    }
    client.pair.resume();
    client.listen();
    assert_eq!(client.usual, 32_768);
    client.begin(103);
    assert!(client.spend(103) > 10_000);
}

#[test]
fn a_late_acknowledgement_leaves_no_window_wide() {
    const STREAMS: u32 = 90;
    let ids: Vec<u32> = (0..STREAMS).map(|place| 2 * place + 1).collect();
    let reader = 2 * STREAMS + 1;
    let mut client = Spending::new();
    ids.iter().for_each(|id| client.begin(*id));
    client.begin(reader);
    assert_eq!(client.pair.stream(reader).read_to(1 << 30), Ok(()));
    let fill = |client: &mut Spending, sent: &mut [i64]| {
        client.listen();
        for (id, sent) in ids.iter().zip(sent) {
            while let bytes @ 1.. = client.spend(*id) {
                *sent += bytes;
                client.listen();
            }
        }
    };
    let mut sent = vec![0; ids.len()];
    fill(&mut client, &mut sent);
    assert_eq!(client.usual, 2048);
    let most = 8 * 65_536 + i64::from(STREAMS) * 2048;
    assert!(sent.iter().sum::<i64>() < most, "{sent:?}");
    // All of it is read, so that windows become wide. The client acknowledges that late, and has a little more
    // read meanwhile.
    let mut set = None;
    for more in [0, 1500, 0] {
        for (id, sent) in ids.iter().zip(&mut sent) {
            assert_eq!(client.pair.stream(*id).read_to(*sent as u64 + more), Ok(()));
            client.pair.resume();
            set = client.hear().or(set);
            let window = &mut client.streams[*id as usize / 2].1;
            let bytes = (*window).min(client.connection).clamp(0, more as i64);
            (*window, client.connection) = (*window - bytes, client.connection - bytes);
            *sent += bytes;
            if bytes > 0 {
                let told = client.pair.send(&[data(*id, &vec![0; bytes as usize])]);
                assert_eq!(told, [format!("{id} data {bytes}")]);
            }
            set = client.hear().or(set);
        }
    }
    client.acknowledge(set.expect("wide windows"));
    for _ in 0..2 {
        fill(&mut client, &mut sent);
    }
    assert_eq!(client.usual, 2048);
    let unread = ids.iter().zip(&sent).map(|(id, sent)| {
        let delivered = client.pair.stream(*id).received();
        sent - delivered as i64
    });
    let unread: i64 = unread.sum();
    let (memory, bound) = (client.pair.connection.memory(), client.pair.connection.memory_bound());
    assert!(unread < most, "{unread} bytes, {memory} of {bound}");
    assert!(memory <= bound, "{memory} of {bound} bytes");
}

#[test]
fn an_acknowledgement_that_uses_up_a_window_opens_it_for_what_is_awaited() {
    let mut pair = Pair::greeted(Config::default(), &[]);
    pair.takes();
    // The client does not know yet that the window of a stream is 32,768 bytes, and not 65,535.
    assert_eq!(pair.send(&[post(1, "/", &[])]), ["1 POST /"]);
    assert_eq!(pair.stream(1).read_to(32_768), Ok(()));
    for _ in 0..2 {
        assert_eq!(pair.send(&[data(1, &[0; 16_384])]), ["1 data 16384"]);
    }
    assert_eq!(pair.stream(1).read_to(65_536), Ok(()));
    let updates = |taken: Vec<String>| -> i64 {
        let more = taken.iter().filter_map(|it| it.strip_prefix("1 WINDOW_UPDATE "));
        more.map(|more| more.parse::<i64>().expect("a number")).sum()
    };
    let mut allowed = 65_535 - 32_768 + updates(pair.takes());
    assert_eq!(pair.send(&[frame_of_ack()]), [""; 0]);
    allowed += 32_768 - 65_535 + updates(pair.takes());
    assert!(allowed > 0, "{allowed}");
    assert_eq!(pair.connection.waits_for(), Party::Peer);
}

#[test]
fn a_stream_that_ends_gives_its_part_of_the_window_back() {
    for cancel in [true, false] {
        let mut pair = Pair::new(Config::default());
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

#[test]
fn a_stream_of_messages_lives_for_as_long_as_it_has_something_to_say() {
    for (kind, is_answered, is_sporadic) in [
        ("application/grpc", false, true),
        ("application/grpc+proto", false, true),
        ("application/grpc; x=1", false, true),
        ("application/grpc-web", false, false),
        ("text/plain", false, false),
        ("text/plain", true, true),
    ] {
        let mut pair = Pair::new(Config::default());
        pair.send(&[post(1, "/", &[("content-type", kind), ("te", "trailers")])]);
        if is_answered {
            pair.respond(1);
        }
        let mut hours = 0.0;
        while hours < 3.0 && pair.connection.deadline().is_some() | (hours == 0.0) {
            let received = pair.stream(1).received();
            assert_eq!(pair.stream(1).read_to(received + 65_536), Ok(()));
            pair.takes();
            pair.after(secs(20));
            hours += 20.0 / 3600.0;
            if pair.resume() == ["1 reset Timeout"] {
                break;
            }
            assert_eq!(pair.send(&[data(1, b"hello")]), ["1 data 5"]);
            if is_answered {
                assert_eq!(pair.sends(1, 5), 5);
            }
            pair.takes();
        }
        assert_eq!(hours > 2.9, is_sporadic, "{kind}: {hours} hours");
        if is_sporadic {
            // It may also show with pings that it is there.
            let received = pair.stream(1).received();
            assert_eq!(pair.stream(1).read_to(received + 65_536), Ok(()));
            for _ in 0..100 {
                pair.after(secs(25));
                assert_eq!(pair.send(&[frame_of_ping()]), [""; 0]);
                pair.takes();
            }
            pair.after(secs(30));
            assert_eq!(pair.resume(), ["1 reset Timeout"], "silence");
            let answer = if is_answered { "1 RST_STREAM CANCEL" } else { "1 HEADERS :status=408" };
            assert!(pair.takes()[0].starts_with(answer));
        }
    }
}

fn frame_of_ping() -> Vec<u8> {
    use portcullis_play::http2::{PING, frame};
    frame(PING, 0, 0, &[0; 8])
}

#[test]
fn a_client_may_pause_in_the_middle_of_a_frame_as_long_as_it_may_be_silent() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    assert_eq!(pair.stream(1).read_to(100_000), Ok(()));
    pair.send(&[data(1, &[0; 16_000])]);
    let piece = data(1, &[0; 1000]);
    pair.takes();
    assert_eq!(pair.send(&[piece[..5].to_vec()]), [""; 0]);
    pair.after(secs(20));
    assert_eq!(pair.send(&[piece[5..].to_vec()]), ["1 data 1000"]);
    // Also while an answer is on its way.
    pair.send(&[get(3, "/")]);
    pair.respond(3);
    pair.sends(3, 60_000);
    pair.takes();
    let update = window_update(3, 60_000);
    assert_eq!(pair.send(&[update[..12].to_vec()]), [""; 0]);
    pair.after(secs(20));
    assert_eq!(pair.send(&[update[12..].to_vec()]), [""; 0]);
    assert!(pair.connection.status().is_open());
    // The rest of a head is not waited for so long.
    pair.send(&[get(5, "/")[..20].to_vec()]);
    pair.after(secs(5));
    assert_eq!(pair.connection.deadline().map(|(_, timer)| timer), Some(Timer::RequestHead));
}

#[test]
fn small_frames_pay_for_themselves_even_if_the_application_is_late() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[post(1, "/", &[])]);
    for _ in 0..5400 {
        assert_eq!(pair.send(&[data(1, b"6 byte")]), [""; 0]);
    }
    assert!(pair.connection.status().is_open());
    assert_eq!(pair.stream(1).read_to(100_000), Ok(()));
    assert_eq!(pair.resume(), ["1 data 32400"]);
}

#[test]
fn content_that_waits_behind_unsent_bytes_is_in_time() {
    let mut pair = Pair::new(Config::default());
    pair.send(&[settings(&[(4, 1 << 20)]), window_update(0, 1 << 20)]);
    pair.send(&[get(1, "/"), post(3, "/", &[])]);
    pair.respond(1);
    assert_eq!(pair.sends(1, 10_000), 10_000);
    pair.takes();
    // The client takes nothing for a while. What it has sent is not read meanwhile.
    while pair.sends(1, 100_000) > 0 {}
    assert_eq!(pair.stream(3).read_to(100), Ok(()));
    assert_eq!(pair.send(&[data(3, &[0; 100])]), [""; 0]);
    pair.after(secs(20));
    assert_eq!(pair.resume(), [""; 0]);
    pair.takes();
    assert!(pair.resume().contains(&"3 data 100".into()));
}
