//! The documentation against the schema and what the configuration takes.

use std::fmt::Write as _;

use super::*;
use crate::config::{RowReader, Severity};

const BEGIN: &str = "<!-- reference: made from the schema by `UPDATE_DOCS=1 cargo test reference` -->\n";
const END: &str = "<!-- end of the reference -->\n";

#[test]
fn the_reference_in_the_documentation_is_the_schemas() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the file has the marker");
    let (written, after) = rest.split_once(END).expect("the file has the end marker");
    let reference = format!("\n{}", crate::config::reference());
    if written != reference && std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{reference}{END}{after}")).unwrap();
        return;
    }
    assert!(
        written == reference,
        "docs/configuration.md is behind the schema: run `UPDATE_DOCS=1 cargo test reference`"
    );
}

#[test]
fn every_yaml_block_in_the_documentation_is_valid() {
    for (page, least) in [("configuration.md", 8), ("operations.md", 1), ("tenants.md", 8)] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
        let text = std::fs::read_to_string(path).unwrap();
        let mut blocks = 0;
        for block in text.split("```yaml\n").skip(1) {
            let yaml = block.split("```").next().unwrap();
            blocks += 1;
            if let Some(row) = yaml.strip_prefix("id: ") {
                let id = row.lines().next().unwrap().trim_matches('"');
                assert_eq!(said_of_example_row(id, yaml), [""; 0], "{yaml}");
                continue;
            }
            let whole = complete(yaml);
            // Files with secrets and certificates are not there.
            let (env, memory) = (&|_: &str| Some("5s".into()), Some(MEMORY));
            let surroundings =
                Surroundings { env, secrets: Secrets::Optional, rows: RowCheck::Alone, memory };
            if let Err(problems) = read(&whole, "config.yaml", Files::default(), &surroundings) {
                panic!("{problems}\n{whole}");
            }
            assert_eq!(super::examples::complaints(&whole), [""; 0], "{whole}");
        }
        assert!(blocks >= least, "{page}: {blocks}");
    }
}

/// What is wrong with a row of the table of tenants that has this id, beside that its secrets are not there.
fn said_of_example_row(id: &str, yaml: &str) -> Vec<String> {
    let config = with_exporter("otlp_http/eu", "endpoint: https://eu.example.com");
    let reader = RowReader::new(&good(&config), |_| None, Secrets::Optional, RowCheck::Alone);
    let place = format!("{id}.yaml");
    let problems = reader.read_text(yaml, std::path::Path::new(&place), &place.as_str().into()).problems;
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    errors.map(ToString::to_string).collect()
}

/// A block with the sections that it leaves out.
fn complete(yaml: &str) -> String {
    let mut whole = yaml.to_owned();
    let has = |section: &str| yaml.lines().any(|line| line.starts_with(section));
    if !has("receivers:") {
        whole.push_str("receivers: { otlp: { protocols: { http: } } }\n");
    }
    if !has("exporters:") {
        whole.push_str(
            "exporters: { debug: , file/local: , \"otlp_http/s2\": { endpoint: \"https://a\" } }\n",
        );
    }
    if !has("routes:") {
        let exporter = yaml.lines().skip_while(|line| !line.starts_with("exporters:")).nth(1);
        let exporter = exporter.map_or("debug", |line| line.trim().trim_end_matches(':'));
        let name = exporter.split(": ").next().unwrap();
        writeln!(whole, "routes: [{{ exporters: [{name}] }}]").unwrap();
    }
    whole
}
