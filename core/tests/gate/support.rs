//! A gate with connections whose standing the test chooses.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use portcullis::gate::{Denied, Gate, Limits, Report, Standing};
use portcullis::{Builder, Config, Tick};
use std::sync::Arc;

pub(crate) const KIB: u64 = 1024;

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The n-th address.
pub(crate) fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

pub(crate) struct Crowd {
    pub(crate) gate: Gate,
    pub(crate) now: Tick,
}

impl Crowd {
    pub(crate) fn new(connections: usize) -> Self {
        Crowd::with(connections, |builder| builder)
    }

    pub(crate) fn with(connections: usize, change: impl FnOnce(Builder) -> Builder) -> Self {
        let config = change(Config::builder()).build().expect("valid");
        let limits = Limits { connections, memory: connections as u64 * 100 * KIB };
        Crowd { gate: Gate::new(Arc::new(config), limits, 7), now: Tick::ZERO.after(secs(1000)) }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// A connection from the n-th address.
    pub(crate) fn come(&mut self, from: u32) -> Result<usize, Denied> {
        self.gate.admit(self.now, Some(address(from)), false)
    }

    /// A connection that stands like this from now on.
    pub(crate) fn stand(&mut self, number: usize, standing: Standing, bytes: u64) {
        let (since, until) = (self.now, self.now);
        let report = Report { standing, bytes, is_handshaking: false, since, until };
        self.gate.report(number, report);
    }

    /// One that comes and stands like this.
    pub(crate) fn join(&mut self, from: u32, standing: Standing, bytes: u64) -> usize {
        let number = self.come(from).expect("it is let in");
        self.stand(number, standing, bytes);
        number
    }

    /// One from each of these addresses, with 1 KiB.
    pub(crate) fn join_many(&mut self, from: core::ops::Range<u32>, standing: Standing) {
        for from in from {
            self.join(from, standing, KIB);
        }
    }

    /// Those that are to be closed now. They leave.
    pub(crate) fn close_all(&mut self) -> Vec<usize> {
        let mut closed = Vec::new();
        while let Ok(number) = self.gate.next_to_leave(self.now) {
            assert!(self.gate.is_asked(number));
            closed.push(number);
            self.gate.leave(self.now, number);
        }
        closed
    }
}
