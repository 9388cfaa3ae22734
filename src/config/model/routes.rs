//! `routes`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Which resources go where.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(test, schemars(rename = "Route"))]
pub(in crate::config) struct RouteSection {
    /// What the route is called in logs and by `sluice explain`; by default `route-1`, `route-2`, … by position.
    #[cfg_attr(test, schemars(extend("x-shown" = "words")))]
    pub(in crate::config) name: Option<String>,
    /// Resource attributes, below `record` and `record_alone` attributes of records, below `request` headers of the request, and what
    /// their values must be; all must hold. Without it every resource matches.
    #[serde(rename = "match")]
    pub(in crate::config) matches: MatchConditions,
    /// The tenants whose entries it takes: a glob over their ids, or a list of globs. By default those of all, and those of nobody.
    #[cfg_attr(test, schemars(extend("x-shown" = "words")))]
    pub(in crate::config) tenants: Option<TenantGlobs>,
    /// The receivers whose entries it takes, such as `otlp/outside`; by default those of all.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) receivers: Option<Vec<String>>,
    /// The signals it takes; by default all.
    pub(in crate::config) signals: Option<Vec<SignalWord>>,
    /// What names the stream: a resource attribute, a list of them of which the first that is present counts, a template,
    /// `{ record: A, resource: A }` for an attribute of records or else of their resource, `{ request: HEADER }`, or a map of several of these, each under
    /// a name by which templates of exporters read it: `{{ key.NAME }}`. Without it the route is one stream.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) key: Option<KeySection>,
    /// Names of processors, which change this route's copies of the entries that it takes, one after the other.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) processors: Vec<String>,
    /// Names of exporters; each gets everything, with queues of its own.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) exporters: Vec<String>,
    /// Let later routes have what this one matched, too.
    #[serde(rename = "continue")]
    pub(in crate::config) continues: bool,
    /// Streams alive at a time that come from this route, within `limits.streams`.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(in crate::config) max_streams: Option<usize>,
    /// What `sluice import` could not take of a Collector's file for this route, which is refused with it.
    #[cfg_attr(test, schemars(extend("deprecated" = true)))]
    pub(in crate::config) not_imported: Option<String>,
}

/// A signal.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, schemars(rename = "Signal"))]
pub(in crate::config) enum SignalWord {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
    /// Log records.
    Logs,
}

/// A glob over the ids of tenants, or a list of globs.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum TenantGlobs {
    /// A glob over the whole id: `*` is any run of characters, `?` is any one.
    One(String),
    /// Globs of which one must match.
    AnyOf(Vec<String>),
}

/// Attributes and what their values must be; all must hold.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default)]
#[cfg_attr(test, schemars(extend(
    "additionalProperties" = { "$ref": "#/$defs/MatchValue", "x-shown": "words" },
)))]
pub(in crate::config) struct MatchConditions {
    /// Attributes of records and what their values must be; where a record has none, that of its resource counts. A text or a list
    /// here, in place of a map, asks for a resource attribute called `record`.
    #[cfg_attr(test, schemars(extend("x-shown" = "words")))]
    pub(in crate::config) record: Option<RecordConditions>,
    /// The same, where only what stands on the span, the log record or the data point itself counts. A text or a list here, in place
    /// of a map, asks for a resource attribute called `record_alone`.
    #[cfg_attr(test, schemars(extend("x-shown" = "words")))]
    pub(in crate::config) record_alone: Option<RecordConditions>,
    /// Headers of the request, by gRPC its metadata, and what their values must be. Names are the same in any case of letters. A
    /// header that occurs twice with different values has its data rejected; a dead letter that is sent again has none. A text or a
    /// list here, in place of a map, asks for a resource attribute called `request`.
    #[cfg_attr(test, schemars(extend("x-shown" = "credential")))]
    pub(in crate::config) request: Option<RequestConditions>,
    /// Those on resource attributes.
    #[serde(flatten)]
    pub(in crate::config) resource: BTreeMap<String, MatchValue>,
}

/// Conditions on attributes of records, or one on the resource attribute that is called as they are.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum RecordConditions {
    /// A glob over the value of the resource attribute.
    Glob(String),
    /// Globs of which one must match it.
    AnyOf(Vec<String>),
    /// Attributes of records.
    #[cfg_attr(
        test,
        schemars(extend(
            "additionalProperties" = { "$ref": "#/$defs/MatchValue", "x-shown": "words" },
        ))
    )]
    Attributes(BTreeMap<String, MatchValue>),
}

/// Conditions on headers of the request, or one on the resource attribute `request`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum RequestConditions {
    /// A glob over the value of the resource attribute `request`.
    Glob(String),
    /// Globs of which one must match it.
    AnyOf(Vec<String>),
    /// Headers.
    Headers(BTreeMap<String, MatchValue>),
}

/// A glob, a list of globs, or a rule.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum MatchValue {
    /// A glob over the whole value: `*` is any run of characters, `?` is any one.
    Glob(String),
    /// Globs of which one must match.
    AnyOf(Vec<String>),
    /// `regex`, `equals` and `not`, or several of them; or `exists`, which can have `not` beside it where it is `true`.
    Rule(MatchRule),
}

/// `regex`, `equals` and `not`, or several of them, which all must hold then; or `exists`, which can have `not` beside it where it is
/// `true`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct MatchRule {
    /// A regular expression that must match somewhere in the value; `^` and `$` anchor it. Of a value that is no text it is asked about
    /// what `IsMatch` of a Collector makes of it.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) regex: Option<String>,
    /// Values of which the attribute must be one, and of the same type.
    pub(in crate::config) equals: Option<ExactValues>,
    /// A glob, a list of globs, `{ regex: }` or `{ equals: }` that must not match. Holds where the attribute is absent, too.
    #[cfg_attr(test, schemars(extend("x-shown" = "words")))]
    pub(in crate::config) not: Option<Negated>,
    /// Whether the attribute must be there, whatever its type and length.
    pub(in crate::config) exists: Option<bool>,
}

/// Values that are compared with their types: an attribute equals them if it is one of these.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ExactValues {
    /// A text, or a list of texts, in which no character has a meaning of its own.
    #[cfg_attr(test, schemars(extend("x-shown" = "words")))]
    pub(in crate::config) text: Option<ExactTexts>,
    /// A whole number, or a list of them. Integers and doubles equal it.
    pub(in crate::config) number: Option<ExactNumbers>,
    /// `true` or `false`, or a list of both.
    pub(in crate::config) boolean: Option<ExactBooleans>,
}

/// A text, or a list of texts.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum ExactTexts {
    /// A text.
    One(String),
    /// Texts of which one must be equal.
    AnyOf(Vec<String>),
}

/// A whole number, or a list of them.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum ExactNumbers {
    /// A number.
    One(i64),
    /// Numbers of which one must be equal.
    AnyOf(Vec<i64>),
}

/// A boolean, or a list of them.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum ExactBooleans {
    /// A boolean.
    One(bool),
    /// Booleans of which one must be equal.
    AnyOf(Vec<bool>),
}

/// What must not match.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum Negated {
    /// A glob.
    Glob(String),
    /// Globs of which none may match.
    AnyOf(Vec<String>),
    /// A regular expression, or values.
    Rule(NegatedRule),
}

/// A regular expression or values, of which none must match.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct NegatedRule {
    /// The regular expression.
    #[cfg_attr(test, schemars(extend("x-shown" = "pattern")))]
    pub(in crate::config) regex: Option<String>,
    /// The values.
    pub(in crate::config) equals: Option<ExactValues>,
}

/// What names the stream.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
#[cfg_attr(test, schemars(rename = "Key"))]
pub(in crate::config) enum KeySection {
    /// A resource attribute, or a template.
    One(String),
    /// Resource attributes of which the first that is present counts.
    FirstOf(Vec<String>),
    /// Several, each under a name; or, under `record` and `resource`, what a [`RecordSource`] has.
    #[cfg_attr(
        test,
        schemars(extend(
            "x-key" = "part",
            "additionalProperties" = { "$ref": "#/$defs/KeyPart", "x-shown": "name" },
        ))
    )]
    Parts(BTreeMap<String, KeyPartSection>),
}

impl KeySection {
    /// The parts, if the key is none but an attribute of records, or is meant to be.
    pub(in crate::config) fn record_source(&self) -> Option<&BTreeMap<String, KeyPartSection>> {
        match self {
            Self::Parts(parts)
                if ["record", "resource", "request"].iter().any(|key| parts.contains_key(*key)) =>
            {
                Some(parts)
            }
            Self::One(_) | Self::FirstOf(_) | Self::Parts(_) => None,
        }
    }
}

/// A named part of what names the stream.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
#[cfg_attr(test, schemars(rename = "KeyPart"))]
pub(in crate::config) enum KeyPartSection {
    /// A resource attribute, or a template.
    One(String),
    /// Resource attributes of which the first that is present counts.
    FirstOf(Vec<String>),
    /// An attribute of records, or else of their resource; or a header of the request.
    OfRecord(RecordSource),
}

/// An attribute of records, or else of their resource; or a header of the request.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RecordSource {
    /// An attribute of the record, or a list of them of which the first that is present counts.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) record: Option<AttributeNames>,
    /// The resource attribute, or a list of them, that counts where the record has none. Without it only the record's counts.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) resource: Option<AttributeNames>,
    /// In place of both, a header of the request, by gRPC one of its metadata. None that carries a credential: keys are shown.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) request: Option<String>,
    /// With `request`, what stands for a header that is not there. Without it, the route does not take such a request's data.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) default: Option<String>,
}

/// An attribute, or a list of them.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum AttributeNames {
    /// An attribute.
    One(String),
    /// Attributes of which the first that is present counts.
    FirstOf(Vec<String>),
}

impl AttributeNames {
    /// The names, in their order.
    pub(in crate::config) fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::FirstOf(names) => names,
        }
    }
}
