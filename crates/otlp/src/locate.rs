//! The field path of a byte in a request, for people who look for their mistake.

use std::fmt::Write as _;

use super::schema::{Label, Message};
use super::wire::{Fields, key};
use super::{Signal, schema};

/// Longer paths lose their middle: a hundred levels of nested values would leave no room for what is wrong with them.
const LONGEST: usize = 240;

/// The path of the innermost field that the byte at `offset` belongs to, such as
/// `resource_logs[3].scope_logs[0].log_records[2].body.string_value`. Fields that the schema doesn't have appear
/// by their number; what is in no field is in the request message, which is named then. Works on broken requests, as far as
/// their framing holds.
pub(super) fn path(signal: Signal, request: &[u8], offset: usize) -> String {
    let mut path = String::new();
    let (mut message, mut bytes, mut offset) = (Message::request(signal), request, offset);
    while let Some(step) = PathStep::to(message, bytes, offset) {
        step.append_to(&mut path);
        match step.inner {
            Some((below, inner)) if offset >= step.end - inner.len() => {
                offset -= step.end - inner.len();
                (message, bytes) = (below, inner);
            }
            _ => break,
        }
    }
    if path.is_empty() { Message::request(signal).name.to_owned() } else { abbreviated(path) }
}

/// Keeps the beginning, which says where in the request, and the end, which says where in the record.
pub(super) fn abbreviated(path: String) -> String {
    if path.len() <= LONGEST {
        return path;
    }
    let half = LONGEST / 2;
    let (start, end) = (path[..half].rfind('.'), path[path.len() - half..].find('.'));
    match start.zip(end) {
        Some((start, end)) => format!("{}.…{}", &path[..start], &path[path.len() - half + end..]),
        None => path,
    }
}

/// One field on the way.
struct PathStep<'a> {
    number: u32,
    /// The field with this number, if the message has one today.
    field: Option<&'static schema::Field>,
    repeated: bool,
    /// How many fields with the same number stand before it.
    index: usize,
    /// Where the field ends in its message.
    end: usize,
    /// The message that the field holds.
    inner: Option<(&'static Message, &'a [u8])>,
}

impl<'a> PathStep<'a> {
    /// The field of `message` that holds the byte at `offset`.
    fn to(message: &'static Message, bytes: &'a [u8], offset: usize) -> Option<Self> {
        let mut start = 0;
        for field in Fields::of(bytes) {
            let (number, end, inner) = match field {
                Ok(field) => (field.number, start + field.raw.len(), field.delimited()),
                Err((_, at)) => (key(at).ok()?.0, bytes.len(), None),
            };
            if offset < end {
                let before = Fields::of(&bytes[..start]).map_while(Result::ok);
                let index = before.filter(|other| other.number == number).count();
                let field = message.field(number);
                let known = field.or_else(|| message.formerly(number));
                let inner = known.and_then(schema::Field::message).zip(inner);
                let repeated = known.is_some_and(|known| known.label == Label::Repeated);
                return Some(Self { number, field, repeated, index, end, inner });
            }
            start = end;
        }
        None
    }

    fn append_to(&self, path: &mut String) {
        if !path.is_empty() {
            path.push('.');
        }
        let written = match self.field {
            Some(field) => write!(path, "{}", field.name),
            None => write!(path, "{}", self.number),
        };
        let indexed = if self.repeated { write!(path, "[{}]", self.index) } else { Ok(()) };
        written.and(indexed).expect("writing to a string can't fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_hundred_levels_keeps_its_ends() {
        let long = format!("resource_logs[1].body{}.string_value", ".array_value.values[0]".repeat(50));
        let short = abbreviated(long);
        assert!(short.len() <= LONGEST + 4, "{short}");
        assert!(short.starts_with("resource_logs[1].body.array_value"), "{short}");
        assert!(short.contains(".….") && short.ends_with(".values[0].string_value"), "{short}");
    }
}
