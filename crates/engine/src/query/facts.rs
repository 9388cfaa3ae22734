//! The facts that are known of an entry and of a record of it while queries are asked: each is read when the first condition asks for
//! it, and once.
//!
//! The parts that several records have in common - the resource, a scope, a metric - are read once for all of them, and the results of
//! conditions on them are remembered. So no more bytes are gone through for a record than it has itself.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use smallvec::SmallVec;

use super::bound::SeverityLevel;
use super::field::AttributePlace;
use super::matcher::{RememberedMatcher, TextMatcher};
use super::names::WantedNames;
use super::origin::RecordOrigin;
use otlp::{
    self, AttributeView, REDACTED, ReadValue, RecordFields, RecordView, Redaction, Signal,
    resource_attributes,
};

/// Bytes of a text that are looked at. Longer lists and maps are not looked into.
pub(super) const LOOKED_AT: usize = 64 * 1024;

/// Before so many bytes of texts are looked at, it is asked again whether there is time.
const BYTES_AT_ONCE: usize = 4 * 1024;

/// What queries see of records, and for how long they may look.
#[derive(Clone, Copy)]
pub struct QuerySight<'s> {
    /// The redaction of texts that queries must not see.
    pub redaction: Option<&'s Redaction>,
    /// Whether there is time to look on. Asked before each record, and before each long text, or so many short ones.
    pub has_time: &'s dyn Fn() -> bool,
}

impl QuerySight<'static> {
    /// Everything is seen, whatever time that takes.
    pub const EVERYTHING: Self = Self { redaction: None, has_time: &|| true };
}

/// A part of an entry that its records have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommonPlace {
    /// In the entry, or with it.
    Entry,
    Scope,
    Metric,
}

/// An attribute that queries look for.
#[derive(Clone)]
struct FoundValue<'a> {
    key: &'a str,
    value: ReadValue<'a>,
    seen: OnceCell<SeenValue<'a>>,
}

/// Attributes that queries look for, at the positions of their names.
type FoundValues<'a> = SmallVec<[Option<FoundValue<'a>>; 4]>;

/// A value as conditions look at it.
#[derive(Clone, Debug)]
pub(super) enum SeenValue<'a> {
    /// A text, or none.
    Text(Cow<'a, str>),
    Int(i64),
    Double(f64),
    /// The text that a value is compared as which is no text and no number.
    Written(Cow<'a, str>),
    List(Vec<SeenValue<'a>>),
    /// The value is there, and is too long to be looked at.
    Unseen,
}

/// The facts about an entry.
pub(super) struct EntryFacts<'f, 'a> {
    names: &'f WantedNames,
    pub(super) origin: &'f RecordOrigin<'f>,
    /// If it hides anything.
    redaction: Option<&'f Redaction>,
    has_time: &'f dyn Fn() -> bool,
    entry: &'a [u8],
    resource: OnceCell<FoundValues<'a>>,
    scope: CommonFacts<'a>,
    metric: CommonFacts<'a>,
    /// The results of conditions in each [`CommonPlace`].
    remembered: RefCell<SmallVec<[[CommonResult; 3]; 4]>>,
    /// Bytes of texts that were looked at since it was asked whether there is time.
    looked_at: Cell<usize>,
    ran_out: Cell<bool>,
}

/// The result of a condition.
#[derive(Clone, Copy, Debug, Default)]
struct CommonResult {
    /// On which of the scopes, of the metrics, counted from 1; 0 if it was not asked.
    of: u32,
    /// `None` if the attribute that it asks for is not there.
    passes: Option<bool>,
}

/// The facts about the scope, or the metric, that was looked at last.
struct CommonFacts<'a> {
    /// Where it stands.
    position: Cell<*const u8>,
    /// How many there were.
    count: Cell<u32>,
    values: RefCell<Option<Rc<FoundValues<'a>>>>,
}

/// The facts about a record.
pub(super) struct RecordFacts<'f, 'a> {
    entry: &'f EntryFacts<'f, 'a>,
    record: &'f RecordView<'f, 'a>,
    fields: OnceCell<RecordFields<'a>>,
    own: OnceCell<FoundValues<'a>>,
    body: OnceCell<Option<Cow<'a, str>>>,
    name: OnceCell<Option<Cow<'a, str>>>,
}

impl Default for CommonFacts<'_> {
    fn default() -> Self {
        Self { position: Cell::new(std::ptr::null()), count: Cell::new(0), values: RefCell::default() }
    }
}

impl<'a> CommonFacts<'a> {
    /// Goes on to what stands there, if it is another one; which one it is.
    fn enter(&self, position: *const u8) -> u32 {
        if self.position.replace(position) != position {
            self.count.set(self.count.get() + 1);
            self.values.take();
        }
        self.count.get()
    }

    fn values(&self, read: impl FnOnce() -> FoundValues<'a>) -> Rc<FoundValues<'a>> {
        self.values.borrow_mut().get_or_insert_with(|| read().into()).clone()
    }
}

impl<'f, 'a> EntryFacts<'f, 'a> {
    /// The facts about an entry, none of which is known yet; so many conditions are remembered.
    pub(super) fn new(
        names: &'f WantedNames,
        origin: &'f RecordOrigin<'f>,
        sight: &QuerySight<'f>,
        entry: &'a [u8],
        remembered: usize,
    ) -> Self {
        Self {
            names,
            origin,
            redaction: sight.redaction.filter(|redaction| !redaction.is_empty()),
            has_time: sight.has_time,
            entry,
            resource: OnceCell::new(),
            scope: CommonFacts::default(),
            metric: CommonFacts::default(),
            remembered: RefCell::new(smallvec::smallvec![Default::default(); remembered]),
            looked_at: Cell::new(0),
            ran_out: Cell::new(false),
        }
    }

    /// Whether there is time to look on.
    pub(super) fn has_time(&self) -> bool {
        if !self.ran_out.get() && !(self.has_time)() {
            self.ran_out.set(true);
        }
        !self.ran_out.get()
    }

    /// Whether there was no time to look at all that was asked for: then nothing of what came of it counts.
    pub(super) fn has_run_out(&self) -> bool {
        self.ran_out.get()
    }

    /// Whether there is time to look at so many bytes.
    fn has_time_for(&self, bytes: usize) -> bool {
        let looked_at = self.looked_at.get() + bytes;
        if looked_at < BYTES_AT_ONCE {
            self.looked_at.set(looked_at);
            return !self.ran_out.get();
        }
        self.looked_at.set(0);
        self.has_time()
    }

    fn gather(&self, attributes: impl Iterator<Item = AttributeView<'a>>) -> FoundValues<'a> {
        let mut values: FoundValues<'a> = smallvec::smallvec![None; self.names.len()];
        for attribute in attributes {
            if let Some(position) = self.names.position(attribute.key_bytes()) {
                let (key, value) = (attribute.key(), attribute.value());
                values[position] = Some(FoundValue { key, value, seen: OnceCell::new() });
            }
        }
        values
    }

    /// The result of a condition on the entry, on the `count`th scope or on the `count`th metric; `decide` is called if that is not
    /// remembered.
    fn remember(
        &self,
        memory: usize,
        place: CommonPlace,
        count: u32,
        decide: impl FnOnce() -> Option<bool>,
    ) -> Option<bool> {
        let known = self.remembered.borrow()[memory][place as usize];
        if known.of == count {
            return known.passes;
        }
        let passes = decide();
        self.remembered.borrow_mut()[memory][place as usize] = CommonResult { of: count, passes };
        passes
    }

    /// The result of a condition on the entry, its origin or its resource.
    pub(super) fn remember_of_entry(
        &self,
        memory: usize,
        decide: impl FnOnce() -> Option<bool>,
    ) -> Option<bool> {
        self.remember(memory, CommonPlace::Entry, 1, decide)
    }

    /// Whether the first of these attributes of the resource passes a test, if one is there.
    pub(super) fn resource_passes(
        &self,
        memory: usize,
        names: &[usize],
        test: impl FnOnce(&SeenValue<'a>) -> bool,
    ) -> Option<bool> {
        self.remember_of_entry(memory, || {
            let resource = || self.gather(resource_attributes(otlp::resource(self.entry)));
            self.first_passes(self.resource.get_or_init(resource), names, test)
        })
    }

    fn first_passes(
        &self,
        values: &FoundValues<'a>,
        names: &[usize],
        test: impl FnOnce(&SeenValue<'a>) -> bool,
    ) -> Option<bool> {
        let first = names.iter().find_map(|name| values[*name].as_ref())?;
        Some(test(first.seen.get_or_init(|| self.see(first.key, &first.value))))
    }

    /// A value as it is seen.
    fn see(&self, key: &str, value: &ReadValue<'a>) -> SeenValue<'a> {
        if self.redaction.is_some_and(|redaction| redaction.hides(key)) {
            return SeenValue::Text(Cow::Borrowed(REDACTED));
        }
        match value {
            ReadValue::Text(text) => self.see_text(text).map_or(SeenValue::Unseen, SeenValue::Text),
            ReadValue::List(bytes) | ReadValue::Map(bytes) => self
                .see_list_or_map(value, bytes.len(), SeenValue::of, |clean| SeenValue::of(clean).into_owned())
                .unwrap_or(SeenValue::Unseen),
            other => self
                .see_scalar(other, SeenValue::of, |clean| SeenValue::Text(clean.into()))
                .unwrap_or(SeenValue::Unseen),
        }
    }

    /// As much of a text as is seen. What is hidden in a longer one could be cut in two, so that it would be seen.
    fn see_text(&self, text: &'a str) -> Option<Cow<'a, str>> {
        match self.redaction {
            None => Some(Cow::Borrowed(looked_at(text))),
            Some(_) if text.len() > LOOKED_AT => None,
            Some(redaction) => self.has_time_for(text.len()).then(|| cut(redaction.text(text))),
        }
    }

    /// The result of `whole` on a list or map in which nothing is hidden, or else of `clean` on the redacted one; `None` if it is not seen.
    fn see_list_or_map<T>(
        &self,
        value: &ReadValue<'a>,
        len: usize,
        whole: impl FnOnce(&ReadValue<'a>) -> T,
        clean: impl FnOnce(&ReadValue<'_>) -> T,
    ) -> Option<T> {
        if len > LOOKED_AT || !self.has_time_for(len) {
            return None;
        }
        Some(match self.redaction.and_then(|redaction| redaction.list_or_map(value)) {
            Some(encoded) => clean(&ReadValue::of(&encoded)),
            None => whole(value),
        })
    }

    /// The result of `whole` on a number, a boolean or bytes in which nothing is hidden, or else of `clean` on the redacted text; `None`
    /// if it is not seen.
    fn see_scalar<T>(
        &self,
        value: &ReadValue<'a>,
        whole: impl FnOnce(&ReadValue<'a>) -> T,
        clean: impl FnOnce(String) -> T,
    ) -> Option<T> {
        let Some(redaction) = self.redaction else { return Some(whole(value)) };
        // Texts of numbers are short.
        let len = if let ReadValue::Bytes(bytes) = value { bytes.len() } else { 0 };
        if len > LOOKED_AT || !self.has_time_for(len) {
            return None;
        }
        Some(match redaction.scalar(value) {
            Some(shown) => clean(shown),
            None => whole(value),
        })
    }

    /// Whether a text matches, as far as there is time to look at it.
    pub(super) fn matches(&self, matcher: &TextMatcher, text: &str) -> bool {
        self.has_time_for(text.len()) && matcher.matches(text)
    }

    /// Whether there is a text, and it matches.
    fn is_text(&self, text: &'a str, matcher: &TextMatcher) -> bool {
        !text.is_empty()
            && (matches!(matcher, TextMatcher::Any)
                || self.see_text(text).is_some_and(|seen| self.matches(matcher, &seen)))
    }
}

impl<'f, 'a> RecordFacts<'f, 'a> {
    /// The facts about a record, none of which is known yet.
    pub(super) fn new(entry: &'f EntryFacts<'f, 'a>, record: &'f RecordView<'f, 'a>) -> Self {
        Self {
            entry,
            record,
            fields: OnceCell::new(),
            own: OnceCell::new(),
            body: OnceCell::new(),
            name: OnceCell::new(),
        }
    }

    /// The facts about its entry.
    pub(super) fn entry(&self) -> &EntryFacts<'f, 'a> {
        self.entry
    }

    /// Its fields, as they are.
    pub(super) fn fields(&self) -> &RecordFields<'a> {
        self.fields.get_or_init(|| self.record.fields())
    }

    /// Its level.
    pub(super) fn level(&self) -> Option<SeverityLevel> {
        let fields = self.fields();
        match self.record.signal() {
            Signal::Logs if fields.severity_number == 0 => {
                SeverityLevel::of_log(0, &self.entry.see_text(fields.severity_text)?)
            }
            Signal::Logs => SeverityLevel::of_log(fields.severity_number, ""),
            Signal::Traces => fields.failed.then_some(SeverityLevel::Error),
            Signal::Metrics => None,
        }
    }

    /// Whether its severity text matches.
    pub(super) fn is_severity_text(&self, matcher: &TextMatcher) -> bool {
        self.entry.is_text(self.fields().severity_text, matcher)
    }

    /// Whether its body is there, and matches as text.
    pub(super) fn is_body(&self, matcher: &TextMatcher) -> bool {
        let body = &self.fields().body;
        if matches!(matcher, TextMatcher::Any) {
            return *body != ReadValue::Empty;
        }
        let seen = self.body.get_or_init(|| match body {
            ReadValue::Empty => None,
            ReadValue::Text(text) => self.entry.see_text(text),
            ReadValue::List(bytes) | ReadValue::Map(bytes) => {
                let clean = |clean: &ReadValue<'_>| cut(clean.text()).into_owned().into();
                self.entry.see_list_or_map(body, bytes.len(), |whole| cut(whole.text()), clean)
            }
            other => self.entry.see_scalar(other, |whole| cut(of_bytes(whole).text()), Cow::Owned),
        });
        seen.as_ref().is_some_and(|text| self.entry.matches(matcher, text))
    }

    /// Whether it has a name, or its metric has, and that matches.
    pub(super) fn is_name(&self, RememberedMatcher { matcher, memory }: &RememberedMatcher) -> bool {
        self.of_metric(*memory, || {
            let name = self.fields().name;
            if name.is_empty() || matches!(matcher, TextMatcher::Any) {
                return !name.is_empty();
            }
            let seen = self.name.get_or_init(|| self.entry.see_text(name));
            seen.as_ref().is_some_and(|seen| self.entry.matches(matcher, seen))
        })
    }

    /// Whether one of its texts matches.
    pub(super) fn has_text(&self, remembered: &RememberedMatcher) -> bool {
        self.is_body(&remembered.matcher)
            || self.is_name(remembered)
            || self.entry.is_text(self.fields().status_message, &remembered.matcher)
    }

    /// Whether its scope has a name that matches.
    pub(super) fn is_scope(&self, RememberedMatcher { matcher, memory }: &RememberedMatcher) -> bool {
        let count = self.entry.scope.enter(self.record.scope_position());
        let is_scope = || Some(self.entry.is_text(self.record.scope().0, matcher));
        self.entry.remember(*memory, CommonPlace::Scope, count, is_scope) == Some(true)
    }

    /// Whether the first of these attributes that is there, in the place that is nearest to the record, passes a test.
    pub(super) fn attribute_passes(
        &self,
        memory: usize,
        names: &[usize],
        place: Option<AttributePlace>,
        test: impl Fn(&SeenValue<'a>) -> bool,
    ) -> bool {
        let own = || {
            let own = self.own.get_or_init(|| self.entry.gather(self.record.attributes()));
            self.entry.first_passes(own, names, &test)
        };
        let passes = match place {
            Some(AttributePlace::Record) => own(),
            Some(AttributePlace::Scope) => self.scope_passes(memory, names, &test),
            Some(AttributePlace::Resource) => self.entry.resource_passes(memory, names, &test),
            None => own()
                .or_else(|| self.metadata_passes(memory, names, &test))
                .or_else(|| self.scope_passes(memory, names, &test))
                .or_else(|| self.entry.resource_passes(memory, names, &test)),
        };
        passes == Some(true)
    }

    fn scope_passes(
        &self,
        memory: usize,
        names: &[usize],
        test: impl FnOnce(&SeenValue<'a>) -> bool,
    ) -> Option<bool> {
        let scope = &self.entry.scope;
        let count = scope.enter(self.record.scope_position());
        self.entry.remember(memory, CommonPlace::Scope, count, || {
            let values = scope.values(|| self.entry.gather(self.record.scope_attributes()));
            self.entry.first_passes(&values, names, test)
        })
    }

    fn metadata_passes(
        &self,
        memory: usize,
        names: &[usize],
        test: impl FnOnce(&SeenValue<'a>) -> bool,
    ) -> Option<bool> {
        let metric = &self.entry.metric;
        let count = metric.enter(self.record.metric_position()?);
        self.entry.remember(memory, CommonPlace::Metric, count, || {
            let values = metric.values(|| self.entry.gather(self.record.metadata()));
            self.entry.first_passes(&values, names, test)
        })
    }

    /// The result of a condition that depends on the metric alone, if the record is a data point.
    fn of_metric(&self, memory: usize, decide: impl FnOnce() -> bool) -> bool {
        let Some(position) = self.record.metric_position() else { return decide() };
        let count = self.entry.metric.enter(position);
        self.entry.remember(memory, CommonPlace::Metric, count, || Some(decide())) == Some(true)
    }
}

impl<'a> SeenValue<'a> {
    /// A value in which nothing is hidden.
    fn of(value: &ReadValue<'a>) -> Self {
        match value {
            ReadValue::Empty => Self::Text(Cow::Borrowed("")),
            ReadValue::Text(text) => Self::Text(Cow::Borrowed(looked_at(text))),
            ReadValue::Int(number) => Self::Int(*number),
            ReadValue::Double(number) => Self::Double(*number),
            ReadValue::List(_) => Self::List(value.items().map(|item| Self::of(&item)).collect()),
            ReadValue::Bool(_) | ReadValue::Bytes(_) | ReadValue::Map(_) => {
                Self::Written(cut(of_bytes(value).text()))
            }
        }
    }

    fn into_owned(self) -> SeenValue<'static> {
        match self {
            Self::Text(text) => SeenValue::Text(text.into_owned().into()),
            Self::Written(text) => SeenValue::Written(text.into_owned().into()),
            Self::Int(number) => SeenValue::Int(number),
            Self::Double(number) => SeenValue::Double(number),
            Self::List(items) => SeenValue::List(items.into_iter().map(Self::into_owned).collect()),
            Self::Unseen => SeenValue::Unseen,
        }
    }
}

/// As many bytes as make a text that is looked at; any other value as it is.
fn of_bytes<'a>(value: &ReadValue<'a>) -> ReadValue<'a> {
    match *value {
        ReadValue::Bytes(bytes) => ReadValue::Bytes(&bytes[..bytes.len().min(LOOKED_AT / 4 * 3)]),
        other => other,
    }
}

fn looked_at(text: &str) -> &str {
    let mut end = text.len().min(LOOKED_AT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(looked_at(text)),
        Cow::Owned(mut text) => {
            text.truncate(looked_at(&text).len());
            Cow::Owned(text)
        }
    }
}
