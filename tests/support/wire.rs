//! A connection on which a test writes and reads what it likes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use super::http::Answer;

/// A connection to a listener.
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    /// Connects.
    pub async fn open(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.expect("it listens"))
    }

    /// Speaks on a connection that is there.
    pub fn over(connection: TcpStream) -> Self {
        Self(BufReader::new(connection))
    }

    /// Writes all of it.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let written = timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await;
        written.expect("it is read").expect("the connection is open");
    }

    /// Writes a request's head and its body.
    pub async fn request(&mut self, request_line: &str, headers: &[&str], body: impl AsRef<[u8]>) {
        self.write(head(request_line, headers)).await;
        self.write(body).await;
    }

    /// The next answer, which may be an interim one such as `100 Continue`. Its body has to have a length.
    pub async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, self.read_answer()).await.expect("there is an answer")
    }

    async fn read_answer(&mut self) -> Answer {
        let status_line = self.line().await;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let mut headers = http::HeaderMap::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "", "an empty line ends the head");
                break;
            };
            let name: http::HeaderName = name.parse().expect("a header's name");
            headers.append(name, value.parse().expect("a header's value"));
        }
        let length = headers
            .get("content-length")
            .map_or(Ok(0), |length| length.to_str().expect("a length is a number").parse::<usize>());
        let mut body = vec![0; length.expect("a length is a number")];
        self.0.read_exact(&mut body).await.expect("the body is whole");
        Answer { status, headers, body: Bytes::from(body) }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).await.expect("the connection is open");
        assert!(read > 0, "closed without an answer");
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Waits until the other side has closed the connection, without another word.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("it is closed in time");
        assert_eq!(read.unwrap_or(0), 0, "{}", String::from_utf8_lossy(&rest));
    }

    /// Writes one byte after another, with this pause in between, until the other side has closed the connection
    /// without another word.
    pub async fn drip_until_closed(&mut self, pause: Duration) {
        let (mut reader, mut writer) = self.0.get_mut().split();
        let dripping = async {
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(pause).await;
            }
            std::future::pending::<()>().await;
        };
        let mut rest = Vec::new();
        tokio::select! {
            read = timeout(PATIENCE, reader.read_to_end(&mut rest)) => {
                assert_eq!(read.expect("it is closed in time").unwrap_or(0), 0, "{}", String::from_utf8_lossy(&rest));
            }
            () = dripping => unreachable!("it goes on until the connection is closed"),
        }
    }

    /// Whether nothing, not even the end, has come yet.
    pub fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let read = self.0.get_ref().try_read(&mut byte);
        matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// A request's head, such as `POST /v1/logs` and `content-length: 5`.
pub fn head(request_line: &str, headers: &[&str]) -> String {
    let mut head = format!("{request_line} HTTP/1.1\r\nhost: sluice\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head + "\r\n"
}

/// A body in the chunked transfer coding, in pieces of this size.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(size) {
        out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}
