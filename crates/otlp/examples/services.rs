//! Divides a request by `service.name` and says how many records and bytes each service has in it, and what is not valid.
//!
//! ```sh
//! cargo run -p otlp --example services traces < tests/fixtures/specification/trace.json
//! ```
//!
//! Standard input is one request of the signal, in protobuf or JSON.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read as _, stdin};

use otlp::{Found, ReadValue, Signal};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let signal = Signal::from_name(&name).ok_or("name a signal: traces, metrics or logs")?;
    let mut request = Vec::new();
    stdin().read_to_end(&mut request)?;
    if request.trim_ascii_start().starts_with(b"{") {
        // A server would ask its budget whether there is room for this many bytes more.
        let mut room = |_bytes| true;
        let transcoded =
            otlp::read_request(signal, &request, &mut room).map_err(|untaken| format!("{untaken:?}"))?;
        request = transcoded.bytes;
    }

    let split = otlp::split(signal, &request).map_err(|malformed| format!("{malformed:?}"))?;
    let mut services = BTreeMap::<String, (u64, usize)>::new();
    for entry in &split.entries {
        let mut found = [Found::Absent];
        otlp::find(entry.resource(), &["service.name"], &mut found);
        let service = match found[0] {
            Found::Value(ReadValue::Text(text)) => text.to_owned(),
            _ => "(none)".to_owned(),
        };
        let (records, bytes) = services.entry(service).or_default();
        *records += entry.records;
        *bytes += otlp::frame_len(entry.bytes.len());
    }
    for (service, (records, bytes)) in services {
        println!("{service}: {records} records in {bytes} bytes");
    }
    for cut in &split.cuts {
        println!("left out: {} ({} records): {}", cut.path, cut.records, cut.reason);
    }
    Ok(())
}
