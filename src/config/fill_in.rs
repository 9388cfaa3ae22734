//! Fills in the options of presets in the tree of the file, as if they had been written there; options that are written stay.
//!
//! That is done after the substitution, since credentials are needed, and before the check of every key, which checks the filled-in
//! options like all others.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::credential::MisshapenCredential;
use super::node::{Node, NodeEntry, NodeValue, Scalar, ScalarOrigin};
use super::parse;
use super::presets::{self, CredentialScheme, Preset, PresetAccess, PresetCredential};
use super::problem::ProblemReport;
use super::quoting::REDACTED;
use super::span::Span;
use super::substitute::PLACEHOLDER;
use super::{compile, model};
use crate::glob::Glob;
use crate::route::Template;

/// What a preset has filled in at an exporter; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilledPreset {
    /// The exporter's name.
    pub exporter: String,
    /// The name of the preset.
    pub preset: &'static str,
    /// Keys of the exporter, such as `sending_queue.batch.max_size`, and their values.
    pub filled_in: Vec<FilledOption>,
}

/// A key with the value that was filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilledOption {
    /// The key, with those above it.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Fills in the options of the exporters' presets, and returns what was filled in.
pub(super) fn fill_in(root: &mut Node, report: &mut ProblemReport) -> Vec<FilledPreset> {
    let NodeValue::Map(sections) = &mut root.value else { return Vec::new() };
    let Some(at) = sections.iter().position(|section| section.key == "exporters") else { return Vec::new() };
    // Taken out, so that routes can be read meanwhile.
    let mut exporters = std::mem::replace(&mut sections[at].value.value, NodeValue::Map(Vec::new()));
    let mut filled = Vec::new();
    if let NodeValue::Map(exporters) = &mut exporters {
        for exporter in exporters.iter_mut().filter(|exporter| exporter.value.get("preset").is_some()) {
            filled.extend(one(exporter, root, report));
        }
    }
    if let NodeValue::Map(sections) = &mut root.value {
        sections[at].value.value = exporters;
    }
    filled
}

/// An exporter that is being filled in.
struct Filling<'a> {
    preset: &'static Preset,
    access: &'static PresetAccess,
    exporter: &'a mut Node,
    /// The place of the preset's name, which is also the place of all that it fills in.
    span: Span,
    report: &'a mut ProblemReport,
    filled_in: Vec<FilledOption>,
}

fn one(entry: &mut NodeEntry, root: &Node, report: &mut ProblemReport) -> Option<FilledPreset> {
    let node = entry.value.get("preset")?;
    let (preset, span) = (presets::named(node.text()?)?, node.span);
    let key_span = entry.value.entry("preset")?.key_span;
    let (access, other) = match model::type_of(&entry.key) {
        "otlp_http" | "otlphttp" => (&preset.http, "otlp_grpc"),
        "otlp_grpc" | "otlp" => (&preset.grpc, "otlp_http"),
        _ => return None,
    };
    let Some(access) = access else {
        let protocol = if other == "otlp_http" { "gRPC" } else { "HTTP" };
        report
            .error(key_span, format!("{} does not take OTLP over {protocol}", preset.upstream))
            .help(format!("name the exporter `{other}/{}`, here and in `routes`", preset.name));
        return None;
    };
    let keys = RouteKeys::of(root, &entry.key, preset);
    let mut filling =
        Filling { preset, access, exporter: &mut entry.value, span, report, filled_in: Vec::new() };
    filling.endpoint(key_span);
    filling.options();
    filling.credential();
    filling.stream(&keys);
    filling.needed_headers();
    let filled_in = filling.filled_in;
    Some(FilledPreset { exporter: entry.key.clone(), preset: preset.name, filled_in })
}

impl Filling<'_> {
    fn endpoint(&mut self, key_span: Span) {
        let own = ["traces_endpoint", "metrics_endpoint", "logs_endpoint"];
        if own.iter().any(|key| is_written(self.exporter.get(key))) {
            return;
        }
        if is_written(self.exporter.get("endpoint")) {
            return self.written_endpoint();
        }
        match self.access.default {
            Some(default) => self.option(&["endpoint"], default),
            None => {
                self.report
                    .error(
                        key_span,
                        format!(
                            "`preset: {}` needs an `endpoint`: it is not the same for all",
                            self.preset.name
                        ),
                    )
                    .help(format!("write `endpoint: {}`", self.access.example));
            }
        }
    }

    /// Checks the endpoint that is written, and adds the path to it if it has none.
    fn written_endpoint(&mut self) {
        let (access, upstream) = (self.access, self.preset.upstream);
        let Some(endpoint) = get_mut(self.exporter, "endpoint") else { return };
        let at = endpoint.span;
        let is_known = !endpoint.is_missing() && !endpoint.has_placeholder();
        let NodeValue::Scalar(scalar) = &mut endpoint.value else { return };
        let (host, path) = host_and_path(&scalar.text);
        let is_fixed = is_known && !host.contains("{{");
        let is_theirs = access.hosts.iter().any(|glob| Glob::new(glob).matches(&host));
        let path = path.trim_end_matches('/').to_owned();
        // A placeholder for a whole endpoint is replaced later by one that can be checked.
        let is_there = scalar.text != PLACEHOLDER;
        if path.is_empty() && !access.path.is_empty() && is_there {
            let base = scalar.text.trim_end_matches('/').len();
            scalar.text.truncate(base);
            for literal in &mut scalar.literal {
                *literal = literal.start.min(base)..literal.end.min(base);
            }
            scalar.text.push_str(access.path);
            self.filled_in
                .push(FilledOption { key: "endpoint".to_owned(), value: format!("…{}", access.path) });
        }
        if is_fixed && !access.hosts.is_empty() && !is_theirs && !compile::is_local(&host) {
            self.report
                .warn(at, format!("this host is none of {upstream}'s"))
                .help(format!("{upstream}'s endpoints are such as `{}`", access.example));
        } else if is_theirs && !path.is_empty() && path != access.path {
            self.report
                .warn(at, format!("{upstream}'s endpoints do not have this path"))
                .help(format!("write `{}`", access.example));
        }
    }

    /// Fills in the options that are not written.
    fn options(&mut self) {
        for (path, value) in self.access.options {
            match path {
                ["statuses", status] if names_status(self.exporter.get("statuses"), status) => {}
                path => self.option(path, value),
            }
        }
    }

    /// Writes the value at the path, unless something is written there.
    fn option(&mut self, path: &[&str], value: &str) {
        let Some((key, above)) = path.split_last() else { return };
        let mut map = &mut *self.exporter;
        for key in above {
            let Some(below) = map_at(map, key, self.span) else { return };
            map = below;
        }
        if put(map, key, parsed(value, self.span), self.span) {
            self.filled_in.push(FilledOption { key: path.join("."), value: value.to_owned() });
        }
    }

    /// Puts the `token` into its header.
    fn credential(&mut self) {
        let token = self.exporter.entry("token").filter(|token| !token.value.is_null());
        let Some(credential) = self.preset.credential else {
            if let Some(token) = token {
                let name = self.preset.name;
                self.report
                    .error(token.key_span, format!("`preset: {name}` has no header for a token"))
                    .help("write `headers` or `auth` for a credential that is asked for in front of it");
            }
            return;
        };
        let is_header_written = header(self.exporter, credential.header).is_some();
        let Some(token) = token else {
            if credential.needed && !is_header_written && !is_written(self.exporter.get("auth")) {
                self.report
                    .warn(self.span, format!("{} takes nothing without a credential", self.preset.upstream))
                    .help(format!("write `token: \"${{env:TOKEN}}\"`, its {}", credential.what));
            }
            return;
        };
        if is_header_written {
            self.report
                .error(token.key_span, format!("`token` stands beside the header `{}`", credential.header))
                .help("keep one of the two");
            return;
        }
        let NodeValue::Scalar(scalar) = &token.value.value else { return };
        if scalar.origin == ScalarOrigin::Missing {
            return;
        }
        let (span, scalar) = (token.value.span, scalar.clone());
        let Some(value) = self.header_value(credential, scalar, span) else { return };
        self.check_credential(credential, &value, span);
        self.header(credential.header, Node { span, value: NodeValue::Scalar(value) });
        let value = format!("{}{REDACTED}", credential.scheme.prefix());
        self.filled_in.push(FilledOption { key: format!("headers.{}", credential.header), value });
    }

    /// The header's value that carries the credential.
    fn header_value(
        &mut self,
        credential: PresetCredential,
        mut token: Scalar,
        span: Span,
    ) -> Option<Scalar> {
        let prefix = credential.scheme.prefix();
        if credential.scheme == CredentialScheme::Basic {
            let template = Template::parse_around(&token.text, &token.literal);
            let is_template = template.is_ok_and(|template| template.as_text().is_none());
            if is_template && outside_templates(&token.text).contains(':') {
                self.report
                    .error(span, "user and password that are templates can't be written in Base64")
                    .help("keep what stands behind `Basic ` in the tenant's row: `token: \"{{ tenant.basic }}\"`");
                return None;
            }
            if !is_template && token.text.contains(':') {
                token.text = BASE64.encode(&token.text);
                token.literal = std::iter::once(0..token.text.len()).collect();
            }
        }
        token.text.insert_str(0, prefix);
        for literal in &mut token.literal {
            *literal = literal.start + prefix.len()..literal.end + prefix.len();
        }
        token.plain = false;
        Some(token)
    }

    /// Warns of a credential that the upstream can't take, as it stands in the header.
    fn check_credential(&mut self, credential: PresetCredential, header: &Scalar, span: Span) {
        let template = Template::parse_around(&header.text, &header.literal);
        let is_template = template.is_ok_and(|template| template.as_text().is_none());
        if header.text.contains(PLACEHOLDER) {
            return;
        }
        match MisshapenCredential::of_header(&header.text) {
            Some(MisshapenCredential::TwoSchemes) => {
                let prefix = credential.scheme.prefix().trim_end();
                self.report
                    .warn(
                        span,
                        format!(
                            "the token has a scheme before it, and the preset puts `{prefix}` before that"
                        ),
                    )
                    .help("write the token alone");
            }
            Some(MisshapenCredential::NoUser) if !is_template => {
                let upstream = self.preset.upstream;
                self.report
                    .warn(
                        span,
                        format!("this is neither a user and a password for {upstream} nor these in Base64"),
                    )
                    .help(format!("write {}", credential.what));
            }
            _ => {}
        }
    }

    /// Fills in the headers and the valid keys by which the upstream tells streams apart, where the routes' keys are its streams.
    fn stream(&mut self, keys: &RouteKeys) {
        let stream = &self.preset.stream;
        let mut is_key_sent = stream.headers.is_empty();
        for (name, value) in stream.headers {
            let reads_key = value.contains("{{ key");
            if header(self.exporter, name).is_none() && (!reads_key || keys.are_one_text()) {
                is_key_sent |= reads_key;
                self.header(name, parsed(&format!("\"{value}\""), self.span));
                self.filled_in
                    .push(FilledOption { key: format!("headers.{name}"), value: (*value).to_owned() });
            }
        }
        if let Some((regex, description)) = stream.valid
            && is_key_sent
            && keys.are_one_text()
            && put(self.exporter, "valid_key", valid_key(regex, description, self.span), self.span)
        {
            for (key, value) in [("description", description), ("regex", regex)] {
                let key = format!("valid_key.{key}");
                self.filled_in.push(FilledOption { key, value: value.to_owned() });
            }
        }
        match stream.attribute {
            Some(attribute) => self.warn_of_keys_without(attribute, keys),
            None => self.warn_of_headers_left_out(keys),
        }
    }

    /// Warns of keys that are not made of the attribute that the upstream reads.
    fn warn_of_keys_without(&mut self, attribute: &str, keys: &RouteKeys) {
        let (preset, upstream) = (self.preset, self.preset.upstream);
        let is_unchecked = preset.stream.valid.is_some() && !is_written(self.exporter.get("valid_key"));
        let problem = if keys.has(RouteKey::Absent) || keys.has(RouteKey::OfAnother) {
            format!(
                "{upstream} takes the stream from the resource attribute `{attribute}`, and a route that sends there has another key"
            )
        } else if keys.has(RouteKey::Parts) && is_unchecked {
            format!("the parts of a key are not checked for what {upstream} takes")
        } else {
            return;
        };
        self.report
            .warn(self.span, problem)
            .help(format!("write `key: {attribute}` in each route that sends there"));
    }

    /// Warns of a missing header that would name the stream, where a key can't be sent as it is.
    fn warn_of_headers_left_out(&mut self, keys: &RouteKeys) {
        let mut headers = self.preset.stream.headers.iter().map(|(name, _)| *name);
        let Some(name) = headers.find(|name| header(self.exporter, name).is_none()) else { return };
        let (problem, part) = if keys.has(RouteKey::Parts) {
            ("a key of a route that sends there has parts", "{{ key.NAME }}")
        } else if keys.has(RouteKey::Absent) && keys.has(RouteKey::OneText) {
            ("a route that sends there has no key", "{{ key }}")
        } else {
            return;
        };
        self.report.warn(self.span, format!("`{name}` is not filled in: {problem}")).help(format!(
            "write `headers: {{ {name}: \"{part}\" }}` with what {} is to get",
            self.preset.upstream
        ));
    }

    /// Reports missing headers that the upstream asks for.
    fn needed_headers(&mut self) {
        for (name, what) in self.preset.needs {
            if header(self.exporter, name).is_none() {
                self.report
                    .error(self.span, format!("{} needs the header `{name}`", self.preset.upstream))
                    .help(format!("write `headers: {{ {name}: … }}`, {what}"));
            }
        }
    }

    /// Adds a header to the written ones, in either form.
    fn header(&mut self, name: &str, value: Node) {
        let span = self.span;
        let entry = |key: &str, value: Node| NodeEntry { key: key.to_owned(), key_span: span, value };
        match get_mut(self.exporter, "headers") {
            Some(Node { value: NodeValue::Seq(list), .. }) => {
                let name = NodeValue::Scalar(Scalar { text: name.to_owned(), ..Scalar::default() });
                let fields = vec![entry("name", Node { span, value: name }), entry("value", value)];
                list.push(Node { span, value: NodeValue::Map(fields) });
            }
            _ => {
                if let Some(Node { value: NodeValue::Map(map), .. }) = map_at(self.exporter, "headers", span)
                {
                    map.push(entry(name, value));
                }
            }
        }
    }
}

/// The keys of the routes that send to an exporter.
struct RouteKeys(BTreeSet<RouteKey>);

/// The kinds of a route's key, as the upstream uses it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RouteKey {
    /// No key.
    Absent,
    /// One text, of which the upstream makes its stream.
    OneText,
    /// Several parts.
    Parts,
    /// A key without the attribute that the upstream reads.
    OfAnother,
}

impl RouteKeys {
    fn of(root: &Node, exporter: &str, preset: &Preset) -> Self {
        let routes = || (0..).map_while(|index| root.get("routes")?.item(index));
        let names_it = |route: &&Node| {
            route
                .get("exporters")
                .is_some_and(|list| list.mentions().iter().any(|name| name.name == exporter))
        };
        let key = |route: &Node| RouteKey::of(route, preset);
        let mut keys: BTreeSet<RouteKey> = routes().filter(names_it).map(key).collect();
        // Rows of tenants may name it, whichever route takes their entries.
        if keys.is_empty() && root.get("tenants").is_some() {
            keys = routes().map(key).collect();
        }
        Self(keys)
    }

    fn has(&self, key: RouteKey) -> bool {
        self.0.contains(&key)
    }

    /// Whether each is one text, of which the upstream makes its stream.
    fn are_one_text(&self) -> bool {
        self.has(RouteKey::OneText) && self.0.len() == 1
    }
}

impl RouteKey {
    fn of(route: &Node, preset: &Preset) -> Self {
        /// The keys of a map that is one attribute of a record or else of the resource, rather than parts.
        const PLACES: [&str; 2] = ["record", "resource"];
        let Some(key) = route.get("key").filter(|key| !key.is_null()) else { return Self::Absent };
        let is_part = |entry: &NodeEntry| !PLACES.contains(&entry.key.as_str());
        match preset.stream.attribute {
            Some(attribute) if !reads(key, attribute) => Self::OfAnother,
            _ if key.entries().iter().any(is_part) => Self::Parts,
            _ => Self::OneText,
        }
    }
}

/// Whether a key reads an attribute.
fn reads(key: &Node, attribute: &str) -> bool {
    match &key.value {
        NodeValue::Scalar(scalar) => {
            Template::parse_around(&scalar.text, &scalar.literal).is_ok_and(|template| {
                template.as_text() == Some(attribute) || template.attributes().any(|read| read == attribute)
            })
        }
        NodeValue::Seq(items) => items.iter().any(|item| reads(item, attribute)),
        NodeValue::Map(entries) => entries.iter().any(|entry| reads(&entry.value, attribute)),
    }
}

/// Whether a value is written.
fn is_written(node: Option<&Node>) -> bool {
    node.is_some_and(|node| !node.is_null() && node.text().is_none_or(|text| !text.is_empty()))
}

fn get_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    let NodeValue::Map(entries) = &mut node.value else { return None };
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
}

/// The map at a key, which is made if the key is absent. `None` if the key has another value.
fn map_at<'n>(node: &'n mut Node, key: &str, span: Span) -> Option<&'n mut Node> {
    let empty = || Node { span, value: NodeValue::Map(Vec::new()) };
    put(node, key, empty(), span);
    get_mut(node, key).filter(|node| matches!(node.value, NodeValue::Map(_)))
}

/// Puts a value at a key, if the key is absent.
fn put(node: &mut Node, key: &str, value: Node, span: Span) -> bool {
    let NodeValue::Map(entries) = &mut node.value else { return false };
    match entries.iter_mut().find(|entry| entry.key == key) {
        Some(entry) if is_written(Some(&entry.value)) => return false,
        Some(entry) => entry.value = value,
        None => entries.push(NodeEntry { key: key.to_owned(), key_span: span, value }),
    }
    true
}

/// A value as it stands in the table, in the place of the preset.
fn parsed(text: &str, span: Span) -> Node {
    let mut node =
        parse::parse(text, &mut ProblemReport::default()).ok().expect("a test parses what is in the table");
    place(&mut node, span);
    node
}

fn place(node: &mut Node, span: Span) {
    node.span = span;
    match &mut node.value {
        NodeValue::Scalar(_) => {}
        NodeValue::Seq(items) => items.iter_mut().for_each(|item| place(item, span)),
        NodeValue::Map(entries) => {
            for entry in entries {
                entry.key_span = span;
                place(&mut entry.value, span);
            }
        }
    }
}

fn valid_key(regex: &str, description: &str, span: Span) -> Node {
    let text = |text: &str| {
        let scalar = Scalar { text: text.to_owned(), ..Scalar::default() };
        Node { span, value: NodeValue::Scalar(scalar) }
    };
    let entry =
        |key: &str, value: &str| NodeEntry { key: key.to_owned(), key_span: span, value: text(value) };
    Node { span, value: NodeValue::Map(vec![entry("regex", regex), entry("description", description)]) }
}

/// The value of a header that is written in either form.
fn header<'n>(exporter: &'n Node, name: &str) -> Option<&'n Node> {
    let headers = exporter.get("headers")?;
    let in_map = headers.entries().iter().find(|entry| entry.key.eq_ignore_ascii_case(name));
    let mut items = (0..).map_while(|index| headers.item(index));
    let is_it = |item: &&Node| {
        item.get("name").and_then(Node::text).is_some_and(|other| other.eq_ignore_ascii_case(name))
    };
    in_map.map(|entry| &entry.value).or_else(|| items.find(is_it))
}

/// Whether the `statuses` that are written have a key for a status of the table.
fn names_status(statuses: Option<&Node>, status: &str) -> bool {
    let number: Option<u16> = status.parse().ok();
    statuses.map_or(&[][..], Node::entries).iter().any(|entry| {
        let key = entry.key.as_str();
        let of_range = || {
            let (first, last) = key.split_once('-')?;
            Some((first.parse().ok()?..=last.parse().ok()?).contains(&number?))
        };
        let of_class = || {
            let class = key.strip_suffix(['x', 'X'])?.strip_suffix(['x', 'X'])?;
            Some(class.parse::<u16>().ok()? == number? / 100)
        };
        key == status || of_range().or_else(of_class).unwrap_or(false)
    })
}

/// Host and path of an endpoint, with or without a scheme.
fn host_and_path(endpoint: &str) -> (String, String) {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let plain = outside_templates(rest);
    let end = plain.find(['/', '?', '#']).unwrap_or(plain.len());
    let authority = &rest[..end];
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    (host.to_owned(), rest[end..].to_owned())
}

/// The text with all that stands between braces replaced, byte for byte.
fn outside_templates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inner)) = rest.split_once("{{") {
        let end = inner.find("}}").map_or(inner.len(), |end| end + 2);
        out.push_str(before);
        out.extend(std::iter::repeat_n('_', end + 2));
        rest = &inner[end..];
    }
    out.push_str(rest);
    out
}

/// The preset, and what it has filled in, a line each.
impl std::fmt::Display for FilledPreset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "preset `{}` fills in:", self.preset)?;
        if self.filled_in.is_empty() {
            return f.write_str(" nothing, since all of it is written");
        }
        for option in &self.filled_in {
            write!(f, "\n  {}: {}", option.key, option.value)?;
        }
        Ok(())
    }
}
