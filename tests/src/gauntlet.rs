//! The gauntlet: attacks a server over loopback, and measures it from outside.
//!
//! The attacks are a table of data, [`ATTACKS`]. Each has a name, its rows in `attacks.md`, settings
//! of the server, a number of attackers, a function that plays one attacker, and expectations.
//! [`run`] plays one of them: it starts the program, lets a healthy client measure its latency, lets
//! the attackers loose, and samples the memory of the server meanwhile. The verdict comes from what
//! the attackers saw and from `/proc`, never from what the server says of itself.
//!
//! | module | what it is |
//! |---|---|
//! | `table` | the attacks |
//! | `attacks` | the functions that play one attacker |
//! | `link` | an attacker's connection, and what arrived on it |
//! | `records` | seals records of TLS that no library would send |
//! | `notes` | reads answers of HTTP/1.1, frames of HTTP/2 and of websockets |
//! | `expect` | expectations, and how they are checked |
//! | `server` | the program as a child process, or another server on this machine |
//! | `healthy` | the client that measures |
//! | `arena` | one attack from its start to its report |

mod arena;
mod attack;
mod attacks;
mod expect;
mod frames;
mod healthy;
mod link;
mod notes;
mod peer;
mod records;
mod server;
mod table;

pub use arena::{Options, Report, run};
pub use attack::{Attack, Place, Places, Protocol, Runtime, Weight};
pub use expect::Expect;
pub use server::{Target, build, program_settings, raise_descriptor_limit};
pub use table::ATTACKS;

/// An error of any kind, with its context as text.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
