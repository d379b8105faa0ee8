//! The trait of a listener.

use crate::address::Address;
use crate::socket::Socket;
use portcullis::Config;
use std::io;
use std::task::{Context, Poll, Waker};

/// Accepts connections.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot accept connections for a `Server`",
    label = "this is no `Listener`",
    note = "pass a listener of the runtime, for TCP or a Unix socket, to the adapter's `serve`; its `IntoListener` makes a `Listener` of it",
    note = "to accept connections yourself, pass each to the adapter's `serve_connection`"
)]
pub trait Listener: Send + Unpin + 'static {
    /// A connection.
    type Socket: Socket;

    /// What a tower service that makes services is called with for a connection: [`Peer`](crate::Peer), or a type
    /// that lends the connected stream too.
    type Peer<'s>;

    /// Tells of a connection that was accepted, and of its peer.
    fn peer<'s>(socket: &'s Self::Socket, address: &'s Address) -> Self::Peer<'s>;

    /// A server that is configured by `config` begins to accept: sets the options of its sockets.
    fn prepare(&mut self, _: &Config) {}

    /// The next connection and its peer. Wakes the task when a connection has arrived.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Address)>>;

    /// The next of the connections that have arrived already; `None` if there is none. A server calls this
    /// before it drops the listener, so that no client that has connected is turned away.
    fn accept_now(&mut self) -> io::Result<Option<(Self::Socket, Address)>> {
        match self.poll_accept(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(accepted) => accepted.map(Some),
            Poll::Pending => Ok(None),
        }
    }
}
