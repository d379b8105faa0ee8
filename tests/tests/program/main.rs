//! End to end: the real program, and the examples of core, over real sockets, with raw clients that
//! play the attacks and with clients that nobody here wrote.

mod bodies;
mod browser;
mod clients;
mod connections;
mod connector;
mod crowd;
mod examples;
mod framing;
mod limits;
mod newcomers;
mod place;
mod proxies;
mod responses;
mod routes;
mod shutdown;
mod support;
mod tls;
mod trust;
mod vanishing;
mod websocket;
