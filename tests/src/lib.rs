//! portcullis over real sockets, and compared with other servers.
//!
//! | module | what it is |
//! |---|---|
//! | [`load`] | a load generator, bounded in requests or time, and in connections |
//! | [`mod@reference`] | small servers with the same routes on a bare loop, hyper, axum and portcullis |
//! | [`gauntlet`] | attacks on a server, and clients that must live |
//! | [`cores`] | pins processes to processor cores, and reads their processor time |
//!
//! Four programs use them. `reference` runs one of the servers. `load` sends requests to any
//! server, or holds idle connections open. `versus` compares the servers in one run. `gauntlet`
//! attacks the program, or another server. `cost.sh`, beside the manifest, counts instructions and
//! memory with the first two.

pub mod cores;
#[cfg(target_os = "linux")]
pub mod gauntlet;
pub mod load;
pub mod reference;
