//! Requests, contents, websockets, and the end of a server.

use super::*;

/// Answers after a look at the head, except for `/later`.
#[derive(Clone)]
pub(crate) struct OnTheSpot;

impl Service<Native> for OnTheSpot {
    type ResponseBody = Full<Bytes>;
    type Future = Ready<Result<Response<Full<Bytes>>, BoxError>>;

    fn call(&mut self, incoming: Incoming<'_>) -> Reply<Self::Future> {
        let length = HeaderValue::from_static("7");
        match incoming.head().path() {
            "/large" => incoming.answer(StatusCode::OK, None, vec![b'x'; LARGE].into()),
            "/wrong" => incoming.answer(StatusCode::OK, [(&CONTENT_LENGTH, &length)], Bytes::new()),
            "/refused" => incoming.refuse(Refusal::Field),
            "/later" => incoming.handle(|request| {
                let host = Bytes::copy_from_slice(request.headers()[HOST].as_bytes());
                ready(Ok(Response::new(Full::new(host))))
            }),
            path => {
                let content = format!("{path} for {}", incoming.peer_address());
                incoming.answer(StatusCode::ACCEPTED, None, content.into())
            }
        }
    }
}

pub fn many_clients_at_once_are_served<A: Adapter>() {
    let address = start::<A, _, _>(hello);
    thread::scope(|scope| {
        let answers: Vec<_> = (0..50).map(|_| scope.spawn(|| ask(address, GET))).collect();
        for answer in answers {
            assert!(answer.join().expect("no panic").ends_with("\r\n\r\nhello"));
        }
    });
}

pub fn an_axum_router_is_served_as_it_is<A: Adapter>() {
    let router = Router::new()
        .route("/greet/{name}", get(|Path(name): Path<String>| async move { format!("hi {name}") }))
        .route("/up", post(|content: String| async move { content.to_uppercase() }));
    let address = start::<A, _, _>(router);
    let greeted = "GET /greet/you HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(ask(address, greeted).ends_with("\r\n\r\nhi you"));
    let up = "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nloud";
    assert!(ask(address, up).ends_with("\r\n\r\nLOUD"));
    assert!(ask(address, GET).starts_with("HTTP/1.1 404 "));
}

pub fn a_native_service_answers_on_the_spot<A: Adapter>() {
    let (listener, address) = listener();
    let stats = Arc::new(Stats::new());
    start_server::<A, _, _, _, _>(
        A::server(listener, Arc::default(), OnTheSpot).stats(stats.clone()),
    );
    let get = |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        ask(address, &request)
    };
    let small = get("GET", "/small?query");
    assert!(small.starts_with("HTTP/1.1 202 Accepted\r\n") && small.contains("\r\ndate: "));
    assert!(small.contains("\r\n\r\n/small for 127.0.0.1:"), "{small}");
    let large = get("GET", "/large");
    assert_eq!(large.split_once("\r\n\r\n").map(|(_, content)| content.len()), Some(LARGE));
    let head = get("HEAD", "/large");
    assert!(head.contains("content-length: 1000000\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(get("GET", "/later").ends_with("\r\n\r\nh"));
    assert!(get("GET", "/wrong").starts_with("HTTP/1.1 500 "));
    assert!(get("GET", "/refused").starts_with("HTTP/1.1 400 "));
    // Unread content must not keep the next request from being answered.
    let two = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let two = ask(address, two);
    assert!(two.contains("/a for ") && two.contains("/b for 127.0.0.1:"), "{two}");
    open(&stats, 0);
}

pub fn a_handler_of_axum_becomes_a_websocket<A: Adapter>() {
    let counts = |request: axum::extract::Request| async move {
        let upgrade = match Upgrade::new(&request) {
            Ok(upgrade) => upgrade.protocol("even").expect("it is offered"),
            Err(bad) => return refuse_upgrade(bad),
        };
        upgrade.accept::<axum::body::Body, _>(async |mut websocket| {
            let mut count = 0;
            while let Some(Ok(message)) = websocket.receive().await {
                count += 1;
                let kind = if matches!(message, Message::Text(_)) { "text" } else { "bytes" };
                websocket.send(format!("{kind} {count}")).await.expect("it is open");
                if count == 2 {
                    break;
                }
            }
        })
    };
    let address = start::<A, _, _>(Router::new().route("/ws", get(counts)));
    let said = [frame(0x81, b"a"), frame(0x82, b"b"), frame(0x88, &1000u16.to_be_bytes())];
    let (head, answers) = talk(address, &said.concat());
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\ndate: "), "{head}");
    assert!(head.contains("\r\nsec-websocket-protocol: even\r\n"), "{head}");
    // The end of the handler closes the websocket with 1000.
    assert_eq!(answers, b"\x81\x06text 1\x81\x07bytes 2\x88\x02\x03\xe8");
    assert!(ask(address, GET).starts_with("HTTP/1.1 404 "));
    let plain = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(ask(address, plain).starts_with("HTTP/1.1 426 "));
}

pub fn a_websocket_tells_how_it_ended_and_may_be_used_from_another_task<A: Adapter>() {
    let (told, ends) = channel();
    let service = move |request: Request<Body>| {
        let told = told.clone();
        async move {
            let upgrade = Upgrade::new(&request).expect("it asks well").message_limit(10);
            upgrade.accept::<Full<Bytes>, _>(async move |mut websocket| {
                let (done, ended) = async_channel::bounded::<()>(1);
                A::spawn(async move {
                    while let Some(Ok(message)) = websocket.receive().await {
                        websocket.send(message).await.expect("it is open");
                    }
                    told.send(websocket.closed()).expect("the test waits");
                    drop(done);
                });
                // The handler may be dropped first, because the connection is closed by now.
                _ = ended.recv().await;
            })
        }
    };
    let address = start::<A, _, _>(service);
    let close = [&4000u16.to_be_bytes()[..], b"enough"].concat();
    let (_, answers) = talk(address, &[frame(0x81, b"hi"), frame(0x88, &close)].concat());
    assert_eq!(answers, b"\x81\x02hi\x88\x02\x0f\xa0");
    let by_peer = Closed::Peer(CloseFrame { code: Some(4000), reason: "enough".into() });
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(Some(by_peer)));
    let (_, answers) = talk(address, &frame(0x81, b"eleven byte"));
    assert_eq!(answers, b"\x88\x13\x03\xf1message_too_large");
    let too_large = ResetReason::Violation(Violation::TooLarge);
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(Some(Closed::Reset(too_large))));
}

pub fn a_websocket_ends_with_its_handler_though_it_was_given_away<A: Adapter>() {
    let (given, kept) = channel();
    let service = move |request: Request<Body>| {
        let given = given.clone();
        async move {
            let upgrade = Upgrade::new(&request).expect("it asks well");
            upgrade.accept::<Full<Bytes>, _>(async move |websocket| {
                given.send(websocket).expect("the test waits");
            })
        }
    };
    let (_, answers) = talk(start::<A, _, _>(service), &frame(0x88, &1000u16.to_be_bytes()));
    assert_eq!(answers, b"\x88\x02\x03\xe8");
    assert!(kept.recv_timeout(PATIENCE).expect("it was given away").closed().is_some());
}

pub fn the_peer_address_is_told_on_demand<A: Adapter>() {
    let tell = |request: Request<Body>| async move {
        let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0.clone());
        let ip = peer.and_then(|peer| peer.ip()).map(|ip| ip.to_string());
        Response::new(Full::<Bytes>::from(ip.unwrap_or_default()))
    };
    for (demand, expected) in [(false, "\r\n\r\n"), (true, "\r\n\r\n127.0.0.1")] {
        let (listener, address) = listener();
        let server = A::server(listener, Arc::default(), tell);
        start_server::<A, _, _, _, _>(if demand { server.tell_peer_address() } else { server });
        assert!(ask(address, GET).ends_with(expected));
    }
}

pub fn the_peer_address_is_the_one_in_the_header_of_a_trusted_proxy<A: Adapter>() {
    let tell = |request: Request<Body>| async move {
        let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0.to_string());
        Response::new(Full::<Bytes>::from(peer.unwrap_or_default()))
    };
    let source = |text: &str| text.parse::<ProxySource>().expect("a source");
    let header = "PROXY TCP6 2001:db8::7 ::1 258 80\r\n";
    for (proxies, header, expected) in [
        (["10.0.0.0/8", "127.0.0.0/8"], header, "\r\n\r\n[2001:db8::7]:258"),
        // Nothing is answered.
        (["10.0.0.0/8", "127.0.0.0/8"], "", ""),
        (["10.0.0.0/8", "unix"], header, "400 Bad Request"),
    ] {
        let (listener, address) = listener();
        let (server, stats) = (A::server(listener, Arc::default(), tell), Arc::new(Stats::new()));
        let server = server.tell_peer_address().stats(stats.clone());
        start_server::<A, _, _, _, _>(server.trust_proxies(proxies.map(source)));
        let answer = ask(address, &format!("{header}{GET}"));
        assert!(answer.contains(expected), "{answer}");
        if expected.is_empty() {
            assert_eq!(answer, "");
            open(&stats, 0);
            assert_eq!(stats.snapshot().closes, [("proxy_header", 1)]);
        }
    }
}

pub fn a_body_limit_of_the_handlers_own<A: Adapter>() {
    let limited = |request: Request<Body>| async move {
        request.body().set_limit(Some(3));
        let content = http_body_util::BodyExt::collect(request.into_body()).await;
        Response::new(Full::<Bytes>::from(content.map(|it| it.to_bytes()).unwrap_or_default()))
    };
    let address = start::<A, _, _>(limited);
    let post = |content: &str| {
        let length = content.len();
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{content}"
        )
    };
    assert!(ask(address, &post("abc")).ends_with("\r\n\r\nabc"));
    assert!(ask(address, &post("abcd")).starts_with("HTTP/1.1 413 "));
}

pub fn deadlines_of_the_handlers_own<A: Adapter>() {
    const TIME: Option<Duration> = Some(Duration::from_millis(100));
    const PIECE: &[u8] = &[b'x'; 4 << 10];
    const CONTENT: usize = 16 << 20;
    let hurried = |request: Request<Body>| async move {
        request.body().set_deadline(TIME);
        let content = http_body_util::BodyExt::collect(request.into_body()).await;
        let mut response = Response::new(Full::new(match content {
            Ok(_) => vec![b'x'; CONTENT].into(),
            Err(_) => Bytes::new(),
        }));
        response.extensions_mut().insert(ResponseDeadline(TIME));
        response
    };
    let address = start::<A, _, _>(hurried);

    // Content that comes fast enough by any other measure.
    let mut upload = connect(address);
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16000000\r\n\r\n";
    upload.write_all(head).expect("it reads");
    upload.set_read_timeout(Some(Duration::from_millis(5))).expect("it can be set");
    let mut status = [0; 12];
    while upload.read_exact(&mut status).is_err() {
        upload.write_all(PIECE).expect("it reads until it has answered");
    }
    assert_eq!(str::from_utf8(&status), Ok("HTTP/1.1 408"));

    // An answer that is taken fast enough by any other measure.
    let mut download = connect(address);
    download.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    let (mut taken, mut piece) = (0, PIECE.to_vec());
    while let Ok(bytes) = download.read(&mut piece)
        && bytes > 0
    {
        taken += bytes;
        thread::sleep(Duration::from_millis(1));
    }
    assert!((1..CONTENT).contains(&taken), "{taken}");
}

pub fn content_of_a_fast_peer_comes_in_large_pieces<A: Adapter>() {
    const READ: usize = 8 << 10;
    const CONTENT: usize = 8 * READ;
    let (wrote, written) = channel();
    let (told, lengths) = channel();
    let written = Arc::new(Mutex::new(written));
    let service = move |request: Request<Body>| {
        let (written, told) = (written.clone(), told.clone());
        async move {
            // Blocks the server, so that all of the content arrives meanwhile.
            let waited = written.lock().map(|written| written.recv_timeout(PATIENCE));
            waited.expect("no panic").expect("the test writes");
            let mut body = request.into_body();
            let mut pieces = Vec::new();
            while let Some(Ok(frame)) = http_body_util::BodyExt::frame(&mut body).await {
                pieces.extend(frame.into_data().map(|data| data.len()));
            }
            told.send(pieces).expect("the test waits");
            Response::new(Full::<Bytes>::default())
        }
    };
    let (listener, address) = listener();
    let config = Config::builder().receive_buffer_limit(READ as u64).build().expect("in range");
    start_server::<A, _, _, _, _>(A::server(listener, Arc::new(config), service));
    let mut stream = connect(address);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {CONTENT}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    stream.write_all(&[b'y'; CONTENT]).expect("the kernel takes it");
    wrote.send(()).expect("the handler waits");
    let pieces = lengths.recv_timeout(PATIENCE).expect("all was read");
    assert_eq!(pieces.iter().sum::<usize>(), CONTENT);
    assert!(pieces.contains(&(4 * READ)), "{pieces:?}");
    assert!(pieces.iter().all(|piece| *piece <= 4 * READ), "{pieces:?}");
}

pub fn content_is_read_on_another_task_while_the_answer_waits_for_its_reader<A: Adapter>() {
    const CONTENT: usize = 1 << 20;
    let (told, lengths) = channel();
    let service = move |request: Request<Body>| {
        let told = told.clone();
        async move {
            A::spawn(async move {
                let content = http_body_util::BodyExt::collect(request.into_body()).await;
                told.send(content.map(|it| it.to_bytes().len())).expect("the test waits");
            });
            // More than the kernel takes for a peer that does not read.
            Response::new(Full::<Bytes>::from(vec![b'x'; 64 << 20]))
        }
    };
    let mut stream = connect(start::<A, _, _>(service));
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {CONTENT}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    stream.write_all(&[b'y'; CONTENT]).expect("it reads");
    assert_eq!(lengths.recv_timeout(PATIENCE), Ok(Ok(CONTENT)));
}

pub fn dropping_the_server_closes_everything<A: Adapter>() {
    let (listener, address) = listener_of_its_own(1);
    let patient = Config::builder().keep_alive_timeout(Duration::from_secs(3600)).build();
    let stats = Arc::new(Stats::new());
    let server = A::server(listener, Arc::new(patient.expect("valid")), hello).stats(stats.clone());
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let (dropped, drops) = channel();
    A::spawn(async move {
        // When one future is ready, the other is dropped.
        or(async { _ = server.await }, async move { _ = stopped.recv().await }).await;
        dropped.send(()).expect("the test waits");
    });
    let mut stream = connect(address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    let mut answer = [0; 4096];
    assert!(stream.read(&mut answer).expect("an answer") > 0);
    open(&stats, 1);
    drop(stop);
    assert_eq!(drops.recv_timeout(PATIENCE), Ok(()));
    assert_eq!(stream.read(&mut answer).unwrap_or(0), 0);
    open(&stats, 0);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

pub fn a_graceful_shutdown_reports<A: Adapter>() {
    let (listener, address) = listener();
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let signal = async move { _ = stopped.recv().await };
    let stats = Arc::new(Stats::new());
    let server = A::server(listener, Arc::default(), hello)
        .stats(stats.clone())
        .with_graceful_shutdown(signal);
    let report = start_server::<A, _, _, _, _>(server);
    let stream = connect(address);
    let answer = ask(address, GET);
    assert!(answer.ends_with("hello"));
    open(&stats, 1);
    drop(stop);
    let report = report.recv_timeout(PATIENCE).expect("it ends");
    assert_eq!((report.finished, report.cut), (1, 0));
    drop(stream);
}

pub fn a_connection_that_waits_for_the_peer_ends_on_time<A: Adapter>() {
    let (listener, address) = listener();
    let timeout = Duration::from_millis(300);
    let brief = Config::builder()
        .keep_alive_timeout(timeout)
        .request_head_timeout(timeout)
        .response_grace(timeout)
        .response_silence(timeout)
        .build();
    let stats = Arc::new(Stats::new());
    let server = A::server(listener, Arc::new(brief.expect("valid")), OnTheSpot);
    start_server::<A, _, _, _, _>(server.stats(stats.clone()));
    let large = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
    let requests = ["", "GET / HTTP/1.1\r\nHost: ", &large];
    let start = Instant::now();
    let mut clients = Vec::new();
    let closes = |reason| stats.snapshot().closes.iter().any(|(label, _)| *label == reason);
    while !["keep_alive", "request_head", "response"].into_iter().all(closes) {
        assert!(start.elapsed() < PATIENCE, "{:?}", stats.snapshot());
        // On a busy machine a request may be sent too late. Then the next attempt counts.
        for request in requests {
            let mut client = connect(address);
            let _ = client.write_all(request.as_bytes());
            clients.push(client);
        }
        thread::sleep(timeout / 2);
    }
    assert!(start.elapsed() >= timeout, "{:?}", start.elapsed());
}

pub fn large_content_goes_both_ways_at_its_readers_pace<A: Adapter>() {
    const SIZE: usize = 4 << 20;
    let echo = |request: Request<Body>| async move { Response::new(request.into_body()) };
    let mut stream = connect(start::<A, _, _>(echo));
    let mut sender = stream.try_clone().expect("the same socket");
    let sending = thread::spawn(move || {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n");
        sender.write_all(head.as_bytes()).expect("it reads");
        for part in 0..SIZE / 65536 {
            sender.write_all(&[part as u8; 65536]).expect("it reads");
        }
        sender.shutdown(std::net::Shutdown::Write).expect("it is open");
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("all of it");
    sending.join().expect("no panic");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let content = answer.split_off(end);
    let expected: Vec<u8> = (0..SIZE / 65536).flat_map(|part| [part as u8; 65536]).collect();
    let unchunked = dechunk(&answer, content);
    assert!(unchunked == expected, "{} bytes of {SIZE}", unchunked.len());
}
