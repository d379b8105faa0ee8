//! A directory as a page: a sorted list of what can be served from it, with sizes and dates.
//!
//! The page is made in pieces, on a thread that may block, when each is polled for. Between two
//! pieces it keeps a limited number of names. A larger directory is read again for the next names.
//! So a page takes the same memory for any directory and any peer.

use super::date::http_date;
use super::path::{Place, encode, is_dotted};
use super::root::Root;
use crate::body::{AnswerBody, Pieces};
use crate::later::Later;
use blocking::unblock;
use bytes::Bytes;
use cap_std::fs::{Dir, Metadata};
use rustix::fs::{Dir as Entries, DirEntry, FileType, Mode, OFlags, openat};
use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec::IntoIter;
use tokio::sync::Semaphore;

/// Entries that are read from a directory, which bounds the work of a piece.
const MOST: usize = 10_000;

/// Bytes of a piece. Its last row may exceed them.
const PIECE: usize = 16 << 10;

/// Bytes of memory for the names kept between two pieces.
const NAMES: usize = 64 << 10;

/// How many pieces the process makes at once. The others wait in order.
static MAKERS: Semaphore = Semaphore::const_new(4);

/// A page that is made while it is sent.
#[derive(Debug)]
pub(super) struct Listing(State);

enum State {
    /// The first piece is made before the answer begins, so that a failure still has a status.
    Begun(Bytes, Box<Page>),
    Resting(Box<Page>),
    Making(Later<(Box<Page>, io::Result<Bytes>)>),
    Over,
}

impl Listing {
    /// The page as content. A page of one piece has a length.
    pub(super) async fn begin<B>(page: Page) -> io::Result<AnswerBody<B>> {
        let (page, piece) = make(Box::new(page)).await;
        let piece = piece?;
        Ok(match page.progress {
            Progress::Complete => AnswerBody::whole(piece),
            _ => AnswerBody::pieces(Listing(State::Begun(piece, page))),
        })
    }
}

impl Pieces for Listing {
    fn left(&self) -> Option<u64> {
        matches!(self.0, State::Over).then_some(0)
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        _: Option<usize>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        // Restored below, unless this was the last piece.
        let mut making = match std::mem::replace(&mut self.0, State::Over) {
            State::Over => return Poll::Ready(None),
            State::Begun(piece, page) => {
                self.0 = State::Resting(page);
                return Poll::Ready(Some(Ok(piece)));
            }
            State::Resting(page) => Box::pin(make(page)),
            State::Making(making) => making,
        };
        let Poll::Ready((page, piece)) = making.as_mut().poll(cx) else {
            self.0 = State::Making(making);
            return Poll::Pending;
        };
        if piece.is_ok() && !matches!(page.progress, Progress::Complete) {
            self.0 = State::Resting(page);
        }
        Poll::Ready(Some(piece))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Begun(..) => "Begun",
            State::Resting(_) => "Resting",
            State::Making(_) => "Making",
            State::Over => "Over",
        })
    }
}

/// Waits for a permit, then makes the next piece.
async fn make(mut page: Box<Page>) -> (Box<Page>, io::Result<Bytes>) {
    let permit = MAKERS.acquire().await;
    // The permit belongs to the work, which goes on even if the answer is dropped.
    unblock(move || {
        let _permit = permit;
        let piece = page.make_piece();
        (page, piece)
    })
    .await
}

/// A page, from top to bottom.
#[derive(Debug)]
pub(super) struct Page {
    root: Arc<Root>,
    place: Place,
    directory: Dir,
    dotfiles: bool,
    progress: Progress,
}

/// How far a page has been made.
#[derive(Debug)]
enum Progress {
    Nothing,
    /// Everything before these rows.
    Rows(Names),
    Complete,
}

/// The next names of a directory.
#[derive(Debug)]
struct Names {
    names: IntoIter<Name>,
    /// The last of `names`, if the directory has more.
    last: Option<Name>,
    /// The directory has more entries than are read.
    cut: bool,
}

/// An entry's name, in the order of the page: directories first. A link counts as a file, since
/// only following it would tell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    is_file: bool,
    name: OsString,
}

impl Page {
    /// The page of `directory`, which must be readable, at `place`. Blocks.
    pub(super) fn open(
        root: Arc<Root>,
        place: Place,
        directory: &Dir,
        dotfiles: bool,
    ) -> io::Result<Page> {
        // The directory was opened only to pass through: open it again to read it.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = File::from(openat(directory, ".", flags, Mode::empty())?);
        let directory = Dir::from_std_file(directory);
        Ok(Page { root, place, directory, dotfiles, progress: Progress::Nothing })
    }

    /// Makes the next piece. Blocks.
    fn make_piece(&mut self) -> io::Result<Bytes> {
        let mut piece = String::with_capacity(PIECE);
        while piece.len() < PIECE && !matches!(self.progress, Progress::Complete) {
            self.step(&mut piece)?;
        }
        piece.shrink_to_fit();
        Ok(piece.into())
    }

    /// Adds a row, or reads the next rows.
    fn step(&mut self, piece: &mut String) -> io::Result<()> {
        // Writing to a string never fails.
        match &mut self.progress {
            Progress::Complete => {}
            Progress::Nothing => {
                let _ = write_top(piece, &self.place);
                self.progress = Progress::Rows(self.read_names(None)?);
            }
            Progress::Rows(rows) => match rows.names.next() {
                Some(Name { name, .. }) => {
                    if let Some(metadata) = self.describe(&name) {
                        let _ = write_row(piece, &name, &metadata);
                    }
                }
                None => match rows.last.take() {
                    Some(last) => self.progress = Progress::Rows(self.read_names(Some(&last))?),
                    None => {
                        let _ = write_bottom(piece, rows.cut);
                        self.progress = Progress::Complete;
                    }
                },
            },
        }
        Ok(())
    }

    /// Reads the directory for the first names beyond `after`, as many as fit into `NAMES`.
    fn read_names(&self, after: Option<&Name>) -> io::Result<Names> {
        let (mut kept, mut cost) = (BinaryHeap::<Name>::new(), 0);
        let (mut looked_at, mut cut) = (0, false);
        // The smallest name left for the next reading. No name beyond it may be kept.
        let mut left: Option<Name> = None;
        for entry in Entries::read_from(&self.directory)? {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if looked_at == MOST {
                cut = true;
                break;
            }
            looked_at += 1;
            let Some(name) = self.name_of(&entry) else { continue };
            let is_done = after.is_some_and(|after| name <= *after);
            if is_done || left.as_ref().is_some_and(|left| name > *left) {
                continue;
            }
            cost += name.cost();
            kept.push(name);
            while cost > NAMES && kept.len() > 1 {
                left = kept.pop();
                cost -= left.as_ref().map_or(0, Name::cost);
            }
        }
        let names = kept.into_sorted_vec();
        let last = names.last().filter(|_| left.is_some()).cloned();
        Ok(Names { names: names.into_iter(), last, cut })
    }

    /// The name of an entry. `None` for hidden names and for entries that are never served.
    fn name_of(&self, entry: &DirEntry) -> Option<Name> {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let is_file = match entry.file_type() {
            FileType::Directory => false,
            FileType::RegularFile | FileType::Symlink | FileType::Unknown => true,
            _ => return None,
        };
        let is_hidden = is_dotted(name) && !self.dotfiles;
        (!is_hidden).then(|| Name { is_file, name: name.to_owned() })
    }

    /// The metadata of an entry that can be served. A link has those of its target.
    fn describe(&self, name: &OsStr) -> Option<Metadata> {
        let mut metadata = self.directory.symlink_metadata(name).ok()?;
        if metadata.is_symlink() {
            metadata = self.root.describe(&self.place.entry(name)).ok()?;
        }
        (metadata.is_dir() || metadata.is_file()).then_some(metadata)
    }
}

impl Name {
    /// Approximate memory of a name: the struct and its allocation.
    fn cost(&self) -> usize {
        size_of::<Name>() + 16 + self.name.len()
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.6 ui-monospace,monospace;margin:2rem}\
td{padding-right:2rem}\
td:nth-child(2){text-align:right}";

fn write_top(piece: &mut String, place: &Place) -> fmt::Result {
    let title = place.title();
    let title = Escaped(&title);
    write!(
        piece,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<table>\n"
    )?;
    if !place.is_root() {
        piece.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    Ok(())
}

fn write_row(piece: &mut String, name: &OsStr, metadata: &Metadata) -> fmt::Result {
    let (slash, length) = match metadata.is_dir() {
        true => ("/", String::new()),
        false => ("", metadata.len().to_string()),
    };
    let modified = metadata.modified().ok().and_then(|time| http_date(time.into_std()));
    let date = modified.map(|date| date.to_string()).unwrap_or_default();
    let (href, name) = (encode(name), name.to_string_lossy());
    let name = Escaped(&name);
    writeln!(
        piece,
        "<tr><td><a href=\"{href}{slash}\">{name}{slash}</a></td><td>{length}</td><td>{date}</td></tr>"
    )
}

fn write_bottom(piece: &mut String, cut: bool) -> fmt::Result {
    piece.push_str("</table>\n");
    if cut {
        writeln!(
            piece,
            "<p>The directory has more than {MOST} entries; the rest is not listed.</p>"
        )?;
    }
    piece.push_str("</body>\n</html>\n");
    Ok(())
}

/// Escapes text for HTML.
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
    use futures_lite::future::{block_on, poll_once};
    use http_body::Body as _;
    use http_body_util::{BodyExt, Full};
    use rustix::fs::{CWD, mkfifoat};
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// The finished page of `target`, in a folder that `fill` fills.
    fn page_of(target: &str, fill: impl FnOnce(&std::path::Path)) -> String {
        let (_folder, page) = prepared(target, fill);
        let content = block_on(Listing::begin::<Full<Bytes>>(page)).expect("a page");
        let page = block_on(content.collect()).expect("a page").to_bytes();
        String::from_utf8(page.to_vec()).expect("text")
    }

    /// The same page, not made yet, and its folder.
    fn prepared(target: &str, fill: impl FnOnce(&std::path::Path)) -> (TempDir, Page) {
        let folder = TempDir::new().expect("a folder");
        fill(folder.path());
        let root = Root::open(folder.path()).expect("open");
        let place = Place::named_by(target).expect(target);
        let Found::Directory(directory) = root.look_up(place.path()).expect(target) else {
            panic!("{target} is not a directory")
        };
        let page = Page::open(Arc::new(root), place, &directory, false).expect("readable");
        (folder, page)
    }

    /// The links of a page, in their order.
    fn links(page: &str) -> Vec<&str> {
        page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn directories_come_first_and_names_are_sorted() {
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
    fn a_subdirectory_links_to_its_parent() {
        let page = page_of("/sub/", |folder| {
            fs::create_dir(folder.join("sub")).expect("made");
            fs::write(folder.join("sub/x"), "").expect("written");
        });
        assert_eq!(links(&page), ["../", "x"]);
        assert!(page.contains("<h1>/sub/</h1>"), "{page}");
    }

    #[test]
    fn names_are_escaped_in_text_and_links() {
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
    fn only_what_can_be_served_is_listed() {
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
    fn a_huge_directory_is_listed_up_to_the_limit() {
        let page = page_of("/", |folder| {
            for number in 0..=MOST {
                fs::hard_link(folder.join("0"), folder.join(number.to_string()))
                    .or_else(|_| fs::write(folder.join(number.to_string()), ""))
                    .expect("made");
            }
        });
        assert_eq!(links(&page).len(), MOST);
        assert!(page.contains("more than 10000 entries"), "the page does not say that it is cut");
    }

    /// Fills a folder with names too long to keep all at once.
    fn many(folder: &std::path::Path) {
        for number in 0..1000 {
            let name = format!("{number:04}{}", "x".repeat(200));
            match number % 10 {
                0 => fs::create_dir(folder.join(name)).expect("made"),
                _ => fs::write(folder.join(name), "").expect("written"),
            }
        }
    }

    #[test]
    fn every_name_of_a_large_directory_is_listed_in_order_and_once() {
        let page = page_of("/", many);
        let links = links(&page);
        assert_eq!(links.len(), 1000);
        let (directories, files) = links.split_at(100);
        assert!(directories.is_sorted() && directories.iter().all(|link| link.ends_with('/')));
        assert!(files.is_sorted() && !files.iter().any(|link| link.ends_with('/')));
        assert!(page.ends_with("</body>\n</html>\n"), "{page}");
    }

    #[test]
    fn a_long_page_comes_in_bounded_pieces_made_on_demand() {
        let (folder, page) = prepared("/", many);
        let mut body = block_on(Listing::begin::<Full<Bytes>>(page)).expect("begun");
        assert_eq!(body.size_hint().exact(), None);
        let mut pieces = Vec::new();
        while let Some(frame) = block_on(body.frame()) {
            let piece = frame.expect("no error").into_data().expect("data");
            assert!((1..PIECE + 4096).contains(&piece.len()), "{}", piece.len());
            pieces.push(piece);
            if pieces.len() == 1 {
                // A name that sorts after all names kept so far.
                fs::write(folder.path().join("zz"), "").expect("written");
            }
        }
        assert!(body.is_end_stream());
        let page = String::from_utf8(pieces.concat()).expect("text");
        assert!(pieces.len() > 10 && links(&page).last() == Some(&"zz"), "{}", pieces.len());
    }

    #[test]
    fn between_pieces_the_kept_names_are_bounded() {
        let (_folder, mut page) = prepared("/", many);
        while !matches!(page.progress, Progress::Complete) {
            page.make_piece().expect("made");
            if let Progress::Rows(rows) = &page.progress {
                let cost: usize = rows.names.as_slice().iter().map(Name::cost).sum();
                assert!(cost <= NAMES, "{cost}");
            }
        }
    }

    #[test]
    fn only_four_pieces_are_made_at_once() {
        let held = block_on(MAKERS.acquire_many(4)).expect("it is open");
        let (_folder, page) = prepared("/", |_| {});
        let mut waiting = Box::pin(Listing::begin::<Full<Bytes>>(page));
        assert!(
            block_on(poll_once(waiting.as_mut())).is_none(),
            "the piece was made without a permit"
        );
        drop(held);
        assert!(block_on(waiting).is_ok());
    }

    #[test]
    fn an_unreadable_directory_fails_before_the_answer_begins() {
        let (folder, page) = prepared("/", |_| {});
        let gone = Dir::from_std_file(tempfile::tempfile().expect("a file"));
        let Page { root, place, .. } = page;
        assert!(Page::open(root, place, &gone, false).is_err());
        drop(folder);
    }
}
