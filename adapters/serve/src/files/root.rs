//! The directory that is served, and lookups that cannot leave it.
//!
//! `cap-std` resolves paths relative to the open directory (with `openat2` and `RESOLVE_BENEATH`
//! where the kernel has it). Neither `..` nor a symbolic link leads out, even if the tree changes
//! meanwhile. Lookups never touch anything outside, so neither the answer nor its timing shows what
//! exists there.

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf, absolute};

/// Symbolic links that one path may pass, the same as on Linux.
const MOST_LINKS: usize = 40;

/// The directory that is served.
#[derive(Debug)]
pub(super) struct Root {
    directory: Dir,
    /// Its absolute path without symbolic links, and as it was given. An absolute link may begin
    /// with either.
    names: [PathBuf; 2],
}

/// What a path led to.
#[derive(Debug)]
pub(super) enum Found {
    /// A regular file, open for reading.
    File(File, Metadata),
    /// A directory, opened only to pass through. Whether it is readable shows later.
    Directory(Dir),
    /// A pipe, a socket or a device, which is never opened.
    Special,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Root> {
        let names = [path.canonicalize()?, absolute(path)?];
        let directory = Dir::open_ambient_dir(&names[0], ambient_authority())?;
        // Opening did not need read permission; this does.
        directory.entries()?;
        Ok(Root { directory, names })
    }

    /// Finds `path`, which is relative to the root, and opens it if it is a file.
    ///
    /// Opening a pipe or a device may block or have effects. So the path is first opened as a mere
    /// handle, and for reading only once it is known to be a file.
    pub(super) fn look_up(&self, path: &Path) -> io::Result<Found> {
        self.confined(path, |path| {
            let handle = self.open_with(path, HANDLE)?;
            let metadata = handle.metadata()?;
            if metadata.is_dir() {
                return Ok(Found::Directory(Dir::from_std_file(handle)));
            }
            if !metadata.is_file() {
                return Ok(Found::Special);
            }
            let file = match reopen(&handle) {
                Ok(file) => file,
                // Without /proc the path is opened once more. By then it may lead to another file,
                // so opening must not block, and the type is checked again.
                Err(Errno::NOENT | Errno::NOTSUP) => self.open_with(path, READING)?,
                Err(error) => return Err(error.into()),
            };
            let metadata = file.metadata()?;
            Ok(if metadata.is_file() { Found::File(file, metadata) } else { Found::Special })
        })
    }

    fn open_with(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits().cast_signed());
        Ok(self.directory.open_with(path, &options)?.into_std())
    }

    /// The metadata of `path`, without opening it.
    pub(super) fn describe(&self, path: &Path) -> io::Result<cap_std::fs::Metadata> {
        self.confined(path, |path| self.directory.metadata(path))
    }

    /// Runs `look` on `path`. If an absolute link leads out of the root, runs it again on the path
    /// that the link means below the root. The second run is as confined as the first.
    fn confined<T>(&self, path: &Path, look: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        match look(path) {
            Err(error) if leads_out(&error) => match self.without_absolute_links(path) {
                Some(path) => look(&path),
                None => Err(error),
            },
            looked => looked,
        }
    }

    /// The same place by a path without absolute links; `None` if it lies outside of the root.
    fn without_absolute_links(&self, path: &Path) -> Option<PathBuf> {
        if path.is_absolute() {
            return None;
        }
        let mut ahead = names_of(path);
        let (mut reached, mut links) = (PathBuf::new(), 0);
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                if !reached.pop() {
                    return None;
                }
                continue;
            }
            let next = reached.join(&name);
            // Any other error is left to the lookup.
            let Ok(target) = self.directory.read_link_contents(&next) else {
                reached = next;
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return None;
            }
            let target = if target.is_absolute() {
                reached.clear();
                self.names.iter().find_map(|name| target.strip_prefix(name).ok())?
            } else {
                &target
            };
            for name in names_of(target).into_iter().rev() {
                ahead.push_front(name);
            }
        }
        Some(if reached.as_os_str().is_empty() { PathBuf::from(".") } else { reached })
    }
}

/// Whether `cap-std` says that a path leaves the root. Its error has no number, unlike the
/// system's.
pub(super) fn leads_out(error: &io::Error) -> bool {
    error.kind() == ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

/// The names in a path, with `..`.
fn names_of(path: &Path) -> VecDeque<OsString> {
    let is_name =
        |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_name).map(|part| part.as_os_str().to_owned()).collect()
}

/// Opening a pipe must not wait for its other end, and a terminal must not become the process's
/// own.
const READING: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

/// Other systems have no handles: a pipe or a device is opened, but without waiting for it.
#[cfg(not(target_os = "linux"))]
const HANDLE: OFlags = READING;

#[cfg(not(target_os = "linux"))]
fn reopen(handle: &File) -> Result<File, Errno> {
    rustix::io::dup(handle).map(File::from)
}

/// A handle refers to a file without access to its content.
#[cfg(target_os = "linux")]
const HANDLE: OFlags = OFlags::PATH;

/// Opens for reading the very file that the handle refers to.
#[cfg(target_os = "linux")]
fn reopen(handle: &File) -> Result<File, Errno> {
    use rustix::fs::{Mode, openat};
    use std::os::fd::AsRawFd;
    let name = handle.as_raw_fd().to_string();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | READING;
    openat(rustix_linux_procfs::proc_self_fd()?, name, flags, Mode::empty()).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A folder with a `secret` and, beside it, a root `site`.
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
        // A neighbour whose name begins with the root's name is outside as well.
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
    fn a_pipe_is_refused_without_blocking() {
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
