//! What the `portcullis` program serves, for use in any process and on any runtime: the [`demo`]
//! routes, and [`files`] of a directory.
//!
//! Each is a service: a function from a request to an [`Answer`], to be passed to an adapter's
//! `serve`. None of them knows a runtime: the demo is given a [`Sleep`], and files are read on the
//! threads of the `blocking` crate.
//!
//! | room | what it does |
//! |---|---|
//! | `answer` | an answer on its way, and the short ones that all services share |
//! | `body` | the content of every answer, one enumeration |
//! | `demo` | the demo routes: `route` reads a target, `page.html` is what `GET /` shows |
//! | `status` | what `GET /status` tells |
//! | `files` | a directory's files: `path` (what a target names), `root` (the confined lookup), `conditional` and `range` (what the request's fields ask for), `reader` (content, piece by piece), `listing` |
//!
//! The program itself is beside them: `main` (parse, set up, run), `args`, `listen`, `unix_socket`, `signals`,
//! `open_files`, and `runtime`, whose children hold all that is special to one runtime.
#![deny(missing_docs)]

mod answer;
mod body;
pub mod demo;
pub mod files;
mod status;
#[cfg(test)]
mod testing;

pub use answer::{Answer, Sleep};
pub use body::{AnswerBody, BoxError};
pub use status::Status;
