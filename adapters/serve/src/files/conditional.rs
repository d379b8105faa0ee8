//! Conditional requests (RFC 9110 13): compares a file's tag and date with a request's fields.

use super::coding::Coding;
use super::date::http_date;
use http::header::{
    ETAG, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue};
use httpdate::HttpDate;
use std::fs::Metadata;
use std::time::{SystemTime, UNIX_EPOCH};

/// Identifies a version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    /// A tag, made of the file's length, the nanosecond of its last change, and the coding. It is weak if the
    /// file is compressed while it is sent, since another version of the program may do that otherwise.
    tag: String,
    /// The last change, if HTTP has a date for it.
    modified: Option<HttpDate>,
}

/// The result of a request's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer as without conditions.
    Proceed,
    /// 304: the client has this version.
    NotModified,
    /// 412: the client asked for another version.
    Failed,
}

impl Validators {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Validators::new(metadata.len(), metadata.modified().ok(), SystemTime::now())
    }

    fn new(length: u64, modified: Option<SystemTime>, now: SystemTime) -> Self {
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let tag = match since {
            Some(since) => format!("\"{length:x}-{:x}\"", since.as_nanos()),
            None => format!("\"{length:x}\""),
        };
        // `Last-Modified` must not lie in the future (RFC 9110 8.8.2.1).
        let modified = modified.and_then(|time| http_date(time.min(now)));
        Validators { tag, modified }
    }

    /// The same for the content in another coding.
    pub(super) fn coded(mut self, coding: Coding, is_made_now: bool) -> Self {
        let tag = self.tag.trim_matches('"');
        let weak = if is_made_now { "W/" } else { "" };
        self.tag = format!("{weak}\"{tag}-{}\"", coding.name());
        self
    }

    /// Adds `ETag` and `Last-Modified`.
    pub(super) fn tell(&self, fields: &mut HeaderMap) {
        if let Ok(tag) = HeaderValue::try_from(self.tag.as_str()) {
            fields.insert(ETAG, tag);
        }
        if let Some(modified) = self.modified
            && let Ok(date) = HeaderValue::try_from(modified.to_string())
        {
            fields.insert(LAST_MODIFIED, date);
        }
    }

    /// Evaluates the conditions of a GET or HEAD, in the order of RFC 9110 13.2.2.
    pub(super) fn weigh(&self, fields: &HeaderMap) -> Verdict {
        if fields.contains_key(IF_MATCH) {
            if !self.is_listed(fields, IF_MATCH, is_same_strongly) {
                return Verdict::Failed;
            }
        } else if let (Some(date), Some(modified)) =
            (date(fields, IF_UNMODIFIED_SINCE), self.modified)
            && modified > date
        {
            return Verdict::Failed;
        }
        if fields.contains_key(IF_NONE_MATCH) {
            if self.is_listed(fields, IF_NONE_MATCH, is_same_weakly) {
                return Verdict::NotModified;
            }
        } else if let (Some(date), Some(modified)) =
            (date(fields, IF_MODIFIED_SINCE), self.modified)
            && modified <= date
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Whether a part may be sent: there is no `If-Range`, or it names this version.
    pub(super) fn allow_part(&self, fields: &HeaderMap) -> bool {
        match fields.get(IF_RANGE) {
            None => true,
            Some(value) if value.as_bytes().starts_with(b"\"") => value == self.tag.as_str(),
            Some(_) => self.modified.is_some() && date(fields, IF_RANGE) == self.modified,
        }
    }

    fn is_listed(
        &self,
        fields: &HeaderMap,
        name: HeaderName,
        is_same: fn(&str, &str) -> bool,
    ) -> bool {
        // A comma within a tag splits it into fragments, which never equal our tag.
        fields
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim_matches([' ', '\t']))
            .any(|tag| tag == "*" || is_same(tag, &self.tag))
    }
}

fn is_same_strongly(theirs: &str, ours: &str) -> bool {
    theirs == ours && !ours.starts_with("W/")
}

/// A weak tag matches as well. A proxy may have weakened ours.
fn is_same_weakly(theirs: &str, ours: &str) -> bool {
    theirs.trim_start_matches("W/") == ours.trim_start_matches("W/")
}

/// The date of a field. A malformed one is ignored.
fn date(fields: &HeaderMap, name: HeaderName) -> Option<HttpDate> {
    fields.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BEFORE: &str = "Sat, 01 Jan 2000 00:00:00 GMT";
    const AT: &str = "Sat, 01 Jan 2000 00:00:01 GMT";
    const AFTER: &str = "Sat, 01 Jan 2000 00:00:02 GMT";
    const AT_SECONDS: u64 = 946_684_801;
    const TAG: &str = "\"a-d234ccf8dddca05\"";

    fn file() -> Validators {
        let modified = UNIX_EPOCH + Duration::new(AT_SECONDS, 5);
        Validators::new(10, Some(modified), modified + Duration::from_secs(1000))
    }

    fn fields(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name.clone(), HeaderValue::try_from(*value).expect("a value"));
        }
        map
    }

    #[test]
    fn the_fields_have_the_tag_and_the_date() {
        let mut told = HeaderMap::new();
        file().tell(&mut told);
        assert_eq!(told[ETAG], TAG);
        assert_eq!(told[LAST_MODIFIED], AT);
    }

    #[test]
    fn a_nanosecond_or_a_byte_makes_another_tag() {
        let at = UNIX_EPOCH + Duration::new(AT_SECONDS, 5);
        let later = at + Duration::from_nanos(1);
        let now = at + Duration::from_secs(5);
        assert_ne!(Validators::new(10, Some(later), now).tag, TAG);
        assert_ne!(Validators::new(11, Some(at), now).tag, TAG);
    }

    #[test]
    fn a_future_date_is_clamped_and_one_before_1970_left_out() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let future = Validators::new(1, Some(now + Duration::from_secs(50)), now);
        assert_eq!(future.modified, Some(now.into()));
        let early = Validators::new(1, Some(UNIX_EPOCH - Duration::from_secs(1)), now);
        let mut told = HeaderMap::new();
        early.tell(&mut told);
        assert!(told.contains_key(ETAG) && !told.contains_key(LAST_MODIFIED));
        assert_eq!(early.weigh(&fields(&[(IF_MODIFIED_SINCE, AT)])), Verdict::Proceed);
        assert!(!early.allow_part(&fields(&[(IF_RANGE, AT)])));
    }

    #[test]
    fn conditions_by_tag_win_over_those_by_date() {
        let tag = TAG;
        let weak = format!("W/{tag}");
        let listed = format!("\"x\", {weak}");
        for (given, verdict) in [
            (vec![], Verdict::Proceed),
            (vec![(IF_NONE_MATCH, tag)], Verdict::NotModified),
            (vec![(IF_NONE_MATCH, &weak)], Verdict::NotModified),
            (vec![(IF_NONE_MATCH, &listed)], Verdict::NotModified),
            (vec![(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, tag)], Verdict::NotModified),
            (vec![(IF_NONE_MATCH, "*")], Verdict::NotModified),
            (vec![(IF_NONE_MATCH, "\"x\"")], Verdict::Proceed),
            (vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, AFTER)], Verdict::Proceed),
            (vec![(IF_MODIFIED_SINCE, BEFORE)], Verdict::Proceed),
            (vec![(IF_MODIFIED_SINCE, AT)], Verdict::NotModified),
            (vec![(IF_MODIFIED_SINCE, AFTER)], Verdict::NotModified),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], Verdict::Proceed),
            (vec![(IF_MATCH, tag)], Verdict::Proceed),
            (vec![(IF_MATCH, "*")], Verdict::Proceed),
            (vec![(IF_MATCH, &weak)], Verdict::Failed),
            (vec![(IF_MATCH, "\"x\"")], Verdict::Failed),
            (vec![(IF_MATCH, tag), (IF_UNMODIFIED_SINCE, BEFORE)], Verdict::Proceed),
            (vec![(IF_MATCH, tag), (IF_NONE_MATCH, tag)], Verdict::NotModified),
            (vec![(IF_UNMODIFIED_SINCE, BEFORE)], Verdict::Failed),
            (vec![(IF_UNMODIFIED_SINCE, AT)], Verdict::Proceed),
        ] {
            assert_eq!(file().weigh(&fields(&given)), verdict, "{given:?}");
        }
    }

    #[test]
    fn a_part_is_sent_of_this_version_only() {
        let tag = TAG;
        let weak = format!("W/{tag}");
        for (given, allowed) in [
            (vec![], true),
            (vec![(IF_RANGE, tag)], true),
            (vec![(IF_RANGE, AT)], true),
            (vec![(IF_RANGE, &weak)], false),
            (vec![(IF_RANGE, "\"x\"")], false),
            (vec![(IF_RANGE, BEFORE)], false),
            (vec![(IF_RANGE, AFTER)], false),
            (vec![(IF_RANGE, "*")], false),
        ] {
            assert_eq!(file().allow_part(&fields(&given)), allowed, "{given:?}");
        }
    }
}
