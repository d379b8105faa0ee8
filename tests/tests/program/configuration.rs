//! The configuration file, and what systemd passes and is told.

use crate::place::{Place, tests};
use crate::support::{Program, binary};
use portcullis_testing::needs;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::NamedTempFile;

tests! {
    plaintext:
        systemd_passes_sockets_and_is_told_how_the_program_is;
    tls:
        the_file_is_read_again_for_new_connections;
}

fn file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("it is written");
    file
}

fn the_file_is_read_again_for_new_connections(place: Place) {
    let file = file("requests_per_connection = 2\n");
    let path = file.path().to_str().expect("UTF-8");
    let program = Program::with_args(place, &[], &["--config", path], None);
    let limit = || program.status()["settings"]["requests_per_connection"].clone();
    let mut before = program.connect();
    assert!(!before.get("/hello").has_field("connection: close"));
    assert_eq!(limit(), "2");
    // A file that can't be read changes nothing.
    for (text, expected) in
        [("requests_per_conection = 1\n", "2"), ("requests_per_connection = 1\n", "1")]
    {
        fs::write(file.path(), text).expect("it is written");
        program.signal("HUP");
        program.wait_for("the reload", |status| {
            status["reloads"]["failed"].as_u64() == Some(1)
                && (expected == "2" || status["reloads"]["done"].as_u64() == Some(1))
        });
        assert_eq!(limit(), expected);
    }
    assert!(program.connect().get("/hello").has_field("connection: close"), "its only request");
    assert!(before.get("/hello").has_field("connection: close"), "the second request of two");
}

fn systemd_passes_sockets_and_is_told_how_the_program_is(place: Place) {
    if !needs("python3", "apt-get install python3") {
        return;
    }
    let file = file(&format!("runtime = \"{}\"\n", place.runtime.name()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/peers/systemd.py");
    let output = Command::new("python3").arg(script).args([binary(), file.path()]).output();
    let output = output.expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = told.lines().filter(|line| !line.starts_with("listening on")).collect();
    let expected = [
        "told READY",
        "tcp HTTP/1.1 200 OK",
        "unix HTTP/1.1 200 OK",
        "told RELOADING MONOTONIC_USEC",
        "told READY",
        "closes True",
        "told STOPPING",
        "ended 0",
    ];
    assert_eq!(lines, expected, "{}", String::from_utf8_lossy(&output.stderr));
}
