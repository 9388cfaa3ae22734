//! `sluice tenants`: shows and changes the table of tenants of a running Sluice, by its API.

mod listing;
mod row;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use http::StatusCode;
use serde_json::{Map, Value, json};

use self::row::{RowArgs, SetArgs};
use super::admin_client::{self, AdminClient, AdminError};
use super::duration::parse_duration;
use super::standard_error::say_line;
use super::tls::TlsArgs;

/// The most tenants in one answer.
const PAGE: usize = 1000;

/// Look at the tenants of a running Sluice, add and change them
///
/// Asks the admin listener, which changes the files in `tenants.directory`. A change needs the write token. Exit code 0 if it was
/// done, 1 if not.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice tenants list --state failing
  sluice tenants show acme
  sluice tenants create acme --value host=s1234.example.com --value-file token=./acme-upstream-token
  sluice tenants set acme --limit rate=10MiB/s
  sluice tenants rotate acme --overlap 1h
  sluice tenants delete acme --pending dead_letter")]
pub struct TenantsArgs {
    #[command(subcommand)]
    command: TenantsCommand,
    /// The admin listener
    #[arg(
        long,
        global = true,
        default_value = "http://127.0.0.1:8888",
        env = "SLUICE_ADMIN",
        value_name = "URL"
    )]
    admin: String,
    /// The file with the admin listener's token, instead of the variable `SLUICE_ADMIN_TOKEN`
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long to wait for an answer
    #[arg(long, global = true, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    #[command(flatten)]
    tls: TlsArgs,
}

#[derive(Debug, Subcommand)]
enum TenantsCommand {
    /// List tenants
    #[command(after_help = "Examples:
  sluice tenants list
  sluice tenants list --state failing
  sluice tenants list --query acme | cat          # with all columns")]
    List {
        /// Those in this state alone, such as `failing` or `paused`
        #[arg(long)]
        state: Option<String>,
        /// Those alone that have this text in their id or platform
        #[arg(long, value_name = "TEXT")]
        query: Option<String>,
    },
    /// Show all that is known of a tenant
    #[command(after_help = "Examples:
  sluice tenants show acme
  sluice tenants show acme | jq .limits")]
    Show {
        /// The tenant's id
        id: String,
    },
    Create(CreateArgs),
    Set(SetArgs),
    Rotate(RotateArgs),
    /// Refuse a tenant's senders with 503; what is queued is delivered
    #[command(after_help = "Examples:
  sluice tenants pause acme
  sluice tenants pause acme --admin http://sluice:8888 --token-file ./write-token")]
    Pause {
        /// The tenant's id
        id: String,
    },
    /// Take a paused tenant's senders on again
    #[command(after_help = "Examples:
  sluice tenants resume acme")]
    Resume {
        /// The tenant's id
        id: String,
    },
    /// Deliver nothing of a tenant; its senders are taken on until there is no more room
    #[command(after_help = "Examples:
  sluice tenants hold acme")]
    Hold {
        /// The tenant's id
        id: String,
    },
    /// Deliver again what is held of a tenant, and try now what its upstream has refused
    #[command(after_help = "Examples:
  sluice tenants release acme")]
    Release {
        /// The tenant's id
        id: String,
    },
    /// Remove a tenant; one of which something is pending stays, unless `--pending` says what becomes of that
    #[command(after_help = "Examples:
  sluice tenants delete acme
  sluice tenants delete acme --pending dead_letter")]
    Delete {
        /// The tenant's id
        id: String,
        /// What becomes of what is pending
        #[arg(long, value_enum)]
        pending: Option<PendingArg>,
    },
}

/// What becomes of the pending data of a tenant that is removed.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum PendingArg {
    /// It becomes dead letters.
    DeadLetter,
}

/// Add a tenant, and print the token of its sender
///
/// The token alone is written to standard output. It is kept nowhere, and can't be shown again.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice tenants create acme
  sluice tenants create acme --platform shop --limit rate=10MiB/s > ./acme-token
  sluice tenants create acme --value host=s1234.example.com --value-file token=./acme-upstream-token")]
struct CreateArgs {
    /// The tenant's id: 1 to 128 letters, digits, `.`, `_` and `-`
    id: String,
    #[command(flatten)]
    row: RowArgs,
}

/// Give a sender another token, and print it
///
/// The token alone is written to standard output. It is kept nowhere, and can't be shown again. The token before it goes on until
/// the overlap is over.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice tenants rotate acme --overlap 1h
  sluice tenants rotate acme --sender web --overlap 0s > ./acme-token")]
struct RotateArgs {
    /// The tenant's id
    id: String,
    /// The sender; not needed where one alone has a token
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
    /// How long the token before goes on; `0s` ends it at once
    #[arg(long, value_name = "TIME", value_parser = parse_overlap)]
    overlap: Option<String>,
}

/// The server reads it as well.
fn parse_overlap(text: &str) -> Result<String, String> {
    parse_duration(text).map(|_| text.to_owned())
}

/// Runs the command, and prints to `out`; `env` looks up environment variables.
pub fn tenants(
    args: &TenantsArgs,
    env: &dyn Fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> io::Result<ExitCode> {
    let client = match client(args, env) {
        Ok(client) => client,
        Err(problem) => {
            say_line(format_args!("error: {problem}"));
            return Ok(ExitCode::from(2));
        }
    };
    match super::runtime(None).block_on(run(&args.command, &client, out))? {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            say_line(format!("error: {error}").trim_end());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn client(args: &TenantsArgs, env: &dyn Fn(&str) -> Option<String>) -> Result<AdminClient, String> {
    let token = admin_client::token(args.token_file.as_deref(), env)?;
    AdminClient::new(&args.admin, token.as_deref(), args.tls.settings(), args.timeout)
}

/// The outer error is one of writing to `out`.
async fn run(
    command: &TenantsCommand,
    client: &AdminClient,
    out: &mut dyn Write,
) -> io::Result<Result<(), AdminError>> {
    let done = match command {
        TenantsCommand::List { state, query } => {
            return list(client, state.as_deref(), query.as_deref(), out).await;
        }
        TenantsCommand::Show { id } => client.get(&path(id, "")).await.map(|shown| format!("{shown:#}")),
        TenantsCommand::Create(args) => create(client, args).await,
        TenantsCommand::Set(args) => set(client, args).await,
        TenantsCommand::Rotate(RotateArgs { id, sender, overlap }) => {
            let mut body = Map::new();
            body.extend(sender.iter().map(|sender| ("sender".to_owned(), json!(sender))));
            body.extend(overlap.iter().map(|overlap| ("overlap".to_owned(), json!(overlap))));
            let issued = client.send("POST", &path(id, "/rotate"), Some(body.into())).await;
            issued.map(|issued| issued_token(&issued))
        }
        TenantsCommand::Pause { id } => switch(client, id, "pause", "paused").await,
        TenantsCommand::Resume { id } => switch(client, id, "resume", "no longer paused").await,
        TenantsCommand::Hold { id } => switch(client, id, "hold", "held").await,
        TenantsCommand::Release { id } => {
            let released = client.send("POST", &path(id, "/release"), None).await;
            released.map(|answer| {
                let streams = |name: &str, said: &str| match answer[name].as_u64() {
                    None | Some(0) => String::new(),
                    Some(streams) => format!("; {said}: {streams}"),
                };
                let released = streams("released", "streams that go on");
                let tried = streams("tried", "streams that are tried now");
                let away =
                    streams("away", "streams whose destination does not answer, and is asked by turns");
                // The upstream's answers decide whether the streams are held again.
                let said = if tried.is_empty() && away.is_empty() {
                    format!("tenant `{id}` is no longer held")
                } else {
                    format!("no operator holds tenant `{id}` now")
                };
                format!("{said}{released}{tried}{away}")
            })
        }
        TenantsCommand::Delete { id, pending } => {
            let below = if pending.is_some() { "?pending=dead_letter" } else { "" };
            client.send("DELETE", &path(id, below), None).await.map(|answer| {
                let count = |name: &str| answer[name].as_u64().filter(|count| *count > 0);
                let said = [
                    count("dead_lettered").map(|records| format!("; {records} records became dead letters")),
                    count("dropped")
                        .map(|records| format!("; {records} records had no room there and are lost")),
                    count("pending_bytes")
                        .map(|bytes| format!("; {bytes} bytes are still becoming dead letters")),
                ];
                format!("tenant `{id}` is removed{}", said.into_iter().flatten().collect::<String>())
            })
        }
    };
    match done {
        Ok(text) => writeln!(out, "{text}").map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

async fn list(
    client: &AdminClient,
    state: Option<&str>,
    query: Option<&str>,
    out: &mut dyn Write,
) -> io::Result<Result<(), AdminError>> {
    let mut tenants = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let limit = PAGE.to_string();
        let parameters =
            [("state", state), ("q", query), ("limit", Some(&*limit)), ("after", after.as_deref())];
        let parameters: Vec<String> = parameters
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", admin_client::encoded(value?))))
            .collect();
        let mut page = match client.get(&format!("/api/v1/tenants?{}", parameters.join("&"))).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        let Value::Array(rows) = page["tenants"].take() else {
            return Ok(Err(client.no_admin_listener(StatusCode::OK)));
        };
        tenants.extend(rows);
        match page["next"].as_str() {
            Some(next) if after.as_deref() != Some(next) => after = Some(next.to_owned()),
            _ => break,
        }
    }
    if tenants.is_empty() {
        say_line(why_none(client, state.is_some() || query.is_some()).await);
    }
    let left_out = listing::write(&tenants, listing::width_of_output(), out)?;
    if !left_out.is_empty() {
        say_line(format_args!(
            "no room for {}: `sluice tenants list | cat` has all columns, and `sluice tenants show ID` all of one tenant",
            left_out.join(", ")
        ));
    }
    Ok(Ok(()))
}

/// The line for an empty list.
async fn why_none(client: &AdminClient, is_filtered: bool) -> &'static str {
    if is_filtered {
        return "no tenant is found by that";
    }
    match client.get("/api/v1/config").await {
        Ok(answer) if answer["config"].is_object() && answer["config"]["tenants"].is_null() => {
            "this Sluice has no table of tenants: its configuration has no `tenants`"
        }
        _ => "the table of tenants has no rows",
    }
}

async fn create(client: &AdminClient, args: &CreateArgs) -> Result<String, AdminError> {
    let mut body = args.row.fields().map_err(AdminError::Local)?;
    body.insert("id".to_owned(), json!(args.id));
    let issued = client.send("POST", "/api/v1/tenants", Some(body.into())).await?;
    Ok(issued_token(&issued))
}

async fn set(client: &AdminClient, args: &SetArgs) -> Result<String, AdminError> {
    let patch = args.patch().map_err(AdminError::Local)?;
    client.send("PATCH", &path(&args.id, ""), Some(patch.into())).await?;
    Ok(format!("tenant `{}` is changed", args.id))
}

async fn switch(client: &AdminClient, id: &str, action: &str, done: &str) -> Result<String, AdminError> {
    client.send("POST", &path(id, &format!("/{action}")), None).await?;
    Ok(format!("tenant `{id}` is {done}"))
}

/// The path of a tenant's page, or of one below it.
fn path(id: &str, below: &str) -> String {
    format!("/api/v1/tenants/{}{below}", admin_client::encoded(id))
}

/// The token for standard output; the notes about it go to standard error.
fn issued_token(issued: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    say_line(format_args!(
        "the token of sender `{}` of tenant `{}`, which can't be shown again:",
        text(&issued["sender"]),
        text(&issued["id"])
    ));
    let former = &issued["former"];
    if !former.is_null() {
        say_line(format_args!(
            "(the one before it goes on as that of sender `{}` until {})",
            text(&former["sender"]),
            text(&former["expires"])
        ));
    }
    text(&issued["token"])
}
