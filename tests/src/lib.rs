//! Portcullis over real sockets, and beside other servers.
//!
//! | module | what it is |
//! |---|---|
//! | [`load`] | a bounded load generator: so many requests or so long, over so many connections |
//! | [`mod@reference`] | small servers with the same routes on a bare loop, hyper, axum and portcullis |
//! | [`cores`] | which processor core a process runs on, and how much of it a process has used |
//!
//! Three programs use them: `reference` runs one of the servers, `load` sends requests to any server
//! or holds idle connections open, and `versus` compares the servers in one go. `cost.sh`, beside
//! the manifest, counts instructions and memory with the first two.

pub mod cores;
pub mod load;
pub mod reference;
