//! TLS beneath the protocol, against a rustls client that is joined to the connection in memory, in
//! simulated time.
//!
//! | file | what it tests |
//! |---|---|
//! | `handshake` | every cut of the flights, garbage at each stage, the deadline, ALPN, resumption |
//! | `data` | requests and answers, large ones, tiny writes, backpressure, events as in plaintext |
//! | `padded` | handshake records with padding |
//! | `ends` | close_notify, truncation, failures, plain HTTP |
//! | `floods` | records that bring nothing |
//! | `live` | records in parts: what counts as a sign of life, and what pays |
//! | `bounds` | the memory bound of any configuration, clients with certificates |
//! | `memory` | what an idle connection owns, by the allocator's count |
//! | `alive`, `link` | a live peer over TLS |
//! | `sessions` | arbitrary sessions with bytes changed on the way, also those of the fuzzer |
#![cfg(any(feature = "aws-lc-rs", feature = "ring"))]

#[path = "../hoard/mod.rs"]
mod hoard;
#[path = "../play/mod.rs"]
mod play;
#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "aws-lc-rs")]
use portcullis::rustls::crypto::aws_lc_rs as provider;
#[cfg(not(feature = "aws-lc-rs"))]
use portcullis::rustls::crypto::ring as provider;

mod ahead;
mod alive;
mod bounds;
mod data;
mod earnings;
mod ends;
mod floods;
mod handshake;
mod leftovers;
mod link;
mod live;
mod memory;
mod mutated;
mod padded;
mod pair;
mod sessions;
