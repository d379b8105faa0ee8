//! Actions of an application on a websocket, in any order, sensible or not. The results are
//! compared with the model.

use super::http_actions::{self, FIELDS, seen};
use super::model::{Model, pattern, unsent};
use super::source::Source;
use super::websocket_frames::HANDSHAKE;
use super::websocket_model::{Sent, Socket};
use bytes::Bytes;
use portcullis::websocket::{Accepted, Handshake};
use portcullis::{Connection, Misuse, Status, StreamId, Tick};
use std::sync::LazyLock;

/// The acceptance of an application that does not look at the request.
static ANY: LazyLock<Accepted> = LazyLock::new(|| {
    let mut request = http::Request::new(());
    let text = str::from_utf8(HANDSHAKE).expect("ASCII");
    for line in text.split("\r\n").filter_map(|line| line.split_once(": ")) {
        let name = http::HeaderName::from_bytes(line.0.as_bytes()).expect("a name");
        request.headers_mut().append(name, http::HeaderValue::from_static(line.1));
    }
    let handshake = Handshake::read(&request).expect("a valid handshake");
    handshake.accept(None, None).expect("no subprotocol was chosen")
});

const CODES: [Option<u16>; 12] = [
    None,
    Some(1000),
    Some(1001),
    Some(1011),
    Some(3000),
    Some(4999),
    Some(1004),
    Some(1005),
    Some(999),
    Some(2000),
    Some(5000),
    Some(u16::MAX),
];

/// Plays one action on some stream, if there has been one.
pub fn act(connection: &mut Connection, source: &mut Source<'_>, model: &mut Model, now: Tick) {
    let choice = source.below(32);
    let newest = model.socket.as_ref().map(|socket| socket.id);
    let newest = newest.or(model.live.as_ref().map(|live| live.id));
    let stream = match newest {
        Some(newest) if source.below(16) > 0 => newest,
        _ if model.known.is_empty() => return http_actions::whole(connection, source, model, now),
        _ => model.known[source.below(model.known.len())],
    };
    let before = seen(connection);
    let result = match choice {
        0..10 => message(connection, source, model, now, stream),
        10..14 => ping(connection, source, model, now, stream),
        14..16 => {
            let code = source.one_of(&CODES);
            let reason = source.one_of(&["", "bye", LONG]);
            close(connection, model, now, stream, code, reason)
        }
        16..24 => http_actions::request(connection, source, model, now, stream),
        24..28 => {
            let fields = &FIELDS[source.below(4 * FIELDS.len()).saturating_sub(3 * FIELDS.len())];
            let any = source.below(8) == 0;
            accept(connection, model, now, stream, fields, any)
        }
        28..31 => return http_actions::act(connection, source, model, now),
        _ => return http_actions::whole(connection, source, model, now),
    };
    model.note(result);
    if let Err(misuse) = result {
        http_actions::check_misuse(connection, model, stream, misuse, before);
        check_misuse(model, stream, misuse, before.0);
    }
    model.check(connection);
}

/// A reason that is too long, and has a character across the limit.
const LONG: &str = "as the day is long, \u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\
    \u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\
    \u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\
    \u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}";

/// Checks that the misuse fits the state.
fn check_misuse(model: &Model, stream: StreamId, misuse: Misuse, status: Status) {
    let Some(socket) = &model.socket else {
        assert_ne!(misuse, Misuse::IsWebSocket, "the stream is not a websocket");
        return;
    };
    assert_ne!(misuse, Misuse::NotWebSocket, "the stream is a websocket");
    let open = status.is_open();
    if misuse == Misuse::UnknownStream && stream == socket.id && open && socket.speaks() {
        assert!(
            socket.idles,
            "the websocket is open, but the connection does not know it: {socket:?}"
        );
    }
}

/// Accepts the websocket with its handshake, or with `any`, as an application may that does not
/// look at the request.
pub fn accept(
    connection: &mut Connection,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
    fields: &http::HeaderMap,
    any: bool,
) -> Result<(), Misuse> {
    let accepted = model.accepted.clone().filter(|_| !any).unwrap_or_else(|| ANY.clone());
    let terms = model.terms.expect("a session of websockets");
    let start = model.taken.len() + unsent(connection);
    connection.stream(now, stream).accept_websocket(&accepted, fields, terms.options)?;
    let live = model.live.take().expect("a dead stream was made a websocket");
    assert!(live.id == stream && !live.begun && live.http11);
    let mut socket = Socket::new(stream, start, terms, &accepted, &model.config);
    socket.drained = model.draining;
    assert!(model.socket.replace(socket).is_none(), "a second websocket");
    Ok(())
}

fn message(
    connection: &mut Connection,
    source: &mut Source<'_>,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
) -> Result<(), Misuse> {
    let other = source.below(8) == 0;
    let room = connection.stream(Tick::ZERO, stream).room() as u64;
    let mut ours = model.socket.as_mut().filter(|socket| socket.id == stream);
    let owed = ours.as_mut().and_then(|socket| {
        // Without compression the rest of a message may come from another one.
        let exchanged = other && !socket.deflates;
        socket.rest.take_if(|_| !exchanged)
    });
    let (text, mut data) = owed.unwrap_or_else(|| {
        let offset = u64::from(source.byte());
        // A message that does not fit is more useful than chance would have it.
        let size = match source.below(4) {
            0 => room + u64::from(source.byte()) * 8,
            _ => source.size(),
        };
        (source.below(2) == 0, Bytes::from_static(pattern(offset, size.min(70_000))))
    });
    let (offered, before) = (data.clone(), unsent(connection));
    let result = connection.stream(now, stream).send_message(text, &mut data);
    let grown = unsent(connection) - before;
    let Some(socket) = model.socket.as_mut().filter(|socket| socket.id == stream) else {
        assert!(result.is_err() && data == offered);
        return result.map(drop);
    };
    let is_begun = socket.messages.last().is_some_and(|sent| !sent.complete);
    let Ok(all) = result.map(|sent| sent == portcullis::Sent::All) else {
        assert!(data == offered && grown == 0, "a refused call took bytes");
        if is_begun {
            socket.rest.get_or_insert((text, offered));
        }
        return result.map(drop);
    };
    assert!(socket.close.is_none() && !socket.reset, "sent after the end");
    assert!(!all || data.is_empty(), "reported as complete with {} bytes left", data.len());
    socket.cut |= !all;
    if grown == 0 {
        assert!(!all && data == offered, "bytes were taken, but not sent");
        if is_begun {
            socket.rest.get_or_insert((text, offered));
        }
        return Ok(());
    }
    let taken = offered.len().saturating_sub(data.len());
    let accepted = if socket.deflates { &offered[..] } else { &offered[..taken] };
    match socket.messages.last_mut().filter(|sent| !sent.complete) {
        Some(sent) if socket.deflates => sent.complete = all,
        Some(sent) => {
            sent.plain.extend_from_slice(accepted);
            sent.complete = all;
        }
        None => socket.messages.push(Sent { text, plain: accepted.to_vec(), complete: all }),
    }
    socket.rest = (!all).then_some((text, data));
    Ok(())
}

fn ping(
    connection: &mut Connection,
    source: &mut Source<'_>,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
) -> Result<(), Misuse> {
    let payload = pattern(7, source.size().min(200));
    let unsent = unsent(connection) as u64;
    let result = connection.stream(now, stream).ping(payload);
    match result {
        Err(Misuse::TooLong { .. }) => assert!(payload.len() > 125),
        Err(Misuse::Full) => assert!(unsent >= model.config.send_buffer_limit()),
        Err(_) => {}
        Ok(()) => {
            let socket = model.socket.as_mut().expect("a websocket is pinged");
            assert!(socket.close.is_none() && socket.id == stream && payload.len() <= 125);
            socket.pings.push(payload.to_vec());
        }
    }
    result
}

/// Closes, or answers the peer's close.
fn close(
    connection: &mut Connection,
    model: &mut Model,
    now: Tick,
    stream: StreamId,
    code: Option<u16>,
    reason: &str,
) -> Result<(), Misuse> {
    let valid = code.is_none_or(|code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999));
    connection.stream(now, stream).close(code, reason)?;
    let socket = model.socket.as_mut().expect("a websocket is closed");
    assert!(valid && socket.speaks() && socket.id == stream, "closed again");
    let (code, reason) = match socket.closing {
        Some(code) => (code, ""),
        None => (code, cut(reason)),
    };
    socket.close = Some(match code {
        Some(code) => [&code.to_be_bytes()[..], reason.as_bytes()].concat(),
        None => Vec::new(),
    });
    (socket.cut, socket.rest) = (false, None);
    Ok(())
}

/// The part of a reason that fits into a close frame, cut between characters.
fn cut(reason: &str) -> &str {
    let most = reason.len().min(123);
    let end = (0..=most).rev().find(|end| reason.is_char_boundary(*end));
    &reason[..end.unwrap_or_default()]
}

/// Gives up the websocket.
pub fn leave(connection: &mut Connection, model: &mut Model, now: Tick) {
    let id = model.socket.as_ref().expect("a websocket").id;
    let before = connection.status();
    match close(connection, model, now, id, Some(1000), "bye") {
        Ok(()) => {}
        Err(misuse) => {
            assert_eq!(misuse, Misuse::UnknownStream, "a websocket can always be closed");
            check_misuse(model, id, misuse, before);
            // The connection has closed it by itself.
            model.socket.as_mut().expect("a websocket").silent = true;
        }
    }
    model.check(connection);
}
