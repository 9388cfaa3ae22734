//! Patterns as texts are compared with them.

use super::pattern::TextPattern;
use super::wildcard::WildcardMatcher;

/// A pattern as it is compared.
#[derive(Clone, Debug)]
pub(super) enum TextMatcher {
    /// Anything.
    Any,
    /// This text and no other.
    Whole(Box<str>),
    /// The same, the case of letters included.
    Exactly(Box<str>),
    /// What has to be looked for.
    Wildcard(WildcardMatcher),
}

impl TextMatcher {
    /// For texts that are like the pattern as a whole.
    pub(super) fn whole(pattern: &TextPattern) -> Self {
        match pattern.literal() {
            Some(text) => Self::Whole(text.into()),
            None if pattern.is_any() => Self::Any,
            None => Self::Wildcard(WildcardMatcher::new(pattern, false, true)),
        }
    }

    /// The same for names, which differ if their letters have another case.
    pub(super) fn exactly(pattern: &TextPattern) -> Self {
        match pattern.literal() {
            Some(text) => Self::Exactly(text.into()),
            None if pattern.is_any() => Self::Any,
            None => Self::Wildcard(WildcardMatcher::new(pattern, false, false)),
        }
    }

    /// For texts that have it somewhere.
    pub(super) fn containing(pattern: &TextPattern) -> Self {
        if pattern.literal() == Some("") || pattern.is_any() {
            return Self::Any;
        }
        Self::Wildcard(WildcardMatcher::new(pattern, true, true))
    }

    /// How often it may go through a text.
    pub(super) fn passes(&self) -> usize {
        if let Self::Wildcard(matcher) = self { matcher.passes() } else { 0 }
    }

    /// Whether a text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Whole(whole) => whole.eq_ignore_ascii_case(text),
            Self::Exactly(whole) => **whole == *text,
            Self::Wildcard(matcher) => matcher.matches(text),
        }
    }
}

/// Asked of a text that several records may have in common: what it has come to is remembered until that text is another one.
#[derive(Clone, Debug)]
pub(super) struct RememberedMatcher {
    pub(super) matcher: TextMatcher,
    /// Its place among all that is remembered.
    pub(super) memory: usize,
}
