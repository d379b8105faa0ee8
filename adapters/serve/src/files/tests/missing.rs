//! Pages without their suffix, and what is sent where nothing is served.

use super::*;

#[test]
fn a_page_has_a_path_without_its_suffix() {
    let site = Site::new();
    fs::write(site.path("about.html"), "<p>about").expect("written");
    fs::write(site.path("sub.html"), "<p>sub").expect("written");
    for (target, status, content) in [
        ("/about", 200, "<p>about"),
        ("/about.html", 200, "<p>about"),
        ("/about/", 404, ""),
        ("/sub.html", 200, "<p>sub"),
        ("/ten", 404, ""),
    ] {
        let answer = site.get(target);
        assert_eq!(answer.status(), status, "{target}");
        assert!(content.is_empty() || text(&answer) == content, "{target}");
    }
    assert_eq!(site.get("/sub").status(), 308, "a directory comes first");
    assert_eq!(field(&site.get("/about"), CONTENT_TYPE), "text/html; charset=utf-8");
}

#[test]
fn a_page_of_the_site_says_that_nothing_is_there() {
    let site = Site::new();
    fs::write(site.path("404.html"), "<p>nothing").expect("written");
    for target in ["/nothing", "/sub/nothing.txt", "/ten.txt/", "/.git/config", "/../secret"] {
        let answer = site.get(target);
        let expected = if target.contains("..") { 400 } else { 404 };
        assert_eq!(answer.status(), expected, "{target}");
        assert!(expected == 400 || text(&answer) == "<p>nothing", "{target}");
    }
    let head = site.ask(Method::HEAD, "/nothing", &[]);
    assert_eq!(
        (head.status().as_u16(), field(&head, CONTENT_TYPE)),
        (404, "text/html; charset=utf-8")
    );
    let conditional = site.ask(Method::GET, "/nothing", &[(IF_NONE_MATCH, "*")]);
    assert_eq!(conditional.status(), 404, "a condition is for what is there");
}

#[test]
fn an_application_of_one_page_answers_for_its_paths_and_not_for_missing_files() {
    let mut site = Site::new();
    fs::write(site.path("index.html"), "<p>app").expect("written");
    site.files = site.files.one_page(true);
    for target in ["/", "/users/7", "/users/", "/index.html"] {
        let answer = site.get(target);
        assert_eq!((answer.status().as_u16(), text(&answer)), (200, "<p>app"), "{target}");
    }
    assert_eq!(site.get("/assets/missing.js").status(), 404);
    assert_eq!(text(&site.get("/ten.txt")), "0123456789");
}
