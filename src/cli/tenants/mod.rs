//! `sluice tenants`: looks at the table of tenants of a running Sluice, and changes it, by its API.

mod client;
mod listing;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use self::client::{AdminClient, AdminError};
use super::duration::parse_duration;
use super::tls::TlsArgs;

/// The variable that the token is taken from.
const TOKEN: &str = "SLUICE_ADMIN_TOKEN";

/// Tenants of one answer.
const PAGE: usize = 1000;

/// Look at the tenants of a running Sluice, add and change them
///
/// Asks the admin listener, which changes the files in `tenants.directory`. A change needs the write token. Exit code 0 if it was
/// done, 1 if not.
#[derive(Args, Debug)]
pub struct TenantsArgs {
    #[command(subcommand)]
    command: Command,
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
enum Command {
    /// List tenants
    List {
        /// Those in this state alone, such as `failing` or `paused`
        #[arg(long)]
        state: Option<String>,
        /// Those alone that have this text in their id or platform
        #[arg(long, value_name = "TEXT")]
        query: Option<String>,
    },
    /// Show all that is known of a tenant
    Show {
        /// The tenant's id
        id: String,
    },
    Create(CreateArgs),
    Rotate(RotateArgs),
    /// Refuse a tenant's senders with 503; what is queued is delivered
    Pause {
        /// The tenant's id
        id: String,
    },
    /// Take a paused tenant's senders on again
    Resume {
        /// The tenant's id
        id: String,
    },
    /// Deliver nothing of a tenant; its senders are taken on until there is no more room
    Hold {
        /// The tenant's id
        id: String,
    },
    /// Deliver again what is held of a tenant
    Release {
        /// The tenant's id
        id: String,
    },
    /// Remove a tenant; one of which something is pending stays, unless `--pending` says what becomes of that
    Delete {
        /// The tenant's id
        id: String,
        /// What becomes of what is pending
        #[arg(long, value_enum)]
        pending: Option<PendingData>,
    },
}

/// What becomes of what is pending of a tenant that is removed.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum PendingData {
    /// It becomes dead letters.
    DeadLetter,
}

/// Add a tenant, and print the token of its sender
///
/// The token alone is written to standard output. It is kept nowhere, and can't be shown again.
#[derive(Args, Debug)]
struct CreateArgs {
    /// The tenant's id: 1 to 128 letters, digits, `.`, `_` and `-`
    id: String,
    /// A word for people
    #[arg(long)]
    platform: Option<String>,
    /// A value for templates; of one name, several are tried in their order. What is secret is better kept in a file: others on
    /// this machine can see arguments
    #[arg(long = "value", value_parser = parse_value, value_name = "NAME=VALUE")]
    values: Vec<(String, String)>,
    /// The same from a file, without its last line break. These come after those of `--value`
    #[arg(long = "value-file", value_parser = parse_value, value_name = "NAME=PATH")]
    value_files: Vec<(String, String)>,
}

/// Give a sender another token, and print it
///
/// The token alone is written to standard output. It is kept nowhere, and can't be shown again. The token before it goes on until
/// the overlap is over.
#[derive(Args, Debug)]
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

/// The error doesn't repeat the text: it may be a secret.
fn parse_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write a name, `=` and a value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The server reads it as well.
fn parse_overlap(text: &str) -> Result<String, String> {
    parse_duration(text).map(|_| text.to_owned())
}

/// Does what is asked for, and prints to `out`; `env` looks up environment variables.
pub fn tenants(
    args: &TenantsArgs,
    env: &dyn Fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> io::Result<ExitCode> {
    let client = match client(args, env) {
        Ok(client) => client,
        Err(problem) => {
            eprintln!("error: {problem}");
            return Ok(ExitCode::from(2));
        }
    };
    match super::runtime(None).block_on(run(&args.command, &client, out))? {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprint!("error: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn client(args: &TenantsArgs, env: &dyn Fn(&str) -> Option<String>) -> Result<AdminClient, String> {
    let token = match &args.token_file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("can't read `{}`: {error}", file.display()))?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        None => env(TOKEN),
    };
    let token = token.filter(|token| !token.is_empty());
    AdminClient::new(&args.admin, token.as_deref(), args.tls.settings(), args.timeout)
}

/// The outer error is one of writing to `out`.
async fn run(
    command: &Command,
    client: &AdminClient,
    out: &mut dyn Write,
) -> io::Result<Result<(), AdminError>> {
    let done = match command {
        Command::List { state, query } => return list(client, state.as_deref(), query.as_deref(), out).await,
        Command::Show { id } => client.get(&path(id, "")).await.map(|shown| format!("{shown:#}")),
        Command::Create(args) => {
            let body = match created(args) {
                Ok(body) => body,
                Err(problem) => return Ok(Err(AdminError::Local(problem))),
            };
            client.send("POST", "/api/v1/tenants", Some(body)).await.map(|issued| issued_token(&issued))
        }
        Command::Rotate(RotateArgs { id, sender, overlap }) => {
            let mut body = Map::new();
            body.extend(sender.iter().map(|sender| ("sender".to_owned(), json!(sender))));
            body.extend(overlap.iter().map(|overlap| ("overlap".to_owned(), json!(overlap))));
            let issued = client.send("POST", &path(id, "/rotate"), Some(body.into())).await;
            issued.map(|issued| issued_token(&issued))
        }
        Command::Pause { id } => switch(client, id, "pause", "paused").await,
        Command::Resume { id } => switch(client, id, "resume", "no longer paused").await,
        Command::Hold { id } => switch(client, id, "hold", "held").await,
        Command::Release { id } => switch(client, id, "release", "no longer held").await,
        Command::Delete { id, pending } => {
            let below = if pending.is_some() { "?pending=dead_letter" } else { "" };
            client.send("DELETE", &path(id, below), None).await.map(|answer| match &answer["pending_bytes"] {
                left if left.as_u64().unwrap_or_default() > 0 => {
                    format!("tenant `{id}` is removed; {left} bytes are still becoming dead letters")
                }
                _ => format!("tenant `{id}` is removed"),
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
            .filter_map(|(name, value)| Some(format!("{name}={}", client::encoded(value?))))
            .collect();
        let mut page = match client.get(&format!("/api/v1/tenants?{}", parameters.join("&"))).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        if let Value::Array(rows) = page["tenants"].take() {
            tenants.extend(rows);
        }
        match page["next"].as_str() {
            Some(next) if after.as_deref() != Some(next) => after = Some(next.to_owned()),
            _ => break,
        }
    }
    listing::write(&tenants, out).map(Ok)
}

async fn switch(client: &AdminClient, id: &str, action: &str, done: &str) -> Result<String, AdminError> {
    client.send("POST", &path(id, &format!("/{action}")), None).await?;
    Ok(format!("tenant `{id}` is {done}"))
}

/// The page of a tenant, or one below it.
fn path(id: &str, below: &str) -> String {
    format!("/api/v1/tenants/{}{below}", client::encoded(id))
}

/// What a new tenant's row is to say.
fn created(args: &CreateArgs) -> Result<Value, String> {
    let mut values: Map<String, Value> = Map::new();
    let mut add = |name: &str, text: String| match values.get_mut(name) {
        None => drop(values.insert(name.to_owned(), json!(text))),
        Some(Value::Array(texts)) => texts.push(json!(text)),
        Some(first) => *first = json!([first.take(), text]),
    };
    for (name, value) in &args.values {
        add(name, value.clone());
    }
    for (name, file) in &args.value_files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("can't read `{file}`: {error}"))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        add(name, text.strip_suffix('\r').unwrap_or(text).to_owned());
    }
    Ok(json!({ "id": args.id, "platform": args.platform, "values": values }))
}

/// The token, for standard output; what is to be known of it is said to whoever sits before the screen.
fn issued_token(issued: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    eprintln!(
        "the token of sender `{}` of tenant `{}`, which can't be shown again:",
        text(&issued["sender"]),
        text(&issued["id"])
    );
    let former = &issued["former"];
    if !former.is_null() {
        eprintln!(
            "(the one before it goes on as that of sender `{}` until {})",
            text(&former["sender"]),
            text(&former["expires"])
        );
    }
    text(&issued["token"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(values: &[&str], value_files: &[String]) -> CreateArgs {
        let parsed = |texts: &[&str]| texts.iter().map(|text| parse_value(text).unwrap()).collect();
        let files: Vec<&str> = value_files.iter().map(String::as_str).collect();
        CreateArgs { id: "acme".into(), platform: None, values: parsed(values), value_files: parsed(&files) }
    }

    #[test]
    fn values_of_one_name_are_a_list_in_their_order_and_files_come_last() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from a file\r\n").unwrap();
        let files = [format!("token={}", file.path().display())];
        let body = created(&args(&["host=a=b", "token=one", "token=two"], &files)).unwrap();
        assert_eq!(body["values"], json!({ "host": "a=b", "token": ["one", "two", "from a file"] }));
        let missing = created(&args(&[], &["token=./no/such/file".to_owned()])).unwrap_err();
        assert!(missing.contains("can't read `./no/such/file`"), "{missing}");
        assert!(!parse_value("s3cret").unwrap_err().contains("s3cret"));
    }
}
