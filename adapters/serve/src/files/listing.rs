//! A directory as a page: what can be served of it, sorted, with sizes and dates.

use super::date::http_date;
use super::path::{Place, encode};
use super::root::Root;
use cap_std::fs::Dir;
use std::ffi::OsString;
use std::fmt::{self, Write};
use std::io;
use std::time::SystemTime;

/// Entries that are looked at: a page should not cost more memory than a directory of that size.
const MOST: usize = 10_000;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: OsString,
    kind: Kind,
    modified: Option<SystemTime>,
}

// Directories come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Directory,
    File { length: u64 },
}

/// The page of the directory at `place`, which is open. Blocks.
pub(super) fn page(root: &Root, place: &Place, directory: &Dir) -> io::Result<String> {
    let (mut entries, mut all) = (Vec::new(), true);
    for (count, entry) in directory.entries()?.enumerate() {
        if count == MOST {
            all = false;
            break;
        }
        entries.extend(look_at(root, place, entry?.file_name()));
    }
    entries.sort_by(|one, other| {
        let is_file = |entry: &Entry| entry.kind != Kind::Directory;
        (is_file(one), &one.name).cmp(&(is_file(other), &other.name))
    });
    let mut page = String::new();
    // Writing to a string never fails.
    let _ = write(&mut page, place, &entries, all);
    Ok(page)
}

/// The entry, if a request for it would get anything. A link is what it leads to.
fn look_at(root: &Root, place: &Place, name: OsString) -> Option<Entry> {
    let metadata = root.describe(&place.entry(&name)).ok()?;
    let kind = if metadata.is_dir() {
        Kind::Directory
    } else if metadata.is_file() {
        Kind::File { length: metadata.len() }
    } else {
        return None;
    };
    let modified = metadata.modified().ok().map(cap_std::time::SystemTime::into_std);
    Some(Entry { name, kind, modified })
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.6 ui-monospace,monospace;margin:2rem}\
td{padding-right:2rem}\
td:nth-child(2){text-align:right}";

fn write(page: &mut String, place: &Place, entries: &[Entry], all: bool) -> fmt::Result {
    let title = place.title();
    let title = Escaped(&title);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<table>\n"
    )?;
    if !place.is_root() {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for Entry { name, kind, modified } in entries {
        let (slash, length) = match kind {
            Kind::Directory => ("/", String::new()),
            Kind::File { length } => ("", length.to_string()),
        };
        let (href, name) = (encode(name), name.to_string_lossy());
        let name = Escaped(&name);
        let date = modified.and_then(http_date).map(|date| date.to_string()).unwrap_or_default();
        writeln!(
            page,
            "<tr><td><a href=\"{href}{slash}\">{name}{slash}</a></td><td>{length}</td><td>{date}</td></tr>"
        )?;
    }
    page.push_str("</table>\n");
    if !all {
        writeln!(
            page,
            "<p>The directory has more than {MOST} entries; the others are not listed.</p>"
        )?;
    }
    page.push_str("</body>\n</html>\n");
    Ok(())
}

/// Text that means nothing to HTML.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::root::Found;
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// The page of `target` below a folder that `fill` fills.
    fn page_of(target: &str, fill: impl FnOnce(&std::path::Path)) -> String {
        let folder = TempDir::new().expect("a folder");
        fill(folder.path());
        let root = Root::open(folder.path()).expect("open");
        let place = Place::named_by(target).expect(target);
        let Found::Directory(directory) = root.look_up(place.path()).expect(target) else {
            panic!("{target} is no directory")
        };
        page(&root, &place, &directory).expect("a page")
    }

    /// The links of a page, in their order.
    fn links(page: &str) -> Vec<&str> {
        page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn directories_come_first_and_all_is_sorted() {
        let page = page_of("/", |folder| {
            for name in ["b.txt", "a.txt", "C"] {
                fs::write(folder.join(name), "12345").expect("written");
            }
            for name in ["z", "y"] {
                fs::create_dir(folder.join(name)).expect("made");
            }
        });
        assert_eq!(links(&page), ["y/", "z/", "C", "a.txt", "b.txt"]);
        assert!(page.contains("<td>5</td>") && page.contains(" GMT</td>"), "{page}");
        assert!(page.contains("<title>/</title>"), "{page}");
    }

    #[test]
    fn below_the_root_there_is_a_way_up() {
        let page = page_of("/sub/", |folder| {
            fs::create_dir(folder.join("sub")).expect("made");
            fs::write(folder.join("sub/x"), "").expect("written");
        });
        assert_eq!(links(&page), ["../", "x"]);
        assert!(page.contains("<h1>/sub/</h1>"), "{page}");
    }

    #[test]
    fn names_can_neither_break_the_page_nor_its_links() {
        let evil = "<script>alert('1')</script>&\"x\"";
        let page = page_of(&format!("/{}/", encode(std::ffi::OsStr::new("<i>"))), |folder| {
            let folder = folder.join("<i>");
            fs::create_dir(&folder).expect("made");
            for name in [evil.replace('/', "-").as_str(), "javascript:alert(1)", "a b?c#d%20", "ü"]
            {
                fs::write(folder.join(name), "").expect("written");
            }
            let bytes = std::ffi::OsStr::from_bytes(b"\xff");
            fs::write(folder.join(bytes), "").expect("written");
        });
        for forbidden in ["<script", "alert('1')", "<i>", "&\"x", "javascript:alert(1)\""] {
            assert!(!page.contains(forbidden), "{forbidden} in {page}");
        }
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;-script&gt;&amp;&quot;x&quot;"));
        let links = links(&page);
        for link in ["javascript%3Aalert%281%29", "a%20b%3Fc%23d%2520", "%C3%BC", "%FF"] {
            assert!(links.contains(&link), "{link} not in {links:?}");
        }
    }

    #[test]
    fn what_would_not_be_served_is_not_listed() {
        let page = page_of("/sub/", |folder| {
            fs::create_dir(folder.join("sub")).expect("made");
            fs::write(folder.join("inside"), "").expect("written");
            symlink("../inside", folder.join("sub/link")).expect("linked");
            symlink("../../outside", folder.join("sub/out")).expect("linked");
            symlink("/etc", folder.join("sub/etc")).expect("linked");
            symlink("nothing", folder.join("sub/dangling")).expect("linked");
            mkfifoat(CWD, folder.join("sub/pipe"), Mode::RUSR).expect("made");
        });
        assert_eq!(links(&page), ["../", "link"]);
    }

    #[test]
    fn a_huge_directory_is_listed_in_part() {
        let page = page_of("/", |folder| {
            for number in 0..=MOST {
                fs::hard_link(folder.join("0"), folder.join(number.to_string()))
                    .or_else(|_| fs::write(folder.join(number.to_string()), ""))
                    .expect("made");
            }
        });
        assert_eq!(links(&page).len(), MOST);
        assert!(page.contains("more than 10000 entries"), "no word of it");
    }
}
