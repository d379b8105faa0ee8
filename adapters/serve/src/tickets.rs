//! Keys for session tickets, from files that several processes share. SIGHUP reads them again.

use portcullis_driver::{TicketKeys, TicketKeysError};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most bytes of a file: what is larger is no key. A device such as /dev/urandom has no end.
const LARGEST: u64 = 4096;

/// The keys in use, and where they come from.
#[derive(Debug)]
pub(crate) struct Tickets {
    files: Vec<PathBuf>,
    keys: TicketKeys,
}

/// Why there are no keys for session tickets.
#[derive(Debug)]
pub(crate) enum TicketError {
    Unreadable { path: PathBuf, error: io::Error },
    TooLarge { path: PathBuf },
    BadSecret { path: PathBuf, error: TicketKeysError },
}

impl Tickets {
    /// Reads these files. `audience` says who the sessions are for: processes that differ in it don't resume each
    /// other's.
    pub(crate) fn load(files: Vec<PathBuf>, audience: &[u8]) -> Result<Self, TicketError> {
        let keys = TicketKeys::new(read(&files)?, audience).map_err(bad(&files))?;
        Ok(Tickets { files, keys })
    }

    /// Reads the files again. After an error the previous keys stay in use.
    pub(crate) fn reload(&self) -> Result<(), TicketError> {
        self.keys.set(read(&self.files)?).map_err(bad(&self.files))
    }

    /// The keys, which a reload changes.
    pub(crate) fn keys(&self) -> TicketKeys {
        self.keys.clone()
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, TicketError> {
    files.iter().map(|path| read_one(path)).collect()
}

fn read_one(path: &Path) -> Result<Vec<u8>, TicketError> {
    let mut secret = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut secret))
        .map_err(|error| TicketError::Unreadable { path: path.to_owned(), error })?;
    if secret.len() as u64 > LARGEST {
        return Err(TicketError::TooLarge { path: path.to_owned() });
    }
    Ok(secret)
}

/// Names the file that an error is about.
fn bad(files: &[PathBuf]) -> impl FnOnce(TicketKeysError) -> TicketError {
    move |error| {
        let place = match error {
            TicketKeysError::TooShort { place, .. } => place,
            _ => 0,
        };
        let path = files.get(place).cloned().unwrap_or_default();
        TicketError::BadSecret { path, error }
    }
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TicketError::Unreadable { path, error } => {
                write!(f, "cannot read {}: {error}", path.display())
            }
            TicketError::TooLarge { path } => write!(
                f,
                "{} has more than {LARGEST} bytes, so it is no key for session tickets",
                path.display()
            ),
            TicketError::BadSecret { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for TicketError {}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::server::ProducesTickets;
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn a_reload_reads_the_files_and_an_error_keeps_the_previous_keys() {
        let folder = TempDir::new().expect("a folder");
        let files = ["new", "old"].map(|name| folder.path().join(name));
        fs::write(&files[0], [1; 80]).expect("written");
        fs::write(&files[1], [2; 48]).expect("written");
        let tickets = Tickets::load(files.to_vec(), b"").expect("two keys");
        let ticket = tickets.keys().encrypt(b"session").expect("sealed");
        // What was new is old now.
        fs::write(&files[1], [1; 80]).expect("written");
        fs::write(&files[0], [3; 80]).expect("written");
        tickets.reload().expect("two keys");
        assert!(tickets.keys().decrypt(&ticket).is_some());
        fs::write(&files[1], [4; 80]).expect("written");
        fs::write(&files[0], "too short").expect("written");
        let error = tickets.reload().expect_err("too short").to_string();
        assert!(error.contains("new: ") && error.contains("9 bytes"), "{error}");
        assert!(tickets.keys().decrypt(&ticket).is_some());
        fs::remove_file(&files[0]).expect("removed");
        let error = tickets.reload().expect_err("gone").to_string();
        assert!(error.starts_with("cannot read "), "{error}");
        fs::write(&files[0], [5; 5000]).expect("written");
        let error = tickets.reload().expect_err("too large").to_string();
        assert!(error.contains("more than 4096 bytes"), "{error}");
    }
}
