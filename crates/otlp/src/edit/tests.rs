//! Edits against the same done to decoded messages.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message as _;
use regex::Regex;

use super::*;
use crate::arbitrary;
use crate::damaged::RequestDamage;

/// So few that actions and attributes meet.
const KEYS: [&str; 5] = ["a", "b", "c.d", "email", "n"];

/// An entry of any signal, decoded.
#[derive(Clone, Debug, PartialEq)]
enum Decoded {
    Traces(ResourceSpans),
    Metrics(ResourceMetrics),
    Logs(ResourceLogs),
}

impl Decoded {
    fn of(signal: Signal, entry: &[u8]) -> Self {
        match signal {
            Signal::Traces => Self::Traces(ResourceSpans::decode(entry).unwrap()),
            Signal::Metrics => Self::Metrics(ResourceMetrics::decode(entry).unwrap()),
            Signal::Logs => Self::Logs(ResourceLogs::decode(entry).unwrap()),
        }
    }

    fn encoded(&self) -> Vec<u8> {
        match self {
            Self::Traces(entry) => entry.encode_to_vec(),
            Self::Metrics(entry) => entry.encode_to_vec(),
            Self::Logs(entry) => entry.encode_to_vec(),
        }
    }

    fn signal(&self) -> Signal {
        match self {
            Self::Traces(_) => Signal::Traces,
            Self::Metrics(_) => Signal::Metrics,
            Self::Logs(_) => Signal::Logs,
        }
    }

    fn resource_mut(&mut self) -> &mut Option<Resource> {
        match self {
            Self::Traces(entry) => &mut entry.resource,
            Self::Metrics(entry) => &mut entry.resource,
            Self::Logs(entry) => &mut entry.resource,
        }
    }

    /// Shows the attributes of each record, with what it is.
    fn each_record(&mut self, mut visit: impl FnMut(&mut Vec<KeyValue>, &Seen<'_>)) {
        match self {
            Self::Traces(entry) => {
                for ScopeSpans { scope, spans, .. } in &mut entry.scope_spans {
                    for span in spans {
                        let seen = span.clone();
                        visit(&mut span.attributes, &Seen::Span(scope.as_ref(), &seen));
                        for event in &mut span.events {
                            visit(&mut event.attributes, &Seen::InSpan(scope.as_ref(), &seen));
                        }
                        for link in &mut span.links {
                            visit(&mut link.attributes, &Seen::InSpan(scope.as_ref(), &seen));
                        }
                    }
                }
            }
            Self::Logs(entry) => {
                for ScopeLogs { scope, log_records, .. } in &mut entry.scope_logs {
                    for record in log_records {
                        let seen = record.clone();
                        visit(&mut record.attributes, &Seen::LogRecord(scope.as_ref(), &seen));
                    }
                }
            }
            Self::Metrics(entry) => {
                for metric in entry.scope_metrics.iter_mut().flat_map(|scope| &mut scope.metrics) {
                    let seen = Metric { data: None, ..metric.clone() };
                    let seen = Seen::DataPoint(&seen);
                    match &mut metric.data {
                        None => {}
                        Some(Data::Gauge(data)) => {
                            data.data_points.iter_mut().for_each(|point| visit(&mut point.attributes, &seen));
                        }
                        Some(Data::Sum(data)) => {
                            data.data_points.iter_mut().for_each(|point| visit(&mut point.attributes, &seen));
                        }
                        Some(Data::Histogram(data)) => {
                            data.data_points.iter_mut().for_each(|point| visit(&mut point.attributes, &seen));
                        }
                        Some(Data::ExponentialHistogram(data)) => {
                            data.data_points.iter_mut().for_each(|point| visit(&mut point.attributes, &seen));
                        }
                        Some(Data::Summary(data)) => {
                            data.data_points.iter_mut().for_each(|point| visit(&mut point.attributes, &seen));
                        }
                    }
                }
            }
        }
    }
}

/// What attributes are of.
enum Seen<'a> {
    Span(Option<&'a InstrumentationScope>, &'a Span),
    InSpan(Option<&'a InstrumentationScope>, &'a Span),
    LogRecord(Option<&'a InstrumentationScope>, &'a LogRecord),
    DataPoint(&'a Metric),
}

fn holding(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(text: &str) -> AnyValue {
    holding(Any::StringValue(text.to_owned()))
}

fn of_pair(pair: &KeyValue) -> Option<&Any> {
    pair.value.as_ref()?.value.as_ref()
}

fn get<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a KeyValue> {
    attributes.iter().find(|pair| pair.key == key)
}

impl EditTexts for Vec<String> {
    fn text(&self, at: usize) -> Option<&str> {
        self.get(at).map(String::as_str)
    }
}

/// What an edit makes of an entry where there is room.
fn applied(edit: &Edit, signal: Signal, entry: &[u8], texts: &[String]) -> Option<Vec<u8>> {
    edit.apply(signal, entry, &texts.to_vec(), &mut EditMemory::new(&mut |_| true)).unwrap()
}

/// What an edit makes of a decoded entry.
fn oracle(edit: &Edit, entry: &Decoded, texts: &[String]) -> Decoded {
    let mut entry = entry.clone();
    match &edit.of {
        EditedPart::Resource => {
            let mut resource = entry.resource_mut().clone().unwrap_or_default();
            let before = resource.clone();
            edit.actions.iter().for_each(|action| act(action, &mut resource.attributes, texts));
            if resource != before {
                *entry.resource_mut() = Some(resource);
            }
        }
        EditedPart::Records { events, include, exclude } => {
            let resource = entry.resource_mut().clone().unwrap_or_default();
            entry.each_record(|attributes, seen| {
                let takes = |selection: &Selection| holds(selection, &resource.attributes, seen);
                let meant = include.as_deref().is_none_or(takes) && !exclude.as_deref().is_some_and(takes);
                if meant && (*events || !matches!(seen, Seen::InSpan(..))) {
                    edit.actions.iter().for_each(|action| act(action, attributes, texts));
                }
            });
        }
    }
    entry
}

fn act(action: &EditAction, attributes: &mut Vec<KeyValue>, texts: &[String]) {
    match action {
        EditAction::Write { key, place, source, default } => {
            let found = source.iter().chain(default).find_map(|source| match source {
                ValueSource::Value(value) => Some(AnyValue::decode(value.encoded()).unwrap()),
                ValueSource::Text(at) => texts.get(*at).map(|value| text(value)),
                ValueSource::Attribute(from) => {
                    get(attributes, from).map(|pair| pair.value.clone().unwrap_or_default())
                }
            });
            let is_there = get(attributes, key).is_some();
            match (found, place, is_there) {
                (Some(value), WriteWhere::Absent | WriteWhere::Anywhere, false) => {
                    attributes.push(KeyValue { key: key.clone(), value: Some(value), key_strindex: 0 });
                }
                (Some(value), WriteWhere::Present | WriteWhere::Anywhere, true) => {
                    let named = attributes.iter_mut().filter(|pair| pair.key == *key);
                    named.for_each(|pair| pair.value = Some(value.clone()));
                }
                _ => {}
            }
        }
        EditAction::Delete(keys) => attributes.retain(|pair| !is_named(keys, &pair.key)),
        EditAction::Hash(keys) => {
            for pair in attributes.iter_mut().filter(|pair| is_named(keys, &pair.key)) {
                let bytes = match of_pair(pair) {
                    Some(Any::StringValue(text)) => text.clone().into_bytes(),
                    Some(Any::BoolValue(flag)) => vec![u8::from(*flag)],
                    Some(Any::IntValue(number)) => number.to_le_bytes().to_vec(),
                    Some(Any::DoubleValue(number)) => number.to_le_bytes().to_vec(),
                    _ => {
                        pair.value = Some(text(""));
                        continue;
                    }
                };
                let hash = ring::digest::digest(&ring::digest::SHA256, &bytes);
                let digits: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                pair.value = Some(text(&digits.concat()));
            }
        }
        EditAction::Convert { key, to } => {
            for pair in attributes.iter_mut().filter(|pair| pair.key == *key) {
                let read = pair.value.clone().unwrap_or_default().encode_to_vec();
                let made = match (to, of_pair(pair)) {
                    (ConvertedType::Text, Some(Any::StringValue(_))) => None,
                    (ConvertedType::Text, _) => {
                        Some(text(&super::super::read_value::ReadValue::of(&read).text()))
                    }
                    (ConvertedType::Int, Some(Any::DoubleValue(number))) => {
                        Some(holding(Any::IntValue(*number as i64)))
                    }
                    (ConvertedType::Int, Some(Any::BoolValue(flag))) => {
                        Some(holding(Any::IntValue((*flag).into())))
                    }
                    (ConvertedType::Int, Some(Any::StringValue(text))) => {
                        text.parse().ok().map(|number| holding(Any::IntValue(number)))
                    }
                    (ConvertedType::Double, Some(Any::IntValue(number))) => {
                        Some(holding(Any::DoubleValue(*number as f64)))
                    }
                    (ConvertedType::Double, Some(Any::BoolValue(flag))) => {
                        Some(holding(Any::DoubleValue(if *flag { 1.0 } else { 0.0 })))
                    }
                    (ConvertedType::Double, Some(Any::StringValue(text))) => {
                        text.parse().ok().map(|number| holding(Any::DoubleValue(number)))
                    }
                    _ => None,
                };
                if let Some(made) = made {
                    pair.value = Some(made);
                }
            }
        }
        EditAction::Extract { key, pattern } => {
            let found: Option<BTreeMap<String, String>> =
                get(attributes, key).and_then(of_pair).and_then(|value| {
                    let Any::StringValue(text) = value else { return None };
                    let found = pattern.captures(text)?;
                    let group = |name: &str| {
                        found.name(name).map_or(String::new(), |found| found.as_str().to_owned())
                    };
                    Some(
                        pattern
                            .capture_names()
                            .flatten()
                            .map(|name| (name.to_owned(), group(name)))
                            .collect(),
                    )
                });
            for (key, value) in found.into_iter().flatten() {
                let value = ValueSource::Value(NewValue::text(&value));
                let write = EditAction::Write {
                    key,
                    place: WriteWhere::Anywhere,
                    source: Some(value),
                    default: None,
                };
                act(&write, attributes, texts);
            }
        }
    }
}

fn is_named(keys: &EditKeys, key: &str) -> bool {
    keys.key.as_deref() == Some(key) || keys.pattern.as_ref().is_some_and(|pattern| pattern.is_match(key))
}

fn passes(test: Option<&TextTest>, text: &str) -> bool {
    match test {
        None => true,
        Some(TextTest::Strict(texts)) => texts.iter().any(|known| known == text),
        Some(TextTest::Regexp(patterns)) => patterns.iter().any(|pattern| pattern.is_match(text)),
    }
}

fn holds(selection: &Selection, resource: &[KeyValue], seen: &Seen<'_>) -> bool {
    let as_text = |pair: &KeyValue| {
        let encoded = pair.value.clone().unwrap_or_default().encode_to_vec();
        super::super::read_value::ReadValue::of(&encoded).text().into_owned()
    };
    let all = |tests: &[AttributeTest], attributes: &[KeyValue]| {
        tests.iter().all(|test| match (get(attributes, &test.key), &test.value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(pair), Some(ValueTest::Strict(value))) => {
                AnyValue::decode(value.encoded()).unwrap().value.as_ref() == of_pair(pair)
            }
            (Some(pair), Some(ValueTest::Regexp(pattern))) => match of_pair(pair) {
                Some(Any::StringValue(text)) => pattern.is_match(text),
                Some(Any::BoolValue(flag)) => pattern.is_match(&flag.to_string()),
                Some(Any::IntValue(number)) => pattern.is_match(&number.to_string()),
                Some(Any::DoubleValue(number)) => pattern.is_match(&number.to_string()),
                _ => false,
            },
        })
    };
    let service = get(resource, "service.name").map_or("<nil-service-name>".to_owned(), as_text);
    if !passes(selection.services.as_ref(), &service) || !all(&selection.resources, resource) {
        return false;
    }
    let of_scope = |scope: Option<&InstrumentationScope>| {
        let (name, version) = scope.map_or(("", ""), |scope| (&scope.name, &scope.version));
        selection
            .libraries
            .iter()
            .all(|library| passes(Some(&library.name), name) && passes(library.version.as_ref(), version))
    };
    match seen {
        Seen::Span(scope, span) | Seen::InSpan(scope, span) => {
            of_scope(*scope)
                && passes(selection.span_names.as_ref(), &span.name)
                && passes(selection.span_kinds.as_ref(), SPAN_KINDS[span.kind as usize])
                && all(&selection.attributes, &span.attributes)
        }
        Seen::LogRecord(scope, record) => {
            let body = record.body.clone().unwrap_or_default().encode_to_vec();
            of_scope(*scope)
                && passes(
                    selection.log_bodies.as_ref(),
                    &super::super::read_value::ReadValue::of(&body).text(),
                )
                && passes(selection.log_severity_texts.as_ref(), &record.severity_text)
                && selection.log_severity_number.is_none_or(|test| match record.severity_number {
                    0 => test.match_undefined,
                    number => number >= test.min,
                })
                && all(&selection.attributes, &record.attributes)
        }
        Seen::DataPoint(metric) => passes(selection.metric_names.as_ref(), &metric.name),
    }
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(&KEYS[..]).prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = Regex> {
    prop::sample::select(&["^[ab]$", "[.]", "a", "."][..]).prop_map(|text| Regex::new(text).unwrap())
}

fn value() -> BoxedStrategy<NewValue> {
    let leaf = prop_oneof![
        prop::sample::select(
            &["", "x", "12", "a rather longer text, of more than is in most attributes here"][..]
        )
        .prop_map(NewValue::text),
        any::<bool>().prop_map(NewValue::bool),
        any::<i64>().prop_map(NewValue::int),
        any::<i32>().prop_map(|number| NewValue::double(f64::from(number) / 8.0)),
    ]
    .boxed();
    prop_oneof![
        4 => leaf.clone(),
        1 => prop::collection::vec(leaf, 0..3).prop_map(|values| NewValue::list(&values)),
    ]
    .boxed()
}

fn source() -> BoxedStrategy<ValueSource> {
    prop_oneof![
        3 => value().prop_map(ValueSource::Value),
        2 => key().prop_map(ValueSource::Attribute),
        1 => (0..2_usize).prop_map(ValueSource::Text),
    ]
    .boxed()
}

fn keys() -> BoxedStrategy<EditKeys> {
    let (key, pattern) = (proptest::option::of(key()), proptest::option::of(pattern()));
    (key, pattern).prop_map(|(key, pattern)| EditKeys { key, pattern }).boxed()
}

fn action() -> BoxedStrategy<EditAction> {
    let place = prop::sample::select(&[WriteWhere::Absent, WriteWhere::Present, WriteWhere::Anywhere][..]);
    let default = proptest::option::of(value().prop_map(ValueSource::Value));
    let to = prop::sample::select(&[ConvertedType::Text, ConvertedType::Int, ConvertedType::Double][..]);
    let groups = prop::sample::select(&["(?P<a>[a-z]+) (?P<made>x)?", "^(?P<email>.)", "(?P<n>[0-9]+)"][..]);
    prop_oneof![
        4 => (key(), place, proptest::option::weighted(0.9, source()), default)
            .prop_map(|(key, place, source, default)| EditAction::Write { key, place, source, default }),
        2 => keys().prop_map(EditAction::Delete),
        1 => keys().prop_map(EditAction::Hash),
        1 => (key(), to).prop_map(|(key, to)| EditAction::Convert { key, to }),
        1 => (key(), groups)
            .prop_map(|(key, groups)| EditAction::Extract { key, pattern: Regex::new(groups).unwrap() }),
    ]
    .boxed()
}

fn text_test() -> BoxedStrategy<Option<TextTest>> {
    let strict = prop_oneof![
        Just(TextTest::Strict(vec![String::new()])),
        Just(TextTest::Strict(vec!["SPAN_KIND_SERVER".to_owned(), "SPAN_KIND_UNSPECIFIED".to_owned()])),
    ];
    let regexp = pattern().prop_map(|pattern| TextTest::Regexp(vec![pattern]));
    proptest::option::weighted(0.3, prop_oneof![1 => strict, 3 => regexp]).boxed()
}

fn attribute_tests() -> BoxedStrategy<Vec<AttributeTest>> {
    let value = prop_oneof![value().prop_map(ValueTest::Strict), pattern().prop_map(ValueTest::Regexp)];
    let test = (key(), proptest::option::of(value)).prop_map(|(key, value)| AttributeTest { key, value });
    prop::collection::vec(test, 0..2).boxed()
}

fn selection() -> BoxedStrategy<Option<Box<Selection>>> {
    let severity =
        (0..20_i32, any::<bool>()).prop_map(|(min, match_undefined)| SeverityTest { min, match_undefined });
    let library =
        (text_test(), text_test()).prop_map(|(name, version)| name.map(|name| LibraryTest { name, version }));
    let texts = (text_test(), text_test(), text_test(), text_test(), text_test(), text_test());
    let rest = (proptest::option::weighted(0.3, severity), attribute_tests(), attribute_tests(), library);
    let selection =
        (texts, rest).prop_map(|(texts, (log_severity_number, attributes, resources, library))| {
            Box::new(Selection {
                services: texts.0,
                span_names: texts.1,
                span_kinds: texts.2,
                log_bodies: texts.3,
                log_severity_texts: texts.4,
                metric_names: texts.5,
                log_severity_number,
                attributes,
                resources,
                libraries: library.into_iter().collect(),
            })
        });
    proptest::option::weighted(0.4, selection).boxed()
}

fn edit() -> BoxedStrategy<Edit> {
    let of = prop_oneof![
        1 => Just(EditedPart::Resource),
        3 => (any::<bool>(), selection(), selection())
            .prop_map(|(events, include, exclude)| EditedPart::Records { events, include, exclude }),
    ];
    (prop::collection::vec(action(), 1..4), of).prop_map(|(actions, of)| Edit { actions, of }).boxed()
}

/// Entries in whose attributes the actions' keys are found.
fn entries(signal: Signal) -> impl Strategy<Value = Vec<Decoded>> {
    arbitrary::request(signal).prop_map(move |request| {
        let entries = super::super::frames(&request).map(|(_, entry)| Decoded::of(signal, entry));
        entries.map(with_few_keys).collect()
    })
}

fn with_few_keys(mut entry: Decoded) -> Decoded {
    let rename = |pairs: &mut Vec<KeyValue>| {
        for pair in pairs {
            let sum: usize = pair.key.bytes().map(usize::from).sum();
            pair.key = KEYS[sum % KEYS.len()].to_owned();
        }
    };
    if let Some(resource) = entry.resource_mut() {
        rename(&mut resource.attributes);
        if resource.dropped_attributes_count % 2 == 0
            && let Some(pair) = resource.attributes.first_mut()
        {
            pair.key = "service.name".to_owned();
        }
    }
    entry.each_record(|attributes, _| rename(attributes));
    entry
}

fn any_entries() -> BoxedStrategy<Vec<Decoded>> {
    prop_oneof![entries(Signal::Traces), entries(Signal::Metrics), entries(Signal::Logs)].boxed()
}

fn texts() -> Vec<String> {
    vec!["first".to_owned(), String::new()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn an_edit_does_to_bytes_what_it_does_to_decoded_messages(entries in any_entries(), edit in edit()) {
        for entry in &entries {
            let bytes = entry.encoded();
            let edited = applied(&edit, entry.signal(), &bytes, &texts());
            prop_assert_ne!(edited.as_ref(), Some(&bytes), "nothing is copied for nothing");
            let edited = edited.unwrap_or(bytes);
            prop_assert_eq!(Decoded::of(entry.signal(), &edited), oracle(&edit, entry, &texts()));
        }
    }

    #[test]
    fn what_was_written_leaves_no_trace_once_it_is_removed(entries in any_entries(), of_resource: bool, value in value()) {
        let of = if of_resource {
            EditedPart::Resource
        } else {
            EditedPart::Records { events: true, include: None, exclude: None }
        };
        let key = "a".to_owned();
        let write = EditAction::Write {
            key: key.clone(),
            place: WriteWhere::Anywhere,
            source: Some(ValueSource::Value(value)),
            default: None,
        };
        let delete = EditAction::Delete(EditKeys { key: Some(key), pattern: None });
        let [write, delete] = [write, delete].map(|action| Edit { actions: vec![action], of: of.clone() });
        for mut entry in entries {
            entry.resource_mut().get_or_insert_default();
            let (signal, bytes) = (entry.signal(), entry.encoded());
            let removed = |bytes: &[u8]| applied(&delete, signal, bytes, &[]).unwrap_or(bytes.to_vec());
            let written = applied(&write, signal, &bytes, &[]).unwrap_or(bytes.clone());
            prop_assert_eq!(removed(&written), removed(&bytes));
        }
    }

    #[test]
    fn whatever_is_valid_is_valid_after_an_edit_and_holds_as_many_records(
        entries in any_entries(), edit in edit(), damage in prop::collection::vec(RequestDamage::arbitrary(), 0..4)
    ) {
        for entry in entries {
            let signal = entry.signal();
            let mut request = Vec::new();
            put_delimited(&mut request, 1, &entry.encoded());
            for damage in &damage {
                damage.apply(&mut request);
            }
            let Ok(split) = super::super::split(signal, &request) else { continue };
            for entry in split.entries {
                let Some(edited) = applied(&edit, signal, &entry.bytes, &texts()) else { continue };
                let mut request = Vec::new();
                put_delimited(&mut request, 1, &edited);
                let again = super::super::split(signal, &request).unwrap();
                prop_assert!(again.cuts.is_empty(), "{:?}", again.cuts);
                prop_assert_eq!(again.entries[0].records, entry.records);
            }
        }
    }
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// What becomes of the attributes of a log record.
fn changed(attributes: &[KeyValue], actions: Vec<EditAction>) -> Vec<KeyValue> {
    let entry = ResourceLogs {
        scope_logs: vec![ScopeLogs {
            log_records: vec![LogRecord { attributes: attributes.to_vec(), ..LogRecord::default() }],
            ..ScopeLogs::default()
        }],
        ..ResourceLogs::default()
    };
    let of = EditedPart::Records { events: false, include: None, exclude: None };
    let bytes = entry.encode_to_vec();
    let edited = applied(&Edit { actions, of }, Signal::Logs, &bytes, &[]).unwrap_or(bytes);
    let mut entry = ResourceLogs::decode(&*edited).unwrap();
    entry.scope_logs.remove(0).log_records.remove(0).attributes
}

#[test]
fn hashes_are_those_of_the_collector() {
    let attributes = [
        pair("text", text("abc")),
        pair("none", text("")),
        pair("true", holding(Any::BoolValue(true))),
        pair("int", holding(Any::IntValue(3))),
        pair("double", holding(Any::DoubleValue(2.5))),
        pair("list", holding(Any::ArrayValue(ArrayValue::default()))),
        pair("bytes", holding(Any::BytesValue(vec![1]))),
    ];
    let keys = EditKeys { key: None, pattern: Some(Regex::new(".").unwrap()) };
    let hashed = changed(&attributes, vec![EditAction::Hash(keys)]);
    let values: Vec<_> = hashed
        .iter()
        .map(|pair| match of_pair(pair) {
            Some(Any::StringValue(text)) => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    // By `printf abc | sha256sum` and so on.
    assert_eq!(
        values,
        [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a",
            "35be322d094f9d154a8aba4733b8497f180353bd7ae7b0a15f90b586b549f28b",
            "5caaabe50da77f59f448b3edf650d68fbca7b858390664c251c52b3f458a881c",
            "",
            "",
        ]
    );
}

#[test]
fn an_attribute_that_is_there_twice_is_changed_twice() {
    let attributes = [pair("a", text("x")), pair("b", text("y")), pair("a", text("z"))];
    let keys = EditKeys { key: Some("a".to_owned()), pattern: None };
    assert_eq!(changed(&attributes, vec![EditAction::Delete(keys)]), [pair("b", text("y"))]);
}

#[test]
fn texts_are_numbers_where_the_collector_reads_them_as_such() {
    let converted = |value: &str, to| {
        let convert = EditAction::Convert { key: "a".to_owned(), to };
        let mut pairs = changed(&[pair("a", text(value))], vec![convert]);
        pairs.remove(0).value.unwrap().value.unwrap()
    };
    for (value, int) in
        [("12", Some(12)), ("+7", Some(7)), ("-0", Some(0)), ("1.0", None), (" 1", None), ("", None)]
    {
        let expected = int.map_or(Any::StringValue(value.to_owned()), Any::IntValue);
        assert_eq!(converted(value, ConvertedType::Int), expected, "{value}");
    }
    for (value, double) in [
        ("12", Some(12.0)),
        (".5e1", Some(5.0)),
        ("-Inf", Some(f64::NEG_INFINITY)),
        ("infinity", Some(f64::INFINITY)),
        ("1e400", None),
        ("+nan", None),
        ("x", None),
    ] {
        let expected = double.map_or(Any::StringValue(value.to_owned()), Any::DoubleValue);
        assert_eq!(converted(value, ConvertedType::Double), expected, "{value}");
    }
    assert!(matches!(converted("nan", ConvertedType::Double), Any::DoubleValue(number) if number.is_nan()));
}

/// An entry with a log record for each of these lists of attributes.
fn log_records(of_records: &[Vec<KeyValue>]) -> ResourceLogs {
    let record =
        |attributes: &Vec<KeyValue>| LogRecord { attributes: attributes.clone(), ..LogRecord::default() };
    let log_records = of_records.iter().map(record).collect();
    ResourceLogs {
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    }
}

/// An edit of records that writes a value.
fn write(key: &str, place: WriteWhere, source: ValueSource) -> Edit {
    let write = EditAction::Write { key: key.to_owned(), place, source: Some(source), default: None };
    let of = EditedPart::Records { events: false, include: None, exclude: None };
    Edit { actions: vec![write], of }
}

/// What becomes of an entry of logs after edits one after the other, and the bytes that were asked for; there is room for `most`.
fn edited_within(most: usize, edits: &[&Edit], entry: &[u8]) -> (Result<Option<Vec<u8>>, NoRoom>, usize) {
    let mut asked = 0;
    let mut room = |bytes: usize| {
        asked += bytes;
        asked <= most
    };
    let mut memory = EditMemory::new(&mut room);
    let mut copy: Option<Vec<u8>> = None;
    for edit in edits {
        let bytes = copy.as_deref().unwrap_or(entry);
        match edit.apply(Signal::Logs, bytes, &texts(), &mut memory) {
            Ok(Some(changed)) => {
                let before = copy.replace(changed);
                memory.give_back(before.map_or(0, |before| before.capacity()));
            }
            Ok(None) => {}
            Err(no_room) => return (Err(no_room), asked),
        }
    }
    (Ok(copy), asked)
}

#[test]
fn a_value_that_would_be_written_too_often_is_refused_before_it_is_copied() {
    const MOST: usize = 128 << 20;
    let mut attributes = vec![pair("a", text("")); 20_000];
    attributes.push(pair("b", text(&"b".repeat(60_000))));
    let entry = log_records(&[attributes]).encode_to_vec();
    let update = write("a", WriteWhere::Present, ValueSource::Attribute("b".to_owned()));
    let (edited, asked) = edited_within(MOST, &[&update], &entry);
    assert_eq!(edited, Err(NoRoom));
    assert!(asked > MOST && asked < MOST + (1 << 20), "{asked}");
}

/// The most work that an edit of records is for a request of one entry of logs.
fn bound(edit: &Edit, entry: &ResourceLogs) -> usize {
    let mut request = Vec::new();
    put_delimited(&mut request, 1, &entry.encode_to_vec());
    EditBound::of(edit, |_| None).of_request(Signal::Logs, &request, false)
}

#[test]
fn edits_of_ordinary_requests_are_bounded_by_little_and_those_that_repeat_long_values_by_what_comes_of_them()
{
    let value = || ValueSource::Value(NewValue::text("[redacted]"));
    let other = || ValueSource::Attribute("url.path".to_owned());
    let keys = |key: &str| EditKeys { key: Some(key.to_owned()), pattern: None };
    let of = || EditedPart::Records { events: false, include: None, exclude: None };
    let edits = [
        write("http.request.method", WriteWhere::Anywhere, value()),
        write("http.request.method", WriteWhere::Anywhere, other()),
        Edit { actions: vec![EditAction::Delete(keys("http.request.method"))], of: of() },
        Edit { actions: vec![EditAction::Hash(keys("http.request.method"))], of: of() },
    ];
    let attributes = ["http.request.method", "url.path", "server.address", "user_agent.original"];
    let record: Vec<_> = attributes.map(|key| pair(key, text(&"v".repeat(45)))).into();
    let ordinary = log_records(&vec![record; 380]);
    for edit in &edits {
        let bound = bound(edit, &ordinary);
        assert!(bound < 1 << 20, "{bound} bytes for {edit:?}");
    }
    let mut repeated = vec![pair("http.request.method", text("")); 2000];
    repeated.push(pair("url.path", text(&"p".repeat(50_000))));
    let repeated = log_records(&[repeated]);
    assert!(bound(&edits[1], &repeated) > 2000 * 50_000);
    assert!(bound(&edits[0], &repeated) < 200_000);
    let by_template = write("http.request.method", WriteWhere::Present, ValueSource::Text(0));
    assert_eq!(bound(&by_template, &ordinary), usize::MAX, "a text may be of any length");
    let empty = log_records(&[Vec::new()]);
    assert_eq!(bound(&by_template, &empty), usize::MAX, "also where nothing is there yet");
    let several: Vec<_> = ["a.b", "c.d", "e.f", "g.h", "i.j", "k.l"]
        .into_iter()
        .map(|key| EditAction::Write {
            key: key.to_owned(),
            place: WriteWhere::Anywhere,
            source: Some(value()),
            default: None,
        })
        .chain(["url.path", "server.address"].map(|key| EditAction::Write {
            key: "client.address".to_owned(),
            place: WriteWhere::Absent,
            source: Some(ValueSource::Attribute(key.to_owned())),
            default: None,
        }))
        .collect();
    let several = Edit { actions: several, of: of() };
    let bound = bound(&several, &log_records(&vec![vec![pair("url.path", text(&"v".repeat(45))); 4]; 100]));
    assert!(bound < 600_000, "{bound} bytes for eight actions");
}

#[test]
fn attributes_are_counted_where_they_are_more_than_their_bytes() {
    const TIMES: usize = 100_000;
    let entry = log_records(&[vec![KeyValue::default(); TIMES]]).encode_to_vec();
    let upsert = write("", WriteWhere::Anywhere, ValueSource::Value(NewValue::bool(true)));
    let (edited, asked) = edited_within(usize::MAX, &[&upsert], &entry);
    assert!(edited.unwrap().is_some());
    assert!(asked >= TIMES * 64, "{asked} bytes for {TIMES} attributes");
}

#[test]
fn a_value_that_many_records_get_is_there_once_until_the_entry_is_written() {
    const LONG: usize = 10_000;
    let entry = log_records(&vec![vec![pair("x", text("y"))]; 1000]).encode_to_vec();
    let value = ValueSource::Value(NewValue::text(&"v".repeat(LONG)));
    let upsert = write("a", WriteWhere::Anywhere, value);
    let (edited, asked) = edited_within(usize::MAX, &[&upsert], &entry);
    let len = edited.unwrap().unwrap().len();
    assert!(len > 1000 * LONG && asked < len + len / 8, "{asked} bytes were asked for of {len}");
}

#[test]
fn what_one_edit_has_given_back_is_there_for_the_next() {
    let entry = log_records(&vec![vec![pair("x", text(&"y".repeat(1000)))]; 1000]).encode_to_vec();
    let edits: Vec<Edit> = (0..10)
        .map(|nth| {
            write(&format!("key{nth}"), WriteWhere::Anywhere, ValueSource::Value(NewValue::bool(true)))
        })
        .collect();
    let edits: Vec<&Edit> = edits.iter().collect();
    let (edited, asked) = edited_within(usize::MAX, &edits, &entry);
    let len = edited.unwrap().unwrap().len();
    assert!(asked > len && asked < 4 * len, "{asked} bytes were asked for of {len}");
}

#[test]
fn a_map_that_becomes_text_is_counted_with_what_that_takes() {
    let values = (0..5000).map(|nth| pair(&format!("{nth:05}"), AnyValue::default())).collect();
    let map = KeyValueList { values };
    let entry = log_records(&[vec![pair("a", holding(Any::KvlistValue(map)))]]).encode_to_vec();
    let of = EditedPart::Records { events: false, include: None, exclude: None };
    let convert = EditAction::Convert { key: "a".to_owned(), to: ConvertedType::Text };
    let (edited, asked) = edited_within(usize::MAX, &[&Edit { actions: vec![convert], of }], &entry);
    assert!(edited.unwrap().is_some());
    assert!(asked > 5000 * 80, "{asked}");
}

#[test]
fn what_stands_under_the_former_number_of_scopes_is_removed_beside_those_of_today() {
    let card = || pair("card", text("4111"));
    let bytes = log_records(&[vec![card(), pair("shop", text("1"))]]).encode_to_vec();
    let scope = ScopeLogs::encode_to_vec(&log_records(&[vec![card()]]).scope_logs[0]);
    let mut entry = bytes.clone();
    put_delimited(&mut entry, 1000, &scope);
    let of = EditedPart::Records { events: false, include: None, exclude: None };
    let keys = EditKeys { key: Some("card".to_owned()), pattern: None };
    let delete = Edit { actions: vec![EditAction::Delete(keys)], of };
    let expected = log_records(&[vec![pair("shop", text("1"))]]).encode_to_vec();
    assert_eq!(applied(&delete, Signal::Logs, &entry, &[]), Some(expected));
    // Where there are no others, they are the scopes, and stay: whoever splits a request has renumbered them before.
    let mut alone = Vec::new();
    put_delimited(&mut alone, 1000, &scope);
    assert_eq!(applied(&delete, Signal::Logs, &alone, &[]), None);
}

proptest! {
    #[test]
    fn an_edit_changes_nothing_but_what_its_actions_name(
        signal in prop::sample::select(&Signal::ALL[..]), actions: [u8; 4], damage in prop::collection::vec(RequestDamage::arbitrary(), 0..3),
        requests in (arbitrary::request(Signal::Traces), arbitrary::request(Signal::Metrics), arbitrary::request(Signal::Logs))
    ) {
        let mut request = match signal {
            Signal::Traces => requests.0,
            Signal::Metrics => requests.1,
            Signal::Logs => requests.2,
        };
        for damage in &damage {
            damage.apply(&mut request);
        }
        super::super::oracle::check_edit(signal, &actions, &request);
    }

    #[test]
    fn what_is_asked_for_is_at_least_what_comes_of_it_and_with_less_nothing_does(
        entries in any_entries(), edit in edit()
    ) {
        for entry in &entries {
            let (signal, bytes) = (entry.signal(), entry.encoded());
            let mut asked = 0;
            let mut room = |bytes: usize| {
                asked += bytes;
                true
            };
            let edited = edit.apply(signal, &bytes, &texts(), &mut EditMemory::new(&mut room)).unwrap();
            let len = edited.map_or(0, |edited| edited.len());
            prop_assert!(asked >= len);
            let mut request = Vec::new();
            put_delimited(&mut request, 1, &bytes);
            let bound = EditBound::of(&edit, |at| Some(texts()[at].len())).of_request(signal, &request, false);
            prop_assert!(len <= bytes.len().saturating_add(bound), "{len} of {}, {bound}", bytes.len());
            let mut left = asked;
            let mut too_little = |bytes: usize| {
                left = left.saturating_sub(bytes);
                left > 0
            };
            let again = edit.apply(signal, &bytes, &texts(), &mut EditMemory::new(&mut too_little));
            prop_assert!(again == Err(NoRoom) || asked == 0, "{again:?}");
        }
    }
}
