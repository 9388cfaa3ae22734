//! Changes of attributes in encoded entries: what the Collector's processors `resource` and `attributes` do.
//!
//! An entry is walked on the schema tables. Where an attribute changes, it is replaced, and so are the lengths of all messages
//! that it stands in; every other byte is copied as it is, unknown fields among them. The entry is valid before and after.

mod action;
mod bound;
mod memory;
mod selection;
mod set;
mod splices;
#[cfg(test)]
mod tests;

pub use action::{ConvertedType, EditAction, EditKeys, NewValue, ValueSource, WriteWhere};
pub use bound::EditBound;
pub use memory::EditMemory;
pub use selection::{AttributeTest, LibraryTest, SPAN_KINDS, Selection, SeverityTest, TextTest, ValueTest};

use super::partition::NoRoom;
use super::schema::{self, Message};
use super::wire::{SoundFields, WireField, put_delimited};
use super::{Signal, piece};
use set::AttributeSet;
use splices::Splices;

/// The number of the resource's field in an entry of any signal.
const RESOURCE: u32 = 1;

/// The most bytes of a length-delimited field's key and length.
const FRAME: usize = 15;

/// Changes of the attributes of an entry.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What is done, one after the other.
    pub actions: Vec<EditAction>,
    /// Whose attributes they are.
    pub of: EditedPart,
}

/// Whose attributes are changed.
#[derive(Clone, Debug)]
pub enum EditedPart {
    /// The resource's.
    Resource,
    /// Those of spans, log records and data points.
    Records {
        /// Also those of the events and links of the spans.
        events: bool,
        /// What must hold of a record.
        include: Option<Box<Selection>>,
        /// What must not.
        exclude: Option<Box<Selection>>,
    },
}

/// The texts that [`ValueSource::Text`] speaks of, each of which is asked for where it is going to be written, and not before.
pub trait EditTexts {
    /// The text at this position; without one, nothing is written.
    fn text(&self, at: usize) -> Option<&str>;
}

/// For edits of which no value is made for each entry.
pub struct NoTexts;

impl EditTexts for NoTexts {
    fn text(&self, _: usize) -> Option<&str> {
        None
    }
}

impl Edit {
    /// The entry with the changes; `None` if it stays as it is. What that takes of memory besides the changed entry is given back
    /// in the end.
    pub fn apply(
        &self,
        signal: Signal,
        entry: &[u8],
        texts: &dyn EditTexts,
        memory: &mut EditMemory<'_>,
    ) -> Result<Option<Vec<u8>>, NoRoom> {
        let before = memory.taken();
        let set = AttributeSet::default();
        let splices = Splices::of(entry);
        let mut walk = EditWalk { actions: &self.actions, texts, events: false, set, splices, memory };
        let message = Message::entry(signal);
        match &self.of {
            EditedPart::Resource => walk.resource(message, entry)?,
            EditedPart::Records { events, include, exclude } => {
                walk.events = *events;
                let chosen = Chosen { include: include.as_deref(), exclude: exclude.as_deref() };
                walk.entry(message, entry, chosen)?;
            }
        }
        let edited = walk.splices.finish(walk.memory)?;
        memory.give_back(memory.taken() - before);
        if let Some(edited) = &edited {
            memory.take(edited.capacity())?;
        }
        Ok(edited)
    }
}

/// A walk through an entry.
struct EditWalk<'a, 'm, 'r> {
    actions: &'a [EditAction],
    texts: &'a dyn EditTexts,
    events: bool,
    /// The attributes of the message that is looked at.
    set: AttributeSet<'a>,
    splices: Splices<'a>,
    memory: &'m mut EditMemory<'r>,
}

/// What must hold of the records below a message, and what must not. The latter is `None`, too, where some of it does not hold of
/// what is above them.
#[derive(Clone, Copy)]
struct Chosen<'s> {
    include: Option<&'s Selection>,
    exclude: Option<&'s Selection>,
}

impl Chosen<'_> {
    /// What is left to ask of the records below, where `holds` is asked; `None` if none of them is meant, as far as that
    /// can be told by what is included.
    fn below(self, holds: impl Fn(&Selection) -> bool) -> Option<Self> {
        if !self.include.is_none_or(&holds) {
            return None;
        }
        Some(Self { include: self.include, exclude: self.exclude.filter(|exclude| holds(exclude)) })
    }

    /// Whether a record is meant, of which `holds` is the last that is asked.
    fn takes(self, holds: impl Fn(&Selection) -> bool) -> bool {
        self.below(holds).is_some_and(|chosen| chosen.exclude.is_none())
    }

    fn asks(self) -> bool {
        self.include.is_some() || self.exclude.is_some()
    }

    /// The most bytes that either takes to find out whether it holds, where `of_one` is that of one.
    fn memory(self, of_one: impl Fn(&Selection) -> usize) -> usize {
        self.include.into_iter().chain(self.exclude).map(of_one).max().unwrap_or_default()
    }
}

/// The number of a resource's attributes, in an entry of this message.
fn of_resource(message: &'static Message) -> u32 {
    let resource = message.field(RESOURCE).and_then(schema::Field::message);
    resource.expect("each entry has a resource").attributes
}

impl<'a> EditWalk<'a, '_, '_> {
    /// Changes the resource. An entry without one gets one, if attributes are added.
    fn resource(&mut self, message: &'static Message, entry: &'a [u8]) -> Result<(), NoRoom> {
        let number = of_resource(message);
        let mut fields = SoundFields::of(entry).filter(|field| field.number == RESOURCE);
        if let Some((field, bytes)) = fields.find_map(|field| Some((field, field.delimited()?))) {
            self.set.read_named(number, bytes, self.actions, self.memory)?;
            return self.within(&field, bytes, |walk| walk.changed(number));
        }
        self.set.change(self.actions, self.texts, self.memory)?;
        let most = self.set.added_len();
        if most == 0 {
            return Ok(());
        }
        // Its length stands in front of it, so that it is written twice.
        self.memory.take(most)?;
        let mut added = Vec::with_capacity(most);
        self.set.put_added(number, &mut added);
        let write = |out: &mut Vec<u8>| put_delimited(out, RESOURCE, &added);
        self.splices.replace(&entry[..0], most + FRAME, self.memory, write)
    }

    /// Changes the records of an entry that are chosen.
    fn entry(
        &mut self,
        message: &'static Message,
        entry: &'a [u8],
        chosen: Chosen<'_>,
    ) -> Result<(), NoRoom> {
        self.remove_former(message, entry)?;
        if !chosen.asks() {
            return self.children(message, entry, chosen);
        }
        self.set.read_all(of_resource(message), super::resource(entry), self.memory)?;
        let set = &self.set;
        let asking = chosen.memory(|selection| selection.memory_for_resource(set));
        self.memory.take(asking)?;
        let below = chosen.below(|selection| selection.takes_resource(set));
        self.memory.give_back(asking);
        below.map_or(Ok(()), |chosen| self.children(message, entry, chosen))
    }

    /// Removes what stands under the number that the scopes of an entry once had, beside those under their number of today. No reader
    /// counts it, and the records in it may hold what is to be removed or masked.
    fn remove_former(&mut self, message: &'static Message, entry: &'a [u8]) -> Result<(), NoRoom> {
        if piece::is_former(message, entry) {
            return Ok(());
        }
        for field in SoundFields::of(entry) {
            if message.formerly(field.number).is_some() {
                self.splices.replace(field.raw, 0, self.memory, |_| {})?;
            }
        }
        Ok(())
    }

    /// Changes the records in a message.
    fn children(
        &mut self,
        message: &'static Message,
        bytes: &'a [u8],
        chosen: Chosen<'_>,
    ) -> Result<(), NoRoom> {
        for field in SoundFields::of(bytes) {
            let Some(known) = message.field(field.number).filter(|known| known.leads) else { continue };
            let (Some(child), Some(bytes)) = (known.message(), field.delimited()) else { continue };
            if known.record {
                self.record(child, &field, bytes, chosen)?;
                continue;
            }
            let below = match child.name {
                "ScopeSpans" | "ScopeLogs" => chosen.below(|selection| selection.takes_scope(bytes)),
                "Metric" => chosen.below(|selection| selection.takes_metric(bytes)),
                _ => Some(chosen),
            };
            if let Some(chosen) = below {
                self.within(&field, bytes, |walk| walk.children(child, bytes, chosen))?;
            }
        }
        Ok(())
    }

    /// Changes a record, if it is chosen.
    fn record(
        &mut self,
        message: &'static Message,
        field: &WireField<'a>,
        bytes: &'a [u8],
        chosen: Chosen<'_>,
    ) -> Result<(), NoRoom> {
        if chosen.asks() {
            self.set.read_all(message.attributes, bytes, self.memory)?;
        } else {
            self.set.read_named(message.attributes, bytes, self.actions, self.memory)?;
        }
        let is_meant = match message.name {
            "Span" => chosen.takes(|selection| selection.takes_span(bytes, &self.set)),
            "LogRecord" => {
                let asking = chosen.memory(|selection| selection.memory_for_log_record(bytes));
                self.memory.take(asking)?;
                let is_meant = chosen.takes(|selection| selection.takes_log_record(bytes, &self.set));
                self.memory.give_back(asking);
                is_meant
            }
            _ => chosen.takes(|_| true),
        };
        if !is_meant {
            return Ok(());
        }
        self.within(field, bytes, |walk| {
            if walk.events {
                walk.inner(message, bytes)?;
                walk.set.read_named(message.attributes, bytes, walk.actions, walk.memory)?;
            }
            // What is added may stand where the last field within ends, and so has to come behind what is added there.
            walk.changed(message.attributes)
        })
    }

    /// Changes what in a span has attributes itself: its events and links.
    fn inner(&mut self, message: &'static Message, bytes: &'a [u8]) -> Result<(), NoRoom> {
        for field in SoundFields::of(bytes) {
            let inner = message.field(field.number).and_then(schema::Field::message);
            let number = inner.map_or(0, |inner| inner.attributes);
            if number != 0
                && let Some(bytes) = field.delimited()
            {
                self.set.read_named(number, bytes, self.actions, self.memory)?;
                self.within(&field, bytes, |walk| walk.changed(number))?;
            }
        }
        Ok(())
    }

    /// Changes the attributes that were read of a message.
    fn changed(&mut self, number: u32) -> Result<(), NoRoom> {
        self.set.change(self.actions, self.texts, self.memory)?;
        self.set.splice(number, &mut self.splices, self.memory)
    }

    /// Does what `change` does within a field, whose length then says how much that leaves.
    fn within(
        &mut self,
        field: &WireField<'a>,
        bytes: &'a [u8],
        change: impl FnOnce(&mut Self) -> Result<(), NoRoom>,
    ) -> Result<(), NoRoom> {
        let open = self.splices.open(field, bytes, self.memory)?;
        change(self)?;
        self.splices.close(&open, self.memory)
    }
}
