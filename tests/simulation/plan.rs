//! What a seed chooses: the configuration, the senders, and what goes wrong when.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sluice::config::{self, Compiled, ConfigSource};
use sluice::journal::simulation::DiskFaults;
use sluice::journal::{JournalSettings, SyncPolicy};

use crate::upstream::{Manner, Mood, PORT};

/// Upstreams that there are.
pub(crate) const UPSTREAMS: usize = 2;

/// How long an attempt of the router may take, as configured.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);

/// What is done to the world for a while.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing comes through between two hosts.
    Partition(&'static str, &'static str),
    /// Nothing comes through from the one to the other.
    OneWay(&'static str, &'static str),
    /// What is on its way between two hosts waits.
    Hold(&'static str, &'static str),
    /// What is on its way between two hosts takes up to so many milliseconds.
    Delay(&'static str, &'static str, u64),
    /// The host of an upstream crashes, and comes back.
    CrashUpstream(usize),
    /// An upstream is in a mood.
    Mood(usize, Mood),
    /// The router's process ends without a word; its disk has what was written.
    Kill,
    /// The router's host loses power; its disk has what was synced, and some of the rest.
    PowerCut,
    /// The router is told to end, and started again.
    Restart,
    /// Another configuration.
    Reload(usize),
    /// One that can't be used.
    BadReload,
    /// The disk has no room, can't be written, or fails.
    Disk(DiskFaults),
    /// A sync does not come back until this is over.
    DiskHangs,
}

impl Fault {
    /// For counting.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Partition(..) => "partition".into(),
            Self::OneWay(..) => "one-way partition".into(),
            Self::Hold(..) => "held messages".into(),
            Self::Delay(..) => "delayed messages".into(),
            Self::CrashUpstream(_) => "crash of an upstream".into(),
            Self::Mood(..) => "mood of an upstream".into(),
            Self::Kill => "kill".into(),
            Self::PowerCut => "power cut".into(),
            Self::Restart => "restart".into(),
            Self::Reload(_) => "reload".into(),
            Self::BadReload => "bad reload".into(),
            Self::Disk(faults) if faults.capacity.is_some() => "full disk".into(),
            Self::Disk(faults) if faults.read_only => "read-only disk".into(),
            Self::Disk(_) => "failing disk".into(),
            Self::DiskHangs => "hanging disk".into(),
        }
    }
}

/// A fault, from when until when.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) begins: Duration,
    pub(crate) ends: Duration,
    pub(crate) fault: Fault,
}

/// Everything that a seed chooses.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) exporters: Vec<&'static str>,
    pub(crate) journal: bool,
    /// `acknowledge: delivered`.
    pub(crate) delivered: bool,
    /// The configurations that reloads change between; the first is started with.
    pub(crate) configurations: Vec<Compiled>,
    pub(crate) bad_configuration: Compiled,
    pub(crate) senders: usize,
    pub(crate) streams_each: u32,
    pub(crate) requests_each: usize,
    pub(crate) pace: u64,
    pub(crate) largest: usize,
    /// How long a write to the disk takes.
    pub(crate) commit: Duration,
    pub(crate) troubles: Vec<Trouble>,
    /// When all of them are over.
    pub(crate) peace: Duration,
}

impl Plan {
    /// What the seed chooses. `directory` is for the configurations, which are read from files.
    pub(crate) fn of(seed: u64, directory: &Path) -> Self {
        // Not the seed itself: it would give the numbers that the thread's randomness begins with.
        let mut random = StdRng::seed_from_u64(seed ^ 0x5eed);
        let journal = random.random_bool(0.7);
        let delivered = random.random_bool(0.3);
        let exporters = if random.random_bool(0.3) { vec!["a", "b"] } else { vec!["a"] };
        let queue = *[16, 64, 1024].choose(&mut random).expect("it is not empty");
        let memory = *[1, 4].choose(&mut random).expect("it is not empty");
        let write = |name: &str, text: &str| {
            let path = directory.join(format!("{name}.yaml"));
            std::fs::write(&path, text).expect("the temporary directory can be written");
            let mut compiled = config::load(&ConfigSource::File(path), &|_| None)
                .unwrap_or_else(|problems| panic!("{problems}"));
            compiled.journal = journal.then(|| JournalSettings {
                directory: "simulated".into(),
                max_size: 4 << 20,
                sync: SyncPolicy::Always,
                segment_size: 64 << 10,
            });
            compiled
        };
        let peace = Duration::from_millis(random.random_range(4_000..9_000));
        let troubles = troubles(&mut random, journal, peace);
        let text = |random: &mut StdRng, address: &str| {
            configuration(random, &exporters, delivered, queue, memory, address)
        };
        let mut configurations = Vec::new();
        for nth in 0..3 {
            configurations.push(write(&nth.to_string(), &text(&mut random, "0.0.0.0")));
        }
        // The same port, at another address: it overlaps the one that is in use.
        let bad_configuration = write("bad", &text(&mut random, "127.0.0.1"));
        Self {
            seed,
            exporters,
            journal,
            delivered,
            configurations,
            bad_configuration,
            senders: random.random_range(1..=4),
            streams_each: random.random_range(1..=4),
            requests_each: random.random_range(5..32),
            pace: random.random_range(20..400),
            largest: *[10, 200, 3_000].choose(&mut random).expect("it is not empty"),
            commit: Duration::from_millis(random.random_range(3..40)),
            troubles,
            peace,
        }
    }
}

fn configuration(
    random: &mut StdRng,
    exporters: &[&str],
    delivered: bool,
    queue_kib: u64,
    memory_mib: u64,
    address: &str,
) -> String {
    let mut text = format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{address}:4318', read_timeout: 5s, idle_timeout: 20s }} }} }} }}\n\
         admin: {{ enabled: false }}\n\
         limits: {{ memory: {memory_mib}MiB }}\n\
         acknowledge: {}\n\
         acknowledge_timeout: 3s\n\
         shutdown_timeout: 4s\n\
         exporters:\n",
        if delivered { "delivered" } else { "queued" },
    );
    for exporter in exporters {
        let upstream = random.random_range(0..UPSTREAMS);
        let (min, max) = *[(1, 4), (1, 32), (16, 64)].choose(random).expect("it is not empty");
        let flush = random.random_range(0..100);
        let in_flight = *[1, 8, 256].choose(random).expect("it is not empty");
        let header =
            if random.random_bool(0.4) { "headers: { X-Region: '{{ key | upper }}' }, " } else { "" };
        let interval = random.random_range(20..300);
        writeln!(
            text,
            "  otlp_http/{exporter}: {{ endpoint: 'http://upstream-{upstream}:{PORT}/{exporter}', compression: none, \
             timeout: {}s, {header}\
             sending_queue: {{ queue_size: {queue_kib}KiB, max_in_flight: {in_flight}, \
             batch: {{ min_size: {min}KiB, max_size: {max}KiB, flush_timeout: {flush}ms }} }}, \
             retry_on_failure: {{ initial_interval: {interval}ms, max_interval: 1s }} }}",
            TIMEOUT.as_secs(),
        )
        .expect("writing to a String can't fail");
    }
    let all: Vec<_> = exporters.iter().map(|exporter| format!("otlp_http/{exporter}")).collect();
    text + &format!(
        "routes:\n  - {{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [{}] }}\n",
        all.join(", ")
    )
}

const HOSTS: [&str; UPSTREAMS] = ["upstream-0", "upstream-1"];

fn troubles(random: &mut StdRng, journal: bool, peace: Duration) -> Vec<Trouble> {
    let mut troubles: Vec<Trouble> = Vec::new();
    for _ in 0..random.random_range(2..14) {
        let peace = peace.as_millis() as u64;
        let begins = random.random_range(100..peace - 500);
        let lasts = Duration::from_millis(random.random_range(50..4_000).min(peace - 100 - begins));
        let begins = Duration::from_millis(begins);
        let upstream = random.random_range(0..UPSTREAMS);
        let (one, other) =
            if random.random_bool(0.5) { ("router", HOSTS[upstream]) } else { ("senders", "router") };
        let fault = match random.random_range(0..16) {
            0 => Fault::Partition(one, other),
            1 if random.random() => Fault::OneWay(one, other),
            1 => Fault::OneWay(other, one),
            2 => Fault::Hold(one, other),
            3 => Fault::Delay(one, other, random.random_range(50..1_500)),
            4 => Fault::CrashUpstream(upstream),
            5 => Fault::Kill,
            6 if journal => Fault::PowerCut,
            7 => Fault::Restart,
            8 | 9 => Fault::Reload(random.random_range(0..3)),
            10 => Fault::BadReload,
            11 if journal => match random.random_range(0..5) {
                0 => Fault::Disk(DiskFaults {
                    capacity: Some(random.random_range(0..400) << 10),
                    ..DiskFaults::default()
                }),
                1 => Fault::Disk(DiskFaults { read_only: true, ..DiskFaults::default() }),
                2 => Fault::Disk(DiskFaults {
                    failing_syncs: random.random_range(1..4),
                    ..DiskFaults::default()
                }),
                3 => Fault::Disk(DiskFaults {
                    failing_writes: random.random_range(1..4),
                    ..DiskFaults::default()
                }),
                _ => Fault::DiskHangs,
            },
            _ => {
                let mut manners = Manner::TROUBLE.to_vec();
                manners.retain(|_| random.random_bool(0.4));
                Fault::Mood(upstream, Mood { manners, trouble: random.random_range(0.1..1.0) })
            }
        };
        // Longer than senders wait for the disk, where there is time for that.
        let lasts = if matches!(fault, Fault::DiskHangs) {
            Duration::from_millis(peace - 100).saturating_sub(begins)
        } else {
            lasts
        };
        troubles.push(Trouble { begins, ends: begins + lasts, fault });
    }
    troubles.sort_by_key(|trouble| trouble.begins);
    troubles
}
