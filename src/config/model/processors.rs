//! `processors`: those of the Collector's that Sluice runs, with its keys.

use serde::Deserialize;
use serde::de::{Error as _, MapAccess};

use super::named::Typed;

/// A processor of any type that is run.
pub(in crate::config) enum Processor {
    Resource(Box<ResourceProcessor>),
    Attributes(Box<AttributesProcessor>),
}

impl Typed for Processor {
    const WHAT: &'static str = "processor";
    const TYPES: &'static [&'static str] = &["resource", "attributes"];

    #[cfg(test)]
    fn schema(r#type: &str, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        match r#type {
            "resource" => generator.subschema_for::<ResourceProcessor>(),
            _ => generator.subschema_for::<AttributesProcessor>(),
        }
    }

    fn read<'de, A: MapAccess<'de>>(r#type: &str, map: &mut A) -> Result<Self, A::Error> {
        match r#type {
            "resource" => map.next_value().map(Self::Resource),
            "attributes" => map.next_value().map(Self::Attributes),
            _ => Err(A::Error::custom("a processor of an unknown type")),
        }
    }
}

/// Changes the attributes of resources.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ResourceProcessor {
    /// What is done, one after the other.
    pub(in crate::config) attributes: Vec<AttributeAction>,
}

/// Changes the attributes of spans, log records and data points.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct AttributesProcessor {
    /// What is done, one after the other.
    pub(in crate::config) actions: Vec<AttributeAction>,
    /// What must hold of a span, a log record, or a data point's metric. Without it all are changed.
    pub(in crate::config) include: Option<MatchProperties>,
    /// What must not hold of it. It is asked after `include`.
    pub(in crate::config) exclude: Option<MatchProperties>,
    /// Whether the events and links of a span are changed as the span is. The Collector's processor changes none.
    pub(in crate::config) include_events: bool,
}

/// One thing that is done with attributes.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct AttributeAction {
    /// The attribute.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) key: Option<String>,
    /// `insert` writes the attribute where it is not there, `update` where it is, `upsert` in any case. `delete` removes it.
    /// `hash` puts the SHA-256 of its value in its place. `extract` looks for `pattern` in its text and writes what the groups
    /// find into attributes of their names. `convert` changes the type of its value to `converted_type`.
    pub(in crate::config) action: Option<ActionName>,
    /// With `insert`, `update` and `upsert`, what is written: a text, a number, a boolean or a list of these, each as YAML types
    /// it; or a template, which gives a text. Secret: it is never shown.
    pub(in crate::config) value: Option<WrittenValue>,
    /// In place of `value`, an attribute of the same resource or record whose value is written, if it is there.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) from_attribute: Option<String>,
    /// What is written where `from_attribute` is not there, as `value`. Secret: it is never shown.
    pub(in crate::config) default_value: Option<WrittenValue>,
    /// With `delete` and `hash`, in place of `key` or beside it, a regular expression (RE2) that is looked for in the names of
    /// attributes. With `extract`, one whose groups all have names.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) pattern: Option<String>,
    /// With `convert`, the type. What can't be converted is left as it is.
    pub(in crate::config) converted_type: Option<TypeName>,
}

/// What is done, in letters of any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, schemars(extend("x-any-case" = true)))]
pub(in crate::config) enum ActionName {
    Insert,
    Update,
    Upsert,
    Delete,
    Hash,
    Extract,
    Convert,
}

/// The type that a value is converted to.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum TypeName {
    String,
    Int,
    Double,
}

/// A value, or a list of values.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum WrittenValue {
    /// One.
    One(String),
    /// A list.
    List(Vec<String>),
}

/// What is asked of a span, a log record, or a data point's metric. All that is written must hold.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct MatchProperties {
    /// `strict`: texts are equal, and values have the same type. `regexp`: regular expressions (RE2) are looked for in them.
    pub(in crate::config) match_type: Option<MatchType>,
    /// Names, of which one is the `service.name` of the span's resource. For spans alone.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) services: Vec<String>,
    /// Names, of which one is the span's. For spans alone.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) span_names: Vec<String>,
    /// Kinds, of which one is the span's, such as `SPAN_KIND_SERVER`. For spans alone.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) span_kinds: Vec<String>,
    /// Texts, of which one is the log record's body; a body that is no text is compared as JSON. For log records alone.
    pub(in crate::config) log_bodies: Vec<String>,
    /// Texts, of which one is the log record's `severity_text`. For log records alone.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) log_severity_texts: Vec<String>,
    /// The least severity that the log record has. For log records alone.
    pub(in crate::config) log_severity_number: Option<SeverityRange>,
    /// Names, of which one is that of the data point's metric. For data points alone.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) metric_names: Vec<String>,
    /// Attributes, of which the span or log record has all. For spans and log records alone.
    pub(in crate::config) attributes: Vec<AttributeMatch>,
    /// Attributes, of which the resource has all. For spans and log records alone.
    pub(in crate::config) resources: Vec<AttributeMatch>,
    /// Scopes, all of which the scope of the span or log record has to match. For spans and log records alone.
    pub(in crate::config) libraries: Vec<LibraryMatch>,
}

/// How texts and values are compared.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum MatchType {
    Strict,
    Regexp,
}

/// The least severity.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SeverityRange {
    /// As a number from 1, TRACE, to 24; 9 is INFO, 13 is WARN, 17 is ERROR.
    pub(in crate::config) min: i32,
    /// Whether log records without a severity meet the condition, too.
    pub(in crate::config) match_undefined: bool,
}

/// An attribute that is there.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct AttributeMatch {
    /// Its name.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) key: Option<String>,
    /// Its value, typed as YAML has it, or with `match_type: regexp` an expression. Without it, any.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) value: Option<String>,
}

/// A scope.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct LibraryMatch {
    /// Its name.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) name: String,
    /// Its version; without it, any.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) version: Option<String>,
}
