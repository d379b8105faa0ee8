//! The client of `h2` against the connection. The application reads, answers and gives up in any order; each
//! request and each answer has to arrive as it was sent.

use super::pipe::{Pipe, poll, polled, take_frame};
use super::{Lines, joined};
use crate::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PREFACE, PRIORITY, frame,
};
use crate::play::chance::Chance;
use crate::play::settings;
use crate::play::{Source, read_more};
use bytes::Bytes;
use h2::client::{Builder, Connection as Client, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use portcullis::{
    Begun, BodyLength, Config, Connection, Event, Events, Misuse, Refusal, ResetReason, Sent,
    StreamId, Tick,
};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::{Arc, LazyLock};

const NOW: Tick = Tick::ZERO;

/// The most frames that are put between those of the client. Each one costs, and no time passes that would
/// refill the budget.
const EXTRA: u32 = 150;

static CONFIGS: LazyLock<[Arc<Config>; 4]> = LazyLock::new(|| {
    let valid = |changes: &[(&str, &str)]| settings::with(changes).expect("valid settings");
    [
        valid(&[]),
        valid(&[
            ("send_buffer_limit", "1024"),
            ("receive_buffer_limit", "1024"),
            ("response_head_limit", "1024"),
            ("http2_concurrent_streams", "3"),
            ("http2_header_table_size", "0"),
        ]),
        valid(&[("send_buffer_limit", "3000"), ("http2_header_table_size", "64KiB")]),
        valid(&[("http2_header_table_size", "100"), ("http2_concurrent_streams", "1")]),
    ]
});

/// Plays `bytes` as a script of the client and the application. At the end both finish what they have begun.
pub fn client(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut play = Play::new(&mut source);
    for _ in 0..300 {
        if source.is_empty() {
            break;
        }
        play.step(&mut source);
    }
    play.finish();
}

/// A request as the client sends it, and the answer that arrives.
struct Asked {
    method: Method,
    target: String,
    lines: Lines,
    content: Vec<u8>,
    trailers: HeaderMap,
    ended: bool,
    reset: bool,
    send: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    /// Content that was received, and for which the window is not open again.
    unreleased: usize,
    heard: Heard,
}

/// What arrives of an answer.
#[derive(Default)]
struct Heard {
    informed: u32,
    head: Option<(StatusCode, HeaderMap)>,
    content: Vec<u8>,
    trailers: HeaderMap,
    ended: bool,
    failed: Option<String>,
}

/// A request as it arrives, and the answer that the application sends.
struct Served {
    id: StreamId,
    method: String,
    target: String,
    lines: HeaderMap,
    content: Vec<u8>,
    trailers: HeaderMap,
    ended: bool,
    reset: Option<ResetReason>,
    informed: u32,
    answer: Option<Answer>,
}

struct Answer {
    status: StatusCode,
    lines: HeaderMap,
    content: Bytes,
    left: Bytes,
    trailers: HeaderMap,
    length: Option<BodyLength>,
    begun: bool,
    done: bool,
    given_up: bool,
}

struct Play {
    server: Connection,
    client: Client<Pipe, Bytes>,
    requests: SendRequest<Bytes>,
    pings: PingPong,
    pipe: Pipe,
    chance: Chance<'static>,
    /// Frames of the client, whole ones or not.
    written: Vec<u8>,
    greeted: bool,
    extra: u32,
    /// Bytes for the server.
    wire: Vec<u8>,
    asked: BTreeMap<u32, Asked>,
    served: BTreeMap<u32, Served>,
    draining: bool,
    pinged: bool,
}

impl Play {
    fn new(source: &mut Source<'_>) -> Play {
        let config = source.one_of(&[0, 1, 2, 3]);
        let server = Connection::new(CONFIGS[config].clone(), NOW);
        let pipe = Pipe::default();
        let mut builder = Builder::new();
        builder.enable_push(false);
        builder.initial_window_size(source.one_of(&[65_535, 1, 1000, 0, 1 << 20]));
        builder.initial_connection_window_size(source.one_of(&[65_535, 1 << 20]));
        builder.header_table_size(source.one_of(&[4096, 0, 64, 1000, 65_536]));
        builder.max_frame_size(source.one_of(&[16_384, 65_536]));
        builder.max_concurrent_reset_streams(1000);
        builder.max_send_buffer_size(1 << 22);
        let mut shaking = Box::pin(builder.handshake(pipe.clone()));
        let shaken = poll(&mut shaking).expect("nothing is waited for");
        let (requests, mut client) = shaken.expect("the preface is written");
        let pings = client.ping_pong().expect("it is taken once");
        let chance = Chance::seeded(source.byte());
        let mut play = Play {
            server,
            client,
            requests,
            pings,
            pipe,
            chance,
            written: Vec::new(),
            greeted: false,
            extra: 0,
            wire: Vec::new(),
            asked: BTreeMap::new(),
            served: BTreeMap::new(),
            draining: false,
            pinged: false,
        };
        // The limits of the server bind the client from here on.
        play.exchange();
        play
    }

    // ---- the script -----------------------------------------------------------------------------

    fn step(&mut self, source: &mut Source<'_>) {
        match source.below(20) {
            0..4 => self.ask(source),
            4..7 => self.upload(source),
            7 => self.flush(),
            8 => drop(self.deliver(source.size() as usize)),
            9 => drop(self.take(source.size() as usize)),
            10 => self.exchange(),
            11 => self.adjust(source),
            12 => self.release(source),
            13..16 => self.answer(source),
            16 => self.read(source),
            17 => self.inform(source),
            18 => self.give_up(source),
            _ if source.below(12) == 0 => {
                self.server.drain(NOW);
                self.draining = true;
            }
            _ => self.exchange(),
        }
    }

    fn ask(&mut self, source: &mut Source<'_>) {
        if !matches!(polled(|context| self.requests.poll_ready(context)), Some(Ok(()))) {
            return;
        }
        let method = source.one_of(&["GET", "POST", "HEAD", "PUT", "CONNECT", "X-OTHER"]);
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let target = match method {
            Method::CONNECT => "a.example:80".to_owned(),
            _ => match source.below(6) {
                0 => format!("/{}", "x".repeat(source.size().min(2000) as usize)),
                1 => "/a/../%C3%A9;b?c=d&e=%20".to_owned(),
                2 => "/?".to_owned(),
                _ => "/".to_owned(),
            },
        };
        let uri = match method {
            Method::CONNECT => target.clone(),
            _ => format!("http://a.example{target}"),
        };
        let mut lines = lines(source);
        let form = source.below(4);
        let mut content = Vec::new();
        if form == 1 {
            content = pattern(self.asked.len(), 0, source.size().min(70_000) as usize);
            lines.push(("content-length".to_owned(), content.len().to_string().into_bytes()));
        }
        let mut request = Request::new(());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.parse().expect("a target");
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = map(&lines);
        let (response, mut send) = match self.requests.send_request(request, form == 0) {
            Ok(begun) => begun,
            Err(_) if self.draining => return,
            Err(error) => panic!("a valid request is not sent: {error}"),
        };
        if form == 1 {
            send.send_data(content.clone().into(), true).expect("content is queued");
        }
        let asked = Asked {
            method,
            target,
            lines,
            content,
            trailers: HeaderMap::new(),
            ended: form < 2,
            reset: false,
            send,
            response: Some(response),
            body: None,
            unreleased: 0,
            heard: Heard::default(),
        };
        self.asked.insert(asked.send.stream_id().as_u32(), asked);
    }

    /// Some request of the client, most often a late one.
    fn any_asked(&mut self, source: &mut Source<'_>) -> Option<(usize, &mut Asked)> {
        let back = source.below(self.asked.len().min(16));
        let place = self.asked.len().checked_sub(back + 1)?;
        self.asked.values_mut().enumerate().nth(place)
    }

    /// Sends content, trailers or a reset on a stream.
    fn upload(&mut self, source: &mut Source<'_>) {
        let Some((place, asked)) = self.any_asked(source) else { return };
        if asked.ended || asked.reset {
            return;
        }
        match source.below(8) {
            0 => {
                let trailers = trailers(source);
                asked.ended = asked.send.send_trailers(trailers.clone()).is_ok();
                if asked.ended {
                    asked.trailers = trailers;
                }
            }
            1 => {
                asked.send.send_reset(Reason::CANCEL);
                asked.reset = true;
            }
            choice => {
                let length = source.size().min(70_000) as usize;
                let content = pattern(place, asked.content.len(), length);
                if asked.send.send_data(content.clone().into(), choice == 2).is_ok() {
                    asked.content.extend(content);
                    asked.ended = choice == 2;
                }
            }
        }
    }

    /// Changes windows, or pings.
    fn adjust(&mut self, source: &mut Source<'_>) {
        match source.below(4) {
            0 => {
                let size = source.one_of(&[0, 1, 1000, 65_535, 1 << 20]);
                // It fails as long as the last change is not acknowledged.
                let _ = self.client.set_initial_window_size(size);
            }
            1 => self.client.set_target_window_size(source.one_of(&[65_535, 70_000, 1 << 20])),
            2 => self.pinged |= self.pings.send_ping(Ping::opaque()).is_ok(),
            _ => {
                if let Some(Ok(_)) = polled(|context| self.pings.poll_pong(context)) {
                    self.pinged = false;
                }
            }
        }
    }

    /// Opens the window of a stream by what was received, or by a part of it.
    fn release(&mut self, source: &mut Source<'_>) {
        let Some((_, asked)) = self.any_asked(source) else { return };
        let bytes = asked.unreleased.min(source.size() as usize);
        asked.release(bytes);
    }

    fn any_served(&mut self, source: &mut Source<'_>) -> Option<(u32, &mut Served)> {
        let back = source.below(self.served.len().min(16));
        let place = self.served.len().checked_sub(back + 1)?;
        self.served.iter_mut().nth(place).map(|(id, served)| (*id, served))
    }

    fn answer(&mut self, source: &mut Source<'_>) {
        let Some((id, served)) = self.any_served(source) else { return };
        if served.answer.is_some() || served.reset.is_some() {
            return;
        }
        let status = match served.method.as_str() {
            // A tunnel is no answer.
            "CONNECT" => 404,
            _ => source.one_of(&[200, 404, 204, 304, 299, 500]),
        };
        let content = Bytes::from(pattern(id as usize, 0, source.size().min(70_000) as usize));
        let (mut length, mut trails) = (None, HeaderMap::new());
        match source.below(3) {
            0 => {}
            1 => length = Some(BodyLength::Known(content.len() as u64)),
            _ => {
                length = Some(BodyLength::Unknown);
                trails = trailers(source);
            }
        }
        served.answer = Some(Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            lines: map(&lines(source)),
            left: content.clone(),
            content,
            trailers: trails,
            length,
            begun: false,
            done: false,
            given_up: false,
        });
        self.writable();
    }

    fn read(&mut self, source: &mut Source<'_>) {
        let Some((_, served)) = self.any_served(source) else { return };
        let id = served.id;
        let size = source.size();
        let _ = read_more(self.server.stream(NOW, id), size);
    }

    fn inform(&mut self, source: &mut Source<'_>) {
        let Some((_, served)) = self.any_served(source) else { return };
        let id = served.id;
        if served.informed < 3 {
            let lines = map(&lines(source));
            let sent = self.server.stream(NOW, id).inform(StatusCode::EARLY_HINTS, &lines);
            if sent.is_ok()
                && let Some(served) = self.served.get_mut(&number(id))
            {
                served.informed += 1;
            }
        }
    }

    fn give_up(&mut self, source: &mut Source<'_>) {
        let choice = source.below(6);
        let Some((_, served)) = self.any_served(source) else { return };
        let id = served.id;
        let mut stream = self.server.stream(NOW, id);
        let given_up = match choice {
            0 => stream.reset().is_ok(),
            1 => stream.refuse(Refusal::Unavailable).is_ok(),
            2 => stream.cancel_read().is_err(),
            _ => return,
        };
        if let (true, Some(served)) = (given_up && choice < 2, self.served.get_mut(&number(id))) {
            served.reset = Some(ResetReason::Cancelled);
        }
    }

    // ---- the bytes ------------------------------------------------------------------------------

    /// Everything moves until nothing does.
    fn exchange(&mut self) {
        loop {
            self.flush();
            let moved = self.deliver(usize::MAX) + self.take(usize::MAX);
            if moved == 0 {
                return;
            }
        }
    }

    /// The client is polled, and its frames are put on the wire.
    fn flush(&mut self) {
        match poll(&mut self.client) {
            None => {}
            Some(Ok(())) => assert!(self.draining, "the client has ended"),
            Some(Err(error)) => panic!("the client refuses our frames: {error}: {:?}", self.server),
        }
        for asked in self.asked.values_mut() {
            asked.hear();
        }
        self.written.extend(self.pipe.read());
        if !self.greeted && self.written.len() >= PREFACE.len() {
            self.wire.extend(self.written.drain(..PREFACE.len()));
            self.greeted = true;
            // SETTINGS have to come first.
            self.wire.extend(take_frame(&mut self.written).expect("SETTINGS"));
        }
        while let Some(frame) = self.greeted.then(|| take_frame(&mut self.written)).flatten() {
            self.rewrite(&frame);
        }
    }

    /// Puts a frame on the wire: as it is, or in several frames that say the same. Others that mean nothing
    /// may come between.
    fn rewrite(&mut self, bytes: &[u8]) {
        let (header, payload) = bytes.split_at(9);
        let (kind, flags) = (header[3], header[4]);
        let id = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        let changes = self.extra < EXTRA && self.chance.one_in(4);
        match kind {
            HEADERS if changes => {
                let mut first = payload.to_vec();
                let mut rest = first.split_off(self.chance.below(first.len() as u64 + 1) as usize);
                let mut more = 0;
                if self.chance.one_in(2) {
                    more |= 0x20;
                    first.splice(0..0, [0, 0, 0, 0, 7]);
                }
                if self.chance.one_in(2) {
                    more |= PADDED;
                    let padding = self.chance.below(20);
                    first.insert(0, padding as u8);
                    first.extend(vec![0; padding as usize]);
                }
                self.wire.extend(frame(HEADERS, (flags | more) & !END_HEADERS, id, &first));
                while self.chance.one_in(2) && self.extra < EXTRA {
                    let tail = rest.split_off(self.chance.below(rest.len() as u64 + 1) as usize);
                    self.wire.extend(frame(CONTINUATION, 0, id, &rest));
                    rest = tail;
                    self.extra += 1;
                }
                self.wire.extend(frame(CONTINUATION, flags & END_HEADERS, id, &rest));
                self.extra += 2;
            }
            DATA if changes => {
                let size = self.chance.between(16, 4000) as usize;
                let mut pieces = payload.chunks(size).peekable();
                if payload.is_empty() {
                    self.wire.extend_from_slice(bytes);
                }
                while let Some(piece) = pieces.next() {
                    let flags = if pieces.peek().is_none() { flags } else { flags & !END_STREAM };
                    self.wire.extend(frame(DATA, flags, id, piece));
                }
                self.extra += 1;
            }
            _ if changes => {
                let other = self.chance.one_of(&[id, 1, 3, 99]).max(1);
                match self.chance.below(3) {
                    0 => self.wire.extend(frame(PRIORITY, 0, other, &[0, 0, 0, 0, 3])),
                    1 => self.wire.extend(frame(77, 255, other, &[1; 30])),
                    _ => self.wire.extend(frame(16, 0, 0, &[0, 0, 0, 1, b'u', b'=', b'1'])),
                }
                self.wire.extend_from_slice(bytes);
                self.extra += 1;
            }
            _ => self.wire.extend_from_slice(bytes),
        }
    }

    /// The server reads up to `most` bytes. Returns how many.
    fn deliver(&mut self, most: usize) -> usize {
        let mut read = 0;
        loop {
            if self.server.status().resume {
                let events = self.server.resume(NOW);
                pull(events, &mut self.served);
                self.writable();
            }
            let length = self.wire.len().min(most - read).min(self.server.receive_limit());
            if length == 0 || !self.server.status().read {
                break;
            }
            let mut piece: Vec<u8> = self.wire.drain(..length).collect();
            let events = self.server.receive(NOW, &mut piece).expect("it reads");
            pull(events, &mut self.served);
            read += length;
            self.writable();
        }
        let status = self.server.status();
        assert!(status.is_open(), "it refuses the client: {:?}", self.server);
        let (memory, bound) = (self.server.memory(), self.server.memory_bound());
        assert!(memory <= bound, "memory: {memory} of {bound}");
        read
    }

    /// Answers that were told of room go on.
    fn writable(&mut self) {
        let Play { served, server, .. } = self;
        served.values_mut().for_each(|served| served.go_on(server));
    }

    /// The client takes up to `most` bytes of what the server sends. Returns how many.
    fn take(&mut self, most: usize) -> usize {
        let mut taken = 0;
        while self.server.status().write && taken < most {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = self.server.outgoing(&mut slices);
            let mut bytes: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
            bytes.truncate(most - taken);
            self.server.sent(NOW, bytes.len());
            taken += bytes.len();
            self.pipe.write(&bytes);
        }
        taken
    }

    // ---- the end --------------------------------------------------------------------------------

    fn finish(mut self) {
        self.exchange();
        // Without a window there is no answer.
        let widened = self.client.set_initial_window_size(65_535);
        assert!(widened.is_ok() || self.draining, "a change of settings is not acknowledged");
        // As many rounds as requests may wait for a place.
        for _ in 0..1000 {
            for asked in self.asked.values_mut() {
                if !asked.ended && !asked.reset {
                    asked.ended = asked.send.send_data(Bytes::new(), true).is_ok();
                }
                asked.release(asked.unreleased);
            }
            for (id, served) in &mut self.served {
                let _ = self.server.stream(NOW, served.id).read_to(u64::MAX);
                if served.answer.is_none() && served.reset.is_none() {
                    served.answer = Some(Answer::last(*id));
                }
                served.go_on(&mut self.server);
            }
            let before = (self.asked.values().map(Asked::progress).sum::<usize>(), self.pinged);
            self.exchange();
            if let Some(Ok(_)) = polled(|context| self.pings.poll_pong(context)) {
                self.pinged = false;
            }
            let waits = self.asked.values().any(|asked| asked.unreleased > 0);
            let after = (self.asked.values().map(Asked::progress).sum::<usize>(), self.pinged);
            if before == after && !waits && self.served.values().all(Served::is_settled) {
                break;
            }
        }
        assert!(!self.pinged || self.draining, "a ping is not answered");
        for (id, asked) in &self.asked {
            self.check(*id, asked);
        }
        let unknown = self.served.keys().find(|id| !self.asked.contains_key(id));
        assert_eq!(unknown, None, "a request that was never sent");
    }

    fn check(&self, id: u32, asked: &Asked) {
        let Some(served) = self.served.get(&id) else {
            let why = &asked.heard.failed;
            assert!(asked.reset || self.draining, "{id}: the request never arrived: {why:?}");
            return;
        };
        let told = (served.method.as_str(), served.target.as_str());
        assert_eq!(told, (asked.method.as_str(), asked.target.as_str()), "{id}");
        let sent = asked.lines.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        assert_eq!(served.lines, joined(sent), "{id}: fields of the request");
        assert!(asked.content.starts_with(&served.content), "{id}: content of the request");
        if served.ended {
            assert!(asked.ended, "{id}: the request ended early");
            assert_eq!(served.content.len(), asked.content.len(), "{id}: content is missing");
            assert_eq!(served.trailers, asked.trailers, "{id}: trailers of the request");
        }
        let Some(answer) = &served.answer else { return };
        let heard = &asked.heard;
        let cut = asked.reset || answer.given_up || served.reset.is_some();
        if !cut {
            assert!(answer.done && heard.ended, "{id}: the answer hangs: {:?}", self.server);
            assert_eq!(heard.failed, None, "{id}: the answer fails");
            assert_eq!(heard.informed, served.informed, "{id}: interim answers");
        }
        let Some((status, fields)) = &heard.head else { return };
        if served.reset.is_some() && *status == StatusCode::SERVICE_UNAVAILABLE {
            return;
        }
        assert_eq!(*status, answer.status, "{id}");
        let mut others = fields.clone();
        for name in answer.lines.keys() {
            let of = |map: &HeaderMap| map.get_all(name).iter().cloned().collect::<Vec<_>>();
            assert_eq!(of(fields), of(&answer.lines), "{id}: fields of the answer");
            others.remove(name);
        }
        let length = others.remove("content-length");
        assert!(others.is_empty(), "{id}: fields that nobody sent: {others:?}");
        let bare = asked.method == Method::HEAD || matches!(status.as_u16(), 204 | 304);
        let content = if bare { Bytes::new() } else { answer.content.clone() };
        assert!(content.starts_with(&heard.content), "{id}: content of the answer");
        if heard.ended && heard.failed.is_none() {
            assert_eq!(heard.content.len(), content.len(), "{id}: content is missing");
            let trailers = if bare { HeaderMap::new() } else { answer.trailers.clone() };
            assert_eq!(heard.trailers, trailers, "{id}: trailers of the answer");
            if let (Some(length), false) = (length, bare) {
                assert_eq!(length.as_bytes(), content.len().to_string().as_bytes(), "{id}");
            }
        }
    }
}

impl Asked {
    fn progress(&self) -> usize {
        let heard = &self.heard;
        heard.content.len()
            + usize::from(heard.head.is_some())
            + usize::from(heard.ended)
            + usize::from(self.ended)
    }

    /// Takes what has arrived of the answer.
    fn hear(&mut self) {
        let heard = &mut self.heard;
        if let Some(response) = &mut self.response {
            while let Some(Some(Ok(_))) = polled(|context| response.poll_informational(context)) {
                heard.informed += 1;
            }
            match poll(response) {
                None => return,
                Some(Ok(answer)) => {
                    let (parts, body) = answer.into_parts();
                    heard.head = Some((parts.status, parts.headers));
                    self.body = Some(body);
                }
                Some(Err(error)) => heard.fail(&error),
            }
            self.response = None;
        }
        let Some(body) = &mut self.body else { return };
        while !heard.ended {
            match polled(|context| body.poll_data(context)) {
                None => return,
                Some(Some(Ok(content))) => {
                    self.unreleased += content.len();
                    heard.content.extend_from_slice(&content);
                }
                Some(Some(Err(error))) => heard.fail(&error),
                Some(None) => match polled(|context| body.poll_trailers(context)) {
                    None => return,
                    Some(Ok(trailers)) => {
                        heard.trailers = trailers.unwrap_or_default();
                        heard.ended = true;
                    }
                    Some(Err(error)) => heard.fail(&error),
                },
            }
        }
    }

    fn release(&mut self, bytes: usize) {
        if let Some(body) = &mut self.body {
            // It fails once the stream has ended.
            let _ = body.flow_control().release_capacity(bytes);
        }
        self.unreleased -= bytes;
    }
}

impl Heard {
    fn fail(&mut self, error: &h2::Error) {
        self.failed = Some(error.to_string());
        self.ended = true;
    }
}

impl Served {
    fn is_settled(&self) -> bool {
        let is_over = |answer: &Answer| answer.done || answer.given_up;
        self.reset.is_some() || self.answer.as_ref().is_some_and(is_over)
    }

    /// The answer goes on as far as there is room.
    fn go_on(&mut self, server: &mut Connection) {
        let Some(answer) = &mut self.answer else { return };
        if answer.done || answer.given_up {
            return;
        }
        let over = answer.write(server, self.id);
        match over {
            Ok(done) => answer.done = done,
            Err(Misuse::Full) => {}
            Err(Misuse::UnknownStream) => answer.given_up = true,
            Err(misuse) => panic!("{}: {misuse}", self.id),
        }
        assert!(
            !answer.given_up || self.reset.is_some() || server.status().resume,
            "{}: the stream is gone, and nobody was told",
            self.id
        );
    }
}

impl Answer {
    /// An answer for the end of the play.
    fn last(id: u32) -> Answer {
        let content = Bytes::from(pattern(id as usize, 0, 3000));
        Answer {
            status: StatusCode::NOT_FOUND,
            lines: HeaderMap::new(),
            left: content.clone(),
            content,
            trailers: HeaderMap::new(),
            length: Some(BodyLength::Unknown),
            begun: false,
            done: false,
            given_up: false,
        }
    }

    /// Returns whether it is complete.
    fn write(&mut self, server: &mut Connection, id: StreamId) -> Result<bool, Misuse> {
        let mut stream = server.stream(NOW, id);
        if !self.begun {
            match self.length {
                None => {
                    if stream.answer(self.status, &self.lines, &mut self.left)? == Sent::All {
                        return Ok(true);
                    }
                }
                Some(length) => {
                    if stream.respond(self.status, &self.lines, length)? == Begun::Complete {
                        return Ok(true);
                    }
                }
            }
            self.begun = true;
        }
        if !self.left.is_empty() && stream.send(&mut self.left)? == Sent::Part {
            return Ok(false);
        }
        let trailers = (!self.trailers.is_empty()).then_some(&self.trailers);
        stream.finish(trailers)?;
        Ok(true)
    }
}

/// Takes all events.
fn pull(mut events: Events<'_, '_>, all: &mut BTreeMap<u32, Served>) {
    while let Some((_, event)) = events.next() {
        match event {
            Event::Request { stream, head } => {
                let mut fields = head.fields().peekable();
                let host = fields.next_if(|(name, _)| *name == "host");
                let named = if head.method() == "CONNECT" { "a.example:80" } else { "a.example" };
                assert_eq!(host.map(|host| host.1), Some(named.as_bytes()));
                let served = Served {
                    id: stream,
                    method: head.method().to_owned(),
                    target: head.target().to_owned(),
                    lines: joined(fields),
                    content: Vec::new(),
                    trailers: HeaderMap::new(),
                    ended: false,
                    reset: None,
                    informed: 0,
                    answer: None,
                };
                let before = all.insert(number(stream), served);
                assert!(before.is_none(), "{stream} begins twice");
            }
            Event::Data { stream, data, .. } => {
                let served = all.get_mut(&number(stream)).expect("a stream that has begun");
                assert!(!served.ended && served.reset.is_none(), "{stream}: late content");
                served.content.extend_from_slice(data);
            }
            Event::End { stream, trailers } => {
                let served = all.get_mut(&number(stream)).expect("a stream that has begun");
                assert!(!served.ended && served.reset.is_none(), "{stream} ends twice");
                served.ended = true;
                served.trailers = trailers.to_http().unwrap_or_default();
            }
            Event::Writable { .. } => {}
            Event::Reset { stream, reason } => {
                let served = all.get_mut(&number(stream)).expect("a stream that has begun");
                assert!(served.reset.is_none(), "{stream} is reset twice");
                assert_eq!(reason, ResetReason::Cancelled, "{stream}");
                served.reset = Some(reason);
            }
            other => panic!("not an event of HTTP/2: {other:?}"),
        }
    }
}

fn number(id: StreamId) -> u32 {
    u32::try_from(id.as_u64()).expect("the number of a stream")
}

/// Content in which each byte tells its place.
fn pattern(stream: usize, start: usize, length: usize) -> Vec<u8> {
    (start..start + length).map(|place| (place * 7 + place / 256 + stream * 31) as u8).collect()
}

fn map(lines: &Lines) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        map.append(name, HeaderValue::from_bytes(value).expect("a value"));
    }
    map
}

fn trailers(source: &mut Source<'_>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for _ in 0..source.below(3) {
        let name = source.one_of(&["x-sum", "x-a", "grpc-status"]);
        let value = HeaderValue::from_bytes(&value(source)).expect("a value");
        trailers.append(HeaderName::from_static(name), value);
    }
    trailers
}

/// Fields of a request or an answer.
fn lines(source: &mut Source<'_>) -> Lines {
    const NAMES: [&str; 12] = [
        "x-a",
        "x-b",
        "cookie",
        "server",
        "set-cookie",
        "vary",
        "content-type",
        "date",
        "accept-encoding",
        "a!#$%&'*+-.^_`|~09",
        "x-request-id",
        "cache-control",
    ];
    let count = source.below(5);
    (0..count).map(|_| (source.one_of(&NAMES).to_owned(), value(source))).collect()
}

/// A value of a field: some of them repeat, and others have any byte that may occur.
fn value(source: &mut Source<'_>) -> Vec<u8> {
    match source.below(4) {
        0 => source.one_of(&["", "a", "text/html", "gzip, deflate"]).as_bytes().to_vec(),
        1 => vec![b'v'; source.below(200)],
        _ => {
            let count = source.below(24);
            let raw = source.raw(count).iter().map(|byte| match byte {
                0..=32 => b'!' + byte,
                127 => b'~',
                other => *other,
            });
            raw.collect()
        }
    }
}
