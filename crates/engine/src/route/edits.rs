//! The edits of a route: what its `processors` change in its copies of the entries that it takes.

use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::{RenderError, RoutingKey, TENANT_ID, Template, TemplateTarget, Values};
use crate::tenants::Tenant;
use otlp::{self, Edit, EditBound, EditMemory, EditTexts, Found, NoRoom, ReadValue, RoomCheck, Signal};

/// The changes of one processor.
pub struct RouteEdit {
    /// The name of the processor.
    pub name: Box<str>,
    /// The edit that it makes.
    pub edit: Edit,
    /// The templates of its values, which [`otlp::ValueSource::Text`] numbers.
    pub templates: Vec<Template>,
}

impl RouteEdit {
    fn bound(&self) -> EditBound {
        EditBound::of(&self.edit, |at| self.templates[at].longest())
    }
}

/// The most work that these edits, each done to what the one before it has left, can be.
pub(super) fn bound(edits: &[Arc<RouteEdit>]) -> EditBound {
    edits.iter().map(|edit| edit.bound()).fold(EditBound::default(), EditBound::and)
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
    /// The tenant that it belongs to.
    pub tenant: Option<&'e Tenant>,
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
    /// There is no memory for the changed entry.
    #[error("edited, it would take more than `limits.memory`")]
    NoRoom,
}

impl From<NoRoom> for EditError {
    fn from(NoRoom: NoRoom) -> Self {
        Self::NoRoom
    }
}

/// The name alone: the values that are written and looked for may be secret.
impl fmt::Debug for RouteEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteEdit").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The texts of a processor's templates for an entry, each made where it is first needed.
struct TemplateTexts<'e> {
    templates: &'e [Template],
    entry: &'e TakenEntry<'e>,
    /// By the positions of the templates.
    made: Vec<OnceCell<Result<String, EditError>>>,
}

/// The values that a template of an edit reads.
struct EntryValues<'e> {
    entry: &'e TakenEntry<'e>,
    key: RoutingKey,
    /// The attributes of the resource as it came that the template names.
    attributes: Vec<(&'e str, String)>,
}

/// The entry as the edits leave it, each done to what the one before it has left; `None` if all of it stays as it is. Memory is asked
/// for before it is taken.
pub fn edited(
    edits: &[Arc<RouteEdit>],
    entry: &TakenEntry<'_>,
    room: &mut RoomCheck<'_>,
) -> Result<Option<Vec<u8>>, EditError> {
    let mut room = |bytes| room(bytes);
    let mut memory = EditMemory::new(&mut room);
    let mut copy: Option<Vec<u8>> = None;
    for RouteEdit { edit, templates, .. } in edits.iter().map(|edit| &**edit) {
        let texts = TemplateTexts::new(templates, entry);
        memory.take(texts.memory())?;
        let bytes = copy.as_deref().unwrap_or(entry.bytes);
        let changed = edit.apply(entry.signal, bytes, &texts, &mut memory)?;
        memory.give_back(texts.memory());
        if let Some(error) = texts.into_error() {
            return Err(error);
        }
        if let Some(changed) = changed {
            let before = copy.replace(changed);
            memory.give_back(before.map_or(0, |before| before.capacity()));
        }
    }
    Ok(copy)
}

impl<'e> TemplateTexts<'e> {
    fn new(templates: &'e [Template], entry: &'e TakenEntry<'e>) -> Self {
        Self { templates, entry, made: vec![OnceCell::new(); templates.len()] }
    }

    /// The most bytes that the texts take with what of the resource they are made of.
    fn memory(&self) -> usize {
        /// A value is copied once, and a filter may make three bytes of one.
        const OF_VALUE: usize = 4;
        let values = self.templates.iter().flat_map(Template::attributes).count();
        OF_VALUE.saturating_mul(values).saturating_mul(self.entry.resource.len())
    }

    /// Why a text that was needed can't be had.
    fn into_error(self) -> Option<EditError> {
        self.made.into_iter().filter_map(OnceCell::into_inner).find_map(Result::err)
    }
}

impl EditTexts for TemplateTexts<'_> {
    fn text(&self, at: usize) -> Option<&str> {
        let make = || EntryValues::fill(&self.templates[at], self.entry);
        self.made[at].get_or_init(make).as_deref().ok()
    }
}

impl<'e> EntryValues<'e> {
    /// The text that a template gives for an entry.
    fn fill(template: &'e Template, entry: &'e TakenEntry<'e>) -> Result<String, EditError> {
        let names: Vec<&str> = template.attributes().collect();
        let mut found = vec![Found::Absent; names.len()];
        otlp::find(entry.resource, &names, &mut found);
        let mut attributes = Vec::new();
        for (name, found) in names.into_iter().zip(found) {
            match found {
                Found::Value(ReadValue::Text(text)) => attributes.push((name, text.to_owned())),
                Found::Value(ReadValue::Int(number)) => attributes.push((name, number.to_string())),
                Found::Value(ReadValue::Bool(flag)) => attributes.push((name, flag.to_string())),
                Found::Conflicting => return Err(EditError::Conflicting(name.to_owned())),
                Found::Value(_) | Found::Absent => {}
            }
        }
        let values = Self { entry, key: RoutingKey::written(entry.key), attributes };
        Ok(template.render(&values, TemplateTarget::Key)?)
    }
}

impl Values for EntryValues<'_> {
    fn key(&self) -> Option<&RoutingKey> {
        Some(&self.key)
    }

    fn signal(&self) -> Signal {
        self.entry.signal
    }

    fn resource(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
    }

    fn tenant(&self, name: &str) -> Option<&str> {
        let tenant = self.entry.tenant?;
        if name == TENANT_ID { Some(&tenant.id) } else { tenant.values.text(name, 0) }
    }
}
