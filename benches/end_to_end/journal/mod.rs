//! What the journal costs: everything that is acknowledged is on disk before, and a backlog is read back from there.
//!
//! Sluice has one core, and its journal is below the target directory, which is on a disk where a temporary directory may
//! not be.

mod backlog;
mod disk;
mod overhead;

use std::fmt;
use std::path::Path;

use clap::Args;
use tempfile::TempDir;

use crate::Failure;
use crate::load::Size;
use crate::proxy::Tuning;
use crate::rig::Rig;

/// The request sizes.
const SIZES: [Size; 3] = [
    Size { name: "1 MB", entries: 10, records: 350, record_bytes: 283, requests: 700 },
    Size { name: "110 kB", entries: 10, records: 38, record_bytes: 283, requests: 6_000 },
    Size { name: "2.9 kB", entries: 1, records: 10, record_bytes: 275, requests: 45_000 },
];

const RUNS: u32 = 9;

#[derive(Args)]
pub(crate) struct JournalArguments {
    /// Runs of everything; the medians are shown. Many short ones, since on a shared machine they lie far apart.
    #[arg(long, default_value_t = RUNS, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only the request sizes whose name contains this.
    #[arg(long)]
    size: Option<String>,
    /// Only one of the two parts.
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// Send this part of the usual number of requests.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Acknowledging, with the journal and without.
    Overhead,
    /// Taking a backlog in, and reading it back.
    Backlog,
}

impl JournalArguments {
    /// All of it.
    pub(crate) fn all(scale: f64) -> Self {
        Self { runs: RUNS, size: None, part: None, scale }
    }
}

/// Measures, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &JournalArguments) -> Result<String, Failure> {
    let wanted = |part: Part| arguments.part.is_none_or(|only| only == part);
    let mut section = "## The journal\n".to_owned();
    if wanted(Part::Overhead) {
        section += &overhead::run(rig, arguments)?;
    }
    if wanted(Part::Backlog) {
        section += &backlog::run(rig, arguments)?;
    }
    Ok(section)
}

/// `journal.sync`, or no journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sync {
    Off,
    Always,
    Interval,
    Never,
}

impl Sync {
    /// Sluice on one core, with a journal in `directory` if there is to be one.
    fn tuning(self, directory: &Path) -> Tuning {
        let blocks = match self {
            Self::Off => String::new(),
            _ => {
                format!("journal: {{ directory: '{}', max_size: 8GiB, sync: {self} }}\n", directory.display())
            }
        };
        Tuning { blocks, one_core: true, ..Tuning::default() }
    }
}

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Always => "always",
            Self::Interval => "100ms",
            Self::Never => "never",
        })
    }
}

/// A directory for a journal.
fn directory() -> Result<TempDir, Failure> {
    Ok(TempDir::with_prefix_in("journal-", env!("CARGO_TARGET_TMPDIR"))?)
}
