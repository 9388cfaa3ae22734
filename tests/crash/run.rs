//! One Sluice after the other at one site, between one sender and one upstream.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use crate::ledger::{End, Verdict};
use crate::sender::Sender;
use crate::support::{Site, SluiceProcess};
use crate::upstream::{PROCESS, Upstream, Weather};

/// Says how many processes are to be killed.
const CRASHES: &str = "CRASHES";

/// Chooses the moments, the weather and what `sync` says; but not what a machine makes of them.
const SEED: &str = "CRASH_SEED";

/// Kills unless the environment says so.
const ORDINARY: usize = 50;

/// A sender of 24 streams over four connections, which never repeats what may have arrived.
const LOAD: [&str; 15] = [
    "--at-most-once",
    "--streams",
    "24",
    "--connections",
    "4",
    "--entries",
    "6",
    "--records",
    "4",
    "--record-bytes",
    "250",
    "--rate",
    "150",
    "--timeout",
    "1m",
];

/// One process in so many lives long in fair weather, so that what was settled at first is well settled at the end.
const LONG: usize = 12;

/// How long that is, in milliseconds: more than the ledger allows for anything to come again.
const LONG_LIFE: Range<u64> = 5_200..6_200;

/// Small files, so that many are recycled and carried; and large ones, since to free one says as much as the positions do.
const SEGMENTS: [&str; 2] = ["1MiB", "8MiB"];

/// Nothing here depends on when the disk has what the system has.
const SYNC: [&str; 4] = ["always", "always", "100ms", "never"];

/// Small queues and batches, so that a second is long: streams fall behind and read their backlog back.
fn config(up: &str, segment: &str, sync: &str) -> String {
    format!(
        "exporters:\n  otlp_http/up:\n    endpoint: '{up}'\n    compression: none\n    timeout: 1m\n    \
         headers: {{ {PROCESS}: '${{env:PROCESS}}' }}\n    \
         retry_on_failure: {{ initial_interval: 20ms, max_interval: 100ms }}\n    \
         sending_queue: {{ queue_size: 64KiB, batch: {{ flush_timeout: 10ms, min_size: 4KiB, max_size: 8KiB }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n\
         journal: {{ directory: '@DIR@/journal', max_size: 128MiB, segment_size: {segment}, sync: {sync} }}\n\
         shutdown_timeout: 300ms\n"
    )
}

/// A sender, an upstream, and what has become of the processes between them.
pub(crate) struct Run {
    site: Site,
    sender: Option<Sender>,
    pub(crate) upstream: Upstream,
    pub(crate) rng: StdRng,
    ends: Vec<End>,
    /// How long the last one took to accept.
    startup: Duration,
    pub(crate) tally: Tally,
}

/// How processes ended.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Killed before the journal was open.
    pub(crate) recovering: usize,
    /// Killed before they accepted.
    pub(crate) starting: usize,
    /// Killed later.
    pub(crate) accepting: usize,
    /// Ended by SIGTERM, and of these the ones that left something in the journal.
    pub(crate) terminated: usize,
    pub(crate) left_something: usize,
}

/// How many processes are to be killed.
pub(crate) fn crashes() -> usize {
    chosen(CRASHES).unwrap_or(ORDINARY)
}

/// What the environment says.
pub(crate) fn chosen<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{variable}` is a number, not `{text}`")))
}

/// A seed, which is printed.
pub(crate) fn seed() -> u64 {
    let seed = chosen(SEED).unwrap_or_else(rand::random);
    println!("{SEED}={seed}");
    seed
}

impl Tally {
    pub(crate) fn killed(&self) -> usize {
        self.recovering + self.starting + self.accepting
    }
}

impl Run {
    /// Begins to send, to nobody yet. Says which seed it is.
    pub(crate) async fn begin() -> Self {
        let seed = seed();
        let site = Site::new();
        Self {
            sender: Some(Sender::start(&site.front().url(), &LOAD)),
            site,
            upstream: Upstream::start().await,
            rng: StdRng::seed_from_u64(seed),
            ends: Vec::new(),
            startup: Duration::from_millis(100),
            tally: Tally::default(),
        }
    }

    /// Lives through a process that is killed at any moment of its life.
    pub(crate) async fn kill_one(&mut self, weather: Weather) {
        self.upstream.turn(weather, &mut self.rng).await;
        let mut process = self.launch();
        if !self.is_long() && self.rng.random_ratio(1, 4) {
            // While it starts: the earlier half of it is spent on other things than the journal.
            sleep(self.startup.mul_f64(self.rng.random_range(0.2..1.2))).await;
        } else {
            self.ready(&process).await;
            self.live().await;
        }
        self.ends.push(End::Killed(Instant::now()));
        process.kill().await;
        assert_healthy(&process);
        *match (process.says("journal opened"), process.says("OTLP/HTTP on ")) {
            (false, _) => &mut self.tally.recovering,
            (true, false) => &mut self.tally.starting,
            (true, true) => &mut self.tally.accepting,
        } += 1;
        self.upstream.note();
    }

    /// Lives through a process that is told to end while it works, and does.
    pub(crate) async fn terminate_one(&mut self, weather: Weather) {
        self.upstream.turn(weather, &mut self.rng).await;
        let process = self.launch();
        self.ready(&process).await;
        self.live().await;
        self.terminate(process).await;
    }

    fn launch(&mut self) -> SluiceProcess {
        let number = self.ends.len().to_string();
        let sync = SYNC.choose(&mut self.rng).expect("there are some");
        let segment = SEGMENTS[usize::from(self.is_long() || self.rng.random_ratio(1, 3))];
        self.site.launch(&config(&self.upstream.url(), segment, sync), &[("PROCESS", &number)])
    }

    async fn ready(&mut self, process: &SluiceProcess) {
        let launched = Instant::now();
        process.ready().await;
        self.startup = launched.elapsed();
    }

    /// Whether the process that runs is one of those that live long.
    fn is_long(&self) -> bool {
        self.ends.len() % LONG == LONG - 1
    }

    /// A while in which the weather may change: mostly short, since much happens at the beginning.
    async fn live(&mut self) {
        if self.is_long() {
            self.upstream.turn(Weather::Fair, &mut self.rng).await;
            return sleep(Duration::from_millis(self.rng.random_range(LONG_LIFE))).await;
        }
        for _ in 0..self.rng.random_range(1..=2) {
            sleep(Duration::from_millis(self.rng.random_range(10..500))).await;
            if self.rng.random_ratio(1, 5) {
                self.upstream.turn(Weather::Fair, &mut self.rng).await;
            }
        }
    }

    async fn terminate(&mut self, mut process: SluiceProcess) {
        process.signal("TERM").await;
        assert_eq!(process.ended().await.code(), Some(0), "{:?}", process.log());
        self.ends.push(End::Terminated);
        assert_healthy(&process);
        self.tally.terminated += 1;
        self.tally.left_something += usize::from(process.says("what is not delivered stays in the journal"));
        self.upstream.note();
    }

    /// Has everything delivered by a last process, and judges.
    pub(crate) async fn end(mut self) -> (Verdict, Tally) {
        self.upstream.turn(Weather::Fair, &mut self.rng).await;
        let process = self.launch();
        self.ready(&process).await;
        let sender = self.sender.take().expect("it sends until the end");
        let sent = sender.stop().await;
        self.upstream.received(&sent.sequences).await;
        process.settled().await;
        self.terminate(process).await;
        let judged = self.upstream.ledger.judge(&sent.sequences, &self.ends);
        let verdict = judged.unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
        println!(
            "{:?}\n{verdict:?}\n{} requests, {} records acknowledged",
            self.tally, sent.requests, sent.records
        );
        assert_eq!(verdict.acknowledged, sent.records);
        (verdict, self.tally)
    }
}

/// What a kill leaves is no damage but an unfinished write, and nothing is said that nobody should ever read.
pub(crate) fn assert_healthy(process: &SluiceProcess) {
    for line in process.log() {
        let damage = line.contains("the journal is damaged") && !line.contains("unfinished write");
        let broken = damage || line.contains("panicked") || line.contains("records dropped");
        assert!(!broken, "{line}");
    }
}
