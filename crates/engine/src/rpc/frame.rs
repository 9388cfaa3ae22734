//! A whole message on a stream of bytes (gRPC over HTTP/2, "Length-Prefixed-Message"): one byte that says whether it is
//! compressed, four that give its length, then the message.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes before a message.
pub const PREFIX: usize = 5;

/// What stands before a message of so many bytes. A longer one than can be told is cut short, and so refused.
pub fn prefix(compressed: bool, len: u64) -> [u8; PREFIX] {
    let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [u8::from(compressed), len[0], len[1], len[2], len[3]]
}

/// A message as it stands in a body.
pub fn framed(message: &[u8], compressed: bool) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_slice(&prefix(compressed, message.len() as u64));
    framed.put_slice(message);
    framed.freeze()
}

/// How many bytes the message at the beginning of a body is said to have, and whether it is compressed; `None` if that is
/// not there, or wrong.
pub fn announced(body: &[u8]) -> Option<(usize, bool)> {
    let &[flag, ref len @ ..] = body.first_chunk::<PREFIX>()?;
    (flag <= 1).then_some((u32::from_be_bytes(*len) as usize, flag == 1))
}

/// As [`announced`]; `None` also if the message is not whole.
pub fn arrived(body: &[u8]) -> Option<(usize, bool)> {
    announced(body).filter(|(len, _)| *len <= body.len() - PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_where_it_was_framed() {
        let body = [&framed(b"abc", true)[..], b"more"].concat();
        assert_eq!(arrived(&body), Some((3, true)));
        assert_eq!(arrived(&framed(b"", false)), Some((0, false)));
        assert_eq!(announced(&body[..PREFIX]), Some((3, true)));
        for cut in [&body[..0], &body[..4], &body[..7], b"\x02\0\0\0\0"] {
            assert_eq!(arrived(cut), None, "{cut:?}");
        }
    }
}
