//! As much of HTTP/1.1 as senders and upstreams need here: written by hand, so that they can break off anywhere.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turmoil::net::TcpStream;

/// A request or an answer.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// The request or status line.
    pub(crate) line: String,
    pub(crate) body: Vec<u8>,
}

/// A connection, and what was read of it too early.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// Reads a message; none, if the other side has closed.
    pub(crate) async fn message(&mut self) -> io::Result<Option<Message>> {
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect::<Vec<_>>();
                break String::from_utf8(head).map_err(io::Error::other)?;
            }
            if !self.more().await? {
                return if self.read.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        };
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default().to_owned();
        let length = lines
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(Ok(0), |(_, length)| length.trim().parse::<usize>())
            .map_err(io::Error::other)?;
        while self.read.len() < length {
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body = self.read.drain(..length).collect();
        Ok(Some(Message { line, body }))
    }

    async fn more(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}
