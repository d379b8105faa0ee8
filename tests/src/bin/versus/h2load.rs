//! Loads a server over HTTP/2 with `h2load` of nghttp2, and reads its figures.
//!
//! It runs on the core of this process. A wrong answer is an error: a status other than 2xx, a stream that
//! fails, or content of another length in all.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use portcullis_tests::load::Transport;

use crate::server::Server;

/// Seconds without a byte after which a connection has failed.
const PATIENCE: &str = "10";

/// One kind of load.
pub(crate) struct H2load<'a> {
    pub(crate) connections: usize,
    /// Streams of each connection at the same time.
    pub(crate) streams: usize,
    pub(crate) target: String,
    /// The length of each answer's content.
    pub(crate) answer_length: u64,
    /// The file that each request uploads.
    pub(crate) upload: Option<&'a Path>,
}

/// Whether h2load can be run.
pub(crate) fn is_there() -> bool {
    let version = Command::new("h2load").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

impl H2load<'_> {
    /// The least number of requests: all streams at the same time.
    pub(crate) fn least(&self) -> u64 {
        (self.connections * self.streams) as u64
    }

    /// Sends `count` requests. Returns how long they took.
    pub(crate) fn run(&self, server: &Server, count: u64) -> Result<Duration, Box<dyn Error>> {
        let scheme = match server.transport() {
            Transport::Plain => "http",
            Transport::Tls(_) => "https",
        };
        let mut command = Command::new("h2load");
        command.stdin(Stdio::null());
        for (option, value) in [
            ("--requests", count.to_string()),
            ("--clients", self.connections.to_string()),
            ("--max-concurrent-streams", self.streams.to_string()),
            ("--connection-inactivity-timeout", PATIENCE.to_owned()),
        ] {
            command.arg(option).arg(value);
        }
        if let Some(file) = self.upload {
            command.arg("--data").arg(file);
        }
        command.arg(format!("{scheme}://{}{}", server.address(), self.target));
        let output = command.output().map_err(|error| format!("h2load cannot be run: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let said = Said::read(&text).ok_or_else(|| {
            let line = String::from_utf8_lossy(&output.stderr);
            format!("h2load gave no figures: {}", line.lines().next().unwrap_or_default())
        })?;
        let expected = (count, count, count * self.answer_length);
        match (said.succeeded, said.answered, said.content) == expected {
            true => Ok(Duration::from_secs_f64(count as f64 / said.rate)),
            false => Err(format!(
                "of {count} requests {} succeeded, {} with 2xx, with {} bytes of content",
                said.succeeded, said.answered, said.content
            )
            .into()),
        }
    }
}

/// The figures that h2load prints.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Said {
    /// Requests per second.
    rate: f64,
    succeeded: u64,
    /// Answers with a status of 2xx.
    answered: u64,
    /// Bytes of content.
    content: u64,
}

impl Said {
    fn read(text: &str) -> Option<Self> {
        // Each figure stands before its unit; that of the content in parentheses.
        let number = |line: &str, unit: &str| -> Option<String> {
            let line = text.lines().find_map(|it| it.strip_prefix(line))?;
            let part = line.split(", ").find_map(|it| it.trim().strip_suffix(unit))?;
            let part = part.rsplit('(').next()?.trim_end_matches(')');
            Some(part.trim().to_owned())
        };
        Some(Self {
            rate: number("finished in ", " req/s")?.parse().ok().filter(|rate| *rate > 0.0)?,
            succeeded: number("requests: ", " succeeded")?.parse().ok()?,
            answered: number("status codes: ", " 2xx")?.parse().ok()?,
            content: number("traffic: ", ") data")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_the_output() {
        let text = "\
            starting benchmark...\n\
            progress: 100% done\n\
            \n\
            finished in 42.58ms, 23485.79 req/s, 1.02MB/s\n\
            requests: 1000 total, 1000 started, 1000 done, 998 succeeded, 2 failed, 2 errored, 0 timeout\n\
            status codes: 998 2xx, 0 3xx, 0 4xx, 0 5xx\n\
            traffic: 44.46KB (45529) total, 1.27KB (1303) headers (space savings 98.97%), 12.70KB (13000) data\n";
        let said = Said { rate: 23_485.79, succeeded: 998, answered: 998, content: 13_000 };
        assert_eq!(Said::read(text), Some(said));
        assert_eq!(Said::read("finished in 0us, 0.00 req/s, 0B/s\n"), None);
        assert_eq!(Said::read(""), None);
    }
}
