//! The guide: from a first server to a tuned one. There is nothing to call in this module.
//!
//! | chapter | what it answers |
//! |---|---|
//! | [`quick_start`] | how to serve an async function, an axum router, any tower service |
//! | [`tls`] | certificates, several of them, renewal, certificates of clients |
//! | [`websockets`] | messages in both directions, origins, limits, how they end |
//! | [`tunnels`] | CONNECT and upgrades as a stream of bytes |
//! | [`shutdown`] | how to stop without a lost request, and how to hand a port over |
//! | [`limits_by_route`] | another limit for one route |
//! | [`embedding`] | one connection on any stream, other runtimes, a driver of your own |
//! | [`settings`] | every timer and limit, its value in each profile, and why |
//! | [`attacks`] | every attack, its answer, and the test that shows it |
//! | [`tuning`] | sizes for memory, many connections and slow links; what counters and close reasons mean |
//! | [`behind_a_proxy`] | nginx, HAProxy, balancers; the client's address |
//! | [`migrating`] | from hyper, axum::serve, actix-web, Hypercorn, uvicorn and gunicorn |
//!
//! The examples are for tokio. The crates `portcullis-smol` and `portcullis-async-std` have the same names, and
//! their own pages for what differs.

// For the links of the chapters.
#[cfg(doc)]
use crate::{portcullis::*, *};

#[doc = include_str!("guide/quick_start.md")]
pub mod quick_start {}

#[cfg_attr(any(feature = "aws-lc-rs", feature = "ring"), doc = include_str!("guide/tls.md"))]
#[cfg_attr(
    not(any(feature = "aws-lc-rs", feature = "ring")),
    doc = "TLS needs one of the features `aws-lc-rs` and `ring`. With it this chapter has its text."
)]
pub mod tls {}

#[doc = include_str!("guide/websockets.md")]
pub mod websockets {}

#[doc = include_str!("guide/tunnels.md")]
pub mod tunnels {}

#[doc = include_str!("guide/shutdown.md")]
pub mod shutdown {}

#[doc = include_str!("guide/limits_by_route.md")]
pub mod limits_by_route {}

#[doc = include_str!("guide/embedding.md")]
pub mod embedding {}

#[doc = include_str!("guide/settings.md")]
pub mod settings {}

#[doc = include_str!("guide/attacks.md")]
pub mod attacks {}

#[doc = include_str!("guide/tuning.md")]
pub mod tuning {}

#[doc = include_str!("guide/behind_a_proxy.md")]
pub mod behind_a_proxy {}

#[doc = include_str!("guide/migrating.md")]
pub mod migrating {}
