//! Rows of the table of tenants: single ones, and lists of them.

use std::collections::HashMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;

use secrecy::SecretString;

use super::Context;
use super::row_targets::RowTargets;
use crate::config::SecretPresence;
use crate::config::model::{TenantPassword, TenantRow, TenantSender, TenantShare, TenantValue};
use crate::config::node::{Node, NodeEntry};
use crate::config::problem::ProblemReport;
use crate::config::quoting::{listed, named, nearest};
use crate::config::span::Span;
use crate::config::substitute::SourceFiles;
use crate::glob::Glob;
use crate::secret_hash::SecretHash;
use crate::tenants::{CertificateName, Credential, Sender, Tenant, TenantLimits, TenantValues};

/// The most bytes of an id and of a sender's name.
const LONGEST_NAME: usize = 128;

/// The exporters that a row may name, and that may read it.
pub(in crate::config) struct RowExporters<'a> {
    pub(in crate::config) names: Vec<&'a str>,
    /// Whether there may be other exporters, which have mistakes.
    pub(in crate::config) incomplete: bool,
    /// What they read of rows, if each row is to be checked against that.
    pub(in crate::config) targets: Option<&'a RowTargets>,
}

/// A row as far as it could be compiled. Its mistakes have been reported.
pub(in crate::config) struct CompiledRow {
    /// The row without the parts that have mistakes; `None` without an id.
    pub(in crate::config) tenant: Option<Tenant>,
    /// Whether all of the row's senders are in `tenant`: no mistake stands where a sender could be.
    pub(in crate::config) has_all_senders: bool,
}

/// The keys of a row in whose values a mistake hides no sender.
const BESIDE_SENDERS: [&str; 7] = ["id", "platform", "values", "exporters", "limits", "paused", "hold"];

/// Compiles a row that is a file of its own, in a directory where it stands at `place`. `source` is the text of it.
pub(in crate::config) fn compile_row(
    row: &TenantRow,
    root: &Node,
    place: &Arc<str>,
    exporters: &RowExporters<'_>,
    (source, secrets): (&str, SecretPresence),
    files: &mut SourceFiles,
    report: &mut ProblemReport,
) -> CompiledRow {
    let mut context = Context { source, file: place, secrets, files, report };
    let name = place.rsplit_once('.').map_or(&**place, |(name, _)| name);
    let mut tenant = one(row, root, place, exporters, &mut TakenNames::default(), &mut context);
    if let Some(tenant) =
        tenant.as_mut().filter(|_| root.near(&["id"]).has_placeholder() && is_tenant_id(name))
    {
        // One placeholder is the same for all rows, and the file's name can only be the id.
        tenant.id = name.into();
    }
    if let Some(id) = row.id.as_ref().filter(|id| is_tenant_id(id) && *id != name) {
        let at = root.near(&["id"]);
        let written = context.written(at);
        let problem = context.report.error(at.span, format!("the id {written} is not the name of the file"));
        if at.is_substituted() {
            problem.help("the file has to be called ID.yaml");
        } else {
            problem.help(format!("call the file `{id}.yaml`, or write {}", named(name)));
        }
    }
    let entry = |key: &&str| root.entry(key);
    let span = |entry: &NodeEntry| Span { start: entry.key_span.start, end: entry.value.span.end };
    let others: Vec<Span> = BESIDE_SENDERS.iter().filter_map(entry).map(span).collect();
    CompiledRow { tenant, has_all_senders: !report.has_error_outside(&others) }
}

/// A position in a text, counted from zero. The position of each row of a long list is counted from that of the row before.
#[derive(Clone, Copy, Default)]
struct RowPosition {
    byte: usize,
    line: usize,
    column: usize,
}

impl RowPosition {
    /// The position of another byte of the `text`.
    fn moved_to(self, byte: usize, text: &str) -> Self {
        let from = if byte < self.byte { Self::default() } else { self };
        let passed = &text[from.byte..byte];
        let line = from.line + passed.matches('\n').count();
        let column = match passed.rsplit_once('\n') {
            Some((_, begun)) => begun.chars().count(),
            None => from.column + passed.chars().count(),
        };
        Self { byte, line, column }
    }
}

/// Compiles the rows of a list; they have to be right as a whole.
pub(super) fn compile_list(
    rows: &[TenantRow],
    list: &Node,
    exporters: &RowExporters<'_>,
    context: &mut Context<'_>,
) -> Vec<Arc<Tenant>> {
    let mut taken = TakenNames::default();
    let mut tenants = Vec::with_capacity(rows.len());
    let mut position = RowPosition::default();
    for (index, row) in rows.iter().enumerate() {
        let node = list.item(index).unwrap_or(list);
        position = position.moved_to(node.span.start, context.source);
        // With the column, for a line may hold several rows.
        let place = format!("{}:{}:{}", context.file, position.line + 1, position.column + 1).into();
        tenants.extend(one(row, node, &place, exporters, &mut taken, context).map(Arc::new));
    }
    tenants
}

/// As [`compile_list`], for a file that is such a list. `source` is the text of it.
pub(in crate::config) fn compile_rows(
    rows: &[TenantRow],
    root: &Node,
    file: &str,
    exporters: &RowExporters<'_>,
    (source, secrets): (&str, SecretPresence),
    files: &mut SourceFiles,
    report: &mut ProblemReport,
) -> Vec<Arc<Tenant>> {
    compile_list(rows, root, exporters, &mut Context { source, file, secrets, files, report })
}

/// What the rows above claim, and no other row may claim: each claim with the byte of the file at which it stands.
#[derive(Default)]
struct TakenNames {
    ids: HashMap<Arc<str>, usize>,
    credentials: HashMap<Credential, (usize, Box<str>, Arc<str>)>,
}

fn one(
    row: &TenantRow,
    node: &Node,
    place: &Arc<str>,
    exporters: &RowExporters<'_>,
    taken: &mut TakenNames,
    context: &mut Context<'_>,
) -> Option<Tenant> {
    let id = id(row, node, taken, context);
    let senders = senders(row, id.as_ref(), node.near(&["senders"]), taken, context);
    let values = values(row, node.near(&["values"]), context);
    let own =
        row.exporters.as_ref().map(|names| targets(names, exporters, node.near(&["exporters"]), context));
    let limits = limits(&row.limits, node.near(&["limits"]), context);
    let tenant = Tenant {
        id: id?,
        place: place.clone(),
        platform: row.platform.as_deref().map(Into::into),
        senders,
        values,
        exporters: own,
        limits,
        paused: row.paused,
        hold: row.hold,
    };
    if let Some(targets) = exporters.targets
        && !context.report.has_error_within(node.span)
    {
        targets.check(&tenant, node, context.report);
    }
    Some(tenant)
}

/// Whether a text can be a tenant's id or a sender's name: it can stand in a file's name, a URL and a log.
pub(crate) fn is_tenant_id(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The form of a tenant's id and of a sender's name, for messages.
pub(crate) const TENANT_IDS: &str =
    "write 1 to 128 letters, digits, `.`, `_` and `-`, not beginning with a `.`";

fn id(row: &TenantRow, node: &Node, taken: &mut TakenNames, context: &mut Context<'_>) -> Option<Arc<str>> {
    let at = node.near(&["id"]);
    let Some(id) = &row.id else {
        if !context.is_excused(node, "id") {
            context.report.error(node.span, "a row of the table needs an `id`").help("write `id: acme`");
        }
        return None;
    };
    if !is_tenant_id(id) {
        let subject = context.subject(at);
        context.report.error(at.span, format!("{subject} is not an id")).help(TENANT_IDS);
        return None;
    }
    let id: Arc<str> = id.as_str().into();
    if let Some(first) = taken.ids.get(&id) {
        let line = context.line_of(*first);
        let written = context.written(at);
        context
            .report
            .error(at.span, format!("duplicate id {written}"))
            .help(format!("it is already the id of the row on line {line}"));
    } else {
        taken.ids.insert(id.clone(), at.span.start);
    }
    Some(id)
}

fn senders(
    row: &TenantRow,
    id: Option<&Arc<str>>,
    list: &Node,
    taken: &mut TakenNames,
    context: &mut Context<'_>,
) -> Box<[Sender]> {
    let mut senders: Vec<Sender> = Vec::with_capacity(row.senders.len());
    for (index, written) in row.senders.iter().enumerate() {
        let node = list.item(index).unwrap_or(list);
        let name = sender_name(written, node, &senders, context);
        let credential = credential(written, node, context);
        let may_send_for = written.may_send_for.as_ref().map(|globs| {
            let list = node.near(&["may_send_for"]);
            if globs.is_empty() && !context.report.has_error_within(list.span) {
                context
                    .report
                    .error(list.span, "`may_send_for` names no tenant")
                    .help("leave it out: a sender may always send for its own tenant");
            }
            globs.iter().map(|glob| Glob::new(glob)).collect()
        });
        let (Some(name), Some((credential, at))) = (name, credential) else { continue };
        if let Some((first, other, tenant)) = taken.credentials.get(&credential) {
            let whose = if Some(tenant) == id { String::new() } else { format!(" of tenant `{tenant}`") };
            let line = context.line_of(*first);
            context
                .report
                .error(
                    at,
                    format!(
                        "the {} of sender `{name}` is also that of sender `{other}`{whose}",
                        credential.kind()
                    ),
                )
                .help(format!("it is already on line {line}; no two senders have the same"));
            continue;
        }
        // A row without an id is not used, and its claims can't be attributed to a tenant.
        if let Some(id) = id {
            taken.credentials.insert(credential.clone(), (at.start, name.clone(), id.clone()));
        }
        let expires = written.expires.map(|moment| moment.0);
        senders.push(Sender { name, credential, expires, may_send_for });
    }
    senders.into()
}

fn sender_name(
    sender: &TenantSender,
    node: &Node,
    earlier: &[Sender],
    context: &mut Context<'_>,
) -> Option<Box<str>> {
    let at = node.near(&["name"]);
    let Some(name) = &sender.name else {
        if !context.is_excused(node, "name") {
            context.report.error(node.span, "a sender needs a `name`").help("write `name: web`");
        }
        return None;
    };
    if !is_tenant_id(name) {
        let subject = context.subject(at);
        context.report.error(at.span, format!("{subject} is not a sender's name")).help(TENANT_IDS);
        return None;
    }
    if earlier.iter().any(|other| *other.name == **name) {
        let written = context.written(at);
        context
            .report
            .error(at.span, format!("duplicate sender {written}"))
            .help("each sender of a tenant has a name of its own");
    }
    Some(name.as_str().into())
}

/// The one credential of a sender, and where it stands. `None` if it has a mistake, which has been reported, or a placeholder, which
/// would be the same for all.
fn credential(sender: &TenantSender, node: &Node, context: &mut Context<'_>) -> Option<(Credential, Span)> {
    const KINDS: [&str; 4] = ["token", "token_sha256", "basic", "certificate"];
    let written: Vec<&NodeEntry> = KINDS.iter().filter_map(|kind| node.entry(kind)).collect();
    let entry = match written.as_slice() {
        [] => {
            // One may be misspelt.
            if !node.entries().iter().any(|entry| context.report.has_error_within(entry.key_span)) {
                context
                    .report
                    .error(node.span, "a sender needs a credential")
                    .help("write `token`, `token_sha256`, `basic` or `certificate`");
            }
            return None;
        }
        [one] => one,
        [first, second, ..] => {
            context
                .report
                .error(
                    second.key_span,
                    format!("a sender has one credential, not `{}` and `{}`", first.key, second.key),
                )
                .help("write a sender for each");
            return None;
        }
    };
    let at = &entry.value;
    let span = at.span;
    let credential = match entry.key.as_str() {
        "token" => {
            let token = filled(sender.token.as_deref(), at, "token", context)?;
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                context
                    .report
                    .error(span, "this token can't be sent in a header")
                    .help("a token has ASCII letters, digits and signs alone, without spaces");
                return None;
            }
            Credential::token(token.as_bytes())
        }
        "token_sha256" => {
            let hash = filled(sender.token_sha256.as_deref(), at, "token_sha256", context)?;
            let Some(hash) = SecretHash::from_hex(hash) else {
                context
                    .report
                    .error(span, "this is not a SHA-256")
                    .help("write 64 hexadecimal digits, as `printf %s \"$TOKEN\" | sha256sum | cut -c1-64` prints them");
                return None;
            };
            Credential::Token(hash)
        }
        "basic" => basic(sender.basic.as_ref()?, at, context)?,
        _ => Credential::Certificate(certificate(sender, at, context)?),
    };
    Some((credential, span))
}

/// The text of a key that must have one. `None` if it is a placeholder, or if it is missing, which has been reported.
fn filled<'a>(text: Option<&'a str>, at: &Node, key: &str, context: &mut Context<'_>) -> Option<&'a str> {
    if at.has_placeholder() {
        return None;
    }
    let text = text.filter(|text| !text.is_empty());
    if text.is_none() && !context.report.has_error_within(at.span) {
        context.report.error(at.span, format!("`{key}` is empty"));
    }
    text
}

fn basic(basic: &TenantPassword, node: &Node, context: &mut Context<'_>) -> Option<Credential> {
    let mut texts = [("username", &basic.username), ("password", &basic.password)].map(|(key, text)| {
        let Some(at) = node.get(key) else {
            if !context.is_excused(node, key) {
                context
                    .report
                    .error(node.span, format!("`basic` needs a `{key}`"))
                    .help("write `basic: { username: acme, password: \"${file:secrets/acme}\" }`");
            }
            return None;
        };
        let text = filled(text.as_deref(), at, key, context)?;
        if text.contains(char::is_control) || (key == "username" && text.contains(':')) {
            context
                .report
                .error(at.span, format!("this `{key}` can't be sent in a header"))
                .help("a user name has no `:`, and neither has control characters");
            return None;
        }
        Some(text)
    });
    let (username, password) = (texts[0].take()?, texts[1].take()?);
    Some(Credential::basic(username.as_bytes(), password.as_bytes()))
}

fn certificate(sender: &TenantSender, node: &Node, context: &mut Context<'_>) -> Option<CertificateName> {
    let names = sender.certificate.as_ref()?;
    let written = [("uri", &names.uri), ("dns", &names.dns), ("cn", &names.cn)];
    let mut present = written.into_iter().filter(|(key, _)| node.get(key).is_some());
    let (Some((key, name)), None) = (present.next(), present.next()) else {
        if !node.entries().iter().any(|entry| context.report.has_error_within(entry.key_span)) {
            context
                .report
                .error(node.span, "`certificate` has exactly one of `uri`, `dns` and `cn`")
                .help("write `certificate: { uri: \"spiffe://prod/acme\" }`");
        }
        return None;
    };
    let name = filled(name.as_deref(), node.near(&[key]), key, context)?;
    Some(match key {
        "uri" => CertificateName::Uri(name.into()),
        "dns" => CertificateName::dns(name),
        _ => CertificateName::CommonName(name.into()),
    })
}

fn values(row: &TenantRow, node: &Node, context: &mut Context<'_>) -> TenantValues {
    let mut values = Vec::with_capacity(row.values.len());
    for (name, value) in &row.values {
        let entry = node.entry(name);
        let key_span = entry.map_or(node.span, |entry| entry.key_span);
        let is_identifier = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_identifier {
            context
                .report
                .error(key_span, "this is not the name of a value")
                .help("write letters, digits and `_`, as a template can have it: `{{ tenant.host }}`");
        } else if name == "id" {
            context
                .report
                .error(key_span, "`{{ tenant.id }}` is the row's own id")
                .help("give the value another name");
        }
        let texts = match value {
            TenantValue::One(text) => std::slice::from_ref(text),
            TenantValue::Several(texts) => texts.as_slice(),
        };
        let span = entry.map_or(node.span, |entry| entry.value.span);
        if texts.is_empty() && !context.report.has_error_within(span) {
            context.report.error(span, "a value needs a text").help("write one, or leave the value out");
        }
        values.push((name.as_str().into(), texts.iter().cloned().map(SecretString::from).collect()));
    }
    TenantValues::new(values)
}

fn targets(
    names: &[String],
    exporters: &RowExporters<'_>,
    list: &Node,
    context: &mut Context<'_>,
) -> Box<[Box<str>]> {
    if names.is_empty() && !context.report.has_error_within(list.span) {
        context
            .report
            .error(list.span, "`exporters` names no exporter")
            .help("leave it out to use those of the route");
    }
    for (index, name) in names.iter().enumerate() {
        let at = list.item(index).unwrap_or(list);
        if names[..index].contains(name) {
            let subject = context.subject(at);
            context.report.error(at.span, format!("{subject} is named twice")).help("keep one of the two");
        } else if !exporters.names.contains(&name.as_str()) && !exporters.incomplete {
            let near =
                if at.is_substituted() { None } else { nearest(name, exporters.names.iter().copied()) };
            let written = context.written(at);
            context.report.error(at.span, format!("there is no exporter {written}")).help(match near {
                Some(near) => format!("did you mean {}?", named(near)),
                None => format!("the exporters are {}", listed(exporters.names.iter().copied())),
            });
        }
    }
    names.iter().map(|name| name.as_str().into()).collect()
}

fn limits(share: &TenantShare, node: &Node, context: &mut Context<'_>) -> TenantLimits {
    let mut above_zero = |key: &str, bytes: Option<u64>| {
        let bytes = bytes?;
        if bytes == 0 {
            context
                .report
                .error(node.near(&[key]).span, format!("`{key}` must be above zero"))
                .help("write `paused: true` in the row to take nothing of this tenant");
        }
        NonZeroU64::new(bytes)
    };
    let limits = TenantLimits {
        rate: above_zero("rate", share.rate.map(|rate| rate.0)),
        burst: above_zero("burst", share.burst.map(|size| size.0)),
        // Zero is out of the range of the schema.
        streams: share.streams.and_then(NonZeroUsize::new),
        memory: above_zero("memory", share.memory.map(|size| size.0)),
        journal: above_zero("journal", share.journal.map(|size| size.0)),
    };
    if limits.burst.is_some() && node.get("rate").is_none() {
        context.report.warn(node.near(&["burst"]).span, "`burst` has no effect without a `rate`");
    }
    limits
}
