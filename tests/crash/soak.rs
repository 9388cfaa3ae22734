//! One process that works for long, while everything around it fails and comes back: what it needs does not grow.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep};

use crate::ledger::End;
use crate::run::{assert_healthy, chosen, seed};
use crate::sender::{Sender, Sent};
use crate::support::{PATIENCE, Site, SluiceProcess, http};
use crate::upstream::{PROCESS, Upstream, Weather};

/// How long it runs.
const SECONDS: &str = "SOAK_SECONDS";

/// Seconds, unless the environment says so.
const ORDINARY: u64 = 600;

/// How long weather lasts, and how long it is fair after that and all has been delivered, before figures are taken.
const STORM: Duration = Duration::from_secs(6);
const CALM: Duration = Duration::from_secs(4);

/// So many at least, so that there is every weather in each quarter.
const ROUNDS: usize = 4 * Weather::EVERY.len();

/// In one of so many rounds visitors come. Streams are forgotten after a minute, which has to be less than these take.
const VISITS: usize = 8;

/// Those who send all the time: 100 streams over four connections, and 20 of the same by gRPC and compressed.
const RESIDENTS: [&str; 2] = [
    "--streams 100 --connections 4 --entries 6 --records 4 --record-bytes 250 --rate 150",
    "--protocol grpc --compression gzip --streams 20 --connections 2 --entries 4 --records 2 --record-bytes 400 --rate 20",
];

/// Those who come now and then: 2,000 streams, each with one entry.
const VISITORS: &str = "--streams 2000 --connections 2 --entries 20 --records 1 --requests 100 --rate 50";

/// The configurations between which reloads alternate: settings change, and an exporter goes and comes back.
fn config(up: &str, round: usize) -> String {
    let (flush, other) = match round % 2 {
        0 => ("10ms", ""),
        _ => ("15ms", "  otlp_http/other: { endpoint: 'http://127.0.0.1:9' }\n"),
    };
    let to_other =
        if other.is_empty() { "" } else { "  - { match: { nobody: '*' }, exporters: [otlp_http/other] }\n" };
    format!(
        "exporters:\n  otlp_http/up:\n    endpoint: '{up}'\n    timeout: 3s\n    \
         headers: {{ {PROCESS}: '0' }}\n    \
         retry_on_failure: {{ initial_interval: 20ms, max_interval: 200ms }}\n    \
         sending_queue: {{ queue_size: 64KiB, batch: {{ flush_timeout: {flush}, min_size: 4KiB, max_size: 8KiB }} }}\n\
         {other}routes:\n{to_other}  - {{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}\n\
         journal: {{ directory: '@DIR@/journal', max_size: 64MiB, segment_size: 1MiB }}\n"
    )
}

/// What the process needs at the end of a round, when the weather has been fair for a while and nothing is left over from
/// before: so rounds can be compared.
#[derive(Clone, Debug)]
struct Sample {
    at: Duration,
    /// The weather of the round, and what was pending when it ended.
    weather: Weather,
    pending: u64,
    streams: u64,
    needs: Needs,
}

/// Figures that must not grow.
#[derive(Clone, Copy, Debug)]
struct Needs {
    resident_bytes: u64,
    files: u64,
    tasks: u64,
    threads: u64,
    disk_bytes: u64,
}

/// A figure, its name, and how much of it comes and goes whatever the time.
type Figure = (&'static str, fn(&Needs) -> u64, u64);

const FIGURES: [Figure; 5] = [
    ("resident bytes", |needs| needs.resident_bytes, 6 << 20),
    ("file descriptors", |needs| needs.files, 10),
    ("tasks", |needs| needs.tasks, 10),
    ("threads", |needs| needs.threads, 8),
    ("bytes on disk", |needs| needs.disk_bytes, 4 << 20),
];

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Needs { resident_bytes, files, tasks, threads, disk_bytes } = self.needs;
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "| {:.0} s | {:?} | {} | {} | {:.1} | {files} | {tasks} | {threads} | {:.1} |",
            self.at.as_secs_f64(),
            self.weather,
            self.pending,
            self.streams,
            mebibytes(resident_bytes),
            mebibytes(disk_bytes),
        )
    }
}

/// What is running, and what has been seen.
struct Soak {
    site: Site,
    process: SluiceProcess,
    upstream: Upstream,
    rng: StdRng,
    begun: Instant,
    samples: Vec<Sample>,
    /// What visitors have sent.
    visits: Vec<Sent>,
}

impl Soak {
    async fn begin() -> Self {
        let (site, upstream) = (Site::new(), Upstream::start().await);
        let process = site.start(&config(&upstream.url(), 0)).await;
        Self {
            site,
            process,
            upstream,
            rng: StdRng::seed_from_u64(seed()),
            begun: Instant::now(),
            samples: Vec::new(),
            visits: Vec::new(),
        }
    }

    fn send(&self, args: &str) -> Sender {
        let args: Vec<&str> =
            ["--at-most-once", "--timeout", "1m"].into_iter().chain(args.split(' ')).collect();
        Sender::start(&self.site.front().url(), &args)
    }

    /// Some weather and a reload, then calm, and a look at what the process needs.
    async fn round(&mut self) {
        let round = self.samples.len();
        let weather = Weather::EVERY[round % Weather::EVERY.len()];
        self.upstream.turn(weather, &mut self.rng).await;
        let visitors = round.is_multiple_of(VISITS).then(|| self.send(VISITORS));
        self.pass(STORM / 2).await;
        self.reload(round + 1).await;
        self.pass(STORM / 2).await;
        let pending = self.process.metric("sluice_pending_records", &[]).await as u64;
        self.upstream.turn(Weather::Fair, &mut self.rng).await;
        if let Some(visitors) = visitors {
            self.visits.push(visitors.end().await);
        }
        self.catch_up().await;
        self.pass(CALM).await;
        let metrics = self.process.metrics().await;
        let sample = Sample {
            at: self.begun.elapsed(),
            weather,
            pending,
            streams: metrics.sum("sluice_streams", &[]) as u64,
            needs: Needs {
                resident_bytes: self.process.resident_bytes(),
                files: self.process.open_files(),
                tasks: metrics.sum("sluice_tasks", &[]) as u64,
                threads: self.process.threads(),
                disk_bytes: on_disk(&self.site.directory().join("journal")),
            },
        };
        println!("{sample}");
        self.samples.push(sample);
    }

    /// Lets time pass, in which the ledger is kept.
    async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            sleep((end - Instant::now()).min(Duration::from_millis(500))).await;
            self.upstream.note();
        }
    }

    async fn reload(&self, round: usize) {
        self.site.configure(&config(&self.upstream.url(), round));
        let answer = http::send(self.site.front().admin, "POST", "/api/v1/reload", &[], Bytes::new()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Waits until nothing is left of what came in bad weather.
    async fn catch_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.process.metric("sluice_oldest_pending_seconds", &[]).await > 1.0 {
            assert!(Instant::now() < deadline, "what was pending is not delivered");
            self.pass(Duration::from_millis(200)).await;
        }
    }

    /// Has everything delivered, and judges.
    async fn end(mut self, residents: Vec<Sender>) {
        let mut sent = std::mem::take(&mut self.visits);
        for sender in residents {
            sent.push(sender.stop().await);
        }
        let sequences: Vec<_> = sent.iter().flat_map(|sent| sent.sequences.clone()).collect();
        self.upstream.received(&sequences).await;
        self.process.settled().await;
        self.process.signal("TERM").await;
        assert_eq!(self.process.ended().await.code(), Some(0), "{:?}", self.process.log());
        assert_healthy(&self.process);
        self.upstream.note();
        let judged = self.upstream.ledger.judge(&sequences, &[End::Terminated]);
        let verdict = judged.unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
        println!("{verdict:?}");
        assert_eq!(verdict.acknowledged, sent.iter().map(|sent| sent.records).sum::<u64>());
    }
}

/// Bytes that the files in a directory take on the disk.
fn on_disk(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("the journal is there").flatten();
    // One that has been removed meanwhile takes none.
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.blocks() * 512).sum()
}

/// The figures of the second quarter, when all has been in use once, are those of the last, but for what comes and goes.
fn assert_flat(samples: &[Sample]) {
    let quarter = samples.len() / 4;
    let median = |samples: &[Sample], of: fn(&Needs) -> u64| {
        let mut figures: Vec<u64> = samples.iter().map(|sample| of(&sample.needs)).collect();
        figures.sort_unstable();
        figures[figures.len() / 2]
    };
    for (name, of, slack) in FIGURES {
        let early = median(&samples[quarter..2 * quarter], of);
        let late = median(&samples[samples.len() - quarter..], of);
        println!("{name}: {early} in the second quarter, {late} in the last");
        assert!(late <= early + early / 10 + slack, "{name} grew from {early} to {late}");
    }
}

/// `make soak`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs for SOAK_SECONDS, four minutes at least"]
async fn what_it_needs_does_not_grow_with_time() {
    let seconds = chosen(SECONDS).unwrap_or(ORDINARY);
    println!("{SECONDS}={seconds}");
    let mut soak = Soak::begin().await;
    let residents = RESIDENTS.map(|args| soak.send(args)).into();
    println!(
        "| at | after | pending in it | streams | MiB resident | files | tasks | threads | MiB on disk |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    while soak.begun.elapsed() < Duration::from_secs(seconds) || soak.samples.len() < ROUNDS {
        soak.round().await;
    }
    let samples = soak.samples.clone();
    soak.end(residents).await;
    assert_flat(&samples);
}
