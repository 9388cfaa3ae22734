//! Configurations with every key of the reference. Each of their values in turn is replaced by a variable that is not set, by nothing,
//! or by a value of another kind.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::examples::{as_json, complaints};
use super::*;
use crate::config::node::{Node, NodeValue};
use crate::config::problem::ProblemReport;
use crate::config::schema::Shape;
use crate::config::{Severity, parse};

/// The configurations of `every_key.yaml`.
fn whole() -> Vec<Json> {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/tests/every_key.yaml"));
    text.unwrap().split("\n---\n").map(|yaml| as_json(&parsed(yaml))).collect()
}

fn parsed(yaml: &str) -> Node {
    parse::parse(yaml, &mut ProblemReport::default()).ok().expect("it is YAML")
}

/// Where each value of a configuration is, but for the configuration itself.
fn places(value: &Json, path: &str, into: &mut Vec<String>) {
    let mut add = |key: &str, value: &Json| {
        let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
        into.push(path.clone());
        places(value, &path, into);
    };
    match value {
        Json::Object(map) => map.iter().for_each(|(key, value)| add(key, value)),
        Json::Array(items) => items.iter().enumerate().for_each(|(at, value)| add(&at.to_string(), value)),
        _ => {}
    }
}

/// Each place of each configuration.
fn all_places() -> Vec<(Json, String)> {
    let of = |config: Json| {
        let mut paths = Vec::new();
        places(&config, "", &mut paths);
        paths.into_iter().map(move |path| (config.clone(), path)).collect::<Vec<_>>()
    };
    whole().into_iter().flat_map(of).collect()
}

/// The configuration with another value at a place, as a text of one line.
fn with_value(config: &Json, place: &str, value: Json) -> String {
    let mut config = config.clone();
    *config.pointer_mut(place).unwrap() = value;
    config.to_string()
}

/// What is wrong with a configuration where of variables and files the variable `EMPTY` alone is there.
fn problems(yaml: &str) -> Vec<String> {
    let surroundings = Surroundings {
        env: &|name| (name == "EMPTY").then(String::new),
        secrets: SecretPresence::Optional,
        rows: RowCheck::WithExporters,
        translation: Translation::WithValues,
        memory: Some(MEMORY),
    };
    let read = read(yaml, "config.yaml", SourceFiles::default(), &surroundings);
    let list = read.map_or_else(|problems| problems.list, |compiled| compiled.warnings);
    let told = list.iter().filter(|problem| !problem.tells_of_placeholder());
    told.map(|problem| {
        let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
        format!("{severity}: {}", problem.message)
    })
    .collect()
}

fn is_error(problem: &str) -> bool {
    problem.starts_with("error: ")
}

/// The keys of a value, each with the name of the map that it stands in.
fn keys(node: &Node, shape: Shape<'static>, into: &mut BTreeSet<(String, String)>) {
    let shape = shape.of_kind(node);
    match &node.value {
        NodeValue::Map(entries) => {
            for entry in entries {
                if let (Some(map), true) =
                    (shape.definition, shape.properties().any(|(key, _)| key == entry.key))
                {
                    into.insert((map.to_owned(), entry.key.clone()));
                }
                if let Some(schema) = shape.property(&entry.key) {
                    keys(&entry.value, Shape::of(schema), into);
                }
            }
        }
        NodeValue::Seq(items) => {
            for item in items {
                keys(item, Shape::of(&shape.body["items"]), into);
            }
        }
        NodeValue::Scalar(_) => {}
    }
}

#[test]
fn every_key_of_the_reference_stands_in_one_of_the_configurations() {
    let mut written = BTreeSet::new();
    for config in whole() {
        keys(&parsed(&config.to_string()), Shape::root(), &mut written);
    }
    let schema = crate::config::schema::schema();
    let maps = schema["$defs"].as_object().unwrap().iter().map(|(name, body)| (name.as_str(), body));
    let known: BTreeSet<(String, String)> = maps
        .chain([("Config", schema)])
        .flat_map(|(name, body)| {
            let shape = Shape { body, definition: None };
            shape
                .documented_properties()
                .map(|(key, _)| (name.to_owned(), key.to_owned()))
                .collect::<Vec<_>>()
        })
        .collect();
    let absent: Vec<_> = known.difference(&written).collect();
    assert!(absent.is_empty(), "no configuration of `every_key.yaml` has these keys: {absent:?}");
    assert!(known.len() > 200, "{}", known.len());
}

#[test]
fn without_secrets_any_value_may_be_a_variable_or_a_file_that_is_not_there() {
    let base: Vec<Vec<String>> = whole().iter().map(|config| problems(&config.to_string())).collect();
    for problems in &base {
        assert!(!problems.iter().any(|problem| is_error(problem)), "{problems:#?}");
    }
    let mut told = Vec::new();
    let mut values = 0;
    for (config, place) in all_places() {
        let value = config.pointer(&place).unwrap();
        if value.is_object() || value.is_array() {
            continue;
        }
        values += 1;
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let half = text[..text.len() / 2].replace('$', "$$");
        for written in [
            "${env:NOT_THERE}".to_owned(),
            format!("${{file:./not/there}}{half}"),
            format!("{half}${{env:NOT_THERE}}"),
        ] {
            let said = problems(&with_value(&config, &place, json!(written)));
            let errors = said.into_iter().filter(|problem| is_error(problem));
            told.extend(errors.map(|problem| format!("{place}: {written}: {problem}")));
        }
    }
    assert!(values > 300, "{values}");
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn the_schema_takes_no_value_wherever_the_configuration_does() {
    let mut refused = Vec::new();
    let mut taken = 0;
    for (config, place) in all_places() {
        for value in [json!(""), Json::Null, json!("${env:EMPTY}"), json!("${env:NOT_THERE}")] {
            let yaml = with_value(&config, &place, value.clone());
            if problems(&yaml).iter().any(|problem| is_error(problem)) {
                continue;
            }
            taken += 1;
            refused.extend(complaints(&yaml).first().map(|why| format!("{place}: {value}: {why:.300}")));
        }
    }
    assert!(taken > 1000, "{taken}");
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn the_schema_refuses_the_wrong_kind_of_value_and_unknown_keys_wherever_the_configuration_does() {
    let mut taken = Vec::new();
    let mut refused = 0;
    // An editor is told nothing of a Collector's own sections.
    for (config, place) in all_places().into_iter().filter(|(config, _)| config.get("service").is_none()) {
        let mut value = config.pointer(&place).unwrap().clone();
        let mut wrong = vec![json!({ "some": "thing" }), json!([{ "some": [["thing"]] }])];
        if let Json::Object(map) = &mut value {
            map.insert("no_key".to_owned(), json!("x"));
            wrong.push(value.clone());
        }
        if value.is_object() || value.is_array() || value.is_boolean() || value.is_number() {
            wrong.push(json!("something"));
        }
        for value in wrong {
            let yaml = with_value(&config, &place, value.clone());
            let said = problems(&yaml);
            let of_kind =
                |problem: &&String| problem.contains(" must be ") || problem.contains("unknown key");
            let Some(why) = said.iter().filter(|problem| is_error(problem)).find(of_kind) else { continue };
            refused += 1;
            if complaints(&yaml).is_empty() {
                taken.push(format!("{place}: {value:.100}: {why}"));
            }
        }
    }
    assert!(refused > 500, "{refused}");
    assert!(taken.is_empty(), "{taken:#?}");
}
