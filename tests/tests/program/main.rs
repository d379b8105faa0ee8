//! End-to-end tests of the real program, and of the examples of core, over real sockets. Raw
//! clients play the attacks; independent clients check interoperability.

mod access_log;
mod axum;
mod bodies;
mod browser;
mod clients;
mod configuration;
mod connections;
mod connector;
mod crowd;
mod examples;
mod framing;
mod grpc;
mod handover;
mod health;
mod http2;
mod http2_frames;
mod limits;
mod metrics;
mod newcomers;
mod peers;
mod place;
mod proxies;
mod proxy_protocol;
mod responses;
mod reverse_proxy;
mod routes;
mod shielded_flask;
mod shutdown;
mod status_site;
mod support;
mod tls;
mod trust;
mod upstreams;
mod vanishing;
mod websocket;
