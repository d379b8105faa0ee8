//! The server's side of a connection as a pure state machine: bytes and clock ticks go in; events,
//! bytes and one deadline come out. It is built so that no peer can hold a connection, or make the
//! server hold memory, for longer or more than a number that the configuration names.
#![doc = ""]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod close;
mod common;
mod config;
mod connection;
mod event;
mod h1;
mod input;
mod output;
mod rate;
mod status;
mod time;

pub use close::{CloseReason, Misuse, PeerClose, Refusal, ResetReason};
pub use config::{Builder, Config, ConfigError, Setting};
pub use connection::{Connection, Events};
pub use event::{Begun, BodyLength, Event, FieldLines, RequestHead, StreamId, Trailers};
pub use rate::MinimumRate;
pub use status::{Phase, Status};
pub use time::{Tick, Timer};
