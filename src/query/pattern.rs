//! Texts with wildcards.

/// A text in which `*` stands for any characters, also none, and `?` for any one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextPattern {
    /// No two texts and no two runs stand beside each other, and no text is empty.
    parts: Vec<PatternPart>,
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PatternPart {
    /// These characters; of ASCII letters the case does not count.
    Text(String),
    /// `*`.
    Run,
    /// `?`.
    One,
}

impl TextPattern {
    /// A text with wildcards, which nothing escapes.
    pub(super) fn glob(text: &str) -> Self {
        let mut pattern = Self::default();
        for char in text.chars() {
            match char {
                '*' => pattern.push_run(),
                '?' => pattern.push_one(),
                char => pattern.push_char(char),
            }
        }
        pattern
    }

    /// Adds a character that stands for itself.
    pub(super) fn push_char(&mut self, char: char) {
        if let Some(PatternPart::Text(text)) = self.parts.last_mut() {
            text.push(char);
        } else {
            self.parts.push(PatternPart::Text(char.into()));
        }
    }

    /// Adds `*`.
    pub(super) fn push_run(&mut self) {
        if self.parts.last() != Some(&PatternPart::Run) {
            self.parts.push(PatternPart::Run);
        }
    }

    /// Adds `?`.
    pub(super) fn push_one(&mut self) {
        self.parts.push(PatternPart::One);
    }

    /// What it is made of.
    pub(super) fn parts(&self) -> &[PatternPart] {
        &self.parts
    }

    /// The text that it is, if it has no wildcards.
    pub(super) fn literal(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [PatternPart::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it is `*` alone, which whatever is there matches.
    pub(super) fn is_any(&self) -> bool {
        self.parts == [PatternPart::Run]
    }
}

/// A pattern as it is compared.
#[derive(Clone, Debug)]
pub(super) enum TextMatcher {
    /// Anything.
    Any,
    /// This text and no other.
    Whole(Box<str>),
    /// The same, the case of letters included.
    Exactly(Box<str>),
    /// A text with this somewhere in it, which is not empty.
    Containing(Box<str>),
    /// Wildcards among lower-case characters.
    Wild(Box<[WildChar]>),
    /// Wildcards among characters as they are.
    WildExactly(Box<[WildChar]>),
}

/// A character of a pattern with wildcards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WildChar {
    Char(char),
    One,
    Run,
}

impl TextMatcher {
    /// For texts that are like the pattern as a whole.
    pub(super) fn whole(pattern: &TextPattern) -> Self {
        match pattern.literal() {
            Some(text) => Self::Whole(text.into()),
            None if pattern.is_any() => Self::Any,
            None => Self::Wild(wild(pattern, fold).collect()),
        }
    }

    /// The same for names, which differ if their letters have another case.
    pub(super) fn exactly(pattern: &TextPattern) -> Self {
        match pattern.literal() {
            Some(text) => Self::Exactly(text.into()),
            None if pattern.is_any() => Self::Any,
            None => Self::WildExactly(wild(pattern, |char| char).collect()),
        }
    }

    /// For texts that have it somewhere.
    pub(super) fn containing(pattern: &TextPattern) -> Self {
        match pattern.literal() {
            Some("") => Self::Any,
            Some(text) => Self::Containing(text.into()),
            None if pattern.is_any() => Self::Any,
            None => {
                let run = || std::iter::once(WildChar::Run);
                Self::Wild(run().chain(wild(pattern, fold)).chain(run()).collect())
            }
        }
    }

    /// Whether a text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Whole(whole) => whole.eq_ignore_ascii_case(text),
            Self::Containing(part) => contains(text, part),
            Self::Exactly(whole) => **whole == *text,
            Self::Wild(pattern) => is_like(pattern, text, fold),
            Self::WildExactly(pattern) => is_like(pattern, text, |char| char),
        }
    }
}

/// Of ASCII letters the case does not count.
fn fold(char: char) -> char {
    char.to_ascii_lowercase()
}

fn wild(pattern: &TextPattern, fold: fn(char) -> char) -> impl Iterator<Item = WildChar> {
    pattern.parts.iter().flat_map(move |part| {
        let chars: Vec<WildChar> = match part {
            PatternPart::Text(text) => text.chars().map(|char| WildChar::Char(fold(char))).collect(),
            PatternPart::Run => vec![WildChar::Run],
            PatternPart::One => vec![WildChar::One],
        };
        chars
    })
}

/// Whether `part`, which is not empty, is somewhere in `text`.
fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    let Some(last) = text.len().checked_sub(part.len()) else { return false };
    let (lower, upper) = (part[0].to_ascii_lowercase(), part[0].to_ascii_uppercase());
    memchr::memchr2_iter(lower, upper, &text[..=last])
        .any(|at| text[at..at + part.len()].eq_ignore_ascii_case(part))
}

/// Matches greedily and goes back to the last `*` only, which is enough: an earlier one can't do better.
fn is_like(pattern: &[WildChar], text: &str, fold: fn(char) -> char) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Behind the last `*`, and the text from where that `*` ends.
    let mut retry: Option<(&[WildChar], &str)> = None;
    loop {
        match pattern.split_first() {
            Some((WildChar::Run, rest)) => {
                pattern = rest;
                retry = Some((rest, text));
                continue;
            }
            None if text.is_empty() => return true,
            Some((wanted, rest)) => {
                let mut ahead = text.chars();
                let is_wanted = |char: char| match wanted {
                    WildChar::Char(wanted) => *wanted == fold(char),
                    WildChar::One => true,
                    WildChar::Run => false,
                };
                if ahead.next().is_some_and(is_wanted) {
                    (pattern, text) = (rest, ahead.as_str());
                    continue;
                }
            }
            None => {}
        }
        let Some((after_run, from)) = retry else { return false };
        if after_run.is_empty() {
            return true;
        }
        let mut ahead = from.chars();
        if ahead.next().is_none() {
            return false;
        }
        (pattern, text) = (after_run, ahead.as_str());
        retry = Some((after_run, text));
    }
}
