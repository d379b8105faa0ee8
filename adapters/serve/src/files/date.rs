//! Dates as HTTP writes them (RFC 9110 5.6.7): whole seconds of the years 1970 to 9999.

use httpdate::HttpDate;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first second of the year 10000.
const END: Duration = Duration::from_secs(253_402_300_800);

/// `time` as an HTTP date, if HTTP can express it. Files may have dates that it can't.
pub(super) fn http_date(time: SystemTime) -> Option<HttpDate> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    (since < END).then(|| HttpDate::from(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_second() {
        let second = Duration::from_secs(1);
        assert_eq!(http_date(UNIX_EPOCH - second), None);
        assert_eq!(http_date(UNIX_EPOCH + END), None);
        let text = |time| http_date(time).expect("a date").to_string();
        assert_eq!(text(UNIX_EPOCH), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(UNIX_EPOCH + END - second), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
