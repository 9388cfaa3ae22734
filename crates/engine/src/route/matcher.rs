//! The conditions that a route has on the values of attributes.

use regex::Regex;

use super::tested_value::{TestedValue, UnusableValue, as_key};
use crate::glob::Glob;
use otlp::ReadValue;

/// A condition on one attribute. Globs are matched with values that can name a stream; for them all other values count as absent.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// The value matches the glob.
    Glob(Glob),
    /// The value matches one of the globs.
    AnyOf(Vec<Glob>),
    /// The regular expression matches somewhere in the value's text, of whatever type and length it is.
    Regex(Regex),
    /// The value is one of these, and of the same type.
    Equals(Vec<ExactValue>),
    /// The other condition does not hold; so it does where the attribute is absent, as with `!=` in `PromQL`.
    Not(Box<Matcher>),
    /// The attribute is there, or is not.
    Exists(bool),
    /// All of these conditions hold.
    All(Vec<Matcher>),
}

/// A value that is known to its type, as the Collector's conditions compare it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExactValue {
    /// A string.
    Text(String),
    /// A whole number, which is an integer or a double.
    Number(i64),
    /// A boolean.
    Boolean(bool),
}

/// Why a condition does not hold for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The value in words, as the condition looks at it, or that it is absent.
    pub seen: String,
    /// Why the condition does not hold for it.
    pub verdict: &'static str,
}

impl ExactValue {
    #[expect(clippy::float_cmp, reason = "a Collector compares numbers so")]
    fn is(&self, value: ReadValue<'_>) -> bool {
        match (self, value) {
            (Self::Text(wanted), ReadValue::Text(text)) => wanted == text,
            (Self::Number(wanted), ReadValue::Int(number)) => *wanted == number,
            (Self::Number(wanted), ReadValue::Double(number)) => *wanted as f64 == number,
            (Self::Boolean(wanted), ReadValue::Bool(flag)) => *wanted == flag,
            _ => false,
        }
    }

    /// All values that are equal to it.
    fn values(&self) -> Vec<ReadValue<'_>> {
        match self {
            Self::Text(text) => vec![ReadValue::Text(text)],
            // Zeros of either sign are the same number, and not the same text.
            Self::Number(0) => vec![ReadValue::Int(0), ReadValue::Double(0.0), ReadValue::Double(-0.0)],
            Self::Number(number) => vec![ReadValue::Int(*number), ReadValue::Double(*number as f64)],
            Self::Boolean(flag) => vec![ReadValue::Bool(*flag)],
        }
    }
}

impl Matcher {
    /// How many regular expressions the condition has.
    pub(super) fn patterns(&self) -> usize {
        match self {
            Self::Regex(_) => 1,
            Self::Not(inner) => inner.patterns(),
            Self::All(all) => all.iter().map(Self::patterns).sum(),
            Self::Glob(_) | Self::AnyOf(_) | Self::Equals(_) | Self::Exists(_) => 0,
        }
    }

    /// Why the condition does not hold for a value.
    pub(super) fn mismatch(&self, value: &TestedValue<'_>) -> Mismatch {
        let (unmet, verdict) = match self.unmet(value) {
            Self::Not(inner) => (&**inner, "which it must not be"),
            unmet => (unmet, "which does not match"),
        };
        let seen = match unmet {
            Self::Glob(_) | Self::AnyOf(_) => match value.usable() {
                Ok(text) => format!("is `{text}`"),
                Err(why) => why.to_string(),
            },
            _ => value.described(),
        };
        Mismatch { seen, verdict }
    }

    /// Why the value counts as absent for the condition, if it does.
    pub(super) fn unusable_in(&self, value: &TestedValue<'_>) -> Option<UnusableValue> {
        match self.unmet(value) {
            Self::Glob(_) | Self::AnyOf(_) => value.usable().err(),
            _ => (!value.is_there()).then_some(UnusableValue::Absent),
        }
    }

    /// The condition within this one that says why it does not hold.
    fn unmet(&self, value: &TestedValue<'_>) -> &Self {
        match self {
            Self::All(all) => all.iter().find(|one| !one.matches(value)).map_or(self, |one| one.unmet(value)),
            Self::Not(_)
            | Self::Glob(_)
            | Self::AnyOf(_)
            | Self::Regex(_)
            | Self::Equals(_)
            | Self::Exists(_) => self,
        }
    }

    /// Whether the condition holds for the attribute's value.
    pub fn matches(&self, value: &TestedValue<'_>) -> bool {
        match self {
            Self::Exists(wanted) => value.is_there() == *wanted,
            Self::Not(inner) => !inner.matches(value),
            Self::All(all) => all.iter().all(|one| one.matches(value)),
            Self::Glob(glob) => value.key_text().is_some_and(|text| glob.matches(text)),
            Self::AnyOf(globs) => {
                value.key_text().is_some_and(|text| globs.iter().any(|glob| glob.matches(text)))
            }
            Self::Regex(regex) => value.pattern_text().is_some_and(|text| regex.is_match(&text)),
            Self::Equals(values) => values.iter().any(|wanted| wanted.is(value.value())),
        }
    }

    /// Whether the condition can only hold where the attribute is there.
    pub fn needs_presence(&self) -> bool {
        match self {
            Self::Glob(_) | Self::AnyOf(_) | Self::Regex(_) | Self::Equals(_) => true,
            Self::Exists(wanted) => *wanted,
            Self::Not(inner) => matches!(**inner, Self::Exists(false)),
            Self::All(all) => all.iter().any(Self::needs_presence),
        }
    }

    /// Whether the condition can only hold where the attribute can name a stream.
    pub fn needs_key_text(&self) -> bool {
        match self {
            Self::Glob(_) | Self::AnyOf(_) => true,
            Self::Equals(values) => values.iter().all(|value| match value {
                ExactValue::Text(text) => as_key(text).is_ok(),
                ExactValue::Boolean(_) => true,
                // The value may be a double.
                ExactValue::Number(_) => false,
            }),
            Self::Regex(_) | Self::Exists(_) | Self::Not(_) => false,
            Self::All(all) => all.iter().any(Self::needs_key_text),
        }
    }

    /// Whether this condition and `other` exclude each other. May miss a case (regular expressions are only asked about single values),
    /// never claims a wrong one.
    pub fn excludes(&self, other: &Self) -> bool {
        let is_none_of = |values: Option<Vec<ReadValue<'_>>>, other: &Self| {
            values.is_some_and(|values| values.into_iter().all(|value| !other.matches(&value.into())))
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

    /// The globs of which one has to match; none if the condition has no globs.
    fn globs(&self) -> &[Glob] {
        match self {
            Self::Glob(glob) => std::slice::from_ref(glob),
            Self::AnyOf(globs) => globs,
            Self::Regex(_) | Self::Equals(_) | Self::Not(_) | Self::Exists(_) | Self::All(_) => &[],
        }
    }

    /// All values for which the condition may hold, where they are named.
    fn values(&self) -> Option<Vec<ReadValue<'_>>> {
        if let Self::Equals(values) = self {
            return Some(values.iter().flat_map(ExactValue::values).collect());
        }
        let globs = self.globs();
        let mut values = Vec::new();
        for glob in globs {
            let Glob::Literal(text) = glob else { return None };
            values.push(ReadValue::Text(text));
            values.extend(
                text.parse().ok().filter(|number: &i64| number.to_string() == *text).map(ReadValue::Int),
            );
            values.extend(text.parse().ok().map(ReadValue::Bool));
        }
        (!globs.is_empty()).then_some(values)
    }

    /// Whether `other` holds for every value for which this one holds. May miss a case (regular expressions are
    /// only compared as text), never claims a wrong one.
    pub fn implies(&self, other: &Self) -> bool {
        let is_of_all = match other {
            Self::Exists(true) => self.needs_presence(),
            Self::Glob(Glob::Any) => self.needs_key_text(),
            Self::AnyOf(globs) => globs.contains(&Glob::Any) && self.needs_key_text(),
            _ => false,
        };
        let is_of_each =
            |values: Vec<ReadValue<'_>>| values.into_iter().all(|value| other.matches(&value.into()));
        if is_of_all || self.values().is_some_and(is_of_each) {
            return true;
        }
        match (self, other) {
            (_, Self::All(all)) => all.iter().all(|one| self.implies(one)),
            (Self::All(all), _) => all.iter().any(|one| one.implies(other)),
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

    /// A value that the condition may hold for; `None` where the attribute is better left out.
    pub(super) fn example(&self, filler: &str) -> Option<String> {
        match self {
            Self::Glob(glob) => Some(glob.example(filler)),
            Self::AnyOf(globs) => globs.first().map(|glob| glob.example(filler)),
            Self::Equals(values) => values.first().map(|value| match value {
                ExactValue::Text(text) => text.clone(),
                ExactValue::Number(number) => number.to_string(),
                ExactValue::Boolean(flag) => flag.to_string(),
            }),
            Self::Regex(_) | Self::Exists(true) => Some(filler.to_owned()),
            Self::Exists(false) | Self::Not(_) => None,
            Self::All(all) => all.iter().find_map(|one| one.example(filler)),
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

    fn text(text: &str) -> TestedValue<'_> {
        ReadValue::Text(text).into()
    }

    const ABSENT: TestedValue<'_> = TestedValue::ABSENT;

    #[test]
    fn an_absent_attribute_matches_only_what_does_not_need_it() {
        assert!(!glob("*").matches(&ABSENT));
        assert!(!Matcher::AnyOf(vec![Glob::Any]).matches(&ABSENT));
        assert!(!Matcher::Regex(Regex::new("").unwrap()).matches(&ABSENT));
        assert!(!Matcher::Exists(true).matches(&ABSENT));
        assert!(Matcher::Exists(false).matches(&ABSENT));
        assert!(Matcher::Not(Box::new(glob("prod"))).matches(&ABSENT));
    }

    #[test]
    fn a_regex_matches_anywhere_unless_anchored() {
        let regex = |text| Matcher::Regex(Regex::new(text).unwrap());
        assert!(regex("prod").matches(&text("non-prod-1")));
        assert!(!regex("^prod").matches(&text("non-prod-1")));
    }

    #[test]
    fn what_can_not_name_a_stream_is_there_and_has_patterns_and_matches_no_glob() {
        let long = "x".repeat(600);
        let list = b"\x0a\x03\x0a\x01x";
        let x = Matcher::Regex(Regex::new("x").unwrap());
        for (value, has_x) in [
            (ReadValue::Text(""), false),
            (ReadValue::Text("x\n"), true),
            (ReadValue::Text(&long), true),
            (ReadValue::Double(1.5), false),
            (ReadValue::Bytes(b"x"), false),
            (ReadValue::List(list), true),
            (ReadValue::Map(b""), false),
        ] {
            let tested = TestedValue::from(value);
            assert!(Matcher::Exists(true).matches(&tested), "{value:?}");
            assert!(!glob("*").matches(&tested), "{value:?}");
            assert_eq!(x.matches(&tested), has_x, "{value:?}");
        }
        assert!(!Matcher::Exists(true).matches(&ReadValue::Empty.into()), "as if it was absent");
    }

    #[test]
    fn exact_values_are_of_one_type() {
        let equals = |value: ExactValue| Matcher::Equals(vec![value]);
        let five = equals(ExactValue::Number(5));
        assert!(five.matches(&ReadValue::Int(5).into()) && five.matches(&ReadValue::Double(5.0).into()));
        assert!(!five.matches(&text("5")) && !five.matches(&ReadValue::Double(5.5).into()));
        let text_of_five = equals(ExactValue::Text("5".to_owned()));
        assert!(text_of_five.matches(&text("5")) && !text_of_five.matches(&ReadValue::Int(5).into()));
        let flag = equals(ExactValue::Boolean(true));
        assert!(flag.matches(&ReadValue::Bool(true).into()) && !flag.matches(&text("true")));
        assert!(equals(ExactValue::Text(String::new())).matches(&text("")));
    }

    proptest! {
        #[test]
        fn what_implies_another_never_holds_alone(
            mine in any_matcher(), theirs in any_matcher(), value in any_sample()
        ) {
            if mine.implies(&theirs) && mine.matches(&value.tested()) {
                prop_assert!(theirs.matches(&value.tested()), "{:?} {:?} {:?}", mine, theirs, value);
            }
        }

        #[test]
        fn what_excludes_another_never_holds_with_it(
            mine in any_matcher(), theirs in any_matcher(), value in any_sample()
        ) {
            let both = mine.matches(&value.tested()) && theirs.matches(&value.tested());
            prop_assert!(!mine.excludes(&theirs) || !both, "{:?} {:?} {:?}", mine, theirs, value);
        }

        #[test]
        fn what_needs_a_text_for_a_key_holds_only_where_there_is_one(
            matcher in any_matcher(), value in any_sample()
        ) {
            let holds = matcher.needs_key_text() && matcher.matches(&value.tested());
            prop_assert!(!holds || value.tested().key_text().is_some(), "{:?} {:?}", matcher, value);
        }
    }

    #[derive(Clone, Debug)]
    enum SampleValue {
        Absent,
        Exact(ExactValue),
        Double(f64),
    }

    impl SampleValue {
        fn tested(&self) -> TestedValue<'_> {
            match self {
                Self::Absent => TestedValue::ABSENT,
                Self::Exact(ExactValue::Text(text)) => ReadValue::Text(text).into(),
                Self::Exact(ExactValue::Number(number)) => ReadValue::Int(*number).into(),
                Self::Exact(ExactValue::Boolean(flag)) => ReadValue::Bool(*flag).into(),
                Self::Double(number) => ReadValue::Double(*number).into(),
            }
        }
    }

    fn any_exact() -> impl Strategy<Value = ExactValue> {
        prop_oneof![
            4 => "[ab1]{0,3}".prop_map(ExactValue::Text),
            1 => Just(ExactValue::Text("true".to_owned())),
            1 => (0..3_i64).prop_map(ExactValue::Number),
            1 => any::<bool>().prop_map(ExactValue::Boolean),
        ]
    }

    fn any_sample() -> impl Strategy<Value = SampleValue> {
        prop_oneof![
            1 => Just(SampleValue::Absent),
            4 => any_exact().prop_map(SampleValue::Exact),
            1 => prop::sample::select(vec![-0.0, 0.0, 1.0, 1.5, 2.0]).prop_map(SampleValue::Double),
        ]
    }

    fn any_matcher() -> impl Strategy<Value = Matcher> {
        let text = || prop_oneof![4 => "[ab1*]{0,2}", 1 => Just("true".to_owned())];
        let leaf = prop_oneof![
            text().prop_map(|text| glob(&text)),
            proptest::collection::vec(text(), 1..3)
                .prop_map(|texts| Matcher::AnyOf(texts.iter().map(|text| Glob::new(text)).collect())),
            proptest::collection::vec(any_exact(), 1..3).prop_map(Matcher::Equals),
            "[ab1-]".prop_map(|text| Matcher::Regex(Regex::new(&text).unwrap())),
            any::<bool>().prop_map(Matcher::Exists),
        ];
        let one = (leaf, any::<bool>())
            .prop_map(|(leaf, not)| if not { Matcher::Not(Box::new(leaf)) } else { leaf });
        proptest::collection::vec(one, 1..3)
            .prop_map(|mut all| if all.len() == 1 { all.remove(0) } else { Matcher::All(all) })
    }
}
