//! Attacks on TLS, and independent clients: curl and openssl.

use crate::clients::{curl, has_curl};
use crate::place::{Place, tests};
use crate::support::{Client, PATIENCE, Program, assert_not_before};
use portcullis_testing::needs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

tests! {
    tls:
        curl_gets_and_sends_with_both_versions,
        openssl_negotiates_version_and_protocol,
        a_silent_client_is_closed_at_the_handshake_timeout,
        a_slow_client_hello_does_not_extend_the_handshake,
        a_client_that_stops_after_the_servers_flight_is_closed,
        plain_http_on_a_tls_port_gets_an_explanation,
        tls_to_a_plaintext_port_is_closed_at_once,
        the_server_sends_close_notify,
        endless_key_updates_are_cut_off,
        a_request_before_a_close_notify_is_answered;
}

const SECOND: Duration = Duration::from_secs(1);

/// Whether openssl is installed. If not, reports the test as skipped.
#[track_caller]
fn has_openssl() -> bool {
    needs("openssl", "apt-get install openssl")
}

/// Runs `openssl s_client` with `input` and returns its output.
fn s_client(program: &Program, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &program.address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    // openssl ends when the server closes. Its input stays open until then: at the end of input it
    // would close first.
    let output = child.wait_with_output().expect("it ends");
    drop(stdin);
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

const GET_AND_CLOSE: &str = "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

// ---- clients ---------------------------------------------------------------------------------------

fn curl_gets_and_sends_with_both_versions(place: Place) {
    if !has_curl() {
        return;
    }
    let program = Program::with(place, &[]);
    let content: Vec<u8> = (0..3_000_000).map(|place| b'a' + (place % 23) as u8).collect();
    for version in ["1.2", "1.3"] {
        let tls = [&format!("--tlsv{version}"), "--tls-max", version];
        let url = program.url("/hello");
        let hello = curl(&[&tls[..], &["-w", " over %{http_version}", &url]].concat(), b"");
        assert_eq!(hello, "Hello, world! over 2");
        let url = program.url("/bytes/5000000");
        assert_eq!(curl(&[&tls[..], &[&url]].concat(), b"").len(), 5_000_000);
        for (path, answer) in [("/sink", &b"3000000"[..]), ("/echo", &content)] {
            let url = program.url(path);
            for way in [&["--data-binary", "@-"][..], &["-T", "-", "-X", "POST"]] {
                let got = curl(&[&tls[..], way, &[&url]].concat(), &content);
                assert!(got.as_bytes() == answer, "{path} {way:?}: {} bytes", got.len());
            }
        }
    }
}

fn openssl_negotiates_version_and_protocol(place: Place) {
    if !has_openssl() {
        return;
    }
    let program = Program::with(place, &[]);
    for (version, named) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let arguments = [version, "-alpn", "h3,http/1.1"];
        let said = s_client(&program, &arguments, GET_AND_CLOSE);
        assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
        assert!(said.contains(named) && said.contains("Hello, world!"), "{said}");
    }
    let said = s_client(&program, &["-alpn", "h3"], GET_AND_CLOSE);
    assert!(said.contains("no application protocol"), "{said}");
    let said = s_client(&program, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], GET_AND_CLOSE);
    assert!(said.contains("SSL alert number") && !said.contains("Hello"), "{said}");
}

#[test]
fn openssl_resumes_sessions() {
    if !has_openssl() {
        return;
    }
    let program = Program::with(Place::USUAL.tls(), &[]);
    let folder = TempDir::new().expect("a folder");
    for version in ["-tls1_2", "-tls1_3"] {
        let session = folder.path().join(version);
        let session = session.to_str().expect("text");
        let said = s_client(&program, &[version, "-sess_out", session], GET_AND_CLOSE);
        assert!(said.contains("New, TLSv1"), "{said}");
        let said = s_client(&program, &[version, "-sess_in", session], GET_AND_CLOSE);
        assert!(said.contains("Reused, TLSv1") && said.contains("Hello, world!"), "{said}");
    }
}

// ---- session tickets that processes share --------------------------------------------------------------

/// A program with these files for session tickets.
fn with_tickets(files: &[&Path], more: &[&str]) -> Program {
    let mut args = more.to_vec();
    for file in files {
        args.extend(["--tls-ticket-key", file.to_str().expect("text")]);
    }
    Program::with_args(Place::USUAL.tls(), &[], &args, None)
}

/// Begins a session, and keeps its ticket in a file of this name.
fn begin_session(program: &Program, version: &str, ticket: &Path) {
    let ticket = ticket.to_str().expect("text");
    let said = s_client(program, &[version, "-sess_out", ticket], GET_AND_CLOSE);
    assert!(said.contains("New, TLSv1") && said.contains("Hello, world!"), "{said}");
}

/// Whether the program resumes the session of this ticket.
fn resumes(program: &Program, version: &str, ticket: &Path) -> bool {
    let ticket = ticket.to_str().expect("text");
    let said = s_client(program, &[version, "-sess_in", ticket], GET_AND_CLOSE);
    let is_reused = said.contains("Reused, TLSv1");
    assert!(is_reused || said.contains("New, TLSv1"), "{said}");
    is_reused
}

#[test]
fn processes_with_the_same_ticket_key_resume_each_others_sessions() {
    if !has_openssl() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let [new, old, foreign, ticket] =
        ["new", "old", "foreign", "ticket"].map(|name| folder.path().join(name));
    for (file, byte) in [(&new, 1), (&old, 2), (&foreign, 3)] {
        std::fs::write(file, [byte; 80]).expect("written");
    }
    let one = with_tickets(&[&new, &old], &[]);
    let other = with_tickets(&[&new, &old], &[]);
    let stranger = with_tickets(&[&foreign], &[]);
    for version in ["-tls1_2", "-tls1_3"] {
        begin_session(&one, version, &ticket);
        assert!(resumes(&other, version, &ticket), "{version}");
        begin_session(&one, version, &ticket);
        assert!(!resumes(&stranger, version, &ticket), "{version}");
        begin_session(&one, version, &ticket);
        assert!(resumes(&with_tickets(&[&new], &[]), version, &ticket), "after a restart");
    }
}

#[test]
fn ticket_keys_are_replaced_while_the_program_runs() {
    if !has_openssl() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let [new, old, first, second] =
        ["new", "old", "first", "second"].map(|name| folder.path().join(name));
    std::fs::write(&new, [1; 80]).expect("written");
    std::fs::write(&old, [2; 80]).expect("written");
    let program = with_tickets(&[&new, &old], &[]);
    begin_session(&program, "-tls1_2", &first);
    let reload = |bytes: [u8; 2], until: &dyn Fn() -> bool| {
        std::fs::write(&new, [bytes[0]; 80]).expect("written");
        std::fs::write(&old, [bytes[1]; 80]).expect("written");
        program.signal("HUP");
        let start = Instant::now();
        while !until() {
            assert!(start.elapsed() < PATIENCE, "the keys are not reloaded");
        }
    };
    // A ticket of TLS 1.2 may be used many times.
    let witness = with_tickets(&[&new], &[]);
    assert!(resumes(&witness, "-tls1_2", &first));
    drop(witness);
    reload([3, 1], &|| {
        begin_session(&program, "-tls1_2", &second);
        std::fs::write(folder.path().join("three"), [3; 80]).expect("written");
        resumes(&with_tickets(&[&folder.path().join("three")], &[]), "-tls1_2", &second)
    });
    assert!(resumes(&program, "-tls1_2", &first), "the old key opens tickets");
    reload([4, 3], &|| !resumes(&program, "-tls1_2", &first));
    assert!(resumes(&program, "-tls1_2", &second));
}

#[test]
fn a_ticket_is_no_certificate() {
    if !has_openssl() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let [key, ticket, chain, private] =
        ["key", "ticket", "chain", "private"].map(|name| folder.path().join(name));
    std::fs::write(&key, [1; 80]).expect("written");
    write_pair(&chain, &private);
    let open = with_tickets(&[&key], &[]);
    let authority = ["--tls-client-ca", chain.to_str().expect("text")];
    let closed = with_tickets(&[&key], &authority);
    let certified = ["-cert", authority[1], "-key", private.to_str().expect("text")];
    for version in ["-tls1_2", "-tls1_3"] {
        begin_session(&open, version, &ticket);
        let resumed = [version, "-sess_in", ticket.to_str().expect("text")];
        let said = s_client(&closed, &resumed, GET_AND_CLOSE);
        assert!(!said.contains("Reused, TLSv1") && !said.contains("Hello, world!"), "{said}");
        // With a certificate a session begins, and is resumed without it.
        let begun = [&certified[..], &[version, "-sess_out", resumed[2]]].concat();
        let said = s_client(&closed, &begun, GET_AND_CLOSE);
        assert!(said.contains("New, TLSv1") && said.contains("Hello, world!"), "{said}");
        let said = s_client(&with_tickets(&[&key], &authority), &resumed, GET_AND_CLOSE);
        assert!(said.contains("Reused, TLSv1") && said.contains("Hello, world!"), "{said}");
    }
}

#[test]
fn openssl_may_not_renegotiate() {
    if !has_openssl() {
        return;
    }
    let program = Program::with(Place::USUAL.tls(), &["keep_alive_timeout=2s"]);
    // A line with only an R makes openssl renegotiate.
    let said = s_client(&program, &["-tls1_2"], "R\n");
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
}

// ---- handshake timers -------------------------------------------------------------------------

/// The client's first flight.
fn client_hello(program: &Program) -> Vec<u8> {
    let mut client = program.connect();
    let mut hello = Vec::new();
    let tls = client.tls.as_mut().expect("TLS");
    tls.write_tls(&mut hello).expect("writing to memory succeeds");
    hello
}

fn plain(program: &Program, bytes: &[u8]) -> Client {
    let mut client = program.connect_plainly();
    client.send(bytes);
    client
}

fn a_silent_client_is_closed_at_the_handshake_timeout(place: Place) {
    let program = Program::with(place, &["tls_handshake_timeout=1s"]);
    assert_not_before(plain(&program, b"").closed_after(), SECOND);
    program.wait_for("the reason", |status| status["closes"]["tls_handshake"] == 1);
}

fn a_slow_client_hello_does_not_extend_the_handshake(place: Place) {
    let program = Program::with(place, &["tls_handshake_timeout=1s"]);
    let hello = client_hello(&program);
    let start = Instant::now();
    let mut client = program.connect_plainly();
    for byte in hello {
        if !client.send([byte]) || !client.is_quiet_for(Duration::from_millis(20)) {
            break;
        }
    }
    assert_not_before(start.elapsed(), SECOND);
}

fn a_client_that_stops_after_the_servers_flight_is_closed(place: Place) {
    let program = Program::with(place, &["tls_handshake_timeout=1s"]);
    let mut client = plain(&program, &client_hello(&program));
    assert!(client.more() > 0, "the server sent no flight");
    assert_not_before(client.closed_after(), SECOND);
}

// ---- bytes that are not TLS --------------------------------------------------------------------------------

fn plain_http_on_a_tls_port_gets_an_explanation(place: Place) {
    let program = Program::with(place, &[]);
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST /sink HTTP/1.1\r\n"] {
        let mut client = plain(&program, request.as_bytes());
        let answer = client.answer();
        assert_eq!(answer.status, 400);
        let text = answer.text();
        assert!(text.starts_with("400 Bad Request: ") && text.contains("(plain_http_on_tls_port)"));
        assert!(answer.has_field("connection: close"), "{answer:?}");
        client.finish_sending();
        client.wait_until_closed();
    }
}

#[test]
fn garbage_is_closed_at_once() {
    let program = Program::with(Place::USUAL.tls(), &[]);
    let hello = client_hello(&program);
    let huge = [&[22, 3, 1, 0xff, 0xff][..], &[0; 1000]].concat();
    let broken = [&hello[..20], &[0xff; 8000]].concat();
    for bytes in [&b"\0\0\0\0\0\0"[..], b"\x80\x2e\x01\x00\x02", b"get / http", &huge, &broken] {
        let mut client = plain(&program, bytes);
        client.wait_until_closed();
    }
    assert_eq!(program.connect().get("/hello").status, 200);
}

#[test]
fn a_handshake_above_its_limit_is_cut_off() {
    let program = Program::with(Place::USUAL.tls(), &["tls_handshake_limit=2KiB"]);
    // A handshake message of 64 KiB, sent in several records.
    let mut client = plain(&program, &[22, 3, 1, 0x10, 0, 1, 0, 0xff, 0xff]);
    client.send([0; 0x1000 - 4]);
    client.wait_until_closed();
}

fn tls_to_a_plaintext_port_is_closed_at_once(place: Place) {
    let over_tls = Program::with(place, &[]);
    let program = Program::with(place.plaintext(), &[]);
    let mut client = plain(&program, &client_hello(&over_tls));
    client.wait_until_closed();
    program.wait_for("the reason", |status| status["closes"]["tls_on_plain_port"] == 1);
}

// ---- closing -----------------------------------------------------------------------------------

fn the_server_sends_close_notify(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.connect();
    client.send(GET_AND_CLOSE);
    assert_eq!(client.answer().text(), "Hello, world!");
    let mut stream = rustls::Stream::new(client.tls.as_mut().expect("TLS"), &mut client.stream);
    // Without a close_notify this is an error.
    assert_eq!(stream.read(&mut [0]).expect("an orderly end"), 0);
}

fn a_request_before_a_close_notify_is_answered(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.connect();
    client.shake_hands();
    let tls = client.tls.as_mut().expect("TLS");
    tls.writer()
        .write_all(b"GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("writing to memory succeeds");
    tls.send_close_notify();
    client.send("");
    assert_eq!(client.answer().status, 200);
    client.wait_until_closed();
}

// ---- floods ----------------------------------------------------------------------------------------

fn endless_key_updates_are_cut_off(place: Place) {
    let program = Program::with(place, &[]);
    let mut client = program.connect();
    client.shake_hands();
    for _ in 0..100_000 {
        let tls = client.tls.as_mut().expect("TLS");
        if tls.refresh_traffic_keys().is_err() || !client.send("") {
            break;
        }
    }
    program.wait_for("the reason", |status| status["closes"]["tls_flood"] == 1);
}

// ---- the certificate -------------------------------------------------------------------------------

fn write_pair(chain: &Path, key: &Path) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("made");
    std::fs::write(chain, made.cert.pem()).expect("written");
    std::fs::write(key, made.signing_key.serialize_pem()).expect("written");
    made.cert.der().to_vec()
}

fn shown(client: &mut Client) -> Vec<u8> {
    client.shake_hands();
    let tls = client.tls.as_ref().expect("TLS");
    tls.peer_certificates().and_then(<[_]>::first).expect("a certificate").to_vec()
}

#[test]
fn a_new_certificate_does_not_disturb_open_connections() {
    let folder = TempDir::new().expect("a folder");
    let (chain, key) = (folder.path().join("chain"), folder.path().join("key"));
    let first = write_pair(&chain, &key);
    let program = Program::with_certificate(Place::USUAL, &chain, &key);
    let mut old = program.connect();
    assert_eq!(shown(&mut old), first);
    std::fs::write(&key, "no key").expect("written");
    program.signal("HUP");
    let second = write_pair(&chain, &key);
    program.signal("HUP");
    let start = Instant::now();
    loop {
        let now = shown(&mut program.connect());
        if now == second {
            break;
        }
        assert_eq!(now, first, "a bad file must not change the certificate");
        assert!(start.elapsed() < PATIENCE, "the new certificate is not used");
    }
    assert_eq!(old.get("/hello").text(), "Hello, world!");
}
