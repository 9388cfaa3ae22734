//! Running seeds, each in a process of its own: so that nothing is left of one when the next begins, and a seed that fails
//! among hundreds fails alone as well.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

/// The seed to run alone.
pub(crate) const SEED: &str = "SLUICE_SEED";

/// How many seeds are run.
pub(crate) const SEEDS: &str = "SLUICE_SEEDS";

/// What is printed before the number of times that something happened.
pub(crate) const COUNT: &str = "count: ";

/// A number from the environment.
pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: `{text}`")))
}

/// Runs one seed; what it prints is its trace.
pub(crate) fn run(seed: u64) -> Output {
    let mut run = Command::new(std::env::current_exe().expect("this process has a program"));
    run.args(["--exact", "one_seed", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(SEED, seed.to_string())
        .env_remove("RUST_BACKTRACE");
    for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"] {
        run.env_remove(proxy);
    }
    run.output().expect("this program can be run")
}

/// What came of many seeds.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// Seeds that failed, and what they printed.
    pub(crate) failed: BTreeMap<u64, String>,
    /// How often what happened, in all of them.
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) seeds: u64,
}

/// Runs seeds from `first` on, as many at a time as there are processors, for as long as `more` says.
pub(crate) fn run_many(first: u64, more: impl Fn(u64) -> bool + Sync) -> Runs {
    let (next, runs) = (AtomicU64::new(first), Mutex::new(Runs::default()));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if !more(seed) {
            return;
        }
        let output = run(seed);
        let text = String::from_utf8_lossy(&output.stdout);
        let mut runs = runs.lock();
        runs.seeds += 1;
        for (kind, count) in text.lines().filter_map(|line| line.strip_prefix(COUNT)?.rsplit_once(' ')) {
            *runs.counts.entry(kind.to_owned()).or_default() +=
                count.parse::<u64>().expect("a count is a number");
        }
        if !output.status.success() {
            let problems =
                text.lines().filter(|line| line.starts_with("problem: ")).collect::<Vec<_>>().join("\n");
            let errors = String::from_utf8_lossy(&output.stderr);
            let panics =
                errors.lines().filter(|line| line.contains("panicked")).collect::<Vec<_>>().join("\n");
            runs.failed.insert(seed, format!("{problems}\n{panics}"));
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(work);
        }
    });
    runs.into_inner()
}
