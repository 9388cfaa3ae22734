//! The rows of a directory: what it takes to read them at the start, and how soon the change of one of them is in use.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::{TENANTS, TenantsArguments, stream_name};
use crate::Failure;
use crate::proxy::{Proxy, Tuning};
use crate::rig::Rig;
use crate::table::{Table, median};
use crate::wire::Passage;

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one run took.
struct Reading {
    /// Until Sluice was ready.
    ready: f64,
    cpu: f64,
    peak_mebibytes: f64,
    /// From a change of one row to the first request that was answered by it.
    change: f64,
}

pub(super) fn run(rig: &Rig, arguments: &TenantsArguments) -> Result<String, Failure> {
    let mut table = Table::new(&["tenants", "ready after s", "CPU s", "peak MiB", "a change in use after s"]);
    for tenants in TENANTS.into_iter().filter(|tenants| *tenants <= arguments.most) {
        let rows = tempfile::tempdir()?;
        for tenant in 0..tenants {
            write(rows.path(), &stream_name(tenant, tenants), "")?;
        }
        let mut readings = Vec::new();
        for _ in 0..arguments.runs {
            readings.push(measure(rig, rows.path(), &stream_name(tenants / 2, tenants))?);
        }
        let cell = |value: fn(&Reading) -> f64, digits: usize| {
            format!("{:.digits$}", median(readings.iter().map(value).collect()))
        };
        table.row(vec![
            tenants.to_string(),
            cell(|reading| reading.ready, 2),
            cell(|reading| reading.cpu, 2),
            cell(|reading| reading.peak_mebibytes, 0),
            cell(|reading| reading.change, 2),
        ]);
    }
    Ok(format!(
        "\n### Reading the table\n\n\
         A directory of rows with a sender, three values and two limits each, until Sluice is ready; and from the change of one of \
         its files to the first request that is answered by it. Medians of {} runs.\n\n{}",
        arguments.runs,
        table.render()
    ))
}

fn measure(rig: &Rig, rows: &Path, id: &str) -> Result<Reading, Failure> {
    let sink = rig.start_sink(Passage::PLAIN.outgoing)?;
    let tuning = Tuning {
        blocks: format!("tenants: {{ attribute: s2.stream, directory: '{}' }}\n", rows.display()),
        option: String::new(),
        ..Tuning::default()
    };
    let (proxy, ready) = Proxy::start_tuned(&rig.sluice, sink.addr(), &rig.certificates, &tuning)?;
    let (cpu, memory) = (proxy.cpu()?, proxy.memory());
    // Once the directory is watched, which the first change waits for, its event alone tells of a change.
    change(rig, &proxy, rows, id, "paused: true\n", 503)?;
    let change = change(rig, &proxy, rows, id, "", 200)?;
    Ok(Reading {
        ready: ready.as_secs_f64(),
        cpu,
        peak_mebibytes: memory.peak as f64 / 1_048_576.0,
        change: change.as_secs_f64(),
    })
}

/// Changes a row, and waits until a request of its tenant is answered with this status: how long that took.
fn change(
    rig: &Rig,
    proxy: &Proxy,
    rows: &Path,
    id: &str,
    more: &str,
    status: u16,
) -> Result<Duration, Failure> {
    let began = Instant::now();
    write(rows, id, more)?;
    while answer(proxy.addr, id)? != status {
        if began.elapsed() > PATIENCE {
            return Err(format!("a change of the row of `{id}` is not noticed").into());
        }
        rig.wait(Duration::from_millis(2));
    }
    Ok(began.elapsed())
}

/// The status that a request of a tenant is answered with.
fn answer(to: SocketAddr, id: &str) -> Result<u16, Failure> {
    let body = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"s2.stream","value":{{"stringValue":"{id}"}}}}]}},"scopeLogs":[{{"logRecords":[{{}}]}}]}}]}}"#
    );
    let mut connection = TcpStream::connect(to)?;
    write!(
        connection,
        "POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(status.ok_or_else(|| format!("no answer of HTTP: {answer}"))?)
}

/// Writes a row as a whole, with `more` in it.
fn write(directory: &Path, id: &str, more: &str) -> Result<(), Failure> {
    let new = directory.join(format!(".{id}.new"));
    fs::write(
        &new,
        format!(
            "id: {id}\n\
             senders: [{{ name: web, token: sender-of-{id}-0123456789abcdef }}]\n\
             values: {{ host: {id}.example.com, token: token-of-{id}-0123456789abcdef, dataset: prod }}\n\
             limits: {{ rate: 10MiB/s, streams: 1000 }}\n{more}"
        ),
    )?;
    fs::rename(new, directory.join(format!("{id}.yaml")))?;
    Ok(())
}
