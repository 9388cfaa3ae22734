//! The JSON Schema of the configuration, made from the model.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::{Value as Json, json};

use super::model::Config;
use super::node::{Node, Value};

/// The JSON Schema (draft 2020-12) of the configuration.
pub fn schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema =
            SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>().to_value();
        schema["title"] = json!("Sluice configuration");
        schema
    })
}

/// A schema without its indirections: behind `$ref`, and without the `null` of an optional key.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    /// What constrains the value.
    pub(super) body: &'a Json,
    /// The name of the definition, such as `HttpReceiver`.
    pub(super) definition: Option<&'a str>,
}

impl<'a> Shape<'a> {
    /// The whole configuration.
    pub(super) fn root() -> Shape<'static> {
        Shape { body: schema(), definition: Some("Config") }
    }

    /// Resolves a schema that stands somewhere in the root schema.
    pub(super) fn of(mut body: &'a Json) -> Self {
        let mut definition = None;
        loop {
            if let Some(name) = body["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
                definition = Some(name);
                let defs = &schema()["$defs"];
                // The schema lives as long as the program, so either lifetime does.
                body = &defs[name];
                continue;
            }
            let mut present = alternatives(body).filter(|alternative| alternative["type"] != "null");
            match (present.next(), present.next()) {
                (Some(only), None) => body = only,
                _ => return Self { body, definition },
            }
        }
    }

    /// The types a value may have, `null` aside.
    pub(super) fn types(self) -> impl Iterator<Item = &'a str> {
        let r#type = &self.body["type"];
        let listed = r#type.as_array().map(Vec::as_slice).unwrap_or_default();
        r#type
            .as_str()
            .into_iter()
            .chain(listed.iter().filter_map(Json::as_str))
            .filter(|name| *name != "null")
    }

    /// Whether a value may have this type.
    pub(super) fn is(self, name: &str) -> bool {
        self.types().any(|r#type| r#type == name)
    }

    /// Duration, size, memory, queue size.
    pub(super) fn format(self) -> Option<&'a str> {
        self.body["format"].as_str()
    }

    /// The keys of a map that has fixed ones.
    pub(super) fn properties(self) -> impl Iterator<Item = (&'a str, &'a Json)> {
        self.body["properties"].as_object().into_iter().flatten().map(|(key, schema)| (key.as_str(), schema))
    }

    /// The schema of the value of any key, in a map whose keys are the user's own.
    pub(super) fn values(self) -> Option<&'a Json> {
        Some(&self.body["additionalProperties"]).filter(|schema| schema.is_object())
    }

    /// The type names and schemas of a map whose keys are `TYPE` or `TYPE/NAME`.
    pub(super) fn typed_values(self) -> impl Iterator<Item = (&'a str, &'a Json)> {
        self.body["patternProperties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(pattern, schema)| (pattern.trim_start_matches('^').trim_end_matches("(/.+)?$"), schema))
    }

    /// The schema of the value of a key, whichever way the map names its keys.
    pub(super) fn property(self, key: &str) -> Option<&'a Json> {
        let fixed = self.properties().find(|(known, _)| *known == key).map(|(_, schema)| schema);
        let typed = || {
            let (_, schema) = self.typed_values().find(|(known, _)| *known == super::model::type_of(key))?;
            (!key.ends_with('/')).then_some(schema)
        };
        fixed.or_else(|| self.values()).or_else(typed)
    }

    /// Of several shapes, the one of the node's kind.
    pub(super) fn of_kind(self, node: &Node) -> Self {
        if self.types().next().is_some() || !self.words().is_empty() {
            return self;
        }
        let kind = match node.value {
            Value::Scalar(_) => "string",
            Value::Seq(_) => "array",
            Value::Map(_) => "object",
        };
        self.choices().find(|choice| choice.is(kind)).or_else(|| self.choices().next()).unwrap_or(self)
    }

    /// The words of an enumeration.
    pub(super) fn words(self) -> Vec<&'a str> {
        let listed = self.body["enum"].as_array().into_iter().flatten();
        let described = alternatives(self.body).map(|alternative| &alternative["const"]);
        let nested = alternatives(self.body)
            .flat_map(|alternative| alternative["enum"].as_array().into_iter().flatten());
        // An enumeration of one word has been resolved to that word.
        let only = std::iter::once(&self.body["const"]);
        listed.chain(described).chain(nested).chain(only).filter_map(Json::as_str).collect()
    }

    /// The shapes of which a value has one.
    pub(super) fn choices(self) -> impl Iterator<Item = Shape<'a>> {
        alternatives(self.body).filter(|alternative| alternative["type"] != "null").map(Shape::of)
    }
}

fn alternatives(body: &Json) -> impl Iterator<Item = &Json> {
    ["anyOf", "oneOf"].into_iter().flat_map(|key| body[key].as_array().into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described() {
        let schema = schema();
        for (name, body) in
            schema["$defs"].as_object().unwrap().iter().chain([(&"Config".to_owned(), schema)])
        {
            assert!(body["description"].is_string(), "{name} has no description");
            for (key, property) in body["properties"].as_object().into_iter().flatten() {
                assert!(property["description"].is_string(), "{name}.{key} has no description");
            }
        }
    }
}
