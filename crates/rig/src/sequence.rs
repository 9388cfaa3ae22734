//! The numbers by which `sluice sink` proves the order of what `sluice send` sent.
//!
//! Every record carries two string attributes of 16 bytes: who sent it, in hexadecimal, and a number in decimal
//! that grows by one from record to record of the same sender, from 0. A sender is one stream of one connection. Both have a fixed width, so that
//! a sender overwrites them in an encoded request, and both are plain text, so that they can be read wherever the
//! record ends up.

/// The record attribute that names the sender.
pub(crate) const SENDER_ATTRIBUTE: &str = "sluice.sender";

/// The record attribute that holds the sequence number.
pub(crate) const SEQUENCE_ATTRIBUTE: &str = "sluice.sequence";

/// Bytes of either value.
pub(crate) const WIDTH: usize = 16;

/// Who sent a record, as the text in [`SENDER_ATTRIBUTE`].
pub(crate) type SenderId = [u8; WIDTH];

/// Who numbers the records of a stream on one of the `connections` of a run, in hexadecimal. It is another one for each stream, so
/// that records are in order also for a sink that takes several streams for one, as it does if it tells them apart by another
/// attribute than they were named by.
pub(crate) fn sender_id(run: u32, connection: usize, connections: usize, stream: usize) -> SenderId {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let of_run = stream.wrapping_mul(connections).wrapping_add(connection) as u32;
    let number = (u64::from(run) << 32) | u64::from(of_run);
    std::array::from_fn(|place| DIGITS[(number >> (60 - 4 * place) & 0xf) as usize])
}

/// A sequence number as the text in [`SEQUENCE_ATTRIBUTE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SequenceText([u8; WIDTH]);

impl SequenceText {
    /// The text of `number`, which is below 10^16.
    pub(crate) fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; WIDTH];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        Self(digits)
    }

    /// Counts on by one, which costs less than writing the next number afresh.
    pub(crate) fn increment(&mut self) {
        for digit in self.0.iter_mut().rev() {
            if *digit != b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
    }

    /// The 16 digits.
    pub(crate) fn as_bytes(&self) -> &[u8; WIDTH] {
        &self.0
    }

    /// The number that `text` holds, if it is 16 decimal digits.
    pub(crate) fn parse(text: &[u8]) -> Option<u64> {
        let digits: &[u8; WIDTH] = text.try_into().ok()?;
        let mut number = 0_u64;
        for &digit in digits {
            let value = digit.wrapping_sub(b'0');
            if value > 9 {
                return None;
            }
            number = number * 10 + u64::from(value);
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_survives_its_text() {
        for number in [0, 9, 10, 12_345_678, 9_999_999_999_999_999] {
            assert_eq!(SequenceText::parse(SequenceText::new(number).as_bytes()), Some(number));
        }
    }

    #[test]
    fn incrementing_equals_writing_the_next_number() {
        for number in [0, 8, 9, 99, 129, 999_999] {
            let mut text = SequenceText::new(number);
            text.increment();
            assert_eq!(text, SequenceText::new(number + 1));
        }
    }

    #[test]
    fn only_sixteen_digits_are_a_sequence_number() {
        assert_eq!(SequenceText::parse(b"1"), None);
        assert_eq!(SequenceText::parse(b"000000000000000x"), None);
        assert_eq!(SequenceText::parse(b"00000000000000001"), None);
    }

    #[test]
    fn senders_differ_between_runs_connections_and_streams() {
        assert_eq!(&sender_id(0xab, 3, 4, 0), b"000000ab00000003");
        assert_eq!(&sender_id(0xab, 0, 4, 7), b"000000ab0000001c");
        let of = |connection| (0..50).map(move |stream| sender_id(1, connection, 4, stream));
        assert_eq!((0..4).flat_map(of).collect::<std::collections::HashSet<_>>().len(), 200);
    }
}
