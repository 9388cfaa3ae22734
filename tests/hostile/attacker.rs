//! A connection whose other side means no good: bytes as the test likes them, answers read and forgotten, or never read.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::PATIENCE;

/// How an HTTP/2 connection begins, before its settings.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames that [`crate::support::http2::kind`] does not have.
pub(crate) const WINDOW_UPDATE: u8 = 8;
/// See [`WINDOW_UPDATE`].
pub(crate) const CONTINUATION: u8 = 9;

/// The flag of a head that is whole.
pub(crate) const END_HEADERS: u8 = 4;

/// An attacking connection.
pub(crate) struct Attacker {
    writer: OwnedWriteHalf,
    /// Bytes on the wire so far.
    pub(crate) sent: u64,
    open: bool,
    answers: Answers,
}

/// What becomes of what the other side says.
enum Answers {
    /// It is read and forgotten; ends with the connection.
    Forgotten(JoinHandle<()>),
    /// It is never read.
    Unread(OwnedReadHalf),
}

impl Attacker {
    /// Connects; answers are read and forgotten.
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let mut attacker = Self::that_reads_nothing(to, 1 << 20).await;
        let Answers::Unread(mut reader) = attacker.answers else { unreachable!("it was just made so") };
        let forgetting = tokio::spawn(async move {
            let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
        });
        attacker.answers = Answers::Forgotten(forgetting);
        attacker
    }

    /// Connects; answers are never read, and the system keeps only about so many bytes of them.
    pub(crate) async fn that_reads_nothing(to: SocketAddr, buffer: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.set_recv_buffer_size(buffer).expect("it is a socket");
        let (reader, writer) = socket.connect(to).await.expect("it listens").into_split();
        Self { writer, sent: 0, open: true, answers: Answers::Unread(reader) }
    }

    /// Begins HTTP/2 with these settings.
    pub(crate) async fn begin_http2(&mut self, settings: &[(u16, u32)]) {
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        self.send(&[PREFACE, &frame(4, 0, 0, &settings)].concat()).await;
    }

    /// Writes all of it, unless the other side has closed the connection; returns whether it is still open.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        if self.open && self.writer.write_all(bytes).await.is_ok() {
            self.sent += bytes.len() as u64;
        } else {
            self.open = false;
        }
        self.open && !self.is_ended()
    }

    /// Says no more, and waits until the other side has read all of it and has closed the connection.
    pub(crate) async fn finish(mut self) {
        let Answers::Forgotten(reading) = self.answers else {
            panic!("a connection that is not read never ends")
        };
        let _ = self.writer.shutdown().await;
        timeout(PATIENCE, reading).await.expect("it is closed in time").expect("forgetting does not fail");
    }

    /// Whether the other side has closed the connection.
    pub(crate) fn is_ended(&self) -> bool {
        match &self.answers {
            Answers::Forgotten(reading) => reading.is_finished(),
            Answers::Unread(reader) => {
                // Nothing is taken out, so the end shows only as an error.
                reader.as_ref().take_error().ok().flatten().is_some() || !self.open
            }
        }
    }
}

/// A frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a gRPC call in HPACK (RFC 7541): what is written before them is an update of the table's size, if anything.
pub(crate) fn call_head(path: &str) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are entries of the static table; other names are, but no values.
    let mut block = vec![0x83, 0x86];
    for (name, value) in [(&[4][..], path), (&[1], "localhost"), (&[0x0f, 0x10], "application/grpc")] {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).ok().filter(|len| *len < 127).expect("it is short"));
        block.extend_from_slice(value.as_bytes());
    }
    block
}
