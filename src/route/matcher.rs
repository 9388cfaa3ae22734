//! What the value of a resource attribute must be for a route to match.

use regex::Regex;

use crate::glob::Glob;

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
    /// All of these hold.
    All(Vec<Matcher>),
}

impl Matcher {
    /// Whether the condition holds for the attribute's value as text, `None` where the attribute is absent.
    pub fn matches(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), _) => value.is_some() == *wanted,
            (Self::Not(inner), _) => !inner.matches(value),
            (Self::All(all), _) => all.iter().all(|one| one.matches(value)),
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
            Self::All(all) => all.iter().any(Self::needs_presence),
        }
    }

    /// Whether this one and `other` never hold both. May miss a case (regular expressions are only asked about single values),
    /// never claims a wrong one.
    pub fn excludes(&self, other: &Self) -> bool {
        let is_none_of = |values: Option<Vec<&str>>, other: &Self| {
            values.is_some_and(|values| values.iter().all(|value| !other.matches(Some(value))))
        };
        if is_none_of(self.values(), other) || is_none_of(other.values(), self) {
            return true;
        }
        match (self, other) {
            (Self::All(all), one) | (one, Self::All(all)) => all.iter().any(|of_all| of_all.excludes(one)),
            (Self::Not(inner), one) | (one, Self::Not(inner)) => one.implies(inner),
            (Self::Exists(false), one) | (one, Self::Exists(false)) => one.needs_presence(),
            _ => {
                let (mine, theirs) = (self.globs(), other.globs());
                let exclude = |mine: &Glob| theirs.iter().all(|theirs| mine.excludes(theirs));
                !mine.is_empty() && !theirs.is_empty() && mine.iter().all(exclude)
            }
        }
    }

    /// The globs of which one has to match; none if it is no matter of globs.
    fn globs(&self) -> &[Glob] {
        match self {
            Self::Glob(glob) => std::slice::from_ref(glob),
            Self::AnyOf(globs) => globs,
            Self::Regex(_) | Self::Not(_) | Self::Exists(_) | Self::All(_) => &[],
        }
    }

    /// All values for which the condition may hold, where they are named.
    fn values<'m>(&'m self) -> Option<Vec<&'m str>> {
        let value = |glob: &'m Glob| match glob {
            Glob::Literal(value) => Some(value.as_str()),
            Glob::Any | Glob::Pattern(_) => None,
        };
        match self.globs() {
            [] => None,
            globs => globs.iter().map(value).collect(),
        }
    }

    /// Whether `other` holds for every value for which this one holds. May miss a case (regular expressions are
    /// only compared as text), never claims a wrong one.
    pub fn implies(&self, other: &Self) -> bool {
        let any_value = match other {
            Self::Exists(wanted) => *wanted,
            Self::Glob(glob) => *glob == Glob::Any,
            Self::AnyOf(globs) => globs.contains(&Glob::Any),
            Self::Regex(_) | Self::Not(_) | Self::All(_) => false,
        };
        if any_value && self.needs_presence() {
            return true;
        }
        match (self, other) {
            (_, Self::All(all)) => all.iter().all(|one| self.implies(one)),
            (Self::All(all), _) => all.iter().any(|one| one.implies(other)),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> Matcher {
        Matcher::Glob(Glob::new(text))
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

    proptest! {
        #[test]
        fn what_implies_another_never_holds_alone(
            mine in any_matcher(), theirs in any_matcher(), value in proptest::option::of("[ab]{0,3}")
        ) {
            if mine.implies(&theirs) && mine.matches(value.as_deref()) {
                prop_assert!(theirs.matches(value.as_deref()), "{:?} {:?} {:?}", mine, theirs, value);
            }
        }

        #[test]
        fn what_excludes_another_never_holds_with_it(
            mine in any_matcher(), theirs in any_matcher(), value in proptest::option::of("[ab]{0,3}")
        ) {
            let both = mine.matches(value.as_deref()) && theirs.matches(value.as_deref());
            prop_assert!(!mine.excludes(&theirs) || !both, "{:?} {:?} {:?}", mine, theirs, value);
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
        let one = (leaf, any::<bool>())
            .prop_map(|(leaf, not)| if not { Matcher::Not(Box::new(leaf)) } else { leaf });
        proptest::collection::vec(one, 1..3)
            .prop_map(|mut all| if all.len() == 1 { all.remove(0) } else { Matcher::All(all) })
    }
}
