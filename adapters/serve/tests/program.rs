//! The program as a user starts it: output, answers, bad arguments and signals.

mod process;

use portcullis_testing::needs;
use process::{Finished, Program, RUNTIMES, get, run, wait};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use tempfile::TempDir;

#[test]
fn it_prints_its_addresses_and_serves_there() {
    let program = Program::start(&["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"], 2);
    assert_ne!(program.addresses[0], program.addresses[1]);
    for address in &program.addresses {
        let answer = get(address, "/hello");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nHello, world!"), "{answer}");
    }
}

#[test]
fn status_counts_what_all_listeners_do() {
    let program = Program::start(&["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"], 2);
    get(&program.addresses[1], "/hello");
    // A connection's counts are added once it is idle.
    wait(|| program.status()["requests"].as_u64() >= Some(1));
    let status = program.status();
    assert!(status["accepted"].as_u64() >= Some(3), "{status}");
    let phases = status["phases"].as_object().expect("phases");
    let total: u64 = phases.values().map(|count| count.as_u64().expect("a count")).sum();
    assert_eq!(status["open"].as_u64(), Some(total), "{status}");
    assert!(status["memory_bound"].as_u64() > Some(1000), "{status}");
}

#[test]
fn one_thread_and_many_serve_alike_on_each_runtime() {
    for runtime in RUNTIMES {
        for threads in ["1", "3"] {
            let args = ["--listen", "127.0.0.1:0", "--runtime", runtime, "--threads", threads];
            let program = Program::start(&args, 1);
            let answer = get(program.address(), "/bytes/200000");
            let (head, content) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains("content-length: 200000"), "{head}");
            assert_eq!(content.len(), 200_000);
            assert!(get(program.address(), "/slow/20").ends_with("thought for 20 ms\n"));
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn it_runs_the_given_number_of_threads() {
    // The names of a runtime's threads, and whether the main thread serves as well.
    let names = [("tokio", "tokio-rt-worker", false), ("smol", "smol-", true)];
    let names = names.into_iter().chain([("async-std", "async-std", false)]);
    for (runtime, name, main) in names.filter(|(runtime, ..)| RUNTIMES.contains(runtime)) {
        let args = ["--listen", "127.0.0.1:0", "--runtime", runtime, "--threads", "3"];
        let program = Program::start(&args, 1);
        let others = 3 - usize::from(main);
        wait(|| program.threads(name) >= others);
        assert!(get(program.address(), "/hello").ends_with("Hello, world!"));
        assert_eq!(program.threads(name), others, "{runtime}");
    }
}

#[test]
fn a_root_is_served_and_nothing_outside() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("secret"), "secret").expect("written");
    let site = folder.path().join("site");
    fs::create_dir_all(site.join("sub")).expect("made");
    fs::write(site.join("a.txt"), "a file").expect("written");
    let root = site.to_str().expect("a name in UTF-8");
    for runtime in RUNTIMES {
        let args = ["--listen", "127.0.0.1:0", "--runtime", runtime, "--root", root];
        let program = Program::start(&args, 1);
        assert!(get(program.address(), "/a.txt").ends_with("\r\n\r\na file"));
        assert!(get(program.address(), "/").contains("href=\"a.txt\""));
        assert!(get(program.address(), "/sub").contains("\r\nlocation: /sub/\r\n"));
        assert!(get(program.address(), "/hello").starts_with("HTTP/1.1 404 "));
        for target in ["/../secret", "/%2e%2e/secret", "/..%2fsecret"] {
            let answer = get(program.address(), target);
            assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.ends_with("secret"), "{answer}");
        }
    }
}

#[test]
fn settings_take_effect() {
    let limit = "request_body_limit=10";
    let program = Program::start(&["--listen", "127.0.0.1:0", "--strict", "--set", limit], 1);
    for (length, status) in [(10, "200"), (11, "413")] {
        let mut stream = program.connect();
        let head = format!(
            "POST /sink HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&vec![b'x'; length]).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{length}: {answer}");
    }
}

/// Runs the program, which must fail and explain why.
fn failure(args: &[&str]) -> String {
    let Finished { code, out, err } = run(args);
    assert!(code.is_some_and(|code| code != 0), "{args:?}: {code:?} {err}");
    assert_eq!(out, "", "{args:?}");
    err
}

#[test]
fn an_address_in_use_is_an_error_of_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    let err = failure(&["--listen", &address]);
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.starts_with(&format!("portcullis: cannot listen on {address}: ")), "{err}");
}

#[test]
fn an_unusable_certificate_is_an_error_of_one_line() {
    let folder = TempDir::new().expect("a folder");
    let empty = folder.path().join("empty");
    fs::write(&empty, "").expect("written");
    let (empty, absent) = (empty.to_str().expect("text"), "/nowhere/key.pem");
    for (chain, said) in [(absent, "cannot read /nowhere/key.pem"), (empty, "no certificate in")] {
        let err = failure(&["--tls-cert", chain, "--tls-key", absent]);
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains(said), "{err}");
    }
}

#[test]
fn an_unreadable_root_is_an_error_of_one_line() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    for root in [folder.path().join("nowhere"), file] {
        let root = root.to_str().expect("a name in UTF-8");
        let err = failure(&["--listen", "127.0.0.1:0", "--root", root]);
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.starts_with(&format!("portcullis: cannot serve {root}: ")), "{err}");
    }
}

#[test]
fn bad_arguments_are_explained() {
    for (args, said) in [
        (
            vec!["--set", "patience=1s"],
            "there is no setting `patience`; the settings are tls_handshake_timeout",
        ),
        (vec!["--set", "keep_alive_timeout=soon"], "expected a time with its unit"),
        (vec!["--set", "keep_alive_timeout=0s"], "keep_alive_timeout must lie between 1ms and"),
        (vec!["--set", "keep_alive_timeout"], "expected NAME=VALUE"),
        (vec!["--listen", "nonsense"], "expected an address and a port"),
        (vec!["--threads", "0"], "expected a number from 1 to"),
        (vec!["--runtime", "none"], "possible values: tokio, smol"),
        (vec!["--unheard-of"], "unexpected argument '--unheard-of'"),
        (vec!["stray"], "unexpected argument 'stray'"),
    ] {
        let err = failure(&args);
        let first = err.lines().next().unwrap_or_default();
        assert!(first.starts_with("error: ") && err.contains(said), "{args:?}: {err}");
    }
}

#[test]
fn help_and_version_succeed() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for word in
        ["--listen", "--root", "--set", "keep_alive_timeout: 5 s", "send_buffer_limit: 60 KiB"]
    {
        assert!(help.out.contains(word), "{word}");
    }
    assert!(run(&["--version"]).out.starts_with("portcullis "));
}

/// The program with a request in progress, whose handler takes the given time.
fn thinking(milliseconds: u32, args: &[&str]) -> (Program, TcpStream) {
    let program = Program::start(&[&["--listen", "127.0.0.1:0"], args].concat(), 1);
    let mut slow = program.connect();
    let request = format!("GET /slow/{milliseconds} HTTP/1.1\r\nHost: x\r\n\r\n");
    slow.write_all(request.as_bytes()).expect("sent");
    program.wait_for_phase("application");
    (program, slow)
}

fn finishes_requests_in_progress(signal: Signal) {
    RUNTIMES.iter().for_each(|runtime| finishes_requests_on(runtime, signal));
}

fn finishes_requests_on(runtime: &str, signal: Signal) {
    let (mut program, mut slow) = thinking(1500, &["--runtime", runtime]);
    program.signal(signal);
    program.wait_until_refused();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("thought for 1500 ms\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    let Finished { code, err, .. } = program.finish();
    assert_eq!(code, Some(0), "{err}");
    let last = err.lines().last().unwrap_or_default();
    assert!(last.starts_with("portcullis: drained: ") && last.ends_with(", cut off: 0"), "{err}");
}

#[test]
fn sigterm_finishes_requests_in_progress() {
    finishes_requests_in_progress(Signal::TERM);
}

#[test]
fn sigint_finishes_requests_in_progress() {
    finishes_requests_in_progress(Signal::INT);
}

#[test]
fn events_end_in_good_order_when_a_drain_begins() {
    for (runtime, version) in RUNTIMES.iter().flat_map(|it| [(it, "HTTP/1.1"), (it, "HTTP/1.0")]) {
        let args = ["--listen", "127.0.0.1:0", "--runtime", runtime];
        let mut program = Program::start(&args, 1);
        let mut stream = program.connect();
        let request = format!("GET /events {version}\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"data: 0\n\n\r\n") && !answer.ends_with(b"data: 0\n\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an event");
            answer.push(byte[0]);
        }
        program.signal(Signal::TERM);
        let mut rest = String::new();
        // A reset would be an error.
        stream.read_to_string(&mut rest).expect("a FIN");
        assert_eq!(rest.ends_with("0\r\n\r\n"), version == "HTTP/1.1", "{rest:?}");
        drop(stream);
        let Finished { code, err, .. } = program.finish();
        assert_eq!(code, Some(0), "{err}");
        assert!(err.lines().last().is_some_and(|line| line.ends_with(", cut off: 0")), "{err}");
    }
}

#[test]
fn unfinished_requests_are_cut_off_and_counted() {
    for runtime in RUNTIMES {
        let args = ["--runtime", runtime, "--set", "drain_timeout=200ms"];
        let (mut program, _slow) = thinking(3_600_000, &args);
        program.signal(Signal::TERM);
        let Finished { code, err, .. } = program.finish();
        assert_eq!(code, Some(0), "{err}");
        let last = err.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("portcullis: drained: ") && last.ends_with(", cut off: 1"),
            "{err}"
        );
    }
}

#[test]
fn a_second_signal_stops_it_at_once() {
    for (signal, name, code) in [(Signal::TERM, "SIGTERM", 143), (Signal::INT, "SIGINT", 130)] {
        let (mut program, mut slow) = thinking(3_600_000, &[]);
        program.signal(Signal::TERM);
        program.wait_until_refused();
        program.signal(signal);
        let finished = program.finish();
        assert_eq!(finished.code, Some(code), "{}", finished.err);
        let last = finished.err.lines().last().unwrap_or_default();
        let said = format!("portcullis: {name} again: stopped at once, connections cut off: ");
        assert!(last.starts_with(&said), "{}", finished.err);
        let mut rest = Vec::new();
        // The end is a FIN or a reset; either will do.
        let _ = slow.read_to_end(&mut rest);
        assert_eq!(rest, b"");
    }
}

#[test]
fn sighup_without_tls_changes_nothing() {
    let mut program = Program::start(&["--listen", "127.0.0.1:0"], 1);
    program.signal(Signal::HUP);
    assert!(get(program.address(), "/hello").ends_with("Hello, world!"));
    program.signal(Signal::TERM);
    let Finished { code, err, .. } = program.finish();
    assert_eq!(code, Some(0), "{err}");
    assert!(
        err.contains("portcullis: SIGHUP: nothing to reload: there is no --config, no certificate and no access log\n"),
        "{err}"
    );
}

#[test]
fn a_port_alone_listens_on_every_loopback_address() {
    for text in ["0", ":0", "localhost:0"] {
        let program = Program::start(&["--listen", text], 1);
        let port = program.address().rsplit_once(':').expect("a port").1;
        assert!(get(&format!("127.0.0.1:{port}"), "/hello").ends_with("Hello, world!"), "{text}");
        if TcpListener::bind("[::1]:0").is_ok() {
            assert!(get(&format!("[::1]:{port}"), "/hello").ends_with("Hello, world!"), "{text}");
        }
    }
}

#[test]
fn health_checks_by_options_succeed() {
    let folder = TempDir::new().expect("a folder");
    let root = folder.path().to_str().expect("a name in UTF-8");
    for args in [&["--listen", "127.0.0.1:0"][..], &["--listen", "127.0.0.1:0", "--root", root]] {
        let program = Program::start(args, 1);
        for request in [
            "OPTIONS / HTTP/1.0\r\n\r\n",
            "OPTIONS * HTTP/1.0\r\n\r\n",
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ] {
            let mut stream = program.connect();
            stream.write_all(request.as_bytes()).expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{request}: {answer}");
            assert!(answer.contains("\r\nallow: GET, HEAD, "), "{request}: {answer}");
        }
    }
}

#[test]
fn a_misbehaving_peer_is_not_logged_as_an_error() {
    let mut program = Program::start(&["--listen", "127.0.0.1:0"], 1);
    for (request, content) in [
        // Content that ends early, in an echo and in a count.
        ("POST /echo", "Content-Length: 100\r\n\r\nnot all"),
        ("POST /sink", "Content-Length: 100\r\n\r\nnot all"),
        // A malformed chunk.
        ("POST /echo", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\nx"),
        // A websocket handshake with content, which is refused.
        (
            "GET /ws",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5\r\n\r\n12",
        ),
    ] {
        let mut stream = program.connect();
        let request = format!("{request} HTTP/1.1\r\nHost: a\r\n{content}");
        stream.write_all(request.as_bytes()).expect("sent");
        stream.shutdown(Shutdown::Write).expect("sent");
        // Either a refusal arrives, or an answer that is cut off.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    program.signal(Signal::TERM);
    let err = program.finish().err;
    assert!(!err.contains("ERROR") && !err.contains("WARN"), "{err}");
}

#[test]
fn it_serves_with_its_output_closed() {
    let mut program = Program::start(&["--listen", "127.0.0.1:0"], 1);
    program.stop_reading();
    assert!(get(program.address(), "/hello").ends_with("Hello, world!"));
    program.signal(Signal::TERM);
    assert_eq!(program.finish().code, Some(0));
}

#[test]
fn rust_log_debug_logs_each_close_with_its_reason() {
    for (filter, logged) in [("debug", true), ("", false)] {
        let envs = [("RUST_LOG", filter)];
        let mut program = Program::start_with(&["--listen", "127.0.0.1:0"], 1, &envs);
        get(program.address(), "/hello");
        program.signal(Signal::TERM);
        let err = program.finish().err;
        assert_eq!(err.contains("reason=completed"), logged, "{err}");
    }
}

#[test]
fn curl_gets_every_route() {
    if !needs("curl", "apt-get install curl") {
        return;
    }
    let program = Program::start(&["--listen", "127.0.0.1:0"], 1);
    let curl = |args: &[&str], path: &str| {
        let url = format!("http://{}{path}", program.address());
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20"])
            .args(args)
            .arg(url)
            .output()
            .expect("curl runs");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(curl(&[], "/hello"), "Hello, world!");
    assert!(curl(&["--head"], "/bytes/12345").contains("content-length: 12345"));
    assert_eq!(curl(&["--data", "abc"], "/echo"), "abc");
    assert_eq!(curl(&["--data", "abcd"], "/lazy/10"), "4");
    let chunked = ["--header", "Transfer-Encoding: chunked", "--data", "abcde"];
    assert_eq!(curl(&chunked, "/sink"), "5");
    // A 100 precedes the answer, curl then sends the content, and the connection is kept.
    for (path, content) in [("/sink", "6"), ("/echo", "abcdef"), ("/lazy/10", "6")] {
        let expecting = ["--include", "--header", "Expect: 100-continue", "--data", "abcdef"];
        let answer = curl(&expecting, path);
        assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{content}")), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    let code = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    assert_eq!(curl(&code, "/nowhere"), "404");
    assert_eq!(curl(&code, "/sink"), "405");
    assert_eq!(curl(&code, "/slow/x"), "400");
    let events = curl(&["--no-buffer", "--max-time", "2.5"], "/events");
    assert!(events.starts_with("data: 0\n\ndata: 1\n\n"), "{events}");
}

#[cfg(unix)]
mod unix_sockets {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};

    fn folder() -> (TempDir, PathBuf, String) {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("app.sock");
        let listen = format!("unix:{}", path.display());
        (folder, path, listen)
    }

    /// A request, and the whole answer.
    fn get(path: &Path, target: &str) -> String {
        let mut stream = UnixStream::connect(path).expect("it listens");
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    #[test]
    fn curl_gets_what_it_asks_for_through_a_unix_socket() {
        if !needs("curl", "apt-get install curl") {
            return;
        }
        for runtime in RUNTIMES {
            let (_folder, path, listen) = folder();
            let args = ["--listen", &listen, "--listen", "127.0.0.1:0", "--runtime", runtime];
            let mut program = Program::start(&args, 2);
            assert_eq!(program.addresses[0], listen);
            let socket = path.to_str().expect("text");
            let curl = |args: &[&str]| {
                let output = Command::new("curl")
                    .args(["--silent", "--show-error", "--max-time", "20"])
                    .args(["--unix-socket", socket])
                    .args(args)
                    .output()
                    .expect("curl runs");
                String::from_utf8(output.stdout).expect("text")
            };
            assert_eq!(curl(&["http://localhost/hello"]), "Hello, world!");
            assert_eq!(curl(&["--data", "abc", "http://localhost/echo"]), "abc");
            assert!(super::get(&program.addresses[1], "/hello").ends_with("Hello, world!"));
            program.signal(Signal::TERM);
            let Finished { code, err, .. } = program.finish();
            assert_eq!(code, Some(0), "{err}");
            assert!(!path.exists(), "the file is removed");
        }
    }

    #[test]
    fn tls_is_spoken_on_a_unix_socket() {
        if !needs("curl", "apt-get install curl") {
            return;
        }
        let (_folder, path, listen) = folder();
        let _program = Program::start_over_tls(&["--listen", &listen, "--tls-self-signed"]);
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--insecure"])
            .args(["--unix-socket", path.to_str().expect("text"), "https://localhost/hello"])
            .output()
            .expect("curl runs");
        assert_eq!(String::from_utf8(output.stdout).expect("text"), "Hello, world!");
    }

    #[test]
    fn the_socket_of_a_dead_server_is_replaced_and_that_of_a_live_one_is_not() {
        let (_folder, path, listen) = folder();
        let mut dead = Program::start(&["--listen", &listen], 1);
        dead.signal(Signal::KILL);
        assert_eq!(dead.finish().code, None);
        assert!(path.exists(), "it had no time to remove it");
        let mut program = Program::start(&["--listen", &listen], 1);
        assert!(get(&path, "/hello").ends_with("Hello, world!"));
        let err = failure(&["--listen", &listen]);
        assert_eq!(
            err,
            format!("portcullis: cannot listen on {listen}: another server listens there\n")
        );
        assert!(get(&path, "/hello").ends_with("Hello, world!"));
        program.signal(Signal::TERM);
        assert_eq!(program.finish().code, Some(0));
        fs::write(&path, "not a socket").expect("written");
        let err = failure(&["--listen", &listen]);
        assert!(err.contains("the file there is no socket"), "{err}");
        assert!(path.exists());
    }

    #[test]
    fn the_socket_is_removed_by_a_failed_start_and_by_a_second_signal() {
        let (_folder, path, listen) = folder();
        let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
        let taken = taken.local_addr().expect("an address").to_string();
        failure(&["--listen", &listen, "--listen", &taken]);
        assert!(!path.exists());
        let mut program = Program::start(&["--listen", &listen], 1);
        let mut slow = UnixStream::connect(&path).expect("it listens");
        slow.write_all(b"GET /slow/3600000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        // Until the handler has the request.
        wait(|| get(&path, "/status").replace(" ", "").contains("\"application\":1"));
        program.signal(Signal::TERM);
        wait(|| UnixStream::connect(&path).is_err());
        program.signal(Signal::TERM);
        assert_eq!(program.finish().code, Some(143));
        assert!(!path.exists());
    }
}
