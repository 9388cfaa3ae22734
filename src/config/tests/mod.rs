//! Whole configurations: what they compile to, and what is said about each kind of mistake.

mod admin;
mod arbitrary;
mod collector;
mod documentation;
mod edits;
mod every_key;
mod examples;
mod exporter_auth;
mod exporters;
mod extensions;
mod pipelines;
mod presets;
mod problems;
mod processors;
mod receivers;
mod routes;
mod row_targets;
mod row_text;
mod secrets;
mod substitution;
mod telemetry;
mod tenants;
mod watches;

use super::{
    Compiled, Problems, RowCheck, SecretPresence, Surroundings, Translation, read, substitute::SourceFiles,
};
use crate::export::{ExporterKind, ExporterSettings, OtlpHttpSettings};

/// What the tests take for the machine's memory.
const MEMORY: u64 = 8 << 30;

/// A configuration without problems, in three lines.
const MINIMAL: &str = "\
receivers: { otlp: { protocols: { http: } } }
exporters: { debug: }
routes: [{ exporters: [debug] }]
";

/// What the schema for editors has against a configuration that can be used fails the test that uses it.
fn load_with(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Compiled, Problems> {
    let surroundings = Surroundings {
        env,
        secrets: SecretPresence::Needed,
        rows: RowCheck::WithExporters,
        translation: Translation::WithValues,
        memory: Some(MEMORY),
    };
    let compiled = read(text, "config.yaml", SourceFiles::default(), &surroundings)?;
    assert_eq!(examples::complaints(text), [""; 0], "the schema refuses what can be used:\n{text}");
    Ok(compiled)
}

fn load(text: &str) -> Result<Compiled, Problems> {
    load_with(text, &|_| None)
}

/// Loads a configuration as `sluice check --without-secrets` does where no variable is set.
fn load_without_secrets(text: &str) -> Result<Compiled, Problems> {
    let surroundings = Surroundings {
        env: &|_| None,
        secrets: SecretPresence::Optional,
        rows: RowCheck::Alone,
        translation: Translation::WithValues,
        memory: Some(MEMORY),
    };
    read(text, "config.yaml", SourceFiles::default(), &surroundings)
}

/// Loads what must have no error.
fn good(text: &str) -> Compiled {
    load(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems of a configuration, one line each: `line:column severity: message (help)`.
fn said(text: &str) -> Vec<String> {
    said_with(text, &|_| None)
}

fn said_with(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let list = load_with(text, env).map_or_else(|problems| problems.list, |compiled| compiled.warnings);
    list.iter()
        .map(|problem| {
            let place = match (problem.line, problem.column) {
                (Some(line), Some(column)) => format!("{line}:{column}"),
                _ => "-".to_owned(),
            };
            let severity = serde_json::to_value(problem.severity).unwrap();
            let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{place} {}: {}{help}", severity.as_str().unwrap(), problem.message)
        })
        .collect()
}

/// [`MINIMAL`] with more at the top level, from line 4 on.
fn with(more: &str) -> String {
    format!("{MINIMAL}{more}")
}

/// A configuration whose one exporter has this type and these lines, from line 4 on, with four spaces before each.
fn with_exporter(r#type: &str, lines: &str) -> String {
    let indented: String = lines.lines().flat_map(|line| ["    ", line, "\n"]).collect();
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: }} }} }}\nexporters:\n  {type}:\n{indented}routes: [{{ exporters: [{type}] }}]\n"
    )
}

/// The one exporter of such a configuration.
fn exporter(r#type: &str, lines: &str) -> ExporterSettings {
    good(&with_exporter(r#type, lines)).exporters.remove(0).1
}

fn otlp_http(lines: &str) -> OtlpHttpSettings {
    match exporter("otlp_http", lines).kind {
        ExporterKind::OtlpHttp(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

/// A configuration whose routes are these lines, from line 3 on, with the exporters `debug` and `file`.
fn with_routes(lines: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: }} }} }}\nexporters: {{ debug: , file: }}\nroutes:\n{lines}"
    )
}
