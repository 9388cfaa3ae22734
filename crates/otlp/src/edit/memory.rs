//! The memory that edits take, which is asked for before it is taken.

use super::super::partition::{NoRoom, RoomCheck};

/// Bytes that are asked for at least, so that small edits of many records don't ask for each.
const STEP: usize = 4096;

/// The memory that edits of an entry take. What is given back is there for what is taken next, and is not asked for again: what
/// has been asked for is the most that was ever taken.
pub struct EditMemory<'r> {
    room: &'r mut RoomCheck<'r>,
    asked: usize,
    taken: usize,
}

impl<'r> EditMemory<'r> {
    /// The memory of an entry of which nothing has been taken yet; `room` is asked before any is.
    pub fn new(room: &'r mut RoomCheck<'r>) -> Self {
        Self { room, asked: 0, taken: 0 }
    }

    /// Takes so many bytes.
    pub fn take(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let taken = self.taken.saturating_add(bytes);
        if taken > self.asked {
            let more = (taken - self.asked).max(STEP);
            if !(self.room)(more) {
                return Err(NoRoom);
            }
            self.asked = self.asked.saturating_add(more);
        }
        self.taken = taken;
        Ok(())
    }

    /// Gives back so many of the bytes taken.
    pub fn give_back(&mut self, bytes: usize) {
        self.taken = self.taken.checked_sub(bytes).expect("no more is given back than was taken");
    }

    /// Bytes taken and not given back.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Makes room for so many more elements, if there is none. The memory of a vector grows by this alone.
    #[inline]
    pub(super) fn reserve<T>(&mut self, vector: &mut Vec<T>, more: usize) -> Result<(), NoRoom> {
        if vector.capacity() - vector.len() >= more { Ok(()) } else { self.grow(vector, more) }
    }

    fn grow<T>(&mut self, vector: &mut Vec<T>, more: usize) -> Result<(), NoRoom> {
        /// Bytes that a vector begins with.
        const LEAST: usize = 256;
        let before = vector.capacity();
        let capacity = vector.len().saturating_add(more).max(2 * before).max(LEAST / size_of::<T>());
        // What it holds is there twice while it is moved.
        self.take(capacity.saturating_mul(size_of::<T>()))?;
        vector.reserve_exact(capacity - vector.len());
        self.give_back(before * size_of::<T>());
        Ok(())
    }
}
