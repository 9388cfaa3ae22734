//! The protobuf wire format below any schema: varints, keys, fields, frames.

use bytes::BufMut;

use super::fault::Reason;

/// The key of field 1 with a length, which frames an entry in a request of any signal.
const ENTRY_KEY: u8 = 0x0a;

/// A field's value, without its key (and length).
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// A varint, or the 32 or 64 bits of the fixed wire types.
    Number(u64),
    Delimited(&'a [u8]),
}

/// One field of an encoded message.
#[derive(Clone, Copy, Debug)]
pub(super) struct WireField<'a> {
    pub(super) number: u32,
    /// The field as it was encoded: key, length, value.
    pub(super) raw: &'a [u8],
    pub(super) value: Value<'a>,
}

/// The fields of an encoded message, in order. After an error there is nothing more.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited value.
    pub(super) fn delimited(&self) -> Option<&'a [u8]> {
        match self {
            Self::Delimited(bytes) => Some(bytes),
            Self::Number(_) => None,
        }
    }
}

impl<'a> WireField<'a> {
    /// The bytes of a length-delimited field.
    pub(super) fn delimited(&self) -> Option<&'a [u8]> {
        self.value.delimited()
    }
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    #[inline]
    fn read(&mut self) -> Result<WireField<'a>, Reason> {
        let start = self.rest;
        let (number, wire, tail) = key(start)?;
        let (value, rest) = value(wire, tail)?;
        self.rest = rest;
        Ok(WireField { number, raw: &start[..start.len() - rest.len()], value })
    }
}

impl<'a> Iterator for Fields<'a> {
    /// An error comes with what is left from the broken field on.
    type Item = Result<WireField<'a>, (Reason, &'a [u8])>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.rest;
        Some(self.read().map_err(|reason| {
            self.rest = &[];
            (reason, start)
        }))
    }
}

/// Number and value of the fields of a message whose framing is known to hold: what [`Fields`] yields, but for the
/// raw bytes and the errors. It ends where the framing doesn't hold.
#[derive(Clone, Debug)]
pub(super) struct Sound<'a> {
    rest: &'a [u8],
}

impl<'a> Sound<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }
}

impl<'a> Iterator for Sound<'a> {
    type Item = (u32, Value<'a>);

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "measured: passed through memory, a field costs as much as writing it"
    )]
    fn next(&mut self) -> Option<Self::Item> {
        let (number, wire, tail) = match self.rest {
            [] => return None,
            [first @ ..0x80, tail @ ..] => (u32::from(first >> 3), first & 7, tail),
            _ => key(self.rest).ok()?,
        };
        let (value, rest) = value(wire, tail).ok()?;
        self.rest = rest;
        Some((number, value))
    }
}

/// The fields of a message whose framing is known to hold, with their raw bytes. They end where the framing doesn't hold.
#[derive(Clone, Debug)]
pub(super) struct SoundFields<'a>(Sound<'a>);

impl<'a> SoundFields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(Sound::of(message))
    }
}

impl<'a> Iterator for SoundFields<'a> {
    type Item = WireField<'a>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `Sound::next`")]
    fn next(&mut self) -> Option<Self::Item> {
        let start = self.0.rest;
        let (number, value) = self.0.next()?;
        Some(WireField { number, raw: &start[..start.len() - self.0.rest.len()], value })
    }
}

/// Reads the value behind a key, and what follows.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as for `Sound::next`")]
fn value(wire: u8, tail: &[u8]) -> Result<(Value<'_>, &[u8]), Reason> {
    match wire {
        0 => varint(tail).map(|(value, rest)| (Value::Number(value), rest)),
        1 => {
            let (value, rest) = tail.split_first_chunk().ok_or(Reason::Truncated)?;
            Ok((Value::Number(u64::from_le_bytes(*value)), rest))
        }
        2 => {
            let (len, tail) = varint(tail)?;
            let len = usize::try_from(len).map_err(|_| Reason::Truncated)?;
            let (value, rest) = tail.split_at_checked(len).ok_or(Reason::Truncated)?;
            Ok((Value::Delimited(value), rest))
        }
        5 => {
            let (value, rest) = tail.split_first_chunk().ok_or(Reason::Truncated)?;
            Ok((Value::Number(u64::from(u32::from_le_bytes(*value))), rest))
        }
        3 | 4 => Err(Reason::Group),
        _ => Err(Reason::UnknownWireType),
    }
}

/// Reads a key: field number, wire type, and what follows. Keys above 32 bits would name a field number above
/// 2^29-1; a key may be encoded longer than needed.
#[inline]
pub(super) fn key(bytes: &[u8]) -> Result<(u32, u8, &[u8]), Reason> {
    let (key, rest) = varint(bytes)?;
    let key = u32::try_from(key).map_err(|_| Reason::FieldNumber)?;
    match key >> 3 {
        0 => Err(Reason::FieldNumber),
        number => Ok((number, (key & 7) as u8, rest)),
    }
}

/// Reads a varint of at most 64 bits, and what follows.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Reason> {
    match bytes {
        [first, rest @ ..] if *first < 0x80 => Ok((u64::from(*first), rest)),
        [first, second, rest @ ..] if *second < 0x80 => {
            Ok((u64::from(*first & 0x7f) | u64::from(*second) << 7, rest))
        }
        _ => long_varint(bytes),
    }
}

fn long_varint(bytes: &[u8]) -> Result<(u64, &[u8]), Reason> {
    let mut value = 0;
    for (position, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if *byte < 0x80 {
            // The tenth byte holds the 64th bit alone.
            let fits = position < 9 || *byte <= 1;
            return if fits { Ok((value, &bytes[position + 1..])) } else { Err(Reason::Varint) };
        }
    }
    Err(if bytes.len() < 10 { Reason::Truncated } else { Reason::Varint })
}

/// The bytes that a varint takes.
pub(super) fn varint_len(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends a varint.
pub(super) fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Appends a length-delimited field.
pub(super) fn put_delimited(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// The bytes that an entry of `entry_len` bytes takes in a request: key, length, and itself.
pub fn frame_len(entry_len: usize) -> usize {
    1 + varint_len(entry_len) + entry_len
}

/// Writes what stands in front of an entry of `entry_len` bytes in a request.
pub fn put_frame(out: &mut impl BufMut, entry_len: usize) {
    out.put_u8(ENTRY_KEY);
    put_varint(out, entry_len as u64);
}

/// Where the entry behind the first `entries` of a request begins, looking at nothing but frames; `None` if there are not
/// as many.
pub fn skip_frames(request: &[u8], entries: usize) -> Option<usize> {
    let mut fields = Fields::of(request);
    for _ in 0..entries {
        fields.next()?.ok()?;
    }
    Some(request.len() - fields.rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_varint_reads_back_and_takes_the_bytes_it_says(value: u64, shift in 0..64_u32) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(varint_len(value as usize), out.len());
            out.push(7);
            prop_assert_eq!(varint(&out), Ok((value, &[7][..])));
        }
    }

    #[test]
    fn a_frame_is_as_long_as_it_says() {
        for len in [0, 1, 127, 128, 16_383, 16_384] {
            let mut out = Vec::new();
            put_frame(&mut out, len);
            assert_eq!(frame_len(len), out.len() + len);
        }
    }
}
