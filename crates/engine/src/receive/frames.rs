//! Frames of HTTP/2 as they come in, parsed as far as needed to know whether a head has begun and not ended.
//!
//! A head may go on in any number of `CONTINUATION` frames (RFC 9113, section 6.10), and what has come of it is decoded and
//! held. h2 says nothing of it before it is whole.

/// The length of a frame's own head.
const FRAME_HEAD: u8 = 9;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The state of the frames that come in on a connection.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Length, kind and flags of a frame that has begun.
    head: [u8; 5],
    /// Bytes of its head that have come.
    come: u8,
    /// Bytes of its payload that have not come.
    left: usize,
    in_head: bool,
    /// A head ends with the frame that has begun.
    ends_head: bool,
}

impl Frames {
    /// The frames that come behind so many other bytes.
    pub(super) fn behind(bytes: usize) -> Self {
        Self { left: bytes, ..Self::default() }
    }

    /// Follows bytes as they come; how many heads end there.
    pub(super) fn follow(&mut self, mut data: &[u8]) -> u32 {
        let mut heads = 0;
        loop {
            let skipped = self.left.min(data.len());
            self.left -= skipped;
            data = &data[skipped..];
            if self.left == 0 && std::mem::take(&mut self.ends_head) {
                heads += 1;
            }
            let Some((byte, rest)) = data.split_first() else { return heads };
            if let Some(known) = self.head.get_mut(usize::from(self.come)) {
                *known = *byte;
            }
            self.come += 1;
            data = rest;
            if self.come == FRAME_HEAD {
                let [a, b, c, kind, flags] = self.head;
                (self.come, self.left) = (0, u32::from_be_bytes([0, a, b, c]) as usize);
                if kind == HEADERS || kind == CONTINUATION {
                    self.ends_head = flags & END_HEADERS != 0;
                    self.in_head = !self.ends_head;
                }
            }
        }
    }

    /// Whether a head has begun whose last frame has not.
    pub(super) fn in_head(&self) -> bool {
        self.in_head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_with_the_last_bytes_of_their_last_frames_in_whatever_pieces_these_come() {
        let frame = |kind: u8, flags: u8, payload: &[u8]| {
            [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1], payload].concat()
        };
        let begun = [frame(4, 0, &[]), frame(HEADERS, 0, &[1; 200]), frame(CONTINUATION, 0, &[])].concat();
        let whole = [frame(CONTINUATION, END_HEADERS, &[4]), frame(0, 0, &[HEADERS; 99])].concat();
        let two = [frame(HEADERS, END_HEADERS, &[]), frame(HEADERS, END_HEADERS | 1, &[0; 5])].concat();
        for piece in [1, 2, 8, 9, 10, 100, 1000] {
            let mut frames = Frames::default();
            let mut ended = |data: &[u8]| {
                let ended: u32 = data.chunks(piece).map(|data| frames.follow(data)).sum();
                (ended, frames.in_head())
            };
            assert_eq!(ended(&begun), (0, true), "{piece}");
            assert_eq!(ended(&whole), (1, false), "{piece}");
            assert_eq!(ended(&two[..two.len() - 1]), (1, false), "{piece}");
            assert_eq!(ended(&two[two.len() - 1..]), (1, false), "{piece}");
            assert_eq!(ended(&frame(0, 0, &[HEADERS; 99])), (0, false), "{piece}");
        }
    }
}
