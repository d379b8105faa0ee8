//! Decodes and checks the path of a target.
//!
//! An ambiguous path (`.`, `..`, an encoded slash, a backslash, NUL, a broken escape) is refused
//! and never repaired. The lookup in `root` is confined independently of this.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Everything except the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The directory for clients that know nothing about a site (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// A path below the root, without any `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    /// The target ended in a slash, so only a directory may match.
    directory: bool,
}

/// Two programs could read the path differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

impl Place {
    /// Decodes the path of a target. Several slashes in a row count as one.
    pub(super) fn named_by(target: &str) -> Result<Place, Ambiguous> {
        let target = target.strip_prefix('/').ok_or(Ambiguous)?;
        let mut path = PathBuf::new();
        for segment in target.split('/').filter(|segment| !segment.is_empty()) {
            path.push(OsStr::from_bytes(&decode(segment)?));
        }
        Ok(Place { path, directory: target.is_empty() || target.ends_with('/') })
    }

    /// The path. The root itself is `.`, since a path must not be empty.
    pub(super) fn path(&self) -> &Path {
        if self.is_root() { Path::new(".") } else { &self.path }
    }

    /// The path of an entry of this directory.
    pub(super) fn entry(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn is_root(&self) -> bool {
        self.path.as_os_str().is_empty()
    }

    /// Whether a name in the path begins with a dot, except for `/.well-known/` (RFC 8615). Such
    /// names are for the server's own use, for example `.git` and `.htpasswd`.
    pub(super) fn is_hidden(&self) -> bool {
        let mut names = self.path.iter();
        let first = names.next().is_some_and(|name| is_dotted(name) && name != WELL_KNOWN);
        first || names.any(is_dotted)
    }

    /// Whether the last name has a dot, as those of files have, and not of pages.
    pub(super) fn names_a_file(&self) -> bool {
        !self.directory && self.path.file_name().is_some_and(|name| name.as_bytes().contains(&b'.'))
    }

    pub(super) fn means_directory(&self) -> bool {
        self.directory
    }

    /// The full target of this directory. It begins with exactly one slash: with two, a browser
    /// would take the first name for a host.
    pub(super) fn directory_target(&self) -> String {
        let mut target = String::from("/");
        for segment in &self.path {
            target.push_str(&encode(segment));
            target.push('/');
        }
        target
    }

    /// The path as a heading: `/`, or with slashes on both ends.
    pub(super) fn title(&self) -> String {
        if self.is_root() { "/".to_owned() } else { format!("/{}/", self.path.to_string_lossy()) }
    }
}

/// Whether a name begins with a dot.
pub(super) fn is_dotted(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// A name as a segment of a target. The result needs no escaping in HTML.
pub(super) fn encode(name: &OsStr) -> String {
    percent_encode(name.as_bytes(), ESCAPED).to_string()
}

fn decode(segment: &str) -> Result<Vec<u8>, Ambiguous> {
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte == b'%' && !(hex(rest.next()) && hex(rest.next())) {
            return Err(Ambiguous);
        }
    }
    let name: Vec<u8> = percent_decode(segment.as_bytes()).collect();
    let refused = |byte: &u8| matches!(byte, b'/' | b'\\' | 0);
    if matches!(name.as_slice(), b"." | b"..") || name.iter().any(refused) {
        return Err(Ambiguous);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(target: &str) -> Place {
        Place::named_by(target).expect(target)
    }

    #[test]
    fn segments_are_decoded_once() {
        for (target, path) in [
            ("/a", "a"),
            ("/a/b.txt", "a/b.txt"),
            ("/a%20b", "a b"),
            ("/%E4%BD%A0", "你"),
            ("/a%2520", "a%20"),
            ("/%252e%252e", "%2e%2e"),
            ("/..a/...", "..a/..."),
            ("//a///b", "a/b"),
            ("/a+b;c=d:e@f", "a+b;c=d:e@f"),
        ] {
            assert_eq!(place(target).path(), Path::new(path), "{target}");
        }
        assert_eq!(place("/%ff").path().as_os_str().as_bytes(), b"\xff");
    }

    #[test]
    fn a_final_slash_means_a_directory() {
        assert!(place("/").is_root() && place("/").means_directory());
        assert_eq!(place("/").path(), Path::new("."));
        assert!(place("/a/").means_directory() && !place("/a/").is_root());
        assert!(!place("/a").means_directory());
    }

    #[test]
    fn dotted_names_are_hidden_except_for_well_known() {
        for target in
            ["/.git", "/%2Egit/config", "/a/.b/c", "/...", "/.well-known/.x", "/a/.well-known"]
        {
            assert!(place(target).is_hidden(), "{target}");
        }
        for target in ["/", "/a.b/c.", "/.well-known", "/.well-known/security.txt"] {
            assert!(!place(target).is_hidden(), "{target}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for target in [
            "",
            "*",
            "a",
            "/..",
            "/../",
            "/a/../b",
            "/.",
            "/a/./b",
            "/%2e%2e/x",
            "/.%2E",
            "/%2e",
            "/a%2fb",
            "/a%2Fb",
            "/%5c",
            "/a\\b",
            "/..\\x",
            "/%00",
            "/a%00.txt",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/a%",
            "/%2%65",
        ] {
            assert_eq!(Place::named_by(target), Err(Ambiguous), "{target}");
        }
    }

    #[test]
    fn a_redirect_stays_on_this_host() {
        assert_eq!(place("//example.org").directory_target(), "/example.org/");
        assert_eq!(place("/a:b/%3f%23").directory_target(), "/a%3Ab/%3F%23/");
        assert_eq!(place("/").directory_target(), "/");
    }

    #[test]
    fn an_encoded_name_decodes_to_itself() {
        for name in ["a b", "<x>&\"'", "?#%", "ünï", "a:b"] {
            let name = OsStr::new(name);
            let target = format!("/{}", encode(name));
            assert_eq!(place(&target).path().as_os_str(), name);
        }
    }
}
