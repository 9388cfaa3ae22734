//! The values of a configuration by their keys, so that two configurations can be compared though neither outline keeps secrets.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::Value as Json;

use super::node::{Node, NodeValue};
use super::problem::ProblemReport;
use super::quoting::REDACTED;
use super::secrets::typed;

/// The values of a configuration, by the keys that lead to them.
#[derive(Clone, Debug, Default)]
pub struct ConfigOutline {
    values: BTreeMap<Vec<String>, OutlinedValue>,
}

/// A value.
#[derive(Clone, Debug)]
struct OutlinedValue {
    /// The value as it is written, if it may be shown.
    shown: Json,
    /// The hash of the value after substitution, keyed with a random key of this process, so that it reveals nothing.
    hash: u64,
}

/// A value in which two configurations differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigDifference {
    /// The keys that lead to it, with dots between them.
    pub field: String,
    /// The value before, as it may be shown; null if there was none.
    pub from: Json,
    /// The value after.
    pub to: Json,
}

impl ConfigOutline {
    /// The outline of a configuration whose values are substituted. `source` is its text.
    pub(super) fn of(root: &Node, report: &ProblemReport, source: &str) -> Self {
        let mut outline = Self::default();
        outline.add(&mut Vec::new(), root, report, source);
        outline
    }

    fn add(&mut self, path: &mut Vec<String>, node: &Node, report: &ProblemReport, source: &str) {
        let (shown, inner) = match &node.value {
            NodeValue::Scalar(scalar) if !report.shows(node.span) && !scalar.is_null() => {
                (REDACTED.into(), Vec::new())
            }
            NodeValue::Scalar(scalar) if scalar.is_substituted() => {
                (source.get(node.span.start..node.span.end).unwrap_or_default().into(), Vec::new())
            }
            NodeValue::Scalar(scalar) => (typed(scalar), Vec::new()),
            // There may be a hundred thousand rows, which are compared by the table of tenants.
            NodeValue::Seq(items) if path.first().is_some_and(|section| section == "tenants") => {
                (format!("{} rows", items.len()).into(), Vec::new())
            }
            NodeValue::Seq(items) => {
                let items = items.iter().enumerate().map(|(index, item)| (index.to_string(), item));
                (Json::Array(Vec::new()), items.collect())
            }
            NodeValue::Map(entries) => {
                let key = |entry: &super::node::NodeEntry| {
                    if report.shows(entry.key_span) { entry.key.clone() } else { REDACTED.to_owned() }
                };
                let entries = entries.iter().map(|entry| (key(entry), &entry.value));
                (Json::Object(serde_json::Map::new()), entries.collect())
            }
        };
        if inner.is_empty() {
            let mut hasher = key_of_process().build_hasher();
            hash(node, &mut hasher);
            // Keys that may not be shown have one name.
            let hash = hasher.finish() ^ self.values.get(path).map_or(0, |known| known.hash.rotate_left(1));
            self.values.insert(path.clone(), OutlinedValue { shown, hash });
        }
        for (key, node) in inner {
            path.push(key);
            self.add(path, node, report, source);
            path.pop();
        }
    }

    /// The keys below this path.
    pub fn keys(&self, path: &[&str]) -> Vec<&str> {
        let mut keys: Vec<&str> = Vec::new();
        for key in self.below(path).filter_map(|(rest, _)| rest.first()) {
            if keys.last() != Some(&key.as_str()) {
                keys.push(key);
            }
        }
        keys
    }

    /// The differences between this outline below one path and `after` below another.
    pub fn differences(&self, path: &[&str], after: &Self, path_after: &[&str]) -> Vec<ConfigDifference> {
        let before: BTreeMap<&[String], &OutlinedValue> = self.below(path).collect();
        let after: BTreeMap<&[String], &OutlinedValue> = after.below(path_after).collect();
        let mut fields: Vec<&[String]> = before.keys().chain(after.keys()).copied().collect();
        fields.sort_unstable();
        fields.dedup();
        let shown = |value: Option<&&OutlinedValue>| value.map_or(Json::Null, |value| value.shown.clone());
        let difference = |field: &[String]| {
            let (from, to) = (before.get(field), after.get(field));
            (from.map(|value| value.hash) != to.map(|value| value.hash)).then(|| ConfigDifference {
                field: field.join("."),
                from: shown(from),
                to: shown(to),
            })
        };
        fields.into_iter().filter_map(difference).collect()
    }

    fn below<'o>(&'o self, path: &[&str]) -> impl Iterator<Item = (&'o [String], &'o OutlinedValue)> {
        let depth = path.len();
        let from: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        let first = from.clone();
        self.values
            .range(first..)
            .take_while(move |(path, _)| path.starts_with(&from))
            .map(move |(path, value)| (&path[depth..], value))
    }
}

/// The random key of the hashes.
fn key_of_process() -> &'static RandomState {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new)
}

fn hash(node: &Node, hasher: &mut impl std::hash::Hasher) {
    match &node.value {
        NodeValue::Scalar(scalar) => {
            hasher.write_u8(u8::from(scalar.is_null()));
            hasher.write(scalar.text.as_bytes());
            hasher.write_u8(0xff);
        }
        NodeValue::Seq(items) => {
            hasher.write_usize(items.len());
            for item in items {
                hash(item, hasher);
            }
        }
        NodeValue::Map(entries) => {
            hasher.write_usize(entries.len());
            for entry in entries {
                hasher.write(entry.key.as_bytes());
                hasher.write_u8(0xff);
                hash(&entry.value, hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigSource, EMBEDDED, RowCheck, SecretPresence, load_with};
    use super::*;

    fn outline(yaml: &str) -> ConfigOutline {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("sluice.yaml");
        std::fs::write(&path, yaml).unwrap();
        let env = |name: &str| (name == "OUTLINED").then(|| "planted".to_owned());
        let loaded = load_with(&ConfigSource::File(path), &env, SecretPresence::Needed, RowCheck::Alone);
        loaded.unwrap_or_else(|problems| panic!("{problems}")).outline
    }

    const BEFORE: &str = "\
receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:4318 } } } }
exporters: { otlp_http/a: { endpoint: https://a.example.com, headers: { X-Key: planted } }, nop: }
routes: [{ exporters: [otlp_http/a, nop] }]
";

    #[test]
    fn a_secret_that_changes_is_a_difference_that_shows_nothing_of_it() {
        let after = BEFORE.replace("X-Key: planted", "X-Key: planted-2");
        let differences = outline(BEFORE).differences(&[], &outline(&after), &[]);
        let redacted = Json::from(REDACTED);
        let field = "exporters.otlp_http/a.headers.X-Key".to_owned();
        assert_eq!(differences, [ConfigDifference { field, from: redacted.clone(), to: redacted }]);
        // What is written otherwise is the same if it says the same.
        let same = BEFORE.replace("X-Key: planted", "X-Key: '${env:OUTLINED}'");
        assert!(!format!("{:?}", outline(&same)).contains("planted"));
        assert_eq!(outline(BEFORE).differences(&[], &outline(&format!("# a comment\n{same}")), &[]), []);
    }

    #[test]
    fn what_is_new_and_what_is_gone_has_nothing_on_the_other_side() {
        let (before, after) = (
            outline(BEFORE),
            outline(
                &BEFORE
                    .replace(", nop: }", ", debug: { verbosity: detailed } }")
                    .replace(", nop]", ", debug]"),
            ),
        );
        assert_eq!(before.keys(&["exporters"]), ["nop", "otlp_http/a"]);
        assert_eq!(after.keys(&["exporters"]), ["debug", "otlp_http/a"]);
        let told: Vec<(String, Json, Json)> = before
            .differences(&["exporters"], &after, &["exporters"])
            .into_iter()
            .map(|difference| (difference.field, difference.from, difference.to))
            .collect();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0], ("debug.verbosity".to_owned(), Json::Null, "detailed".into()));
        assert_eq!((told[1].0.as_str(), &told[1].2), ("nop", &Json::Null));
        assert_eq!(before.differences(&["receivers"], &after, &["receivers"]), []);
        assert!(outline(EMBEDDED).keys(&[]).contains(&"exporters"));
    }
}
