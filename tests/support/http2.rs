//! HTTP/2 step by step: [`Calls`] as a proper client makes them, [`Frames`] (RFC 9113) for what none would do.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, SendStream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// A connection on which gRPC calls are made.
pub struct Calls {
    client: SendRequest<Bytes>,
    pings: PingPong,
}

/// A call that has begun.
pub struct Call {
    answer: ResponseFuture,
    body: SendStream<Bytes>,
}

impl Calls {
    /// Speaks HTTP/2 on a connection.
    pub async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (client, mut connection) = h2::client::handshake(io).await.expect("it speaks HTTP/2");
        let pings = connection.ping_pong().expect("it is asked for once");
        tokio::spawn(connection);
        let mut calls = Self { client, pings };
        calls.settled().await;
        calls
    }

    /// Sends the head of a call.
    pub async fn begin(&mut self, path: &str) -> Call {
        self.begin_with(path, &[]).await
    }

    /// Sends the head of a call with more headers.
    pub async fn begin_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Call {
        self.client = self.client.clone().ready().await.expect("the connection is open");
        let request =
            http::Request::post(format!("http://localhost{path}")).header("content-type", "application/grpc");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(()).expect("the test's request is well-formed");
        let (answer, body) = self.client.send_request(request, false).expect("the connection is open");
        Call { answer, body }
    }

    /// Makes a whole call; returns its code.
    pub async fn call(&mut self, path: &str, body: Vec<u8>) -> tonic::Code {
        let mut call = self.begin(path).await;
        call.send(body, true);
        call.code().await
    }

    /// How many calls at a time the other side has said it takes.
    pub fn allowed(&self) -> usize {
        self.client.current_max_send_streams()
    }

    /// Waits until the other side has read whatever could be sent, and has said what it had to say.
    pub async fn settled(&mut self) {
        // The first ping may overtake what is still to be written, the second can't.
        for _ in 0..2 {
            let pong = timeout(PATIENCE, self.pings.ping(Ping::opaque())).await;
            pong.expect("it answers pings").expect("the connection is open");
        }
    }
}

impl Call {
    /// Sends a piece of the body, in a frame of its own; whether it is the last.
    pub fn send(&mut self, piece: impl Into<Bytes>, last: bool) {
        self.body.send_data(piece.into(), last).expect("the call goes on");
    }

    /// Takes the call back.
    pub fn reset(mut self) {
        self.body.send_reset(Reason::CANCEL);
    }

    /// Waits until the other side has ended the call, or its whole connection, without an answer.
    pub async fn ended(self) {
        let ended = timeout(PATIENCE, self.answer).await.expect("it is ended in time");
        assert!(ended.is_err(), "{ended:?}");
    }

    /// Waits for the answer; its `grpc-status`.
    pub async fn code(self) -> tonic::Code {
        let answer = async {
            let (head, mut body) = self.answer.await.expect("it is answered").into_parts();
            while let Some(data) = body.data().await {
                let len = data.expect("the answer is whole").len();
                body.flow_control().release_capacity(len).expect("it was taken");
            }
            let trailers = body.trailers().await.expect("the answer is whole").unwrap_or(head.headers);
            tonic::Code::from_bytes(trailers["grpc-status"].as_bytes())
        };
        timeout(PATIENCE, answer).await.expect("it is answered in time")
    }
}

/// What a frame is; the others don't matter here.
pub mod kind {
    /// Bytes of a body.
    pub const DATA: u8 = 0;
    /// A head, or trailers.
    pub const HEADERS: u8 = 1;
    /// The end of a stream before its time.
    pub const RST_STREAM: u8 = 3;
    /// What a side allows.
    pub const SETTINGS: u8 = 4;
    /// To be answered with the same, and [`super::ACK`].
    pub const PING: u8 = 6;
}

/// The flag of an answer to `PING` or `SETTINGS`.
pub const ACK: u8 = 1;

/// The flag of a stream's last frame of this side.
pub const END_STREAM: u8 = 1;

/// The flag of a head that is whole.
const END_HEADERS: u8 = 4;

/// A frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// As in [`kind`].
    pub kind: u8,
    /// Their meaning depends on the kind.
    pub flags: u8,
    /// 0 is the connection.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

/// A connection on which a test writes frames, and reads them.
pub struct Frames(TcpStream);

impl Frames {
    /// Connects and begins: the preface, and settings that change nothing.
    pub async fn open(to: SocketAddr) -> Self {
        let mut frames = Self(TcpStream::connect(to).await.expect("it listens"));
        frames.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the connection is open");
        frames.write(kind::SETTINGS, 0, 0, b"").await;
        frames
    }

    /// Writes a frame.
    pub async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
        let head = [&length[..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat()).await.expect("the connection is open");
    }

    /// Writes the head of a call, in literals of HPACK (RFC 7541).
    pub async fn begin(&mut self, stream: u32, path: &str) {
        // `:method: POST` and `:scheme: http` are entries of the static table; other names are, but no values.
        let mut block = vec![0x83, 0x86];
        for (name, value) in [(&[4][..], path), (&[1], "localhost"), (&[0x0f, 0x10], "application/grpc")] {
            block.extend_from_slice(name);
            block.push(u8::try_from(value.len()).ok().filter(|len| *len < 127).expect("it is short"));
            block.extend_from_slice(value.as_bytes());
        }
        self.write(kind::HEADERS, END_HEADERS, stream, &block).await;
    }

    /// The next frame of this kind, others passed over; `None` once the connection is closed. Panics after `within`.
    pub async fn next(&mut self, kind: u8, within: Duration) -> Option<Frame> {
        let reading = async {
            loop {
                let frame = self.read().await?;
                if frame.kind == kind {
                    return Some(frame);
                }
            }
        };
        timeout(within, reading).await.expect("a frame, or the end, in time")
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }
}

impl Frame {
    /// The value of a setting.
    pub fn setting(&self, id: u16) -> Option<u32> {
        assert_eq!(self.kind, kind::SETTINGS);
        let (settings, []) = self.payload.as_chunks::<6>() else { panic!("{self:?}") };
        let found = settings.iter().find(|setting| setting[..2] == id.to_be_bytes());
        found.map(|[_, _, value @ ..]| u32::from_be_bytes(*value))
    }

    /// Why a stream was reset.
    pub fn reason(&self) -> Reason {
        assert_eq!(self.kind, kind::RST_STREAM);
        u32::from_be_bytes(self.payload[..].try_into().expect("four bytes")).into()
    }
}
