//! Where and with what it was measured.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::SystemTime;

use crate::proxy::Kind;
use crate::rig::Rig;

/// A Markdown list: date, machine, versions.
pub(crate) fn describe(rig: &Rig) -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        memory.split_ascii_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    let cores = available_parallelism().map_or(0, usize::from);
    let mut lines = vec![
        format!("- measured {}", httpdate::fmt_http_date(SystemTime::now())),
        format!(
            "- {cores} cores of {}, {:.0} GiB, Linux {}",
            field("model name"),
            kib / 1_048_576.0,
            kernel.trim()
        ),
        "- load generator, proxy and upstream on the same machine; two worker threads (processes) per proxy"
            .to_owned(),
    ];
    for (kind, flag) in [
        (Kind::Haproxy, "-v"),
        (Kind::Nginx, "-v"),
        (Kind::Collector, "--version"),
        (Kind::Rotel, "--version"),
        (Kind::Sluice, "--version"),
    ] {
        let version = kind.program(&rig.sluice).and_then(|program| {
            let output = Command::new(program).arg(flag).output().ok()?;
            // nginx tells its version on standard error.
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
        });
        lines.push(format!("- {kind}: {}", version.unwrap_or_else(|| "not there".to_owned())));
    }
    lines.push(String::new());
    lines.join("\n")
}
