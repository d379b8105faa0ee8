//! What the tests of the core and the fuzz targets share: sessions that are played from arbitrary bytes, and
//! scripts of a peer and an application.
//!
//! | room | what it does |
//! |---|---|
//! | [`play`] | plays arbitrary bytes against a connection, and asserts the invariants after every call |
//! | [`support`] | scripts: a line for each thing that the peer or the application does |
//! | [`http2`] | a client of HTTP/2 that sends frames and tells in words what comes |
//! | [`gate`] | a gate that is called in any order, against a model |
//! | [`against`] | plays a connection against other implementations of HTTP/2 and of its field compression |
//! | [`hoard`] | peers and applications that make a connection hold as much memory as they can |
//! | `tls` | a rustls client in memory, live peers and changed bytes over TLS; behind the providers' features |

pub mod against;
pub mod gate;
pub mod hoard;
pub mod http2;
pub mod play;
pub mod support;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub mod tls;
