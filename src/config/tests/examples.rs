//! The files in `config/`.

use super::*;
use crate::config::{ConfigSource, EMBEDDED, Problem, RowReader};
use crate::receive::Protocol;
use crate::tenants::RowContent;

fn env(name: &str) -> Option<String> {
    matches!(name, "S2_BASIN" | "S2_ACCESS_TOKEN" | "BETTER_STACK_TOKEN").then(|| "my-value".to_owned())
}

/// The files of the directory that this is below the crate's.
fn files_of(directory: &str) -> Vec<std::path::PathBuf> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn examples() -> Vec<std::path::PathBuf> {
    files_of("config")
}

#[test]
fn every_example_loads() {
    let examples = examples();
    assert!(examples.len() >= 6);
    for file in examples {
        if let Err(problems) = crate::config::load(&ConfigSource::File(file), &env) {
            panic!("{problems}");
        }
    }
}

#[test]
fn every_example_that_takes_http_takes_grpc_as_well() {
    for file in examples() {
        let compiled = crate::config::load(&ConfigSource::File(file.clone()), &env).unwrap();
        let port = |protocol| compiled.listeners.iter().any(|listener| listener.protocol == protocol);
        assert!(port(Protocol::Http) && port(Protocol::Grpc), "{}", file.display());
    }
}

#[test]
fn every_example_loads_without_its_secrets() {
    for file in examples() {
        let source = ConfigSource::File(file);
        let compiled =
            crate::config::load_with(&source, &|_| None, SecretPresence::Optional, RowCheck::WithExporters);
        let compiled = compiled.unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!compiled.listeners.is_empty() && !compiled.routes.is_empty());
    }
}

#[test]
fn every_row_of_an_example_with_tenants_can_be_used() {
    let file = examples().into_iter().find(|file| file.ends_with("better-stack.yaml")).unwrap();
    let compiled = crate::config::load(&ConfigSource::File(file), &env).unwrap();
    let reader = RowReader::new(&compiled, |_| None, SecretPresence::Optional, RowCheck::WithExporters);
    let rows = files_of("config/tenants.d");
    assert!(rows.len() >= 2);
    for row in rows {
        let name = row.file_name().unwrap().to_str().unwrap().into();
        let read = reader.read(&row, &name);
        assert!(matches!(read.content, RowContent::Row(_)), "{:?}", read.problems);
        let is_placeholder = |problem: &Problem| problem.message.contains("a placeholder stands for it");
        assert!(read.problems.iter().all(is_placeholder), "{:?}", read.problems);
    }
}

/// A file as another program would read it.
pub(super) fn as_json(node: &crate::config::node::Node) -> serde_json::Value {
    use crate::config::node::NodeValue;
    match &node.value {
        NodeValue::Scalar(scalar) => crate::config::secrets::typed(scalar),
        NodeValue::Seq(items) => items.iter().map(as_json).collect(),
        NodeValue::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), as_json(&entry.value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// What the published schema has against a file.
pub(super) fn complaints(yaml: &str) -> Vec<String> {
    static VALIDATOR: std::sync::OnceLock<jsonschema::Validator> = std::sync::OnceLock::new();
    let validator = VALIDATOR
        .get_or_init(|| jsonschema::draft202012::new(crate::config::schema()).expect("it is a schema"));
    let mut report = crate::config::problem::ProblemReport::default();
    let root = crate::config::parse::parse(yaml, &mut report).ok().expect("it is YAML");
    let json = as_json(&root);
    validator.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_schema_takes_every_example() {
    for file in examples() {
        let yaml = std::fs::read_to_string(&file).unwrap();
        assert_eq!(complaints(&yaml), [""; 0], "{}", file.display());
    }
    assert_eq!(complaints(EMBEDDED), [""; 0]);
}

#[test]
fn the_schema_takes_what_the_configuration_takes() {
    for yaml in [
        "limits: { streams: 4_000, memory: 536870912 }",
        "limits: { streams: \"${env:N}\" }\nadmin: { enabled: \"${env:A}\" }\nunrouted: ${env:U}",
        "limits:\nshutdown_timeout: 0\nunrouted: ''\nroutes:",
        "exporters: { otlp_http: { endpoint: https://a, headers: { X: 1, Y: true }, user_agent: x, tls: , auth: } }",
        "exporters: { otlp_http: { headers: [{ name: X, value: 1 }] , sending_queue: { queue_size: 100, storage: x } } }",
        "routes: [{ match: { a: 1, b: [1, true], c: { not: { regex: x } }, d: { exists: false } }, key: 5, signals: [logs] }]",
        "receivers: { otlp/a: { protocols: { http: , grpc: { keepalive: { enforcement_policy: {} } } } } }",
        "exporters: { otlp_http: { auth: { authenticator: }, middlewares: [{ id: }], headers: { X: }, compression_params: { level: -1 } } }",
        "exporters: { otlp_http: { tls: { tpm: { enabled: false, path: /dev/tpm0 }, include_insecure_cipher_suites: false } } }",
        "exporters: { otlp_http: { preset: s2, token: 1, valid_key: { regex: x } }, otlp_grpc: { preset: \"${env:P}\", token: } }",
        "receivers: { otlp: { protocols: { http: { max_request_body_size: 0 }, grpc: { max_recv_msg_size_mib: 0 } } } }",
        "processors: { batch: }\nservice: { pipelines: {} }\nextensions: { a: , bearertokenauth/b: { tokens: [\"${env:T}\", x], scheme: '' } }\nconnectors: { routing: }",
    ] {
        assert_eq!(complaints(yaml), [""; 0], "{yaml}");
    }
}

#[test]
fn the_schema_takes_no_slips() {
    for yaml in [
        "limit: {}",
        "limits: { streams: many }",
        "limits: { streams: 0 }",
        "unrouted: drp",
        "routes: [{ exporters: debug }]",
        "exporters: { kafka: {} }",
        "exporters: { otlp_http: { endpont: x } }",
        "exporters: { otlp_http: { preset: s3 } }",
        "exporters: { file: { preset: s2 } }",
        "receivers: { otlp: { protocols: { http: { auth: { authenticatr: x } } } } }",
        "extensions: { basicauth: { htpasswd: { path: x } } }",
        "receivers: { otlp: { protocols: { http: { middlewares: [{ id: x }] } } } }",
        "exporters: { otlp_http: { tls: { tpm: { path: /dev/tpm0 } } } }",
        "admin: { enabled: yep }",
    ] {
        assert_ne!(complaints(yaml), [""; 0], "{yaml}");
    }
}

#[test]
fn the_embedded_default_has_no_problem() {
    let compiled = good(EMBEDDED);
    assert_eq!(compiled.warnings, []);
    assert_eq!(compiled.listeners[0].endpoint, "127.0.0.1:4318".parse().unwrap());
    assert_eq!(compiled.admin.unwrap().endpoint, "127.0.0.1:8888".parse().unwrap());
    let names: Vec<&str> = compiled.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["s2", "highlight", "service"]);
}

#[test]
fn a_collectors_blocks_give_warnings_that_say_why_and_no_error() {
    let file = examples().into_iter().find(|file| file.ends_with("collector-paste.yaml")).unwrap();
    let compiled = crate::config::load(&ConfigSource::File(file), &env).unwrap();
    let keys: Vec<&str> = compiled
        .warnings
        .iter()
        .filter_map(|problem| problem.message.split_once(" has no effect: ").map(|(key, _)| key))
        .collect();
    assert_eq!(
        keys,
        [
            "`include_metadata`",
            "the processor `batch`",
            "`read_buffer_size`",
            "`reload_interval`",
            "`keepalive`",
            "`sampling_initial`",
            "`service`"
        ]
    );
}

#[test]
fn the_source_is_chosen_in_the_documented_order() {
    let named = |name: &str| (name == "SLUICE_CONFIG").then(|| "/etc/sluice.yaml".to_owned());
    assert_eq!(ConfigSource::choose(Some("a.yaml".into()), &named), ConfigSource::File("a.yaml".into()));
    assert_eq!(ConfigSource::choose(None, &named), ConfigSource::File("/etc/sluice.yaml".into()));
    // Tests run in the directory of the crate, where the default file is.
    assert_eq!(ConfigSource::choose(None, &|_| None), ConfigSource::File("./config/sluice.yaml".into()));
}
