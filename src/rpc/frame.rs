//! A whole message on a stream of bytes (gRPC over HTTP/2, "Length-Prefixed-Message"): one byte that says whether it is
//! compressed, four that give its length, then the message.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes before a message.
pub(crate) const PREFIX: usize = 5;

/// What stands before a message of so many bytes. A longer one than can be told is cut short, and so refused.
pub(crate) fn prefix(compressed: bool, len: u64) -> [u8; PREFIX] {
    let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [u8::from(compressed), len[0], len[1], len[2], len[3]]
}

/// A message as it stands in a body.
pub(crate) fn framed(message: &[u8], compressed: bool) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_slice(&prefix(compressed, message.len() as u64));
    framed.put_slice(message);
    framed.freeze()
}

/// How many bytes the message at the beginning of a body has, and whether it is compressed; `None` if it is not whole.
pub(crate) fn announced(body: &[u8]) -> Option<(usize, bool)> {
    let (&[flag, ref len @ ..], message) = body.split_first_chunk::<PREFIX>()?;
    let len = u32::from_be_bytes(*len) as usize;
    (len <= message.len() && flag <= 1).then_some((len, flag == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_where_it_was_framed() {
        let body = [&framed(b"abc", true)[..], b"more"].concat();
        assert_eq!(announced(&body), Some((3, true)));
        assert_eq!(announced(&framed(b"", false)), Some((0, false)));
        for cut in [&body[..0], &body[..4], &body[..7], b"\x02\0\0\0\0"] {
            assert_eq!(announced(cut), None, "{cut:?}");
        }
    }
}
