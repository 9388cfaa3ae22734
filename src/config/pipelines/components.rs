//! The components of a Collector's file that its pipelines name, as Sluice's own configuration has them.

use std::collections::BTreeSet;

use super::graph::Graph;
use super::headers::HeaderKeys;
use crate::config::collector;
use crate::config::model::{Extension, Receiver, Typed, boolean, type_of};
use crate::config::node::{Mention, Node, NodeEntry};
use crate::config::problem::ProblemReport;
use crate::config::quoting::{is_path, named, nearest};
use crate::config::span::Span;

/// Sections that are translated; all others are Sluice's own, and stay as they are.
const TRANSLATED: [&str; 6] = ["receivers", "extensions", "processors", "connectors", "exporters", "service"];

/// The default directory of a Collector's `file_storage`.
const STORAGE: &str = "/var/lib/otelcol/file_storage";

/// The components of a file.
pub(super) struct Components<'a> {
    root: &'a Node,
    /// The receivers of pipelines that Sluice has, in the order of the file.
    receivers: Vec<&'a NodeEntry>,
    /// The exporters of pipelines that Sluice has, each with its name here.
    exporters: Vec<(&'a NodeEntry, String)>,
    /// The extensions that their `auth` names.
    authenticators: BTreeSet<String>,
    /// The headers of requests that exporters read.
    pub(super) keys: HeaderKeys,
    /// The `storage` of the first queue that has one.
    storage: Option<&'a Node>,
}

impl<'a> Components<'a> {
    pub(super) fn new(root: &'a Node, graph: &Graph<'a>, report: &mut ProblemReport) -> Self {
        let mut components = Self {
            root,
            receivers: Vec::new(),
            exporters: Vec::new(),
            authenticators: BTreeSet::new(),
            keys: HeaderKeys::default(),
            storage: None,
        };
        let is_no_connector = |mention: &&Mention<'a>| !graph.is_connector(mention.name);
        let receivers = graph.pipelines.iter().flat_map(|pipeline| &pipeline.receivers);
        let receivers: Vec<_> = receivers.filter(is_no_connector).collect();
        let exporters = graph.pipelines.iter().flat_map(|pipeline| &pipeline.exporters);
        let exporters: Vec<_> = exporters.filter(is_no_connector).collect();
        for entry in used(root, "receivers", "receiver", &receivers, Receiver::TYPES, report) {
            components.receivers.push(entry);
        }
        for entry in used(root, "exporters", "exporter", &exporters, EXPORTERS, report) {
            let name = match entry.key.strip_prefix("logging") {
                Some(rest) => format!("debug{rest}"),
                None => entry.key.clone(),
            };
            if components.exporters.iter().any(|(_, known)| *known == name) {
                let shown = named(&entry.key);
                report
                    .error(entry.key_span, format!("two exporters would be called {}", named(&name)))
                    .help(format!("`logging` is called `debug`: give {shown} another name after its `/`"));
                continue;
            }
            components.exporters.push((entry, name));
        }
        components
    }

    /// Whether there is such a receiver.
    pub(super) fn is_receiver(&self, name: &str) -> bool {
        self.receivers.iter().any(|entry| entry.key == name)
    }

    /// The name of an exporter here; `None` if Sluice does not have it, which has been reported.
    pub(super) fn exporter(&self, name: &str) -> Option<String> {
        let known = self.exporters.iter().find(|(entry, _)| entry.key == name).map(|(_, name)| name.clone());
        // One that is not there is reported where it is named.
        let is_there = self.root.get("exporters").is_some_and(|exporters| exporters.get(name).is_some());
        known.or_else(|| (!is_there).then(|| name.to_owned()))
    }

    pub(super) fn receivers(&mut self) -> Option<Node> {
        let section = self.root.get("receivers")?;
        let mut entries = Vec::new();
        for entry in &self.receivers {
            let protocols = entry.value.near(&["protocols"]).entries().iter().map(|protocol| {
                // What routes and keys read of a request needs no setting.
                let value = without(&protocol.value, &["include_metadata"]);
                NodeEntry { value, ..protocol.clone() }
            });
            let protocols = Node::of_entries(protocols.collect(), entry.value.near(&["protocols"]).span);
            let value = replaced(&entry.value, "protocols", protocols);
            self.authenticators.extend(
                entry
                    .value
                    .near(&["protocols"])
                    .entries()
                    .iter()
                    .filter_map(|protocol| authenticator(&protocol.value)),
            );
            entries.push(NodeEntry { value, ..(*entry).clone() });
        }
        Some(Node::of_entries(entries, section.span))
    }

    pub(super) fn exporters(&mut self, report: &mut ProblemReport) -> Node {
        let none = Node::of_entries(Vec::new(), self.root.span);
        let extensions = self.root.get("extensions").unwrap_or(&none);
        let mut entries = Vec::new();
        for (entry, name) in self.exporters.clone() {
            let written = self.without_storage(&entry.value, report);
            let written = self.keys.set(&entry.key, &written, extensions, report);
            let value = match type_of(&entry.key) {
                "file" => file(&written, &entry.key, entry.key_span, report),
                "logging" => logging(&written),
                _ => written,
            };
            self.authenticators.extend(authenticator(&value));
            entries.push(NodeEntry::new(name, entry.key_span, value));
        }
        Node::of_entries(entries, self.root.near(&["exporters"]).span)
    }

    /// The exporter without the `storage` of its queue, which becomes the journal.
    fn without_storage(&mut self, exporter: &'a Node, report: &mut ProblemReport) -> Node {
        let Some(queue) = exporter.get("sending_queue") else { return exporter.clone() };
        let is_off = queue.get("enabled").and_then(Node::text).and_then(boolean) == Some(false);
        let storage = queue.get("storage").filter(|storage| !storage.is_null() && !is_off);
        let Some(storage) = storage else { return exporter.clone() };
        let Some(name) = storage.text().filter(|name| type_of(name) == "file_storage") else {
            return exporter.clone();
        };
        let extensions = self.root.get("extensions").map(Node::entries).unwrap_or_default();
        if !extensions.iter().any(|extension| extension.key == name) {
            let shown = if report.shows(storage.span) { named(name) } else { named("") };
            let near = nearest(name, extensions.iter().map(|extension| extension.key.as_str()));
            let problem = report.error(storage.span, format!("there is no extension {shown}"));
            match near {
                Some(near) => problem.help(format!("did you mean {}?", named(near))),
                None => problem.help("write it below `extensions`, with its `directory`"),
            }
        }
        self.storage.get_or_insert(storage);
        replaced(exporter, "sending_queue", without(queue, &["storage"]))
    }

    /// The extensions that receivers and exporters name.
    pub(super) fn extensions(&self) -> Option<Node> {
        let section = self.root.get("extensions")?;
        let entries = section.entries().iter().filter(|entry| self.authenticators.contains(&entry.key));
        Some(Node::of_entries(entries.cloned().collect(), section.span))
    }

    /// The sections for the Collector's extensions and telemetry, and the sections that are Sluice's own.
    pub(super) fn others(&self, report: &mut ProblemReport) -> Vec<NodeEntry> {
        let own = self.root.entries().iter().filter(|entry| !TRANSLATED.contains(&entry.key.as_str()));
        let mut others: Vec<NodeEntry> = own.cloned().collect();
        let mut put = |entry: NodeEntry| {
            if !others.iter().any(|known| known.key == entry.key) {
                others.push(entry);
            }
        };
        if let Some(journal) = self.journal() {
            put(journal);
        }
        let Some(service) = self.root.get("service") else { return others };
        for mention in service.get("extensions").map(Node::mentions).unwrap_or_default() {
            let written = self.root.near(&["extensions"]).get(mention.name);
            match type_of(mention.name) {
                "health_check" | "healthcheck" | "healthcheckv2" => {
                    put(health(written, mention.span, report));
                }
                "file_storage" | "headers_setter" => {}
                r#type if Extension::TYPES.contains(&r#type) => {}
                _ if self.authenticators.contains(mention.name) => {}
                _ => {
                    let why = collector::other_extension(mention.name);
                    let name = mention.shown();
                    report.warn(mention.span, format!("the extension {name} has no effect: {why}"));
                }
            }
        }
        if let Some(telemetry) = service.get("telemetry")
            && let Some(admin) = telemetry_as_admin(telemetry, report)
        {
            put(admin);
        }
        others
    }

    /// The journal in place of the `storage` of queues.
    fn journal(&self) -> Option<NodeEntry> {
        let storage = self.storage?;
        let extension = storage.text().and_then(|name| self.root.get("extensions")?.get(name));
        let written =
            extension.and_then(|extension| extension.get("directory")).filter(|node| !node.is_null());
        // Beside the files of a Collector, which are of another format.
        let directory = match written {
            Some(node) => {
                let text = node.text().unwrap_or_default().trim_end_matches('/');
                Node { value: Node::of_text(format!("{text}/journal"), node.span).value, ..node.clone() }
            }
            None => Node::of_text(format!("{STORAGE}/journal"), storage.span),
        };
        let mut entries = vec![NodeEntry::new("directory", storage.span, directory)];
        let fsync =
            extension.and_then(|extension| extension.get("fsync")).and_then(Node::text).and_then(boolean);
        if fsync == Some(true) {
            entries.push(NodeEntry::new("sync", storage.span, Node::of_text("always", storage.span)));
        }
        Some(NodeEntry::new("journal", storage.span, Node::of_entries(entries, storage.span)))
    }
}

/// The types of exporters that Sluice has, by their present and former names.
const EXPORTERS: &[&str] = &["otlp_http", "otlphttp", "otlp_grpc", "otlp", "file", "debug", "nop", "logging"];

/// The entries of a section that pipelines name and that Sluice has. Reports all others.
fn used<'a>(
    root: &'a Node,
    section: &str,
    what: &str,
    mentions: &[&Mention<'a>],
    types: &[&str],
    report: &mut ProblemReport,
) -> Vec<&'a NodeEntry> {
    let entries = root.get(section).map(Node::entries).unwrap_or_default();
    let mut used = Vec::new();
    for entry in entries {
        let shown = named(&entry.key);
        let is_known = types.contains(&type_of(&entry.key)) && !entry.key.ends_with('/');
        if !mentions.iter().any(|mention| mention.name == entry.key) {
            report.warn(entry.key_span, format!("the {what} {shown} has no effect: no pipeline names it"));
        } else if is_known {
            used.push(entry);
        } else {
            let (why, instead) = if what == "receiver" {
                (
                    "Sluice receives OTLP alone",
                    "keep a Collector in front that sends this on as OTLP, and remove it here",
                )
            } else {
                (
                    "Sluice sends OTLP, writes files and prints",
                    "let a Collector behind this one send it on, and remove it here",
                )
            };
            let near = nearest(type_of(&entry.key), types.iter().copied());
            let help =
                near.map_or_else(|| instead.to_owned(), |near| format!("did you mean `{near}`? {instead}"));
            report.error(entry.key_span, format!("the {what} {shown} is not available: {why}")).help(help);
        }
    }
    for mention in mentions.iter().filter(|mention| !entries.iter().any(|entry| entry.key == mention.name)) {
        let near = nearest(mention.name, entries.iter().map(|entry| entry.key.as_str()));
        let problem = report.error(mention.span, format!("there is no {what} {}", mention.shown()));
        match near {
            Some(near) => problem.help(format!("did you mean {}?", named(near))),
            None => problem.help(format!("write it below `{section}`")),
        }
    }
    used
}

/// The extension that the `auth` of a receiver or an exporter names.
fn authenticator(node: &Node) -> Option<String> {
    node.near(&["auth", "authenticator"]).text().filter(|_| node.get("auth").is_some()).map(ToOwned::to_owned)
}

/// A map without these keys.
fn without(node: &Node, keys: &[&str]) -> Node {
    if node.entries().is_empty() {
        return node.clone();
    }
    let kept = node.entries().iter().filter(|entry| !keys.contains(&entry.key.as_str()));
    Node::of_entries(kept.cloned().collect(), node.span)
}

/// A map with another value under a key that it has.
fn replaced(node: &Node, key: &str, value: Node) -> Node {
    let mut entries = node.entries().to_vec();
    if let Some(entry) = entries.iter_mut().find(|entry| entry.key == key) {
        entry.value = value;
    }
    if entries.is_empty() { node.clone() } else { Node::of_entries(entries, node.span) }
}

/// A `file` exporter: a directory in place of a file, and rotation as the Collector has it.
fn file(written: &Node, name: &str, at: Span, report: &mut ProblemReport) -> Node {
    /// The defaults of a Collector's rotation.
    const MOST: &str = "100";
    if written.get("format").and_then(Node::text) == Some("proto") {
        report
            .error(written.near(&["format"]).span, "`format: proto` is not available")
            .help("files are OTLP JSON lines: leave `format` out");
    }
    let mut entries = without(written, &["path", "rotation"]).entries().to_vec();
    if let Some(path) = written.entry("path") {
        let text = path.value.text().unwrap_or_default();
        let directory = without_extension(text);
        let shown = if is_path(directory) { format!("`{directory}`") } else { "the directory".to_owned() };
        report.warn(
            path.value.span,
            format!(
                "the exporter {} writes files into {shown}, one for each signal: {shown} is a directory, of which each routing key has one of its own",
                named(name)
            ),
        );
        let value = Node { value: Node::of_text(directory, path.value.span).value, ..path.value.clone() };
        entries.push(NodeEntry { value, ..path.clone() });
    }
    let rotation = written.get("rotation").filter(|rotation| !rotation.is_null());
    let mut settings = rotation.map(|rotation| rotation.entries().to_vec()).unwrap_or_default();
    let place = rotation.map_or(at, |rotation| rotation.span);
    // Without rotation, a Collector deletes nothing.
    let defaults: &[(&str, &str)] = if rotation.is_some() {
        &[("max_megabytes", MOST), ("max_backups", MOST)]
    } else {
        &[("max_backups", "0")]
    };
    for (key, value) in defaults {
        if !settings.iter().any(|entry| entry.key == *key && !entry.value.is_null()) {
            settings.push(NodeEntry::new(*key, place, Node::of_word(*value, place)));
        }
    }
    entries.push(NodeEntry::new("rotation", place, Node::of_entries(settings, place)));
    Node::of_entries(entries, written.span)
}

/// `/data/traces` of `/data/traces.json`.
fn without_extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rfind('.') {
        Some(dot) if dot > 0 && !name[dot..].contains('}') => &path[..path.len() - name.len() + dot],
        _ => path,
    }
}

/// The exporter `logging`, the former `debug`, with a level in place of the verbosity.
fn logging(written: &Node) -> Node {
    let level = written.entry("loglevel").or_else(|| written.entry("logLevel"));
    let mut entries = without(written, &["loglevel", "logLevel"]).entries().to_vec();
    if let Some(entry) = level.filter(|_| written.get("verbosity").is_none()) {
        let verbosity = if entry.value.text() == Some("debug") { "detailed" } else { "basic" };
        entries.push(NodeEntry::new("verbosity", entry.key_span, Node::of_text(verbosity, entry.value.span)));
    }
    Node::of_entries(entries, written.span)
}

/// `health_check` as `health`.
fn health(written: Option<&Node>, at: Span, report: &mut ProblemReport) -> NodeEntry {
    /// The default endpoint in a Collector.
    const DEFAULT: &str = "localhost:13133";
    let written = written.unwrap_or(&EMPTY);
    // The second version has one listener for each protocol.
    let settings = written.get("http").unwrap_or(written);
    for key in ["path", "tls", "auth", "grpc"] {
        let Some(entry) =
            written.entry(key).or_else(|| settings.entry(key)).filter(|entry| !entry.value.is_null())
        else {
            continue;
        };
        match key {
            "path" if entry.value.text() == Some("/") => {}
            "path" => {
                report
                    .warn(entry.key_span, "`path` has no effect: `/`, `/healthz` and `/readyz` are answered")
                    .help("have probes ask `/readyz`");
            }
            _ => {
                report.warn(
                    entry.key_span,
                    format!("`{key}` has no effect: health is answered by HTTP without TLS, to everybody"),
                );
            }
        }
    }
    let endpoint = settings.entry("endpoint").filter(|entry| !entry.value.is_null());
    let endpoint = match endpoint {
        Some(entry) => entry.clone(),
        None => NodeEntry::new("endpoint", at, Node::of_text(DEFAULT, at)),
    };
    NodeEntry::new("health", at, Node::of_entries(vec![endpoint], at))
}

static EMPTY: Node =
    Node { span: Span { start: 0, end: 0 }, value: crate::config::node::NodeValue::Map(Vec::new()) };

/// The Collector's own telemetry, as far as Sluice has an equivalent; reports the rest.
fn telemetry_as_admin(telemetry: &Node, report: &mut ProblemReport) -> Option<NodeEntry> {
    for entry in telemetry.entries().iter().filter(|entry| !entry.value.is_null()) {
        let why = match entry.key.as_str() {
            "logs" => "`--log-level` and `--log-format` of `sluice run` say how it logs",
            "traces" => "Sluice makes no spans of its own",
            "resource" => "Sluice's own metrics have no resource",
            "metrics" => continue,
            _ => "there is nothing like it",
        };
        let is_default = entry.key == "logs"
            && entry.value.entries().iter().all(|setting| match setting.key.as_str() {
                "level" => setting.value.text().is_some_and(|level| level.eq_ignore_ascii_case("info")),
                _ => false,
            });
        if !is_default {
            report.warn(entry.key_span, format!("{} has no effect: {why}", named(&entry.key)));
        }
    }
    let metrics = telemetry.entry("metrics").filter(|entry| !entry.value.is_null())?;
    let address = metrics.value.get("address").filter(|address| !address.is_null());
    let text = address.and_then(Node::text);
    match text {
        // The default of `admin.endpoint`.
        Some("localhost:8888" | "127.0.0.1:8888") => None,
        Some(text) if ["localhost:", "127.0.0.1:", "[::1]:"].iter().any(|host| text.starts_with(host)) => {
            let address = address?;
            let endpoint = NodeEntry::new("endpoint", address.span, address.clone());
            Some(NodeEntry::new("admin", metrics.key_span, Node::of_entries(vec![endpoint], address.span)))
        }
        _ => {
            let is_silent = metrics
                .value
                .entries()
                .iter()
                .all(|setting| setting.key == "level" && setting.value.text() != Some("none"));
            if !is_silent {
                report
                    .warn(
                        metrics.key_span,
                        "`metrics` has no effect: `/metrics` of `health` and of `admin` shows Sluice's own",
                    )
                    .help("write `health: { endpoint: 0.0.0.0:13133 }` to have them read from elsewhere");
            }
            None
        }
    }
}
