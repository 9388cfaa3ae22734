//! The command line: one file per subcommand.

mod answer;
mod duration;
pub mod send;
mod sequence;
pub mod sink;
