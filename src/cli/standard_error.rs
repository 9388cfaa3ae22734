//! Messages of commands on standard error.
//!
//! Its reader may have closed it, such as `head` in `2>&1 | head`. That makes no difference to what a command does and how it exits.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes a line.
pub(super) fn say_line(line: impl Display) {
    // A failure can't be reported anywhere.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
