//! The JSON Schema of the configuration. A unit test makes it from the model and writes it to `schema.json`, which is
//! embedded: the code that makes it would be a twentieth of the program.

use std::sync::OnceLock;

use serde_json::{Value as Json, json};

use super::collector::{self, KeyVerdict};
use super::node::{Node, NodeValue};
#[cfg(not(test))]
use crate::packed::unpacked;

/// The JSON Schema (draft 2020-12) of the configuration as it is read.
pub(super) fn schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        #[cfg(not(test))]
        let text = unpacked(include_bytes!(concat!(env!("OUT_DIR"), "/schema.json.gz")));
        // Unit tests see a change of the model at once, and so does the reference that they write.
        #[cfg(test)]
        let text = text_of_model().into_bytes();
        serde_json::from_slice(&text).expect("a unit test has written it as JSON")
    })
}

/// The text that `schema.json` has to have.
#[cfg(test)]
pub(super) fn text_of_model() -> String {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<super::model::Config>().to_value();
    schema["title"] = json!("Sluice configuration");
    format!("{schema:#}\n")
}

/// The schema for editors: what is written where, rather than what it is read as. Any key may be without a value, an empty text may
/// stand for any value but a map, text may look like a number, and `${…}` may stand for anything; and keys of the Collector's that have
/// no effect are no mistake.
pub fn published() -> &'static Json {
    static PUBLISHED: OnceLock<Json> = OnceLock::new();
    PUBLISHED.get_or_init(|| {
        let mut published = schema().clone();
        add_collectors_keys(&mut published, "Config");
        if let Some(definitions) = published["$defs"].as_object_mut() {
            for (name, body) in definitions {
                add_collectors_keys(body, name);
            }
        }
        // Those of a Collector that have no effect are no mistake.
        for section in ["extensions", "processors"] {
            published["properties"][section]["additionalProperties"] = json!(true);
        }
        // In a pipeline of a Collector they are a list, which some write here, and warnings are all that comes of it.
        published["properties"]["processors"]["type"] = json!(["object", "array", "string"]);
        published["properties"]["exporters"]["patternProperties"]["^logging(/.+)?$"] =
            json!({ "description": "A Collector's exporter, which is `debug` here.", "deprecated": true });
        relax(&mut published);
        // A Collector's file may be without any.
        published["properties"]["extensions"]["pattern"] = json!(r"^$|\$\{");
        published["$defs"]["Nothing"] = nothing();
        published
    })
}

/// The schema of values that ask for nothing, however deep they are nested.
fn nothing() -> Json {
    /// Of texts, a zero in any form and with any unit, `false`, and what is substituted.
    const TEXT: &str = r"^(0[0-9a-zA-Z_]*|false|False|FALSE)?$|\$\{";
    let below = json!({ "$ref": "#/$defs/Nothing" });
    let disabled = json!({ "enum": [false, "false", "False", "FALSE"] });
    json!({ "anyOf": [
        { "enum": [null, false, 0] },
        { "type": "string", "pattern": TEXT },
        { "type": "array", "items": below },
        { "type": "object", "additionalProperties": below },
        { "type": "object", "properties": { "enabled": disabled }, "required": ["enabled"] },
    ] })
}

fn add_collectors_keys(body: &mut Json, definition: &str) {
    let Some(properties) = body.get_mut("properties").and_then(Json::as_object_mut) else { return };
    for key in collector::keys() {
        let Some((verdict, why)) = collector::verdict(definition, key) else { continue };
        let schema = if verdict == KeyVerdict::Refused {
            let text = format!("A Collector's key, which is not available here: {why}.");
            let default = collector::defaults(definition, key).map(|values| json!({ "enum": values }));
            let taken: Vec<Json> =
                [json!({ "$ref": "#/$defs/Nothing" })].into_iter().chain(default).collect();
            json!({ "description": text, "deprecated": true, "anyOf": taken })
        } else if verdict == KeyVerdict::RefusedBesideFile {
            let text = format!(
                "A Collector's key, which asks for the default here, and is not available beside a file: {why}."
            );
            json!({ "description": text, "deprecated": true })
        } else {
            json!({ "description": format!("A Collector's key, which has no effect here: {why}."), "deprecated": true })
        };
        properties.insert(key.to_owned(), schema);
    }
}

/// The keywords of the schema that are for Sluice alone.
const INTERNAL: [&str; 4] = ["x-shown", "x-asked-by-key", "x-key", "x-any-case"];

/// A pattern for words in letters of any case, which JSON Schema has no flag for.
fn of_any_case(words: &[&str]) -> String {
    let letter = |letter: char| format!("[{}{}]", letter.to_ascii_lowercase(), letter.to_ascii_uppercase());
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    format!("^({})$", words.join("|"))
}

/// Widens a schema, and all within it, to all forms that the configuration accepts.
fn relax(body: &mut Json) {
    /// In a text that stands for a number or a boolean: a substitution, or a form that YAML 1.2 doesn't know.
    const SUBSTITUTED: &str = r"\$\{";
    const INTEGER: &str = r"^([+-]?[0-9][0-9a-fA-F_xo]*)?$|\$\{";
    const BOOLEAN: &str = r"^(True|TRUE|False|FALSE)?$|\$\{";
    /// In place of a list: an empty text asks for its default as well.
    const LIST: &str = r"^$|\$\{";

    let own = body.clone();
    let shape = Shape::of(&own);
    let words = shape.words();
    let is_words = !words.is_empty() && body.get("$ref").is_none();
    if is_words {
        let description = own.get("description").cloned();
        let numbers =
            words.iter().any(|word| word.parse::<f64>().is_ok()).then(|| json!({ "type": "number" }));
        let in_any_case = (shape.body["x-any-case"] == true)
            .then(|| json!({ "type": "string", "pattern": of_any_case(&words) }));
        let others = [
            json!({ "type": "null" }),
            json!({ "const": "" }),
            json!({ "type": "string", "pattern": SUBSTITUTED }),
        ];
        let mut own = own.clone();
        let mut taken = |key| own.as_object_mut().and_then(|own| own.shift_remove(key));
        let default = taken("default");
        for key in INTERNAL.into_iter().chain(["description"]) {
            taken(key);
        }
        let any: Vec<Json> = [own].into_iter().chain(others).chain(numbers).chain(in_any_case).collect();
        *body = json!({ "anyOf": any });
        for (key, value) in [("description", description), ("default", default)] {
            if let Some(value) = value {
                body[key] = value;
            }
        }
        return;
    }
    let Some(map) = body.as_object_mut() else { return };
    for internal in INTERNAL {
        map.shift_remove(internal);
    }
    // The names of our forms may mean another form to others.
    if map.get("format").and_then(Json::as_str).is_some_and(|format| !format.starts_with("uint")) {
        map.shift_remove("format");
    }
    let types: Vec<String> = match map.get("type") {
        Some(Json::String(name)) => vec![name.clone()],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).map(ToOwned::to_owned).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() {
        let has = |name: &str| types.iter().any(|known| known == name);
        let mut wider: Vec<&str> = types.iter().map(String::as_str).filter(|name| *name != "null").collect();
        if has("string") {
            wider.extend(["number", "boolean"]);
        } else if has("integer") || has("number") {
            wider.push("string");
            map.insert("pattern".to_owned(), json!(INTEGER));
        } else if has("boolean") {
            wider.push("string");
            map.insert("pattern".to_owned(), json!(BOOLEAN));
        } else {
            // A variable may have an empty value, which asks for the default of a map as well.
            wider.push("string");
            map.insert("pattern".to_owned(), json!(if has("array") { LIST } else { SUBSTITUTED }));
        }
        wider.push("null");
        map.insert("type".to_owned(), json!(wider));
    }
    // An optional key may be written without a value.
    if let Some(reference) = map.get("$ref").cloned() {
        map.shift_remove("$ref");
        map.insert("anyOf".to_owned(), json!([{ "$ref": reference }, { "type": "null" }]));
        return;
    }
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties" | "patternProperties" | "$defs", Json::Object(inner)) => {
                inner.values_mut().for_each(relax);
            }
            ("anyOf" | "oneOf", Json::Array(inner)) => inner.iter_mut().for_each(relax),
            ("items" | "additionalProperties", inner) => relax(inner),
            _ => {}
        }
    }
}

/// A schema without its indirections: behind `$ref`, and without the `null` of an optional key.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    /// The schema of the value.
    pub(super) body: &'a Json,
    /// The name of the definition, such as `HttpReceiver`.
    pub(super) definition: Option<&'a str>,
}

impl<'a> Shape<'a> {
    /// The whole configuration.
    pub(super) fn root() -> Shape<'static> {
        Shape { body: schema(), definition: Some("Config") }
    }

    /// A row of the table of tenants.
    pub(super) fn tenant_row() -> Shape<'static> {
        static ROW: OnceLock<Json> = OnceLock::new();
        Shape::<'static>::of(ROW.get_or_init(|| json!({ "$ref": "#/$defs/TenantRow" })))
    }

    /// A list of such rows.
    pub(super) fn tenant_rows() -> Shape<'static> {
        static ROWS: OnceLock<Json> = OnceLock::new();
        Shape::<'static>::of(
            ROWS.get_or_init(|| json!({ "type": "array", "items": { "$ref": "#/$defs/TenantRow" } })),
        )
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

    /// Whether a value is text of any form.
    pub(super) fn is_text(self) -> bool {
        self.is("string") && self.format().is_none() && self.words().is_empty()
    }

    /// Duration, size, memory, queue size.
    pub(super) fn format(self) -> Option<&'a str> {
        self.body["format"].as_str()
    }

    /// The keys of a map that has fixed ones, those that are not documented left out: they are read to say what to write instead.
    pub(super) fn documented_properties(self) -> impl Iterator<Item = (&'a str, &'a Json)> {
        self.properties().filter(|(_, schema)| !is_deprecated(schema))
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
            NodeValue::Scalar(_) => "string",
            NodeValue::Seq(_) => "array",
            NodeValue::Map(_) => "object",
        };
        self.choices().find(|choice| choice.is(kind)).or_else(|| self.choices().next()).unwrap_or(self)
    }

    /// The words of an enumeration, those that were replaced by others left out.
    pub(super) fn words(self) -> Vec<&'a str> {
        let listed = self.body["enum"].as_array().into_iter().flatten();
        let described = alternatives(self.body)
            .filter(|alternative| !is_deprecated(alternative))
            .map(|alternative| &alternative["const"]);
        let nested = alternatives(self.body)
            .flat_map(|alternative| alternative["enum"].as_array().into_iter().flatten());
        // An enumeration of one word has been resolved to that word.
        let only = std::iter::once(&self.body["const"]);
        listed.chain(described).chain(nested).chain(only).filter_map(Json::as_str).collect()
    }

    /// The words of an enumeration that were replaced by others, and are still read.
    pub(super) fn former_words(self) -> impl Iterator<Item = &'a str> {
        let former = alternatives(self.body).filter(|alternative| is_deprecated(alternative));
        former.filter_map(|alternative| alternative["const"].as_str())
    }

    /// The shapes of which a value has one.
    pub(super) fn choices(self) -> impl Iterator<Item = Shape<'a>> {
        alternatives(self.body).filter(|alternative| alternative["type"] != "null").map(Shape::of)
    }
}

fn is_deprecated(body: &Json) -> bool {
    body["deprecated"] == true
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
