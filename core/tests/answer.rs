//! `Connection::answer` writes a whole answer in one call, if there is room for it.

use bytes::Bytes;
use http::StatusCode;
use portcullis::{Config, Connection, Event, Misuse, Phase, Sent, StreamId, Tick};
use std::io::IoSlice;
use std::sync::Arc;

const NOW: Tick = Tick::ZERO;

/// A connection with one request, and its stream.
fn asked(method: &str, config: Config) -> (Connection, StreamId) {
    let mut connection = Connection::new(Arc::new(config), NOW);
    let mut wire = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let mut events = connection.receive(NOW, &mut wire).expect("the connection reads");
    let stream = match events.next() {
        Some((_, Event::Request { stream, .. })) => stream,
        other => panic!("no request: {:?}", other.map(|(_, event)| event)),
    };
    assert!(matches!(events.next(), Some((_, Event::End { .. }))));
    drop(events);
    (connection, stream)
}

fn written(connection: &mut Connection) -> String {
    let mut slices = [IoSlice::new(&[]); 8];
    let count = connection.outgoing(&mut slices);
    slices[..count].iter().map(|slice| String::from_utf8_lossy(slice)).collect()
}

#[test]
fn it_writes_the_same_as_three_calls_and_ends_the_exchange() {
    let (mut connection, stream) = asked("GET", Config::default());
    let mut content = Bytes::from_static(b"hello");
    let sent = connection.stream(NOW, stream).answer(StatusCode::OK, None, &mut content);
    assert_eq!((sent, content.len()), (Ok(Sent::All), 0));
    assert_eq!(written(&mut connection), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let again = connection.stream(NOW, stream).answer(StatusCode::OK, None, &mut content);
    assert_eq!(again, Err(Misuse::UnknownStream));
    let length = written(&mut connection).len();
    connection.sent(NOW, length);
    assert_eq!(connection.phase(), Phase::Idle);
}

#[test]
fn without_room_the_answer_is_begun_and_continued_by_other_calls() {
    let config = Config::builder().set("send_buffer_limit", "1KiB").expect("a size");
    let (mut connection, stream) = asked("GET", config.build().expect("valid"));
    let mut content = Bytes::from(vec![b'x'; 1024]);
    let sent = connection.stream(NOW, stream).answer(StatusCode::OK, None, &mut content);
    assert_eq!(sent, Ok(Sent::Part));
    // The head and as much of the content as there is room for. When that is sent, the rest is asked for.
    let begun = written(&mut connection).len();
    assert_eq!(begun, 1024);
    let has_room = |connection: &mut Connection| {
        let (mut events, mut told) = (connection.resume(NOW), 0);
        while let Some((_, event)) = events.next() {
            told += u32::from(matches!(event, Event::Writable { .. }));
        }
        told
    };
    assert_eq!(has_room(&mut connection), 0);
    connection.sent(NOW, begun);
    assert_eq!((has_room(&mut connection), has_room(&mut connection)), (1, 0));
    let left = content.len();
    assert_eq!(connection.stream(NOW, stream).send(&mut content), Ok(Sent::All));
    assert_eq!(connection.stream(NOW, stream).finish(None), Ok(()));
    assert_eq!(written(&mut connection).len(), left);
}

#[test]
fn an_answer_to_head_has_only_the_length() {
    let (mut connection, stream) = asked("HEAD", Config::default());
    let mut content = Bytes::from_static(b"hello");
    let sent = connection.stream(NOW, stream).answer(StatusCode::OK, None, &mut content);
    assert_eq!((sent, content.len()), (Ok(Sent::All), 0));
    assert_eq!(written(&mut connection), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
}
