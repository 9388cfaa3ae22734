//! The edits of a route: what its `processors` change in its copies of the entries that it takes.

use std::sync::Arc;

use thiserror::Error;

use super::{Place, RenderError, RoutingKey, TENANT_ID, Template, TemplateValue, Values};
use crate::otlp::{self, Edit, Found, Signal, Value};

/// What one processor changes.
#[derive(Debug)]
pub struct RouteEdit {
    /// What the processor is called.
    pub name: Box<str>,
    /// What it changes.
    pub edit: Edit,
    /// What [`otlp::ValueSource::Text`] counts: the templates of its values.
    pub templates: Vec<Template>,
}

/// An entry as a route has taken it.
#[derive(Clone, Copy)]
pub struct TakenEntry<'e> {
    /// Its signal.
    pub signal: Signal,
    /// The encoded entry, which is valid.
    pub bytes: &'e [u8],
    /// Its encoded resource.
    pub resource: &'e [u8],
    /// The routing key that the route has made for it, as it is [written](RoutingKey::written).
    pub key: &'e str,
    /// The id of the tenant whose it is.
    pub tenant: Option<&'e str>,
    /// What stands in that tenant's row.
    pub row: &'e dyn Fn(&str) -> Option<String>,
}

/// Why an entry can't be edited.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// A template can't be filled.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A template reads an attribute of which it can't be told what it is.
    #[error("the resource attribute `{0}` occurs twice with different values")]
    Conflicting(String),
}

/// What templates of edits read.
struct EntryValues<'e> {
    entry: TakenEntry<'e>,
    key: RoutingKey,
    /// The attributes of the resource as it came.
    attributes: Vec<(&'e str, String)>,
    /// The values of the tenant's row.
    row: Vec<(&'e str, String)>,
}

/// The entry as the edits leave it, each done to what the one before it has left; `None` if all of it stays as it is.
pub fn edited(edits: &[Arc<RouteEdit>], entry: &TakenEntry<'_>) -> Result<Option<Vec<u8>>, EditError> {
    let mut copy: Option<Vec<u8>> = None;
    for RouteEdit { edit, templates, .. } in edits.iter().map(|edit| &**edit) {
        let texts = texts(templates, entry)?;
        let bytes = copy.as_deref().unwrap_or(entry.bytes);
        copy = edit.apply(entry.signal, bytes, &texts).or(copy);
    }
    Ok(copy)
}

/// What the templates give.
fn texts<'v>(templates: &'v [Template], entry: &TakenEntry<'v>) -> Result<Vec<String>, EditError> {
    if templates.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = templates.iter().flat_map(Template::attributes).collect();
    let mut found = vec![Found::Absent; names.len()];
    otlp::find(entry.resource, &names, &mut found);
    let mut attributes = Vec::new();
    for (name, found) in names.into_iter().zip(found) {
        match found {
            Found::Value(Value::Text(text)) => attributes.push((name, text.to_owned())),
            Found::Value(Value::Int(number)) => attributes.push((name, number.to_string())),
            Found::Value(Value::Bool(flag)) => attributes.push((name, flag.to_string())),
            Found::Value(Value::Other) | Found::Absent => {}
            Found::Conflicting => return Err(EditError::Conflicting(name.to_owned())),
        }
    }
    let of_row = templates.iter().flat_map(Template::reads).filter_map(|read| match read {
        TemplateValue::Tenant(name) if read.is_of_row() => Some((name.as_str(), (entry.row)(name)?)),
        _ => None,
    });
    let row = of_row.collect();
    let values = EntryValues { entry: *entry, key: RoutingKey::written(entry.key), attributes, row };
    templates.iter().map(|template| Ok(template.render(&values, Place::Key)?)).collect()
}

impl Values for EntryValues<'_> {
    fn key(&self) -> Option<&RoutingKey> {
        Some(&self.key)
    }

    fn signal(&self) -> Signal {
        self.entry.signal
    }

    fn resource(&self, name: &str) -> Option<&str> {
        text_of(&self.attributes, name)
    }

    fn tenant(&self, name: &str) -> Option<&str> {
        if name == TENANT_ID { self.entry.tenant } else { text_of(&self.row, name) }
    }
}

fn text_of<'t>(texts: &'t [(&str, String)], name: &str) -> Option<&'t str> {
    texts.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
}
