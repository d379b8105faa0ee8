//! Futures that are boxed: of handlers, and of a runtime's timer.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Makes a future that is ready after the given time, with a runtime's timer.
pub type Sleep = fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A boxed future of a handler or a timer.
pub(crate) type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
