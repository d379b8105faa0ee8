//! Actions of an application or a driver on a connection, in any order, sensible or not. The
//! results are compared with the model.

use super::model::{Live, Model, pattern, unsent};
use super::source::Source;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use portcullis::{
    Begun, BodyLength, CloseReason, Connection, Misuse, PeerClose, Refusal, Sent, Status, StreamId,
    Tick,
};
use std::sync::LazyLock;
use std::time::Duration;

/// Fields of answers, valid and invalid ones.
pub(super) static FIELDS: LazyLock<[HeaderMap; 8]> = LazyLock::new(|| {
    let map = |name: HeaderName, value: &str| {
        let value = HeaderValue::from_str(value).expect("a valid value");
        HeaderMap::from_iter([(name, value)])
    };
    let name = HeaderName::from_static("x-field");
    [
        HeaderMap::new(),
        map(name.clone(), "value"),
        map(CONNECTION, "close"),
        map(CONTENT_LENGTH, "10"),
        map(CONTENT_LENGTH, "x"),
        map(TRANSFER_ENCODING, "chunked"),
        map(HOST, "in trailers it is forbidden"),
        map(name, &"long ".repeat(180)),
    ]
});

const STATUSES: [StatusCode; 8] = [
    StatusCode::OK,
    StatusCode::NOT_FOUND,
    StatusCode::NO_CONTENT,
    StatusCode::NOT_MODIFIED,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::CONTINUE,
    StatusCode::EARLY_HINTS,
    StatusCode::SWITCHING_PROTOCOLS,
];

/// The visible state, to show that a misuse changed nothing.
pub(super) fn seen(connection: &mut Connection) -> (Status, usize) {
    (connection.status(), unsent(connection))
}

/// Plays one action on some stream, if there has been one.
pub fn act(connection: &mut Connection, source: &mut Source<'_>, model: &mut Model, now: Tick) {
    let choice = source.below(24);
    let stale = choice >= 20;
    let stream = match &model.live {
        Some(live) if !stale => live.id,
        _ if model.known.is_empty() => return whole(connection, source, model, now),
        _ => model.known[source.below(model.known.len())],
    };
    let before = seen(connection);
    let result = match choice % 20 {
        0..4 => respond(connection, source, model, now, stream),
        4..8 => send(connection, source, model, now, stream),
        8..10 => finish(connection, source, model, now, stream),
        10..14 => request(connection, source, model, now, stream),
        14 => {
            let limit = Some(source.size()).filter(|limit| *limit < 1 << 30);
            let (time, mut stream) =
                (limit.map(Duration::from_millis), connection.stream(now, stream));
            match source.below(4) {
                0 => stream.limit_body_time(time),
                1 => stream.limit_response_time(time),
                _ => stream.limit_body(limit),
            }
        }
        15..17 => inform(connection, source, model, now, stream),
        17 => {
            let refusal = Refusal::ALL[source.below(Refusal::ALL.len())];
            let result = connection.stream(now, stream).refuse(refusal);
            given_up(model, stream, result)
        }
        18 => {
            let result = connection.stream(now, stream).reset();
            given_up(model, stream, result)
        }
        _ => return whole(connection, source, model, now),
    };
    model.note(result);
    if let Err(misuse) = result {
        check_misuse(connection, model, stream, misuse, before);
    }
    model.check(connection);
}

/// Checks a refused call for `stream`: the state is still `before`. One exception is the first call
/// after a request whose declared length is above the limit: the connection refuses that request.
pub(super) fn check_misuse(
    connection: &mut Connection,
    model: &Model,
    stream: StreamId,
    misuse: Misuse,
    before: (Status, usize),
) {
    let alive = model.live.as_ref().is_some_and(|live| live.id == stream);
    let open = before.0.is_open();
    if misuse == Misuse::UnknownStream && alive && open {
        let over = !connection.status().is_open();
        assert!(over, "the stream is open, but the connection does not know it");
    } else {
        assert_eq!(seen(connection), before, "{misuse:?} changed something");
    }
}

/// Actions on the connection as a whole.
pub(super) fn whole(
    connection: &mut Connection,
    source: &mut Source<'_>,
    model: &mut Model,
    now: Tick,
) {
    let open = connection.status().is_open();
    match source.below(8) {
        0 => {
            let reasons = [CloseReason::Aborted, CloseReason::Peer(PeerClose::Reset)];
            connection.abort(now, source.one_of(&reasons));
        }
        1..4 => {
            connection.drain(now);
            model.draining = true;
            if let Some(socket) = model.socket.as_mut().filter(|_| open) {
                socket.drained |= socket.close.is_none() && socket.closing.is_none();
            }
        }
        _ => {
            connection.tick(now);
            model.note_drain(connection);
        }
    }
    model.check(connection);
}

fn given_up(model: &mut Model, stream: StreamId, result: Result<(), Misuse>) -> Result<(), Misuse> {
    if result.is_ok() {
        let live = model.live.take().expect("a dead stream was given up");
        assert_eq!(live.id, stream);
        model.gave_up = true;
    }
    result
}

fn respond(
    connection: &mut Connection,
    source: &mut Source<'_>,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
) -> Result<(), Misuse> {
    let status = source.one_of(&STATUSES);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return accept_tunnel(connection, source, model, now, stream);
    }
    let fields = &FIELDS[source.below(FIELDS.len())];
    let length = match source.below(3) {
        0 => BodyLength::Unknown,
        1 => BodyLength::Known(10),
        _ => BodyLength::Known(source.size()),
    };
    let begun = connection.stream(now, stream).respond(status, fields, length)?;
    let live = model.live.as_mut().expect("a dead stream was answered");
    assert!(live.id == stream && !live.begun, "answered twice");
    live.begun = true;
    let answer = model.answers.last_mut().expect("an answer for each request");
    answer.status = Some(status.as_u16());
    if begun == Begun::Complete {
        answer.complete = true;
        model.live = None;
    }
    Ok(())
}

fn send(
    connection: &mut Connection,
    source: &mut Source<'_>,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
) -> Result<(), Misuse> {
    let offset = model.answers.last().map_or(0, |answer| answer.accepted);
    let mut data = Bytes::from_static(pattern(offset, source.size()));
    let (whole, room) = (data.len(), connection.stream(Tick::ZERO, stream).room());
    let result = connection.stream(now, stream).send(&mut data);
    let Ok(sent) = result else {
        assert_eq!(data.len(), whole, "a refused call took content");
        return result.map(drop);
    };
    let taken = whole - data.len();
    let live = model.live.as_mut().expect("a dead stream has content");
    assert!(live.id == stream && live.begun);
    assert_eq!(taken, whole.min(room), "takes as much as fits");
    assert_eq!(sent == Sent::All, data.is_empty());
    live.cut |= sent == Sent::Part;
    model.answers.last_mut().expect("an answer for each request").accepted += taken as u64;
    Ok(())
}

fn finish(
    connection: &mut Connection,
    source: &mut Source<'_>,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
) -> Result<(), Misuse> {
    let trailers = FIELDS.get(source.below(2 * FIELDS.len()));
    connection.stream(now, stream).finish(trailers)?;
    let live = model.live.as_mut().expect("a dead stream was finished");
    assert!(live.id == stream && live.begun && !live.finished);
    (live.finished, live.cut) = (live.tunnel, false);
    if !live.tunnel || live.ended {
        model.live = None;
    }
    model.answers.last_mut().expect("an answer for each request").complete = true;
    Ok(())
}

pub(super) fn request(
    connection: &mut Connection,
    source: &mut Source<'_>,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
) -> Result<(), Misuse> {
    let bytes = source.size();
    super::read_more(connection.stream(now, stream), bytes)?;
    if let Some(socket) = model.socket.as_mut().filter(|socket| socket.id == stream) {
        socket.credit = socket.credit.max(bytes);
        return Ok(());
    }
    let live = model.live.as_mut().expect("a dead stream is asked for content");
    assert_eq!(live.id, stream);
    if !live.ended {
        live.credit = live.credit.max(bytes);
        live.awaited |= bytes > 0;
    }
    Ok(())
}

fn inform(
    connection: &mut Connection,
    source: &mut Source<'_>,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
) -> Result<(), Misuse> {
    let status = source.one_of(&STATUSES);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return close_tunnel(connection, model, now, stream);
    }
    let fields = &FIELDS[source.below(FIELDS.len())];
    connection.stream(now, stream).inform(status, fields)?;
    let live = model.live.as_ref().expect("a dead stream is informed");
    assert!(live.id == stream && !live.begun);
    if live.http11 && status != StatusCode::CONTINUE {
        let answer = model.answers.last_mut().expect("an answer for each request");
        answer.interim.push(status.as_u16());
    }
    Ok(())
}

/// The protocol of tunnels that a request may ask for.
static ECHO: LazyLock<HeaderMap> =
    LazyLock::new(|| HeaderMap::from_iter([(UPGRADE, HeaderValue::from_static("echo"))]));

/// Accepts a tunnel that the request asks for.
pub(super) fn begin_tunnel(
    connection: &mut Connection,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
) {
    let accepted = accept_with(connection, model, now, stream, &ECHO);
    accepted.expect("it was asked for");
}

/// Accepts a tunnel, whether the request asks for one or not.
fn accept_tunnel(
    connection: &mut Connection,
    source: &mut Source<'_>,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
) -> Result<(), Misuse> {
    let choice = source.below(FIELDS.len());
    let fields = if choice < 6 { &*ECHO } else { &FIELDS[choice] };
    accept_with(connection, model, now, stream, fields)
}

fn accept_with(
    connection: &mut Connection,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
    fields: &HeaderMap,
) -> Result<(), Misuse> {
    let mut last = Err(Misuse::NotTunnel);
    for status in [StatusCode::OK, StatusCode::SWITCHING_PROTOCOLS] {
        last = connection.stream(now, stream).accept_tunnel(status, fields);
        if last.is_ok() {
            let live = model.live.as_mut().expect("a dead stream became a tunnel");
            assert!(live.id == stream && !live.begun, "answered twice");
            (live.begun, live.tunnel, live.ended) = (true, true, false);
            (live.credit, live.awaited) = (0, false);
            model.tunneled = true;
            let answer = model.answers.last_mut().expect("an answer for each request");
            answer.status = Some(status.as_u16());
            break;
        }
    }
    last
}

/// Ends both directions of a tunnel, if there is one.
fn close_tunnel(
    connection: &mut Connection,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
) -> Result<(), Misuse> {
    connection.stream(now, stream).close_tunnel()?;
    let live = model.live.take().expect("a dead stream was closed");
    assert!(live.id == stream && live.tunnel);
    model.answers.last_mut().expect("an answer for each request").complete = true;
    Ok(())
}

/// Sends the shortest possible answer, if one is owed. A tunnel is closed.
pub fn answer(connection: &mut Connection, model: &mut Model, now: Tick) {
    if let Some(Live { id, tunnel: true, .. }) = model.live {
        let closed = close_tunnel(connection, model, now, id);
        // The connection may have reset it by itself, and the event is still to come.
        assert!(matches!(closed, Ok(()) | Err(Misuse::UnknownStream)), "{closed:?}");
        return model.check(connection);
    }
    let Some(live) = model.live.take() else { return };
    let answer = model.answers.last_mut().expect("an answer for each request");
    if !live.begun {
        let length = BodyLength::Known(0);
        // Not 200, which is not allowed for CONNECT.
        let status = StatusCode::NOT_FOUND;
        if let Ok(begun) = connection.stream(now, live.id).respond(status, [], length) {
            answer.status = Some(status.as_u16());
            answer.complete = begun == Begun::Complete;
        }
    }
    if answer.status.is_some() && !answer.complete {
        match connection.stream(now, live.id).finish(None) {
            Ok(()) => answer.complete = true,
            Err(Misuse::TooShort { .. }) => {
                connection.stream(now, live.id).reset().expect("a live stream can be reset");
                model.gave_up = true;
            }
            Err(misuse) => {
                assert_eq!(misuse, Misuse::UnknownStream, "a stream can always be reset")
            }
        }
    }
    if !answer.complete && !model.gave_up {
        // The connection has reset it by itself, and the event is still to come.
        model.live = Some(live);
    }
    model.check(connection);
}
