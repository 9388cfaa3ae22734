//! `routes`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which resources go where.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// What the route is called in logs and by `sluice explain`; by default `route-1`, `route-2`, … by position.
    #[schemars(extend("x-shown" = "name"))]
    pub(in crate::config) name: Option<String>,
    /// Resource attributes and what their values must be; all must hold. Without it every resource matches.
    #[serde(rename = "match")]
    pub(in crate::config) matches: BTreeMap<String, MatchValue>,
    /// The tenants whose entries it takes: a glob over their ids, or a list of globs. By default those of all, and those of nobody.
    #[schemars(extend("x-shown" = "name"))]
    pub(in crate::config) tenants: Option<TenantGlobs>,
    /// The receivers whose entries it takes, such as `otlp/outside`; by default those of all.
    #[schemars(extend("x-shown" = "name"))]
    pub(in crate::config) receivers: Option<Vec<String>>,
    /// The signals it takes; by default all.
    pub(in crate::config) signals: Option<Vec<Signal>>,
    /// What names the stream: a resource attribute, a list of them of which the first that is present counts, a template, or
    /// a map of several of these, each under a name by which templates of exporters read it: `{{ key.NAME }}`. Without it the
    /// route is one stream.
    #[schemars(extend("x-shown" = "name"))]
    pub(in crate::config) key: Option<Key>,
    /// Names of processors, which change this route's copies of the entries that it takes, one after the other.
    #[schemars(extend("x-shown" = "name"))]
    pub(in crate::config) processors: Vec<String>,
    /// Names of exporters; each gets everything, with queues of its own.
    #[schemars(extend("x-shown" = "name"))]
    pub(in crate::config) exporters: Vec<String>,
    /// Let later routes have what this one matched, too.
    #[serde(rename = "continue")]
    pub(in crate::config) continues: bool,
    /// Streams alive at a time that come from this route, within `limits.streams`.
    #[schemars(range(min = 1))]
    pub(in crate::config) max_streams: Option<usize>,
}

/// A signal.
#[derive(Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Signal {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
    /// Log records.
    Logs,
}

/// A glob over the ids of tenants, or a list of globs.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum TenantGlobs {
    /// A glob over the whole id: `*` is any run of characters, `?` is any one.
    One(String),
    /// Globs of which one must match.
    AnyOf(Vec<String>),
}

/// A glob, a list of globs, or a rule.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum MatchValue {
    /// A glob over the whole value: `*` is any run of characters, `?` is any one.
    Glob(String),
    /// Globs of which one must match.
    AnyOf(Vec<String>),
    /// Exactly one of `regex`, `not` and `exists`.
    Rule(MatchRule),
}

/// Exactly one of `regex`, `not` and `exists`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct MatchRule {
    /// A regular expression that must match somewhere in the value; `^` and `$` anchor it.
    pub(in crate::config) regex: Option<String>,
    /// A glob, a list of globs or `{ regex: }` that must not match. Holds where the attribute is absent, too.
    pub(in crate::config) not: Option<Negated>,
    /// Whether the attribute must be there.
    pub(in crate::config) exists: Option<bool>,
}

/// What must not match.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Negated {
    /// A glob.
    Glob(String),
    /// Globs of which none may match.
    AnyOf(Vec<String>),
    /// A regular expression.
    Rule(NegatedRule),
}

/// A regular expression that must not match.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct NegatedRule {
    /// The regular expression.
    pub(in crate::config) regex: Option<String>,
}

/// What names the stream.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Key {
    /// A resource attribute, or a template.
    One(String),
    /// Resource attributes of which the first that is present counts.
    FirstOf(Vec<String>),
    /// Several, each under a name.
    Parts(BTreeMap<String, KeyPart>),
}

/// A named part of what names the stream.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum KeyPart {
    /// A resource attribute, or a template.
    One(String),
    /// Resource attributes of which the first that is present counts.
    FirstOf(Vec<String>),
}
