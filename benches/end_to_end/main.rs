//! Sluice against other proxies, end to end: real processes, real sockets, one load generator, one upstream.
//!
//! `cargo bench --bench end_to_end -- compare` measures what it costs to pass the same requests through Sluice,
//! `HAProxy`, nginx, an OpenTelemetry Collector and Rotel, as far as they are there (`make bench` installs them).
//! `wires` does the same for each way in and out: JSON, gRPC, compression, TLS.
//! `streams`, `stalled`, `overload`, `hanging`, `tenants`, `edits`, `looking` and `journal` look at Sluice alone: 100,000 live streams; an
//! upstream that hangs while senders push; one that is slower than they are; what streams that hang take from others of their
//! upstream; what it costs that each tenant has a credential of its own, and what reading their table takes; what it costs that a
//! route edits, and that somebody looks at records; and what it costs that everything is on disk before it is acknowledged.
//! Load generator and upstream are `sluice send` and `sluice sink`, inside this process; each proxy is a process of
//! its own, started with a configuration made here, whose CPU and memory are read from `/proc`.

mod certificates;
mod compare;
mod edits;
mod hanging;
mod journal;
mod load;
mod looking;
mod machine;
mod overload;
mod process;
mod proxy;
mod rig;
mod stalled;
mod streams;
mod table;
mod tenants;
#[path = "../../tests/support/tls.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "the tests' certificates, of which their clients are not used"
)]
mod tls;
mod wire;
mod wires;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::proxy::Kind;
use crate::rig::Rig;

/// As in the `sluice` binary, so that load generator and upstream cost what they cost there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What goes wrong in a bench ends it with a message.
type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(name = "end_to_end")]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
    /// Write the result as a Markdown section, too.
    #[arg(long, global = true, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Measure this binary instead of the one just built.
    #[arg(long, global = true, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_sluice"))]
    sluice: PathBuf,
}

#[derive(Subcommand)]
enum Mode {
    /// Pass-through cost beside other proxies, those that are installed.
    Compare(CompareArguments),
    /// The same for JSON, gRPC, compression and TLS, in and out.
    Wires(wires::WiresArguments),
    /// 100,000 live streams with one small entry each.
    Streams(streams::StreamsArguments),
    /// The upstream hangs while senders push.
    Stalled(stalled::StalledArguments),
    /// The upstream is slower than senders.
    Overload(overload::OverloadArguments),
    /// A thousand streams that hang, beside a thousand that don't.
    Hanging(hanging::HangingArguments),
    /// A credential for each of up to 100,000 tenants, beside one for all, and their table: reading it, and changing a row.
    Tenants(tenants::TenantsArguments),
    /// A route whose processors edit, beside one without.
    Edits(edits::EditsArguments),
    /// Watches and taps, beside nobody who looks at records.
    Looking(looking::LookingArguments),
    /// The journal: acknowledging, beside the disk it is on, and reading a backlog back.
    Journal(journal::JournalArguments),
    /// All of these.
    All(CompareArguments),
}

#[derive(Args)]
struct CompareArguments {
    /// Runs of everything; the medians are shown.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Only the request sizes whose name contains this.
    #[arg(long)]
    size: Option<String>,
    /// Send this part of the usual number of requests.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

fn main() -> ExitCode {
    // Cargo passes `--bench`, and with a plain `cargo bench` also what is meant for the other benches.
    let mut arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    let modes = [
        "compare", "wires", "streams", "stalled", "overload", "hanging", "tenants", "edits", "looking",
        "journal", "all", "help", "--help", "-h",
    ];
    if !arguments.iter().skip(1).any(|argument| modes.contains(&argument.as_str())) {
        println!("end_to_end takes minutes and is left out here: `cargo bench --bench end_to_end -- all`");
        return ExitCode::SUCCESS;
    }
    "end_to_end".clone_into(&mut arguments[0]);
    match run(Arguments::parse_from(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let rig = Rig::new(arguments.sluice)?;
    let mut sections = vec![machine::describe(&rig)];
    println!("{}", sections[0]);
    let mut done = |section: String| {
        println!("{section}");
        sections.push(section);
    };
    match arguments.mode {
        Mode::Compare(compare) => done(compare::run(&rig, &compare)?),
        Mode::Wires(wires) => done(wires::run(&rig, &wires)?),
        Mode::Streams(streams) => done(streams::run(&rig, &streams)?),
        Mode::Stalled(stalled) => done(stalled::run(&rig, &stalled)?),
        Mode::Overload(overload) => done(overload::run(&rig, &overload)?),
        Mode::Hanging(hanging) => done(hanging::run(&rig, &hanging)?),
        Mode::Tenants(tenants) => done(tenants::run(&rig, &tenants)?),
        Mode::Edits(edits) => done(edits::run(&rig, &edits)?),
        Mode::Looking(looking) => done(looking::run(&rig, &looking)?),
        Mode::Journal(journal) => done(journal::run(&rig, &journal)?),
        Mode::All(compare) => {
            done(compare::run(&rig, &compare)?);
            let journal = journal::JournalArguments::all(compare.scale);
            let wires = wires::WiresArguments::all(compare.only, compare.scale);
            done(wires::run(&rig, &wires)?);
            done(streams::run(&rig, &streams::StreamsArguments::default())?);
            done(stalled::run(&rig, &stalled::StalledArguments::default())?);
            done(overload::run(&rig, &overload::OverloadArguments::default())?);
            done(hanging::run(&rig, &hanging::HangingArguments::default())?);
            done(tenants::run(&rig, &tenants::TenantsArguments::default())?);
            done(edits::run(&rig, &edits::EditsArguments::all(compare.scale))?);
            done(looking::run(&rig, &looking::LookingArguments::all(compare.scale))?);
            done(journal::run(&rig, &journal)?);
        }
    }
    if let Some(file) = arguments.markdown {
        std::fs::write(&file, sections.join("\n"))?;
        println!("written to {}", file.display());
    }
    Ok(())
}
