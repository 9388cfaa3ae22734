//! `routes`.

mod shared_streams;

use std::collections::{BTreeMap, HashMap, HashSet};

use http::HeaderName;

use super::Context;
use super::processors::Processors;
use super::url::report_template;
use crate::config::model::{
    AttributeNames, ExactBooleans, ExactNumbers, ExactTexts, ExactValues, ExporterSection, KeyPartSection,
    KeySection, MatchRule, MatchValue, Named, Negated, NegatedRule, Receiver, RecordConditions, RecordSource,
    RequestConditions, RouteSection, SignalWord, TenantGlobs,
};
use crate::config::node::{Node, NodeEntry, Scalar, ScalarOrigin};
use crate::config::quoting::{enumerated, is_name, named, nearest, quoted};
use crate::config::span::Span;
use crate::otlp::Signal;
use crate::route::{ExactValue, Glob, KeySource, KeySpec, Matcher, RouteSpec, Template, TemplateValue};

use shared_streams::ContinuingRoutes;

pub(super) fn compile(
    routes: &[RouteSection],
    exporters: &Named<ExporterSection>,
    receivers: &Named<Receiver>,
    processors: &Processors<'_>,
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
    let positions: ExporterPositions<'_> =
        exporters.0.iter().enumerate().map(|(position, (name, _))| (name.as_str(), position)).collect();
    let written = root.near(&["exporters"]);
    let mut earlier = Earlier::default();
    let mut continuing = ContinuingRoutes::default();
    let mut lines: HashMap<String, usize> = HashMap::new();
    for (index, route) in routes.iter().enumerate() {
        let node = all.item(index).unwrap_or(all);
        let spec = one(index, route, (exporters, receivers, processors), &positions, node, written, context);
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
        continuing.check(&spec, node, &earlier.specs, exporters, context);
        continuing.push(index, &spec);
        earlier.push(spec, node);
    }
    unused(exporters, &earlier.specs, root, context);
    earlier.specs.into_iter().map(|(spec, _)| spec).collect()
}

/// The positions of exporters by name.
type ExporterPositions<'a> = HashMap<&'a str, usize>;

/// The routes so far, indexed so that those that may leave nothing for a later route are found without asking all: there may be a
/// hundred thousand, each for one value of an attribute.
#[derive(Default)]
struct Earlier<'a> {
    specs: Vec<(RouteSpec, &'a Node)>,
    /// The routes that match one value of an attribute alone, by the attribute's owner, its name and the value.
    literal: HashMap<(Subject, String, String), Vec<usize>>,
    /// All other routes.
    general: Vec<usize>,
}

impl<'a> Earlier<'a> {
    /// Beyond so many routes without a literal, further ones are not asked. The check is a courtesy, and its cost is
    /// the square of this.
    const MOST_GENERAL: usize = 1000;

    fn push(&mut self, spec: RouteSpec, node: &'a Node) {
        let position = self.specs.len();
        // All its conditions must be implied, so any one finds it; the rarest finds the fewest others beside it.
        let literals = conditions(&spec).filter_map(|(subject, attribute, matcher)| {
            let is_one = match matcher {
                Matcher::Glob(_) => true,
                Matcher::Equals(values) => values.len() == 1,
                _ => false,
            };
            first_literal(matcher).filter(|_| is_one).map(|value| (subject, attribute.to_owned(), value))
        });
        let literal = literals.min_by_key(|literal| self.literal.get(literal).map_or(0, Vec::len));
        match literal {
            Some(literal) => self.literal.entry(literal).or_default().push(position),
            None if self.general.len() < Self::MOST_GENERAL => self.general.push(position),
            None => {}
        }
        self.specs.push((spec, node));
    }

    /// The routes that may take all that `later` matches, in their order.
    fn candidates(&self, later: &RouteSpec) -> Vec<usize> {
        let mut found = self.general.clone();
        for (subject, attribute, matcher) in conditions(later) {
            // What implies one value is that value, or a list of nothing else.
            let Some(value) = first_literal(matcher) else { continue };
            let literal = (subject, attribute.to_owned(), value);
            found.extend(self.literal.get(&literal).into_iter().flatten());
        }
        found.sort_unstable();
        found
    }
}

/// The value for which a condition holds, or the first of several such values, as text.
fn first_literal(matcher: &Matcher) -> Option<String> {
    let glob = match matcher {
        Matcher::Glob(glob) => glob,
        Matcher::AnyOf(globs) => globs.first()?,
        Matcher::Equals(values) => {
            return values.first().map(|value| match value {
                ExactValue::Text(text) => text.clone(),
                ExactValue::Number(number) => number.to_string(),
                ExactValue::Boolean(flag) => flag.to_string(),
            });
        }
        _ => return None,
    };
    if let Glob::Literal(text) = glob { Some(text.clone()) } else { None }
}

/// The owner of the attribute that a condition is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Resource,
    Record,
    RecordAlone,
    Request,
}

/// The conditions of a route.
fn conditions(spec: &RouteSpec) -> impl Iterator<Item = (Subject, &str, &Matcher)> {
    let of_resource = spec.matches.iter().map(|(name, matcher)| (Subject::Resource, name.as_str(), matcher));
    let of_records =
        spec.record_matches.iter().map(|(name, matcher)| (Subject::Record, name.as_str(), matcher));
    let alone = spec
        .record_alone_matches
        .iter()
        .map(|(name, matcher)| (Subject::RecordAlone, name.as_str(), matcher));
    let of_request =
        spec.request_matches.iter().map(|(name, matcher)| (Subject::Request, name.as_str(), matcher));
    of_resource.chain(of_records).chain(alone).chain(of_request)
}

fn one(
    index: usize,
    route: &RouteSection,
    (exporters, known, processors): (&Named<ExporterSection>, &Named<Receiver>, &Processors<'_>),
    positions: &ExporterPositions<'_>,
    node: &Node,
    written: &Node,
    context: &mut Context<'_>,
) -> RouteSpec {
    let name = route.name.clone().unwrap_or_else(|| format!("route-{}", index + 1));
    if name.is_empty() {
        context.report.error(node.near(&["name"]).span, "a route's name can't be empty");
    }
    if route.not_imported.is_some() {
        let at = node.entry("not_imported").map_or(node.span, |entry| entry.key_span);
        context
            .report
            .error(
                at,
                "a part of the Collector's file could not be taken for this route: `not_imported` says which",
            )
            .help("write the `match` and the `exporters` that are meant, and remove `not_imported`");
    }
    let signals = signals(route, node, context);
    let matching = node.near(&["match"]);
    let mut matches = matchers(&route.matches.resource, matching, context);
    let [record_matches, record_alone_matches] =
        [("record", &route.matches.record), ("record_alone", &route.matches.record_alone)].map(
            |(key, conditions)| {
                let (of_resource, on_records) =
                    on_records(key, conditions.as_ref(), matching.near(&[key]), context);
                matches.extend(of_resource.map(|matcher| (key.to_owned(), matcher)));
                on_records
            },
        );
    let (of_request, request_matches) =
        on_request(route.matches.request.as_ref(), matching.near(&["request"]), context);
    matches.extend(of_request.map(|matcher| ("request".to_owned(), matcher)));
    RouteSpec {
        name,
        matches,
        record_matches,
        record_alone_matches,
        request_matches,
        tenants: tenants(route, node, context),
        receivers: receivers(route, known, node, context),
        signals,
        key: key(route.key.as_ref(), node.near(&["key"]), context),
        edits: processors.of_route(&route.processors, signals, node.near(&["processors"]), context),
        exporters: targets(route, exporters, positions, signals, node, written, context),
        // Which entries the route is to take is not known, and so neither which it leaves.
        continues: route.continues || route.not_imported.is_some(),
        max_streams: route.max_streams,
    }
}

/// Attributes with what must hold for them.
type Matches = Vec<(String, Matcher)>;

/// The conditions that stand at `matching`.
fn matchers(values: &BTreeMap<String, MatchValue>, matching: &Node, context: &mut Context<'_>) -> Matches {
    let mut matches = Vec::new();
    for (attribute, value) in values {
        let node = matching.near(&[attribute]);
        if let Some(entry) = matching.entry(attribute) {
            let subject =
                if context.report.shows(entry.key_span) { quoted(attribute) } else { "this".to_owned() };
            let several = "write each attribute with its own value: `{ tenant.id: acme, region: eu }`";
            warn_of_unlikely_name(attribute, &subject, entry.key_span, several, context);
        }
        if let Some(matcher) = matcher(value, node, context) {
            matches.push((attribute.clone(), matcher));
        }
    }
    matches
}

/// Warns of a text at `node`, below a name that with a map below it is not about a resource attribute.
fn warn_of_resource_attribute(
    name: &str,
    others: &str,
    example: &str,
    node: &Node,
    context: &mut Context<'_>,
) {
    context
        .report
        .warn(node.span, format!("this asks for a resource attribute called `{name}`"))
        .help(format!(
            "to ask for {others}, write a map: `{name}: {{ {example}: \"*\" }}`; if the resource attribute is meant, write a list: \
             `{name}: [ … ]`"
        ));
}

/// The condition on the resource attribute that is called `key`, and those on attributes of records, of which one or the other stands
/// at `node`.
fn on_records(
    key: &str,
    conditions: Option<&RecordConditions>,
    node: &Node,
    context: &mut Context<'_>,
) -> (Option<Matcher>, Matches) {
    let values = match conditions {
        None => return (None, Vec::new()),
        Some(RecordConditions::Glob(text)) => {
            warn_of_resource_attribute(key, "attributes of records", "tenant.id", node, context);
            return (Some(Matcher::Glob(Glob::new(text))), Vec::new());
        }
        Some(RecordConditions::AnyOf(texts)) => return (any_of(texts, node, context), Vec::new()),
        Some(RecordConditions::Attributes(values)) => values,
    };
    if values.is_empty() && !context.report.has_error_within(node.span) {
        context.report.error(node.span, format!("`{key}` names no attribute")).help(format!(
            "write an attribute of the records and what its value must be: `{key}: {{ tenant.id: \"*\" }}`",
        ));
    }
    let is_rule = |entry: &&NodeEntry| ["regex", "equals", "not", "exists"].contains(&&*entry.key);
    for entry in node.entries().iter().filter(is_rule) {
        context
            .report
            .warn(
                entry.key_span,
                format!("{} is the name of an attribute of records here", quoted(&entry.key)),
            )
            .help(format!(
                "for a rule about an attribute name it first: `{key}: {{ tenant.id: {{ {}: … }} }}`",
                entry.key
            ));
    }
    (None, matchers(values, node, context))
}

/// The condition on the resource attribute `request`, and those on headers of the request, of which one or the other stands at
/// `node`.
fn on_request(
    conditions: Option<&RequestConditions>,
    node: &Node,
    context: &mut Context<'_>,
) -> (Option<Matcher>, Vec<(HeaderName, Matcher)>) {
    let values = match conditions {
        None => return (None, Vec::new()),
        Some(RequestConditions::Glob(text)) => {
            warn_of_resource_attribute("request", "headers of the request", "X-Tenant", node, context);
            return (Some(Matcher::Glob(Glob::new(text))), Vec::new());
        }
        Some(RequestConditions::AnyOf(texts)) => return (any_of(texts, node, context), Vec::new()),
        Some(RequestConditions::Headers(values)) => values,
    };
    if values.is_empty() && !context.report.has_error_within(node.span) {
        context
            .report
            .error(node.span, "`request` names no header")
            .help("write a header and what its value must be: `request: { X-Tenant: acme }`");
    }
    let mut matches: Vec<(HeaderName, Matcher)> = Vec::new();
    for (header, value) in values {
        let value_node = node.near(&[header]);
        let at = node.entry(header).map_or(node.span, |entry| entry.key_span);
        let Some(name) = self::header(header, at, context) else { continue };
        if matches.iter().any(|(known, _)| *known == name) {
            context
                .report
                .error(at, format!("the header `{name}` stands here twice"))
                .help("names of headers are the same in any case; keep one of the two");
            continue;
        }
        report_values_that_no_header_has(value, value_node, context);
        matches.extend(matcher(value, value_node, context).map(|matcher| (name, matcher)));
    }
    (None, matches)
}

/// Reports numbers and booleans below `equals`, since a header's value is a text.
fn report_values_that_no_header_has(value: &MatchValue, node: &Node, context: &mut Context<'_>) {
    let MatchValue::Rule(rule) = value else { return };
    let mut all = vec![(rule.equals.as_ref(), node.near(&["equals"]))];
    if let Some(Negated::Rule(rule)) = &rule.not {
        all.push((rule.equals.as_ref(), node.near(&["not", "equals"])));
    }
    for (values, node) in all {
        let Some(values) = values else { continue };
        for (key, is_there) in [("number", values.number.is_some()), ("boolean", values.boolean.is_some())] {
            if is_there {
                let at = node.entry(key).map_or(node.span, |entry| entry.key_span);
                context
                    .report
                    .error(at, format!("a header is a text, which equals no {key}"))
                    .help("write the value as a text: `equals: { text: … }`");
            }
        }
    }
}

/// The name of a header; `None` if it is none, which is reported.
fn header(text: &str, at: Span, context: &mut Context<'_>) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    if name.is_none() {
        context
            .report
            .error(at, "this is not a header's name")
            .help("a name has letters, digits and `-`, without spaces or `:`");
    }
    name
}

/// Whether a header of this name is likely to carry a credential.
fn is_of_credential(name: &HeaderName) -> bool {
    const WORDS: [&str; 8] = ["auth", "token", "key", "secret", "password", "cookie", "credential", "dsn"];
    WORDS.iter().any(|word| name.as_str().contains(word)) || name == "x-honeycomb-team"
}

/// The ids that the route is for.
fn tenants(route: &RouteSection, node: &Node, context: &mut Context<'_>) -> Option<Vec<Glob>> {
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
    route: &RouteSection,
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

fn signals(route: &RouteSection, node: &Node, context: &mut Context<'_>) -> [bool; 3] {
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
            SignalWord::Traces => Signal::Traces,
            SignalWord::Metrics => Signal::Metrics,
            SignalWord::Logs => Signal::Logs,
        };
        signals[signal.index()] = true;
    }
    signals
}

/// The positions of the exporters that the route names; `written` is the section of exporters.
fn targets(
    route: &RouteSection,
    exporters: &Named<ExporterSection>,
    positions: &ExporterPositions<'_>,
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
            // The mistakes of an exporter have been reported, and so has the absence of all exporters.
            if exporters.0.is_empty()
                || written.entry(name).is_some_and(|entry| context.report.has_error_within(entry.key_span))
            {
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
        if let ExporterSection::OtlpHttp(http) = &exporters.0[position].1
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
    (name, exporter): (&str, &ExporterSection),
    signals: [bool; 3],
    node: &Node,
    context: &mut Context<'_>,
) {
    let Some(preset) = exporter.preset() else { return };
    let own = match exporter {
        ExporterSection::OtlpHttp(http) => {
            [&http.traces_endpoint, &http.metrics_endpoint, &http.logs_endpoint].map(Option::is_some)
        }
        ExporterSection::OtlpGrpc(_)
        | ExporterSection::File(_)
        | ExporterSection::Debug(_)
        | ExporterSection::Nop => [false; 3],
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
fn closest<'a>(name: &str, exporters: &'a Named<ExporterSection>) -> Option<&'a str> {
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
    let needs_value = rule.regex.is_some() || rule.equals.is_some();
    if rule.exists.is_some() && needs_value || rule.exists == Some(false) && rule.not.is_some() {
        context
            .report
            .error(
                node.span,
                "`exists` can't stand beside `regex` or `equals`, and `exists: false` not beside anything",
            )
            .help("leave `exists` out; `regex` and `equals` only hold where the attribute exists anyway");
        return None;
    }
    let regex = rule.regex.as_ref().map(|text| regex(text, node.near(&["regex"]), context));
    let equals = rule.equals.as_ref().map(|values| equals(values, node.near(&["equals"]), context));
    let exists = rule.exists.map(|exists| Some(Matcher::Exists(exists)));
    let not = rule.not.as_ref().map(|not| negated(not, node.near(&["not"]), context));
    let mut all: Vec<Matcher> =
        [regex, equals, exists, not].into_iter().flatten().collect::<Option<Vec<Matcher>>>()?;
    match all.len() {
        0 => {
            no_rule(node, context);
            None
        }
        1 => all.pop(),
        _ => Some(Matcher::All(all)),
    }
}

fn negated(not: &Negated, node: &Node, context: &mut Context<'_>) -> Option<Matcher> {
    let inner = match not {
        Negated::Glob(text) => Some(Matcher::Glob(Glob::new(text))),
        Negated::AnyOf(texts) => any_of(texts, node, context),
        Negated::Rule(rule) => return neither(rule, node, context),
    };
    inner.map(not_this)
}

fn neither(rule: &NegatedRule, node: &Node, context: &mut Context<'_>) -> Option<Matcher> {
    let pattern = rule.regex.as_ref().map(|text| regex(text, node.near(&["regex"]), context));
    let values = rule.equals.as_ref().map(|values| equals(values, node.near(&["equals"]), context));
    match (pattern, values) {
        (Some(pattern), Some(values)) => Some(Matcher::All(vec![not_this(pattern?), not_this(values?)])),
        (Some(one), None) | (None, Some(one)) => one.map(not_this),
        (None, None) => {
            no_rule(node, context);
            None
        }
    }
}

fn not_this(inner: Matcher) -> Matcher {
    Matcher::Not(Box::new(inner))
}

fn equals(values: &ExactValues, node: &Node, context: &mut Context<'_>) -> Option<Matcher> {
    let texts = match &values.text {
        None => &[][..],
        Some(ExactTexts::One(text)) => std::slice::from_ref(text),
        Some(ExactTexts::AnyOf(texts)) => texts,
    };
    let numbers = match &values.number {
        None => &[][..],
        Some(ExactNumbers::One(number)) => std::slice::from_ref(number),
        Some(ExactNumbers::AnyOf(numbers)) => numbers,
    };
    let booleans = match &values.boolean {
        None => &[][..],
        Some(ExactBooleans::One(flag)) => std::slice::from_ref(flag),
        Some(ExactBooleans::AnyOf(flags)) => flags,
    };
    let empty_lists = [
        ("text", values.text.is_some() && texts.is_empty()),
        ("number", values.number.is_some() && numbers.is_empty()),
        ("boolean", values.boolean.is_some() && booleans.is_empty()),
    ];
    for (key, _) in empty_lists.into_iter().filter(|(_, is_empty)| *is_empty) {
        let at = node.near(&[key]).span;
        if !context.report.has_error_within(at) {
            context
                .report
                .error(at, format!("`{key}` names no value"))
                .help("write a value, or leave it out");
        }
    }
    let texts = texts.iter().cloned().map(ExactValue::Text);
    let numbers = numbers.iter().copied().map(ExactValue::Number);
    let booleans = booleans.iter().copied().map(ExactValue::Boolean);
    let all: Vec<ExactValue> = texts.chain(numbers).chain(booleans).collect();
    if all.is_empty() {
        if !context.report.has_error_within(node.span) {
            context
                .report
                .error(node.span, "`equals` names no value")
                .help("write the value below its type: `equals: { text: acme }`, `{ number: 5 }` or `{ boolean: true }`");
        }
        return None;
    }
    Some(Matcher::Equals(all))
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
    context.regex(text, node).map(Matcher::Regex)
}

fn key(key: Option<&KeySection>, node: &Node, context: &mut Context<'_>) -> KeySpec {
    match key {
        None => KeySpec::Route,
        Some(KeySection::One(text)) => one_of(text, node, context).map_or(KeySpec::Route, KeySpec::One),
        Some(KeySection::FirstOf(names)) => KeySpec::One(first_of(names, node, context)),
        Some(key @ KeySection::Parts(parts)) => match key.record_source() {
            Some(source) => whole_record_source(source, node, context).map_or(KeySpec::Route, KeySpec::One),
            None => self::parts(parts, node, context),
        },
    }
}

/// A key that is `{ record: A, resource: A }` as a whole; `None` if it can't be, which is reported.
fn whole_record_source(
    written: &BTreeMap<String, KeyPartSection>,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<KeySource> {
    if written.contains_key("request") {
        return whole_request_source(written, node, context);
    }
    let other = node.entries().iter().find(|entry| !["record", "resource"].contains(&&*entry.key));
    if let Some(other) = other {
        let unused = ["record", "resource"].into_iter().filter(|name| !written.contains_key(*name));
        if let Some(near) = nearest(&other.key, unused) {
            context.report.error(
                other.key_span,
                format!("unknown key {} in `key`; did you mean `{near}`?", named(&other.key)),
            );
            return None;
        }
        let part = if is_name(&other.key) { &other.key } else { "NAME" };
        context
            .report
            .error(node.span, "`record` and `resource` say whose attribute the whole key is, and can't be parts beside others")
            .help(format!(
                "give the attribute of records a name of its own: `{{ {part}: …, project: {{ record: A, resource: A }} }}`"
            ));
        return None;
    }
    let names = |name: &str| match written.get(name)? {
        KeyPartSection::One(text) => Some(AttributeNames::One(text.clone())),
        KeyPartSection::FirstOf(names) => Some(AttributeNames::FirstOf(names.clone())),
        KeyPartSection::OfRecord(_) => None,
    };
    let source =
        RecordSource { record: names("record"), resource: names("resource"), ..RecordSource::default() };
    let nested = node
        .entries()
        .iter()
        .find(|entry| matches!(written.get(&entry.key), Some(KeyPartSection::OfRecord(_))));
    if let Some(nested) = nested {
        context
            .report
            .error(nested.value.span, "`record` and `resource` each take an attribute, or a list of them")
            .help("write `key: { record: A, resource: A }`");
        return None;
    }
    record_source(&source, node, context)
}

/// A key that is `{ request: HEADER }` as a whole; `None` if it can't be, which is reported.
fn whole_request_source(
    written: &BTreeMap<String, KeyPartSection>,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<KeySource> {
    let text = |name: &str| match written.get(name) {
        Some(KeyPartSection::One(text)) => Some(text.clone()),
        Some(KeyPartSection::FirstOf(_) | KeyPartSection::OfRecord(_)) | None => None,
    };
    let is_source = node.entries().iter().all(|entry| ["request", "default"].contains(&&*entry.key));
    let Some(request) = text("request").filter(|_| is_source) else {
        context
            .report
            .error(node.span, "`request` says that the whole key is a header of the request, and can't be a part beside others")
            .help("give the header a name of its own: `{ tenant: { request: X-Tenant }, service: service.name }`");
        return None;
    };
    let source = RecordSource { request: Some(request), default: text("default"), ..RecordSource::default() };
    record_source(&source, node, context)
}

/// `{ request: HEADER }`; `None` if that can't be in a key, which is reported.
fn request_source(
    header: &str,
    source: &RecordSource,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<KeySource> {
    let at = node.near(&["request"]).span;
    let key = node.entry("request").map_or(at, |entry| entry.key_span);
    if source.record.is_some() || source.resource.is_some() {
        context
            .report
            .error(key, "`request` can't stand beside `record` and `resource`")
            .help("keep one, or make two parts of the key");
        return None;
    }
    let name = self::header(header, at, context)?;
    if is_of_credential(&name) {
        context
            .report
            .error(at, format!("the header `{name}` may be a credential, and keys are shown in the log, the API and on disk"))
            .help("let senders name themselves by another header; `tenants` gives each of them a credential of its own for the upstream");
        return None;
    }
    let default = source.default.as_ref().filter(|default| !default.is_empty()).cloned();
    Some(KeySource::Request { header: name, default })
}

/// `{ record: A, resource: A }` or `{ request: HEADER }`; `None` without `record` and `request`, which is reported.
fn record_source(source: &RecordSource, node: &Node, context: &mut Context<'_>) -> Option<KeySource> {
    if let Some(header) = &source.request {
        return request_source(header, source, node, context);
    }
    if source.default.is_some() {
        let at = node.entry("default").map_or(node.span, |entry| entry.key_span);
        context.report.error(at, "`default` stands beside `request` alone").help("leave it out");
        return None;
    }
    let mut names = |names: &AttributeNames, key: &str| {
        let (names, node) = (names.names(), node.near(&[key]));
        warn_of_unlikely_names(names, node, context);
        check_names(
            names,
            node,
            "a template can't stand for an attribute of records, or instead of it",
            context,
        );
        names.to_vec()
    };
    let Some(record) = source.record.as_ref().map(|record| names(record, "record")) else {
        if !context.report.has_error_within(node.span) {
            context.report.error(node.span, "`resource` alone is nothing that records could override").help(
                "write the attribute itself for that of the resource, such as `key: tenant.id`, or both: \
                     `{ record: tenant.id, resource: tenant.id }`",
            );
        }
        return None;
    };
    let resource = source.resource.as_ref().map(|resource| names(resource, "resource")).unwrap_or_default();
    Some(KeySource::Records { record, resource })
}

/// The most parts of a key. A key with so many is longer than anybody could read.
const MOST_PARTS: usize = 8;

/// The longest name of a part, in bytes.
const LONGEST_PART_NAME: usize = 64;

fn parts(parts: &BTreeMap<String, KeyPartSection>, node: &Node, context: &mut Context<'_>) -> KeySpec {
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
            Some(KeyPartSection::One(text)) => one_of(text, node, context),
            Some(KeyPartSection::FirstOf(names)) => Some(first_of(names, node, context)),
            Some(KeyPartSection::OfRecord(source)) => record_source(source, node, context),
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
                let subject = context.subject(node);
                warn_of_unlikely_name(text, &subject, node.span, &list_of(text), context);
            }
            Some(attributes(std::slice::from_ref(text), node, context))
        }
        Ok(template) => {
            for read in template.reads() {
                match read {
                    TemplateValue::Key | TemplateValue::KeyPart(_) => {
                        context
                            .report
                            .error(node.span, "`{{ key }}` can't stand in the key that it is made of")
                            .help(
                                "name an attribute: `{{ resource[\"service.name\"] }}`, or `{{ tenant.id }}`",
                            );
                        break;
                    }
                    TemplateValue::Tenant(name) if read.is_of_row() => {
                        let shown = "is shown wherever the key is: in logs, in the API, in names of files";
                        context
                            .report
                            .warn(node.span, format!("the value `{name}` of a tenant's row {shown}"))
                            .help("make sure that it is no secret");
                    }
                    TemplateValue::Signal | TemplateValue::Resource(_) | TemplateValue::Tenant(_) => {}
                }
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
    warn_of_unlikely_names(names, node, context);
    attributes(names, node, context)
}

fn attributes(names: &[String], node: &Node, context: &mut Context<'_>) -> KeySource {
    check_names(names, node, "a list of attributes can't hold a template", context);
    KeySource::Attributes(names.to_vec())
}

/// Reports texts that are no names of attributes; `no_template` is the message about templates.
fn check_names(names: &[String], node: &Node, no_template: &str, context: &mut Context<'_>) {
    let is_template = |(index, name): (usize, &String)| {
        let literal = node.item(index).unwrap_or(node).literal();
        Template::parse_around(name, literal).map_or(true, |template| template.as_text().is_none())
    };
    if names.iter().enumerate().any(is_template) {
        context.report.error(node.span, no_template).help("write one template, or attributes alone");
    }
    if (names.is_empty() || names.iter().any(String::is_empty)) && !context.report.has_error_within(node.span)
    {
        context
            .report
            .error(node.span, "`key` names no attribute")
            .help("name a resource attribute, or leave out `key` for one stream per route");
    }
}

fn warn_of_unlikely_names(names: &[String], node: &Node, context: &mut Context<'_>) {
    for (index, name) in names.iter().enumerate() {
        let item = node.item(index).unwrap_or(node);
        if !item.is_substituted() {
            let subject = context.subject(item);
            let several = "write each attribute as an item of its own";
            warn_of_unlikely_name(name, &subject, item.span, several, context);
        }
    }
}

/// Warns of texts that are hardly names of attributes: several names in one text, or an attribute's path as OTTL writes it. `several` is
/// the help about several names.
fn warn_of_unlikely_name(name: &str, subject: &str, span: Span, several: &str, context: &mut Context<'_>) {
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
    context.report.warn(span, format!("{subject} is the name of one attribute here")).help(help);
}

/// Characters that separate names and are hardly parts of one.
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

/// Reports a route for which an earlier one leaves nothing.
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
        let any_scalar =
            |holds: &dyn Fn(&Scalar) -> bool| [node, *other_node].iter().any(|route| route.any_scalar(holds));
        // A placeholder for a variable's value says nothing about which routes are reached.
        if any_scalar(&|scalar| scalar.origin == ScalarOrigin::Placeholder) {
            return;
        }
        // With other values of the variables the route may be reached.
        if any_scalar(&Scalar::is_substituted) {
            context.report.warn(node.span, message).help(help);
        } else {
            context.report.error(node.span, message).help(help);
        }
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
    // The attribute of a record and that of its resource may differ, so that one says nothing about the other.
    let matches = conditions(earlier).all(|(subject, attribute, matcher)| {
        conditions(later).any(|(other, name, condition)| {
            (other, name) == (subject, attribute) && condition.implies(matcher)
        })
    });
    // Where the key may be absent, what the route matches may still go on to a later one.
    let needs = |wanted: Subject, name: &str| {
        conditions(earlier).any(|(subject, attribute, matcher)| {
            (subject, attribute) == (wanted, name) && matcher.needs_key_text()
        })
    };
    let required = |name: &String| needs(Subject::Resource, name);
    let has_key = earlier.key.sources().all(|source| match source {
        KeySource::Attributes(names) => names.iter().any(required),
        // The attribute of a condition on records is on the record or on the resource, or on the record alone.
        KeySource::Records { record, resource } => {
            let is_either = |name: &&String| record.contains(name) && needs(Subject::Record, name);
            resource.iter().any(|name| required(name) || is_either(&name))
                || record.iter().any(|name| needs(Subject::RecordAlone, name))
        }
        KeySource::Request { header, default } => {
            default.is_some() || needs(Subject::Request, header.as_str())
        }
        KeySource::Template(template) => template.reads().all(|read| match read {
            TemplateValue::Resource(name) => required(name),
            TemplateValue::Key | TemplateValue::KeyPart(_) => false,
            // A row may have no such value.
            TemplateValue::Tenant(_) => !read.is_of_row() && earlier.tenants.is_some(),
            TemplateValue::Signal => true,
        }),
    });
    !earlier.continues && tenants && receivers && signals && matches && has_key
}

/// Warns of exporters that get nothing.
fn unused(
    exporters: &Named<ExporterSection>,
    specs: &[(RouteSpec, &Node)],
    root: &Node,
    context: &mut Context<'_>,
) {
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
