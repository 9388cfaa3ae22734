//! The router on a simulated network, clock and disk.
//!
//! What receives, routes, queues, journals and sends is the program's own, from [`sluice::run::Router`] down; only sockets
//! are turmoil's, and the disk is `sluice::journal::simulation`'s. A *seed* chooses a configuration, senders, and what goes
//! wrong when; everything that is random follows from it, so a run can be repeated. An oracle that has seen everything says
//! whether each promise was kept, once the faults are over and all is settled.
//!
//! ```text
//! SLUICE_SEED=17 cargo test --test simulation one_seed -- --ignored --nocapture     the trace of a seed
//! make simulate SIMULATE_SECONDS=600                                                new seeds for ten minutes
//! ```
//!
//! What it does not show: races of threads, since there is one; TLS, gRPC, JSON and dead letters, which have tests of their
//! own; what the kernel does with sockets; other ways to `sync` the journal than `always`.
//!
//! | file | |
//! |---|---|
//! | `plan.rs` | what a seed chooses |
//! | `world.rs` | a run of it |
//! | `house.rs`, `network.rs` | the router's host: its lives, its disk, its connections |
//! | `sender.rs`, `upstream.rs`, `http.rs` | the others |
//! | `trace.rs`, `oracle.rs` | what happened, and whether it may |
//! | `entropy.rs`, `seeds.rs` | what makes a run repeatable |
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod entropy;
mod house;
mod http;
mod network;
mod oracle;
#[path = "../support/payload.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests need the rest of it")]
mod payload;
mod plan;
mod seeds;
mod sender;
mod trace;
mod upstream;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use seeds::{COUNT, SEED, SEEDS};

/// How many seeds are run unless the environment says so.
const ORDINARY: u64 = 300;

/// Seconds for which new seeds are run.
const SECONDS: &str = "SLUICE_SIMULATE_SECONDS";

/// Every fault that a seed can choose; the journal's are not in every run.
const FAULTS: [&str; 15] = [
    "bad reload",
    "crash of an upstream",
    "delayed messages",
    "failing disk",
    "full disk",
    "hanging disk",
    "held messages",
    "kill",
    "mood of an upstream",
    "one-way partition",
    "partition",
    "power cut",
    "read-only disk",
    "reload",
    "restart",
];

#[test]
fn everything_random_follows_from_the_seed() {
    use std::hash::{BuildHasher as _, RandomState};
    let of = |seed| {
        let random = move || {
            entropy::follow(seed);
            (rand::random::<u64>(), RandomState::new().hash_one(1))
        };
        thread::spawn(random).join().unwrap()
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1).0, of(2).0);
    assert_ne!(of(1).1, of(2).1);
}

#[test]
fn a_seed_runs_the_same_way_every_time() {
    for seed in [1, 2, 3] {
        let (one, other) = (seeds::run(seed), seeds::run(seed));
        let (one, other) = (String::from_utf8(one.stdout).unwrap(), String::from_utf8(other.stdout).unwrap());
        for (line, (one, other)) in trace_of(&one).zip(trace_of(&other)).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {line}");
        }
        assert_eq!(trace_of(&one).count(), trace_of(&other).count());
        assert!(trace_of(&one).count() > 50, "{one}");
    }
}

/// Without what the test harness says, which knows the real time.
fn trace_of(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter(|line| line.starts_with("trace: ") || line.starts_with(COUNT))
}

#[test]
fn every_promise_is_kept_whatever_goes_wrong() {
    let seeds = seeds::number(SEEDS).unwrap_or(ORDINARY);
    check(0, |seed| seed < seeds);
}

/// `make simulate`.
#[test]
#[ignore = "runs for SLUICE_SIMULATE_SECONDS, from seed SLUICE_SEED on"]
fn as_many_seeds_as_time_allows() {
    let first = seeds::number(SEED).unwrap_or(1_000);
    let end = tokio::time::Instant::now() + Duration::from_secs(seeds::number(SECONDS).unwrap_or(60));
    check(first, |_| tokio::time::Instant::now() < end);
}

fn check(first: u64, more: impl Fn(u64) -> bool + Sync) {
    let runs = seeds::run_many(first, more);
    println!("{} seeds", runs.seeds);
    for (kind, count) in &runs.counts {
        println!("{:>8.2} {kind} for each seed", *count as f64 / runs.seeds as f64);
    }
    assert!(
        runs.failed.is_empty(),
        "of {} seeds {} have failed; `{SEED}=n cargo test --test simulation one_seed -- --ignored --nocapture` \
         shows what one does:\n{:#?}",
        runs.seeds,
        runs.failed.len(),
        runs.failed
    );
    // Fewer need not have met everything.
    if runs.seeds >= ORDINARY {
        for fault in FAULTS {
            assert!(
                runs.counts.contains_key(&format!("fault: {fault}")),
                "no {fault} in {} seeds",
                runs.seeds
            );
        }
        for manner in upstream::Manner::TROUBLE {
            let kind = format!("manner: {manner:?}");
            assert!(runs.counts.contains_key(&kind), "no {manner:?} in {} seeds", runs.seeds);
        }
    }
}

/// Panics of this process: a task's would go unnoticed.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Prints what happens, and fails if a promise was broken.
#[test]
#[ignore = "runs the seed SLUICE_SEED"]
fn one_seed() {
    let seed = seeds::number(SEED).expect("SLUICE_SEED names a seed");
    if let Ok(asked) = std::env::var("RUST_LOG") {
        let targets: Targets = asked.parse().expect("RUST_LOG has targets with levels");
        tracing_subscriber::registry().with(tracing_subscriber::fmt::layer()).with(targets).init();
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(panic);
    }));
    let directory = tempfile::tempdir().unwrap();
    let plan = plan::Plan::of(seed, directory.path());
    let run = thread::spawn(move || {
        entropy::follow(seed);
        world::run(plan)
    });
    let run = run.join().unwrap();
    for line in run.trace.to_string().lines() {
        println!("trace: {line}");
    }
    let events = run.trace.events();
    let mut counts = run.faults.iter().map(|(kind, count)| (format!("fault: {kind}"), *count)).collect();
    count(&events, &mut counts);
    for (kind, count) in counts {
        println!("{COUNT}{kind} {count}");
    }
    let mut problems = run.problems;
    if problems.is_empty() {
        problems = oracle::problems(&run.plan, &events);
    }
    let panics = PANICS.load(Ordering::Relaxed);
    if panics > 0 {
        problems.push(format!("{panics} tasks have panicked"));
    }
    for problem in &problems {
        println!("problem: {problem}");
    }
    assert!(problems.is_empty(), "seed {seed} breaks {} promises", problems.len());
}

/// What else happened, for those who want to know whether a run was worth it.
fn count(events: &[(Duration, trace::Event)], counts: &mut std::collections::BTreeMap<String, u64>) {
    for (_, event) in events {
        let kind = match event {
            trace::Event::Sent { .. } => "requests".to_owned(),
            trace::Event::Answered { status, .. } => format!("answers: {status}"),
            trace::Event::Unanswered { .. } => "requests without an answer".to_owned(),
            trace::Event::Took { .. } => "attempts that were taken".to_owned(),
            trace::Event::Began { .. } => "attempts".to_owned(),
            trace::Event::Behaved { manner, .. } => {
                format!("manner: {}", manner.replace("resets the connection", "Reset"))
            }
            trace::Event::Started { .. } => "lives of the router".to_owned(),
            _ => continue,
        };
        *counts.entry(kind).or_default() += 1;
    }
}
