//! Listening on a Unix socket: its file is made, that of a dead server is replaced, and the file is removed
//! at the end.

use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Why a path cannot be listened on.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A server listens there.
    InUse,
    /// The file there is not a socket, and is left alone.
    NotASocket,
    /// The system says so.
    System(io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Problem::System(error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::InUse => f.write_str("another server listens there"),
            Problem::NotASocket => {
                f.write_str("the file there is no socket; remove it, or choose another path")
            }
            Problem::System(error) => error.fmt(f),
        }
    }
}

/// The files of the sockets that this process listens on.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketFiles(Arc<Mutex<Vec<SocketFile>>>);

/// Removes the files when it is dropped.
#[derive(Debug)]
pub(crate) struct RemovedAtEnd(SocketFiles);

/// A socket's file, and what tells it from another that takes its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, number and age: numbers are used again.
type Identity = (u64, u64, Option<SystemTime>);

impl SocketFiles {
    /// Listens on `path`; the socket does not block. A socket of a server that is dead is replaced.
    pub(crate) fn listen(&self, path: &Path, backlog: i32) -> Result<UnixListener, Problem> {
        // Of two servers that find a dead one's socket, one would replace the other's.
        let _locked = lock_folder(path);
        let listener = match bind(path, backlog) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                check_dead(path)?;
                fs::remove_file(path)?;
                bind(path, backlog)?
            }
            done => done?,
        };
        let identity = identity(&fs::symlink_metadata(path)?);
        let file = SocketFile { path: path.to_owned(), identity };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        Ok(listener)
    }

    /// Removes the files, except for those that another server has replaced.
    pub(crate) fn remove(&self) {
        for file in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _locked = lock_folder(&file.path);
            if fs::symlink_metadata(&file.path).is_ok_and(|it| identity(&it) == file.identity) {
                // A file that stays is replaced by the next server.
                let _ = fs::remove_file(&file.path);
            }
        }
    }

    /// Removes the files when the answer is dropped.
    pub(crate) fn removed_at_end(&self) -> RemovedAtEnd {
        RemovedAtEnd(self.clone())
    }
}

impl Drop for RemovedAtEnd {
    fn drop(&mut self) {
        self.0.remove();
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino(), metadata.created().ok())
}

/// Keeps other servers out of the socket's folder for a moment, if it can be locked.
fn lock_folder(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

fn bind(path: &Path, backlog: i32) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Makes sure that the socket at `path` is one that no process listens on.
fn check_dead(path: &Path) -> Result<(), Problem> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(Problem::NotASocket);
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server with a full backlog is not waited for: it is alive.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        _ => Err(Problem::InUse),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use tempfile::TempDir;

    fn folder() -> (TempDir, PathBuf) {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("a.sock");
        (folder, path)
    }

    #[test]
    fn a_dead_servers_socket_is_replaced_and_a_live_ones_is_not() {
        let (_folder, path) = folder();
        let files = SocketFiles::default();
        let listener = files.listen(&path, 8).expect("bound");
        assert!(matches!(SocketFiles::default().listen(&path, 8), Err(Problem::InUse)));
        UnixStream::connect(&path).expect("it still listens");
        drop(listener);
        let next = SocketFiles::default();
        let _listener = next.listen(&path, 8).expect("replaced");
        UnixStream::connect(&path).expect("it listens");
        // The first one leaves the file of the second alone.
        files.remove();
        UnixStream::connect(&path).expect("it still listens");
        next.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_server_with_a_full_backlog_is_alive() {
        let (_folder, path) = folder();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        socket.bind(&SockAddr::unix(&path).expect("a path")).expect("bound");
        socket.listen(0).expect("it listens");
        let mut clients = Vec::new();
        loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
            client.set_nonblocking(true).expect("it can be set");
            if client.connect(&SockAddr::unix(&path).expect("a path")).is_err() {
                break;
            }
            clients.push(client);
        }
        assert!(matches!(SocketFiles::default().listen(&path, 8), Err(Problem::InUse)));
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let (folder, path) = folder();
        fs::write(&path, "kept").expect("written");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).expect("linked");
        for path in [&path, &link] {
            let files = SocketFiles::default();
            assert!(matches!(files.listen(path, 8), Err(Problem::NotASocket)), "{path:?}");
            files.remove();
        }
        assert_eq!(fs::read(&path).expect("there"), b"kept");
        assert!(fs::symlink_metadata(&link).is_ok());
        let too_long = folder.path().join("x".repeat(200));
        let Err(problem) = SocketFiles::default().listen(&too_long, 8) else { panic!("too long") };
        assert!(matches!(problem, Problem::System(_)), "{problem}");
    }

    #[test]
    fn the_files_are_removed_at_the_end() {
        let (_folder, path) = folder();
        let files = SocketFiles::default();
        let at_end = files.removed_at_end();
        let _listener = files.listen(&path, 8).expect("bound");
        assert!(path.exists());
        drop(at_end);
        assert!(!path.exists());
    }
}
