//! Senders: each has streams of its own, and goes on in a stream only when what it has sent was taken.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use sluice::otlp::Signal;
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use crate::http::Connection;
use crate::payload;
use crate::trace::{Copy, Event, Trace};
use crate::upstream::Sent;

/// How long a sender waits for an answer: longer than `acknowledge_timeout`.
const PATIENCE: Duration = Duration::from_secs(6);

/// What senders have together.
#[derive(Debug, Default)]
pub(crate) struct Senders {
    pub(crate) trace: Trace,
    pub(crate) sent: Arc<Sent>,
    pub(crate) sends: AtomicU32,
    /// Those that have not sent everything.
    pub(crate) busy: AtomicUsize,
}

/// One of them.
pub(crate) struct Sender {
    pub(crate) all: Arc<Senders>,
    pub(crate) random: StdRng,
    pub(crate) streams: Vec<u32>,
    pub(crate) requests: usize,
    /// The longest time between two requests, in milliseconds.
    pub(crate) pace: u64,
    /// The largest record, in bytes.
    pub(crate) largest: usize,
}

/// A record before it is sent.
struct Record {
    stream: u32,
    number: u32,
    poison: bool,
    padding: usize,
}

impl Sender {
    /// Sends everything, each request until it is taken.
    pub(crate) async fn run(mut self) {
        let mut next = vec![0; self.streams.len()];
        let mut connection = None;
        for _ in 0..self.requests {
            sleep(Duration::from_millis(self.random.random_range(0..=self.pace))).await;
            let records = self.records(&mut next);
            loop {
                let send = self.all.sends.fetch_add(1, Ordering::Relaxed);
                let (copies, body) = self.request(&records, send);
                self.all.trace.note(Event::Sent { send, copies });
                let answer = match timeout(PATIENCE, exchange(&mut connection, &body)).await {
                    Ok(Ok((status, rejected))) => {
                        self.all.trace.note(Event::Answered { send, status, rejected });
                        status
                    }
                    Ok(Err(error)) => self.unanswered(send, &error.to_string()),
                    Err(_) => self.unanswered(send, "too late"),
                };
                if answer == 200 {
                    break;
                }
                if answer == 0 {
                    connection = None;
                }
                // 408: it came too slowly.
                assert!(matches!(answer, 0 | 408 | 503), "a request that is right is answered {answer}");
                sleep(Duration::from_millis(self.random.random_range(50..500))).await;
            }
        }
        self.all.busy.fetch_sub(1, Ordering::Relaxed);
    }

    fn unanswered(&self, send: u32, why: &str) -> u16 {
        self.all.trace.note(Event::Unanswered { send, why: why.to_owned() });
        0
    }

    /// A few records for some of the streams, in order for each.
    fn records(&mut self, next: &mut [u32]) -> Vec<Vec<Record>> {
        let mut entries = Vec::new();
        for _ in 0..self.random.random_range(1..=3) {
            let at = self.random.random_range(0..self.streams.len());
            let stream = self.streams[at];
            let records = (0..self.random.random_range(1..=3)).map(|_| {
                let number = next[at];
                next[at] += 1;
                let poison = self.random.random_bool(0.004);
                Record { stream, number, poison, padding: self.random.random_range(0..self.largest) }
            });
            entries.push(records.collect());
        }
        entries
    }

    fn request(&self, records: &[Vec<Record>], send: u32) -> (Vec<Copy>, Vec<u8>) {
        let mut copies = Vec::new();
        let entries: Vec<_> = records
            .iter()
            .map(|records| {
                let texts: Vec<_> = records
                    .iter()
                    .map(|&Record { stream, number, poison, padding }| {
                        let copy = Copy { stream, number, send, poison };
                        copies.push(copy);
                        let mut text = copy.to_string();
                        write!(text, " {}", ".".repeat(padding)).expect("writing to a String can't fail");
                        text
                    })
                    .collect();
                self.all.sent.texts.lock().extend(texts.iter().cloned());
                let texts: Vec<_> = texts.iter().map(String::as_str).collect();
                let stream = records[0].stream;
                let (key, region) = (format!("stream-{stream}"), format!("region-{}", stream % 2));
                let resource = payload::resource(&[(payload::KEY, &key), ("region", &region)]);
                payload::entry_of(Signal::Logs, resource, &texts)
            })
            .collect();
        self.all.sent.entries.lock().extend(entries.iter().cloned());
        (copies, payload::request(&entries))
    }
}

/// Sends a request on the connection, or a new one if there is none; the status, and whether something was rejected.
async fn exchange(connection: &mut Option<Connection>, body: &[u8]) -> io::Result<(u16, bool)> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::new(TcpStream::connect(("router", 4318)).await?)),
    };
    let length = body.len();
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: router\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {length}\r\n\r\n"
    );
    open.write(head.as_bytes()).await?;
    // In two pieces, so that one may arrive without the other.
    let (first, second) = body.split_at(length / 2);
    open.write(first).await?;
    open.write(second).await?;
    let answer = open.message().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = answer.line.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| io::Error::other(answer.line))?, !answer.body.is_empty()))
}
