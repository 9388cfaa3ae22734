//! `sluice completions`: scripts by which shells complete commands and options.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::{Shell, generate};

/// Print a shell's completion script for the commands and options of `sluice`
///
/// The Debian package has it for bash, zsh and fish.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice completions bash > /etc/bash_completion.d/sluice
  sluice completions zsh > ~/.zfunc/_sluice
  sluice completions fish > ~/.config/fish/completions/sluice.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints to `out` the script that completes `command`, the whole command line.
pub fn completions(args: &CompletionsArgs, mut command: Command, out: &mut dyn Write) -> io::Result<()> {
    // Into a buffer first, since an output that can't be written would be a panic.
    let mut script = Vec::new();
    generate(args.shell, &mut command, "sluice", &mut script);
    out.write_all(&script)
}
