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

    /// The pattern, or `mask` if one of its texts may not be shown.
    pub(super) fn masked(&self, is_shown: &dyn Fn(&str) -> bool, mask: &str) -> Self {
        let is_hidden = |part: &PatternPart| matches!(part, PatternPart::Text(text) if !is_shown(text));
        if self.parts.iter().any(is_hidden) {
            return Self { parts: vec![PatternPart::Text(mask.to_owned())] };
        }
        self.clone()
    }

    /// The parts that it is made of.
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
