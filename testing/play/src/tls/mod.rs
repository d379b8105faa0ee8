//! A rustls client that is joined to a connection in memory, in simulated time.
//!
//! | file | what it does |
//! |---|---|
//! | `pair` | both ends, and what passes between them |
//! | `link` | TLS as a link of the sessions that are played |
//! | `alive` | a live peer over TLS |
//! | `mutated` | sessions with bytes changed on the way |

pub mod alive;
pub mod link;
pub mod mutated;
pub mod pair;

#[cfg(feature = "aws-lc-rs")]
pub use portcullis::rustls::crypto::aws_lc_rs as provider;
#[cfg(not(feature = "aws-lc-rs"))]
pub use portcullis::rustls::crypto::ring as provider;
