//! End to end: the real program, and the examples of core, over real sockets, with raw clients that
//! play the attacks and with clients that nobody here wrote.

mod bodies;
mod clients;
mod connections;
mod crowd;
mod examples;
mod framing;
mod responses;
mod shutdown;
mod support;
mod tls;
mod trust;
mod websocket;
