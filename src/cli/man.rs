//! `sluice man`: the manual pages, for packages.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Command};

/// Write the manual pages into a directory
///
/// `sluice.1`, and one for each command, such as `sluice-run.1`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice man ./man && man ./man/sluice.1")]
pub struct ManArgs {
    /// The directory, which is made if it is not there
    directory: PathBuf,
}

/// Writes the pages of `command`, the whole command line.
pub fn man(args: &ManArgs, command: Command) -> io::Result<()> {
    fs::create_dir_all(&args.directory)?;
    // The subcommand `help` would have a page for each command again.
    clap_mangen::generate_to(command.disable_help_subcommand(true), &args.directory)
}
