//! `sluice health`: asks a running Sluice whether it is ready, for container health checks that have no shell.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::StatusCode;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::standard_error::say_line;

/// Ask `/readyz`; exit 0 if it is ready, else 1
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice health
  sluice health http://127.0.0.1:13133")]
pub struct HealthArgs {
    /// The admin or health endpoint
    #[arg(default_value = "http://127.0.0.1:8888", env = "SLUICE_HEALTH_URL")]
    url: String,
    /// Seconds to wait for the answer
    #[arg(long, default_value_t = 3)]
    timeout: u64,
}

/// Sends one request.
pub fn health(args: &HealthArgs) -> ExitCode {
    match super::runtime(None).block_on(ask(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            say_line(format_args!("sluice: not ready: {reason}"));
            ExitCode::FAILURE
        }
    }
}

async fn ask(args: &HealthArgs) -> Result<(), String> {
    let base = if args.url.contains("://") { args.url.clone() } else { format!("http://{}", args.url) };
    let base = base.trim_end_matches('/');
    let url = if base.ends_with("/readyz") { base.to_owned() } else { format!("{base}/readyz") };
    let uri: http::Uri = url.parse().map_err(|error| format!("`{url}` is not a URL: {error}"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!(
            "`{url}` is not an http URL: where `admin` has `tls`, ask the `health` listener, which speaks plain HTTP"
        ));
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = tokio::time::timeout(Duration::from_secs(args.timeout), client.get(uri))
        .await
        .map_err(|_| format!("no answer from {url} within {} s", args.timeout))?
        .map_err(|error| format!("{url} can't be reached: {}", cause(&error)))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status @ StatusCode::SERVICE_UNAVAILABLE => Err(format!("{url} answered {status}")),
        status => Err(format!(
            "{url} answered {status}: name the endpoint of `health` or of `admin`, and not that of a receiver"
        )),
    }
}

/// The innermost source of an error: the outer errors say only that a request failed.
fn cause<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
