//! TLS under HTTP, against a rustls client that is joined to the connection in memory, in simulated
//! time.
//!
//! | file | what it tests |
//! |---|---|
//! | `handshake` | every cut of the flights, garbage at each stage, the deadline, ALPN, resumption |
//! | `data` | requests and answers, large ones, tiny writes, backpressure, events as in plaintext |
//! | `padded` | handshake records with padding |
//! | `ends` | close_notify, truncation, failures, plain HTTP |
//! | `floods` | records without content |
//! | `tunnels` | tunnels, each direction of which ends with a close_notify |
//! | `live` | records in parts: which bytes are signs of life, and which bytes pay |
//! | `bounds` | the memory bound of any configuration, clients with certificates |
//! | `memory` | the memory of an idle connection, by the allocator's count |
//! | `choice` | settings by the client's first message, protocols that are not HTTP |
//! | `info` | what the application is told of the handshake |
//! | `sessions` | live peers, arbitrary sessions with bytes changed on the way, and the fuzzer's corpus |
#![cfg(any(feature = "aws-lc-rs", feature = "ring"))]

#[cfg(feature = "aws-lc-rs")]
use portcullis::rustls::crypto::aws_lc_rs as provider;
#[cfg(not(feature = "aws-lc-rs"))]
use portcullis::rustls::crypto::ring as provider;
use portcullis_play::tls::{alive, mutated, pair};
use portcullis_play::{hoard, play, support};

mod ahead;
mod bounds;
mod choice;
mod data;
mod earnings;
mod ends;
mod floods;
mod handshake;
mod info;
mod leftovers;
mod live;
mod memory;
mod padded;
mod sessions;
mod tunnels;
