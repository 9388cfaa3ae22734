//! Messages of commands on standard error.
//!
//! Its reader may have closed it, such as `head` in `2>&1 | head`. That makes no difference to what a command does and how it exits.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

/// Writes a line.
pub(super) fn say_line(line: impl Display) {
    // A failure can't be reported anywhere.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether somebody sees the messages at once: whether they go to a terminal.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// How often a command that goes on says how far it is. In a file each line stays.
pub(super) fn progress_interval() -> Duration {
    Duration::from_secs(if is_terminal() { 1 } else { 10 })
}
