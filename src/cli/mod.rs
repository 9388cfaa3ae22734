//! The command line: one file per subcommand.

mod answer;
pub mod check;
mod duration;
pub mod explain;
pub mod health;
pub mod logging;
pub mod replay;
pub mod run;
pub mod schema;
pub mod send;
mod sequence;
pub mod sink;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An OTLP stream router: splits OTLP by resource attribute, keeps every stream in order, forwards to many upstreams.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::RunArgs,
    #[command(flatten)]
    logging: logging::LoggingArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run (the default)
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Schema(schema::SchemaArgs),
    Send(send::SendArgs),
    Sink(sink::SinkArgs),
    Replay(replay::ReplayArgs),
    Health(health::HealthArgs),
}

/// Runs what the arguments ask for. Exit codes: 0 fine, 1 failed, 2 wrong usage.
pub fn main(arguments: Arguments) -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    let done = match arguments.command {
        None => return run::run(&arguments.run, &arguments.logging),
        Some(Command::Run(args)) => return run::run(&args.or(arguments.run), &arguments.logging),
        Some(Command::Check(args)) => check::check(&args, &env, &mut io::stdout().lock()),
        Some(Command::Explain(args)) => explain::explain(&args, &env, &mut io::stdout().lock()),
        Some(Command::Schema(args)) => {
            schema::schema(&args, &mut io::stdout().lock()).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Replay(args)) => replay::replay(&args, &env, &mut io::stdout().lock()),
        Some(Command::Send(args)) => return runtime().block_on(send::run(args)),
        Some(Command::Sink(args)) => return runtime().block_on(sink::run(args)),
        Some(Command::Health(args)) => return health::health(&args),
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

/// A runtime for subcommands that talk to the network.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the system has threads and file descriptors")
}
