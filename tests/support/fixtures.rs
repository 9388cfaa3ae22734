//! Requests of real SDKs, recorded: `tests/fixtures/SDK/REQUEST.ENCODING`. `tests/clients` makes them.

use std::fs;
use std::path::{Path, PathBuf};

use sluice::otlp::Signal;

use super::telemetry::Telemetry;

/// The SDKs of which there are recordings.
pub const SDKS: [&str; 4] = ["go", "java", "node", "python"];

/// How a recorded body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// OTLP/HTTP in protobuf.
    Protobuf,
    /// OTLP/HTTP in JSON.
    Json,
    /// OTLP/gRPC: one frame, its message compressed with gzip unless that would make it longer.
    Grpc,
}

impl Encoding {
    /// What the files' names end in.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Protobuf => "pb",
            Self::Json => "json",
            Self::Grpc => "grpc",
        }
    }
}

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its file.
    pub path: PathBuf,
    /// Its signal, which the file's name begins with.
    pub signal: Signal,
    /// Its body.
    pub body: Vec<u8>,
}

/// Where the recordings of an SDK are.
pub fn directory(sdk: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(sdk)
}

/// The recorded requests of an SDK in one encoding; none if it doesn't offer it.
pub fn recorded(sdk: &str, encoding: Encoding) -> Vec<Recorded> {
    let files = fs::read_dir(directory(sdk)).expect("there are recordings of this SDK");
    let mut paths: Vec<_> = files.map(|file| file.expect("the directory can be read").path()).collect();
    paths.sort();
    paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == encoding.extension()))
        .map(|path| {
            let name = path.file_stem().and_then(|name| name.to_str()).expect("names are UTF-8");
            let named = |signal: &Signal| name.starts_with(signal.name());
            let signal = Signal::ALL.into_iter().find(named).expect("a name begins with a signal");
            Recorded { signal, body: fs::read(&path).expect("the file can be read"), path }
        })
        .collect()
}

/// What the recordings of an SDK say, as those in protobuf have it.
pub fn telemetry(sdk: &str) -> Telemetry {
    let mut all = Telemetry::default();
    for request in recorded(sdk, Encoding::Protobuf) {
        all.add(request.signal, &request.body);
    }
    all
}
