//! The names of attributes that queries ask for.

use std::collections::HashMap;

/// The names of the attributes that queries look for, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct WantedNames {
    positions: HashMap<Box<[u8]>, usize>,
    /// Whether a name of so many bytes is among them: most keys are of other lengths.
    lengths: [bool; 32],
}

impl WantedNames {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// The position of a name, if it is looked for.
    pub(super) fn position(&self, key: &[u8]) -> Option<usize> {
        if self.lengths.get(key.len()).is_some_and(|there| !there) {
            return None;
        }
        self.positions.get(key).copied()
    }

    /// The position of a name, which is added if it is new.
    pub(super) fn add(&mut self, name: &str) -> usize {
        let next = self.positions.len();
        if let Some(length) = self.lengths.get_mut(name.len()) {
            *length = true;
        }
        *self.positions.entry(name.as_bytes().into()).or_insert(next)
    }
}
