//! Stands in for TLS in a build without it: there are no settings, and no connection uses TLS.

use super::{MemoryBound, Received};
use crate::budget::Budget;
use crate::close::TlsFailure;
use crate::config::Config;
use crate::input::Held;
use crate::output::Output;
use crate::time::Tick;
use std::io::IoSlice;

pub(crate) fn memory_bound(_: &Config) -> MemoryBound {
    MemoryBound::default()
}

/// Has no values: no connection uses TLS in this build.
#[derive(Debug)]
pub(crate) enum Tls {}

impl Tls {
    pub(crate) fn begin(_: &Config) -> Option<Result<Box<Self>, TlsFailure>> {
        None
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match *self {}
    }

    pub(crate) fn is_untouched(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_closed_by_peer(&self) -> bool {
        match *self {}
    }

    pub(crate) fn take_failure(&mut self) -> Option<TlsFailure> {
        match *self {}
    }

    pub(crate) fn receive(
        &mut self,
        _: &Config,
        _: &mut Budget,
        _: Tick,
        _: &mut [u8],
        _: &mut Held,
    ) -> Received {
        match *self {}
    }

    pub(crate) fn partial_record(&self) -> Option<usize> {
        match *self {}
    }

    pub(crate) fn seal(&mut self, _: &mut Output) {
        match *self {}
    }

    pub(crate) fn end(&mut self, _: &Output) {
        match *self {}
    }

    pub(crate) fn unsent(&self) -> usize {
        match *self {}
    }

    pub(crate) fn slices<'a>(&'a self, _: &mut [IoSlice<'a>]) -> usize {
        match *self {}
    }

    pub(crate) fn sent(&mut self, _: usize, _: &Output) -> usize {
        match *self {}
    }

    pub(crate) fn release(&mut self, _: &Output) {
        match *self {}
    }

    pub(crate) fn memory(&self, _: &Config) -> usize {
        match *self {}
    }
}
