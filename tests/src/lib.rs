//! portcullis over real sockets, and compared with other servers.
//!
//! | module | what it is |
//! |---|---|
//! | [`load`] | a load generator, bounded in requests or time, and in connections |
//! | [`mod@reference`] | small servers with the same routes on a bare loop, hyper, axum and portcullis |
//! | [`cores`] | pins processes to processor cores, and reads their processor time |
//!
//! Three programs use them. `reference` runs one of the servers. `load` sends requests to any
//! server, or holds idle connections open. `versus` compares the servers in one run. `cost.sh`,
//! beside the manifest, counts instructions and memory with the first two.

pub mod cores;
pub mod load;
pub mod reference;
