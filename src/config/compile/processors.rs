//! `processors`, and what routes name of them.

use std::sync::Arc;

use regex::Regex;

use super::Context;
use super::routes::pattern;
use super::url::report_template;
use crate::config::model::{
    ActionName, AttributeAction, AttributeMatch, MatchProperties, MatchType, Named, Processor, TypeName,
    WrittenValue,
};
use crate::config::node::{Node, Scalar, Value};
use crate::config::problem::{enumerated, listed, nearest};
use crate::config::secrets::named;
use crate::config::{model, re2};
use crate::otlp::{
    AttributeTest, ConvertedType, Edit, EditAction, EditKeys, EditedPart, LibraryTest, NewValue, SPAN_KINDS,
    Selection, SeverityTest, Signal, TextTest, ValueSource, ValueTest, WriteWhere,
};
use crate::route::{RouteEdit, Template};

/// The processors of a configuration.
pub(super) struct Processors<'a> {
    written: &'a Named<Processor>,
    node: &'a Node,
    /// In the order of the file.
    compiled: Vec<Arc<RouteEdit>>,
}

impl<'a> Processors<'a> {
    pub(super) fn compile(written: &'a Named<Processor>, root: &'a Node, context: &mut Context<'_>) -> Self {
        let node = root.near(&["processors"]);
        let compiled = written
            .0
            .iter()
            .map(|(name, processor)| Arc::new(one(name, processor, node.near(&[name]), context)));
        let compiled = compiled.collect();
        Self { written, node, compiled }
    }

    /// Those that a route for these signals names, in its order; they stand at `list`.
    pub(super) fn of_route(
        &self,
        names: &[String],
        signals: [bool; 3],
        list: &Node,
        context: &mut Context<'_>,
    ) -> Vec<Arc<RouteEdit>> {
        let mut edits = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let item = list.item(index).unwrap_or(list);
            let Some(position) = self.written.0.iter().position(|(known, _)| known == name) else {
                self.report_unknown(name, item, context);
                continue;
            };
            if names[..index].contains(name) {
                context
                    .report
                    .error(item.span, format!("{} is named twice", named(name)))
                    .help("keep one of the two");
                continue;
            }
            if let Processor::Attributes(attributes) = &self.written.0[position].1 {
                for properties in [&attributes.include, &attributes.exclude].into_iter().flatten() {
                    check_signals(properties, name, signals, item, context);
                }
            }
            edits.push(self.compiled[position].clone());
        }
        edits
    }

    fn report_unknown(&self, name: &str, item: &Node, context: &mut Context<'_>) {
        // It is there, and what is wrong with it has been said.
        let is_there = self.node.entry(name).is_some_and(|entry| {
            context.report.has_error_within(entry.key_span)
                || context.report.has_error_within(entry.value.span)
        });
        if is_there {
            return;
        }
        let names: Vec<&str> = self.written.0.iter().map(|(name, _)| name.as_str()).collect();
        let near = nearest(name, names.iter().copied()).filter(|_| !item.is_substituted());
        let shown = context.written(item);
        let shown_names: Vec<String> = names.iter().map(|name| named(name)).collect();
        let help = match near {
            Some(near) => format!("did you mean {}?", named(near)),
            None if names.is_empty() => {
                "write one of that name below `processors:`, such as `resource/env: { attributes: [{ key: env, value: prod, \
                 action: upsert }] }`"
                    .to_owned()
            }
            None => format!("the processors are {}", enumerated(&shown_names)),
        };
        context.report.error(item.span, format!("there is no processor {shown}")).help(help);
    }
}

fn one(name: &str, processor: &Processor, node: &Node, context: &mut Context<'_>) -> RouteEdit {
    let mut templates = Vec::new();
    let (written, key) = match processor {
        Processor::Resource(resource) => (&resource.attributes, "attributes"),
        Processor::Attributes(attributes) => (&attributes.actions, "actions"),
    };
    let list = node.near(&[key]);
    if written.is_empty() && !context.is_excused(node, key) {
        context
            .report
            .error(list.span, format!("without `{key}` nothing is changed"))
            .help(format!("write `{key}: [{{ key: NAME, action: delete }}]`"));
    }
    let actions = written.iter().enumerate().filter_map(|(index, written)| {
        action(written, list.item(index).unwrap_or(list), &mut templates, context)
    });
    let actions = actions.collect();
    let of = match processor {
        Processor::Resource(_) => EditedPart::Resource,
        Processor::Attributes(attributes) => {
            let mut selected = |properties: &Option<MatchProperties>, key: &str| {
                properties
                    .as_ref()
                    .map(|properties| Box::new(selection(properties, node.near(&[key]), context)))
            };
            EditedPart::Records {
                events: attributes.include_events,
                include: selected(&attributes.include, "include"),
                exclude: selected(&attributes.exclude, "exclude"),
            }
        }
    };
    RouteEdit { name: name.into(), edit: Edit { actions, of }, templates }
}

/// The keys of an action beside `key` and `action`.
const REST: [&str; 5] = ["value", "from_attribute", "default_value", "pattern", "converted_type"];

/// The keys that an action takes, of [`REST`].
fn taken(action: ActionName) -> &'static [&'static str] {
    match action {
        ActionName::Insert | ActionName::Update | ActionName::Upsert => {
            &["value", "from_attribute", "default_value"]
        }
        ActionName::Delete | ActionName::Hash | ActionName::Extract => &["pattern"],
        ActionName::Convert => &["converted_type"],
    }
}

fn word(action: ActionName) -> &'static str {
    match action {
        ActionName::Insert => "insert",
        ActionName::Update => "update",
        ActionName::Upsert => "upsert",
        ActionName::Delete => "delete",
        ActionName::Hash => "hash",
        ActionName::Extract => "extract",
        ActionName::Convert => "convert",
    }
}

/// An action; what is wrong with it has been reported where there is none.
fn action(
    written: &AttributeAction,
    node: &Node,
    templates: &mut Vec<Template>,
    context: &mut Context<'_>,
) -> Option<EditAction> {
    let Some(name) = written.action else {
        if !context.is_excused(node, "action") {
            context
                .report
                .error(node.span, "this says nothing of what is done with the attribute")
                .help("write `action: insert`, `update`, `upsert`, `delete`, `hash`, `extract` or `convert`");
        }
        return None;
    };
    let is_written = |key: &str| match key {
        "value" => written.value.is_some(),
        "from_attribute" => written.from_attribute.is_some(),
        "default_value" => written.default_value.is_some(),
        "pattern" => written.pattern.is_some(),
        _ => written.converted_type.is_some(),
    };
    let others = REST.into_iter().filter(|key| is_written(key) && !taken(name).contains(key));
    for other in others {
        context
            .report
            .error(node.near(&[other]).span, format!("`action: {}` takes no `{other}`", word(name)))
            .help(format!("it takes {}", listed(std::iter::once("key").chain(taken(name).iter().copied()))));
    }
    let by_pattern = matches!(name, ActionName::Delete | ActionName::Hash);
    let key = written.key.clone().filter(|key| !key.is_empty());
    if key.is_none() && !(by_pattern && written.pattern.is_some()) {
        if !context.is_excused(node, "key") {
            let help =
                if by_pattern { "write `key: NAME`, or `pattern: EXPRESSION`" } else { "write `key: NAME`" };
            context.report.error(node.near(&["key"]).span, "the action names no attribute").help(help);
        }
        return None;
    }
    let key = key.unwrap_or_default();
    match name {
        ActionName::Insert | ActionName::Update | ActionName::Upsert => {
            let place = match name {
                ActionName::Insert => WriteWhere::Absent,
                ActionName::Update => WriteWhere::Present,
                _ => WriteWhere::Anywhere,
            };
            let (source, default) = sources(written, node, templates, context)?;
            Some(EditAction::Write { key, place, source, default })
        }
        ActionName::Delete | ActionName::Hash => {
            let pattern = match &written.pattern {
                Some(text) => Some(expression(text, node.near(&["pattern"]), context)?),
                None => None,
            };
            let keys = EditKeys { key: (!key.is_empty()).then_some(key), pattern };
            Some(if name == ActionName::Delete { EditAction::Delete(keys) } else { EditAction::Hash(keys) })
        }
        ActionName::Extract => {
            let Some(text) = &written.pattern else {
                if !context.is_excused(node, "pattern") {
                    context
                        .report
                        .error(node.span, "`action: extract` needs a `pattern`")
                        .help("write one whose groups have the names of attributes: `pattern: \"^(?P<user>[a-z]+)@\"`");
                }
                return None;
            };
            let pattern = expression(text, node.near(&["pattern"]), context)?;
            let mut names = pattern.capture_names().skip(1).peekable();
            if names.peek().is_none() || names.any(|name| name.is_none()) {
                context
                    .report
                    .error(
                        node.near(&["pattern"]).span,
                        "each group of an `extract` has the name of an attribute",
                    )
                    .help("write `(?P<NAME>…)`, and `(?:…)` for what is not to be extracted");
                return None;
            }
            Some(EditAction::Extract { key, pattern })
        }
        ActionName::Convert => match written.converted_type {
            Some(to) => Some(EditAction::Convert { key, to: converted_type(to) }),
            None => {
                if !context.is_excused(node, "converted_type") {
                    context
                        .report
                        .error(node.span, "`action: convert` needs a `converted_type`")
                        .help("write `converted_type: string`, `int` or `double`");
                }
                None
            }
        },
    }
}

fn converted_type(to: TypeName) -> ConvertedType {
    match to {
        TypeName::String => ConvertedType::Text,
        TypeName::Int => ConvertedType::Int,
        TypeName::Double => ConvertedType::Double,
    }
}

/// What an action writes, and what else it does.
fn sources(
    written: &AttributeAction,
    node: &Node,
    templates: &mut Vec<Template>,
    context: &mut Context<'_>,
) -> Option<(Option<ValueSource>, Option<ValueSource>)> {
    let from_attribute = written.from_attribute.clone().filter(|name| !name.is_empty());
    let source = match (&written.value, from_attribute) {
        (Some(_), Some(_)) => {
            context
                .report
                .error(
                    node.near(&["from_attribute"]).span,
                    "an action has a `value` or a `from_attribute`, not both",
                )
                .help("keep one of the two");
            return None;
        }
        (Some(value), None) => Some(self::value(value, node.near(&["value"]), templates, context)?),
        (None, Some(name)) => Some(ValueSource::Attribute(name)),
        (None, None) => None,
    };
    let default = match &written.default_value {
        Some(value) => Some(self::value(value, node.near(&["default_value"]), templates, context)?),
        None => None,
    };
    if source.is_none() && default.is_none() {
        if !REST.iter().any(|key| context.is_excused(node, key)) {
            context
                .report
                .error(node.span, "the action has no value")
                .help("write `value: …`, or `from_attribute: NAME`");
        }
        return None;
    }
    Some((source, default))
}

fn value(
    written: &WrittenValue,
    node: &Node,
    templates: &mut Vec<Template>,
    context: &mut Context<'_>,
) -> Option<ValueSource> {
    match written {
        WrittenValue::One(text) => {
            let template = match Template::parse_around(text, node.literal()) {
                Ok(template) => template,
                Err(error) => {
                    report_template(&error, node, context);
                    return None;
                }
            };
            if template.as_text().is_some() {
                return Some(ValueSource::Value(typed(node)));
            }
            templates.push(template);
            Some(ValueSource::Text(templates.len() - 1))
        }
        WrittenValue::List(texts) => {
            let items: Vec<&Node> = (0..texts.len()).map_while(|index| node.item(index)).collect();
            for (item, text) in items.iter().zip(texts) {
                let is_template = Template::parse_around(text, item.literal())
                    .map_or(true, |template| template.as_text().is_none());
                if is_template {
                    context
                        .report
                        .error(item.span, "a list can't hold a template")
                        .help("write the template as the value alone, which makes a text of it");
                    return None;
                }
            }
            let values: Vec<NewValue> = items.into_iter().map(typed).collect();
            Some(ValueSource::Value(NewValue::list(&values)))
        }
    }
}

/// The value of a scalar, of the type that YAML gives it. As in a Collector, that of a variable alone is as if it was written
/// there.
fn typed(node: &Node) -> NewValue {
    let Value::Scalar(scalar) = &node.value else { return NewValue::text("") };
    let text = &scalar.text;
    if !is_typed(scalar) {
        return NewValue::text(text);
    }
    match text.as_str() {
        "true" | "True" | "TRUE" => return NewValue::bool(true),
        "false" | "False" | "FALSE" => return NewValue::bool(false),
        _ => {}
    }
    if let Some(number) = model::integer(text).and_then(|number| i64::try_from(number).ok()) {
        return NewValue::int(number);
    }
    double(text).map_or_else(|| NewValue::text(text), NewValue::double)
}

/// Whether a scalar may be something else than a text.
fn is_typed(scalar: &Scalar) -> bool {
    let is_substituted = scalar.literal.first().is_some_and(|range| *range == (0..scalar.text.len()));
    is_substituted || (scalar.plain && scalar.literal.is_empty())
}

/// A number of YAML that need not be whole.
fn double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some(f64::NAN),
        _ => {}
    }
    let is_number = unsigned.starts_with(|char: char| char.is_ascii_digit() || char == '.')
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-_".contains(&byte));
    is_number.then(|| text.replace('_', "").parse().ok()).flatten()
}

/// What is asked of records.
fn selection(written: &MatchProperties, node: &Node, context: &mut Context<'_>) -> Selection {
    let MatchProperties {
        match_type,
        services,
        span_names,
        span_kinds,
        log_bodies,
        log_severity_texts,
        log_severity_number,
        metric_names,
        attributes,
        resources,
        libraries,
    } = written;
    let Some(match_type) = *match_type else {
        if !context.is_excused(node, "match_type") {
            context
                .report
                .error(node.span, "this does not say how it is compared")
                .help("write `match_type: strict` or `match_type: regexp`");
        }
        return Selection::default();
    };
    if asked(written).next().is_none() && !context.report.has_error_within(node.span) {
        context
            .report
            .error(node.span, "nothing is asked here")
            .help("write what must hold, such as `attributes: [{ key: NAME }]`, or leave it out");
    }
    if match_type == MatchType::Strict {
        let list = node.near(&["span_kinds"]);
        for (index, kind) in span_kinds.iter().enumerate() {
            if !SPAN_KINDS[1..].contains(&kind.as_str()) {
                let item = list.item(index).unwrap_or(list);
                let written = context.written(item);
                context
                    .report
                    .error(item.span, format!("{written} is not a kind of span"))
                    .help(format!("the kinds are {}", listed(SPAN_KINDS[1..].iter().copied())));
            }
        }
    }
    let mut texts = |texts: &[String], key: &str| {
        let list = node.near(&[key]);
        let items = texts.iter().enumerate().map(|(index, text)| (text, list.item(index).unwrap_or(list)));
        (!texts.is_empty()).then(|| text_test(match_type, items, context))
    };
    Selection {
        services: texts(services, "services"),
        span_names: texts(span_names, "span_names"),
        span_kinds: texts(span_kinds, "span_kinds"),
        log_bodies: texts(log_bodies, "log_bodies"),
        log_severity_texts: texts(log_severity_texts, "log_severity_texts"),
        metric_names: texts(metric_names, "metric_names"),
        log_severity_number: log_severity_number
            .as_ref()
            .map(|range| SeverityTest { min: range.min, match_undefined: range.match_undefined }),
        attributes: attribute_tests(match_type, attributes, node.near(&["attributes"]), context),
        resources: attribute_tests(match_type, resources, node.near(&["resources"]), context),
        libraries: libraries
            .iter()
            .enumerate()
            .map(|(index, library)| {
                let list = node.near(&["libraries"]);
                let node = list.item(index).unwrap_or(list);
                let mut test = |text: &String, key: &str| {
                    text_test(match_type, std::iter::once((text, node.near(&[key]))), context)
                };
                LibraryTest {
                    name: test(&library.name, "name"),
                    version: library.version.as_ref().map(|version| test(version, "version")),
                }
            })
            .collect(),
    }
}

fn text_test<'t>(
    match_type: MatchType,
    texts: impl Iterator<Item = (&'t String, &'t Node)>,
    context: &mut Context<'_>,
) -> TextTest {
    match match_type {
        MatchType::Strict => TextTest::Strict(texts.map(|(text, _)| text.clone()).collect()),
        MatchType::Regexp => {
            let patterns = texts.filter_map(|(text, node)| expression(text, node, context));
            TextTest::Regexp(patterns.collect())
        }
    }
}

/// A regular expression of the Collector's.
fn expression(text: &str, node: &Node, context: &mut Context<'_>) -> Option<Regex> {
    pattern(&re2::translated(text), node, context)
}

fn attribute_tests(
    match_type: MatchType,
    written: &[AttributeMatch],
    list: &Node,
    context: &mut Context<'_>,
) -> Vec<AttributeTest> {
    let mut tests = Vec::new();
    for (index, AttributeMatch { key, value }) in written.iter().enumerate() {
        let node = list.item(index).unwrap_or(list);
        let Some(key) = key.clone().filter(|key| !key.is_empty()) else {
            if !context.is_excused(node, "key") {
                context.report.error(node.span, "this names no attribute").help("write `key: NAME`");
            }
            continue;
        };
        let at = node.near(&["value"]);
        let value = match (value, match_type) {
            (None, _) => None,
            (Some(_), MatchType::Strict) => Some(ValueTest::Strict(typed(at))),
            (Some(text), MatchType::Regexp) => match expression(text, at, context) {
                Some(pattern) => Some(ValueTest::Regexp(pattern)),
                None => continue,
            },
        };
        tests.push(AttributeTest { key, value });
    }
    tests
}

/// What is asked, by its keys, and the signals of whose records it can be asked.
fn asked(written: &MatchProperties) -> impl Iterator<Item = (&'static str, &'static [Signal])> {
    const SPANS: &[Signal] = &[Signal::Traces];
    const LOGS: &[Signal] = &[Signal::Logs];
    const METRICS: &[Signal] = &[Signal::Metrics];
    const BOTH: &[Signal] = &[Signal::Traces, Signal::Logs];
    [
        ("services", !written.services.is_empty(), SPANS),
        ("span_names", !written.span_names.is_empty(), SPANS),
        ("span_kinds", !written.span_kinds.is_empty(), SPANS),
        ("log_bodies", !written.log_bodies.is_empty(), LOGS),
        ("log_severity_texts", !written.log_severity_texts.is_empty(), LOGS),
        ("log_severity_number", written.log_severity_number.is_some(), LOGS),
        ("metric_names", !written.metric_names.is_empty(), METRICS),
        ("attributes", !written.attributes.is_empty(), BOTH),
        ("resources", !written.resources.is_empty(), BOTH),
        ("libraries", !written.libraries.is_empty(), BOTH),
    ]
    .into_iter()
    .filter_map(|(key, is_written, signals)| is_written.then_some((key, signals)))
}

/// Reports what can't be asked of the records of a route's signals: there it would not hold back what it is to hold back.
fn check_signals(
    properties: &MatchProperties,
    name: &str,
    signals: [bool; 3],
    item: &Node,
    context: &mut Context<'_>,
) {
    for (key, of) in asked(properties) {
        let Some(signal) =
            Signal::ALL.into_iter().find(|signal| signals[signal.index()] && !of.contains(signal))
        else {
            continue;
        };
        let of: Vec<&str> = of.iter().map(|signal| signal.name()).collect();
        context
            .report
            .error(item.span, format!("{} asks for `{key}`, which {signal} don't have", named(name)))
            .help(format!(
                "write `signals: [{}]` in this route, and another route for the rest",
                of.join(", ")
            ));
        return;
    }
}
