//! `sluice tap`: records of a running Sluice as they pass, in a terminal.

mod line;

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use self::line::RecordLine;
use super::admin_client::{self, AdminClient, AdminError};
use super::duration::parse_duration;
use super::standard_error::say_line;
use super::tls::TlsArgs;
use crate::terminal::escaped;

/// How long to wait before a connection that has ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Show records of a running Sluice as they pass
///
/// Without `--follow`, it ends after `--records` or `--time`, whichever comes first. What was left out is told on standard error:
/// records beyond `--limit`, and those for which there was no time. Needs the read token of the admin listener, unless `tap.open` is
/// set. Exit code 0 if it has looked, 1 if not, 2 if the query is wrong.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice tap 'tenant:acme level:error'
  sluice tap --follow 'service:api status:>=500 NOT path:/healthz'
  sluice tap --json --records 1 'trace_id:4bf92f3577b34da6a3ce929d0e0e4736'")]
pub struct TapArgs {
    /// What to show; without it, everything
    #[arg(default_value = "", value_name = "QUERY")]
    query: String,
    /// Go on until interrupted, also if Sluice restarts
    #[arg(long, short)]
    follow: bool,
    /// One JSON object in each line
    #[arg(long)]
    json: bool,
    /// Without `--follow`: end after so many records
    #[arg(long, default_value_t = 100, value_name = "NUMBER", conflicts_with = "follow")]
    records: u64,
    /// Without `--follow`: end after this time
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "TIME", conflicts_with = "follow")]
    time: Duration,
    /// The most records in a second, up to 1000
    #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// The admin listener
    #[arg(
        long,
        alias = "url",
        default_value = "http://127.0.0.1:8888",
        env = "SLUICE_ADMIN",
        value_name = "URL"
    )]
    admin: String,
    /// The file with the admin listener's token, instead of the variable `SLUICE_ADMIN_TOKEN`
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long to wait until Sluice answers
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    #[command(flatten)]
    tls: TlsArgs,
}

/// How the tap has ended.
enum TapEnd {
    Enough,
    Refused(AdminError),
}

/// Shows records on `out`; `env` looks up environment variables.
pub fn tap(
    args: &TapArgs,
    env: &dyn Fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> io::Result<ExitCode> {
    let token = admin_client::token(args.token_file.as_deref(), env);
    let client = token
        .and_then(|token| AdminClient::new(&args.admin, token.as_deref(), args.tls.settings(), args.timeout));
    let client = match client {
        Ok(client) => client,
        Err(problem) => {
            say_line(format_args!("error: {problem}"));
            return Ok(ExitCode::from(2));
        }
    };
    // https://no-color.org
    let colours = io::stdout().is_terminal() && env("NO_COLOR").is_none_or(|value| value.is_empty());
    let line = RecordLine { json: args.json, colours };
    match super::runtime(None).block_on(look(args, &client, line, out))? {
        TapEnd::Enough => Ok(ExitCode::SUCCESS),
        TapEnd::Refused(error) => Ok(say(&args.query, &error)),
    }
}

/// Prints why nothing is shown, with the place if the query is wrong.
fn say(query: &str, error: &AdminError) -> ExitCode {
    if let AdminError::Refused { status: StatusCode::BAD_REQUEST, body } = error {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        if let (Some(message), Some(column)) = (said["error"].as_str(), said["column"].as_u64()) {
            let before = usize::try_from(column).unwrap_or(1).saturating_sub(1);
            say_line(format_args!("error: {message}\n  {}\n  {:before$}^", escaped(query), ""));
            return ExitCode::from(2);
        }
    }
    say_line(format!("error: {error}").trim_end());
    ExitCode::FAILURE
}

/// Prints what the tap looks for and when it ends: otherwise nothing would be printed as long as no record matches.
fn waits_for(args: &TapArgs) -> String {
    let what = match &*args.query {
        "" => "records of any kind".to_owned(),
        query => format!("records that match {}", escaped(query)),
    };
    if args.follow {
        return format!("waiting for {what}, until Ctrl-C");
    }
    format!("waiting for {what}: {} of them, or {:?}", args.records, args.time)
}

async fn look(
    args: &TapArgs,
    client: &AdminClient,
    line: RecordLine,
    out: &mut dyn Write,
) -> io::Result<TapEnd> {
    let path = format!("/api/v1/tap?query={}&limit={}", admin_client::encoded(&args.query), args.limit);
    let deadline = (!args.follow).then(|| Instant::now() + args.time);
    let mut left = if args.follow { u64::MAX } else { args.records };
    let mut has_looked = false;
    while left > 0 {
        let mut events = match client.events(&path).await {
            Ok(events) => events,
            // Sluice may be restarting.
            Err(AdminError::Unanswered { .. }) if args.follow && has_looked => {
                sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Ok(TapEnd::Refused(error)),
        };
        if !has_looked && io::stderr().is_terminal() {
            say_line(waits_for(args));
        }
        has_looked = true;
        while left > 0 {
            let next = match deadline {
                Some(deadline) => match timeout_at(deadline, events.next()).await {
                    Ok(next) => next,
                    Err(_) => return Ok(TapEnd::Enough),
                },
                None => events.next().await,
            };
            match next {
                Ok(Some((name, data))) if name == "record" => {
                    line.write(&data, out)?;
                    left -= 1;
                }
                Ok(Some((name, data))) if name == "left_out" => {
                    say_line(format_args!("left out: {} records", data["count"]));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) if args.follow => {
                    say_line("the connection has ended; trying again");
                    sleep(PAUSE).await;
                    break;
                }
                Ok(None) => {
                    say_line("the connection has ended");
                    return Ok(TapEnd::Enough);
                }
                Err(error) => return Ok(TapEnd::Refused(error)),
            }
        }
    }
    Ok(TapEnd::Enough)
}
