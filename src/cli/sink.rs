//! `sluice sink`: its options, its progress, its report.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rig::sink::{Counts, Fault, RetryAfter, Sink, SinkSettings, StreamCounts};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::counted::counted;
use super::duration::parse_duration;
use super::standard_error::{progress_interval, say_line};
use crate::otlp::Signal;
use crate::receive::TlsServerSettings;
use crate::rounded::seconds;

/// A delay that is longer than any sender waits.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The most streams with missing or disordered records that the report names.
const NAMED_STREAMS: usize = 20;

/// How long requests that have arrived may still be answered at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Receive OTLP over HTTP and gRPC, count it and check its order
///
/// Ends on Ctrl-C, SIGTERM or after `--expect-records`, with a report. Exit status 1 if records are missing or
/// came out of order; duplicates are only reported, since a sender that gets no answer sends again.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  sluice sink
  sluice sink --attribute service.name --listen 127.0.0.1:4419
  sluice sink --status 503 --fail-for 3s
  sluice sink --status 401 --message 'the token has expired' --fault-stream 'acme*'")]
pub struct SinkArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:4418", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The resource attribute that names the stream.
    #[arg(long, default_value = "s2.stream", value_name = "NAME")]
    attribute: String,
    /// End as soon as this many records have arrived, duplicates not counted.
    #[arg(long, value_name = "RECORDS")]
    expect_records: Option<u64>,
    /// Speak TLS with this certificate chain, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Print the final report as JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    answer: AnswerArgs,
    /// Answer later.
    #[arg(long, value_parser = parse_duration, value_name = "TIME", help_heading = "Faults")]
    delay: Option<Duration>,
    /// Only the first N requests get the fault.
    #[arg(long, value_name = "N", conflicts_with_all = ["fail_ratio", "fail_for"], help_heading = "Faults")]
    fail_first: Option<u64>,
    /// Only this part of the requests, from 0 to 1, gets the fault, evenly spread.
    #[arg(long, value_name = "RATIO", conflicts_with = "fail_for", help_heading = "Faults")]
    fail_ratio: Option<f64>,
    /// The fault ends this long after the first request that it could hit.
    #[arg(long, value_parser = parse_duration, value_name = "TIME", help_heading = "Faults")]
    fail_for: Option<Duration>,
    /// Only requests with entries of these streams get the fault; `*` is any text.
    #[arg(long, value_name = "GLOB", help_heading = "Faults")]
    fault_stream: Option<String>,
    /// Answer 400 (`INVALID_ARGUMENT`) to requests that contain this text, ahead of any other fault.
    #[arg(long, value_name = "TEXT", help_heading = "Faults")]
    refuse_containing: Option<String>,
    /// Seconds of the `Retry-After`, or `RetryInfo`, that comes with `--status`.
    #[arg(long, value_name = "SECONDS", requires = "status", help_heading = "Faults")]
    retry_after: Option<u64>,
    /// Give `Retry-After` as a date.
    #[arg(long, requires = "retry_after", help_heading = "Faults")]
    retry_after_date: bool,
    /// The text of `--partial-success` or `--status`.
    #[arg(long, default_value = "the sink was told to say so", value_name = "TEXT", help_heading = "Faults")]
    message: String,
    /// Where `--redirect` points.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9/", help_heading = "Faults")]
    location: http::HeaderValue,
}

/// The answers that exclude each other.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
#[expect(clippy::struct_excessive_bools, reason = "one flag per answer, of which clap allows one")]
struct AnswerArgs {
    /// Refuse with this HTTP status, or the code of gRPC that stands for it (503: `UNAVAILABLE`).
    #[arg(long, value_parser = clap::value_parser!(u16).range(200..=599), help_heading = "Faults")]
    status: Option<u16>,
    /// Refuse with this redirect, to `--location`; calls of gRPC, too.
    #[arg(long, value_parser = clap::value_parser!(u16).range(300..=399), value_name = "STATUS", help_heading = "Faults")]
    redirect: Option<u16>,
    /// Take the request, but say that N of its records were rejected.
    #[arg(long, value_name = "N", help_heading = "Faults")]
    partial_success: Option<i64>,
    /// Reset the connection after so many bytes of a body.
    #[arg(long, value_name = "BYTES", help_heading = "Faults")]
    cut_after: Option<u64>,
    /// Take the request, but close the connection without an answer.
    #[arg(long, help_heading = "Faults")]
    cut_answer: bool,
    /// Read requests and never answer.
    #[arg(long, help_heading = "Faults")]
    hang: bool,
    /// Take the request, but answer 200 with a body that is no protobuf.
    #[arg(long, help_heading = "Faults")]
    garbage_body: bool,
    /// Answer with bytes that are not HTTP.
    #[arg(long, help_heading = "Faults")]
    not_http: bool,
}

impl SinkArgs {
    fn tls(&self) -> Option<TlsServerSettings> {
        let (cert_file, key_file) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        let (client_ca_file, reload_interval) = (None, Duration::ZERO);
        Some(TlsServerSettings { cert_file, key_file, client_ca_file, only_tls13: false, reload_interval })
    }

    fn faults(&self) -> Vec<Fault> {
        let poison = self.refuse_containing.as_ref().map(|text| Fault::status(400).on_text(text));
        poison.into_iter().chain(self.general_fault()).collect()
    }

    fn general_fault(&self) -> Option<Fault> {
        let mut fault = match &self.answer {
            AnswerArgs { status: Some(status), .. } => Fault::status(*status).message(&self.message),
            AnswerArgs { redirect: Some(status), .. } => {
                Fault::redirect(*status, String::from_utf8_lossy(self.location.as_bytes()))
            }
            AnswerArgs { partial_success: Some(rejected), .. } => {
                Fault::partial_success(*rejected, &self.message)
            }
            AnswerArgs { cut_after: Some(after), .. } => Fault::reset_after(*after),
            AnswerArgs { cut_answer: true, .. } => Fault::cut_answer(),
            AnswerArgs { hang: true, .. } => Fault::hang(),
            AnswerArgs { garbage_body: true, .. } => Fault::garbage_body(),
            AnswerArgs { not_http: true, .. } => Fault::not_http(),
            _ => {
                self.delay?;
                Fault::none()
            }
        };
        if let Some(seconds) = self.retry_after {
            let date = RetryAfter::Date(Duration::from_secs(seconds));
            fault =
                fault.retry_after(if self.retry_after_date { date } else { RetryAfter::Seconds(seconds) });
        }
        if let Some(delay) = self.delay {
            fault = fault.delayed(delay);
        }
        if let Some(glob) = &self.fault_stream {
            fault = fault.on_streams(glob);
        }
        Some(match (self.fail_first, self.fail_ratio, self.fail_for) {
            (Some(requests), ..) => fault.first(requests),
            (_, Some(ratio), _) => fault.ratio(ratio),
            (.., Some(time)) => fault.lasting(time),
            _ => fault,
        })
    }
}

/// Runs the command to its end.
pub async fn run(args: SinkArgs) -> ExitCode {
    let settings = SinkSettings {
        listen: args.listen,
        attribute: args.attribute.clone(),
        faults: args.faults(),
        record_requests: false,
        tls: args.tls(),
    };
    let (sink, mut terminate) = match (Sink::start(settings).await, signal(SignalKind::terminate())) {
        (Ok(sink), Ok(terminate)) => (sink, terminate),
        (Err(error), _) => {
            say_line(format_args!("error: {error}"));
            return ExitCode::FAILURE;
        }
        (_, Err(error)) => {
            say_line(format_args!("error: can't handle SIGTERM: {error}"));
            return ExitCode::FAILURE;
        }
    };
    say_line(format_args!("listening on {}", sink.url()));

    let started = Instant::now();
    let expected = async {
        match args.expect_records {
            Some(records) => drop(sink.wait_for_records(records, A_YEAR).await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = expected => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = show_progress(&sink, &args.attribute) => {}
    }
    let time = started.elapsed();
    // First, so that nothing is answered that the report doesn't count.
    sink.finish(LAST_ANSWERS).await;
    let counts = sink.counts();
    let report = if args.json {
        format!("{}\n", json_report(&sink, &counts, time))
    } else {
        report(&sink, &counts, time, &args.attribute)
    };
    // A reader that has closed the pipe is no failure.
    let _ = io::stdout().write_all(report.as_bytes());
    let complete =
        args.expect_records.is_none_or(|records| counts.records.saturating_sub(counts.duplicates) >= records);
    if complete && counts.in_order() && counts.malformed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a line at each [`progress_interval`] in which something has arrived, until nobody reads the output any more.
async fn show_progress(sink: &Sink, attribute: &str) -> io::Result<Infallible> {
    let mut ticks = interval(progress_interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    // From zero, so that the first line counts what has arrived before it.
    let (mut before, mut at) = (Counts::default(), Instant::now());
    loop {
        let now = ticks.tick().await;
        let counts = sink.counts();
        let seconds = (now - at).as_secs_f64().max(1e-3);
        if counts.requests != before.requests {
            let per_second = |after: u64, before: u64| (after - before) as f64 / seconds;
            writeln!(
                io::stderr().lock(),
                "{:.0} requests/s  {:.0} records/s  {:.1} MB/s  {} in {}  {} refused  \
                 {} missing  {} reordered  {} duplicates",
                per_second(counts.requests, before.requests),
                per_second(counts.records, before.records),
                per_second(counts.bytes, before.bytes) / 1e6,
                counts.by_signal,
                counted(counts.streams, "stream"),
                counts.refused,
                counts.missing,
                counts.reordered,
                counts.duplicates,
            )?;
            // Once, so that somebody sees it, and again in the report.
            if before.unnamed == 0
                && let Some(question) = unnamed(&counts, attribute)
            {
                writeln!(io::stderr().lock(), "{question}")?;
            }
        }
        (before, at) = (counts, now);
    }
}

/// A hint, if records have no attribute that names their stream.
fn unnamed(counts: &Counts, attribute: &str) -> Option<String> {
    let (unnamed, all) = (counts.unnamed, counts.records);
    (unnamed > 0).then(|| {
        format!("{unnamed} of {all} records without `{attribute}`, which count as one stream: is --attribute right?")
    })
}

/// The report for people at the end.
fn report(sink: &Sink, counts: &Counts, time: Duration, attribute: &str) -> String {
    let Counts { requests, accepted, refused, malformed, bytes, wire_bytes, .. } = counts;
    let Counts { records, unnumbered, missing, reordered, duplicates, .. } = counts;
    let mut lines = vec![
        format!("time        {:.1} s", time.as_secs_f64()),
        format!("requests    {requests} ({accepted} accepted, {refused} refused, {malformed} malformed)"),
        format!("bytes       {bytes} ({wire_bytes} on the wire)"),
        format!("entries     {}", counts.entries),
        format!("records     {records} ({unnumbered} without a sequence number)"),
        format!("signals     {}", counts.by_signal),
        format!("streams     {}", counts.streams),
        format!("order       {missing} missing, {reordered} reordered, {duplicates} duplicates"),
    ];
    if counts.rejected != 0 {
        lines.push(format!("rejected    {} (as partial success said)", counts.rejected));
    }
    lines.extend(in_trouble(sink).into_iter().take(NAMED_STREAMS).map(|(signal, key, stream)| {
        let StreamCounts { missing, reordered, duplicates, records, .. } = stream;
        format!("  {signal} `{key}`: {missing} missing, {reordered} reordered, {duplicates} duplicates of {records} records")
    }));
    lines.extend(unnamed(counts, attribute));
    lines.join("\n") + "\n"
}

fn json_report(sink: &Sink, counts: &Counts, time: Duration) -> serde_json::Value {
    let in_trouble = in_trouble(sink).into_iter().take(NAMED_STREAMS);
    let streams = in_trouble.map(|(signal, key, stream)| {
        json!({ "signal": signal.name(), "stream": key, "missing": stream.missing, "reordered": stream.reordered,
                "duplicates": stream.duplicates, "records": stream.records })
    });
    let mut report = json!(counts);
    report["seconds"] = json!(seconds(time));
    report["in_trouble"] = streams.collect();
    report
}

/// The streams with missing, disordered or duplicate records.
fn in_trouble(sink: &Sink) -> Vec<(Signal, String, StreamCounts)> {
    let all = Signal::ALL
        .into_iter()
        .flat_map(|signal| sink.streams(signal).into_iter().map(move |(key, stream)| (signal, key, stream)));
    all.filter(|(_, _, stream)| stream.missing + stream.reordered + stream.duplicates > 0).collect()
}
