//! Two clocks: the monotonic one for connections, and the date for answers.

use http::HeaderValue;
use portcullis::Tick;
use std::cell::RefCell;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

/// The origin of ticks, one for the process.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The tick of `instant`.
pub(crate) fn tick(instant: Instant) -> Tick {
    Tick::ZERO.after(instant.saturating_duration_since(*ORIGIN))
}

/// The instant of `tick`; `None` if the platform's clock cannot express it.
pub(crate) fn instant(tick: Tick) -> Option<Instant> {
    ORIGIN.checked_add(Duration::from_nanos(tick.as_nanos()))
}

/// The time of day, for refusals. It is 0 if the system's clock stands before 1970.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

thread_local! {
    /// The second in which the date was made, and the date (RFC 9110 6.6.1).
    static DATE: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// Lends the value of the `Date` field at `now`. Each thread makes it anew once a second.
pub(crate) fn with_date<T>(now: Tick, use_it: impl FnOnce(&HeaderValue) -> T) -> T {
    let second = now.as_nanos() / 1_000_000_000;
    DATE.with_borrow_mut(|date| match date {
        Some((made, value)) if *made == second => use_it(value),
        _ => use_it(&date.insert((second, today())).1),
    })
}

#[cold]
fn today() -> HeaderValue {
    let text = httpdate::fmt_http_date(SystemTime::now());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_instants_agree() {
        LazyLock::force(&ORIGIN);
        let now = Instant::now();
        let later = now + Duration::from_millis(1500);
        assert_eq!(tick(later).since(tick(now)), Duration::from_millis(1500));
        assert_eq!(instant(tick(later)), Some(later));
    }

    #[test]
    fn a_date_reads_back_as_now() {
        let date = with_date(tick(Instant::now()), HeaderValue::clone);
        let read = httpdate::parse_http_date(date.to_str().expect("ASCII")).expect("a date");
        let age = SystemTime::now().duration_since(read).expect("not in the future");
        assert!(age < Duration::from_secs(60), "{age:?}");
    }
}
