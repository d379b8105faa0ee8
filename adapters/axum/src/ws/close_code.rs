//! Close codes (RFC 6455 7.4.1), with the names of `axum::extract::ws::close_code`.

/// The purpose of the websocket has been fulfilled.
pub const NORMAL: u16 = 1000;
/// The endpoint goes away: the server shuts down, or the browser has left the page.
pub const AWAY: u16 = 1001;
/// A protocol error.
pub const PROTOCOL: u16 = 1002;
/// A type of data that the endpoint can't accept.
pub const UNSUPPORTED: u16 = 1003;
/// There was no code. It is never sent.
pub const STATUS: u16 = 1005;
/// The connection ended without a close. It is never sent.
pub const ABNORMAL: u16 = 1006;
/// Data that does not fit the message's type, such as text that is not UTF-8.
pub const INVALID: u16 = 1007;
/// A message against the endpoint's policy.
pub const POLICY: u16 = 1008;
/// A message that is too large.
pub const SIZE: u16 = 1009;
/// The client misses an extension.
pub const EXTENSION: u16 = 1010;
/// The server met an unexpected condition.
pub const ERROR: u16 = 1011;
/// The server restarts.
pub const RESTART: u16 = 1012;
/// The server is overloaded.
pub const AGAIN: u16 = 1013;
