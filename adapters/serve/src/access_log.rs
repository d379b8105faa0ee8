//! The access log: a line for each request, written by a thread of its own.
//!
//! In: requests that are over, or were refused. Out: lines in a file. Connections never wait for the file. If it is slow, lines
//! queue up to a limit; further lines are lost and counted.
//!
//! Clients choose targets, referers and user agents. All that could end a line or a field, and all that is not
//! ASCII, is escaped as nginx does (`\x0A`). So no client can forge a line, or send controls to a terminal.

use portcullis_driver::{Access, Address};
use serde_json::json;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The most lines that wait for the file.
const LINES: usize = 16 << 10;
/// The most bytes that wait for the file.
const BYTES: usize = 4 << 20;
/// The longest wait for the last lines at the end of the program.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many bytes are written at once if so many wait.
const BATCH: usize = 64 << 10;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// The Common Log Format of NCSA httpd, Apache and nginx.
    #[default]
    Common,
    /// The same with the referer and the user agent.
    Combined,
    /// A JSON object.
    Json,
}

/// An access log. A clone writes to the same file.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: LogFormat,
    shared: Arc<Shared>,
    lines: SyncSender<Option<Box<str>>>,
}

#[derive(Debug)]
struct Shared {
    /// `None` is standard output.
    path: Option<PathBuf>,
    /// Bytes that wait.
    waiting: AtomicUsize,
    lost: AtomicU64,
    reopens: AtomicBool,
}

impl AccessLog {
    /// Opens the file to add lines to it; `-` is standard output.
    ///
    /// # Errors
    /// If the file cannot be opened, or the thread cannot start.
    pub fn open(path: &Path, format: LogFormat) -> io::Result<Self> {
        let path = (path != Path::new("-")).then(|| path.to_owned());
        let out = Out::open(path.as_deref())?;
        let shared = Arc::new(Shared {
            path,
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            reopens: AtomicBool::new(false),
        });
        let (sender, lines) = sync_channel(LINES);
        let of_thread = shared.clone();
        let name = "access log".to_owned();
        thread::Builder::new().name(name).spawn(move || write(&of_thread, &lines, out))?;
        Ok(AccessLog { format, shared, lines: sender })
    }

    /// Queues a line. It never waits: if the queue is full, the line is lost and counted.
    pub fn log(&self, access: &Access<'_>) {
        self.queue(line(self.format, access, SystemTime::now()).into_boxed_str());
    }

    fn queue(&self, line: Box<str>) {
        let length = line.len();
        let fits = self.shared.waiting.fetch_add(length, Relaxed) + length <= BYTES;
        if !fits || self.lines.try_send(Some(line)).is_err() {
            self.shared.waiting.fetch_sub(length, Relaxed);
            self.shared.lost.fetch_add(1, Relaxed);
        }
    }

    /// Lines that were lost since the start, because the file was slow or failed.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Relaxed)
    }

    /// Opens the file by its path again, after it was moved away. The lines that wait go to the new file.
    pub fn reopen(&self) {
        self.shared.reopens.store(true, Relaxed);
        // If the queue is full, its next line wakes the thread.
        let _ = self.lines.try_send(None);
    }

    /// Waits until all lines are written, for two seconds at most: a slow disk must not hold up the end of the
    /// program.
    pub fn finish(self) {
        let end = Instant::now() + PATIENCE;
        while self.shared.waiting.load(Relaxed) > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Where lines go.
#[derive(Debug)]
enum Out {
    File(File),
    Standard,
}

impl Out {
    fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Out::Standard) };
        Ok(Out::File(OpenOptions::new().append(true).create(true).open(path)?))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Out::File(file) => file.write_all(bytes),
            Out::Standard => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
        }
    }
}

/// Writes lines until no log is left, or the program ends.
fn write(shared: &Shared, lines: &Receiver<Option<Box<str>>>, mut out: Out) {
    let (mut batch, mut fails) = (String::new(), false);
    loop {
        // The sender may have found the queue full, so flags are also looked at from time to time.
        let mut next = match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut count = 0;
        loop {
            if let Some(line) = next.take() {
                batch.push_str(&line);
                count += 1;
            }
            if batch.len() >= BATCH {
                break;
            }
            match lines.try_recv() {
                Ok(line) => next = line,
                Err(_) => break,
            }
        }
        if shared.reopens.swap(false, Relaxed) {
            match Out::open(shared.path.as_deref()) {
                Ok(new) => out = new,
                Err(error) => {
                    tracing::error!(%error, "cannot open the access log again: the file from before stays in use");
                }
            }
        }
        if !batch.is_empty() {
            let written = out.write(batch.as_bytes());
            if let Err(error) = &written {
                shared.lost.fetch_add(count, Relaxed);
                // Once for each time that it begins to fail.
                if !fails {
                    tracing::error!(%error, "cannot write to the access log: lines are lost");
                }
            }
            fails = written.is_err();
            shared.waiting.fetch_sub(batch.len(), Relaxed);
            batch.clear();
        }
    }
}

/// The line of a request that ended `now`.
fn line(format: LogFormat, access: &Access<'_>, now: SystemTime) -> String {
    match format {
        LogFormat::Json => json_line(access, now),
        LogFormat::Common => common(access, now) + "\n",
        LogFormat::Combined => {
            let mut line = common(access, now);
            for value in [access.referer, access.user_agent] {
                // Writing to a string never fails.
                let _ = write!(line, " \"{}\"", Escaped(value.unwrap_or(b"-")));
            }
            line + "\n"
        }
    }
}

fn common(access: &Access<'_>, now: SystemTime) -> String {
    let host = match access.peer {
        Address::Ip(address) => address.ip().to_string(),
        // As nginx writes it: the path of a client's socket says nothing.
        Address::Unix(_) => "unix:".to_owned(),
        _ => "-".to_owned(),
    };
    let request = match (access.method, access.target) {
        (None, None) => "-".to_owned(),
        (method, target) => {
            let [method, target] = [method, target].map(|it| Escaped(it.unwrap_or("-").as_bytes()));
            format!("{method} {target} {:?}", access.version)
        }
    };
    let status = access.status.map_or("-".to_owned(), |status| status.as_str().to_owned());
    let (time, sent) = (clf_time(now), access.sent);
    format!("{host} - - [{time}] \"{request}\" {status} {sent}")
}

/// The time as in `10/Oct/2000:13:55:36 +0000`, in UTC.
fn clf_time(now: SystemTime) -> String {
    // Such as `Tue, 10 Oct 2000 13:55:36 GMT`.
    let date = httpdate::fmt_http_date(now);
    let mut words = date.split(' ').skip(1);
    let [day, month, year, time] = std::array::from_fn(|_| words.next().unwrap_or_default());
    format!("{day}/{month}/{year}:{time} +0000")
}

fn json_line(access: &Access<'_>, now: SystemTime) -> String {
    let text =
        |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
    let value = json!({
        "time": humantime::format_rfc3339_millis(now).to_string(),
        "peer": access.peer.to_string(),
        "method": access.method,
        "target": access.target,
        "version": format!("{:?}", access.version),
        "status": access.status.map(|status| status.as_u16()),
        "sent": access.sent,
        "seconds": access.duration.as_micros() as f64 / 1e6,
        "referer": text(access.referer),
        "user_agent": text(access.user_agent),
        "ending": access.ending.label(),
        "reason": access.reason,
    });
    in_ascii(&value.to_string()) + "\n"
}

/// JSON with all that is not ASCII escaped. It stands within strings. Some of it controls terminals, or reverses
/// text.
fn in_ascii(json: &str) -> String {
    let mut line = String::new();
    for char in json.chars() {
        if char.is_ascii() && char != '\x7f' {
            line.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        }
    }
    line
}

/// Text of a client, with `"`, `\`, controls and all that is not ASCII as `\xHH`.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                b'"' | b'\\' | ..0x20 | 0x7f.. => write!(f, "\\x{byte:02X}")?,
                byte => f.write_char(char::from(*byte))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// Waits until nothing waits for the file.
    fn settle(log: &AccessLog) {
        while log.shared.waiting.load(Relaxed) > 0 || log.shared.reopens.load(Relaxed) {
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn no_byte_of_a_client_ends_a_line_or_a_field() {
        for byte in 0..=255_u8 {
            let escaped = Escaped(&[b'a', byte, b'b']).to_string();
            let stays = matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte);
            let expected =
                if stays { format!("a{}b", char::from(byte)) } else { format!("a\\x{byte:02X}b") };
            assert_eq!(escaped, expected);
        }
        let hostile = "\" \n\r\\ \u{1b}[2J \u{7f} \u{9b} \u{202e} \u{1f600}";
        let line = in_ascii(&json!(hostile).to_string());
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), hostile);
    }

    #[test]
    fn times_are_as_in_other_servers_logs() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(971_186_136);
        assert_eq!(clf_time(time), "10/Oct/2000:13:55:36 +0000");
    }

    #[test]
    fn a_file_that_was_moved_is_opened_again() {
        let folder = TempDir::new().expect("a folder");
        let [path, old] = ["log", "log.1"].map(|name| folder.path().join(name));
        let log = AccessLog::open(&path, LogFormat::Common).expect("it opens");
        log.queue("one\n".into());
        settle(&log);
        fs::rename(&path, &old).expect("moved");
        log.queue("two\n".into());
        settle(&log);
        log.reopen();
        settle(&log);
        log.queue("three\n".into());
        settle(&log);
        assert_eq!(fs::read_to_string(&old).expect("text"), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).expect("text"), "three\n");
        // Lines are added to what is there.
        log.finish();
        let log = AccessLog::open(&path, LogFormat::Common).expect("it opens");
        log.queue("four\n".into());
        log.finish();
        assert_eq!(fs::read_to_string(&path).expect("text"), "three\nfour\n");
        assert!(AccessLog::open(folder.path(), LogFormat::Common).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn lines_that_the_disk_does_not_take_are_counted() {
        let full = AccessLog::open(Path::new("/dev/full"), LogFormat::Common).expect("it opens");
        full.queue("one\n".into());
        settle(&full);
        assert_eq!(full.lost(), 1);
    }
}
