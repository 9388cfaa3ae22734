//! The schema for editors against every configuration that a test runs: what Sluice takes must be no mistake to an editor.

use std::path::Path;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

/// Fails if the published schema refuses the file, which Sluice runs on. The file is read as an editor does it, by a parser that is not
/// Sluice's own.
pub fn takes(config: &Path) {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let validator = VALIDATOR
        .get_or_init(|| jsonschema::draft202012::new(sluice::config::schema()).expect("it is a schema"));
    let text = std::fs::read_to_string(config).expect("Sluice has read it");
    let read: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let complaints: Vec<String> =
        validator.iter_errors(&read).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert_eq!(complaints, [""; 0], "the schema refuses what Sluice runs on:\n{text}");
}
