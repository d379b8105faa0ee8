//! The directory that is served, and lookups that cannot leave it.
//!
//! Paths are resolved by `cap-std` relative to the open directory (`openat2` with
//! `RESOLVE_BENEATH` where the kernel has it): neither `..` nor a symbolic link leads out, and no
//! change of the tree meanwhile does.

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The directory that is served.
#[derive(Debug)]
pub(super) struct Root {
    directory: Dir,
    /// Where it was found; resolves links that are absolute.
    path: PathBuf,
}

/// What a path led to.
#[derive(Debug)]
pub(super) enum Found {
    /// A regular file, open.
    File(File, Metadata),
    /// A directory, open.
    Directory(Dir),
    /// A pipe, a socket or a device: none of those is opened for a peer.
    Special,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Root> {
        let path = path.canonicalize()?;
        let directory = Dir::open_ambient_dir(&path, ambient_authority())?;
        // The directory was opened for passing through: this is what tells that it can be read.
        directory.entries()?;
        Ok(Root { directory, path })
    }

    /// Opens what is at `path`, which is relative to the root.
    pub(super) fn look_up(&self, path: &Path) -> io::Result<Found> {
        self.confined(path, |path| {
            // Opening a pipe would wait for its other end.
            let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(flags.bits().cast_signed());
            let file = self.directory.open_with(path, &options)?.into_std();
            let metadata = file.metadata()?;
            Ok(if metadata.is_file() {
                Found::File(file, metadata)
            } else if metadata.is_dir() {
                Found::Directory(Dir::from_std_file(file))
            } else {
                Found::Special
            })
        })
    }

    /// Describes what is at `path`, without opening it.
    pub(super) fn describe(&self, path: &Path) -> io::Result<cap_std::fs::Metadata> {
        self.confined(path, |path| self.directory.metadata(path))
    }

    /// Looks for `path`; if that leads out of the root, once more for what it leads to, which can be
    /// inside again: a link may be absolute. That second path is only a hint, as confined as the first.
    fn confined<T>(&self, path: &Path, look: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        look(path).or_else(|error| {
            // The system's own refusals have a number.
            if error.kind() != ErrorKind::PermissionDenied || error.raw_os_error().is_some() {
                return Err(error);
            }
            let inside = self.path.join(path).canonicalize()?;
            match inside.strip_prefix(&self.path) {
                Ok(path) if path.as_os_str().is_empty() => look(Path::new(".")),
                Ok(path) => look(path),
                Err(_) => Err(error),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A folder with a `secret` and a root `site` beside it.
    fn folder() -> (TempDir, Root) {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("secret"), "secret").expect("written");
        let site = folder.path().join("site");
        fs::create_dir_all(site.join("sub/deep")).expect("made");
        fs::write(site.join("a.txt"), "inside").expect("written");
        let root = Root::open(&site).expect("open");
        (folder, root)
    }

    fn content(root: &Root, path: &str) -> io::Result<String> {
        match root.look_up(Path::new(path))? {
            Found::File(mut file, _) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok(text)
            }
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    #[test]
    fn files_directories_and_the_root_itself_are_found() {
        let (_folder, root) = folder();
        assert_eq!(content(&root, "a.txt").expect("found"), "inside");
        for path in [".", "sub", "sub/deep"] {
            let found = root.look_up(Path::new(path)).expect(path);
            assert!(matches!(found, Found::Directory(_)), "{path}: {found:?}");
        }
        let missing = root.look_up(Path::new("sub/b.txt")).expect_err("missing");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert_eq!(root.describe(Path::new("a.txt")).expect("described").len(), 6);
    }

    #[test]
    fn no_path_leads_out() {
        let (_folder, root) = folder();
        for path in ["../secret", "sub/../../secret", "/etc/passwd", "sub/deep/../../../secret"] {
            let error = content(&root, path).expect_err(path);
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{path}");
            assert!(root.describe(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn no_link_leads_out() {
        let (folder, root) = folder();
        let site = folder.path().join("site");
        symlink("../secret", site.join("relative")).expect("linked");
        symlink(folder.path().join("secret"), site.join("absolute")).expect("linked");
        symlink("..", site.join("up")).expect("linked");
        symlink(folder.path(), site.join("out")).expect("linked");
        symlink("relative", site.join("twice")).expect("linked");
        symlink("/", site.join("slash")).expect("linked");
        symlink("loop", site.join("loop")).expect("linked");
        for path in ["relative", "absolute", "up/secret", "out/secret", "twice", "slash/etc/passwd"]
        {
            let error = content(&root, path).expect_err(path);
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{path}");
            assert!(root.describe(Path::new(path)).is_err(), "{path}");
        }
        assert!(content(&root, "loop").is_err());
        // A neighbour whose name begins with the root's is outside as well.
        fs::write(folder.path().join("site2"), "neighbour").expect("written");
        symlink(folder.path().join("site2"), site.join("beside")).expect("linked");
        assert!(content(&root, "beside").is_err());
    }

    #[test]
    fn links_that_stay_inside_are_followed() {
        let (folder, root) = folder();
        let site = folder.path().join("site");
        symlink("a.txt", site.join("relative")).expect("linked");
        symlink("../../a.txt", site.join("sub/deep/up")).expect("linked");
        symlink(site.join("a.txt"), site.join("absolute")).expect("linked");
        symlink(&site, site.join("sub/home")).expect("linked");
        for path in ["relative", "sub/deep/up", "absolute", "sub/home/a.txt", "sub/home/relative"] {
            assert_eq!(content(&root, path).expect(path), "inside", "{path}");
            assert_eq!(root.describe(Path::new(path)).expect(path).len(), 6, "{path}");
        }
        assert!(matches!(root.look_up(Path::new("sub/home")), Ok(Found::Directory(_))));
    }

    #[test]
    fn a_pipe_is_neither_waited_for_nor_served() {
        let (folder, root) = folder();
        let pipe = folder.path().join("site/pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("made");
        assert!(matches!(root.look_up(Path::new("pipe")), Ok(Found::Special)));
    }

    #[test]
    fn only_a_directory_can_be_a_root() {
        let (folder, _) = folder();
        assert!(Root::open(&folder.path().join("nowhere")).is_err());
        assert!(Root::open(&folder.path().join("secret")).is_err());
    }
}
