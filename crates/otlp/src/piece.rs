//! Messages put together from parts of others: how cutting, splitting for size and halving re-encode.
//!
//! A message on the way to the records (entry, scope, metric, the metric's data) is taken apart into a header,
//! which is every field that leads to no record, and children. An [`EntryPiece`] gets some of the children, each byte
//! for byte as it was encoded, under copies of the headers above them. Unknown fields are header fields, so they
//! come along. Nothing here is checked: what is taken apart has been validated, or its framing has.
//!
//! An entry that has no scopes but those under field 1000, their number of once, is taken apart as if they stood under
//! field 2, and in a piece they do.

use std::borrow::Cow;

use super::schema::{self, Label, Message};
use super::wire::{self, Fields};

/// A message that holds records, taken apart one level deep.
pub(super) struct Parts<'a> {
    message: &'static Message,
    bytes: &'a [u8],
    /// The fields that lead to no record.
    pub(super) header: Header,
}

/// The fields of a message that lead to no record, in their order: those in front of the first child, and those
/// behind it, so that what is put together looks as it did.
#[derive(Clone, Default)]
pub(super) struct Header {
    before: Vec<u8>,
    after: Vec<u8>,
}

/// A part that is a record or holds records.
pub(super) struct Child<'a> {
    /// The field of its parent that it is in.
    pub(super) field: &'static schema::Field,
    /// With key and length, as it was encoded.
    pub(super) raw: &'a [u8],
    /// Without key and length.
    pub(super) bytes: &'a [u8],
    /// Whether it stands under the number that its field had once.
    former: bool,
}

impl Header {
    /// Bytes of all its fields.
    pub(super) fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

impl<'a> Parts<'a> {
    /// Takes `bytes` apart. Not if their framing is broken, and not if they are a metric with data twice: there
    /// the last one wins or both merge, so what belongs together can't be told part by part.
    pub(super) fn of(message: &'static Message, bytes: &'a [u8]) -> Option<Self> {
        let mut header = Header::default();
        let mut children = 0;
        let mut alternatives = 0;
        let former = is_former(message, bytes);
        for field in Fields::of(bytes) {
            let field = field.ok()?;
            if let Some(child) = Child::of(message, &field, former) {
                children += 1;
                alternatives += usize::from(child.field.label == Label::Member);
            } else if children == 0 {
                header.before.extend_from_slice(field.raw);
            } else {
                header.after.extend_from_slice(field.raw);
            }
        }
        (alternatives <= 1).then_some(Self { message, bytes, header })
    }

    /// The parts that are records or hold records, in their order.
    pub(super) fn children(&self) -> impl Iterator<Item = Child<'a>> + use<'a> {
        children(self.message, self.bytes)
    }
}

impl<'a> Child<'a> {
    /// `field` of `message`, if it is a child; `former` is what [`is_former`] says of the message.
    pub(super) fn of(message: &Message, field: &wire::WireField<'a>, former: bool) -> Option<Self> {
        let (known, former) = match message.formerly(field.number).filter(|_| former) {
            Some(known) => (known, true),
            None => (message.field(field.number)?, false),
        };
        let bytes = field.delimited().filter(|_| known.leads)?;
        Some(Self { field: known, raw: field.raw, bytes, former })
    }

    /// The part with key and length, under the number that its field has today.
    pub(super) fn renumbered(&self) -> Cow<'a, [u8]> {
        if !self.former {
            return Cow::Borrowed(self.raw);
        }
        let mut out = Vec::with_capacity(self.raw.len());
        wire::put_varint(&mut out, u64::from(self.field.number << 3 | 2));
        wire::put_varint(&mut out, self.bytes.len() as u64);
        out.extend_from_slice(self.bytes);
        Cow::Owned(out)
    }

    /// The message that the part is.
    pub(super) fn message(&self) -> &'static Message {
        self.field.message().expect("a field that leads to records is a message")
    }

    /// How many records the part is or holds, or `None` if its framing is broken on the way to them.
    pub(super) fn records(&self) -> Option<u64> {
        if self.field.record { Some(1) } else { records(self.message(), self.bytes) }
    }
}

/// The parts of a message that are records or hold records, in their order.
pub(super) fn children<'a>(
    message: &'static Message,
    bytes: &'a [u8],
) -> impl Iterator<Item = Child<'a>> + use<'a> {
    let former = is_former(message, bytes);
    Fields::of(bytes).map_while(Result::ok).filter_map(move |field| Child::of(message, &field, former))
}

/// Whether a message has a field under its number of once, and not under that of today. Then it is read as if it had that
/// of today; otherwise it is a field like any that is not known.
pub(super) fn is_former(message: &Message, bytes: &[u8]) -> bool {
    let Some(former) = message.former.filter(|former| former.number != 0) else { return false };
    let mut is_former = false;
    for field in Fields::of(bytes).map_while(Result::ok) {
        if field.number == former.field {
            return false;
        }
        is_former |= field.number == former.number;
    }
    is_former
}

/// Whether a message has children under their number of once that it doesn't have under their number of today, too. Whoever
/// reads it by today's schema misses those.
pub(super) fn differs_from_former(message: &Message, bytes: &[u8]) -> bool {
    let Some(former) = message.former.filter(|former| former.number != 0) else { return false };
    let children = |number: u32| {
        let fields = Fields::of(bytes).map_while(Result::ok).filter(move |field| field.number == number);
        fields.filter_map(|field| field.delimited())
    };
    children(former.number).any(|once| !once.is_empty() && children(former.field).all(|today| today != once))
}

/// A valid message of which [`is_former`] says yes, as it is written today: everything in its order.
pub(super) fn renumbered(message: &'static Message, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for field in Fields::of(bytes).map_while(Result::ok) {
        match Child::of(message, &field, true) {
            Some(child) => out.extend_from_slice(&child.renumbered()),
            None => out.extend_from_slice(field.raw),
        }
    }
    out
}

/// How many records `bytes` hold, or `None` if their framing is broken on the way to them.
pub(super) fn records(message: &'static Message, bytes: &[u8]) -> Option<u64> {
    let former = is_former(message, bytes);
    let mut records = 0;
    for field in Fields::of(bytes) {
        if let Some(child) = Child::of(message, &field.ok()?, former) {
            records += child.records()?;
        }
    }
    Some(records)
}

/// A message in the making. Its levels are open from the outermost down to where children are being put.
#[derive(Default)]
pub(super) struct EntryPiece {
    levels: Vec<OpenPiece>,
    records: u64,
}

struct OpenPiece {
    /// The field number in the level above; of no meaning in the outermost.
    number: u32,
    header: Header,
    children: Vec<u8>,
}

impl EntryPiece {
    /// Opens a message with this header in the innermost one; the first one is the message being made. It only
    /// appears in the piece when something is put in it.
    pub(super) fn enter(&mut self, number: u32, header: Header) {
        self.levels.push(OpenPiece { number, header, children: Vec::new() });
    }

    /// Puts an encoded child in the innermost message.
    pub(super) fn put(&mut self, raw: &[u8], records: u64) {
        let innermost = self.levels.last_mut().expect("a child is put in a message that was entered");
        innermost.children.extend_from_slice(raw);
        self.records += records;
    }

    /// Closes the innermost message.
    pub(super) fn leave(&mut self) {
        let closed = self.levels.pop().expect("only what was entered is left");
        if !closed.children.is_empty() {
            let above = self.levels.last_mut().expect("the outermost message is not left");
            closed.frame(&closed.children, &mut above.children);
        }
    }

    /// Bytes of the message if a child of `more` bytes were put.
    pub(super) fn len_with(&self, more: usize) -> usize {
        let mut inner = more;
        for (depth, level) in self.levels.iter().enumerate().rev() {
            inner += level.header.len() + level.children.len();
            if depth > 0 {
                inner += wire::varint_len(level.key() as usize) + wire::varint_len(inner);
            }
        }
        inner
    }

    /// Whether nothing was put since the last [`EntryPiece::take`].
    pub(super) fn is_empty(&self) -> bool {
        self.levels.iter().all(|level| level.children.is_empty())
    }

    /// The message as it is now and its records, if anything was put. All levels stay open, for the next one.
    pub(super) fn take(&mut self) -> Option<(Vec<u8>, u64)> {
        if self.is_empty() {
            return None;
        }
        let mut inner = Vec::new();
        for (depth, level) in self.levels.iter_mut().enumerate().rev() {
            let mut children = std::mem::take(&mut level.children);
            children.extend_from_slice(&inner);
            inner.clear();
            if depth == 0 {
                level.write(&children, &mut inner);
            } else if !children.is_empty() {
                level.frame(&children, &mut inner);
            }
        }
        Some((inner, std::mem::take(&mut self.records)))
    }
}

impl OpenPiece {
    fn key(&self) -> u32 {
        self.number << 3 | 2
    }

    fn frame(&self, children: &[u8], out: &mut Vec<u8>) {
        wire::put_varint(out, u64::from(self.key()));
        let len = self.header.len() + children.len();
        wire::put_varint(out, len as u64);
        self.write(children, out);
    }

    fn write(&self, children: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header.before);
        out.extend_from_slice(children);
        out.extend_from_slice(&self.header.after);
    }
}
