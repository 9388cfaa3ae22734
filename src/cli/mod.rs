//! The command line: one file per subcommand.

mod admin_client;
mod answer;
pub mod check;
pub mod completions;
pub mod config_file;
mod counted;
mod duration;
pub mod explain;
mod greeting;
mod harmless;
pub mod health;
pub mod import;
pub mod journal;
pub mod logging;
pub mod man;
pub mod replay;
pub mod run;
pub mod schema;
pub mod send;
mod sequence;
pub mod sink;
pub mod tap;
pub mod tenants;
mod tls;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::Source;

/// An OTLP stream router: splits OTLP by attributes of resources and records, keeps every stream in order, forwards to
/// many upstreams.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, max_term_width = 100)]
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

/// `sluice demo.yaml` is what many try first.
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
        Ok(named) => Source::choose(named.map(Path::to_owned), &env),
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
        // A reader that has had enough, such as `head`, is no failure.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return ExitCode::SUCCESS;
        }
        eprintln!("sluice: {error}");
        ExitCode::FAILURE
    })
}

/// A runtime for subcommands that talk to the network, with so many threads for what blocks.
fn runtime(blocking_threads: Option<usize>) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = blocking_threads {
        builder.max_blocking_threads(threads);
    }
    builder.enable_all().build().expect("the system has threads and file descriptors")
}
