//! Patterns as texts are compared with them.

use super::pattern::TextPattern;
use super::wildcard::WildcardMatcher;

/// A pattern as it is compared.
#[derive(Clone, Debug)]
pub(super) enum TextMatcher {
    /// Any text matches.
    Any,
    /// Only this text matches, in any case of ASCII letters.
    Whole(Box<str>),
    /// Only this text matches, in this case of letters.
    Exactly(Box<str>),
    /// Texts with wildcards, or in which a text is looked for.
    Wildcard(WildcardMatcher),
}

impl TextMatcher {
    /// A matcher of texts that match the pattern as a whole.
    pub(super) fn whole(pattern: &TextPattern) -> Self {
        match pattern.literal() {
            Some(text) => Self::Whole(text.into()),
            None if pattern.is_any() => Self::Any,
            None => Self::Wildcard(WildcardMatcher::new(pattern, false, true)),
        }
    }

    /// A matcher of names that match the pattern as a whole, the case of letters included.
    pub(super) fn exactly(pattern: &TextPattern) -> Self {
        match pattern.literal() {
            Some(text) => Self::Exactly(text.into()),
            None if pattern.is_any() => Self::Any,
            None => Self::Wildcard(WildcardMatcher::new(pattern, false, false)),
        }
    }

    /// A matcher of texts that have a match somewhere.
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

/// A matcher of a text that several records may have in common: its result is remembered until that text changes.
#[derive(Clone, Debug)]
pub(super) struct RememberedMatcher {
    pub(super) matcher: TextMatcher,
    /// The position of its remembered result.
    pub(super) memory: usize,
}
