//! What commands say on standard error.
//!
//! Whoever read it may have had enough, as `head` has behind `2>&1 | head`. For what a command does and how it exits, that makes no
//! difference.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes a line.
pub(super) fn say_line(line: impl Display) {
    // There is nobody left to tell of a failure.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
