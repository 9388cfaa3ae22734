//! What the value of a resource attribute must be for a route to match.

use regex::Regex;

/// A condition on one attribute.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// The value matches the glob.
    Glob(Glob),
    /// The value matches one of the globs.
    AnyOf(Vec<Glob>),
    /// The regular expression matches somewhere in the value.
    Regex(Regex),
    /// The other condition does not hold; so it does where the attribute is absent, as with `!=` in `PromQL`.
    Not(Box<Matcher>),
    /// The attribute is there, or is not.
    Exists(bool),
}

impl Matcher {
    /// Whether the condition holds for the attribute's value as text, `None` where the attribute is absent.
    pub fn matches(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), _) => value.is_some() == *wanted,
            (Self::Not(inner), _) => !inner.matches(value),
            (Self::Glob(glob), Some(value)) => glob.matches(value),
            (Self::AnyOf(globs), Some(value)) => globs.iter().any(|glob| glob.matches(value)),
            (Self::Regex(regex), Some(value)) => regex.is_match(value),
            (Self::Glob(_) | Self::AnyOf(_) | Self::Regex(_), None) => false,
        }
    }

    /// Whether the condition can only hold where the attribute is there.
    pub fn needs_presence(&self) -> bool {
        match self {
            Self::Glob(_) | Self::AnyOf(_) | Self::Regex(_) => true,
            Self::Exists(wanted) => *wanted,
            Self::Not(inner) => matches!(**inner, Self::Exists(false)),
        }
    }

    /// Whether `other` holds for every value for which this one holds. May miss a case (regular expressions are
    /// only compared as text), never claims a wrong one.
    pub fn implies(&self, other: &Self) -> bool {
        let any_value = match other {
            Self::Exists(wanted) => *wanted,
            Self::Glob(glob) => *glob == Glob::Any,
            Self::AnyOf(globs) => globs.contains(&Glob::Any),
            Self::Regex(_) | Self::Not(_) => false,
        };
        if any_value && self.needs_presence() {
            return true;
        }
        match (self, other) {
            (Self::Glob(Glob::Literal(value)), _) => other.matches(Some(value)),
            (Self::Glob(mine), Self::Glob(theirs)) => mine == theirs,
            (Self::Glob(mine), Self::AnyOf(theirs)) => theirs.contains(mine),
            (Self::AnyOf(globs), _) => globs.iter().all(|glob| Self::Glob(glob.clone()).implies(other)),
            (Self::Regex(mine), Self::Regex(theirs)) => mine.as_str() == theirs.as_str(),
            (Self::Not(mine), Self::Not(theirs)) => theirs.implies(mine),
            (Self::Exists(mine), Self::Exists(theirs)) => mine == theirs,
            (Self::Exists(false), Self::Not(theirs)) => theirs.needs_presence(),
            _ => false,
        }
    }
}

/// A pattern over a whole value: `*` is any run of characters, also none, `?` is any one character. Case counts, and
/// `/` is a character like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// Whether the glob matches the whole value.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(text) => text == value,
            Self::Pattern(pattern) => wildcard(pattern, value),
        }
    }
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

    use super::*;

    fn glob(text: &str) -> Matcher {
        Matcher::Glob(Glob::new(text))
    }

    #[test]
    fn a_glob_matches_the_whole_value() {
        assert!(glob("prod").matches(Some("prod")));
        assert!(!glob("prod").matches(Some("prod-1")));
        assert!(!glob("prod").matches(Some("Prod")));
        assert!(glob("prod-*").matches(Some("prod-")));
        assert!(glob("*-eu-?").matches(Some("shop-eu-eu-1")));
        assert!(glob("a*b*c").matches(Some("a/x/b.b.c")));
        assert!(!glob("a*b*c").matches(Some("acb")));
        assert!(glob("?").matches(Some("é")));
        assert!(!glob("?").matches(Some("")));
        assert!(glob("*").matches(Some("")));
        assert!(glob("").matches(Some("")));
    }

    #[test]
    fn an_absent_attribute_matches_only_what_does_not_need_it() {
        assert!(!glob("*").matches(None));
        assert!(!Matcher::AnyOf(vec![Glob::Any]).matches(None));
        assert!(!Matcher::Regex(Regex::new("").unwrap()).matches(None));
        assert!(!Matcher::Exists(true).matches(None));
        assert!(Matcher::Exists(false).matches(None));
        assert!(Matcher::Not(Box::new(glob("prod"))).matches(None));
    }

    #[test]
    fn a_regex_matches_anywhere_unless_anchored() {
        let regex = |text| Matcher::Regex(Regex::new(text).unwrap());
        assert!(regex("prod").matches(Some("non-prod-1")));
        assert!(!regex("^prod").matches(Some("non-prod-1")));
    }

    #[test]
    fn a_long_value_takes_no_exponential_time() {
        let value = "a".repeat(512);
        assert!(!glob(&("*a".repeat(100) + "*b")).matches(Some(&value)));
    }

    proptest! {
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

        #[test]
        fn what_implies_another_never_holds_alone(
            mine in any_matcher(), theirs in any_matcher(), value in proptest::option::of("[ab]{0,3}")
        ) {
            if mine.implies(&theirs) && mine.matches(value.as_deref()) {
                prop_assert!(theirs.matches(value.as_deref()), "{:?} {:?} {:?}", mine, theirs, value);
            }
        }
    }

    fn any_matcher() -> impl Strategy<Value = Matcher> {
        let text = || "[ab*]{0,2}";
        let leaf = prop_oneof![
            text().prop_map(|text| glob(&text)),
            proptest::collection::vec(text(), 1..3)
                .prop_map(|texts| Matcher::AnyOf(texts.iter().map(|text| Glob::new(text)).collect())),
            "[ab]".prop_map(|text| Matcher::Regex(Regex::new(&text).unwrap())),
            any::<bool>().prop_map(Matcher::Exists),
        ];
        (leaf, any::<bool>()).prop_map(|(leaf, not)| if not { Matcher::Not(Box::new(leaf)) } else { leaf })
    }
}
