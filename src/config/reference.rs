//! The table of every key in `docs/configuration.md`, made from the schema so that it can't fall behind.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::schema::Shape;

/// The reference as Markdown: one section per map, one row per key with its type, default and the first sentence of its meaning. What
/// more there is to say of a key stands below the table.
pub fn reference() -> String {
    let mut out = String::new();
    let mut written = Vec::new();
    section(&mut out, "", Shape::root(), &mut written);
    out
}

/// Writes the keys of a map, then the maps below it, each once.
fn section<'a>(out: &mut String, path: &str, shape: Shape<'a>, written: &mut Vec<&'a str>) {
    if let Some(definition) = shape.definition {
        if written.contains(&definition) {
            return;
        }
        written.push(definition);
    }
    let title = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
    writeln!(out, "### {title}\n").expect("writing to a String can't fail");
    if !path.is_empty() {
        let text = shape.body["description"].as_str().unwrap_or_default();
        writeln!(out, "{}\n", one_line(text)).expect("writing to a String can't fail");
    }
    out.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    let mut below_table = String::new();
    let mut row = |key: &str, r#type: &str, default: &str, schema: &Json| {
        let (meaning, more) = first_sentence(schema["description"].as_str().unwrap_or_default());
        writeln!(out, "| `{key}` | {type} | {default} | {} |", one_line(meaning).replace('|', "\\|"))
            .expect("writing to a String can't fail");
        if !more.is_empty() {
            writeln!(below_table, "- `{key}`: {}", one_line(more)).expect("writing to a String can't fail");
        }
    };
    for (key, schema) in shape.documented_properties() {
        let property = Shape::of(schema);
        row(key, &type_name(property), &default(schema, property), schema);
    }
    if let Some(values) = shape.values() {
        let (name, values) = (name_of_keys(shape), Shape::of(values));
        row(&format!("<{name}>"), &type_name(values), "", values.body);
    }
    out.push('\n');
    if !below_table.is_empty() {
        writeln!(out, "{below_table}").expect("writing to a String can't fail");
    }

    if let Some(values) = shape.values() {
        below(out, &format!("{path}.<{}>", name_of_keys(shape)), Shape::of(values), written);
    }
    for (key, schema) in shape.properties() {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let property = Shape::of(schema);
        below(out, &path, property, written);
    }
}

/// Writes the maps that a value may hold.
fn below<'a>(out: &mut String, path: &str, shape: Shape<'a>, written: &mut Vec<&'a str>) {
    if shape.properties().next().is_some() {
        section(out, path, shape, written);
    } else if shape.is("array") {
        below(out, &format!("{path}[]"), Shape::of(&shape.body["items"]), written);
    } else if let Some(values) = shape.values() {
        below(out, &format!("{path}.<{}>", name_of_keys(shape)), Shape::of(values), written);
    } else {
        for (name, schema) in shape.typed_values() {
            below(out, &format!("{path}.{name}"), Shape::of(schema), written);
        }
        for choice in shape.choices() {
            below(out, path, choice, written);
        }
    }
}

/// The meaning of the keys of a map whose keys are the user's own.
fn name_of_keys(shape: Shape<'_>) -> &str {
    shape.body["x-key"].as_str().unwrap_or("attribute")
}

fn type_name(shape: Shape<'_>) -> String {
    let words = shape.words();
    if !words.is_empty() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(
        format @ ("duration" | "size" | "memory" | "queue size" | "sync policy" | "file mode" | "rate"
        | "moment"),
    ) = shape.format()
    {
        return format.to_owned();
    }
    let mut choices: Vec<String> = shape.choices().map(type_name).collect();
    choices.dedup();
    if !choices.is_empty() {
        return choices.join(" or ");
    }
    match shape.types().next() {
        Some("array") => format!("list of {}", type_name(Shape::of(&shape.body["items"]))),
        Some("object") => match shape.values() {
            Some(values) => format!("map of {}", type_name(Shape::of(values))),
            None => "map".to_owned(),
        },
        Some("string") => "text".to_owned(),
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}

fn default(schema: &Json, shape: Shape<'_>) -> String {
    match &schema["default"] {
        Json::Null | Json::Object(_) => String::new(),
        Json::Array(items) if items.is_empty() => String::new(),
        Json::String(text) => format!("`{text}`"),
        // `1.0` of a number that may be a fraction.
        Json::Number(number) if shape.is("number") => format!("`{number}`").replace(".0`", "`"),
        other => format!("`{other}`").replace(',', ", "),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first sentence of a text, and the others.
fn first_sentence(text: &str) -> (&str, &str) {
    let mut is_code = false;
    for (at, char) in text.char_indices() {
        is_code ^= char == '`';
        let rest = &text[at + char.len_utf8()..];
        let next = rest.trim_start();
        let begins = rest.len() > next.len() && !next.starts_with(char::is_lowercase);
        if !is_code && ".?!".contains(char) && begins {
            return (&text[..=at], next);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_ends_where_another_begins() {
        for (text, first, rest) in [
            ("One.", "One.", ""),
            ("One. Two. Three.", "One.", "Two. Three."),
            ("One?\n`two` is more.", "One?", "`two` is more."),
            ("As in `a. B`. Two.", "As in `a. B`.", "Two."),
            ("1.5 is a number, etc. and so on", "1.5 is a number, etc. and so on", ""),
        ] {
            assert_eq!(first_sentence(text), (first, rest));
        }
    }
}
