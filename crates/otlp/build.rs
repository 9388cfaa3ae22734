//! Compiles `proto/`, the OTLP wire schema, into the static tables of `src/schema.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use prost_types::descriptor_proto::ReservedRange;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto};

const FILES: [&str; 4] = ["common.proto", "traces.proto", "metrics.proto", "logs.proto"];

/// The messages that partial success counts.
const RECORDS: [&str; 6] = [
    "Span",
    "LogRecord",
    "NumberDataPoint",
    "HistogramDataPoint",
    "ExponentialHistogramDataPoint",
    "SummaryDataPoint",
];

fn main() {
    println!("cargo::rerun-if-changed=proto");
    // For a test that asks cargo about the packages of the platform that it was built for.
    println!("cargo::rustc-env=OTLP_TARGET={}", env::var("TARGET").expect("cargo sets TARGET"));
    let set = protox::compile(FILES, ["proto"]).unwrap_or_else(|error| panic!("{error:?}"));
    let mut schema = Schema::default();
    for file in &set.file {
        let scope = format!(".{}", file.package());
        for message in &file.message_type {
            schema.collect(&scope, message);
        }
        for names in &file.enum_type {
            schema.enums.insert(format!("{scope}.{}", names.name()), names);
        }
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("tables.rs"), tables(&schema)).expect("OUT_DIR is writable");
}

/// What `proto/` declares, by full names.
#[derive(Default)]
struct Schema<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
}

impl<'a> Schema<'a> {
    /// Gathers a message and what is nested in it.
    fn collect(&mut self, scope: &str, message: &'a DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            self.collect(&name, nested);
        }
        for names in &message.enum_type {
            self.enums.insert(format!("{name}.{}", names.name()), names);
        }
        self.messages.insert(name, message);
    }
}

fn tables(schema: &Schema<'_>) -> String {
    let messages = &schema.messages;
    let index: BTreeMap<&str, usize> =
        messages.keys().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    let leading = leads_to_records(messages);
    let mut out = String::new();
    for (name, index) in &index {
        let constant = screaming(short(name));
        writeln!(out, "/// The position of `{}` in [`MESSAGES`].", short(name)).expect(INFALLIBLE);
        writeln!(out, "pub(crate) const {constant}: u8 = {index};").expect(INFALLIBLE);
    }
    writeln!(out, "/// Every message of the schema.").expect(INFALLIBLE);
    writeln!(out, "pub(crate) static MESSAGES: [Message; {}] = [", messages.len()).expect(INFALLIBLE);
    for (name, message) in messages {
        let former = former(message);
        let (name, constant) = (short(name), screaming(short(name)));
        writeln!(out, "    Message::new({name:?}, {constant}, {former}, &[").expect(INFALLIBLE);
        for (slot, field) in message.field.iter().enumerate() {
            writeln!(out, "        {},", row(schema, message, slot, field, &index, &leading))
                .expect(INFALLIBLE);
        }
        writeln!(out, "    ]),").expect(INFALLIBLE);
    }
    writeln!(out, "];").expect(INFALLIBLE);
    out
}

/// The `Former` of a message: the field that had another number or other names, if there is one. A reserved name is a
/// former name of the scopes in an entry, and of the scope in what holds one.
fn former(message: &DescriptorProto) -> String {
    if message.reserved_name.is_empty() {
        return "None".to_owned();
    }
    let number = message.reserved_range.iter().map(ReservedRange::start).find(|start| *start == 1000);
    let names: Vec<String> =
        message.reserved_name.iter().flat_map(|name| [camel(name), name.clone()]).collect();
    let field = if number.is_some() { 2 } else { 1 };
    let number = number.map_or(0, i32::unsigned_abs);
    format!("Some(Former {{ field: {field}, number: {number}, names: &{names:?} }})")
}

const INFALLIBLE: &str = "writing to a string can't fail";

/// The messages in which records are found, however deep, and the records themselves.
fn leads_to_records(messages: &BTreeMap<String, &DescriptorProto>) -> BTreeSet<String> {
    let mut leading: BTreeSet<String> =
        messages.keys().filter(|name| RECORDS.contains(&short(name))).cloned().collect();
    loop {
        let more: Vec<String> = messages
            .iter()
            .filter(|(name, _)| !leading.contains(*name))
            .filter(|(_, message)| message.field.iter().any(|field| leading.contains(field.type_name())))
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return leading;
        }
        leading.extend(more);
    }
}

/// One `Field { .. }` of the tables.
fn row(
    schema: &Schema<'_>,
    message: &DescriptorProto,
    slot: usize,
    field: &FieldDescriptorProto,
    index: &BTreeMap<&str, usize>,
    leading: &BTreeSet<String>,
) -> String {
    let oneof = field.oneof_index.is_some() && !field.proto3_optional();
    // Members of a oneof share the slot of its first member: setting one unsets the others.
    let slot = if oneof {
        message.field.iter().position(|other| other.oneof_index == field.oneof_index).unwrap_or(slot)
    } else {
        slot
    };
    let label = match field.label() {
        Label::Repeated => "Repeated",
        _ if oneof => "Member",
        _ if field.proto3_optional() => "Optional",
        _ => "Plain",
    };
    format!(
        "Field {{ number: {}, name: {:?}, json: {:?}, kind: {}, label: Label::{label}, \
         slot: {slot}, leads: {}, record: {}, values: &{:?} }}",
        field.number(),
        field.name(),
        format!("\"{}\":", camel(field.name())),
        kind(field, index),
        leading.contains(field.type_name()),
        RECORDS.contains(&short(field.type_name())),
        schema.enums.get(field.type_name()).map_or_else(Vec::new, |names| values(names)),
    )
}

/// The names of an enum's values, with their numbers.
fn values(names: &EnumDescriptorProto) -> Vec<(&str, i32)> {
    names.value.iter().map(|value| (value.name(), value.number())).collect()
}

fn kind(field: &FieldDescriptorProto, index: &BTreeMap<&str, usize>) -> String {
    let kind = match field.r#type() {
        Type::Bool => "Bool",
        Type::Int32 => "Int32",
        Type::Int64 => "Int64",
        Type::Uint32 => "Uint32",
        Type::Uint64 => "Uint64",
        Type::Sint32 => "Sint32",
        Type::Enum => "Enum",
        Type::Fixed32 => "Fixed32",
        Type::Fixed64 => "Fixed64",
        Type::Sfixed64 => "Sfixed64",
        Type::Double => "Double",
        Type::String => "String",
        Type::Bytes => match field.name() {
            "trace_id" => "Id(16)",
            "span_id" | "parent_span_id" => "Id(8)",
            _ => "Bytes",
        },
        Type::Message => {
            let constant = screaming(short(field.type_name()));
            assert!(index.contains_key(field.type_name()), "`{}` is not in proto/", field.type_name());
            return format!("FieldKind::Message({constant})");
        }
        other => panic!("field `{}` has the type {other:?}, which the walks don't know", field.name()),
    };
    format!("FieldKind::{kind}")
}

/// The name without package and enclosing message; `proto/` uses each only once.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// `KeyValue` as `KEY_VALUE`.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for (position, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && position > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

/// `trace_id` as `traceId`, the name in OTLP/JSON (rule 52).
fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for letter in name.chars() {
        if letter == '_' {
            upper = true;
        } else {
            out.push(if upper { letter.to_ascii_uppercase() } else { letter });
            upper = false;
        }
    }
    out
}
