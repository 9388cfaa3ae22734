//! The network that a router is on: where its listeners are bound and its connections opened.
//!
//! It is the machine's, unless a simulation puts one of its own in its place. A connection is told apart by an enum, so that
//! the machine's cost no more than they would by themselves.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Senders that come in a herd wait here instead of being refused.
pub(crate) const ACCEPT_QUEUE: u32 = 1024;

/// Bytes of answers that the system keeps for a connection whose other side does not take them; Linux doubles them. Left to
/// itself, it keeps up to four mebibytes for one that reads nothing, and answering so much would be work in vain.
const UNTAKEN_ANSWERS: usize = 64 * 1024;

/// A network.
#[derive(Clone, Debug, Default)]
pub enum Network {
    /// The machine's.
    #[default]
    Machine,
    /// One that is made up.
    Simulated(Arc<dyn SimulatedNetwork>),
}

/// A network that is made up.
pub trait SimulatedNetwork: Debug + Send + Sync {
    /// Binds a listening socket.
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn SimulatedListener>>;

    /// Opens a connection to a port of a host, which is a name or an address.
    fn connect(&self, host: &str, port: u16) -> Soon<'static, io::Result<Box<dyn Transmission>>>;
}

/// A listening socket of a network that is made up.
pub trait SimulatedListener: Debug + Send + Sync {
    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The next connection, and where it comes from.
    fn accept(&self) -> Soon<'_, io::Result<(Box<dyn Transmission>, SocketAddr)>>;
}

/// What is ready some time.
pub type Soon<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection that bytes can be sent through, whatever it is made of.
pub trait Transmission: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transmission for T {}

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Simulated(Box<dyn SimulatedListener>),
}

/// A connection that was accepted.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Simulated(Box<dyn Transmission>),
}

impl Network {
    /// Binds a listening socket.
    pub(crate) fn bind(&self, address: SocketAddr) -> io::Result<Acceptor> {
        match self {
            Self::Machine => bind_tcp(address).map(Acceptor::Tcp),
            Self::Simulated(network) => network.bind(address).map(Acceptor::Simulated),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    // So that a restart doesn't wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    // Connections that are accepted have it from here.
    socket.set_send_buffer_size(UNTAKEN_ANSWERS)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_QUEUE as i32)?;
    TcpListener::from_std(socket.into())
}

impl Acceptor {
    /// Where it listens.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Simulated(listener) => listener.local_addr(),
        }
    }

    /// The next connection, and where it comes from.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(socket, peer)| (Socket::Tcp(socket), peer)),
            Self::Simulated(listener) => {
                listener.accept().await.map(|(socket, peer)| (Socket::Simulated(socket), peer))
            }
        }
    }

    /// Ends accepting: from now on there is only what waits already.
    pub(crate) fn close(self) -> io::Result<Queued> {
        match self {
            Self::Tcp(listener) => listener.into_std().map(|listener| Queued(Some(listener))),
            Self::Simulated(_) => Ok(Queued(None)),
        }
    }
}

/// Connections that wait in the kernel's queue and would be reset with the socket. A simulated network has no such queue.
pub(crate) struct Queued(Option<std::net::TcpListener>);

impl Queued {
    /// The next one. Asked directly: the runtime may not have heard yet that there is something to accept.
    pub(crate) fn accept(&self) -> io::Result<Option<(Socket, SocketAddr)>> {
        let Some(listener) = &self.0 else { return Ok(None) };
        match listener.accept() {
            Ok((socket, peer)) => {
                socket.set_nonblocking(true)?;
                Ok(Some((Socket::Tcp(TcpStream::from_std(socket)?), peer)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Socket {
    /// Sends what is written at once, however little it is.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nodelay(true),
            Self::Simulated(_) => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Simulated(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Simulated(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Simulated(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            Self::Simulated(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Simulated(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Simulated(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
