//! Values that are not messages: strings, numbers, ids and bytes.

use std::borrow::Cow;

use super::super::super::Reason;
use super::super::super::schema::{Field, FieldKind, Label};
use super::super::super::wire;
use super::bytes;
use super::number;
use super::text::{self, Raw};
use super::walk::{DocumentReader, NUMBER, WalkResult};

/// Bytes that key and text of an attribute can have together if all lengths around them take one byte.
const SHORT: usize = 121;

/// How the ids of an entry have been written so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids {
    /// One in hexadecimal, which no sender mixes with base64.
    hexadecimal: bool,
    /// One in base64 that nothing else could be.
    base64: bool,
    unpadded: Unpadded,
}

/// Ids of an entry in base64 without padding, which are told by their length alone; the most doubtful of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Unpadded {
    #[default]
    None,
    /// It has a letter that is no hexadecimal digit.
    Lettered,
    /// It is made of hexadecimal digits alone.
    OfDigits,
}

impl Ids {
    /// Ids of an entry of which it is known beforehand that some are hexadecimal.
    pub(super) const HEXADECIMAL: Self = Self { hexadecimal: true, base64: false, unpadded: Unpadded::None };

    /// Whether what was taken for base64 without padding was more likely a mistake.
    pub(super) fn are_mixed(self) -> bool {
        match self.unpadded {
            Unpadded::None => false,
            Unpadded::Lettered => self.hexadecimal,
            Unpadded::OfDigits => self.hexadecimal || !self.base64,
        }
    }
}

impl<'a> DocumentReader<'a, '_> {
    /// Reads a value that is not a message, and writes it with its key, unless it is a default that needs no writing.
    pub(super) fn scalar(&mut self, field: &'static Field, text: &'a [u8]) -> WalkResult<&'a [u8]> {
        match field.kind {
            FieldKind::String => self.string(field, text),
            FieldKind::Bytes => self.bytes(field, text),
            FieldKind::Id(len) => self.id(field, len as usize, text),
            _ => {
                let (value, rest) = self.number(field, text)?;
                if value != 0 || field.label != Label::Plain {
                    self.need(NUMBER)?;
                    self.key(field, field.wire_type());
                    self.put_number(field.kind, value);
                }
                Ok(rest)
            }
        }
    }

    /// Reads an element of a list of numbers, and writes it without a key.
    pub(super) fn packed(&mut self, field: &'static Field, text: &'a [u8]) -> WalkResult<&'a [u8]> {
        let (value, rest) = match text {
            [b'n', ..] if field.kind == FieldKind::Double => {
                (f64::NAN.to_bits(), self.literal(text, b"null")?)
            }
            [b'n', ..] => (0, self.literal(text, b"null")?),
            _ => self.number(field, text)?,
        };
        self.need(NUMBER)?;
        self.put_number(field.kind, value);
        Ok(rest)
    }

    #[inline]
    fn put_number(&mut self, kind: FieldKind, value: u64) {
        match kind {
            FieldKind::Fixed64 | FieldKind::Sfixed64 | FieldKind::Double => {
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            FieldKind::Fixed32 => self.out.extend_from_slice(&(value as u32).to_le_bytes()),
            _ => wire::put_varint(&mut self.out, value),
        }
    }

    /// Reads a number, and gives the varint or the bits that stand for it.
    #[inline]
    fn number(&mut self, field: &'static Field, text: &'a [u8]) -> WalkResult<(u64, &'a [u8])> {
        if field.kind == FieldKind::Double
            && let Some((value, rest)) = number::short_double(text)
        {
            return Ok((value.to_bits(), rest));
        }
        let (quoted, digits) = match text {
            [b'"', digits @ ..] => (true, digits),
            _ => (false, text),
        };
        if !matches!(field.kind, FieldKind::Double | FieldKind::Bool)
            && let Some((value, rest)) = number::whole(digits)
            && let Some(rest) = if quoted { rest.strip_prefix(b"\"") } else { Some(rest) }
            && let Some(value) = number::encode(field.kind, i128::from(value))
        {
            return Ok((value, rest));
        }
        self.any_number(field, text)
    }

    fn any_number(&mut self, field: &'static Field, text: &'a [u8]) -> WalkResult<(u64, &'a [u8])> {
        if field.kind == FieldKind::Bool {
            return match text {
                [b't', ..] => Ok((1, self.literal(text, b"true")?)),
                [b'f', ..] => Ok((0, self.literal(text, b"false")?)),
                _ => self.wrong(text, Reason::NotABoolean),
            };
        }
        let (number, rest) = match text {
            [b'"', ..] => {
                let (number, rest) = self.text(text)?;
                if let Some((_, value)) = field.values.iter().find(|(name, _)| name.as_bytes() == &*number) {
                    return Ok((i64::from(*value) as u64, rest));
                }
                (number, rest)
            }
            [b'-' | b'0'..=b'9', ..] => match number::token(text) {
                Some((number, rest)) => (Cow::Borrowed(number), rest),
                None => return self.broken(text, Reason::Syntax),
            },
            _ => return self.wrong(text, Reason::NotANumber),
        };
        let value = match field.kind {
            FieldKind::Double => number::double(&number).map(f64::to_bits),
            FieldKind::Enum if !matches!(number::token(&number), Some((_, []))) => Err(Reason::EnumName),
            kind => match number::in_string(kind, &number) {
                Some(number) => number::integer(number)
                    .and_then(|value| number::encode(kind, value).ok_or(Reason::OutOfRange)),
                None => Err(Reason::NotANumber),
            },
        };
        match value {
            Ok(value) => Ok((value, rest)),
            Err(reason) => self.wrong(text, reason),
        }
    }

    fn string(&mut self, field: &'static Field, text: &'a [u8]) -> WalkResult<&'a [u8]> {
        let (raw, rest) = match text {
            [b'"', ..] => self.raw(text)?,
            // An element of a list of strings.
            [b'n', ..] => (Raw { bytes: &[], escaped: false, ascii: true }, self.literal(text, b"null")?),
            _ => return self.wrong(text, Reason::NotAString),
        };
        self.check_utf8(raw)?;
        if raw.bytes.is_empty() && field.label == Label::Plain {
            return Ok(rest);
        }
        self.need(NUMBER + raw.bytes.len())?;
        self.key(field, 2);
        if raw.escaped {
            // No character takes more bytes than its escape.
            let width = wire::varint_len(raw.bytes.len());
            self.out.extend_from_slice(&[0; 5][..width]);
            let start = self.out.len();
            self.unescape(raw)?;
            self.leave(start, width)?;
        } else {
            wire::put_varint(&mut self.out, raw.bytes.len() as u64);
            self.out.extend_from_slice(raw.bytes);
        }
        Ok(rest)
    }

    #[inline]
    fn check_utf8(&mut self, raw: Raw<'a>) -> WalkResult<()> {
        if raw.ascii {
            return Ok(());
        }
        match simdutf8::compat::from_utf8(raw.bytes) {
            Ok(_) => Ok(()),
            Err(error) => self.wrong(&raw.bytes[error.valid_up_to()..], Reason::Utf8),
        }
    }

    fn unescape(&mut self, raw: Raw<'a>) -> WalkResult<()> {
        match text::unescape(raw.bytes, &mut self.out) {
            Ok(()) => Ok(()),
            Err(at) => self.wrong(&raw.bytes[at..], Reason::Surrogate),
        }
    }

    /// Reads a string without its escapes; it may not be UTF-8. For names, and for texts that are decoded further.
    pub(super) fn text(&mut self, text: &'a [u8]) -> WalkResult<(Cow<'a, [u8]>, &'a [u8])> {
        let (raw, rest) = self.raw(text)?;
        if !raw.escaped {
            return Ok((Cow::Borrowed(raw.bytes), rest));
        }
        // There is never more than one at a time.
        if let Some(more) = raw.bytes.len().checked_sub(self.unescaped) {
            self.ask(more)?;
            self.unescaped = raw.bytes.len();
        }
        let mut said = Vec::with_capacity(raw.bytes.len());
        match text::unescape(raw.bytes, &mut said) {
            Ok(()) => Ok((Cow::Owned(said), rest)),
            Err(at) => self.wrong(&raw.bytes[at..], Reason::Surrogate),
        }
    }

    fn bytes(&mut self, field: &'static Field, text: &'a [u8]) -> WalkResult<&'a [u8]> {
        let [b'"', ..] = text else { return self.wrong(text, Reason::NotAString) };
        let (base64, rest) = self.text(text)?;
        if base64.is_empty() && field.label == Label::Plain {
            return Ok(rest);
        }
        self.need(NUMBER + base64.len())?;
        self.key(field, 2);
        let width = wire::varint_len(base64.len() / 4 * 3);
        self.out.extend_from_slice(&[0; 5][..width]);
        let start = self.out.len();
        if bytes::base64(&base64, &mut self.out).is_none() {
            return self.wrong(text, Reason::Base64);
        }
        self.leave(start, width)?;
        Ok(rest)
    }

    /// Reads an id: hexadecimal (rule 49), or the base64 that some senders write, which is of another length.
    fn id(&mut self, field: &'static Field, len: usize, text: &'a [u8]) -> WalkResult<&'a [u8]> {
        let [b'"', ..] = text else { return self.wrong(text, Reason::NotAString) };
        let (id, rest) = self.text(text)?;
        if id.is_empty() && field.label == Label::Plain {
            return Ok(rest);
        }
        // Eleven characters are as likely a span id that was cut off, and more likely so if all of them are digits.
        let is_unpadded = id.len() == (4 * len).div_ceil(3);
        let is_base64 = id.len() == len.div_ceil(3) * 4 || is_unpadded && !self.ids.hexadecimal;
        if id.len() != 2 * len && !is_base64 {
            return self.wrong(text, Reason::IdLength);
        }
        self.need(NUMBER + id.len())?;
        self.key(field, 2);
        self.out.push(len as u8);
        if !is_base64 {
            if hex_simd::decode_append(id, &mut self.out).is_err() {
                return self.wrong(text, Reason::Hex);
            }
            self.ids.hexadecimal = true;
            return Ok(rest);
        }
        let start = self.out.len();
        if bytes::base64(&id, &mut self.out).is_none() {
            return self.wrong(text, Reason::Hex);
        }
        if self.out.len() - start != len {
            return self.wrong(text, Reason::IdLength);
        }
        let of_digits = id.iter().all(u8::is_ascii_hexdigit);
        self.ids.base64 |= !of_digits;
        if is_unpadded {
            let unpadded = if of_digits { Unpadded::OfDigits } else { Unpadded::Lettered };
            self.ids.unpadded = self.ids.unpadded.max(unpadded);
        }
        Ok(rest)
    }

    /// Reads an attribute, if it is compact and of the shape that nearly all are of: a key and a short string or an
    /// integer, all without escapes. What is not is left to the tables.
    #[inline]
    pub(super) fn plain_attribute(
        &mut self,
        field: &'static Field,
        text: &'a [u8],
    ) -> Option<WalkResult<&'a [u8]>> {
        let (key, text) = short(text.strip_prefix(b"{\"key\":\"")?)?;
        if key.is_empty() {
            return None;
        }
        let text = text.strip_prefix(b",\"value\":{\"")?;
        if let Err(stop) = self.need(2 * NUMBER + SHORT) {
            return Some(Err(stop));
        }
        let key_len = key.len() as u8;
        if let Some(text) = text.strip_prefix(b"stringValue\":\"") {
            let (value, text) = short(text)?;
            let rest = text.strip_prefix(b"}}").filter(|_| key.len() + value.len() <= SHORT)?;
            let value_len = value.len() as u8;
            self.key(field, 2);
            self.out.extend_from_slice(&[key_len + value_len + 6, 0x0a, key_len]);
            self.out.extend_from_slice(key);
            self.out.extend_from_slice(&[0x12, value_len + 2, 0x0a, value_len]);
            self.out.extend_from_slice(value);
            return Some(Ok(rest));
        }
        let text = text.strip_prefix(b"intValue\":")?;
        let (quoted, digits) = match text {
            [b'"', digits @ ..] => (true, digits),
            _ => (false, text),
        };
        let (value, text) = number::whole(digits)?;
        let text = if quoted { text.strip_prefix(b"\"")? } else { text };
        let rest = text.strip_prefix(b"}}")?;
        let value = i64::try_from(value).ok().filter(|_| key.len() <= SHORT - NUMBER)? as u64;
        let value_len = wire::varint_len(value as usize) as u8;
        self.key(field, 2);
        self.out.extend_from_slice(&[key_len + value_len + 5, 0x0a, key_len]);
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(&[0x12, value_len + 1, 0x18]);
        wire::put_varint(&mut self.out, value);
        Some(Ok(rest))
    }
}

/// A string without escapes that is ASCII and short.
#[inline]
fn short(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (raw, rest) = text::string(text).ok()?;
    (raw.ascii && !raw.escaped && raw.bytes.len() < SHORT).then_some((raw.bytes, rest))
}
