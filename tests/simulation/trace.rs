//! What happened in a run, in order.
//!
//! A run has one thread, so there is one order of everything, wherever it happened: what an oracle could never know of a
//! real network.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// A record as it was sent once. One that is sent again is another copy, so that each answer has its own consequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Copy {
    pub(crate) stream: u32,
    /// Its place in the stream: senders go on to the next only when this one was taken.
    pub(crate) number: u32,
    /// The request that it was sent with.
    pub(crate) send: u32,
    /// Upstreams refuse whatever it is in.
    pub(crate) poison: bool,
}

/// A request on a connection of the router to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Attempt {
    /// The router's port, which no other connection has.
    pub(crate) port: u16,
    /// Requests before it on this connection.
    pub(crate) nth: u32,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A sender begins a request.
    Sent { send: u32, copies: Vec<Copy> },
    /// It has its answer.
    Answered { send: u32, status: u16, rejected: bool },
    /// There is none.
    Unanswered { send: u32, why: String },
    /// The router begins to write a request to an upstream. It has been at it `since` then, when there were so many events:
    /// since it began to connect, or from now on.
    Began { attempt: Attempt, since: Duration, after: usize },
    /// It has read the head of an answer.
    Heard { attempt: Attempt, status: u16 },
    /// An upstream keeps what came with an attempt, of an exporter.
    Took { exporter: String, attempt: Attempt, copies: Vec<Copy> },
    /// It refuses all that came with an attempt, of an exporter, since something in it is poisonous.
    Refused { exporter: String, attempt: Attempt, copies: Vec<Copy> },
    /// What an upstream does about an attempt.
    Behaved { upstream: usize, attempt: Attempt, manner: String },
    /// A router has begun to live, with so many records of its predecessor.
    Started { recovered: u64 },
    /// A configuration is in use, or why it is not.
    Reloaded(Result<u64, String>),
    /// The router was told to end.
    Stopping,
    /// It has ended by itself.
    Stopped { lost: bool },
    /// Something was done to the world.
    Fault(String),
    /// From now on nothing more is done to it.
    Peace,
    /// Everything is settled.
    Quiet,
}

/// Everything that happened, and when. Clones are the same trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    events: Vec<(Duration, Event)>,
    now: Duration,
}

impl Trace {
    /// Sets the time of what happens outside of all hosts.
    pub(crate) fn set_now(&self, now: Duration) {
        self.0.lock().now = now;
    }

    /// The time of now.
    pub(crate) fn now(&self) -> Duration {
        turmoil::sim_elapsed().unwrap_or_else(|| self.0.lock().now)
    }

    /// Adds what happens now.
    pub(crate) fn note(&self, event: Event) {
        let now = self.now();
        self.0.lock().events.push((now, event));
    }

    /// How much there is.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().events.len()
    }

    /// All of it.
    pub(crate) fn events(&self) -> Vec<(Duration, Event)> {
        self.0.lock().events.clone()
    }
}

/// A line for each event.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, event) in &self.0.lock().events {
            writeln!(f, "{:>10.3}s {event}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, number, send, poison } = self;
        write!(f, "{stream}.{number}@{send}{}", if *poison { "!" } else { "" })
    }
}

impl Copy {
    /// Reads what [`Copy`] is written as.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.split(' ').next()?;
        let poison = text.ends_with('!');
        let (stream, rest) = text.trim_end_matches('!').split_once('.')?;
        let (number, send) = rest.split_once('@')?;
        Some(Self {
            stream: stream.parse().ok()?,
            number: number.parse().ok()?,
            send: send.parse().ok()?,
            poison,
        })
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.nth)
    }
}

fn list(copies: &[Copy]) -> String {
    copies.iter().fold(String::new(), |mut text, copy| {
        write!(text, " {copy}").expect("writing to a String can't fail");
        text
    })
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent { send, copies } => write!(f, "request {send} is sent:{}", list(copies)),
            Self::Answered { send, status, rejected } => {
                let rejected = if *rejected { ", not all of it" } else { "" };
                write!(f, "request {send} is answered {status}{rejected}")
            }
            Self::Unanswered { send, why } => write!(f, "request {send} is not answered: {why}"),
            Self::Began { attempt, since, .. } => {
                write!(f, "attempt {attempt} begins, under way since {:.3}s", since.as_secs_f64())
            }
            Self::Heard { attempt, status } => write!(f, "attempt {attempt} hears {status}"),
            Self::Took { exporter, attempt, copies } => {
                write!(f, "attempt {attempt} of {exporter} is taken:{}", list(copies))
            }
            Self::Refused { exporter, attempt, copies } => {
                write!(f, "attempt {attempt} of {exporter} is refused:{}", list(copies))
            }
            Self::Behaved { upstream, attempt, manner } => {
                write!(f, "attempt {attempt} meets upstream {upstream}: {manner}")
            }
            Self::Started { recovered } => write!(f, "the router starts with {recovered} records"),
            Self::Reloaded(Ok(version)) => write!(f, "the router uses configuration {version}"),
            Self::Reloaded(Err(problem)) => write!(f, "the router keeps its configuration: {problem}"),
            Self::Stopping => f.write_str("the router is told to end"),
            Self::Stopped { lost } => {
                write!(f, "the router has ended{}", if *lost { ", and lost something" } else { "" })
            }
            Self::Fault(what) => write!(f, "fault: {what}"),
            Self::Peace => f.write_str("peace"),
            Self::Quiet => f.write_str("quiet"),
        }
    }
}
