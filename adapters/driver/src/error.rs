//! Errors: of the application, and of the content of a request.

use portcullis::ResetReason;
use std::error::Error;
use std::fmt;

/// An error of the application's, to be logged.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why the content ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The request ended early; the peer has been told.
    Reset(ResetReason),
    /// The connection is closed, or the request was answered without its content.
    Closed,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Reset(reason) => reason.fmt(f),
            BodyError::Closed => f.write_str("the exchange is over"),
        }
    }
}

impl Error for BodyError {}
