//! turmoil's network, as a router uses it; and what can be seen of its attempts on the way.

use std::fmt;
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluice::net::{SimulatedListener, SimulatedNetwork, Soon, Transmission};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::trace::{Attempt, Event, Trace};

/// The network of the host that uses it.
#[derive(Clone, Debug)]
pub(crate) struct Network(pub(crate) Trace);

impl SimulatedNetwork for Network {
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn SimulatedListener>> {
        match pin!(TcpListener::bind(address)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(listener) => Ok(Box::new(Listener(listener?))),
            Poll::Pending => unreachable!("a simulated socket is bound at once"),
        }
    }

    fn connect(&self, host: &str, port: u16) -> Soon<'static, io::Result<Box<dyn Transmission>>> {
        let (to, trace) = ((host.to_owned(), port), self.0.clone());
        Box::pin(async move {
            let since = (trace.now(), trace.len());
            let stream = TcpStream::connect(to).await?;
            let port = stream.local_addr()?.port();
            let watched = Watched { stream, trace, port, since: Some(since), requests: 0, head: None };
            Ok(Box::new(watched) as Box<dyn Transmission>)
        })
    }
}

struct Listener(TcpListener);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.0.local_addr().ok()).finish()
    }
}

impl SimulatedListener for Listener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn accept(&self) -> Soon<'_, io::Result<(Box<dyn Transmission>, SocketAddr)>> {
        Box::pin(async {
            let (stream, peer) = self.0.accept().await?;
            Ok((Box::new(stream) as Box<dyn Transmission>, peer))
        })
    }
}

/// A connection to an upstream, which notes where requests begin and what the router learns of their fate.
struct Watched {
    stream: TcpStream,
    trace: Trace,
    port: u16,
    /// When connecting began, and how much had happened then, until the first request does.
    since: Option<(Duration, usize)>,
    /// Requests that have begun.
    requests: u32,
    /// As much of the head of the answer as was read, while one is waited for.
    head: Option<Vec<u8>>,
}

impl Watched {
    fn wrote(&mut self) {
        if self.head.is_none() {
            let now = || (self.trace.now(), self.trace.len());
            let (since, after) = self.since.take().unwrap_or_else(now);
            let attempt = Attempt { port: self.port, nth: self.requests };
            self.requests += 1;
            self.head = Some(Vec::new());
            self.trace.note(Event::Began { attempt, since, after });
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        let Some(head) = &mut self.head else { return };
        head.extend_from_slice(bytes);
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let status =
                String::from_utf8_lossy(&head[..end]).split(' ').nth(1).and_then(|code| code.parse().ok());
            let attempt = Attempt { port: self.port, nth: self.requests - 1 };
            self.head = None;
            self.trace.note(Event::Heard { attempt, status: status.unwrap_or_default() });
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = polled {
            self.read(&buf.filled()[before..]);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(_)) = polled {
            self.wrote();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
