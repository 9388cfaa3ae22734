//! Looks for texts with wildcards, in a time that grows with the text and not with how the pattern fits it.
//!
//! The pieces between two `*` are looked for from left to right, each where it is found first: no later place could leave more
//! for the pieces behind it. A piece is found by shift-and: a bit for each of its bytes says whether the bytes that were just read
//! are like the piece up to there, and one step for each byte of the text moves all bits along.

use smallvec::SmallVec;

use super::pattern::{PatternPart, TextPattern};

/// Bits of a word.
const WORD: usize = u64::BITS as usize;

/// A pattern with wildcards, or a text that is looked for anywhere.
#[derive(Clone, Debug)]
pub(super) struct WildcardMatcher {
    /// The pieces before, between and behind its `*`. None of them is empty.
    pieces: Box<[WildcardPiece]>,
    /// The text has to begin with the first piece.
    from_start: bool,
    /// The text has to end with the last piece.
    to_end: bool,
}

/// A piece without `*`.
#[derive(Clone, Debug)]
struct WildcardPiece {
    wanted: Box<[WantedByte]>,
    folds: bool,
    /// Words of a state.
    words: usize,
    /// For each byte, the places in the piece where it is wanted: so many words each.
    places: Box<[u64]>,
    /// The places of `?`, which the bytes of one character pass together.
    ones: Box<[u64]>,
}

/// The byte that a place of a piece asks for.
#[derive(Clone, Copy, Debug)]
enum WantedByte {
    /// This byte.
    Is(u8),
    /// The first byte of any character, and the other bytes of it.
    One,
}

impl WantedByte {
    fn is(self, byte: u8, folds: bool) -> bool {
        match self {
            Self::Is(wanted) if folds => wanted.eq_ignore_ascii_case(&byte),
            Self::Is(wanted) => wanted == byte,
            Self::One => !is_continuation(byte),
        }
    }
}

impl WildcardMatcher {
    /// A matcher of texts that match the pattern from start to end, or that have a match `anywhere`. `folds`: the case of ASCII letters
    /// does not count.
    pub(super) fn new(pattern: &TextPattern, anywhere: bool, folds: bool) -> Self {
        let parts = pattern.parts();
        let is_run = |part: Option<&PatternPart>| part == Some(&PatternPart::Run);
        let pieces = parts.split(|part| *part == PatternPart::Run).filter(|parts| !parts.is_empty());
        Self {
            pieces: pieces.map(|parts| WildcardPiece::new(parts, folds)).collect(),
            from_start: !anywhere && !is_run(parts.first()),
            to_end: !anywhere && !is_run(parts.last()),
        }
    }

    /// How often a text may be gone through, a step of one word for each of its bytes each time.
    pub(super) fn passes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.words).sum()
    }

    /// Whether a text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (mut text, mut pieces) = (text.as_bytes(), &*self.pieces);
        if self.from_start
            && let Some((first, others)) = pieces.split_first()
        {
            let Some(end) = first.prefix(text) else { return false };
            (text, pieces) = (&text[end..], others);
            if pieces.is_empty() && self.to_end {
                return text.is_empty();
            }
        }
        if self.to_end
            && let Some((last, others)) = pieces.split_last()
        {
            let Some(start) = last.suffix(text) else { return false };
            (text, pieces) = (&text[..start], others);
        }
        for piece in pieces {
            let Some(end) = piece.find(text) else { return false };
            text = &text[end..];
        }
        true
    }
}

impl WildcardPiece {
    fn new(parts: &[PatternPart], folds: bool) -> Self {
        let wanted: Box<[WantedByte]> = parts
            .iter()
            .flat_map(|part| match part {
                PatternPart::Text(text) => text.bytes().map(WantedByte::Is).collect(),
                PatternPart::Run | PatternPart::One => vec![WantedByte::One],
            })
            .collect();
        let words = wanted.len().div_ceil(WORD);
        let (mut places, mut ones) = (vec![0; 256 * words], vec![0; words]);
        for (place, wanted) in wanted.iter().enumerate() {
            let (word, bit) = (place / WORD, 1 << (place % WORD));
            if matches!(wanted, WantedByte::One) {
                ones[word] |= bit;
            }
            for byte in (0..=u8::MAX).filter(|byte| wanted.is(*byte, folds)) {
                places[usize::from(byte) * words + word] |= bit;
            }
        }
        Self { wanted, folds, words, places: places.into(), ones: ones.into() }
    }

    /// Where the piece ends that a text begins with.
    fn prefix(&self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        for wanted in &self.wanted {
            if !wanted.is(*text.get(at)?, self.folds) {
                return None;
            }
            at += 1;
            if matches!(wanted, WantedByte::One) {
                at += text[at..].iter().take_while(|byte| is_continuation(**byte)).count();
            }
        }
        Some(at)
    }

    /// Where the piece begins that a text ends with.
    fn suffix(&self, text: &[u8]) -> Option<usize> {
        let mut end = text.len();
        for wanted in self.wanted.iter().rev() {
            if matches!(wanted, WantedByte::One) {
                end -= text[..end].iter().rev().take_while(|byte| is_continuation(**byte)).count();
            }
            end = end.checked_sub(1)?;
            if !wanted.is(text[end], self.folds) {
                return None;
            }
        }
        Some(end)
    }

    /// Where the piece ends for the first time. Of a last character of several bytes that is behind the first of them.
    fn find(&self, text: &[u8]) -> Option<usize> {
        let first = match *self.wanted.first()? {
            WantedByte::Is(byte) if self.folds => {
                Some((byte.to_ascii_lowercase(), byte.to_ascii_uppercase()))
            }
            WantedByte::Is(byte) => Some((byte, byte)),
            WantedByte::One => None,
        };
        let last = self.wanted.len() - 1;
        let mut state: SmallVec<[u64; 4]> = smallvec::smallvec![0; self.words];
        let (mut at, mut is_empty) = (0, true);
        while at < text.len() {
            if is_empty && let Some((lower, upper)) = first {
                at += memchr::memchr2(lower, upper, &text[at..])?;
            }
            let byte = text[at];
            let places = &self.places[usize::from(byte) * self.words..][..self.words];
            let (mut carry, mut any) = (1, 0);
            for ((state, places), ones) in state.iter_mut().zip(places).zip(&self.ones) {
                let before = *state;
                let stays = if is_continuation(byte) { before & ones } else { 0 };
                *state = (((before << 1) | carry) & places) | stays;
                carry = before >> (WORD - 1);
                any |= *state;
            }
            is_empty = any == 0;
            at += 1;
            if state[last / WORD] & (1 << (last % WORD)) != 0 {
                return Some(at);
            }
        }
        None
    }
}

/// Whether a byte of UTF-8 is not the first of its character.
const fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tries everything.
    fn is_like(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|from| is_like(rest, &text[from..])),
            Some(('?', rest)) => !text.is_empty() && is_like(rest, &text[1..]),
            Some((char, rest)) => {
                text.first().is_some_and(|first| first.eq_ignore_ascii_case(char))
                    && is_like(rest, &text[1..])
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn it_matches_what_trying_everything_matches(
            pattern in "[aAbé?*]{1,7}",
            text in "[aAbBéü]{0,9}",
            long in prop_oneof![3 => Just(0), 1 => 60..70_usize],
        ) {
            // So that pieces end at, before and behind the end of a word.
            let (pattern, text) = (format!("{}{pattern}", "x".repeat(long)), format!("{}{text}", "X".repeat(long)));
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            for anywhere in [false, true] {
                let matcher = WildcardMatcher::new(&TextPattern::glob(&pattern), anywhere, true);
                let tried = if anywhere { format!("*{pattern}*") } else { pattern.clone() };
                prop_assert_eq!(matcher.matches(&text), is_like(&chars(&tried), &chars(&text)), "{} {}", tried, text);
            }
        }
    }

    #[test]
    fn where_case_counts_another_is_another_text() {
        let matcher = WildcardMatcher::new(&TextPattern::glob("Ab*"), false, false);
        assert!(matcher.matches("Abc") && !matcher.matches("abc"));
    }

    #[test]
    fn a_longer_pattern_takes_a_pass_more_for_each_word() {
        let passes = |pattern: &str| WildcardMatcher::new(&TextPattern::glob(pattern), true, true).passes();
        assert_eq!((passes("a"), passes(&"a".repeat(256)), passes("a*b*c")), (1, 4, 3));
    }
}
