//! What an edit may change, told by decoded messages.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use regex::Regex;

use super::{attributes_of_points, framed};
use crate::{
    ConvertedType, Edit, EditAction, EditKeys, EditMemory, EditTexts, EditedPart, NewValue, Signal,
    ValueSource, WriteWhere, split,
};

/// What the attributes are called that edits name.
const KEYS: [&str; 3] = ["a", "b", "c"];

/// The only text there is.
struct OneText;

impl EditTexts for OneText {
    fn text(&self, at: usize) -> Option<&str> {
        (at == 0).then_some("of a template")
    }
}

/// Edits the entries of any bytes. What comes of them is valid, has as many records, takes no more memory than was asked for,
/// and differs in the attributes that actions name and in nothing else. Of `actions`, the first byte says whose attributes they
/// change, and each other is one.
pub fn check_edit(signal: Signal, actions: &[u8], bytes: &[u8]) {
    let Ok(split) = split(signal, bytes) else { return };
    let Some((part, actions)) = actions.split_first() else { return };
    let (of_resource, events) = (part & 1 == 1, part & 2 == 2);
    let of = if of_resource {
        EditedPart::Resource
    } else {
        EditedPart::Records { events, include: None, exclude: None }
    };
    let edit = Edit { actions: actions.iter().map(|byte| action(*byte)).collect(), of };
    for entry in &split.entries {
        let mut asked = 0;
        let mut room = |bytes| {
            asked += bytes;
            true
        };
        let edited = edit.apply(signal, &entry.bytes, &OneText, &mut EditMemory::new(&mut room));
        let Some(edited) = edited.expect("there is room") else { continue };
        assert!(asked >= edited.len(), "{asked} bytes were asked for, {} are there", edited.len());
        assert_eq!(
            super::records(signal, &framed(&edited)),
            Some(entry.records),
            "what comes of it is valid"
        );
        let rest = |entry: &[u8]| without_named(signal, entry, of_resource, events);
        assert_eq!(rest(&edited), rest(&entry.bytes), "nothing else differs");
        let again = edit.apply(signal, &entry.bytes, &OneText, &mut EditMemory::new(&mut |_| false));
        assert!(again.is_err(), "without room nothing is made");
    }
}

/// An action: the lowest three bits say which, those above it of what attribute, the highest with what.
fn action(byte: u8) -> EditAction {
    let key = |bits: u8| KEYS[usize::from(bits) % KEYS.len()].to_owned();
    let (named, other) = (key(byte >> 3 & 3), byte >> 5);
    let write = |place, source, default| EditAction::Write { key: named.clone(), place, source, default };
    let keys = || EditKeys { key: Some(named.clone()), pattern: None };
    match byte & 7 {
        0 => write(WriteWhere::Anywhere, Some(ValueSource::Value(NewValue::text("x"))), None),
        1 => write(WriteWhere::Present, Some(ValueSource::Attribute(key(other))), None),
        2 => write(WriteWhere::Absent, Some(ValueSource::Value(NewValue::int(7))), None),
        3 => EditAction::Delete(keys()),
        4 => EditAction::Hash(keys()),
        5 => {
            let types = [ConvertedType::Text, ConvertedType::Int, ConvertedType::Double];
            EditAction::Convert { key: named, to: types[usize::from(other) % types.len()] }
        }
        6 => {
            let pattern = Regex::new("^(?P<a>.)(?P<b>.*)").expect("it is a pattern");
            EditAction::Extract { key: named, pattern }
        }
        _ => {
            let default = ValueSource::Text(usize::from(other % 2));
            write(WriteWhere::Anywhere, Some(ValueSource::Attribute(key(other))), Some(default))
        }
    }
}

/// An entry as prost writes it, without the attributes that edits name where they change them.
fn without_named(signal: Signal, entry: &[u8], of_resource: bool, events: bool) -> Vec<u8> {
    let remove = |pairs: &mut Vec<KeyValue>| pairs.retain(|pair| !KEYS.contains(&&*pair.key));
    let of = |resource: &mut Option<Resource>| {
        if of_resource {
            // An edit adds the resource where there is none.
            remove(&mut resource.get_or_insert_default().attributes);
        }
    };
    match signal {
        Signal::Traces => {
            let mut entry = ResourceSpans::decode(entry).expect("it is valid");
            of(&mut entry.resource);
            let spans = entry.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans);
            for span in spans.filter(|_| !of_resource) {
                remove(&mut span.attributes);
                if events {
                    span.events.iter_mut().for_each(|event| remove(&mut event.attributes));
                    span.links.iter_mut().for_each(|link| remove(&mut link.attributes));
                }
            }
            entry.encode_to_vec()
        }
        Signal::Logs => {
            let mut entry = ResourceLogs::decode(entry).expect("it is valid");
            of(&mut entry.resource);
            let records = entry.scope_logs.iter_mut().flat_map(|scope| &mut scope.log_records);
            records.filter(|_| !of_resource).for_each(|record| remove(&mut record.attributes));
            entry.encode_to_vec()
        }
        Signal::Metrics => {
            let mut entry = ResourceMetrics::decode(entry).expect("it is valid");
            of(&mut entry.resource);
            let metrics = entry.scope_metrics.iter_mut().flat_map(|scope| &mut scope.metrics);
            for data in metrics.filter(|_| !of_resource).filter_map(|metric| metric.data.as_mut()) {
                attributes_of_points(data).into_iter().for_each(remove);
            }
            entry.encode_to_vec()
        }
    }
}
