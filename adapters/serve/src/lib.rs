//! The services of the `portcullis` program, for use in any process and on any runtime: the
//! [`demo`] routes, [`files`] of a directory, and a [`proxy`] before another server.
//!
//! Each is a service, a function from a request to an [`Answer`], for an adapter's `serve`. They
//! don't depend on a runtime: the demo takes a [`Sleep`], and files are read on the threads of the
//! `blocking` crate.
//!
//! | module | what it does |
//! |---|---|
//! | `access_log` | lines for requests that are over, and the thread that writes them |
//! | `answer` | the future of an answer, and the short answers that all services share |
//! | `body` | the content of every answer |
//! | `demo` | the demo routes: `route` parses a target, `page.html` is what `GET /` shows |
//! | `proxy` | passes requests on to another server |
//! | `reloads` | how often the configuration was read again |
//! | `health` | `GET /healthz` and `GET /readyz` before the routes of any service |
//! | `status` | the counters as JSON and as Prometheus' text; `site`: the routes before those of any service, `/status`, `/metrics` and the page `/status/`; `live`: what that page is told |
//! | `files` | a directory's files: `path` (decodes a target), `root` (the confined lookup), `conditional`, `range` and `coding` (request fields), `cache` (Cache-Control), `reader` (content in pieces), `listing` |
//!
//! The program itself is beside them: `main` (parse, set up, run), `args`, `config_file`, `print_config`, `listen`, `unix_socket`, `systemd`, `signals`, `reload`, `handover`,
//! `open_files`, `status_apart`, and `runtime`, whose children hold all that is special to one runtime.
#![deny(missing_docs)]

mod access_log;
mod answer;
mod body;
pub mod demo;
pub mod files;
mod health;
mod later;
pub mod proxy;
mod reloads;
mod status;
#[cfg(test)]
mod testing;

pub use access_log::{AccessLog, LogFormat};
pub use answer::Answer;
pub use body::{AnswerBody, BoxError};
pub use health::{Health, Readiness};
pub use later::Sleep;
pub use reloads::Reloads;
pub use status::{Status, StatusSite};
