//! Values of the records of a request that are hidden, found in what an upstream says of them, however it names them.

use std::cell::Cell;
use std::ops::Range;

use memchr::memmem;
use otlp::{Redaction, frames};

use super::decoded_text::DecodedText;
use crate::client::{MIN_SECRET, one_line};
use crate::stream::Batch;
use crate::terminal::is_obeyed;

/// Bytes by which a value is found that an upstream repeats: it may have cut the rest.
const LEAST_QUOTED: usize = 8;

/// Bytes of a request in which values are looked for: what an upstream says of a larger one is not worth the time.
const MAX_WALKED: usize = 4 * 1024 * 1024;

/// Bytes of values that begin as something in the text does, of which it is looked up whether they are hidden.
const MAX_WANTED: usize = 512 * 1024;

/// Bytes that are compared to know how far values are repeated.
const MAX_COMPARED: usize = 1024 * 1024;

/// Where a line has values of the batch that are hidden wherever they are shown, from their beginning as far as they are repeated, of
/// those whose first bytes stand before `end`. `texts` are the ways to read the line. Nothing if it takes too long to know.
pub(super) fn quoted_values(
    redaction: &Redaction,
    batch: &Batch,
    texts: &[DecodedText],
    end: usize,
) -> Option<Vec<Range<usize>>> {
    if batch.len() > MAX_WALKED {
        return None;
    }
    let begun: Vec<_> = texts.iter().map(|decoded| decoded.before(end)).collect();
    let beginnings = Beginnings::of(&begun);
    let left = Cell::new(Some(MAX_WANTED));
    let is_quoted = |value: &str| {
        let is_quoted = Head::of(value).is_some_and(|head| {
            beginnings.have(head.bytes())
                && begun.iter().any(|text| memmem::find(text.as_bytes(), head.bytes()).is_some())
        });
        if is_quoted {
            left.set(left.get().and_then(|left| left.checked_sub(value.len())));
        }
        is_quoted && left.get().is_some()
    };
    let entries = batch.chunks().iter().flat_map(|chunk| frames(chunk));
    let mut values: Vec<_> = entries
        .flat_map(|(_, entry)| redaction.hidden_in(batch.signal(), entry, &is_quoted))
        .map(|value| one_line(&value))
        .collect();
    left.get()?;
    values.sort_unstable();
    values.dedup();
    let (mut quoted, mut compared) = (Vec::new(), 0);
    for value in &values {
        let Some(head) = Head::of(value) else { continue };
        for (decoded, begun) in texts.iter().zip(&begun) {
            let mut from = 0;
            while let Some(before) = memmem::find(&begun.as_bytes()[from..], head.bytes()) {
                let at = from + before;
                let len = common(&decoded.text()[at..], value);
                compared += len;
                if compared > MAX_COMPARED {
                    return None;
                }
                quoted.push(decoded.place(at..at + len));
                from = at + 1;
            }
        }
    }
    Some(quoted)
}

/// The bytes in which two texts begin alike.
fn common(text: &str, value: &str) -> usize {
    let pairs = text.chars().zip(value.chars());
    pairs.take_while(|(char, other)| char == other).map(|(char, _)| char.len_utf8()).sum()
}

/// What a value is looked for by: its beginning, as it is in one line.
struct Head {
    bytes: [u8; LEAST_QUOTED],
    len: usize,
}

impl Head {
    /// Nothing if the value is so short that it is likely to be found in any text.
    fn of(value: &str) -> Option<Self> {
        let mut head = Self { bytes: [0; LEAST_QUOTED], len: 0 };
        let mut is_apart = false;
        for char in value.chars() {
            if char.is_whitespace() || is_obeyed(char) {
                is_apart = head.len > 0;
                continue;
            }
            if is_apart && !head.push(' ') || !head.push(char) {
                break;
            }
            is_apart = false;
        }
        (head.len >= MIN_SECRET).then_some(head)
    }

    /// Whether there was room.
    fn push(&mut self, char: char) -> bool {
        let end = self.len + char.len_utf8();
        let room = self.bytes.get_mut(self.len..end);
        if let Some(room) = room {
            char.encode_utf8(room);
            self.len = end;
            return true;
        }
        false
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What may begin in some texts. Of a request's values, most are known by this to be in none of them.
struct Beginnings(Vec<bool>);

impl Beginnings {
    fn of(texts: &[&str]) -> Self {
        let mut known = vec![false; 1 << 16];
        for first in texts.iter().flat_map(|text| text.as_bytes().windows(MIN_SECRET)) {
            known[Self::slot(first)] = true;
        }
        Self(known)
    }

    /// Whether they may have what begins with these bytes.
    fn have(&self, head: &[u8]) -> bool {
        self.0[Self::slot(head)]
    }

    /// For the first bytes of what is looked for.
    fn slot(head: &[u8]) -> usize {
        let first = head[..MIN_SECRET].iter().fold(0_u32, |first, byte| first << 8 | u32::from(*byte));
        (first.wrapping_mul(0x9e37_79b1) >> 16) as usize
    }
}
