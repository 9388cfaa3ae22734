//! What in a configuration must not be shown: header values, credentials in URLs, and whatever stands below a
//! key that sounds like a secret (a misspelt key must not publish what it was to hide).

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use super::node::{Node, Scalar, Value};
use super::problem::Span;

/// What is shown instead.
const REDACTED: &str = "[redacted]";

/// The file as written, before substitution, with its secrets replaced.
pub(super) fn redact(root: &Node) -> Json {
    show(root, &mut Vec::new())
}

/// The places in the file that no snippet may show.
pub(super) fn masks(root: &Node) -> Vec<Span> {
    let mut masks = Vec::new();
    collect(root, &mut Vec::new(), &mut masks);
    masks
}

/// The places to hide in a file that could not be parsed: whole lines, told by their words and by the keys above
/// them that they are indented under.
pub(super) fn masks_of_text(source: &str) -> Vec<Span> {
    let mut masks = Vec::new();
    let mut secret_above: Option<usize> = None;
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let text = line.trim();
        let indent = line.len() - line.trim_start().len();
        if !text.is_empty() {
            if secret_above.is_some_and(|above| indent <= above) {
                secret_above = None;
            }
            let secret_line = text
                .to_lowercase()
                .split(|char: char| char.is_whitespace() || ":{},\"'".contains(char))
                .any(is_secret)
                || text.split_whitespace().any(|word| hidden_part(word).is_some());
            if secret_line && text.ends_with(':') {
                secret_above = secret_above.or(Some(indent));
            } else if secret_line || secret_above.is_some() {
                secret_above = secret_above.or(Some(indent));
                masks.push(Span { start: start + indent, end: start + indent + text.len() });
            }
        }
        start += line.len();
    }
    masks
}

/// Whether values below this key are secrets.
fn is_secret(key: &str) -> bool {
    const WHOLE: [&str; 4] = ["header", "headers", "proxy_url", "cookie"];
    const PART: [&str; 9] =
        ["auth", "bearer", "password", "token", "secret", "api_key", "api-key", "apikey", "credential"];
    let key = key.to_lowercase();
    WHOLE.contains(&key.as_str()) || key.ends_with("_pem") || PART.iter().any(|part| key.contains(part))
}

/// Whether the value at `path` is a secret. Names that users give (of exporters, receivers and attributes) are
/// not asked: `otlp_http/token-service` is no secret.
fn is_secret_path(path: &[&str]) -> bool {
    let named = match path {
        ["exporters" | "receivers", ..] => 2,
        ["routes", "match" | "key" | "name" | "exporters", ..] => return false,
        _ => 0,
    };
    path.iter().skip(named).any(|key| is_secret(key))
}

/// The part of a URL that is a credential: the userinfo, or a query.
fn hidden_part(text: &str) -> Option<(usize, usize)> {
    let authority = text.find("://")? + 3;
    let end = text[authority..].find(['/', '?', '#']).map_or(text.len(), |at| authority + at);
    if let Some(at) = text[authority..end].rfind('@') {
        return Some((authority, authority + at));
    }
    let query = text[end..].find('?')? + end + 1;
    (query < text.len()).then_some((query, text.len()))
}

fn show<'a>(node: &'a Node, path: &mut Vec<&'a str>) -> Json {
    match &node.value {
        Value::Scalar(scalar) if !scalar.is_null() && is_secret_path(path) => REDACTED.into(),
        Value::Scalar(scalar) => typed(scalar),
        Value::Seq(items) => items.iter().map(|item| show(item, path)).collect(),
        Value::Map(entries) => {
            let mut map = Map::new();
            for entry in entries {
                path.push(&entry.key);
                map.insert(entry.key.clone(), show(&entry.value, path));
                path.pop();
            }
            Json::Object(map)
        }
    }
}

/// A URL without its userinfo and its query; any other text as it is.
pub(super) fn without_credentials(text: &str) -> Cow<'_, str> {
    let Some((start, end)) = hidden_part(text) else { return text.into() };
    let rest = &text[end..];
    let rest = match rest.find('?') {
        Some(query) => format!("{}?{REDACTED}", &rest[..query]),
        None => rest.to_owned(),
    };
    format!("{}{REDACTED}{rest}", &text[..start]).into()
}

/// A scalar as the YAML 1.2 core schema types it, without the credentials of a URL.
fn typed(scalar: &Scalar) -> Json {
    let text = &scalar.text;
    if let Cow::Owned(shown) = without_credentials(text) {
        return shown.into();
    }
    if scalar.is_null() {
        return Json::Null;
    }
    if scalar.plain {
        match text.as_str() {
            "true" | "True" | "TRUE" => return true.into(),
            "false" | "False" | "FALSE" => return false.into(),
            _ => {}
        }
        let number = text.parse::<i64>().ok().filter(|number| number.to_string() == *text);
        if let Some(number) = number {
            return number.into();
        }
        if text.contains('.')
            && let Some(number) = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64)
        {
            return number.into();
        }
    }
    text.clone().into()
}

fn collect<'a>(node: &'a Node, path: &mut Vec<&'a str>, masks: &mut Vec<Span>) {
    match &node.value {
        Value::Scalar(scalar) => {
            if is_secret_path(path) || hidden_part(&scalar.text).is_some() {
                masks.push(node.span);
            }
        }
        Value::Seq(items) => items.iter().for_each(|item| collect(item, path, masks)),
        Value::Map(entries) => {
            for entry in entries {
                path.push(&entry.key);
                // `{ Authorization "Bearer …" }` lost its colon, so that the secret is a part of the key.
                if entry.value.is_null() && entry.key.contains(char::is_whitespace) && is_secret_path(path) {
                    masks.push(entry.key_span);
                }
                collect(&entry.value, path, masks);
                path.pop();
            }
        }
    }
}
