//! Patterns with `*` and `?`: for attributes of resources, names of tenants, and origins.

use std::fmt;

/// A pattern over a whole value: `*` is any run of characters, also none, `?` is any one character. Case counts, and
/// `/` is a character like any other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Glob {
    /// `*`.
    Any,
    /// Without wildcards: the common case, one comparison.
    Literal(String),
    /// With wildcards.
    Pattern(String),
}

impl Glob {
    /// Every text is a glob.
    pub fn new(text: &str) -> Self {
        if !text.is_empty() && text.bytes().all(|byte| byte == b'*') {
            Self::Any
        } else if text.contains(['*', '?']) {
            Self::Pattern(text.to_owned())
        } else {
            Self::Literal(text.to_owned())
        }
    }

    /// Whether there is no value that both match. May miss a case, never claims a wrong one.
    pub fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => false,
            (Self::Literal(value), _) => !other.matches(value),
            (_, Self::Literal(value)) => !self.matches(value),
            (Self::Pattern(mine), Self::Pattern(theirs)) => {
                let (mine, theirs) = (fixed_beginning(mine), fixed_beginning(theirs));
                !mine.starts_with(theirs) && !theirs.starts_with(mine)
            }
        }
    }

    /// Whether the glob matches the whole value.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(text) => text == value,
            Self::Pattern(pattern) => wildcard(pattern, value),
        }
    }

    /// A value that the glob matches, with `filler` in place of each `*`.
    pub(crate) fn example(&self, filler: &str) -> String {
        match self {
            Self::Any => filler.to_owned(),
            Self::Literal(text) => text.clone(),
            Self::Pattern(pattern) => pattern.replace('*', filler).replace('?', "x"),
        }
    }
}

/// As it is written.
impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::Literal(text) | Self::Pattern(text) => text,
        })
    }
}

/// What stands before the first wildcard.
fn fixed_beginning(pattern: &str) -> &str {
    pattern.split(['*', '?']).next().unwrap_or_default()
}

/// Matches greedily and goes back to the last `*` only, which is enough: an earlier one can't do better. So the time
/// is at most the product of the lengths.
fn wildcard(pattern: &str, value: &str) -> bool {
    let (mut pattern, mut value) = (pattern, value);
    // Behind the last `*`, and the value from where that `*` ends.
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let mut rest = pattern.chars();
        match rest.next() {
            Some('*') => {
                pattern = rest.as_str();
                retry = Some((pattern, value));
                continue;
            }
            None if value.is_empty() => return true,
            Some(wanted) => {
                let mut ahead = value.chars();
                if ahead.next().is_some_and(|char| wanted == '?' || wanted == char) {
                    pattern = rest.as_str();
                    value = ahead.as_str();
                    continue;
                }
            }
            None => {}
        }
        let Some((after_star, from)) = retry else { return false };
        let mut ahead = from.chars();
        if ahead.next().is_none() {
            return false;
        }
        pattern = after_star;
        value = ahead.as_str();
        retry = Some((after_star, value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    #[test]
    fn a_glob_matches_the_whole_value() {
        assert!(Glob::new("prod").matches("prod"));
        assert!(!Glob::new("prod").matches("prod-1"));
        assert!(!Glob::new("prod").matches("Prod"));
        assert!(Glob::new("prod-*").matches("prod-"));
        assert!(Glob::new("*-eu-?").matches("shop-eu-eu-1"));
        assert!(Glob::new("a*b*c").matches("a/x/b.b.c"));
        assert!(!Glob::new("a*b*c").matches("acb"));
        assert!(Glob::new("?").matches("é"));
        assert!(!Glob::new("?").matches(""));
        assert!(Glob::new("*").matches(""));
        assert!(Glob::new("").matches(""));
    }

    #[test]
    fn a_long_value_takes_no_exponential_time() {
        let value = "a".repeat(512);
        assert!(!Glob::new(&("*a".repeat(100) + "*b")).matches(&value));
    }

    #[test]
    fn globs_of_different_beginnings_exclude_each_other() {
        let excludes = |one: &str, other: &str| Glob::new(one).excludes(&Glob::new(other));
        assert!(excludes("prod-*", "test-*") && excludes("prod", "test") && excludes("prod-*", "test"));
        assert!(!excludes("prod*", "prod-*") && !excludes("*-eu", "*-us") && !excludes("*", "test"));
    }

    proptest! {
        #[test]
        fn globs_that_exclude_each_other_match_no_value_in_common(
            one in "[ab*?]{0,3}", other in "[ab*?]{0,3}", value in "[ab]{0,4}"
        ) {
            let (one, other) = (Glob::new(&one), Glob::new(&other));
            prop_assert!(!one.excludes(&other) || !one.matches(&value) || !other.matches(&value));
            prop_assert_eq!(one.excludes(&other), other.excludes(&one));
        }

        #[test]
        fn globs_match_what_the_equivalent_regex_matches(pattern in "[ab*?é]{0,8}", value in "[abé]{0,10}") {
            let regex: String = pattern
                .chars()
                .map(|char| match char {
                    '*' => "(?s:.*)".to_owned(),
                    '?' => "(?s:.)".to_owned(),
                    other => other.to_string(),
                })
                .collect();
            let expected = Regex::new(&format!("^{regex}$")).unwrap().is_match(&value);
            prop_assert_eq!(Glob::new(&pattern).matches(&value), expected);
        }
    }
}
