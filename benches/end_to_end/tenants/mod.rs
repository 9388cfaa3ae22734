//! Tenants with a credential each behind one exporter: what that costs beside one credential for all, and what their table does.

mod rows;

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use rig::send::SendSettings;

use crate::Failure;
use crate::proxy::{Proxy, Tuning};
use crate::rig::Rig;
use crate::table::{Table, median};
use crate::wire::Passage;

/// Tenants of each case.
const TENANTS: [usize; 4] = [1, 100, 10_000, 100_000];
/// Bytes of a record, and records in an entry.
const RECORD: usize = 1_000;
const RECORDS: usize = 11;
/// Entries in a request, each of another tenant where there are so many.
const ENTRIES: usize = 10;
/// How long everything may take to be delivered.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Args)]
pub(crate) struct TenantsArguments {
    /// Requests of 110 kB in each run.
    #[arg(long, default_value_t = 20_000)]
    requests: u64,
    /// Runs of each case; medians are shown.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Only cases of at most so many tenants.
    #[arg(long, default_value_t = 100_000)]
    most: usize,
}

impl Default for TenantsArguments {
    fn default() -> Self {
        Self { requests: 20_000, runs: 3, most: 100_000 }
    }
}

/// Where the credential stands that the upstream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credential {
    /// In the exporter.
    Shared,
    /// In the row of each tenant.
    Own,
}

impl Credential {
    /// The option of the exporter.
    fn option(self) -> &'static str {
        match self {
            Self::Shared => "headers: { Authorization: Bearer shared-0123456789abcdef }",
            Self::Own => "headers: { Authorization: \"Bearer {{ tenant.token }}\" }",
        }
    }
}

/// What one run took.
#[derive(Debug)]
struct Cost {
    cpu_per_gigabyte: f64,
    resident: u64,
}

/// Measures, and returns a Markdown section.
pub(crate) fn run(rig: &Rig, arguments: &TenantsArguments) -> Result<String, Failure> {
    let mut table = Table::new(&[
        "tenants",
        "one credential, CPU s/GB",
        "one each, CPU s/GB",
        "ratio",
        "memory before load, MiB",
    ]);
    for tenants in TENANTS.into_iter().filter(|tenants| *tenants <= arguments.most) {
        let rows = tempfile::tempdir()?;
        write_rows(rows.path(), tenants)?;
        let (mut shared, mut own, mut resident) = (Vec::new(), Vec::new(), 0);
        // In turn, so that what else the machine does is spread over both.
        for _ in 0..arguments.runs {
            shared.push(measure(rig, arguments, tenants, rows.path(), Credential::Shared)?.cpu_per_gigabyte);
            let cost = measure(rig, arguments, tenants, rows.path(), Credential::Own)?;
            resident = cost.resident;
            own.push(cost.cpu_per_gigabyte);
        }
        let (shared, own) = (median(shared), median(own));
        table.row(vec![
            tenants.to_string(),
            format!("{shared:.2}"),
            format!("{own:.2}"),
            format!("{:.2}", own / shared),
            format!("{:.0}", resident as f64 / 1_048_576.0),
        ]);
    }
    let reading = rows::run(rig, arguments)?;
    Ok(format!(
        "## Tenants\n\n\
         Requests of 110 kB with {ENTRIES} entries, each of another tenant where there are so many; one exporter and one route. The \
         credential stands in the exporter, or in the row of each tenant. Medians of {} runs of {} requests.\n\n{}{reading}",
        arguments.runs,
        arguments.requests,
        table.render()
    ))
}

fn measure(
    rig: &Rig,
    arguments: &TenantsArguments,
    tenants: usize,
    rows: &Path,
    credential: Credential,
) -> Result<Cost, Failure> {
    let sink = rig.start_sink(Passage::PLAIN.outgoing)?;
    let tuning = Tuning {
        blocks: format!("tenants: {{ attribute: s2.stream, directory: '{}' }}\n", rows.display()),
        option: credential.option().to_owned(),
        ..Tuning::default()
    };
    let (proxy, _) = Proxy::start_tuned(&rig.sluice, sink.addr(), &rig.certificates, &tuning)?;
    let (before, resident) = (proxy.cpu()?, proxy.memory().resident);
    let report = rig.run_load(SendSettings {
        streams: tenants,
        share_streams: true,
        entries: ENTRIES.min(tenants),
        records: RECORDS * (ENTRIES / ENTRIES.min(tenants)),
        record_bytes: RECORD,
        connections: 8,
        requests: Some(arguments.requests),
        ..SendSettings::new(format!("http://{}", proxy.addr))
    })?;
    rig.wait_for_records(&sink, report.records, PATIENCE)?;
    if !report.all_taken() || sink.counts().requests == 0 {
        return Err(format!("not everything was taken: {report}").into());
    }
    let gigabytes = (report.records * RECORD as u64) as f64 / 1e9;
    Ok(Cost { cpu_per_gigabyte: (proxy.cpu()? - before) / gigabytes, resident })
}

/// A row for each stream that the load sends.
fn write_rows(directory: &Path, tenants: usize) -> Result<(), Failure> {
    for tenant in 0..tenants {
        let id = stream_name(tenant, tenants);
        let row = format!("id: {id}\nvalues: {{ token: token-of-{id}-0123456789abcdef }}\n");
        fs::write(directory.join(format!("{id}.yaml")), row)?;
    }
    Ok(())
}

/// As the load names its streams: all names are of one length.
fn stream_name(stream: usize, streams: usize) -> String {
    let digits = (streams - 1).max(1).ilog10() as usize + 1;
    format!("stream-{stream:0digits$}")
}
