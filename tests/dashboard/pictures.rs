//! Pictures of the dashboard for the documentation: `make pictures`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use rig::sink::Fault;
use serde_json::json;
use sluice::otlp::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::setup::check;
use crate::support::payload::{entry_of, filler, request, resource};
use crate::support::{Sluice, sinks};

/// How long records pass before the pictures are taken, so that the charts show something.
const BEFORE: Duration = Duration::from_secs(300);

/// Where records go, how many entries of it there are in a request, and the tenants that send them.
const TRAFFIC: [(&str, usize, [&str; 3]); 3] = [
    ("s2", 9, ["acme", "initech", "umbrella"]),
    ("highlight", 3, ["globex", "hooli", "acme"]),
    ("better-stack", 4, ["initech", "hooli", "stark"]),
];

/// Sends the traffic, which swells and shrinks, without an end.
async fn keep_sending(sluice: &Sluice) {
    let (began, text) = (Instant::now(), filler("GET /checkout 200 in 41 ms", 400));
    for round in 0_usize.. {
        let seconds = began.elapsed().as_secs_f32();
        for (number, (to, entries, tenants)) in TRAFFIC.into_iter().enumerate() {
            let signal = Signal::ALL[(round + number) % 3];
            let swing = 1.0 + 0.5 * (seconds / (17.0 + 6.0 * number as f32)).sin();
            let count = (entries as f32 * swing).round() as usize;
            let all: Vec<_> = (0..count)
                .map(|entry| {
                    let (tenant, service) = (tenants[entry % 3], format!("service-{}", entry % 7));
                    let attributes = [("to", to), ("tenant.id", tenant), ("service.name", service.as_str())];
                    entry_of(signal, resource(&attributes), &[text.as_str(); 5])
                })
                .collect();
            sluice.accept(signal, request(&all)).await;
        }
        sleep(Duration::from_millis(15)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes five minutes and writes into docs"]
async fn pictures_for_the_documentation() {
    let (s2, highlight, better_stack) =
        (sinks::counting().await, sinks::counting().await, sinks::counting().await);
    let tenants = tempfile::tempdir().unwrap();
    for id in ["acme", "globex", "hooli", "initech", "stark", "umbrella"] {
        let row = format!("id: {id}\nsenders: [{{ name: default, token: the-token-of-{id}-0123456789 }}]\n");
        std::fs::write(tenants.path().join(format!("{id}.yaml")), row).unwrap();
    }
    let mut yaml = format!(
        "journal: {{ directory: '@DIR@/journal', max_size: 1GiB }}\ndead_letter: {{ directory: '@DIR@/letters' }}\n\
         tenants: {{ directory: '{}', attribute: tenant.id }}\nexporters:\n  file/local: {{ path: '@DIR@/local' }}\n",
        tenants.path().display()
    );
    for (name, up) in [("s2", &s2), ("highlight", &highlight), ("better-stack", &better_stack)] {
        writeln!(yaml, "  otlp_http/{name}: {{ endpoint: '{}', compression: none }}", up.url()).unwrap();
    }
    yaml += "routes:\n";
    for (name, ..) in TRAFFIC {
        writeln!(yaml, "  - {{ name: {name}, match: {{ to: {name} }}, key: service.name, exporters: [otlp_http/{name}] }}").unwrap();
    }
    yaml += "  - { name: rest, exporters: [file/local] }\n";
    let sluice = Sluice::start(&yaml).await;

    timeout(BEFORE * 3 / 4, keep_sending(&sluice)).await.unwrap_err();
    highlight.set_fault(Fault::status(401).message("this token has expired"));
    timeout(BEFORE / 4, keep_sending(&sluice)).await.unwrap_err();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    std::fs::create_dir_all(&target).unwrap();
    let facts = json!({ "target": target });
    tokio::select! {
        () = check("pictures.mjs", sluice.admin, &facts) => {}
        () = keep_sending(&sluice) => unreachable!("it has no end"),
    }
}
