//! `routes`.

use std::collections::{BTreeMap, HashMap, HashSet};

use regex::Regex;

use super::Context;
use super::url::report_template;
use crate::config::model::{
    Exporter, Key, KeyPart, MatchRule, MatchValue, Named, Negated, Receiver, Route, Signal as Written,
    TenantGlobs,
};
use crate::config::node::Node;
use crate::config::problem::{Span, enumerated, nearest, quoted};
use crate::config::secrets::{REDACTED, is_name, named};
use crate::otlp::Signal;
use crate::route::{Glob, KeySource, KeySpec, Matcher, RouteSpec, Template, TemplateValue};

pub(super) fn compile(
    routes: &[Route],
    exporters: &Named<Exporter>,
    receivers: &Named<Receiver>,
    root: &Node,
    context: &mut Context<'_>,
) -> Vec<RouteSpec> {
    let all = root.near(&["routes"]);
    if routes.is_empty() && !context.is_excused(root, "routes") {
        let first = exporters.0.first().map(|(name, _)| name.as_str());
        let example = first.filter(|name| is_name(name)).unwrap_or("file/local");
        context
            .section_error(root, "routes", "there is no route, so nothing goes anywhere")
            .help(format!("write `routes: [{{ exporters: [{example}] }}]` to send everything there"));
    }
    let positions: Positions<'_> =
        exporters.0.iter().enumerate().map(|(position, (name, _))| (name.as_str(), position)).collect();
    let written = root.near(&["exporters"]);
    let mut earlier = Earlier::default();
    let mut lines: HashMap<String, usize> = HashMap::new();
    for (index, route) in routes.iter().enumerate() {
        let node = all.item(index).unwrap_or(all);
        let spec = one(index, route, (exporters, receivers), &positions, node, written, context);
        if let Some(first) = lines.get(&spec.name) {
            let line = context.line_of(*first);
            context
                .report
                .error(node.near(&["name"]).span, format!("duplicate route name {}", named(&spec.name)))
                .help(format!("it is already the name of the route on line {line}"));
        } else {
            lines.insert(spec.name.clone(), node.span.start);
        }
        unreachable(&spec, node, &earlier, context);
        earlier.push(spec, node);
    }
    unused(exporters, &earlier.specs, root, context);
    earlier.specs.into_iter().map(|(spec, _)| spec).collect()
}

/// The positions of exporters by name.
type Positions<'a> = HashMap<&'a str, usize>;

/// The routes so far, so that what may leave nothing for a later one is found without asking all: there may be a
/// hundred thousand, each for one value of an attribute.
#[derive(Default)]
struct Earlier<'a> {
    specs: Vec<(RouteSpec, &'a Node)>,
    /// Those that match one value of an attribute alone, by an attribute and its value.
    literal: HashMap<(String, String), Vec<usize>>,
    /// All others.
    general: Vec<usize>,
}

impl<'a> Earlier<'a> {
    /// Beyond so many routes without a literal, further ones are not asked. The check is a courtesy, and its cost is
    /// the square of this.
    const MOST_GENERAL: usize = 1000;

    fn push(&mut self, spec: RouteSpec, node: &'a Node) {
        let position = self.specs.len();
        // All its conditions must be implied, so any one finds it; the rarest finds the fewest others beside it.
        let literals = spec.matches.iter().filter_map(|(attribute, matcher)| match matcher {
            Matcher::Glob(Glob::Literal(value)) => Some((attribute.clone(), value.clone())),
            _ => None,
        });
        let literal = literals.min_by_key(|literal| self.literal.get(literal).map_or(0, Vec::len));
        match literal {
            Some(literal) => self.literal.entry(literal).or_default().push(position),
            None if self.general.len() < Self::MOST_GENERAL => self.general.push(position),
            None => {}
        }
        self.specs.push((spec, node));
    }

    /// Those that may take all that `later` matches, in their order.
    fn candidates(&self, later: &RouteSpec) -> Vec<usize> {
        let mut found = self.general.clone();
        for (attribute, matcher) in &later.matches {
            // What implies one value is that value, or a list of nothing else.
            let value = match matcher {
                Matcher::Glob(Glob::Literal(value)) => value,
                Matcher::AnyOf(globs) => match globs.as_slice() {
                    [Glob::Literal(value), ..] => value,
                    _ => continue,
                },
                _ => continue,
            };
            found.extend(self.literal.get(&(attribute.clone(), value.clone())).into_iter().flatten());
        }
        found.sort_unstable();
        found
    }
}

fn one(
    index: usize,
    route: &Route,
    (exporters, known): (&Named<Exporter>, &Named<Receiver>),
    positions: &Positions<'_>,
    node: &Node,
    written: &Node,
    context: &mut Context<'_>,
) -> RouteSpec {
    let name = route.name.clone().unwrap_or_else(|| format!("route-{}", index + 1));
    if name.is_empty() {
        context.report.error(node.near(&["name"]).span, "a route's name can't be empty");
    }
    let signals = signals(route, node, context);
    let matching = node.near(&["match"]);
    let mut matches = Vec::new();
    for (attribute, value) in &route.matches {
        let node = matching.near(&[attribute]);
        if let Some(entry) = matching.entry(attribute) {
            let written = if context.report.shows(entry.key_span) {
                quoted(attribute)
            } else {
                format!("`{REDACTED}`")
            };
            let several = "write each attribute with its own value: `{ tenant.id: acme, region: eu }`";
            warn_of_unlikely_name(attribute, &written, entry.key_span, several, context);
        }
        if let Some(matcher) = matcher(value, node, context) {
            matches.push((attribute.clone(), matcher));
        }
    }
    RouteSpec {
        name,
        matches,
        tenants: tenants(route, node, context),
        receivers: receivers(route, known, node, context),
        signals,
        key: key(route.key.as_ref(), node.near(&["key"]), context),
        exporters: targets(route, exporters, positions, signals, node, written, context),
        continues: route.continues,
        max_streams: route.max_streams,
    }
}

/// The ids that the route is for.
fn tenants(route: &Route, node: &Node, context: &mut Context<'_>) -> Option<Vec<Glob>> {
    let globs = match route.tenants.as_ref()? {
        TenantGlobs::One(glob) => std::slice::from_ref(glob),
        TenantGlobs::AnyOf(globs) => globs,
    };
    let node = node.near(&["tenants"]);
    if globs.is_empty() && !context.report.has_error_within(node.span) {
        context
            .report
            .error(node.span, "a route without tenants takes nothing")
            .help("write `\"*\"` for those of the table, or leave out `tenants` to take the entries of nobody as well");
    }
    Some(globs.iter().map(|glob| Glob::new(glob)).collect())
}

/// The receivers that the route is for, which are to be there.
fn receivers(
    route: &Route,
    known: &Named<Receiver>,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<Vec<String>> {
    let names = route.receivers.as_ref()?;
    let list = node.near(&["receivers"]);
    if names.is_empty() && !context.report.has_error_within(list.span) {
        context
            .report
            .error(list.span, "a route without receivers takes nothing")
            .help("leave out `receivers` to take what comes by any of them");
    }
    for (index, name) in names.iter().enumerate() {
        if known.0.iter().any(|(known, _)| known == name) {
            continue;
        }
        let item = list.item(index).unwrap_or(list);
        let near = if item.is_substituted() {
            None
        } else {
            nearest(name, known.0.iter().map(|(name, _)| name.as_str()))
        };
        let shown = context.written(item);
        let names: Vec<String> = known.0.iter().map(|(name, _)| named(name)).collect();
        context.report.error(item.span, format!("there is no receiver {shown}")).help(near.map_or_else(
            || format!("the receivers are {}", enumerated(&names)),
            |near| format!("did you mean {}?", named(near)),
        ));
    }
    Some(names.clone())
}

fn signals(route: &Route, node: &Node, context: &mut Context<'_>) -> [bool; 3] {
    let Some(written) = &route.signals else { return [true; 3] };
    let list = node.near(&["signals"]);
    if written.is_empty() && !context.report.has_error_within(list.span) {
        context
            .report
            .error(list.span, "a route without signals takes nothing")
            .help("leave out `signals` to take all");
    }
    let mut signals = [false; 3];
    for signal in written {
        let signal = match signal {
            Written::Traces => Signal::Traces,
            Written::Metrics => Signal::Metrics,
            Written::Logs => Signal::Logs,
        };
        signals[signal.index()] = true;
    }
    signals
}

/// The positions of the exporters that the route names; `written` is the section of exporters.
fn targets(
    route: &Route,
    exporters: &Named<Exporter>,
    positions: &Positions<'_>,
    signals: [bool; 3],
    node: &Node,
    written: &Node,
    context: &mut Context<'_>,
) -> Vec<usize> {
    let list = node.near(&["exporters"]);
    if route.exporters.is_empty() && !context.is_excused(node, "exporters") {
        context
            .report
            .error(list.span, "the route names no exporter")
            .help("write `exporters: [NAME]`, with the name of an exporter above");
    }
    let mut targets = Vec::new();
    for (index, name) in route.exporters.iter().enumerate() {
        let item = list.item(index).unwrap_or(list);
        let Some(&position) = positions.get(name.as_str()) else {
            // It is there, and what is wrong with it has been said.
            if written.entry(name).is_some_and(|entry| context.report.has_error_within(entry.key_span)) {
                continue;
            }
            let near = if item.is_substituted() { None } else { closest(name, exporters) };
            let shown = context.written(item);
            let problem = context.report.error(item.span, format!("there is no exporter {shown}"));
            let names = || exporters.0.iter().map(|(name, _)| named(name)).collect::<Vec<String>>();
            problem.help(near.map_or_else(
                || format!("the exporters are {}", enumerated(&names())),
                |near| format!("did you mean {}?", named(near)),
            ));
            continue;
        };
        if targets.contains(&position) {
            context
                .report
                .error(item.span, format!("{} is named twice", named(name)))
                .help("keep one of the two");
            continue;
        }
        check_signals_of_preset((name, &exporters.0[position].1), signals, item, context);
        if let Exporter::OtlpHttp(http) = &exporters.0[position].1
            && http.endpoint.is_none()
        {
            let own = [&http.traces_endpoint, &http.metrics_endpoint, &http.logs_endpoint];
            let some = own.iter().any(|own| own.is_some());
            let missing = Signal::ALL
                .into_iter()
                .find(|signal| signals[signal.index()] && own[signal.index()].is_none());
            if let (true, Some(signal)) = (some, missing) {
                context
                    .report
                    .error(
                        item.span,
                        format!("{} has no URL for {signal}, which this route sends to it", named(name)),
                    )
                    .help(format!("give it an `endpoint`, or the route `signals` without {signal}"));
            }
        }
        targets.push(position);
    }
    targets
}

/// Reports signals that an exporter gets by the route at `node`, and that the upstream of its preset does not take.
fn check_signals_of_preset(
    (name, exporter): (&str, &Exporter),
    signals: [bool; 3],
    node: &Node,
    context: &mut Context<'_>,
) {
    let Some(preset) = exporter.preset() else { return };
    let own = match exporter {
        Exporter::OtlpHttp(http) => {
            [&http.traces_endpoint, &http.metrics_endpoint, &http.logs_endpoint].map(Option::is_some)
        }
        Exporter::OtlpGrpc(_) | Exporter::File(_) | Exporter::Debug(_) => [false; 3],
    };
    let is_missing =
        |signal: &Signal| signals[signal.index()] && !own[signal.index()] && !preset.signals.contains(signal);
    let missing: Vec<String> =
        Signal::ALL.into_iter().filter(is_missing).map(|signal| signal.to_string()).collect();
    if missing.is_empty() {
        return;
    }
    let taken: Vec<String> = preset.signals.iter().map(ToString::to_string).collect();
    context
        .report
        .error(
            node.span,
            format!(
                "{} takes {} alone, and this route sends it {} as well: {} has `preset: {}`",
                preset.upstream,
                enumerated(&taken),
                enumerated(&missing),
                named(name),
                preset.name
            ),
        )
        .help(format!("write `signals: [{}]` in the route", taken.join(", ")));
}

/// An exporter that may be meant: the same name under the other spelling of its type, or one that is nearly the same.
fn closest<'a>(name: &str, exporters: &'a Named<Exporter>) -> Option<&'a str> {
    let plain = |name: &str| name.replace('_', "").replace("otlpgrpc", "otlp");
    let names = || exporters.0.iter().map(|(name, _)| name.as_str());
    let rest = |name: &str| name.split_once('/').map(|(_, rest)| rest.to_owned());
    names()
        .find(|other| plain(other) == plain(name))
        .or_else(|| nearest(name, names()))
        .or_else(|| names().find(|other| rest(other).is_some_and(|rest| rest == name)))
}

fn matcher(value: &MatchValue, node: &Node, context: &mut Context<'_>) -> Option<Matcher> {
    match value {
        MatchValue::Glob(text) => Some(Matcher::Glob(Glob::new(text))),
        MatchValue::AnyOf(texts) => any_of(texts, node, context),
        MatchValue::Rule(rule) => self::rule(rule, node, context),
    }
}

fn rule(rule: &MatchRule, node: &Node, context: &mut Context<'_>) -> Option<Matcher> {
    match (&rule.regex, &rule.not, rule.exists) {
        (Some(text), None, None) => regex(text, node.near(&["regex"]), context),
        (None, Some(not), None) => {
            let inner = node.near(&["not"]);
            let inner = match not {
                Negated::Glob(text) => Some(Matcher::Glob(Glob::new(text))),
                Negated::AnyOf(texts) => any_of(texts, inner, context),
                Negated::Rule(rule) => {
                    if rule.regex.is_none() {
                        no_rule(inner, context);
                    }
                    rule.regex.as_ref().and_then(|text| regex(text, inner.near(&["regex"]), context))
                }
            };
            inner.map(|inner| Matcher::Not(Box::new(inner)))
        }
        (None, None, Some(exists)) => Some(Matcher::Exists(exists)),
        (None, None, None) => {
            no_rule(node, context);
            None
        }
        _ => {
            context
                .report
                .error(node.span, "only one of `regex`, `not` and `exists` can be written for an attribute")
                .help("keep one; a `regex` only matches where the attribute exists anyway");
            None
        }
    }
}

fn no_rule(node: &Node, context: &mut Context<'_>) {
    if !context.report.has_error_within(node.span) {
        context
            .report
            .error(node.span, "this says nothing about the attribute")
            .help("write `\"*\"` for any value, a glob, a list of globs, or `{ regex: … }`");
    }
}

fn any_of(texts: &[String], node: &Node, context: &mut Context<'_>) -> Option<Matcher> {
    if texts.is_empty() {
        no_rule(node, context);
        return None;
    }
    Some(Matcher::AnyOf(texts.iter().map(|text| Glob::new(text)).collect()))
}

fn regex(text: &str, node: &Node, context: &mut Context<'_>) -> Option<Matcher> {
    match Regex::new(text) {
        Ok(regex) => Some(Matcher::Regex(regex)),
        Err(error) => {
            let written = context.written(node);
            let problem = context.report.error(node.span, format!("{written} is not a regular expression"));
            // The last line of the parser's message says why; the ones before repeat the pattern.
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            if !node.is_substituted() {
                problem.help(reason);
            }
            None
        }
    }
}

fn key(key: Option<&Key>, node: &Node, context: &mut Context<'_>) -> KeySpec {
    match key {
        None => KeySpec::Route,
        Some(Key::One(text)) => one_of(text, node, context).map_or(KeySpec::Route, KeySpec::One),
        Some(Key::FirstOf(names)) => KeySpec::One(first_of(names, node, context)),
        Some(Key::Parts(parts)) => self::parts(parts, node, context),
    }
}

/// Parts of a key at most. A key of so many is longer than any that somebody could read.
const MOST_PARTS: usize = 8;

/// The longest name of a part, in bytes.
const LONGEST_PART_NAME: usize = 64;

fn parts(parts: &BTreeMap<String, KeyPart>, node: &Node, context: &mut Context<'_>) -> KeySpec {
    if (parts.is_empty() || parts.len() > MOST_PARTS) && !context.report.has_error_within(node.span) {
        context
            .report
            .error(node.span, format!("a key has from 1 to {MOST_PARTS} parts"))
            .help("name them, such as `{ tenant: tenant.id, service: service.name }`, or leave out `key` for one stream per route");
    }
    let mut compiled = Vec::new();
    // In the order of the file, which is that in which they are shown.
    for entry in node.entries() {
        let (name, node) = (&entry.key, &entry.value);
        let is_word = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
            && name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
        if !is_word || name.len() > LONGEST_PART_NAME {
            context
                .report
                .error(
                    entry.key_span,
                    "the name of a part is made of letters, digits and `_`, and begins with a letter",
                )
                .help("templates read the part by it: `{{ key.service }}`");
            continue;
        }
        let source = match parts.get(name) {
            Some(KeyPart::One(text)) => one_of(text, node, context),
            Some(KeyPart::FirstOf(names)) => Some(first_of(names, node, context)),
            None => None,
        };
        compiled.extend(source.map(|source| (name.clone(), source)));
    }
    KeySpec::Parts(compiled)
}

/// An attribute or a template; `None` if it is neither, which is reported.
fn one_of(text: &String, node: &Node, context: &mut Context<'_>) -> Option<KeySource> {
    match Template::parse_around(text, node.literal()) {
        Ok(template) if template.as_text().is_some() => {
            if !node.is_substituted() {
                let written = context.written(node);
                warn_of_unlikely_name(text, &written, node.span, &list_of(text), context);
            }
            Some(attributes(std::slice::from_ref(text), node, context))
        }
        Ok(template) => {
            for read in template.reads() {
                let problem = match read {
                    TemplateValue::Key | TemplateValue::KeyPart(_) => {
                        "`{{ key }}` can't stand in the key that it is made of"
                    }
                    TemplateValue::Tenant(_) if read.is_of_row() => {
                        "of a tenant's row, a key can only have the `id`"
                    }
                    TemplateValue::Signal | TemplateValue::Resource(_) | TemplateValue::Tenant(_) => continue,
                };
                context
                    .report
                    .error(node.span, problem)
                    .help("name an attribute: `{{ resource[\"service.name\"] }}`, or `{{ tenant.id }}`");
                break;
            }
            Some(KeySource::Template(template))
        }
        Err(error) => {
            report_template(&error, node, context);
            None
        }
    }
}

fn first_of(names: &[String], node: &Node, context: &mut Context<'_>) -> KeySource {
    for (index, name) in names.iter().enumerate() {
        let item = node.item(index).unwrap_or(node);
        if !item.is_substituted() {
            let written = context.written(item);
            let several = "write each attribute as an item of its own";
            warn_of_unlikely_name(name, &written, item.span, several, context);
        }
    }
    attributes(names, node, context)
}

fn attributes(names: &[String], node: &Node, context: &mut Context<'_>) -> KeySource {
    let is_template = |(index, name): (usize, &String)| {
        let literal = node.item(index).unwrap_or(node).literal();
        Template::parse_around(name, literal).map_or(true, |template| template.as_text().is_none())
    };
    if names.iter().enumerate().any(is_template) {
        context
            .report
            .error(node.span, "a list of attributes can't hold a template")
            .help("write one template, or attributes alone");
    }
    if (names.is_empty() || names.iter().any(String::is_empty)) && !context.report.has_error_within(node.span)
    {
        context
            .report
            .error(node.span, "`key` names no attribute")
            .help("name a resource attribute, or leave out `key` for one stream per route");
    }
    KeySource::Attributes(names.to_vec())
}

/// Warns of what no attribute is likely to be called: several names in one text, or the way to an attribute as OTTL writes
/// it. `several` says what to write instead of the former.
fn warn_of_unlikely_name(name: &str, written: &str, span: Span, several: &str, context: &mut Context<'_>) {
    if Template::parse(name).is_ok_and(|template| template.as_text().is_none()) {
        return;
    }
    let help = match (attribute_in_ottl(name), names_in(name).as_slice()) {
        (Some(attribute), _) if is_name(attribute) => {
            format!("name the attribute alone: {}", named(attribute))
        }
        (Some(_), _) => "name the attribute alone, such as `tenant.id`".to_owned(),
        (None, _) if !name.contains(PARTING) => return,
        (None, [only]) if is_name(only) => format!("did you mean {}?", named(only)),
        (None, _) => several.to_owned(),
    };
    context.report.warn(span, format!("{written} is the name of one attribute here")).help(help);
}

/// What parts names, and is hardly a part of one.
const PARTING: fn(char) -> bool = |char| char.is_whitespace() || ",;[](){}\"'".contains(char);

/// The names that a text holds.
fn names_in(text: &str) -> Vec<&str> {
    text.split(PARTING).filter(|name| !name.is_empty()).collect()
}

/// The list of attributes that was meant by a text with commas.
fn list_of(text: &str) -> String {
    let names = names_in(text);
    // Words without a comma between them may be anything.
    if text.contains(',') && names.iter().copied().all(is_name) {
        format!("did you mean a list: {}?", quoted(&format!("[{}]", names.join(", "))))
    } else {
        "write one attribute, or a list such as `[tenant.id, service.name]`".to_owned()
    }
}

/// The attribute in `resource.attributes["name"]` and the like.
fn attribute_in_ottl(text: &str) -> Option<&str> {
    let rest = ["resource.attributes", "attributes", "resource"]
        .into_iter()
        .find_map(|way| text.strip_prefix(way).filter(|rest| rest.starts_with(['.', '['])))?;
    let attribute = match rest.strip_prefix('.') {
        Some(attribute) => attribute,
        None => rest.strip_prefix('[')?.strip_suffix(']')?.trim_matches(['"', '\'', ' ']),
    };
    (!attribute.is_empty() && !attribute.contains(PARTING)).then_some(attribute)
}

/// Reports a route that an earlier one leaves nothing for.
fn unreachable(spec: &RouteSpec, node: &Node, earlier: &Earlier<'_>, context: &mut Context<'_>) {
    // A matcher that could not be compiled is not in the list, which then would claim too much.
    if context.report.has_error_within(node.span) {
        return;
    }
    let shadow = earlier.candidates(spec).into_iter().map(|position| &earlier.specs[position]).find(
        |(other, other_node)| takes_all_of(other, spec) && !context.report.has_error_within(other_node.span),
    );
    if let Some((other, other_node)) = shadow {
        let line = context.line_of(other_node.span.start);
        let message = format!(
            "the route {} is never reached: {} (line {line}) takes all that it matches",
            named(&spec.name),
            named(&other.name)
        );
        let help = "move it before that one, or write `continue: true` there";
        context.report.error(node.span, message).help(help);
    }
}

/// Whether nothing that `later` matches gets past `earlier`.
fn takes_all_of(earlier: &RouteSpec, later: &RouteSpec) -> bool {
    let tenants = earlier.tenants.as_ref().is_none_or(|earlier| {
        let earlier = Matcher::AnyOf(earlier.clone());
        later.tenants.as_ref().is_some_and(|later| Matcher::AnyOf(later.clone()).implies(&earlier))
    });
    let receivers = earlier.receivers.as_ref().is_none_or(|earlier| {
        later.receivers.as_ref().is_some_and(|later| later.iter().all(|name| earlier.contains(name)))
    });
    let signals = earlier.signals.iter().zip(later.signals).all(|(earlier, later)| *earlier || !later);
    let matches = earlier.matches.iter().all(|(attribute, matcher)| {
        later.matches.iter().any(|(other, condition)| other == attribute && condition.implies(matcher))
    });
    // Where the key may be absent, what the route matches may still go on to a later one.
    let required = |name: &String| {
        earlier.matches.iter().any(|(attribute, matcher)| attribute == name && matcher.needs_presence())
    };
    let has_key = earlier.key.sources().all(|source| match source {
        KeySource::Attributes(names) => names.iter().any(required),
        KeySource::Template(template) => template.reads().all(|read| match read {
            TemplateValue::Resource(name) => required(name),
            TemplateValue::Key | TemplateValue::KeyPart(_) => false,
            TemplateValue::Tenant(_) => earlier.tenants.is_some(),
            TemplateValue::Signal => true,
        }),
    });
    !earlier.continues && tenants && receivers && signals && matches && has_key
}

/// Warns of exporters that get nothing.
fn unused(exporters: &Named<Exporter>, specs: &[(RouteSpec, &Node)], root: &Node, context: &mut Context<'_>) {
    let all = root.near(&["exporters"]);
    // Rows of tenants may name any exporter.
    let rows = root.get("tenants").is_some();
    if rows || context.report.has_error_within(root.near(&["routes"]).span) || specs.is_empty() {
        return;
    }
    let used: HashSet<usize> = specs.iter().flat_map(|(spec, _)| spec.exporters.iter().copied()).collect();
    for (index, (name, _)) in exporters.0.iter().enumerate() {
        if !used.contains(&index) {
            let span = all.entry(name).map_or(all.span, |entry| entry.key_span);
            context
                .report
                .warn(span, format!("no route sends to {}", named(name)))
                .help("name it in a route's `exporters`, or remove it");
        }
    }
}
