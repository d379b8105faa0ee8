//! Siblings, compressing while a file is sent, and `Cache-Control`.

use super::*;
use flate2::read::GzDecoder;
use http::header::{ACCEPT_ENCODING, IF_MATCH};
use std::io::Read;
use std::time::{Duration, SystemTime};

const TEXT: &str = "alert('The quick brown fox jumps over the lazy dog');\n";

/// A site with `app.js` of 54,000 bytes.
fn site() -> Site {
    let site = Site::new();
    fs::write(site.path("app.js"), TEXT.repeat(1000)).expect("written");
    site
}

fn get(site: &Site, target: &str, accepted: &str) -> Answered {
    site.ask(Method::GET, target, &[(ACCEPT_ENCODING, accepted)])
}

fn unzipped(answer: &Answered) -> String {
    let mut text = String::new();
    let coded = answer.body().as_ref().expect("no error");
    GzDecoder::new(&coded[..]).read_to_string(&mut text).expect("gzip");
    text
}

#[test]
fn a_sibling_is_sent_to_clients_that_take_it() {
    let site = site();
    for (suffix, content) in [("br", "brotli"), ("zst", "zstd"), ("gz", "gzip")] {
        fs::write(site.path(&format!("app.js.{suffix}")), content).expect("written");
    }
    for (accepted, coding, content) in [
        ("gzip, br, zstd", "br", "brotli"),
        ("gzip, zstd", "zstd", "zstd"),
        ("gzip", "gzip", "gzip"),
    ] {
        let answer = get(&site, "/app.js", accepted);
        assert_eq!((field(&answer, CONTENT_ENCODING), text(&answer)), (coding, content));
        assert_eq!(field(&answer, CONTENT_TYPE), "text/javascript; charset=utf-8");
        assert_eq!(field(&answer, VARY), "accept-encoding");
        assert!(field(&answer, ETAG).ends_with(&format!("-{coding}\"")), "{answer:?}");
    }
    let plain = get(&site, "/app.js", "identity");
    assert_eq!(
        (field(&plain, CONTENT_ENCODING), plain.body().as_ref().expect("it").len()),
        ("", TEXT.len() * 1000)
    );
    assert_eq!(field(&plain, VARY), "accept-encoding");
    // The sibling by its own name is a file like others.
    let own = get(&site, "/app.js.gz", "gzip");
    assert_eq!(
        (field(&own, CONTENT_ENCODING), field(&own, CONTENT_TYPE)),
        ("", "application/gzip")
    );
}

#[test]
fn a_sibling_that_is_older_than_its_file_is_not_sent() {
    let site = site();
    fs::write(site.path("app.js.br"), "of yesterday").expect("written");
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    let sibling = fs::File::options().write(true).open(site.path("app.js.br")).expect("open");
    sibling.set_modified(yesterday).expect("changed");
    assert_eq!(field(&get(&site, "/app.js", "br"), CONTENT_ENCODING), "");
}

#[test]
fn each_coding_has_validators_and_ranges_of_its_own() {
    let site = site();
    fs::write(site.path("app.js.br"), "0123456789").expect("written");
    let coded = get(&site, "/app.js", "br");
    let ask = |fields: &[(http::HeaderName, &str)]| {
        let answer = site.ask(Method::GET, "/app.js", fields);
        (answer.status().as_u16(), field(&answer, CONTENT_ENCODING).to_owned())
    };
    let (tag, br) = (field(&coded, ETAG), (ACCEPT_ENCODING, "br"));
    assert_eq!(ask(&[br.clone(), (IF_NONE_MATCH, tag)]), (304, String::new()));
    assert_eq!(ask(&[(IF_NONE_MATCH, tag)]), (200, String::new()), "the file as it is");
    assert_eq!(ask(&[br.clone(), (IF_MATCH, tag)]), (200, "br".to_owned()));
    assert_eq!(ask(&[br.clone(), (IF_MATCH, "\"x\"")]), (412, String::new()));
    assert_eq!(ask(&[br.clone(), (RANGE, "bytes=2-3")]), (206, "br".to_owned()));
    assert_eq!(ask(&[br, (RANGE, "bytes=20-")]), (416, String::new()));
}

#[test]
fn text_is_compressed_while_it_is_sent() {
    let site = site();
    let answer = get(&site, "/app.js", "gzip, br");
    assert_eq!(field(&answer, CONTENT_ENCODING), "gzip");
    assert!(answer.body().as_ref().expect("content").len() < 2000, "it is shorter");
    assert_eq!(unzipped(&answer), TEXT.repeat(1000));
    assert_eq!(field(&answer, ACCEPT_RANGES), "", "nobody knows where its parts are");
    let tag = field(&answer, ETAG);
    assert!(tag.starts_with("W/\""), "{tag}");
    let again = [(ACCEPT_ENCODING, "gzip"), (IF_NONE_MATCH, tag)];
    assert_eq!(site.ask(Method::GET, "/app.js", &again).status(), 304);
    let head = site.ask(Method::HEAD, "/app.js", &[(ACCEPT_ENCODING, "gzip")]);
    assert_eq!((field(&head, CONTENT_ENCODING), field(&head, ETAG)), ("gzip", tag));
    assert!(head.body().as_ref().expect("none").is_empty());
    let part = [(ACCEPT_ENCODING, "gzip"), (RANGE, "bytes=0-4")];
    let part = site.ask(Method::GET, "/app.js", &part);
    assert_eq!((part.status().as_u16(), text(&part)), (206, "alert"));
}

#[test]
fn what_gains_nothing_is_sent_as_it_is() {
    let mut site = site();
    fs::write(site.path("photo.jpg"), TEXT.repeat(1000)).expect("written");
    fs::write(site.path("short.txt"), "0123456789").expect("written");
    for target in ["/photo.jpg", "/short.txt"] {
        assert_eq!(field(&get(&site, target, "gzip"), CONTENT_ENCODING), "", "{target}");
    }
    assert_eq!(field(&get(&site, "/photo.jpg", "gzip"), VARY), "");
    site.files = site.files.compress(false);
    assert_eq!(field(&get(&site, "/app.js", "gzip"), CONTENT_ENCODING), "");
}

#[test]
fn the_first_rule_for_a_file_tells_its_cache_control() {
    let mut site = site();
    let rules = ["/sub/**=no-store", "*.js=max-age=60", "*=no-cache"];
    site.files = site.files.cache(rules.map(|rule| rule.parse().expect(rule)));
    fs::write(site.path("sub/b.js"), "1").expect("written");
    for (target, expected) in
        [("/app.js", "max-age=60"), ("/sub/b.js", "no-store"), ("/ten.txt", "no-cache")]
    {
        assert_eq!(field(&site.get(target), CACHE_CONTROL), expected, "{target}");
    }
    assert_eq!(field(&site.get("/nothing"), CACHE_CONTROL), "");
}
