//! `include` and `exclude` of a processor.

use super::{expression, typed};
use crate::config::compile::Context;
use crate::config::model::{AttributeMatch, MatchProperties, MatchType};
use crate::config::node::Node;
use crate::config::quoting::{listed, named};
use crate::otlp::{
    AttributeTest, LibraryTest, SPAN_KINDS, Selection, SeverityTest, Signal, TextTest, ValueTest,
};

/// Compiles the tests of records.
pub(super) fn selection(written: &MatchProperties, node: &Node, context: &mut Context<'_>) -> Selection {
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
                let subject = context.subject(item);
                context
                    .report
                    .error(item.span, format!("{subject} is not a kind of span"))
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

/// The keys of each test, and the signals whose records it can test.
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

/// Reports tests that can't be made of the records of a route's signals: they would not hold back what they are meant to.
pub(super) fn check_signals(
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
            .error(item.span, format!("{} asks for `{key}`, which can't be asked of {signal}", named(name)))
            .help(format!(
                "write `signals: [{}]` in this route, and another route for the rest",
                of.join(", ")
            ));
        return;
    }
}
