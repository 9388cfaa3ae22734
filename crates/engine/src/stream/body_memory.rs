//! Large entries wait in queues where the body of their request has them, without a copy.
//!
//! The memory of the body stays charged to the budget until the last of its entries has left. An entry that is kept keeps all of the
//! body, so that only those are left in it that are a good part of it, for streams that get on, while there is plenty of memory.

use std::ops::Range;

use bytes::Bytes;

use super::Reservation;

/// Bytes of the smallest entry that is left in its body: below, a copy costs less than the piece by itself that a batch has then.
const LEAST: usize = 16 << 10;

/// An entry may keep so many times its size.
const MOST_TIMES: u64 = 16;

/// A request's body in memory of its own, all of which is free once the body is.
#[derive(Clone, Debug)]
pub(super) struct BodyMemory {
    body: Bytes,
    /// Bytes of memory, at least those of the body.
    bytes: u64,
}

/// A body with what is reserved for it.
struct ChargedBody {
    body: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for ChargedBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl BodyMemory {
    /// The memory of a body that takes so many bytes; `None` if none of its entries can be large enough.
    pub(super) fn of(body: &Bytes, bytes: u64) -> Option<Self> {
        debug_assert!(body.len() as u64 <= bytes, "a body takes the memory of its bytes");
        (body.len() > LEAST).then(|| Self { body: body.clone(), bytes })
    }

    /// Bytes of memory that it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where an entry and its frame are in the body, if it is large enough to be left there. The frame has to be as it is written here.
    pub(super) fn place(&self, entry: &[u8]) -> Option<Range<usize>> {
        if entry.len() < LEAST || entry.len() as u64 * MOST_TIMES < self.bytes {
            return None;
        }
        let start = entry.as_ptr().addr().checked_sub(self.body.as_ptr().addr())?;
        let end = start + entry.len();
        let mut frame = [0; 11];
        let mut spare = &mut frame[..];
        otlp::put_frame(&mut spare, entry.len());
        let len = 11 - spare.len();
        let framed = start.checked_sub(len)?..end;
        let is_in_body = self.body.get(framed.clone())?.starts_with(&frame[..len]);
        is_in_body.then_some(framed)
    }

    /// The body, with what is `reserved` for it for as long as anybody has a part of it.
    pub(super) fn charged(self, reserved: Reservation) -> Bytes {
        debug_assert_eq!(reserved.bytes(), self.bytes, "all of its memory is charged");
        Bytes::from_owner(ChargedBody { body: self.body, _reservation: reserved })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Budget;
    use super::*;

    /// A request of entries with so many bytes.
    fn request(entries: &[usize]) -> Bytes {
        let mut request = Vec::new();
        for (at, len) in entries.iter().enumerate() {
            otlp::put_frame(&mut request, *len);
            request.extend(std::iter::repeat_n(at as u8, *len));
        }
        request.into()
    }

    fn places(body: &Bytes) -> Vec<Option<Range<usize>>> {
        let memory = BodyMemory::of(body, body.len() as u64).expect("it is large");
        otlp::frames(body).map(|(_, entry)| memory.place(entry)).collect()
    }

    #[test]
    fn entries_that_are_large_and_a_good_part_of_their_body_are_left_in_it() {
        let [small, large] = [LEAST - 1, LEAST];
        assert_eq!(places(&request(&[small, large])), [None, Some(small + 3..small + large + 7)]);
        let beside = LEAST * MOST_TIMES as usize;
        assert_eq!(places(&request(&[large, beside])), [None, Some(large + 4..large + beside + 8)]);
        assert!(BodyMemory::of(&request(&[small - 4]), LEAST as u64).is_none());
    }

    #[test]
    fn what_is_no_part_of_the_body_or_has_another_frame_is_not_left_in_it() {
        let body = request(&[LEAST]);
        let memory = BodyMemory::of(&body, body.len() as u64).unwrap();
        assert_eq!(memory.place(&request(&[LEAST])[4..]), None);
        // Four bytes that say what three say: a length may be written so.
        let mut long = vec![0x0a, 0x80, 0x80, 0x81, 0x00];
        long.resize(5 + LEAST, 7);
        let long = Bytes::from(long);
        let memory = BodyMemory::of(&long, long.len() as u64).unwrap();
        assert_eq!(memory.place(&long[5..]), None);
        assert_eq!(memory.place(&long), None, "nothing is before it");
    }

    #[test]
    fn a_body_stays_charged_until_its_last_part_has_gone() {
        let (budget, body) = (Arc::new(Budget::new(1 << 20)), request(&[LEAST, LEAST]));
        let memory = BodyMemory::of(&body, body.len() as u64 + 100).unwrap();
        let mut reservation = Reservation::empty(budget.clone());
        assert!(reservation.grow(memory.bytes()));
        let charged = memory.charged(reservation);
        let parts = [charged.slice(..LEAST), charged.slice(LEAST..)];
        drop((body, charged));
        for part in parts {
            assert_eq!(budget.used(), 2 * (LEAST as u64 + 4) + 100);
            drop(part);
        }
        assert_eq!(budget.used(), 0);
    }
}
