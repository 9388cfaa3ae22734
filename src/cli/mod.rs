//! The command line: one file per subcommand.

mod admin_client;
pub mod check;
pub mod completions;
pub mod config_file;
mod counted;
mod duration;
pub mod explain;
mod greeting;
pub mod health;
pub mod import;
pub mod journal;
pub mod logging;
pub mod man;
pub mod replay;
pub mod run;
pub mod schema;
pub mod send;
pub mod sink;
mod standard_error;
pub mod tap;
pub mod tenants;
mod tls;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::ConfigSource;

/// An OTLP stream router: splits OTLP by attributes of resources and records, keeps every stream in order, forwards to
/// many upstreams.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, max_term_width = 100)]
#[command(after_help = "Examples:
  sluice                                  # on config/sluice.yaml, or the same built in
  sluice check sluice.yaml
  sluice --config sluice.yaml
  sluice send --streams 10 --duration 5s  # synthetic telemetry, to try it
  sluice tap 'level:error'                # records as they pass")]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: config_file::ConfigArgs,
    #[command(flatten)]
    logging: logging::LoggingArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run (the default)
    #[command(after_help = "Examples:
  sluice run --config sluice.yaml
  SLUICE_CONFIG=/etc/sluice/sluice.yaml sluice run
  sluice run --config sluice.yaml --log-format json --log-level debug")]
    Run(config_file::ConfigArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Import(import::ImportArgs),
    Schema(schema::SchemaArgs),
    Send(send::SendArgs),
    Sink(sink::SinkArgs),
    Replay(replay::ReplayArgs),
    Journal(journal::JournalArgs),
    Tenants(tenants::TenantsArgs),
    Tap(tap::TapArgs),
    Health(health::HealthArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Arguments {
    /// Reads the command line. If it is wrong, says why and ends the process with 2.
    pub fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| with_hint(error).exit())
    }

    /// The configuration that is named, before the subcommand or behind it.
    fn configuration(&self) -> Result<Option<&Path>, String> {
        let before = self.config.file();
        let [file, behind] = match &self.command {
            None => [None, None],
            Some(Command::Run(config)) => [None, config.file()],
            Some(Command::Check(args)) => args.configurations(),
            Some(Command::Explain(args)) => args.configurations(),
            Some(Command::Replay(args)) => [None, args.config.file()],
            Some(
                Command::Import(_)
                | Command::Schema(_)
                | Command::Send(_)
                | Command::Sink(_)
                | Command::Journal(_)
                | Command::Tenants(_)
                | Command::Tap(_)
                | Command::Health(_)
                | Command::Completions(_)
                | Command::Man(_),
            ) => {
                return match before {
                    Some(_) => {
                        Err("`--config` is of no use here: this command reads no configuration".to_owned())
                    }
                    None => Ok(None),
                };
            }
        };
        config_file::only_one([before, behind, file])
    }
}

/// Explains that a file is named by an option: many try `sluice demo.yaml` first.
fn with_hint(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) {
        let ending = Path::new(word).extension().and_then(|ending| ending.to_str());
        if matches!(ending, Some("yaml" | "yml")) || word.contains('/') || Path::new(word).is_file() {
            let hint = format!("to run this configuration, write `sluice run --config {word}`");
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
        }
    }
    error
}

/// Runs what the arguments ask for. Exit codes: 0 fine, 1 failed, 2 wrong usage; for a service manager, 78 a configuration that can't be
/// run.
pub fn main(arguments: Arguments) -> ExitCode {
    let env: fn(&str) -> Option<String> = |name| std::env::var(name).ok();
    let source = match arguments.configuration() {
        Ok(named) => ConfigSource::choose(named.map(Path::to_owned), &env),
        Err(error) => Arguments::command().error(ErrorKind::ArgumentConflict, error).exit(),
    };
    let done = match arguments.command {
        None | Some(Command::Run(_)) => return run::run(source, env, &arguments.logging),
        Some(Command::Check(args)) => check::check(&args, &source, env, &mut io::stdout().lock()),
        Some(Command::Explain(args)) => explain::explain(&args, &source, env, &mut io::stdout().lock()),
        Some(Command::Import(args)) => import::import(&args, &mut io::stdout().lock()),
        Some(Command::Schema(args)) => {
            schema::schema(&args, &mut io::stdout().lock()).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Replay(args)) => replay::replay(&args, &source, env, &mut io::stdout().lock()),
        Some(Command::Journal(args)) => journal::journal(&args, &mut io::stdout().lock()),
        Some(Command::Send(args)) => {
            arguments.logging.start();
            return runtime(None).block_on(send::run(args));
        }
        Some(Command::Sink(args)) => return runtime(None).block_on(sink::run(args)),
        Some(Command::Tenants(args)) => tenants::tenants(&args, &env, &mut io::stdout().lock()),
        Some(Command::Tap(args)) => tap::tap(&args, &env, &mut io::stdout().lock()),
        Some(Command::Health(args)) => return health::health(&args),
        Some(Command::Completions(args)) => {
            completions::completions(&args, Arguments::command(), &mut io::stdout().lock())
                .map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Man(args)) => man::man(&args, Arguments::command()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        // A reader that has closed the pipe, such as `head`, is no failure.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return ExitCode::SUCCESS;
        }
        standard_error::say_line(format_args!("sluice: {error}"));
        ExitCode::FAILURE
    })
}

/// A runtime for subcommands that use the network, with so many threads for blocking work.
fn runtime(blocking_threads: Option<usize>) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = blocking_threads {
        builder.max_blocking_threads(threads);
    }
    builder.enable_all().build().expect("the system has threads and file descriptors")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command, with those below it.
    fn commands(command: &clap::Command, all: &mut Vec<clap::Command>) {
        all.push(command.clone());
        command.get_subcommands().for_each(|below| commands(below, all));
    }

    fn all_commands() -> Vec<clap::Command> {
        let mut all = Vec::new();
        commands(&Arguments::command(), &mut all);
        all
    }

    /// The words of a command, as a shell reads them up to a comment, a pipe or the next command; but for variables before it.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        for char in line.chars() {
            match char {
                '\'' | '"' => is_quoted = !is_quoted,
                '#' | '|' | '>' | '&' if !is_quoted => break,
                ' ' if !is_quoted => words.push(String::new()),
                char => words.last_mut().expect("there is one").push(char),
            }
        }
        words.retain(|word| !word.is_empty());
        words.into_iter().skip_while(|word| word.contains('=') && !word.contains('-')).collect()
    }

    #[test]
    fn every_command_has_examples_that_the_command_line_takes() {
        let mut examples = 0;
        for command in all_commands() {
            let name = command.get_name();
            let help = command.get_after_help().unwrap_or_else(|| panic!("{name} has none"));
            let before = examples;
            for line in help.to_string().lines().skip_while(|line| *line != "Examples:").skip(1) {
                let words = words(line.trim());
                assert_eq!(words.first().map(String::as_str), Some("sluice"), "{line}");
                let taken = Arguments::try_parse_from(&words);
                assert!(taken.is_ok(), "{line}: {}", taken.unwrap_err());
                examples += 1;
            }
            assert!(examples > before, "{name} has none");
        }
        assert!(examples > 50, "{examples}");
    }

    /// What stands in the text of the documents, and in comments of examples, for people to write. Blocks of code are run by
    /// `tests/commands`.
    #[test]
    fn the_command_line_knows_every_command_that_is_named_in_a_text() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = vec![root.join("README.md"), root.join("CHANGELOG.md")];
        for directory in ["docs", "docs/quick-start", "config"] {
            let entries = std::fs::read_dir(root.join(directory)).expect("it is there");
            files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
        }
        let mut named = 0;
        for file in files {
            let text = std::fs::read_to_string(&file).expect("it is text");
            let in_code = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
            let in_comments = text.lines().filter_map(|line| line.trim_start().strip_prefix("#   "));
            for command in in_code.chain(in_comments).filter(|text| text.starts_with("sluice ")) {
                // What stands for something, or for nothing.
                if command.contains(['…', '[', '{']) {
                    continue;
                }
                let Err(error) = Arguments::try_parse_from(words(command)) else {
                    named += 1;
                    continue;
                };
                let unknown =
                    [ErrorKind::UnknownArgument, ErrorKind::InvalidSubcommand, ErrorKind::ArgumentConflict];
                assert!(!unknown.contains(&error.kind()), "{}: `{command}`: {error}", file.display());
            }
        }
        assert!(named > 40, "{named}");
    }

    #[test]
    fn commands_are_described_in_the_imperative() {
        for command in all_commands() {
            let about = command.get_about().expect("it has a description").to_string();
            let first = about.split(' ').next().unwrap_or_default();
            let is_imperative = !first.ends_with('s') && !about.ends_with('.');
            assert!(is_imperative || command.get_name() == "sluice", "{}: {about}", command.get_name());
        }
    }
}
