//! The documentation against the schema and what the configuration takes.

use std::fmt::Write as _;

use super::*;
use crate::config::processors::{ANY_OTHER, TABLE, Treatment};
use crate::config::{RowReader, Severity};

/// Compares a file of the repository with what is made of its text, or writes that there if `UPDATE_DOCS` is set.
fn is_up_to_date(file: &str, make: impl FnOnce(&str) -> String) -> bool {
    /// What one test writes is not taken back by another.
    static WRITING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _writing = WRITING.lock().unwrap();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let written = std::fs::read_to_string(&path).unwrap();
    let made = make(&written);
    if written != made && std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap();
        return true;
    }
    written == made
}

/// Does so with what stands between the two markers in the page about the configuration.
fn section_is_up_to_date(begin: &str, end: &str, made: &str) -> bool {
    is_up_to_date("docs/configuration.md", |text| {
        let (before, rest) = text.split_once(begin).expect("the file has the marker");
        let (_, after) = rest.split_once(end).expect("the file has the end marker");
        format!("{before}{begin}{made}{end}{after}")
    })
}

#[test]
fn the_embedded_schema_is_made_from_the_model_as_the_reference_is() {
    assert!(
        is_up_to_date("src/config/schema.json", |_| crate::config::schema::text_of_model()),
        "src/config/schema.json is behind the model: run `UPDATE_DOCS=1 cargo test reference`"
    );
}

#[test]
fn the_reference_in_the_documentation_is_the_schemas() {
    const BEGIN: &str = "<!-- reference: made from the schema by `UPDATE_DOCS=1 cargo test reference` -->\n";
    const END: &str = "<!-- end of the reference -->\n";
    assert!(
        section_is_up_to_date(BEGIN, END, &format!("\n{}", crate::config::reference())),
        "docs/configuration.md is behind the schema: run `UPDATE_DOCS=1 cargo test reference`"
    );
}

#[test]
fn the_processors_in_the_documentation_are_those_of_the_table() {
    const BEGIN: &str =
        "<!-- processors: made from their table by `UPDATE_DOCS=1 cargo test processors` -->\n";
    const END: &str = "<!-- end of the processors -->\n";
    let mut made = "\n| processor | it is | instead |\n|---|---|---|\n".to_owned();
    let rows = TABLE.iter().map(|(types, treatment)| {
        let types: Vec<String> = types.iter().map(|r#type| format!("`{type}`")).collect();
        (types.join(", "), *treatment)
    });
    for (types, treatment) in rows.chain([("any other".to_owned(), ANY_OTHER)]) {
        match treatment {
            Treatment::Run => {
                writeln!(made, "| {types} | run by the routes that name it | see [Edits](#edits) |")
            }
            Treatment::LeftOut(why) => writeln!(made, "| {types} | a warning | {why} |"),
            Treatment::Refused { without, instead } => {
                writeln!(made, "| {types} | an error: {without} | {instead} |")
            }
        }
        .unwrap();
    }
    made.push('\n');
    assert!(
        section_is_up_to_date(BEGIN, END, &made),
        "docs/configuration.md is behind the table: run `UPDATE_DOCS=1 cargo test processors`"
    );
}

#[test]
fn the_presets_in_the_documentation_are_those_of_the_table() {
    const BEGIN: &str = "<!-- presets: made from their table by `UPDATE_DOCS=1 cargo test presets` -->\n";
    const END: &str = "<!-- end of the presets -->\n";
    assert!(
        section_is_up_to_date(BEGIN, END, &format!("\n{}\n", crate::config::preset_reference())),
        "docs/configuration.md is behind the table: run `UPDATE_DOCS=1 cargo test presets`"
    );
}

/// The README, and all below `docs`.
fn pages() -> Vec<std::path::PathBuf> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    let mut directories = vec![root.join("docs")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.extension() {
                _ if entry.is_dir() => directories.push(entry),
                Some(ending) if ending == "md" => pages.push(entry),
                _ => {}
            }
        }
    }
    pages
}

#[test]
fn every_yaml_block_in_the_documentation_is_valid() {
    let mut blocks = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let yaml = block.split("```").next().unwrap();
            blocks += 1;
            if let Some(row) = yaml.strip_prefix("id: ") {
                let id = row.lines().next().unwrap().trim_matches('"');
                assert_eq!(said_of_example_row(id, yaml), [""; 0], "{}: {yaml}", page.display());
                continue;
            }
            let whole = complete(yaml);
            // Neither variables nor files with secrets and certificates are there.
            if let Err(problems) = load_without_secrets(&whole) {
                panic!("{}: {problems}\n{whole}", page.display());
            }
            assert_eq!(super::examples::complaints(&whole), [""; 0], "{}: {whole}", page.display());
        }
    }
    assert!(blocks > 40, "{blocks}");
}

/// What is wrong with a row of the table of tenants that has this id, beside that its secrets are not there.
fn said_of_example_row(id: &str, yaml: &str) -> Vec<String> {
    let config = with_exporter("otlp_http/eu", "endpoint: https://eu.example.com");
    let reader = RowReader::new(&good(&config), |_| None, SecretPresence::Optional, RowCheck::Alone);
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
