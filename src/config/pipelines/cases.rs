//! Conditions in the form of routes: a list of cases, each of which tests several attributes.
//!
//! A route's `match` is one case: all of it must hold. So a condition becomes its disjunctive normal form, one route for each
//! case, with those merged that differ in the values of one attribute alone. There are at most [`MOST`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::condition::{Attribute, Condition, NotExpressible, has_variable};
use crate::config::node::{Node, NodeEntry};
use crate::config::span::Span;
use crate::otlp::ReadValue;
use crate::route::{ExactValue, TestedValue};

/// The most routes that one condition may become.
pub(super) const MOST: usize = 64;

/// Tests of attributes, all of which must hold.
pub(super) type Case = BTreeMap<Attribute, AttributeValues>;

/// Cases of which any one is enough. An empty list never holds; a case without tests always does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cases(Vec<Case>);

/// The test of an attribute's value. It is never one that no value can meet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AttributeValues {
    /// The value is in each of these lists. There are several lists where a variable's later value may be in more than one of them.
    one_of: BTreeSet<BTreeSet<ExactValue>>,
    /// All of these regular expressions match in the value.
    matching: BTreeSet<String>,
    /// The value is none of these, or the attribute is absent.
    none_of: BTreeSet<ExactValue>,
    /// None of these regular expressions match in the value, or the attribute is absent.
    not_matching: BTreeSet<String>,
    /// Whether the attribute must be present.
    exists: Option<bool>,
}

/// The error that a condition has more than [`MOST`] cases.
#[derive(Debug, PartialEq)]
pub(super) struct TooMany(pub(super) usize);

impl From<TooMany> for NotExpressible {
    fn from(TooMany(most): TooMany) -> Self {
        Self {
            message: format!("the conditions become more than {most} routes"),
            help: "write `routes` in place of `service.pipelines`, in which the first that matches counts",
        }
    }
}

impl Cases {
    pub(super) fn always() -> Self {
        Self(vec![Case::new()])
    }

    pub(super) fn is_always(&self) -> bool {
        *self == Self::always()
    }

    fn never() -> Self {
        Self(Vec::new())
    }

    fn one(attribute: &Attribute, values: AttributeValues) -> Self {
        Self(vec![Case::from([(attribute.clone(), values)])])
    }

    /// The cases in which the condition holds.
    pub(super) fn of(condition: &Condition) -> Result<Self, TooMany> {
        let text = |text: &String| BTreeSet::from([text.clone()]);
        Ok(match condition {
            Condition::Constant(true) => Self::always(),
            Condition::Constant(false) => Self::never(),
            Condition::Is(attribute, value) => {
                Self::one(attribute, AttributeValues::one_of(BTreeSet::from([value.clone()])))
            }
            Condition::Matches(attribute, pattern) => {
                Self::one(attribute, AttributeValues::matching(text(pattern)))
            }
            Condition::Exists(attribute) => Self::one(attribute, AttributeValues::exists(true)),
            Condition::Not(inner) => Self::of(inner)?.not()?,
            Condition::And(all) => {
                all.iter().try_fold(Self::always(), |cases, one| cases.and(&Self::of(one)?))?
            }
            Condition::Or(all) => {
                all.iter().try_fold(Self::never(), |cases, one| cases.or(Self::of(one)?))?
            }
        })
    }

    /// The cases in which both hold.
    pub(super) fn and(&self, other: &Self) -> Result<Self, TooMany> {
        let pairs = self.0.iter().flat_map(|one| other.0.iter().map(move |other| (one, other)));
        Self(pairs.filter_map(|(one, other)| both(one, other)).collect()).simplified()
    }

    fn or(mut self, other: Self) -> Result<Self, TooMany> {
        self.0.extend(other.0);
        self.simplified()
    }

    /// The cases in which none of these holds. No two of them hold at once.
    pub(super) fn not(&self) -> Result<Self, TooMany> {
        self.0.iter().try_fold(Self::always(), |rest, case| {
            let mut unlike = Vec::new();
            // The first attribute is otherwise; or it is as it is to be, and the next is otherwise; and so on.
            let mut before = Case::new();
            for (attribute, values) in case {
                for negated in values.negated() {
                    let mut case = before.clone();
                    case.insert(attribute.clone(), negated);
                    unlike.push(case);
                }
                before.insert(attribute.clone(), values.clone());
            }
            rest.and(&Self(unlike))
        })
    }

    /// The same as cases of which no two hold at once, so that none is taken twice.
    pub(super) fn apart(&self) -> Result<Vec<Case>, TooMany> {
        let mut apart = Vec::new();
        for (position, case) in self.0.iter().enumerate() {
            let earlier = Self(self.0[..position].to_vec());
            apart.extend(Self(vec![case.clone()]).and(&earlier.not()?)?.0);
            if apart.len() > MOST {
                return Err(TooMany(MOST));
            }
        }
        Ok(apart)
    }

    /// The cases, of which several may hold at once.
    pub(super) fn list(&self) -> &[Case] {
        &self.0
    }

    /// The attributes that are tested.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter().flat_map(BTreeMap::keys)
    }

    fn simplified(mut self) -> Result<Self, TooMany> {
        let mut kept: Vec<Case> = Vec::new();
        for case in self.0.drain(..) {
            // A case with fewer tests holds wherever one with more does.
            let is_within =
                |one: &Case, other: &Case| other.iter().all(|(name, values)| one.get(name) == Some(values));
            if !kept.iter().any(|other| is_within(&case, other)) {
                kept.retain(|other| !is_within(other, &case));
                kept.push(case);
            }
        }
        let mut position = 0;
        while position < kept.len() {
            let merged = (position + 1..kept.len())
                .find_map(|other| Some((other, united(&kept[position], &kept[other])?)));
            match merged {
                Some((other, case)) => {
                    kept[position] = case;
                    kept.remove(other);
                }
                None => position += 1,
            }
        }
        if kept.len() > MOST { Err(TooMany(MOST)) } else { Ok(Self(kept)) }
    }
}

/// Whether one case holds wherever another does; `false` also if that can't be told.
pub(super) fn implies(case: &Case, other: &Case) -> bool {
    other.iter().all(|(attribute, wanted)| {
        let values = case.get(attribute).cloned().unwrap_or_default();
        wanted.negated().into_iter().all(|unwanted| values.and(&unwanted).is_none())
    })
}

/// The case that holds where both do; `None` if they never hold at once.
fn both(one: &Case, other: &Case) -> Option<Case> {
    let mut both = one.clone();
    for (attribute, values) in other {
        let values = match both.get(attribute) {
            Some(known) => known.and(values)?,
            None => values.clone(),
        };
        both.insert(attribute.clone(), values);
    }
    Some(both)
}

/// One case in place of two that differ in the list of one attribute's values alone.
fn united(one: &Case, other: &Case) -> Option<Case> {
    if one.len() != other.len() {
        return None;
    }
    let mut differing = None;
    for ((attribute, mine), (same, theirs)) in one.iter().zip(other) {
        if attribute != same || (mine != theirs && differing.replace((attribute, mine, theirs)).is_some()) {
            return None;
        }
    }
    let (attribute, mine, theirs) = differing?;
    let both = mine.only_list()?.union(theirs.only_list()?).cloned().collect();
    let mut united = one.clone();
    united.insert(attribute.clone(), AttributeValues::one_of(both));
    Some(united)
}

impl AttributeValues {
    /// The test of both; `None` if no value meets both.
    fn and(&self, other: &Self) -> Option<Self> {
        let exists = match (self.exists, other.exists) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.or(other),
        };
        let both = Self {
            one_of: self.one_of.union(&other.one_of).cloned().collect(),
            matching: self.matching.union(&other.matching).cloned().collect(),
            none_of: self.none_of.union(&other.none_of).cloned().collect(),
            not_matching: self.not_matching.union(&other.not_matching).cloned().collect(),
            exists,
        };
        both.settled()
    }

    /// The same test without redundant parts; `None` if no value meets it.
    fn settled(mut self) -> Option<Self> {
        let needs_value = !self.one_of.is_empty() || !self.matching.is_empty();
        if self.exists == Some(false) {
            return (!needs_value).then(|| Self::exists(false));
        }
        if needs_value {
            self.exists = None;
        }
        if self.matching.intersection(&self.not_matching).next().is_some() {
            return None;
        }
        let mut lists: Vec<BTreeSet<ExactValue>> = Vec::new();
        for list in std::mem::take(&mut self.one_of) {
            match lists.iter_mut().find_map(|other| Some((intersection(other, &list)?, other))) {
                Some((both, other)) => *other = both,
                None => lists.push(list),
            }
        }
        if lists.is_empty() {
            return Some(self);
        }
        for list in &mut lists {
            list.retain(|value| !self.none_of.contains(value));
        }
        self.none_of
            .retain(|unwanted| lists.iter().all(|list| list.iter().any(|value| may_be(value, unwanted))));
        for (patterns, wanted) in [(&mut self.matching, true), (&mut self.not_matching, false)] {
            patterns.retain(|pattern| {
                // What is no regular expression is reported by whoever compiles it.
                let Some(regex) = known_pattern(pattern) else { return true };
                for list in &mut lists {
                    list.retain(|value| known_text(value).is_none_or(|text| regex.is_match(&text) == wanted));
                }
                lists.iter().all(|list| list.iter().any(|value| known_text(value).is_none()))
            });
        }
        // What is in one list and can't be in another is no value.
        for position in 0..lists.len() {
            let mut list = std::mem::take(&mut lists[position]);
            let may_be_in = |value: &ExactValue, other: &BTreeSet<ExactValue>| {
                other.contains(value) || other.iter().any(|other| may_be(value, other))
            };
            list.retain(|value| {
                lists.iter().enumerate().all(|(at, other)| at == position || may_be_in(value, other))
            });
            lists[position] = list;
        }
        let is_possible = lists.iter().all(|list| !list.is_empty());
        self.one_of = lists.into_iter().collect();
        is_possible.then_some(self)
    }

    /// The list of values, if that is the whole test.
    fn only_list(&self) -> Option<&BTreeSet<ExactValue>> {
        let list = self.one_of.first()?;
        (*self == Self::one_of(list.clone())).then_some(list)
    }

    /// The negation, in parts of which no two hold at once.
    fn negated(&self) -> Vec<Self> {
        let text = |text: &String| BTreeSet::from([text.clone()]);
        // Each thing that is asked, and its opposite.
        let mut asked: Vec<(Self, Self)> = Vec::new();
        for values in &self.one_of {
            asked.push((Self::one_of(values.clone()), Self::none_of(values.clone())));
        }
        for pattern in &self.matching {
            asked.push((Self::matching(text(pattern)), Self::not_matching(text(pattern))));
        }
        if !self.none_of.is_empty() {
            asked.push((Self::none_of(self.none_of.clone()), Self::one_of(self.none_of.clone())));
        }
        for pattern in &self.not_matching {
            asked.push((Self::not_matching(text(pattern)), Self::matching(text(pattern))));
        }
        if let Some(exists) = self.exists {
            asked.push((Self::exists(exists), Self::exists(!exists)));
        }
        let mut parts = Vec::new();
        let mut before = Some(Self::default());
        for (positive, negative) in asked {
            parts.extend(before.as_ref().and_then(|before| before.and(&negative)));
            before = before.and_then(|before| before.and(&positive));
        }
        parts
    }

    fn one_of(values: BTreeSet<ExactValue>) -> Self {
        Self { one_of: BTreeSet::from([values]), ..Self::default() }
    }

    fn matching(patterns: BTreeSet<String>) -> Self {
        Self { matching: patterns, ..Self::default() }
    }

    fn none_of(values: BTreeSet<ExactValue>) -> Self {
        Self { none_of: values, ..Self::default() }
    }

    fn not_matching(patterns: BTreeSet<String>) -> Self {
        Self { not_matching: patterns, ..Self::default() }
    }

    fn exists(exists: bool) -> Self {
        Self { exists: Some(exists), ..Self::default() }
    }

    /// The value of an attribute in a route's `match`; `at` is where the condition stands.
    pub(super) fn written(&self, at: Span) -> Result<Node, NotExpressible> {
        let entry = |key: &str, value: Node| NodeEntry::new(key, at, value);
        let rule = |key: &str, value: Node| Node::of_entries(vec![entry(key, value)], at);
        if let Some(values) = self.only_list() {
            return Ok(globs(values, at).unwrap_or_else(|| rule("equals", exactly(values, at))));
        }
        if let (Some(exists), true) = (self.exists, self.none_of.is_empty() && self.not_matching.is_empty()) {
            return Ok(rule("exists", Node::of_word(exists.to_string(), at)));
        }
        let mut patterns: Vec<String> = self.matching.iter().cloned().collect();
        let mut lists: Vec<&BTreeSet<ExactValue>> = self.one_of.iter().collect();
        // A rule has one `equals`. Lists of texts without variables can stand as regular expressions instead.
        while let Some(position) =
            lists.iter().position(|list| lists.len() > 1 && list.iter().all(is_known_text))
        {
            patterns.push(pattern_of(lists.remove(position)));
        }
        if lists.len() > 1 {
            return Err(several_lists());
        }
        if patterns.len() > 1 {
            return Err(several_patterns());
        }
        let mut entries = Vec::new();
        entries.extend(patterns.pop().map(|pattern| entry("regex", Node::of_text(pattern, at))));
        entries.extend(lists.first().map(|values| entry("equals", exactly(values, at))));
        if self.exists == Some(true) {
            entries.push(entry("exists", Node::of_word("true", at)));
        }
        entries.extend(self.unlike(at).map(|not| entry("not", not)));
        Ok(Node::of_entries(entries, at))
    }

    /// The values that are excluded, as they are written below `not`; `None` if none are.
    fn unlike(&self, at: Span) -> Option<Node> {
        if self.none_of.is_empty() && self.not_matching.is_empty() {
            return None;
        }
        if let Some(globs) = globs(&self.none_of, at).filter(|_| self.not_matching.is_empty()) {
            return Some(globs);
        }
        let mut entries = Vec::new();
        let patterns: Vec<&String> = self.not_matching.iter().collect();
        let pattern = match patterns.as_slice() {
            [] => None,
            [only] => Some((*only).clone()),
            several => {
                let grouped: Vec<String> = several.iter().map(|pattern| format!("(?:{pattern})")).collect();
                Some(grouped.join("|"))
            }
        };
        entries.extend(pattern.map(|pattern| NodeEntry::new("regex", at, Node::of_text(pattern, at))));
        if !self.none_of.is_empty() {
            entries.push(NodeEntry::new("equals", at, exactly(&self.none_of, at)));
        }
        Some(Node::of_entries(entries, at))
    }
}

fn is_known_text(value: &ExactValue) -> bool {
    matches!(value, ExactValue::Text(text) if !has_variable(text))
}

/// A pattern that finds these texts alone among texts.
fn pattern_of(texts: &BTreeSet<ExactValue>) -> String {
    let texts = texts.iter().filter_map(known_text).map(|text| regex::escape(&text));
    format!("^(?:{})$", texts.collect::<Vec<_>>().join("|"))
}

/// Whether two values may become equal once variables have their values.
fn may_be(one: &ExactValue, other: &ExactValue) -> bool {
    match (one, other) {
        (ExactValue::Text(one), ExactValue::Text(other)) => has_variable(one) || has_variable(other),
        _ => false,
    }
}

/// The values that are in both lists; `None` if that is known only when variables are.
fn intersection(one: &BTreeSet<ExactValue>, other: &BTreeSet<ExactValue>) -> Option<BTreeSet<ExactValue>> {
    let both: BTreeSet<ExactValue> = one.intersection(other).cloned().collect();
    // A value that may equal one in both lists is in both as that one.
    let mut left = one.difference(&both);
    let is_known = left.all(|one| !other.difference(&both).any(|other| may_be(one, other)));
    is_known.then_some(both)
}

/// The regular expression of a pattern; `None` if the pattern has a variable or is invalid.
fn known_pattern(pattern: &str) -> Option<Regex> {
    if has_variable(pattern) { None } else { Regex::new(pattern).ok() }
}

/// The text of a value that patterns are matched against; `None` if the value has a variable, or is a number with several texts.
fn known_text(value: &ExactValue) -> Option<Cow<'_, str>> {
    /// The largest of which each double has a neighbour that is whole.
    const LARGEST: u64 = 1 << 53;
    match value {
        ExactValue::Text(text) => (!has_variable(text)).then_some(Cow::Borrowed(text)),
        ExactValue::Number(number) => {
            let is_one = *number != 0 && number.unsigned_abs() <= LARGEST;
            is_one.then(|| Cow::Owned(number.to_string()))
        }
        ExactValue::Boolean(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
    }
}

fn several_patterns() -> NotExpressible {
    NotExpressible {
        message: "several regular expressions, or one and values, must match one attribute, which routes can't express"
            .to_owned(),
        help: "write one regular expression that says all of it",
    }
}

fn several_lists() -> NotExpressible {
    NotExpressible {
        message:
            "one attribute must be equal to a variable and to another value as well, or to two variables"
                .to_owned(),
        help: "ask for one of them; the tables of connectors before this one count as well",
    }
}

/// Values as a glob, or as a list of globs; `None` if one of them has no equivalent glob.
fn globs(values: &BTreeSet<ExactValue>, at: Span) -> Option<Node> {
    let texts: Option<Vec<Node>> =
        values.iter().map(|value| as_glob(value).map(|text| Node::of_text(text, at))).collect();
    texts.map(|texts| one_or_list(texts, at))
}

/// A text that is equal to a value wherever a glob says so: globs read numbers and booleans as texts, and what can't name a stream
/// not at all. What a variable will be is not known.
fn as_glob(value: &ExactValue) -> Option<&str> {
    let ExactValue::Text(text) = value else { return None };
    let is_read = TestedValue::from(ReadValue::Text(text)).key_text().is_some();
    let is_of_other_type = text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok();
    let has_meaning = text.contains(['*', '?']) || has_variable(text);
    (is_read && !is_of_other_type && !has_meaning).then_some(text)
}

/// Values as they are written below `equals`.
fn exactly(values: &BTreeSet<ExactValue>, at: Span) -> Node {
    let (mut texts, mut numbers, mut booleans) = (Vec::new(), Vec::new(), Vec::new());
    for value in values {
        match value {
            ExactValue::Text(text) => texts.push(Node::of_text(text.clone(), at)),
            ExactValue::Number(number) => numbers.push(Node::of_word(number.to_string(), at)),
            ExactValue::Boolean(flag) => booleans.push(Node::of_word(flag.to_string(), at)),
        }
    }
    let all = [("text", texts), ("number", numbers), ("boolean", booleans)];
    let entries = all.into_iter().filter(|(_, nodes)| !nodes.is_empty());
    let entries = entries.map(|(key, nodes)| NodeEntry::new(key, at, one_or_list(nodes, at)));
    Node::of_entries(entries.collect(), at)
}

fn one_or_list(mut nodes: Vec<Node>, at: Span) -> Node {
    if nodes.len() == 1 { nodes.remove(0) } else { Node::of_items(nodes, at) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 2] = ["a", "b"];
    const PATTERNS: [&str; 3] = ["1", "2", "^true$"];

    /// An entry as its two attributes.
    type SampleValues = [Option<ExactValue>; 2];

    fn exact_values() -> Vec<ExactValue> {
        let texts = ["1", "12", "true", ""].map(|text| ExactValue::Text(text.to_owned()));
        let others = [ExactValue::Number(1), ExactValue::Number(2), ExactValue::Boolean(true)];
        texts.into_iter().chain(others).collect()
    }

    /// Texts in which variables stand, and which they may be.
    const VARIABLES: [&str; 3] = ["${env:X}", "1${env:Y}", "$$"];
    const ASSIGNMENTS: [[&str; 3]; 4] =
        [["1", "12", "$"], ["1", "1", "$"], ["", "1else", "$"], ["else", "1", "$"]];

    /// Values as they stand in conditions.
    fn written_values() -> Vec<ExactValue> {
        let variables = VARIABLES.map(|text| ExactValue::Text(text.to_owned()));
        exact_values().into_iter().chain(variables).collect()
    }

    /// An entry, and what the variables are.
    struct SampleEntry {
        values: SampleValues,
        variables: [&'static str; 3],
    }

    impl SampleEntry {
        fn is(&self, value: Option<&ExactValue>, wanted: &ExactValue) -> bool {
            let variable = VARIABLES.iter().position(|name| *wanted == ExactValue::Text((*name).to_owned()));
            match variable {
                Some(at) => value == Some(&ExactValue::Text(self.variables[at].to_owned())),
                None => value == Some(wanted),
            }
        }
    }

    fn samples() -> impl Iterator<Item = SampleEntry> {
        let values = || {
            let texts = ["else", "$", "1else"].map(|text| ExactValue::Text(text.to_owned()));
            exact_values().into_iter().chain(texts).map(Some).chain([None])
        };
        let entries = values().flat_map(move |a| values().map(move |b| [a.clone(), b]));
        entries.flat_map(|values| {
            ASSIGNMENTS.into_iter().map(move |variables| SampleEntry { values: values.clone(), variables })
        })
    }

    fn value<'s>(attribute: &Attribute, sample: &'s SampleEntry) -> Option<&'s ExactValue> {
        let Attribute::Resource(name) = attribute else { panic!("{attribute:?}") };
        sample.values[NAMES.iter().position(|known| known == name).unwrap()].as_ref()
    }

    fn has_pattern(value: Option<&ExactValue>, pattern: &str) -> bool {
        value.is_some_and(|value| Regex::new(pattern).unwrap().is_match(&known_text(value).unwrap()))
    }

    fn holds(condition: &Condition, sample: &SampleEntry) -> bool {
        match condition {
            Condition::Constant(holds) => *holds,
            Condition::Is(attribute, wanted) => sample.is(value(attribute, sample), wanted),
            Condition::Matches(attribute, pattern) => has_pattern(value(attribute, sample), pattern),
            Condition::Exists(attribute) => value(attribute, sample).is_some(),
            Condition::Not(inner) => !holds(inner, sample),
            Condition::And(all) => all.iter().all(|one| holds(one, sample)),
            Condition::Or(all) => all.iter().any(|one| holds(one, sample)),
        }
    }

    fn fits(case: &Case, sample: &SampleEntry) -> bool {
        case.iter().all(|(attribute, values)| {
            let value = value(attribute, sample);
            let matches = |pattern: &String| has_pattern(value, pattern);
            let is_in = |list: &BTreeSet<ExactValue>| list.iter().any(|wanted| sample.is(value, wanted));
            values.one_of.iter().all(is_in)
                && values.matching.iter().all(matches)
                && !is_in(&values.none_of)
                && !values.not_matching.iter().any(matches)
                && values.exists.is_none_or(|exists| exists == value.is_some())
        })
    }

    proptest! {
        #[test]
        fn cases_hold_where_the_condition_does_and_apart_only_one_of_them(condition in any_condition()) {
            let Ok(cases) = Cases::of(&condition) else { return Ok(()) };
            let (negated, apart) = (cases.not(), cases.apart());
            for sample in &samples().collect::<Vec<_>>() {
                let wanted = holds(&condition, sample);
                prop_assert_eq!(cases.0.iter().any(|case| fits(case, sample)), wanted, "{:?}", cases);
                if let Ok(negated) = &negated {
                    prop_assert_eq!(negated.0.iter().any(|case| fits(case, sample)), !wanted, "{:?}", negated);
                }
                if let Ok(apart) = &apart {
                    let fitting = apart.iter().filter(|case| fits(case, sample)).count();
                    prop_assert_eq!(fitting, usize::from(wanted), "{:?}", apart);
                }
            }
        }
    }

    fn any_condition() -> impl Strategy<Value = Condition> {
        let name =
            || prop::sample::select(NAMES.as_slice()).prop_map(|name| Attribute::Resource(name.to_owned()));
        let pattern = prop::sample::select(PATTERNS.as_slice()).prop_map(str::to_owned);
        let leaf = prop_oneof![
            (name(), prop::sample::select(written_values()))
                .prop_map(|(name, value)| Condition::Is(name, value)),
            (name(), pattern).prop_map(|(name, pattern)| Condition::Matches(name, pattern)),
            name().prop_map(Condition::Exists),
            any::<bool>().prop_map(Condition::Constant),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|inner| Condition::Not(Box::new(inner))),
                prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::And),
                prop::collection::vec(inner, 1..4).prop_map(Condition::Or),
            ]
        })
    }

    #[test]
    fn values_of_one_attribute_become_one_case() {
        let is = |value: &str| {
            Condition::Is(Attribute::Resource("a".to_owned()), ExactValue::Text(value.to_owned()))
        };
        let cases = Cases::of(&Condition::Or(vec![is("1"), is("2"), is("12")])).unwrap();
        assert_eq!(cases.list().len(), 1);
        assert_eq!(cases.not().unwrap().list().len(), 1);
    }

    #[test]
    fn there_is_a_bound() {
        let is = |name: usize, value: &str| {
            Condition::Is(Attribute::Resource(format!("a{name}")), ExactValue::Text(value.to_owned()))
        };
        let pairs = (0..7).map(|name| Condition::Or(vec![is(name, "1"), is(name + 10, "2")]));
        assert_eq!(Cases::of(&Condition::And(pairs.collect())), Err(TooMany(MOST)));
    }
}
