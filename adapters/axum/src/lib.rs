//! What axum users need beside `portcullis_tokio::serve`.
//!
//! | for | here |
//! |---|---|
//! | websockets | [`ws`], with the names of `axum::extract::ws` |
//! | a limit of the content by route | [`BodyLimit`], a layer |
//! | deadlines for the content and the answer by route | [`Deadlines`], a layer |
//! | handlers that stop when the client has gone | [`Disconnected`], an extractor |
//! | `ConnectInfo` | `into_make_service_with_connect_info`, as with axum; a type of your own implements `Connected<IncomingStream<'_, TcpListener>>` with `portcullis_tokio::IncomingStream`, and on other runtimes `Connected<Peer>` |
//!
//! ```
//! use axum::Router;
//! use axum::routing::get;
//! use portcullis_axum::Disconnected;
//!
//! /// Works until it is done, or nobody waits for it any more.
//! async fn report(gone: Disconnected) -> String {
//!     let mut lines = String::new();
//!     for number in 0..1000 {
//!         if gone.is_disconnected() {
//!             break;
//!         }
//!         lines += &format!("{number}\n");
//!     }
//!     lines
//! }
//!
//! let app: Router = Router::new().route("/report", get(report));
//! # drop(app);
//! ```
//!
#![doc = include_str!("../MOVING.md")]
#![deny(missing_docs)]

mod limit;
pub mod ws;

pub use limit::{BodyLimit, Deadlines, LimitBody, LimitTime, LimitedAnswer};
pub use portcullis_driver::{Address, Disconnected, Peer};
