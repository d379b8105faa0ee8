//! The header of the PROXY protocol before all else on a connection of a trusted proxy.
//!
//! The connection sees the bytes after the header only. Its first wait runs from accept on, so the time for the
//! header counts against `keep_alive_timeout` or `tls_handshake_timeout`. From its first byte on, the header has
//! no more time than a head: `request_head_timeout`.

use super::Drive;
use crate::proxy_protocol::ProxyHeader;
use crate::runtime;
use crate::service::Service;
use crate::socket::Socket;
use portcullis::{CloseReason, Tick, Timer};

/// A header that is not complete yet.
#[derive(Debug)]
pub(super) struct Expected {
    header: ProxyHeader,
    /// When it has to be complete, since its first byte has arrived.
    deadline: Option<Tick>,
}

impl Expected {
    /// In a box, because few connections have one, and not for long.
    pub(super) fn new() -> Box<Self> {
        Box::new(Expected { header: ProxyHeader::new(), deadline: None })
    }
}

impl<T: runtime::Timer, I: Socket, S: Service<K>, K> Drive<T, I, S, K> {
    /// Reads a proxy's header in the bytes, if one is expected. Returns the place after it; `None` if nothing
    /// is left for the connection.
    #[inline]
    pub(super) fn read_header(&mut self, now: Tick, read: &[u8]) -> Option<usize> {
        if self.header.is_none() {
            return Some(0);
        }
        self.continue_header(now, read)
    }

    #[cold]
    fn continue_header(&mut self, now: Tick, read: &[u8]) -> Option<usize> {
        let Expected { header, deadline } = &mut **self.header.as_mut()?;
        match header.receive(read) {
            Ok(Some(complete)) => {
                self.header = None;
                if let Some(client) = complete.client {
                    tracing::trace!(proxy = %self.peer, %client, "a proxy's header");
                    if let Err(why) = self.membership.identify(&self.shared, &client, now) {
                        tracing::debug!(%client, %why, "refused a client of a proxy");
                        self.connection.abort(now, CloseReason::Denied);
                        return None;
                    }
                    if let Some(span) = &self.span {
                        span.record("client", tracing::field::display(&client));
                    }
                    if let Some(listed) = &self.listed {
                        listed.identify(&client);
                    }
                    self.peer = client;
                }
                (complete.length < read.len()).then_some(complete.length)
            }
            Ok(None) => {
                let time = self.shared.config.request_head_timeout();
                deadline.get_or_insert_with(|| now.after(time));
                None
            }
            Err(_) => {
                self.refuse_header(now);
                None
            }
        }
    }

    /// Whether a part of a header has arrived.
    pub(super) fn has_begun_header(&self) -> bool {
        self.header_deadline().is_some()
    }

    #[inline]
    fn header_deadline(&self) -> Option<Tick> {
        self.header.as_ref().and_then(|expected| expected.deadline)
    }

    /// The header is malformed or incomplete.
    #[cold]
    pub(super) fn refuse_header(&mut self, now: Tick) {
        self.header = None;
        self.connection.abort(now, CloseReason::ProxyHeader);
    }

    /// Refuses a header whose deadline has passed.
    pub(super) fn expire_header(&mut self, now: Tick) {
        if self.header_deadline().is_some_and(|at| at <= now) {
            self.refuse_header(now);
        }
    }

    /// The connection's deadline, or the header's if that is earlier.
    #[inline]
    pub(super) fn deadline(&mut self) -> Option<(Tick, Timer)> {
        let deadline = self.connection.deadline();
        match (self.header_deadline(), deadline) {
            (Some(at), Some((earlier, _))) if earlier <= at => deadline,
            (Some(at), _) => Some((at, Timer::RequestHead)),
            (None, _) => deadline,
        }
    }
}
