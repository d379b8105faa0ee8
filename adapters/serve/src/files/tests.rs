use super::*;
use crate::body::BoxError;
use crate::testing::whole;
use bytes::Bytes;
use http::header::{ALLOW, ETAG, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED};
use http_body::Body;
use http_body_util::Empty;
use rustix::fs::{CWD, Mode, mkfifoat};
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use tempfile::TempDir;

mod coded;
mod missing;

type Answered = Response<Result<Bytes, BoxError>>;

/// A folder with a root `site` in it, and the service for that root.
struct Site {
    folder: TempDir,
    files: Files,
}

impl Site {
    fn new() -> Site {
        let folder = TempDir::new().expect("a folder");
        let site = folder.path().join("site");
        fs::create_dir_all(site.join("sub")).expect("made");
        fs::create_dir_all(site.join("indexed")).expect("made");
        fs::write(folder.path().join("secret"), "secret").expect("written");
        fs::write(site.join("ten.txt"), "0123456789").expect("written");
        fs::write(site.join("indexed/index.html"), "<p>index").expect("written");
        let files = Files::open(&site).expect("open");
        Site { folder, files }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("site").join(name)
    }

    fn ask(&self, method: Method, target: &str, fields: &[(http::HeaderName, &str)]) -> Answered {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(name, *value);
        }
        let request = request.body(()).expect("a request");
        whole(self.files.answer::<_, Empty<Bytes>>(&request))
    }

    fn get(&self, target: &str) -> Answered {
        self.ask(Method::GET, target, &[])
    }
}

fn text(answer: &Answered) -> &str {
    str::from_utf8(answer.body().as_ref().expect("no error")).expect("text")
}

fn field(answer: &Answered, name: http::HeaderName) -> &str {
    answer.headers().get(&name).map_or("", |value| value.to_str().expect("text"))
}

#[test]
fn a_file_has_its_type_length_and_validators() {
    let site = Site::new();
    let answer = site.get("/ten.txt?query");
    assert_eq!((answer.status().as_u16(), text(&answer)), (200, "0123456789"));
    assert_eq!(field(&answer, CONTENT_TYPE), "text/plain; charset=utf-8");
    assert_eq!(field(&answer, ACCEPT_RANGES), "bytes");
    assert_eq!(field(&answer, X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert!(field(&answer, ETAG).starts_with("\"a-"), "{answer:?}");
    assert!(field(&answer, LAST_MODIFIED).ends_with(" GMT"), "{answer:?}");
}

#[test]
fn types_go_by_the_name() {
    let site = Site::new();
    for (name, content_type) in [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.PNG", "image/png"),
        ("a.json", "application/json"),
        ("a.wasm", "application/wasm"),
        ("a.tar.gz", "application/gzip"),
        ("a.unheard-of", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ] {
        fs::write(site.path(name), "").expect("written");
        assert_eq!(field(&site.get(&format!("/{name}")), CONTENT_TYPE), content_type, "{name}");
    }
}

#[test]
fn a_large_file_comes_whole_and_head_has_its_length_without_reading() {
    let site = Site::new();
    let content: Vec<u8> = (0..300_000u32).map(|place| (place % 251) as u8).collect();
    fs::write(site.path("large"), &content).expect("written");
    assert_eq!(site.get("/large").into_body().expect("no error"), content);
    let request = Request::head("/large").body(()).expect("a request");
    let answer = site.files.answer::<_, Empty<Bytes>>(&request);
    let answer = futures_lite::future::block_on(answer);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.body().size_hint().exact(), Some(300_000));
    assert_eq!(format!("{:?}", answer.body()), "Omitted");
}

#[test]
fn a_directory_gives_its_index_or_a_listing_and_ends_in_a_slash() {
    let site = Site::new();
    let index = site.get("/indexed/");
    assert_eq!(text(&index), "<p>index");
    assert_eq!(field(&index, CONTENT_TYPE), "text/html; charset=utf-8");
    let listing = site.get("/");
    assert!(text(&listing).contains("href=\"sub/\""), "{listing:?}");
    assert!(field(&listing, CONTENT_SECURITY_POLICY).starts_with("default-src 'none'"));
    for (target, location) in
        [("/sub", "/sub/"), ("//sub?x", "/sub/?x"), ("/indexed?a=%2F&b", "/indexed/?a=%2F&b")]
    {
        let answer = site.get(target);
        assert_eq!((answer.status().as_u16(), field(&answer, LOCATION)), (308, location));
    }
    assert_eq!(site.get("/ten.txt/").status(), 404);
}

#[test]
fn an_index_that_is_a_directory_is_ignored() {
    let site = Site::new();
    fs::create_dir(site.path("sub/index.html")).expect("made");
    assert!(text(&site.get("/sub/")).contains("href=\"index.html/\""));
}

#[test]
fn nothing_leads_out_of_the_root() {
    let site = Site::new();
    symlink("../secret", site.path("out")).expect("linked");
    symlink(site.folder.path().join("secret"), site.path("absolute")).expect("linked");
    symlink("..", site.path("up")).expect("linked");
    symlink("ten.txt", site.path("inside")).expect("linked");
    for (target, status) in [
        ("/../secret", 400),
        ("/sub/../../secret", 400),
        ("/%2e%2e/secret", 400),
        ("/..%2fsecret", 400),
        ("/..%5csecret", 400),
        ("/sub%00", 400),
        ("/%252e%252e/secret", 404),
        ("//etc/passwd", 404),
        ("/out", 404),
        ("/absolute", 404),
        ("/up/secret", 404),
        ("/up/", 404),
        ("/inside", 200),
    ] {
        let answer = site.get(target);
        assert_eq!(answer.status(), status, "{target}");
        assert!(!text(&answer).contains("secret"), "{target}");
    }
}

#[test]
fn files_outside_look_like_missing_files() {
    let site = Site::new();
    symlink("/", site.path("slash")).expect("linked");
    symlink("..", site.path("up")).expect("linked");
    let process = std::process::id();
    for (there, not_there) in [
        ("/slash/etc/passwd".to_owned(), "/slash/etc/nope"),
        ("/slash/etc/".to_owned(), "/slash/nope/"),
        ("/slash".to_owned(), "/nope"),
        (format!("/slash/proc/{process}/stat"), "/slash/proc/0/stat"),
        ("/up/secret".to_owned(), "/up/nope"),
    ] {
        let (there, not_there) = (site.get(&there), site.get(not_there));
        assert_eq!((there.status(), text(&there)), (not_there.status(), text(&not_there)));
        assert_eq!((there.status().as_u16(), there.headers()), (404, not_there.headers()));
    }
    // An index that leads out is ignored.
    symlink("../../secret", site.path("sub/index.html")).expect("linked");
    assert!(text(&site.get("/sub/")).contains("<title>/sub/</title>"));
}

#[test]
fn dotted_names_are_served_only_on_request() {
    let mut site = Site::new();
    fs::create_dir_all(site.path(".git/refs")).expect("made");
    fs::create_dir_all(site.path(".well-known/.private")).expect("made");
    for name in [".git/config", ".htpasswd", "sub/.env", ".well-known/security.txt"] {
        fs::write(site.path(name), "content").expect("written");
    }
    let hidden = ["/.git", "/.git/", "/.git/config", "/%2ehtpasswd", "/sub/.env", "/.nope"];
    for target in hidden.into_iter().chain(["/.well-known/.private/"]) {
        let answer = site.get(target);
        assert_eq!(
            (answer.status().as_u16(), text(&answer)),
            (404, "not found: nothing is served at this path\n")
        );
    }
    assert_eq!(text(&site.get("/.well-known/security.txt")), "content");
    assert!(!text(&site.get("/")).contains("href=\"."), "a hidden name is listed");
    site.files = site.files.clone().dotfiles(true);
    assert_eq!(text(&site.get("/.git/config")), "content");
    assert!(
        text(&site.get("/")).contains("href=\".git/\""),
        "a dotted name is missing from the listing"
    );
}

#[test]
fn head_does_not_make_a_listing() {
    let site = Site::new();
    let head = site.ask(Method::HEAD, "/sub/", &[]);
    assert_eq!((head.status().as_u16(), text(&head)), (200, ""));
    let get = site.get("/sub/");
    assert_eq!(head.headers(), get.headers());
    let request = Request::head("/sub/").body(()).expect("a request");
    let answer = futures_lite::future::block_on(site.files.answer::<_, Empty<Bytes>>(&request));
    assert_eq!(answer.body().size_hint().exact(), None, "the length is not known");
    assert_eq!(format!("{:?}", answer.body()), "Omitted");
}

#[test]
fn a_pipe_is_never_opened() {
    let site = Site::new();
    mkfifoat(CWD, site.path("pipe"), Mode::RUSR | Mode::WUSR).expect("made");
    let asked = || {
        for _ in 0..50 {
            assert_eq!(site.get("/pipe").status(), 403);
        }
    };
    // Opening the pipe for writing succeeds only while another process has it open for reading.
    std::thread::scope(|scope| {
        let asking = scope.spawn(asked);
        while !asking.is_finished() {
            let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
            let opened = rustix::fs::open(site.path("pipe"), flags, Mode::empty());
            assert_eq!(opened.err(), Some(Errno::NXIO), "the server has opened it");
        }
        asking.join().expect("answered");
    });
}

#[test]
fn special_files_are_refused_and_missing_ones_not_found() {
    let site = Site::new();
    mkfifoat(CWD, site.path("pipe"), Mode::RUSR | Mode::WUSR).expect("made");
    let _socket = UnixListener::bind(site.path("socket")).expect("bound");
    for target in ["/pipe", "/socket"] {
        assert_eq!(site.get(target).status(), 403, "{target}");
    }
    let long = format!("/{}", "x".repeat(300));
    for target in ["/nowhere", "/ten.txt/below", long.as_str()] {
        assert_eq!(site.get(target).status(), 404, "{target}");
    }
}

#[test]
fn only_get_and_head_are_allowed_and_options_says_so() {
    let site = Site::new();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE] {
        let answer = site.ask(method, "/ten.txt", &[]);
        assert_eq!((answer.status().as_u16(), field(&answer, ALLOW)), (405, METHODS));
    }
    for method in [Method::CONNECT, Method::from_bytes(b"XGET").expect("a token")] {
        let answer = site.ask(method, "/ten.txt", &[]);
        assert_eq!((answer.status().as_u16(), answer.headers().get(ALLOW)), (501, None));
    }
    for target in ["*", "/", "/nowhere"] {
        let answer = site.ask(Method::OPTIONS, target, &[]);
        assert_eq!((answer.status().as_u16(), field(&answer, ALLOW)), (204, METHODS), "{target}");
    }
}

#[test]
fn ranges_are_parts_of_the_file() {
    let site = Site::new();
    for (range, status, told, content) in [
        ("bytes=2-4", 206, "bytes 2-4/10", "234"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=0-", 206, "bytes 0-9/10", "0123456789"),
        ("bytes=10-", 416, "bytes */10", "range not satisfiable: the file has 10 bytes\n"),
        ("bytes=0-1,4-5", 200, "", "0123456789"),
        ("bytes=4-2", 200, "", "0123456789"),
    ] {
        let answer = site.ask(Method::GET, "/ten.txt", &[(RANGE, range)]);
        assert_eq!((answer.status().as_u16(), text(&answer)), (status, content), "{range}");
        assert_eq!(field(&answer, CONTENT_RANGE), told, "{range}");
    }
    let twice = [(RANGE, "bytes=0-1"), (RANGE, "bytes=0-1")];
    assert_eq!(site.ask(Method::GET, "/ten.txt", &twice).status(), 200);
    let head = site.ask(Method::HEAD, "/ten.txt", &[(RANGE, "bytes=0-1")]);
    assert_eq!(head.status(), 200, "only GET has ranges");
}

#[test]
fn conditions_are_evaluated_before_ranges() {
    let site = Site::new();
    let tag = field(&site.get("/ten.txt"), ETAG).to_owned();
    let range = (RANGE, "bytes=2-4");
    for (fields, status) in [
        (vec![(IF_NONE_MATCH, tag.as_str())], 304),
        (vec![(IF_NONE_MATCH, tag.as_str()), range.clone()], 304),
        (vec![(IF_NONE_MATCH, "\"other\"")], 200),
        (vec![(IF_UNMODIFIED_SINCE, "Sat, 01 Jan 2000 00:00:00 GMT"), range.clone()], 412),
        (vec![(IF_RANGE, tag.as_str()), range.clone()], 206),
        (vec![(IF_RANGE, "\"other\""), range.clone()], 200),
        (vec![(IF_RANGE, "\"other\""), (RANGE, "bytes=10-")], 200),
    ] {
        let answer = site.ask(Method::GET, "/ten.txt", &fields);
        assert_eq!(answer.status(), status, "{fields:?}");
        if status == 304 {
            assert_eq!((text(&answer), field(&answer, ETAG)), ("", tag.as_str()));
        }
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_in_an_error() {
    let site = Site::new();
    fs::write(site.path("large"), vec![b'x'; 300_000]).expect("written");
    let request = Request::get("/large").body(()).expect("a request");
    let answer = futures_lite::future::block_on(site.files.answer::<_, Empty<Bytes>>(&request));
    fs::write(site.path("large"), "short").expect("written");
    let known = Answer::now(answer);
    assert!(whole(known).into_body().is_err());
}

#[test]
fn the_root_must_be_a_directory() {
    let site = Site::new();
    assert!(Files::open(&site.path("nowhere")).is_err());
    assert!(Files::open(&site.path("ten.txt")).is_err());
}
