//! Applications of axum on `serve`, with clients that nobody here wrote.

mod client;
mod requests;
mod websockets;
