//! `--log-format`, `--log-level` and `RUST_LOG`, and a limit on the lines of the log.
//!
//! Sluice limits its own repeated lines by `notice`. Libraries do not: h2 warns of each frame that it refuses, so that a peer could
//! cause thousands of lines a second. So no more than 100 lines a second are written, whoever logs them. Lines below `info` are written
//! on request alone, and are not limited.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::Instant;
use tracing::{Event, Level, Metadata, Subscriber, warn};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Filter, Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::telemetry::LogExport;
use crate::terminal::escaped_line;

/// The most lines a second at `info` and above.
const LINES_A_SECOND: u32 = 100;

/// The part of these lines that is reserved for errors.
const LINES_FOR_ERRORS: u32 = 20;

/// Libraries whose lines are about single frames and handshakes; Sluice logs what matters of them itself.
const CHATTY: &str = "h2=error,hyper=warn,hyper_util=warn,rustls=warn";

/// notify logs every event of the file system. If the log is in a directory that is watched because the configuration is in it, each of
/// these lines would cause the next event.
const WATCHER: &str = "notify";

/// Lines that were left out and not reported yet.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// How logs are written; to standard error, so that the output of a command can be piped.
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
        let format =
            tracing_subscriber::fmt::layer().with_target(false).with_writer(|| LogWriter(std::io::stderr()));
        let filter = self.filter(std::env::var("RUST_LOG").ok());
        let lines = LineLimit::default();
        let registry = tracing_subscriber::registry();
        let started = match self.log_format {
            LogFormat::Text => {
                let has_colours = has_colours(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR"));
                let format = format.with_ansi(has_colours);
                registry.with(format.and_then(LogExport).with_filter(filter.and(lines))).try_init()
            }
            LogFormat::Json => {
                let format = format.json().flatten_event(true);
                registry.with(format.and_then(LogExport).with_filter(filter.and(lines))).try_init()
            }
        };
        drop(started);
    }

    /// The filter of the log, given the value of `RUST_LOG`.
    fn filter(&self, variable: Option<String>) -> Targets {
        let asked = variable.filter(|asked| !asked.is_empty());
        let names_watcher = asked.as_ref().is_some_and(|asked| asked.contains(WATCHER));
        let targets = asked.and_then(|asked| targets(&asked));
        let targets = targets.unwrap_or_else(|| {
            let of_libraries: Targets = CHATTY.parse().expect("they are targets with levels");
            of_libraries.with_default(self.log_level)
        });
        if names_watcher { targets } else { targets.with_target(WATCHER, LevelFilter::OFF) }
    }
}

/// The targets with levels that `RUST_LOG` asks for; `None` if it asks for nothing, or for something else: a filter by spans or fields, which
/// would be taken for the name of a target.
fn targets(asked: &str) -> Option<Targets> {
    let parts: Vec<&str> = asked.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() || parts.iter().any(|part| part.contains('[')) {
        return None;
    }
    parts.join(",").parse().ok()
}

/// Whether the log has colours: on a terminal, unless the variable `NO_COLOR` says anything (<https://no-color.org>).
fn has_colours(is_terminal: bool, no_color: Option<OsString>) -> bool {
    is_terminal && no_color.is_none_or(|said| said.is_empty())
}

/// Logs at intervals how many lines were left out, for ever.
pub async fn report_left_out() {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            warn!(left_out, "lines were left out of this log, which gets at most {LINES_A_SECOND} a second");
        }
    }
}

/// The writer of the log, which writes each line at once. Control characters of messages are escaped when the line is formatted.
struct LogWriter<W>(W);

impl<W: Write> Write for LogWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A log that nobody reads any more, or that has no room, stops nothing; of an error the formatter would tell standard error,
        // where that fails as well and ends the task that has something to log.
        let _ = self.0.write_all(escaped_line(&String::from_utf8_lossy(line)).as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A filter that lets at most so many lines a second pass.
#[derive(Debug)]
struct LineLimit(Mutex<Second>);

#[derive(Debug)]
struct Second {
    since: Instant,
    lines: u32,
}

impl Default for LineLimit {
    fn default() -> Self {
        Self(Mutex::new(Second { since: Instant::now(), lines: 0 }))
    }
}

impl LineLimit {
    fn passes(&self, level: Level, now: Instant) -> bool {
        // From the most severe to the least.
        if level > Level::INFO {
            return true;
        }
        let Ok(mut second) = self.0.lock() else { return true };
        if now.saturating_duration_since(second.since) >= Duration::from_secs(1) {
            *second = Second { since: now, lines: 0 };
        }
        let most = if level == Level::ERROR { LINES_A_SECOND } else { LINES_A_SECOND - LINES_FOR_ERRORS };
        let passes = second.lines < most;
        if passes {
            second.lines += 1;
        } else {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
        passes
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for LineLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // The other filter's is the stricter one.
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.passes(*event.metadata().level(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::{debug, error, info, trace};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written of what `log` logs.
    fn written(level: Level, variable: Option<&str>, log: impl FnOnce()) -> Vec<String> {
        let args = LoggingArgs { log_format: LogFormat::Text, log_level: level };
        let written = Written::default();
        let writer = written.clone();
        let format =
            tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || LogWriter(writer.clone()));
        let filter = args.filter(variable.map(str::to_owned));
        let subscriber =
            tracing_subscriber::registry().with(format.with_filter(filter.and(LineLimit::default())));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_flood_from_any_library_leaves_room_for_errors_and_is_cut_to_the_lines_of_a_second() {
        let limit = LineLimit::default();
        let start = Instant::now();
        let count = |level, second: u64| {
            let now = start + Duration::from_secs(second);
            (0..10_000).filter(|_| limit.passes(level, now)).count() as u32
        };
        assert_eq!(count(Level::WARN, 0), LINES_A_SECOND - LINES_FOR_ERRORS);
        assert_eq!(count(Level::ERROR, 0), LINES_FOR_ERRORS);
        assert_eq!(count(Level::DEBUG, 0), 10_000, "what was asked for");
        assert_eq!(count(Level::INFO, 1), LINES_A_SECOND - LINES_FOR_ERRORS, "the next second has its own");
    }

    #[test]
    fn the_limit_holds_for_what_is_written() {
        let lines = written(Level::DEBUG, None, || {
            (0..500).for_each(|_| warn!("flood"));
            debug!("detail");
            error!("broken");
        });
        let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count() as u32;
        assert!((80..=2 * 80).contains(&count("flood")), "a second may end meanwhile: {}", count("flood"));
        assert_eq!((count("detail"), count("broken")), (1, 1));
    }

    #[test]
    fn what_is_not_logged_takes_no_line_from_what_is() {
        let lines = written(Level::INFO, None, || {
            (0..10_000).for_each(|_| warn!(target: "h2::proto::streams", "a frame"));
            info!(target: "sluice::run", "started");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
    }

    #[test]
    fn warnings_about_single_frames_are_left_to_those_who_ask_for_them() {
        let log = || {
            warn!(target: "h2::proto::streams", "a frame");
            info!(target: "sluice::run", "started");
        };
        assert_eq!(written(Level::DEBUG, None, log).len(), 1);
        assert_eq!(written(Level::INFO, Some("h2=debug,info"), log).len(), 2);
    }

    #[test]
    fn what_is_no_target_with_a_level_changes_nothing() {
        let log = || {
            warn!(target: "h2::proto::streams", "a frame");
            debug!(target: "sluice::run", "detail");
            info!(target: "sluice::run", "started");
        };
        for (variable, lines) in [
            ("info,", 2),
            (" h2=off, debug ,", 2),
            ("[request]", 1),
            ("sluice[request]=debug,info", 1),
            ("sluice=loud", 1),
            (" ", 1),
            (",", 1),
        ] {
            assert_eq!(written(Level::INFO, Some(variable), log).len(), lines, "{variable:?}");
        }
    }

    #[test]
    fn a_watched_directory_does_not_get_a_line_for_each_line() {
        let log = || {
            trace!(target: "notify::inotify", "inotify event");
            trace!(target: "sluice::run", "detail");
        };
        assert_eq!(written(Level::INFO, Some("trace"), log).len(), 1);
        assert_eq!(written(Level::TRACE, None, log).len(), 1);
        assert_eq!(
            written(Level::INFO, Some("notify=trace"), log).len(),
            1,
            "unless it is asked for by name"
        );
    }
}
