use std::collections::BTreeMap;

use prost_types::field_descriptor_proto::{Label as ProtoLabel, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::*;

/// The schema that opentelemetry-proto was generated from, which it ships.
fn published() -> BTreeMap<String, DescriptorProto> {
    let roots = ["trace", "metrics", "logs"]
        .map(|signal| format!("opentelemetry/proto/collector/{signal}/v1/{signal}_service.proto"));
    let set: FileDescriptorSet = protox::compile(roots, [published_directory()]).unwrap();
    let mut messages = BTreeMap::new();
    for file in set.file {
        for message in file.message_type {
            collect(message, &mut messages);
        }
    }
    messages.retain(|name, _| !name.starts_with("Export") || name.ends_with("ServiceRequest"));
    // The requests' twins for files.
    messages.retain(|name, _| !["TracesData", "MetricsData", "LogsData"].contains(&name.as_str()));
    messages
}

/// Where cargo has unpacked opentelemetry-proto. It is asked about one platform only: building the tests has downloaded the
/// packages of that platform and no others, and without them cargo refuses to answer offline.
fn published_directory() -> std::path::PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = std::process::Command::new(cargo)
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .args(["--filter-platform", env!("OTLP_TARGET"), "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let package = packages.find(|package| package["name"] == "opentelemetry-proto").unwrap();
    let manifest = std::path::Path::new(package["manifest_path"].as_str().unwrap());
    manifest.with_file_name("src").join("proto/opentelemetry-proto")
}

fn collect(mut message: DescriptorProto, messages: &mut BTreeMap<String, DescriptorProto>) {
    for nested in std::mem::take(&mut message.nested_type) {
        collect(nested, messages);
    }
    let previous = messages.insert(message.name().to_owned(), message);
    assert_eq!(previous, None, "short names must be unique");
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap()
}

fn is_kind(kind: FieldKind, field: &FieldDescriptorProto) -> bool {
    match (field.r#type(), kind) {
        (Type::Message, FieldKind::Message(index)) => message(index).name == short(field.type_name()),
        (Type::Bytes, FieldKind::Id(len)) => {
            field.name().ends_with("_id") && len == if field.name() == "trace_id" { 16 } else { 8 }
        }
        (Type::Bytes, FieldKind::Bytes) => !field.name().ends_with("_id"),
        (Type::Bool, FieldKind::Bool)
        | (Type::Int32, FieldKind::Int32)
        | (Type::Int64, FieldKind::Int64)
        | (Type::Uint32, FieldKind::Uint32)
        | (Type::Uint64, FieldKind::Uint64)
        | (Type::Sint32, FieldKind::Sint32)
        | (Type::Enum, FieldKind::Enum)
        | (Type::Fixed32, FieldKind::Fixed32)
        | (Type::Fixed64, FieldKind::Fixed64)
        | (Type::Sfixed64, FieldKind::Sfixed64)
        | (Type::Double, FieldKind::Double)
        | (Type::String, FieldKind::String) => true,
        _ => false,
    }
}

#[test]
fn the_tables_have_every_message_and_field_of_the_published_schema() {
    let published = published();
    let ours: Vec<&str> = MESSAGES.iter().map(|message| message.name).collect();
    let mut theirs: Vec<&str> = published.keys().map(String::as_str).collect();
    let mut sorted = ours.clone();
    sorted.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(sorted, theirs);
    for message in &MESSAGES {
        let theirs = &published[message.name];
        assert_eq!(message.fields.len(), theirs.field.len(), "fields of {}", message.name);
        for field in &theirs.field {
            let place = format!("{}.{}", message.name, field.name());
            let ours = message.field(field.number() as u32).expect(&place);
            assert_eq!(ours.name, field.name(), "{place}");
            assert!(is_kind(ours.kind, field), "{place} is {:?}", ours.kind);
            let label = match field.label() {
                ProtoLabel::Repeated => Label::Repeated,
                _ if field.proto3_optional() => Label::Optional,
                _ if field.oneof_index.is_some() => Label::Member,
                _ => Label::Plain,
            };
            assert_eq!(ours.label, label, "{place}");
            let json = field.json_name.clone().expect("the compiler fills it in");
            assert_eq!(ours.json, format!("\"{json}\":"), "{place}");
            let siblings = theirs.field.iter().filter(|other| other.oneof_index == field.oneof_index);
            let shares = message.fields.iter().filter(|other| other.slot == ours.slot).count();
            assert_eq!(shares, if label == Label::Member { siblings.count() } else { 1 }, "{place}");
        }
    }
}

#[test]
fn scopes_of_entries_had_another_number_and_scopes_another_name() {
    for message in &MESSAGES {
        let is_entry = Signal::ALL.iter().any(|signal| std::ptr::eq(message, Message::entry(*signal)));
        let holds_scope = ["ScopeSpans", "ScopeMetrics", "ScopeLogs"].contains(&message.name);
        let former = message.former.map(|former| (former.field, former.number, former.names.len()));
        let expected = match (is_entry, holds_scope) {
            (true, _) => Some((2, 1000, 4)),
            (_, true) => Some((1, 0, 2)),
            _ => None,
        };
        assert_eq!(former, expected, "{}", message.name);
    }
    let names = Message::entry(Signal::Traces).former.unwrap().names;
    for name in ["deprecatedScopeSpans", "deprecated_scope_spans", "instrumentationLibrarySpans"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn records_are_spans_log_records_and_data_points() {
    let fields = MESSAGES.iter().flat_map(|message| message.fields);
    let mut records: Vec<&str> =
        fields.filter(|field| field.record).map(|field| field.message().unwrap().name).collect();
    records.sort_unstable();
    records.dedup();
    let expected = [
        "ExponentialHistogramDataPoint",
        "HistogramDataPoint",
        "LogRecord",
        "NumberDataPoint",
        "Span",
        "SummaryDataPoint",
    ];
    assert_eq!(records, expected);
}

#[test]
fn every_allowed_encoding_of_a_field_has_an_action_and_no_other_has() {
    for message in &MESSAGES {
        for key in 0..=u8::MAX {
            let known = message.field(u32::from(key >> 3));
            let wire = key & 7;
            let allowed = known.is_some_and(|field| {
                let plain = match field.kind {
                    FieldKind::Fixed64 | FieldKind::Sfixed64 | FieldKind::Double => 1,
                    FieldKind::Fixed32 => 5,
                    FieldKind::String | FieldKind::Bytes | FieldKind::Id(_) | FieldKind::Message(_) => 2,
                    _ => 0,
                };
                wire == plain || (wire == 2 && field.label == Label::Repeated)
            });
            assert_eq!(message.action(key).op != Op::Other, allowed, "{} key {key}", message.name);
        }
    }
}
