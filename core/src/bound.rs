//! The most memory that one connection owns: the sum over its layers.

use crate::config::Config;
use crate::connection::Connection;
use crate::exchange::{self, target};
use crate::{h1, h2, head, output, tls, websocket};
use core::mem::size_of;

impl Config {
    /// The most memory that one connection owns, in bytes: itself and its heap, after every call
    /// and while its events are pulled.
    ///
    /// The bound holds as long as the driver keeps to [`Connection::receive`]'s contract. `Bytes`
    /// that the application hands over count with their length, not with the allocation that they
    /// keep alive. The memory of rustls is an estimate, and the server's certificates beyond 32 KiB
    /// are not part of it.
    pub fn memory_bound(&self) -> usize {
        let section = self.request_head_limit().max(self.trailers_limit());
        // An encoded copy of the target, while its event is lent.
        let told = target::longest(self);
        let input = (section + self.receive_buffer_limit() + told) as usize;
        let lines = head::memory_bound(self);
        let unsent = output::memory_bound(self);
        // A request's content, or the tunnel that the connection has become.
        let content = exchange::MEMORY.max(h1::tunnel::MEMORY);
        let tls = tls::memory_bound(self);
        let beneath = tls.handshake.max(content + input + lines + unsent + tls.after);
        size_of::<Connection>() + beneath
    }

    /// The most memory that a connection owns once it speaks HTTP/2: [`Config::memory_bound`], and beside it the
    /// state of `http2_concurrent_streams` streams, the tables for their fields, and content that nobody has
    /// read.
    pub fn http2_memory_bound(&self) -> usize {
        self.memory_bound().saturating_add(h2::memory_bound(self))
    }

    /// The most memory that a connection owns once it is a websocket.
    ///
    /// This includes a message that is lent while events are pulled. It also includes what the
    /// adapters hold for a handler: one message, and 16 KiB of small ones. The bound holds for a
    /// websocket without a larger `message_limit` of its own, and with compression only if
    /// `websocket_deflate` is on. [`Connection::memory_bound`] holds for any websocket.
    pub fn websocket_memory_bound(&self) -> usize {
        self.memory_bound().saturating_add(websocket::memory_bound(self))
    }
}
