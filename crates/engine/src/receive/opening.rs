//! How a connection begins: its first bytes tell which protocol it speaks, in however many pieces they come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of a TLS handshake (RFC 8446, section 5.1). No method of HTTP begins with it.
const HANDSHAKE: u8 = 22;

/// The protocol that a connection seems to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// HTTP/2, without an upgrade.
    Http2,
    /// A `ClientHello` of TLS.
    Tls,
    /// Anything else: HTTP/1.1, or what is no HTTP at all.
    Http1,
}

/// A connection whose first bytes were looked at, and are read again.
#[derive(Debug)]
pub(super) struct PrefixedIo<S> {
    io: S,
    start: [u8; PREFACE.len()],
    /// The part of `start` that is still to be read again.
    left: std::ops::Range<u8>,
}

/// Reads the first bytes of a connection, as few as tell what it speaks; `begun` is called for the first of them.
pub(super) async fn look<S: AsyncRead + Unpin>(
    mut io: S,
    begun: impl Fn(),
) -> io::Result<(Opening, PrefixedIo<S>)> {
    let mut start = [0; PREFACE.len()];
    let mut len = 0;
    let opening = loop {
        let read = io.read(&mut start[len..]).await?;
        if len == 0 && read > 0 {
            begun();
        }
        len += read;
        let come = &start[..len];
        if come.first() == Some(&HANDSHAKE) {
            break Opening::Tls;
        }
        if !PREFACE.starts_with(come) || read == 0 {
            break Opening::Http1;
        }
        if len == PREFACE.len() {
            break Opening::Http2;
        }
    };
    Ok((opening, PrefixedIo { io, start, left: 0..len as u8 }))
}

impl<S: AsyncRead + Unpin> AsyncRead for PrefixedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let left = usize::from(self.left.start)..usize::from(self.left.end);
        let taken = left.len().min(buf.remaining());
        buf.put_slice(&self.start[left.start..left.start + taken]);
        self.left.start += taken as u8;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PrefixedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// The protocol that bytes in pieces of this size are taken for, and the bytes that can be read afterwards.
    async fn looked_at(bytes: &'static [u8], piece: usize) -> (Opening, Vec<u8>) {
        let (mut there, here) = tokio::io::duplex(piece);
        tokio::spawn(async move { there.write_all(bytes).await });
        let (opening, mut io) = look(here, || ()).await.unwrap();
        let mut all = Vec::new();
        io.read_to_end(&mut all).await.unwrap();
        (opening, all)
    }

    #[tokio::test]
    async fn what_a_connection_speaks_does_not_depend_on_the_pieces_in_which_it_begins() {
        let cases: [(&[u8], Opening); 7] = [
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand more", Opening::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", Opening::Http1),
            (b"PRI", Opening::Http1),
            (b"POST /v1/logs HTTP/1.1\r\n\r\n", Opening::Http1),
            (b"PROPFIND", Opening::Http1),
            (b"\x16\x03\x01\x02\x00\x01", Opening::Tls),
            (b"", Opening::Http1),
        ];
        for (bytes, expected) in cases {
            for piece in [1, 2, 3, 12, 23, 24, 25, 100] {
                assert_eq!(looked_at(bytes, piece).await, (expected, bytes.to_vec()), "{piece}");
            }
        }
    }
}
