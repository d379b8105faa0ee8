//! What the compiler says when the wrong thing is passed: each file in `messages` is a mistake, and the
//! message has to say what to pass instead.
//!
//! The compiler is given the crates that Cargo has just built for this test.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

/// The crates that the files use, each with lines that compile with the right build of it. There may be
/// several, with other features or of another compiler.
const CRATES: &[(&str, &str)] = &[
    ("portcullis_tokio", "pub use portcullis_tokio::serve;"),
    (
        "tokio",
        "fn check<L: portcullis_tokio::IntoListener>() {}
         pub fn start() { check::<tokio::net::TcpListener>() }",
    ),
    (
        "http",
        "pub fn start(request: &http::Request<()>) { let _ = portcullis_tokio::Upgrade::new(request); }",
    ),
    (
        "http_body",
        "fn check<B: http_body::Body>() {}
         pub fn start() { check::<portcullis_tokio::Body>() }",
    ),
    (
        "http_body_util",
        "fn check<A: portcullis_tokio::IntoAnswer>() {}
         pub fn start() { check::<http::Response<http_body_util::Full<&'static [u8]>>>() }",
    ),
    (
        "tower",
        "use portcullis_tokio::Body;
         fn check<S: tower::Service<http::Request<Body>> + portcullis_tokio::Service<K>, K>(_: S) {}
         type Service = tower::util::BoxCloneService<
             http::Request<Body>, http::Response<Body>, std::convert::Infallible,
         >;
         pub fn start(service: Service) { check(service) }",
    ),
];

/// The arguments that name the builds of the crates.
static EXTERNS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut externs = Vec::new();
    for (name, control) in CRATES {
        let fits = builds(name).into_iter().find_map(|build| {
            let mut all = externs.clone();
            all.push(format!("--extern={name}={}", build.display()));
            compile(control, &all).is_ok().then_some(all)
        });
        externs = fits.unwrap_or_else(|| panic!("no build of {name} fits the others"));
    }
    externs
});

/// The folder that Cargo has built this test and its crates in.
fn folder() -> PathBuf {
    let test = env::current_exe().expect("a path");
    test.parent().expect("a folder").to_owned()
}

/// The builds of a crate, the newest first.
fn builds(name: &str) -> Vec<PathBuf> {
    let prefix = format!("lib{name}-");
    let files = fs::read_dir(folder()).expect("the folder of this test").filter_map(Result::ok);
    let is_build = |path: &PathBuf| {
        let file = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        file.starts_with(&prefix) && file.ends_with(".rlib")
    };
    let mut builds: Vec<_> = files.map(|file| file.path()).filter(is_build).collect();
    let built = |path: &PathBuf| fs::metadata(path).and_then(|it| it.modified());
    builds.sort_by_key(|path| built(path).unwrap_or(SystemTime::UNIX_EPOCH));
    builds.reverse();
    builds
}

/// Compiles a source text; what the compiler says if it does not accept it.
fn compile(source: &str, externs: &[String]) -> Result<(), String> {
    let mut compiler = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["-", "--edition=2024", "--crate-type=lib", "--emit=metadata", "--color=never"])
        .arg("--out-dir")
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .arg(format!("-Ldependency={}", folder().display()))
        .args(externs)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the compiler starts");
    let mut input = compiler.stdin.take().expect("piped");
    input.write_all(source.as_bytes()).expect("it reads");
    drop(input);
    let output = compiler.wait_with_output().expect("it ends");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Asserts that a file in `messages` is not accepted, and that the message says all of this.
#[track_caller]
fn assert_says(file: &str, said: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages").join(file);
    let source = fs::read_to_string(path).expect("the file");
    let message = compile(&source, &EXTERNS).expect_err("it is not accepted");
    for part in said {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(!message.contains("multiple different versions"), "{message}");
}

const FUNCTION: &str =
    "an async function takes one `http::Request<Body>`, with the `Body` of this crate";
const CLONE: &str = "share in an `Arc` what is not `Clone`";
const ERROR: &str = "its errors, and `E`, have to be `Into<Box<dyn Error + Send + Sync>>`";

#[test]
fn a_function_that_takes_something_else_is_told_what_to_take() {
    assert_says("wrong_argument.rs", &["cannot answer requests", "this is no service", FUNCTION]);
}

#[test]
fn a_function_that_returns_something_else_is_told_what_to_return() {
    assert_says(
        "wrong_answer.rs",
        &["returns `http::Response<B>` or `Result<http::Response<B>, E>`"],
    );
    let said = ["is no answer to a request", "return `http::Response<B>`, or", ERROR];
    assert_says("no_answer.rs", &said);
}

#[test]
fn a_service_that_is_not_clone_is_told_to_be() {
    let said = ["`Echo` cannot answer requests", "each connection has its own clone", CLONE];
    assert_says("not_clone.rs", &said);
    // Of a function the compiler says by itself which of its parts is to blame.
    let said = ["the trait bound `AtomicU64: Clone` is not satisfied"];
    assert_says("not_clone_function.rs", &said);
}

#[test]
fn content_whose_error_is_none_is_told_what_it_has_to_be() {
    assert_says("wrong_body_error.rs", &["cannot answer requests", ERROR]);
}

#[test]
fn a_listener_of_the_standard_library_is_told_to_be_converted() {
    let said =
        ["is no listener that `serve` can accept connections from", "converted with `from_std`"];
    assert_says("wrong_listener.rs", &said);
}

#[test]
fn parts_of_a_server_that_are_none_are_told_where_to_find_some() {
    let said = [
        "cannot accept connections for a `Server`",
        "its `IntoListener` makes a `Listener` of it",
        "is no `Runtime` that a `Server` can spawn connections on",
        "use the adapter for the runtime: `portcullis_tokio::Tokio`",
        "is no `Socket` that a connection can be served on",
        "pass a stream of bytes of the runtime to the adapter's `serve_connection`",
    ];
    assert_says("wrong_parts.rs", &said);
}
