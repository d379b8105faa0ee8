//! What pressure on all connections changes for each of them: timers shrink, and connections are not kept.

use super::Config;
use core::fmt;
use core::time::Duration;

/// No timer that waits for a peer becomes shorter than this because of pressure.
const FLOOR: Duration = Duration::from_secs(1);

/// How much pressure the connections are under, as far as each of them has to know.
///
/// There are few values, so that a configuration for each can be made once and shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stress {
    eighths: u8,
    ends_keep_alive: bool,
}

impl Stress {
    /// No pressure.
    pub const NONE: Stress = Stress { eighths: 0, ends_keep_alive: false };
    /// The number of values.
    pub const COUNT: usize = 2 * (EIGHTHS as usize + 1);

    /// Timers are shorter by so many eighths, and connections are not kept for another request if
    /// `ends_keep_alive`.
    pub(crate) fn new(eighths: u8, ends_keep_alive: bool) -> Self {
        Stress { eighths: eighths.min(EIGHTHS), ends_keep_alive }
    }

    /// By how many eighths timers are shorter: 0 to 8.
    pub fn eighths(self) -> u8 {
        self.eighths
    }

    /// Whether connections are not kept for another request.
    pub fn ends_keep_alive(self) -> bool {
        self.ends_keep_alive
    }

    /// The place of this value among all: less than [`COUNT`](Self::COUNT).
    pub fn index(self) -> usize {
        2 * usize::from(self.eighths) + usize::from(self.ends_keep_alive)
    }

    /// The value at a place; `None` outside of them.
    pub fn at(index: usize) -> Option<Stress> {
        let eighths = u8::try_from(index / 2).ok().filter(|it| *it <= EIGHTHS)?;
        Some(Stress { eighths, ends_keep_alive: index % 2 == 1 })
    }

    fn shrink(self, time: &mut Duration) {
        let left = u32::from(EIGHTHS - self.eighths);
        *time = (*time * left / u32::from(EIGHTHS)).max(FLOOR.min(*time));
    }
}

/// The number of steps in which timers shrink.
pub(crate) const EIGHTHS: u8 = 8;

impl fmt::Display for Stress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keeps = if self.ends_keep_alive { ", connections are not kept" } else { "" };
        write!(f, "timers are shorter by {} eighths{keeps}", self.eighths)
    }
}

impl Config {
    /// The configuration under pressure. Each timer that waits for the peer is shorter by so many eighths, but
    /// not below 1 s, or its own time if that is less. Pings keep their interval, since shorter ones would cost
    /// more. A connection that is not to be kept announces the end with its next answer.
    ///
    /// Limits of memory stay as they are.
    pub fn stressed(&self, stress: Stress) -> Config {
        let mut config = self.clone();
        for time in config.waits() {
            stress.shrink(time);
        }
        if stress.ends_keep_alive {
            config.requests_per_connection = 1;
        }
        config
    }

    /// Whether the other configuration differs from this one only in what pressure changes.
    pub(crate) fn is_akin(&self, other: &Config) -> bool {
        let mut own = self.clone();
        own.requests_per_connection = other.requests_per_connection;
        let mut copy = other.clone();
        for (own, other) in own.waits().into_iter().zip(copy.waits()) {
            *own = *other;
        }
        own == *other
    }

    /// The times for which connections wait for their peers.
    fn waits(&mut self) -> [&mut Duration; 14] {
        [
            &mut self.tls_handshake_timeout,
            &mut self.keep_alive_timeout,
            &mut self.request_head_timeout,
            &mut self.request_body_grace,
            &mut self.request_body_silence,
            &mut self.response_grace,
            &mut self.response_silence,
            &mut self.peer_gone_timeout,
            &mut self.linger_timeout,
            &mut self.linger_silence,
            &mut self.websocket_close_timeout,
            &mut self.tunnel_idle_timeout,
            &mut self.drain_idle_timeout,
            &mut self.http2_settings_ack_timeout,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_place() {
        for index in 0..Stress::COUNT {
            let stress = Stress::at(index).expect("a value");
            assert_eq!(stress.index(), index);
        }
        assert_eq!((Stress::at(Stress::COUNT), Stress::at(0)), (None, Some(Stress::NONE)));
    }

    #[test]
    fn timers_shrink_in_steps_down_to_their_floor() {
        let config = Config::default();
        let times = |config: &Config| {
            [
                config.tls_handshake_timeout(),
                config.keep_alive_timeout(),
                config.drain_idle_timeout(),
            ]
            .map(|time| time.as_millis())
        };
        for (eighths, expected) in [
            (0, [60_000, 5000, 500]),
            (1, [52_500, 4375, 500]),
            (4, [30_000, 2500, 500]),
            (7, [7500, 1000, 500]),
            (8, [1000, 1000, 500]),
        ] {
            let stressed = config.stressed(Stress::new(eighths, false));
            assert_eq!(times(&stressed), expected);
            assert!(config.is_akin(&stressed) && stressed.is_akin(&config));
            assert_eq!(stressed.memory_bound(), config.memory_bound());
        }
        assert_eq!(config.stressed(Stress::NONE), config);
        let last = config.stressed(Stress::new(3, true));
        assert_eq!(last.requests_per_connection(), 1);
        assert!(config.is_akin(&last) && !config.is_akin(&Config::strict()));
    }
}
