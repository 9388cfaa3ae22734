//! Upstreams: honest ones, slow ones, and such as lie.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use rand::rngs::StdRng;
use sluice::otlp::Signal;
use turmoil::net::{TcpListener, TcpStream};

use crate::http::{Connection, Message};
use crate::payload;
use crate::trace::{Attempt, Copy, Event, Trace};

/// Where upstreams listen.
pub(crate) const PORT: u16 = 4318;

/// What an upstream does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Manner {
    /// Takes it and says so.
    Honest,
    /// The same, after a while.
    Slow,
    /// The same, when nobody waits any more.
    Late,
    /// Takes it and never says anything.
    Silent,
    /// Takes it, and says so in a body that can't be read.
    Unreadable,
    /// Takes it, and breaks off in the middle of the body of its answer.
    HalfBody,
    /// Takes it, and breaks off in the middle of the head of its answer.
    HalfHead,
    /// Takes it and claims to have rejected more records than there were.
    WrongCount,
    /// Takes it, and says that it couldn't.
    TookButUnavailable,
    /// Takes nothing: 503, with or without Retry-After.
    Unavailable,
    /// Takes nothing: 429.
    TooMany,
    /// Takes nothing: 401.
    Unauthorized,
    /// Closes the connection without a word.
    HangUp,
    /// Closes the connection before it has read anything, which resets it.
    Reset,
}

impl Manner {
    pub(crate) const TROUBLE: [Self; 13] = [
        Self::Slow,
        Self::Late,
        Self::Silent,
        Self::Unreadable,
        Self::HalfBody,
        Self::HalfHead,
        Self::WrongCount,
        Self::TookButUnavailable,
        Self::Unavailable,
        Self::TooMany,
        Self::Unauthorized,
        Self::HangUp,
        Self::Reset,
    ];

    fn takes(self) -> bool {
        !matches!(self, Self::Unavailable | Self::TooMany | Self::Unauthorized | Self::HangUp | Self::Reset)
    }
}

/// How an upstream is disposed.
#[derive(Clone, Debug)]
pub(crate) struct Mood {
    /// What it does when it isn't honest.
    pub(crate) manners: Vec<Manner>,
    /// How often that is.
    pub(crate) trouble: f64,
}

impl Mood {
    pub(crate) fn good() -> Self {
        Self { manners: Vec::new(), trouble: 0.0 }
    }
}

/// Everything that was ever sent, byte for byte.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) entries: Mutex<HashSet<Vec<u8>>>,
    /// Of the records.
    pub(crate) texts: Mutex<HashSet<String>>,
}

/// An upstream; what it knows survives when its host crashes.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) number: usize,
    pub(crate) mood: Mutex<Mood>,
    pub(crate) random: Mutex<StdRng>,
    pub(crate) trace: Trace,
    pub(crate) sent: Arc<Sent>,
}

impl Upstream {
    /// Serves until the host crashes.
    pub(crate) async fn serve(self: Arc<Self>) -> turmoil::Result {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        loop {
            let (stream, peer) = listener.accept().await?;
            let upstream = self.clone();
            tokio::spawn(async move {
                // A connection that breaks is nothing to an upstream.
                let _ = upstream.connection(stream, peer.port()).await;
            });
        }
    }

    async fn connection(&self, stream: TcpStream, port: u16) -> std::io::Result<()> {
        let mut connection = Connection::new(stream);
        let mut nth = 0;
        loop {
            let manner = self.manner();
            let attempt = Attempt { port, nth };
            nth += 1;
            if manner == Manner::Reset {
                connection.stream.peek(&mut [0]).await?;
                self.behave(attempt, "resets the connection");
                return Ok(());
            }
            let Some(request) = connection.message().await? else { return Ok(()) };
            if !self.answer(&mut connection, attempt, manner, &request).await? {
                return Ok(());
            }
        }
    }

    fn manner(&self) -> Manner {
        let (mood, mut random) = (self.mood.lock(), self.random.lock());
        if mood.manners.is_empty() || !random.random_bool(mood.trouble) {
            return Manner::Honest;
        }
        mood.manners[random.random_range(0..mood.manners.len())]
    }

    fn behave(&self, attempt: Attempt, manner: &str) {
        self.trace.note(Event::Behaved { upstream: self.number, attempt, manner: manner.to_owned() });
    }

    /// Whether the connection goes on.
    async fn answer(
        &self,
        connection: &mut Connection,
        attempt: Attempt,
        manner: Manner,
        request: &Message,
    ) -> std::io::Result<bool> {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        let exporter = path.split('/').nth(1).unwrap_or_default().to_owned();
        let copies = self.copies(&request.body);
        if manner != Manner::Honest {
            self.behave(attempt, &format!("{manner:?}"));
        }
        if manner.takes() {
            if copies.iter().any(|copy| copy.poison) {
                self.trace.note(Event::Refused { exporter, attempt, copies });
                connection.write(&message("400 Bad Request", "", b"")).await?;
                return Ok(true);
            }
            self.trace.note(Event::Took { exporter, attempt, copies });
        }
        let wait = match manner {
            Manner::Slow => self.random.lock().random_range(50..900),
            Manner::Late => self.random.lock().random_range(3_500..6_000),
            _ => self.random.lock().random_range(0..10),
        };
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let taken = message("200 OK", "", b"");
        match manner {
            Manner::Honest | Manner::Slow | Manner::Late => connection.write(&taken).await?,
            Manner::Silent => std::future::pending().await,
            Manner::Unreadable => connection.write(&message("200 OK", "", b"\xff\xff not protobuf")).await?,
            Manner::HalfBody => {
                let whole = message("200 OK", "", &[0; 64]);
                connection.write(&whole[..whole.len() - 20]).await?;
                return Ok(false);
            }
            Manner::HalfHead => {
                connection.write(&taken[..taken.len() / 2]).await?;
                return Ok(false);
            }
            Manner::WrongCount => {
                let count = [payload::key(1, 0), payload::varint(1_000_000)].concat();
                let partial = payload::field(1, [count, payload::field(2, "no")].concat());
                connection.write(&message("200 OK", "", &partial)).await?;
            }
            Manner::TookButUnavailable => connection.write(&message("503 Unavailable", "", b"")).await?,
            Manner::Unavailable => {
                let after = if self.random.lock().random() { "retry-after: 1\r\n" } else { "" };
                connection.write(&message("503 Unavailable", after, b"")).await?;
            }
            Manner::TooMany => connection.write(&message("429 Too Many", "", b"")).await?,
            Manner::Unauthorized => connection.write(&message("401 Unauthorized", "", b"")).await?,
            Manner::HangUp | Manner::Reset => return Ok(false),
        }
        Ok(true)
    }

    /// What is in a request; every entry of it has to be one that was sent.
    fn copies(&self, body: &[u8]) -> Vec<Copy> {
        let mut copies = Vec::new();
        for entry in payload::entries(body) {
            let texts = payload::texts(Signal::Logs, &entry);
            let whole = self.sent.entries.lock().contains(&entry);
            // What is poisonous is searched for in ever smaller pieces.
            let piece = || texts.iter().all(|text| self.sent.texts.lock().contains(text));
            assert!(whole || piece(), "something arrives that nobody has sent so: {texts:?}");
            copies.extend(texts.iter().map(|text| Copy::parse(text).expect("senders write copies")));
        }
        copies
    }
}

fn message(status: &str, header: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\n{header}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
