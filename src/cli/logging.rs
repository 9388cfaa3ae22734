//! `--log-format`, `--log-level` and `RUST_LOG`.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How logs are written; to standard error, so that what a command prints can be piped.
#[derive(Args, Clone, Debug)]
pub struct LoggingArgs {
    /// Text for people, or one JSON object per line
    #[arg(long, global = true, value_enum, default_value = "text", env = "SLUICE_LOG_FORMAT")]
    log_format: LogFormat,
    /// error, warn, info, debug or trace; `RUST_LOG` has more to say and wins
    #[arg(long, global = true, default_value = "info")]
    log_level: tracing::Level,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LoggingArgs {
    /// Whether people read the log: then text may stand between its lines.
    pub fn for_people(&self) -> bool {
        matches!(self.log_format, LogFormat::Text)
    }

    /// Starts logging. Later calls in the same process change nothing.
    pub fn start(&self) {
        let filter = EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| EnvFilter::new(self.log_level.as_str().to_ascii_lowercase()));
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr);
        let started = match self.log_format {
            LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).try_init(),
            LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        };
        drop(started);
    }
}
