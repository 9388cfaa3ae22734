//! Passing over values under unknown names, however deeply they are nested.

use super::super::super::Reason;
use super::number;
use super::text::{self, Raw, space};
use super::walk::{DocumentReader, WalkResult};

/// Brackets that are open, one bit each: a value of nothing but brackets takes an eighth of its size.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    words: Vec<u64>,
    depth: usize,
}

impl Brackets {
    /// Whether one more needs more memory.
    fn is_full(&self) -> bool {
        self.depth == self.words.len() * 64
    }

    fn push(&mut self, is_object: bool) {
        if self.is_full() {
            self.words.push(0);
        }
        let (word, bit) = (&mut self.words[self.depth / 64], self.depth % 64);
        *word = *word & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
    }

    /// Whether the innermost one is an object's.
    fn innermost(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        Some(self.words[last / 64] >> (last % 64) & 1 == 1)
    }
}

impl<'a> DocumentReader<'a, '_> {
    /// Passes over any value.
    pub(super) fn skip(&mut self, text: &'a [u8]) -> WalkResult<&'a [u8]> {
        self.brackets.depth = 0;
        let mut rest = text;
        loop {
            // A value is expected here.
            rest = match rest {
                [open @ (b'{' | b'['), after @ ..] => {
                    if self.brackets.is_full() {
                        self.ask(size_of::<u64>())?;
                    }
                    self.brackets.push(*open == b'{');
                    match space(after) {
                        [b'}' | b']', ..] => space(after),
                        after if *open == b'{' => {
                            rest = self.pass_name(after)?;
                            continue;
                        }
                        after => {
                            rest = after;
                            continue;
                        }
                    }
                }
                [b'"', ..] => self.raw(rest)?.1,
                [b't', ..] => self.literal(rest, b"true")?,
                [b'f', ..] => self.literal(rest, b"false")?,
                [b'n', ..] => self.literal(rest, b"null")?,
                _ => match number::token(rest) {
                    Some((_, rest)) => rest,
                    None => return self.broken(rest, Reason::Syntax),
                },
            };
            // A value has ended here.
            while let Some(in_object) = self.brackets.innermost() {
                rest = space(rest);
                match (rest, in_object) {
                    ([b',', after @ ..], true) => {
                        rest = self.pass_name(space(after))?;
                        break;
                    }
                    ([b',', after @ ..], false) => {
                        rest = space(after);
                        break;
                    }
                    ([b'}', after @ ..], true) | ([b']', after @ ..], false) => {
                        self.brackets.depth -= 1;
                        rest = after;
                    }
                    _ => return self.broken(rest, Reason::Syntax),
                }
            }
            if self.brackets.depth == 0 {
                return Ok(rest);
            }
        }
    }

    fn pass_name(&mut self, text: &'a [u8]) -> WalkResult<&'a [u8]> {
        let (_, rest) = self.raw(text)?;
        match space(rest) {
            [b':', rest @ ..] => Ok(space(rest)),
            rest => self.broken(rest, Reason::Syntax),
        }
    }

    /// Reads a string, which must be one, with its quotes.
    #[inline]
    pub(super) fn raw(&mut self, text: &'a [u8]) -> WalkResult<(Raw<'a>, &'a [u8])> {
        let [b'"', text @ ..] = text else { return self.broken(text, Reason::Syntax) };
        match text::string(text) {
            Ok(string) => Ok(string),
            Err((reason, at)) => self.broken(at, reason),
        }
    }

    /// Reads `true`, `false` or `null`, of which the first letter is known to be there.
    pub(super) fn literal(&mut self, text: &'a [u8], literal: &[u8]) -> WalkResult<&'a [u8]> {
        match text.strip_prefix(literal) {
            Some(rest) => Ok(rest),
            None => self.broken(text, Reason::Syntax),
        }
    }
}
