//! A run: it starts the connections, ends them in time, and reports.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::{Client, dialer};
use super::pace::Pace;
use super::report::{Acknowledged, Report, RunTally};
use super::sender::LoadSender;
use super::settings::{SendError, SendSettings};
use super::streams::SenderStreams;
use super::template::{RequestTemplate, stream_name};
use crate::sequence::sender_id;

/// A run of the load generator. It stops when it is dropped.
///
/// ```
/// # use rig::{send::{Load, SendSettings}, sink::{Sink, SinkSettings}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sink = Sink::start(SinkSettings::default()).await?;
/// let settings = SendSettings { requests: Some(20), ..SendSettings::new(sink.url()) };
/// let report = Load::start(settings)?.finish().await;
/// assert!(report.all_taken());
/// assert_eq!(sink.counts().records, report.records);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Load {
    settings: Arc<SendSettings>,
    started: Instant,
    tallies: Vec<Arc<Mutex<RunTally>>>,
    pace: Arc<Pace>,
    stop: CancellationToken,
    run: u32,
    /// Each with the number of its connection.
    senders: JoinSet<(usize, SenderStreams)>,
    sequences: Vec<Acknowledged>,
    ended: Option<Instant>,
    /// Ends the run in time; aborted with the set.
    _clock: JoinSet<()>,
    _stop_when_dropped: DropGuard,
}

impl Load {
    /// Starts to send, on the current runtime.
    pub fn start(settings: SendSettings) -> Result<Self, SendError> {
        settings.check()?;
        let settings = Arc::new(settings);
        let (stop, give_up) = (CancellationToken::new(), CancellationToken::new());
        let run = rand::random();
        let connections = settings.connections;
        let shared = settings.share_streams || settings.streams < connections;

        let dialer = dialer(&settings)?;
        let mut prepared = Vec::with_capacity(connections);
        for index in 0..connections {
            let size = (settings.entries, settings.records);
            let streams = SenderStreams::new(index, connections, settings.streams, shared, size);
            let template = RequestTemplate::new(&settings, run, index)?;
            prepared.push((index, Client::new(&settings, &dialer)?, template, streams));
        }

        let pace = Pace::start(settings.rate, limit(&settings), stop.clone());
        let mut senders = JoinSet::new();
        let mut tallies = Vec::with_capacity(connections);
        for (index, client, template, streams) in prepared {
            let tally = Arc::new(Mutex::new(RunTally::default()));
            tallies.push(Arc::clone(&tally));
            let sender = LoadSender {
                settings: Arc::clone(&settings),
                client,
                template,
                streams,
                pace: Arc::clone(&pace),
                tally,
                stop: stop.clone(),
                give_up: give_up.clone(),
            };
            senders.spawn(async move { (index, sender.run().await) });
        }
        let mut clock = JoinSet::new();
        clock.spawn(keep_time(Arc::clone(&settings), stop.clone(), give_up));
        let stop_when_dropped = stop.clone().drop_guard();
        Ok(Self {
            settings,
            started: Instant::now(),
            tallies,
            pace,
            stop,
            run,
            senders,
            sequences: Vec::new(),
            ended: None,
            _clock: clock,
            _stop_when_dropped: stop_when_dropped,
        })
    }

    /// The report so far. [`Report::sequences`] and [`Report::unsent`] are only known in the end.
    pub fn progress(&self) -> Report {
        let mut sum = RunTally::default();
        for tally in &self.tallies {
            sum.add(&tally.lock());
        }
        let time = self.ended.unwrap_or_else(Instant::now) - self.started;
        let unsent = if self.ended.is_some() { self.pace.unsent() } else { 0 };
        Report { sequences: self.sequences.clone(), ..sum.report(time, unsent) }
    }

    /// Starts no new requests. Those that are under way are finished.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the last answer has arrived. The wait can be dropped and begun again.
    pub async fn ended(&mut self) {
        while let Some(ended) = self.senders.join_next().await {
            let (connection, streams) = ended.expect("a sender doesn't panic");
            let sender = |stream| sender_id(self.run, connection, self.settings.connections, stream);
            self.sequences.extend(streams.taken().map(|(stream, records, unknown)| Acknowledged {
                stream: stream_name(&self.settings, stream),
                sender: String::from_utf8_lossy(&sender(stream)).into_owned(),
                records,
                unknown: unknown.to_vec(),
            }));
        }
        self.ended.get_or_insert_with(Instant::now);
    }

    /// Waits for the end and reports.
    pub async fn finish(mut self) -> Report {
        self.ended().await;
        self.progress()
    }
}

/// How many requests there may be in all.
fn limit(settings: &SendSettings) -> u64 {
    let schedule =
        settings.rate.zip(settings.duration).map(|(rate, time)| (rate * time.as_secs_f64()).ceil() as u64);
    settings.requests.unwrap_or(u64::MAX).min(schedule.unwrap_or(u64::MAX))
}

/// Stops the run after its duration, and the retries of what is left some time after the stop.
async fn keep_time(settings: Arc<SendSettings>, stop: CancellationToken, give_up: CancellationToken) {
    let run_out = async {
        match settings.duration {
            Some(duration) => sleep(duration).await,
            None => std::future::pending::<()>().await,
        }
    };
    tokio::select! {
        () = run_out => stop.cancel(),
        () = stop.cancelled() => {}
    }
    sleep(settings.timeout.max(Duration::from_millis(1))).await;
    give_up.cancel();
}
