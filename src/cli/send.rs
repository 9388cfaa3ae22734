//! `sluice send`: its options, its progress, its report.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use http::{HeaderName, HeaderValue};
use rig::send::{Load, Report, SendCompression, SendEncoding, SendProtocol, SendSettings};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::duration::parse_duration;
use super::standard_error::{progress_interval, say_line};
use super::tls::TlsArgs;
use crate::otlp::Signal;

/// Send synthetic telemetry as OTLP, and report latency and throughput
///
/// Without `--rate`, every connection sends its next request as soon as it has the answer to the last one. With it,
/// requests are due on a schedule, and latency counts from when a request was due: a server that stalls can't hide
/// it. Ends after `--requests`, `--duration` (10 s if neither is given) or on Ctrl-C. Exit status 1 if a request
/// failed or a record was rejected.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  sluice send --streams 10 --duration 5s
  sluice send --signal traces --rate 100 --retry
  sluice send --protocol grpc --endpoint http://127.0.0.1:4317 --requests 1 --header 'Authorization: Bearer TOKEN'")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct SendArgs {
    /// Where to send to, `http` or `https`; for HTTP `/v1/<signal>` is appended [default: `http://127.0.0.1:4318`, for
    /// gRPC port 4317]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// How requests travel.
    #[arg(long, value_enum, default_value_t)]
    protocol: SendProtocol,
    /// What to send.
    #[arg(long, default_value = "logs", value_parser = signal_parser())]
    signal: Signal,
    /// Number of routing keys: `stream-0`, `stream-1` ...
    #[arg(long, default_value_t = 10, value_name = "N")]
    streams: usize,
    /// What routing keys begin with, in place of `stream-`; for Highlight, which knows words of letters and digits alone:
    /// `--attribute highlight.project_id --stream-prefix demo`.
    #[arg(long, default_value = "stream-", value_name = "TEXT")]
    stream_prefix: String,
    /// The resource attribute that carries the routing key.
    #[arg(long, default_value = "s2.stream", value_name = "NAME")]
    attribute: String,
    /// Every connection sends to every stream, as it does if there are fewer streams than connections. Otherwise each
    /// stream belongs to one connection.
    #[arg(long)]
    share_streams: bool,
    /// Entries (resources) in a request, each of the next stream in turn.
    #[arg(long, default_value_t = 10, value_name = "N")]
    entries: usize,
    /// Records in an entry.
    #[arg(long, default_value_t = 20, value_name = "N")]
    records: usize,
    /// Size of a record in protobuf.
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    record_bytes: usize,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 1, value_name = "N")]
    connections: usize,
    /// Requests per second, whatever the server does.
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Stop after this time.
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    duration: Option<Duration>,
    /// Stop after this many requests.
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// How to encode request bodies; gRPC has protobuf alone.
    #[arg(long, value_enum, default_value_t)]
    encoding: SendEncoding,
    /// How to compress request bodies.
    #[arg(long, value_enum, default_value_t)]
    compression: SendCompression,
    /// On 429, 502, 503, 504, such codes of gRPC and lost connections, send the same request again until it is taken,
    /// after the time that `Retry-After` or `RetryInfo` asks for.
    #[arg(long)]
    retry: bool,
    /// Never send a record twice: after a lost connection, a timeout, or a 5xx other than 503, give the request up, and its
    /// sequence numbers with it. Then a duplicate at `sluice sink` is not the sender's.
    #[arg(long)]
    at_most_once: bool,
    /// How long to wait for an answer.
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    /// A header for every request, such as `Authorization: Bearer TOKEN`; may be repeated.
    #[arg(long = "header", value_parser = parse_header, value_name = "NAME: VALUE")]
    headers: Vec<(HeaderName, HeaderValue)>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Print the final report as JSON.
    #[arg(long)]
    json: bool,
    /// Add to the JSON how many records of each stream were taken, and of which it is not known.
    #[arg(long, requires = "json")]
    sequences: bool,
}

fn signal_parser() -> impl TypedValueParser<Value = Signal> {
    let names = PossibleValuesParser::new(Signal::ALL.map(Signal::name));
    names.map(|name| Signal::from_name(&name).expect("the possible values are the signals' names"))
}

/// The error doesn't repeat the header: its value may be a secret.
fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let malformed = || "write a header as `Name: value`".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(malformed)?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| malformed())?;
    value.set_sensitive(true);
    Ok((name.trim().parse().map_err(|_| malformed())?, value))
}

impl From<&SendArgs> for SendSettings {
    fn from(args: &SendArgs) -> Self {
        let endless = args.duration.is_none() && args.requests.is_none();
        let usual = match args.protocol {
            SendProtocol::Http => "http://127.0.0.1:4318",
            SendProtocol::Grpc => "http://127.0.0.1:4317",
        };
        Self {
            endpoint: args.endpoint.clone().unwrap_or_else(|| usual.to_owned()),
            signal: args.signal,
            streams: args.streams,
            stream_prefix: args.stream_prefix.clone(),
            attribute: args.attribute.clone(),
            share_streams: args.share_streams,
            entries: args.entries,
            records: args.records,
            record_bytes: args.record_bytes,
            connections: args.connections,
            rate: args.rate,
            duration: if endless { Some(Duration::from_secs(10)) } else { args.duration },
            requests: args.requests,
            protocol: args.protocol,
            encoding: args.encoding,
            compression: args.compression,
            retry: args.retry,
            at_most_once: args.at_most_once,
            timeout: args.timeout,
            headers: args.headers.iter().cloned().collect(),
            tls: args.tls.settings(),
        }
    }
}

/// Runs the command to its end.
pub async fn run(args: SendArgs) -> ExitCode {
    let mut load = match Load::start(SendSettings::from(&args)) {
        Ok(load) => load,
        Err(error) => {
            say_line(format_args!("error: {error}"));
            return ExitCode::from(2);
        }
    };
    let mut ticks = interval(progress_interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut before = load.progress();
    loop {
        tokio::select! {
            () = load.ended() => break,
            _ = tokio::signal::ctrl_c() => load.stop(),
            _ = ticks.tick() => {
                let now = load.progress();
                if show_progress(&before, &now).is_err() {
                    load.stop();
                }
                before = now;
            }
        }
    }
    let report = load.finish().await;
    let text = if args.json {
        let mut all = json!(report);
        if args.sequences {
            all["sequences"] = json!(report.sequences);
        }
        format!("{all}\n")
    } else {
        report.to_string()
    };
    // A reader that has closed the pipe is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    if report.all_taken() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a line; the error says that nobody reads the output any more.
fn show_progress(before: &Report, now: &Report) -> io::Result<()> {
    let seconds = (now.seconds - before.seconds).max(1e-3);
    let per_second = |after: u64, before: u64| (after - before) as f64 / seconds;
    let latency = now.latency_ms.map_or_else(String::new, |latency| {
        format!("  p50 {:.2} ms  p99 {:.2} ms", latency.p50, latency.p99)
    });
    writeln!(
        io::stderr().lock(),
        "{:4.0} s  {:.0} requests/s  {:.0} records/s  {:.1} MB/s{latency}  {} failed  {} retried",
        now.seconds,
        per_second(now.requests, before.requests),
        per_second(now.records, before.records),
        per_second(now.bytes, before.bytes) / 1e6,
        now.failed,
        now.retries.values().sum::<u64>(),
    )
}
