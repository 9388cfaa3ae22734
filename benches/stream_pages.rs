//! Pages of `GET /api/v1/streams` and `GET /api/v1/tenants` over the admin listener, with a million live streams of a hundred tenants,
//! each of which has one entry that is pending: how long each order and filter takes, and what that does to requests that come at the
//! same time.
//!
//! `STREAMS=100000 TENANTS=100000 cargo bench --bench stream_pages` does it with fewer streams or more tenants.

#![allow(clippy::disallowed_methods, reason = "real time is what is measured here")]

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use sluice::cli;
use sluice::config::ConfigSource;
use sluice::run::{Role, Router};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Entries of a request that fills the streams.
const ENTRIES: usize = 1000;

/// How often each page is asked for.
const TIMES: usize = 15;

/// Requests that come at the same time are this far apart.
const PACE: Duration = Duration::from_millis(1);

/// For how long they come.
const WHILE: Duration = Duration::from_secs(4);

const QUERIES: [&str; 20] = [
    "limit=100",
    "limit=100&sort=-oldest",
    "limit=100&sort=key",
    "limit=100&sort=-key",
    "limit=100&sort=exporter",
    "limit=100&sort=tenant",
    "limit=100&sort=-tenant",
    "limit=100&sort=pending_bytes",
    "limit=100&sort=-pending_bytes",
    "limit=100&sort=-delivered_records",
    "limit=100&sort=-failed_attempts",
    "limit=100&sort=-last_error",
    "limit=100&key=77",
    "limit=100&tenant=tenant-42&sort=key",
    "limit=100&signal=logs&state=waiting",
    "limit=1000",
    "limit=300&skip={middle}",
    "limit=300&sort=key&skip={middle}",
    "limit=300&sort=-pending_bytes&skip={middle}",
    "limit=300&sort=key&skip={end}",
];

const TENANT_QUERIES: [&str; 12] = [
    "limit=3",
    "limit=100",
    "limit=100&sort=oldest",
    "limit=100&sort=pending",
    "limit=100&sort=rate",
    "limit=100&q=77",
    "limit=100&state=failing",
    "limit=100&sort=state",
    "limit=1000",
    "limit=300&skip={middle}",
    "limit=300&skip={end}",
    "limit=300&sort=pending&skip={middle}",
];

type Failure = Box<dyn Error + Send + Sync>;

/// Whatever is pending stays so.
fn configuration(tenants: usize) -> String {
    let tenants: Vec<String> =
        (0..tenants).map(|tenant| format!("    - {{ id: tenant-{tenant} }}\n")).collect();
    let tenants = tenants.concat();
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0 }} }} }} }}\n\
         admin: {{ endpoint: 127.0.0.1:0 }}\n\
         limits: {{ memory: 8GiB, streams: 2000000 }}\n\
         exporters: {{ otlp_http/up: {{ endpoint: 'http://127.0.0.1:9', sending_queue: {{ batch: {{ flush_timeout: 10h, min_size: 100KiB, max_size: 200KiB }} }} }} }}\n\
         routes: [{{ tenants: '*', key: stream, exporters: [otlp_http/up] }}]\n\
         tenants:\n  list:\n{tenants}"
    )
}

/// Entries of these streams, each of which is one of so many tenants'.
fn request(streams: impl Iterator<Item = usize>, tenants: usize) -> Vec<u8> {
    let attribute = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        ..KeyValue::default()
    };
    let entry = |stream: usize| {
        let body = Some(AnyValue { value: Some(Value::StringValue("x".repeat(20 + stream % 50))) });
        let log_records = vec![LogRecord { body, ..LogRecord::default() }];
        let attributes = vec![
            attribute("tenant.id", format!("tenant-{}", stream % tenants)),
            attribute("stream", format!("stream-{stream:07}")),
        ];
        ResourceLogs {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }
    };
    ExportLogsServiceRequest { resource_logs: streams.map(entry).collect() }.encode_to_vec()
}

/// A connection that asks one thing after the other.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn new(to: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Returns the body of an answer that has to be a success.
    fn ask(&mut self, head: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut request =
            format!("{head} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len()).into_bytes();
        request.extend_from_slice(b"content-type: application/x-protobuf\r\n\r\n");
        request.extend_from_slice(body);
        self.0.get_mut().write_all(&request)?;
        let (mut line, mut length, mut status) = (String::new(), 0, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let text = line.trim_end().to_ascii_lowercase();
            if text.is_empty() {
                break;
            }
            if status.is_empty() {
                status.clone_from(&text);
            }
            if let Some(value) = text.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        if !status.contains(" 200 ") {
            return Err(format!("{head}: {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(body)
    }
}

fn fill(receiver: SocketAddr, streams: usize, tenants: usize) -> Result<(), Failure> {
    let mut connection = Connection::new(receiver)?;
    for first in (0..streams).step_by(ENTRIES) {
        // In an order that has nothing to do with that of the keys.
        let of_request = (first..(first + ENTRIES).min(streams)).map(|at| at * 7_919_797 % streams);
        connection.ask("POST /v1/logs", &request(of_request, tenants))?;
    }
    Ok(())
}

/// What the process has in memory.
fn resident_bytes() -> Result<u64, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("statm has fields")?.parse()?;
    Ok(pages * 4096)
}

/// Times in milliseconds.
struct Times(Vec<f64>);

impl Times {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort();
        Self(all.into_iter().map(|time| time.as_secs_f64() * 1000.0).collect())
    }

    fn quantile(&self, quantile: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * quantile).round() as usize]
    }
}

/// Sends requests at their pace until `until`; returns how long after they were due they were answered.
fn send(receiver: SocketAddr, until: Instant, streams: usize, tenants: usize) -> Result<Times, Failure> {
    let mut connection = Connection::new(receiver)?;
    let (mut due, mut times) = (Instant::now(), Vec::new());
    while due < until {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let of_request = (0..10).map(|nth| (times.len() * 10 + nth) % streams);
        connection.ask("POST /v1/logs", &request(of_request, tenants))?;
        times.push(due.elapsed());
        due += PACE;
    }
    Ok(Times::of(times))
}

fn main() -> Result<(), Failure> {
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).ok().map_or(Ok(otherwise), |number| number.parse::<usize>())
    };
    let (streams, tenants) = (number("STREAMS", 1_000_000)?, number("TENANTS", 100)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("sluice.yaml");
    std::fs::write(&config, configuration(tenants))?;
    let router = runtime.block_on(Router::start(ConfigSource::File(config), |_| None, cli::run::serve()))?;
    let (receiver, admin) = runtime
        .block_on(async { (router.addresses(Role::Otlp).await[0], router.addresses(Role::Admin).await[0]) });

    let (began, before) = (Instant::now(), resident_bytes()?);
    fill(receiver, streams, tenants)?;
    let exporters = router.exporters();
    assert_eq!(exporters[0].registry().len(), streams);
    println!(
        "## Pages of {streams} streams of {tenants} tenants\n\nFilled in {:.1} s; {:.2} KiB resident for each stream, its entry included.\n",
        began.elapsed().as_secs_f64(),
        (resident_bytes()? - before) as f64 / streams as f64 / 1024.0
    );

    println!("| page | median, ms | slowest of {TIMES}, ms |\n|---|---:|---:|");
    let mut connection = Connection::new(admin)?;
    let path = |list: &str, query: &str, rows: usize| {
        let end = rows.saturating_sub(100).to_string();
        let query = query.replace("{middle}", &(rows / 2).to_string()).replace("{end}", &end);
        format!("/api/v1/{list}?{query}")
    };
    let lists = QUERIES.map(|query| path("streams", query, streams));
    let of_tenants = TENANT_QUERIES.map(|query| path("tenants", query, tenants));
    let others = ["/api/v1/exporters", "/metrics"].map(str::to_owned);
    for path in lists.iter().chain(&of_tenants).chain(&others) {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let asked = Instant::now();
            connection.ask(&format!("GET {path}"), b"")?;
            times.push(asked.elapsed());
        }
        let times = Times::of(times);
        println!("| `{path}` | {:.1} | {:.1} |", times.quantile(0.5), times.quantile(1.0));
    }

    println!(
        "\n| requests of ten entries, one each millisecond | p50, ms | p99, ms | slowest, ms |\n|---|---:|---:|---:|"
    );
    let show = |what: &str, times: &Times| {
        println!(
            "| {what} | {:.2} | {:.2} | {:.2} |",
            times.quantile(0.5),
            times.quantile(0.99),
            times.quantile(1.0)
        );
    };
    show("nobody looks", &send(receiver, Instant::now() + WHILE, streams, tenants)?);
    let (of_streams, of_tenants) =
        ("GET /api/v1/streams?limit=100&sort=key", "GET /api/v1/tenants?limit=100&sort=oldest");
    for (what, page, pause) in [
        ("a page of streams each second", of_streams, Duration::from_secs(1)),
        ("one page of streams after the other", of_streams, Duration::ZERO),
        ("one page of tenants after the other", of_tenants, Duration::ZERO),
    ] {
        let ended = Arc::new(AtomicBool::new(false));
        let looking = {
            let ended = ended.clone();
            thread::spawn(move || -> Result<(), Failure> {
                let mut connection = Connection::new(admin)?;
                while !ended.load(Ordering::Relaxed) {
                    connection.ask(page, b"")?;
                    thread::sleep(pause);
                }
                Ok(())
            })
        };
        let times = send(receiver, Instant::now() + WHILE, streams, tenants)?;
        ended.store(true, Ordering::Relaxed);
        looking.join().expect("looking doesn't panic")?;
        show(what, &times);
    }
    // A million streams are not sent anywhere.
    std::process::exit(0);
}
