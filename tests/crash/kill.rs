//! Kills at random moments. `CRASHES` says how many, `CRASH_SEED` which moments; a seed chooses the moments, but not what a
//! machine makes of them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use crate::ledger::{End, Verdict};
use crate::sender::{Sender, Sent};
use crate::support::{PATIENCE, Site, SluiceProcess};
use crate::upstream::{PROCESS, Upstream, Weather};

/// Kills in `cargo test`.
const CRASHES: usize = 50;

/// One process in so many gets SIGTERM.
const TERMINATED: u32 = 6;

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

/// Small files, queues and batches, so that a second is long: segments are recycled and carried, streams fall behind and
/// read their backlog back.
fn config(up: &str) -> String {
    format!(
        "exporters:\n  otlp_http/up:\n    endpoint: '{up}'\n    compression: none\n    timeout: 1m\n    \
         headers: {{ {PROCESS}: '${{env:PROCESS}}' }}\n    \
         retry_on_failure: {{ initial_interval: 20ms, max_interval: 100ms }}\n    \
         sending_queue: {{ queue_size: 64KiB, batch: {{ flush_timeout: 10ms, min_size: 4KiB, max_size: 8KiB }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n\
         journal: {{ directory: '@DIR@/journal', max_size: 64MiB, segment_size: 1MiB }}\n\
         shutdown_timeout: 300ms\n"
    )
}

/// One Sluice after the other, between one sender and one upstream.
struct Run {
    site: Site,
    upstream: Upstream,
    rng: StdRng,
    ends: Vec<End>,
    /// How long the last one took to accept.
    startup: Duration,
    tally: Tally,
}

/// When processes were killed.
#[derive(Debug, Default)]
struct Tally {
    before_recovered: usize,
    before_accepting: usize,
    accepting: usize,
    terminated: usize,
}

impl Run {
    async fn new(seed: u64) -> Self {
        Self {
            site: Site::new(),
            upstream: Upstream::start().await,
            rng: StdRng::seed_from_u64(seed),
            ends: Vec::new(),
            startup: Duration::from_millis(100),
            tally: Tally::default(),
        }
    }

    /// Lives through one process, under any weather.
    async fn round(&mut self) {
        let weather = Weather::any(&mut self.rng);
        self.upstream.turn(weather, &mut self.rng).await;
        // The answers to those that hang are waited for, which takes its time.
        let terminates = weather != Weather::Hanging && self.rng.random_ratio(1, TERMINATED);
        let process = self.launch();
        if terminates {
            self.terminate(process).await;
        } else {
            self.kill(process).await;
        }
        self.upstream.note();
    }

    fn launch(&self) -> SluiceProcess {
        let number = self.ends.len().to_string();
        self.site.launch(&config(&self.upstream.url()), &[("PROCESS", &number)])
    }

    async fn ready(&mut self, process: &SluiceProcess) {
        let launched = Instant::now();
        process.ready().await;
        self.startup = launched.elapsed();
    }

    async fn kill(&mut self, mut process: SluiceProcess) {
        if self.rng.random_ratio(1, 4) {
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
            (false, _) => &mut self.tally.before_recovered,
            (true, false) => &mut self.tally.before_accepting,
            (true, true) => &mut self.tally.accepting,
        } += 1;
    }

    async fn terminate(&mut self, mut process: SluiceProcess) {
        self.ready(&process).await;
        self.live().await;
        process.signal("TERM").await;
        assert_eq!(process.ended().await.code(), Some(0), "{:?}", process.log());
        self.ends.push(End::Terminated);
        self.tally.terminated += 1;
        assert_healthy(&process);
    }

    /// A while in which the weather may change.
    async fn live(&mut self) {
        for _ in 0..self.rng.random_range(1..=2) {
            sleep(Duration::from_millis(self.rng.random_range(10..500))).await;
            if self.rng.random_ratio(1, 3) {
                self.upstream.turn(Weather::Fair, &mut self.rng).await;
            }
        }
    }

    /// Has everything delivered by a last process, and judges.
    async fn end(mut self, sender: Sender) -> (Verdict, Sent, Tally) {
        self.upstream.turn(Weather::Fair, &mut self.rng).await;
        let mut process = self.launch();
        self.ready(&process).await;
        let sent = sender.stop().await;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.upstream.note();
            if self.upstream.ledger.missing(&sent.sequences) == 0 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        process.settled().await;
        process.signal("TERM").await;
        assert_eq!(process.ended().await.code(), Some(0), "{:?}", process.log());
        self.ends.push(End::Terminated);
        self.upstream.note();
        let judged = self.upstream.ledger.judge(&sent.sequences, &self.ends);
        let verdict = judged.unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
        (verdict, sent, self.tally)
    }
}

/// What a kill leaves is no damage but an unfinished write, and nothing is said that nobody should ever read.
fn assert_healthy(process: &SluiceProcess) {
    for line in process.log() {
        let damage = line.contains("the journal is damaged") && !line.contains("unfinished write");
        let broken = damage || line.contains("panicked") || line.contains("records dropped");
        assert!(!broken, "{line}");
    }
}

fn chosen<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{variable}` is a number, not `{text}`")))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_any_kill_in_order_and_only_what_was_under_way_comes_again() {
    let seed = chosen("CRASH_SEED").unwrap_or_else(rand::random);
    let crashes = chosen("CRASHES").unwrap_or(CRASHES);
    println!("CRASH_SEED={seed} CRASHES={crashes}");
    let mut run = Run::new(seed).await;
    let sender = Sender::start(&run.site.front().url(), &LOAD);
    while run.ends.len() - run.tally.terminated < crashes {
        run.round().await;
    }
    let (verdict, sent, tally) = run.end(sender).await;
    println!("{tally:?}\n{verdict:?}\n{} requests, {} records acknowledged", sent.requests, sent.records);
    assert_eq!(verdict.acknowledged, sent.records);
    assert!(verdict.acknowledged > 0 && tally.accepting > 0);
}
