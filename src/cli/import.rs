//! `sluice import`: a Collector's file as Sluice's own configuration.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::standard_error::say_line;
use crate::config::{self, ConfigSource, Severity};

/// Print a Collector's file as Sluice's own configuration
///
/// Pipelines become routes; comments at the top say what could not be taken, and what works in another way. `${…}` stays as it
/// is: no variable and no file is read. A file that can be taken whole runs as it is, too. Exit code 0 if all of it was taken, 1 if
/// not: what could not be taken and must not be missing stays in what is printed, and `sluice check` refuses it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice import collector.yaml > sluice.yaml && sluice check sluice.yaml")]
pub struct ImportArgs {
    /// The Collector's file; `-` is standard input
    file: PathBuf,
}

/// Prints the configuration to `out`, and problems to standard error.
pub fn import(args: &ImportArgs, out: &mut dyn Write) -> io::Result<ExitCode> {
    let imported = match config::import(&ConfigSource::named(args.file.clone())) {
        Ok(imported) => imported,
        Err(problems) => {
            say_line(problems.to_string().trim_end());
            return Ok(ExitCode::FAILURE);
        }
    };
    out.write_all(imported.yaml.as_bytes())?;
    let mut lacking =
        imported.problems.iter().filter(|problem| problem.severity == Severity::Error).peekable();
    if lacking.peek().is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    for problem in lacking {
        say_line(problem);
    }
    Ok(ExitCode::FAILURE)
}
