//! A connection that can be ended in ways HTTP doesn't know.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// What is written in place of a status line.
const NOT_HTTP: &[u8] = b"\x16\x03\x01 this is not HTTP\r\n\r\n";

/// How a connection ends when a fault ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionEnding {
    /// Closed.
    Close,
    /// Reset.
    Reset,
    /// Closed after bytes that are not HTTP.
    NotHttp,
}

/// Ends one connection, from inside its service.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    ending: OnceLock<ConnectionEnding>,
    signal: Notify,
}

impl Cutter {
    /// Ends the connection. What is still going on in it stops where it is, so this never returns.
    pub(super) async fn cut<T>(&self, ending: ConnectionEnding) -> T {
        self.ending.get_or_init(|| ending);
        self.signal.notify_one();
        std::future::pending().await
    }

    /// Waits for [`Cutter::cut`]; then the connection is to be dropped.
    pub(super) async fn cut_off(&self) {
        self.signal.notified().await;
    }
}

/// The socket. It carries out the ending when HTTP has let go of it, so that nothing is checked on the way.
#[derive(Debug)]
pub(super) struct SinkConnection {
    stream: TcpStream,
    cutter: Arc<Cutter>,
}

impl SinkConnection {
    pub(super) fn new(stream: TcpStream, cutter: Arc<Cutter>) -> Self {
        Self { stream, cutter }
    }
}

impl Drop for SinkConnection {
    fn drop(&mut self) {
        // A sender that has already gone away can't be cut off any more: nothing to do about the errors.
        match self.cutter.ending.get() {
            None | Some(ConnectionEnding::Close) => {}
            Some(ConnectionEnding::Reset) => drop(self.stream.set_zero_linger()),
            Some(ConnectionEnding::NotHttp) => drop(self.stream.try_write(NOT_HTTP)),
        }
    }
}

impl AsyncRead for SinkConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for SinkConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
