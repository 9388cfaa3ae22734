//! Checks the tree against the schema, key by key, and returns the valid part as the JSON that the model reads.
//!
//! Mistakes are reported and left out, so that one hides no other: the rest is read as if the wrong key had not been written.

use std::fmt;

use serde_json::{Map, Number, Value as Json};

use super::collector::{self, KeyVerdict};
use super::model;
use super::node::{Node, NodeEntry, NodeValue, Scalar, ScalarOrigin};
use super::problem::ProblemReport;
use super::quoting::{REDACTED, is_path, listed, named, nearest, quoted};
use super::schema::Shape;
use super::span::Span;
use super::substitute::{PLACEHOLDER, PLACEHOLDER_URL};

/// The name of a configuration in problems.
const CONFIGURATION: &str = "the configuration";

/// Checks a whole configuration.
pub(super) fn check(root: &Node, source: &str, report: &mut ProblemReport) -> Json {
    check_as(Shape::root(), CONFIGURATION, root, source, report).unwrap_or_else(|| Map::new().into())
}

/// Whether a configuration has any section. If it has none, that is its only problem.
pub(super) fn has_sections(root: &Node, source: &str, report: &mut ProblemReport) -> bool {
    let is_empty = root.is_null() || (root.is_map() && root.entries().is_empty());
    if is_empty {
        report.error_without_place("the configuration is empty").help(
            "the least is `receivers: { otlp: { protocols: { http: } } }`, `exporters: { file/local: { path: ./data } }` and \
             `routes: [{ exporters: [file/local] }]`, each on a line of its own",
        );
    } else if !root.is_map() {
        let mut walk = ShapeCheck { source, report, what: CONFIGURATION, root };
        walk.wrong_kind(root, Shape::root(), &KeyPath::ROOT);
    }
    root.is_map() && !is_empty
}

/// The message about an unknown key, with its name if that may be shown.
pub(super) fn unknown_key(entry: &NodeEntry, report: &ProblemReport) -> String {
    if report.shows(entry.key_span) {
        format!("unknown key {}", quoted(&entry.key))
    } else {
        "unknown key".to_owned()
    }
}

/// The key that an unknown key is likely to mean: the nearest one that the map does not have, or else one that it has, or else one of the
/// Collector's.
pub(super) fn key_that_is_meant<'a>(key: &str, map: &Node, shape: Shape<'a>) -> Option<&'a str> {
    let known: Vec<&str> = shape.documented_properties().map(|(key, _)| key).collect();
    let unused = known.iter().copied().filter(|known| map.get(known).is_none());
    let collectors = shape.definition.into_iter().flat_map(collector::keys_of);
    nearest(key, unused).or_else(|| nearest(key, known)).or_else(|| nearest(key, collectors))
}

/// Checks a file of another shape; `what` it is, in the words of the problems. `None` where all of it is wrong.
pub(super) fn check_as(
    shape: Shape<'_>,
    what: &'static str,
    root: &Node,
    source: &str,
    report: &mut ProblemReport,
) -> Option<Json> {
    let mut walk = ShapeCheck { source, report, what, root };
    walk.value(root, shape, &KeyPath::ROOT)
}

/// The path from the root to a value.
struct KeyPath<'a> {
    up: Option<&'a KeyPath<'a>>,
    name: &'a str,
    is_item: bool,
}

impl KeyPath<'_> {
    const ROOT: Self = Self { up: None, name: "", is_item: false };

    fn key<'a>(&'a self, name: &'a str) -> KeyPath<'a> {
        KeyPath { up: Some(self), name, is_item: false }
    }

    /// The nearest key: its own, or that of the list.
    fn word(&self) -> &str {
        match self.up {
            Some(up) if self.is_item => up.word(),
            _ => self.name,
        }
    }

    fn item<'a>(&'a self, name: &'a str) -> KeyPath<'a> {
        KeyPath { up: Some(self), name, is_item: true }
    }
}

impl fmt::Display for KeyPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(up) = self.up else { return Ok(()) };
        up.fmt(f)?;
        match (self.is_item, up.up) {
            (true, _) => write!(f, "[{}]", self.name),
            (false, None) => f.write_str(self.name),
            (false, Some(_)) => write!(f, ".{}", self.name),
        }
    }
}

struct ShapeCheck<'a> {
    source: &'a str,
    report: &'a mut ProblemReport,
    /// What the file as a whole is.
    what: &'static str,
    root: &'a Node,
}

impl ShapeCheck<'_> {
    /// The value as JSON, or `None` where it is wrong or not there.
    fn value(&mut self, node: &Node, shape: Shape<'_>, place: &KeyPath<'_>) -> Option<Json> {
        let shape = shape.of_kind(node);
        match &node.value {
            // The missing value has been reported.
            NodeValue::Scalar(scalar) if scalar.origin == ScalarOrigin::Missing => None,
            NodeValue::Scalar(scalar) if scalar.is_null() && shape.is("object") => Some(Map::new().into()),
            NodeValue::Scalar(scalar)
                if (!scalar.is_null() || scalar.is_substituted())
                    && !shape.is("object")
                    && !shape.is("array") =>
            {
                self.scalar(node, scalar, shape, place)
            }
            NodeValue::Seq(items) if shape.is("array") => {
                let items = items.iter().enumerate();
                let shape = Shape::of(&shape.body["items"]);
                Some(
                    items
                        .filter_map(|(index, item)| self.value(item, shape, &place.item(&index.to_string())))
                        .collect(),
                )
            }
            NodeValue::Map(entries) if shape.is("object") => Some(self.map(node, entries, shape, place)),
            _ => {
                self.wrong_kind(node, shape, place);
                None
            }
        }
    }

    fn map(&mut self, node: &Node, entries: &[NodeEntry], shape: Shape<'_>, place: &KeyPath<'_>) -> Json {
        let mut map = Map::new();
        for entry in entries {
            let shown = self.report.shows(entry.key_span);
            let inner = place.key(if shown { &entry.key } else { REDACTED });
            let Some(schema) = shape.property(&entry.key) else {
                self.unknown(node, entry, shape, place);
                continue;
            };
            // Processors in another shape than a map have been reported.
            if entry.key == "processors" && shape.definition == Some("Config") && !entry.value.is_map() {
                continue;
            }
            let is_fixed = shape.properties().any(|(key, _)| key == entry.key);
            let value_shape = Shape::of(schema);
            match in_place_of_placeholder(entry, schema, shape) {
                Some(PlaceholderValue::Value(value)) => {
                    map.insert(entry.key.clone(), value.into());
                    continue;
                }
                Some(PlaceholderValue::Default) => {
                    self.report.leave_out_placeholder(entry.value.span);
                    // What others name, such as an exporter, is there, whatever stands in it.
                    if !is_fixed && value_shape.is("object") {
                        map.insert(entry.key.clone(), Map::new().into());
                    }
                    continue;
                }
                None => {}
            }
            if entry.value.is_missing() || (is_fixed && says_nothing(entry, schema, shape)) {
                continue;
            }
            // A variable with an empty value is no mistake of the file.
            let is_empty_text =
                entry.value.is_substituted() && value_shape.of_kind(&entry.value).is("string");
            // As in the Collector, a header without a value is an empty one.
            if entry.value.is_null() && !is_fixed && value_shape.is_text() {
                map.insert(entry.key.clone(), "".into());
                continue;
            }
            if entry.value.is_null() && !value_shape.is("object") && !is_empty_text {
                if shown {
                    self.report.error(entry.key_span, format!("`{inner}` has no value"));
                } else {
                    let message = format!("a key in `{place}` has no value");
                    self.report.error(entry.key_span, message).help("write `name: value`");
                }
                continue;
            }
            let value = self.value(&entry.value, value_shape, &inner);
            if let Some(value) = value {
                map.insert(entry.key.clone(), value);
            }
        }
        map.into()
    }

    /// Reports a key of the Collector's that is not in the schema.
    fn collectors(&mut self, entry: &NodeEntry, verdict: KeyVerdict, why: &str) {
        let (key, at) = (&entry.key, entry.key_span);
        match verdict {
            KeyVerdict::Ignored => {
                self.report.warn(at, format!("`{key}` has no effect: {why}"));
            }
            KeyVerdict::NeedsJournal if self.root.get("journal").is_some() => {
                self.report.warn(at, format!("`{key}` has no effect: {why}"));
            }
            KeyVerdict::NeedsJournal => {
                let directory = self.directory_of_journal(&entry.value);
                self.report
                    .error(at, format!("`{key}` is not available: the queue would be lost with the process"))
                    .help(format!(
                        "write `journal: {{ directory: {directory} }}` at the top level, which keeps the queues of all \
                         exporters on disk"
                    ));
            }
            KeyVerdict::Refused | KeyVerdict::RefusedBesideFile => {
                self.report.error(at, format!("`{key}` is not available: {why}"));
            }
            KeyVerdict::Connectors => {
                for connector in entry.value.mentions() {
                    let (name, why) = (connector.shown(), collector::connector(connector.name));
                    self.report.warn(connector.span, format!("the connector {name} has no effect: {why}"));
                }
            }
        }
    }

    /// The directory of a journal that replaces the extension which `storage` names: below that extension's directory, which is on a
    /// persistent disk.
    fn directory_of_journal(&self, storage: &Node) -> String {
        let extension = storage.text().filter(|name| model::type_of(name) == "file_storage");
        let extension = extension.and_then(|name| self.root.get("extensions")?.get(name));
        let directory = extension.and_then(|extension| extension.get("directory"));
        match directory.filter(|directory| !directory.is_substituted()).and_then(Node::text) {
            Some(path) if is_path(path) => format!("{}/journal", path.trim_end_matches('/')),
            _ => "./journal".to_owned(),
        }
    }

    /// Reports a key that is not in the schema: the Collector's, or a mistyped one.
    fn unknown(&mut self, node: &Node, entry: &NodeEntry, shape: Shape<'_>, place: &KeyPath<'_>) {
        let shown = self.report.shows(entry.key_span);
        let name = if shown { quoted(&entry.key) } else { "this".to_owned() };
        let unknown = unknown_key(entry, self.report);
        if let Some(definition) = shape.definition
            && let Some((verdict, why)) = collector::verdict(definition, &entry.key)
        {
            if !collector::asks_for_nothing(definition, &entry.key, &entry.value, node) {
                self.collectors(entry, verdict, why);
            }
            return;
        }

        let types: Vec<&str> = shape.typed_values().map(|(name, _)| name).collect();
        if !types.is_empty() {
            let near = nearest(model::type_of(&entry.key), types.iter().copied());
            let what = place.name.trim_end_matches('s');
            // Each of these has been reported.
            if what == "processor" {
                return;
            }
            if what == "extension" && near.is_none() {
                let why = collector::other_extension(&entry.key);
                let name = named(&entry.key);
                self.report.warn(entry.key_span, format!("the extension {name} has no effect: {why}"));
                return;
            }
            let near = near.or_else(|| collector::same_exporter(what, &entry.key));
            let help = match near {
                Some(near) if entry.key.ends_with('/') => format!("write `{near}`, or `{near}/NAME`"),
                Some(near) if shown => format!("did you mean {}?", quoted(&renamed(&entry.key, near))),
                Some(near) => format!("did you mean `{near}`?"),
                None if is_key_of_any(&entry.key, shape) => {
                    format!("`{}` is a key of {what}s: indent it by more, below the name of one", entry.key)
                }
                None if what == "receiver" => {
                    "Sluice receives OTLP alone: keep a Collector in front that sends this on as OTLP, and write \
                     `otlp` here"
                        .to_owned()
                }
                None => format!("the types are {}, each alone or as `TYPE/NAME`", listed(types)),
            };
            self.report.error(entry.key_span, format!("{name} is not a known type of {what}")).help(help);
            if let Some(near) = near {
                let meant = if shown { renamed(&entry.key, near) } else { near.to_owned() };
                self.as_if_written(entry, &meant, shape, place);
            }
            return;
        }

        // A map below another name in `match` is a rule about a resource attribute.
        let misspelt_condition = (shape.definition == Some("MatchRule"))
            .then(|| {
                nearest(place.name, ["record", "record_alone", "request"]).filter(|near| *near != place.name)
            })
            .flatten();
        let map = if place.up.is_none() { "the top level".to_owned() } else { quoted(&place.to_string()) };
        if let Some(near) = key_that_is_meant(&entry.key, node, shape) {
            let message = format!("{unknown} in {map}; did you mean `{near}`?");
            self.report.error(entry.key_span, message);
            self.as_if_written(entry, near, shape, place);
            return;
        }
        if let Some(near) = misspelt_condition {
            let message = format!("{unknown} in {map}; did you mean `{near}: {{ … }}`?");
            self.report.error(entry.key_span, message);
            return;
        }
        let known = shape.documented_properties().map(|(key, _)| key);
        self.report
            .error(entry.key_span, format!("{unknown} in {map}"))
            .help(format!("the keys here are {}", listed(known)));
    }

    /// Checks the value of a wrong key as that of the key that is meant, so that its mistakes are reported before the key is corrected. The
    /// value is not used.
    fn as_if_written(&mut self, entry: &NodeEntry, meant: &str, shape: Shape<'_>, place: &KeyPath<'_>) {
        if entry.value.is_missing() || entry.value.is_null() {
            return;
        }
        if let Some(schema) = shape.property(meant) {
            self.value(&entry.value, Shape::of(schema), &place.key(meant));
        }
    }

    fn scalar(
        &mut self,
        node: &Node,
        scalar: &Scalar,
        shape: Shape<'_>,
        place: &KeyPath<'_>,
    ) -> Option<Json> {
        const WHOLE: &str = "a whole number";
        let words = shape.words();
        if scalar.origin == ScalarOrigin::Placeholder && !shape.is_text() {
            self.report.leave_out_placeholder(node.span);
            return None;
        }
        if !words.is_empty() {
            if let Some(former) = shape.former_words().find(|former| *former == scalar.text) {
                return Some(former.into());
            }
            let in_any_case = shape.body["x-any-case"] == true;
            return self.word(node, scalar, (&words, in_any_case), place);
        }
        if let Some((format, parse)) = shape.format().and_then(|name| Some((name, format_check(name)?))) {
            return self.formatted(node, scalar, format, parse, place);
        }
        if shape.is("string") {
            return Some(scalar.text.clone().into());
        }

        let shown = self.report.shows(node.span) && !scalar.is_substituted();
        let (found, expected) = if shape.is("boolean") {
            (model::boolean(&scalar.text).map(Json::from), "`true` or `false`")
        } else if shape.is("integer") {
            let number = model::integer(&scalar.text).and_then(|number| i64::try_from(number).ok());
            (number.map(Json::from), WHOLE)
        } else {
            (number(&scalar.text), "a number")
        };
        let quotes = !scalar.plain && !scalar.is_substituted() && found.is_some();
        if let Some(value) = found.filter(|_| !quotes) {
            self.warn_of_octal(node.span, &scalar.text);
            return self.in_range(value, node, shape, place);
        }
        let not = if self.report.shows(node.span) {
            format!(", not {}", self.report.written(node, self.source))
        } else {
            String::new()
        };
        let problem = self.report.error(node.span, format!("`{place}` must be {expected}{not}"));
        let instead = model::instead_of_sexagesimal(&scalar.text).filter(|_| expected == WHOLE && shown);
        if quotes {
            problem.help("text in quotes is text; remove the quotes");
        } else if let Some(instead) = instead {
            problem.help(instead);
        }
        None
    }

    /// One of the words of an enumeration.
    fn word(
        &mut self,
        node: &Node,
        scalar: &Scalar,
        (words, in_any_case): (&[&str], bool),
        place: &KeyPath<'_>,
    ) -> Option<Json> {
        let text = if in_any_case { scalar.text.to_lowercase() } else { scalar.text.clone() };
        if words.contains(&text.as_str()) {
            return Some(text.into());
        }
        let subject = self.report.subject(node, self.source);
        let near = (!scalar.is_substituted()).then(|| nearest(&scalar.text, words.iter().copied())).flatten();
        let guess = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        self.report
            .error(node.span, format!("{subject} is not a value of `{}`", place.word()))
            .help(format!("{guess}the values are {}", listed(words.iter().copied())));
        None
    }

    /// A duration, a size: text with a form of its own.
    fn formatted(
        &mut self,
        node: &Node,
        scalar: &Scalar,
        format: &str,
        parse: FormatCheck,
        place: &KeyPath<'_>,
    ) -> Option<Json> {
        let Err(expected) = parse(&scalar.text) else {
            // A mode is octal for everybody.
            if format != "file mode" {
                self.warn_of_octal(node.span, &scalar.text);
            }
            return Some(scalar.text.clone().into());
        };
        let what = match format {
            "memory" => "an amount of memory".to_owned(),
            other => format!("a {other}"),
        };
        // The message about the expected form may quote the value.
        let help = match (scalar.is_substituted(), self.report.shows(node.span)) {
            (true, _) => format!("the substituted text must be {what}"),
            (false, true) => expected,
            (false, false) => parse("").err().unwrap_or_default(),
        };
        let subject = self.report.subject(node, self.source);
        self.report.error(node.span, format!("{subject} is not {what} (in `{}`)", place.word())).help(help);
        None
    }

    /// Warns of a number that two versions of YAML read differently.
    fn warn_of_octal(&mut self, span: Span, text: &str) {
        if let Some((octal, decimal)) = model::octal_or_decimal(text) {
            self.report
                .warn(
                    span,
                    format!("a number that begins with 0 is octal, as in a Collector: this is {octal}"),
                )
                .help(format!("write `{octal}`, or `{decimal}` if that is meant"));
        }
    }

    fn in_range(&mut self, value: Json, node: &Node, shape: Shape<'_>, place: &KeyPath<'_>) -> Option<Json> {
        let number = value.as_f64();
        let widest = match shape.format() {
            Some("uint16") => Some(f64::from(u16::MAX)),
            Some("uint32") => Some(f64::from(u32::MAX)),
            _ => None,
        };
        let least = shape.body["minimum"].as_f64();
        let most = shape.body["maximum"].as_f64().or(widest);
        let help = match (least, most) {
            (Some(least), _) if number.is_some_and(|number| number < least) => {
                format!("the least is {least}")
            }
            (_, Some(most)) if number.is_some_and(|number| number > most) => format!("the most is {most}"),
            _ => return Some(value),
        };
        let subject = self.report.subject(node, self.source);
        let message = format!("{subject} is out of range for `{}`", place.word());
        self.report.error(node.span, message).help(help);
        None
    }

    fn wrong_kind(&mut self, node: &Node, shape: Shape<'_>, place: &KeyPath<'_>) {
        let expected = if shape.is("object") {
            "a map"
        } else if shape.is("array") {
            "a list"
        } else {
            "a single value"
        };
        let name = if place.up.is_none() { self.what.to_owned() } else { format!("`{place}`") };
        let shown = self.report.shows(node.span);
        let problem = self.report.error(node.span, format!("{name} must be {expected}, not {}", node.kind()));
        let first = shape.properties().next().map(|(key, _)| key);
        match (expected, &node.value) {
            ("a list", NodeValue::Scalar(scalar)) if !scalar.is_substituted() && shown => {
                let items = self.source.get(node.span.start..node.span.end).unwrap_or_default();
                problem.help(format!("write [{}]", quoted(items).trim_matches('`')));
            }
            ("a map", _) => problem.help(match first {
                Some(key) => format!("write keys and values, such as `{key}: …`, indented below it"),
                None => "write keys and values, indented below it".to_owned(),
            }),
            _ => {}
        }
    }
}

/// The replacement of a value with a placeholder in it, where the placeholder would be invalid.
enum PlaceholderValue {
    Value(&'static str),
    Default,
}

/// The replacement of a value with a placeholder in it, where the placeholder would be invalid: a whole URL, an address, and, for values
/// that are not text, the default.
fn in_place_of_placeholder(entry: &NodeEntry, schema: &Json, shape: Shape<'_>) -> Option<PlaceholderValue> {
    /// An address that conflicts with no other listener.
    const ADDRESS: &str = "127.0.0.1:0";
    let NodeValue::Scalar(scalar) = &entry.value.value else { return None };
    if scalar.origin != ScalarOrigin::Placeholder {
        return None;
    }
    let listens = matches!(shape.definition, Some("HttpReceiver" | "GrpcReceiver" | "Admin" | "Health"));
    match schema["x-shown"].as_str() {
        Some("url") if listens && entry.key == "endpoint" => Some(PlaceholderValue::Value(ADDRESS)),
        Some("url") if scalar.text == PLACEHOLDER => Some(PlaceholderValue::Value(PLACEHOLDER_URL)),
        _ if entry.key == "proxy_url" => Some(PlaceholderValue::Default),
        _ => {
            let value = Shape::of(schema).of_kind(&entry.value);
            (!value.is_text()).then_some(PlaceholderValue::Default)
        }
    }
}

/// Whether a key of the schema means its default: without a value (`timeout:`), or with an empty text, as the Collector
/// writes it (`compression: ''`). Only what is asked for by its key alone (`http:`) is then there.
fn says_nothing(entry: &NodeEntry, schema: &Json, shape: Shape<'_>) -> bool {
    if entry.value.is_null() {
        // An absent variable must not leave open who may send, or what a route takes.
        let limits = ["Auth", "MatchRule", "NegatedRule", "ExactValues"];
        let is_limit = shape.definition.is_some_and(|definition| limits.contains(&definition));
        return schema["x-asked-by-key"] != true && !(is_limit && entry.value.is_substituted());
    }
    // In attributes, headers and options that protect, an empty text has a meaning.
    let empty_means_empty = [
        "Route",
        "MatchConditions",
        "Header",
        "MatchRule",
        "NegatedRule",
        "ExactValues",
        "Auth",
        "BearerTokenAuth",
        "AttributeAction",
        "AttributeMatch",
        "LibraryMatch",
    ];
    let is_empty = matches!(&entry.value.value, NodeValue::Scalar(scalar) if scalar.text.is_empty());
    is_empty
        && !Shape::of(schema).is("object")
        && !shape.definition.is_some_and(|definition| empty_means_empty.contains(&definition))
}

type FormatCheck = fn(&str) -> Result<(), String>;

/// The check of a text that has a format of its own; the error says what to write.
fn format_check(format: &str) -> Option<FormatCheck> {
    match format {
        "duration" => Some(|text| text.parse::<model::Duration>().map(drop)),
        "size" => Some(|text| text.parse::<model::ByteSize>().map(drop)),
        "memory" => Some(|text| text.parse::<model::Memory>().map(drop)),
        "queue size" => Some(|text| text.parse::<model::QueueSize>().map(drop)),
        "sync policy" => Some(|text| text.parse::<model::JournalSync>().map(drop)),
        "file mode" => Some(|text| text.parse::<model::FileMode>().map(drop)),
        "rate" => Some(|text| text.parse::<model::ByteRate>().map(drop)),
        "moment" => Some(|text| text.parse::<model::Timestamp>().map(drop)),
        _ => None,
    }
}

/// Whether the values of a map, whose keys are `TYPE` or `TYPE/NAME`, have such a key.
fn is_key_of_any(key: &str, shape: Shape<'_>) -> bool {
    shape.typed_values().any(|(_, schema)| Shape::of(schema).properties().any(|(known, _)| known == key))
}

/// A number of YAML, whole or not.
fn number(text: &str) -> Option<Json> {
    if let Some(number) = model::integer(text) {
        return Number::from_f64(number as f64).map(Json::Number);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-._eE".contains(&byte));
    digits
        .then(|| text.replace('_', ""))
        .and_then(|text| Number::from_f64(text.parse().ok()?))
        .map(Json::Number)
}

/// `otlp_htp/s2` with another type.
fn renamed(name: &str, r#type: &str) -> String {
    match name.split_once('/') {
        Some((_, rest)) => format!("{type}/{rest}"),
        None => r#type.to_owned(),
    }
}
