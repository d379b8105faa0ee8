//! `Cache-Control` by the paths of files.

use globset::{GlobBuilder, GlobMatcher};
use http::HeaderValue;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Files, as a pattern, and the `Cache-Control` (RFC 9111 5.2) of their answers: `*.html=no-cache`,
/// `/assets/**=public, max-age=31536000, immutable`.
///
/// A pattern with a slash is for whole paths from the root; one without is for names in any directory. `*` and
/// `?` stand for no slash, `**` for any number of directories, `{a,b}` for one of both.
#[derive(Clone, Debug)]
pub struct CacheRule {
    pattern: GlobMatcher,
    /// The pattern is for whole paths.
    is_for_paths: bool,
    value: HeaderValue,
}

/// Why a text is no [`CacheRule`].
#[derive(Debug)]
pub enum BadCacheRule {
    /// There is no `=` between a pattern and a value.
    NoValue,
    /// The pattern is malformed.
    Pattern(globset::Error),
    /// A field can't have this value.
    Value(http::header::InvalidHeaderValue),
}

impl CacheRule {
    /// The value for a file at this path below the root, if the rule is for it.
    pub(super) fn value(&self, path: &Path) -> Option<HeaderValue> {
        let matches = if self.is_for_paths {
            self.pattern.is_match(path)
        } else {
            path.file_name().is_some_and(|name| self.pattern.is_match(name))
        };
        matches.then(|| self.value.clone())
    }
}

impl FromStr for CacheRule {
    type Err = BadCacheRule;

    fn from_str(text: &str) -> Result<Self, BadCacheRule> {
        let (pattern, value) = text.split_once('=').ok_or(BadCacheRule::NoValue)?;
        let is_for_paths = pattern.contains('/');
        let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        Ok(CacheRule {
            pattern: glob.map_err(BadCacheRule::Pattern)?.compile_matcher(),
            is_for_paths,
            value: HeaderValue::from_str(value.trim()).map_err(BadCacheRule::Value)?,
        })
    }
}

impl fmt::Display for BadCacheRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadCacheRule::NoValue => f.write_str("expected PATTERN=VALUE, such as *.html=no-cache"),
            BadCacheRule::Pattern(error) => write!(f, "bad pattern: {error}"),
            BadCacheRule::Value(_) => {
                f.write_str("the value has characters that a field can't have")
            }
        }
    }
}

impl std::error::Error for BadCacheRule {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BadCacheRule::NoValue => None,
            BadCacheRule::Pattern(error) => Some(error),
            BadCacheRule::Value(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_with_a_slash_are_for_paths_and_others_for_names() {
        for (rule, path, expected) in [
            ("*.html=no-cache", "index.html", true),
            ("*.html=no-cache", "a/b/c.html", true),
            ("*.html=no-cache", "a.html/b", false),
            ("/assets/**=max-age=9, immutable", "assets/a/b.js", true),
            ("/assets/**=max-age=9", "b/assets/a.js", false),
            ("/assets/*=max-age=9", "assets/a/b.js", false),
            ("assets/*.{js,css}=max-age=9", "assets/b.css", true),
            ("**/x.js=max-age=9", "a/b/x.js", true),
        ] {
            let rule: CacheRule = rule.parse().expect(rule);
            assert_eq!(rule.value(Path::new(path)).is_some(), expected, "{path}");
        }
        let rule: CacheRule = "/a/**= public, max-age=9 ".parse().expect("valid");
        assert_eq!(rule.value(Path::new("a/b")).expect("it matches"), "public, max-age=9");
    }

    #[test]
    fn mistakes_are_explained() {
        for (rule, said) in [
            ("*.html", "expected PATTERN=VALUE"),
            ("[=no-cache", "bad pattern"),
            ("*=a\u{7f}", "characters that a field can't have"),
        ] {
            let error = rule.parse::<CacheRule>().expect_err(rule).to_string();
            assert!(error.contains(said), "{rule}: {error}");
        }
    }
}
