//! What leaves: one [`Exporter`] for each configured upstream, the means of sending, the waits between attempts, and
//! what becomes of batches that nobody takes.

mod backoff;
mod counters;
mod dead_letter;
mod debug;
mod deliver;
mod exporter;
mod file;
mod file_name;
mod http;
mod settings;
mod transport;
mod utc;

pub use self::http::{FRAMING_HEADERS, HttpTarget, HttpTransport, ProxyError, TlsError, UrlError};
pub use backoff::Backoff;
pub use counters::{Counters, Fate};
pub use dead_letter::{DeadLetters, Letter, Letters, StoreError, StoredLetter, letters};
pub use debug::{DebugTarget, DebugTransport};
pub use exporter::{Active, DeadLetterBox, Exporter, SHED, bury};
pub use file::{FileTarget, FileTransport};
pub use settings::{
    Compression, DeadLetterSettings, DebugSettings, Encoding, ExporterKind, ExporterSettings, FileSettings,
    OtlpHttpSettings, RetrySettings, SecretTemplate, TlsClientSettings,
};
pub use transport::{Answer, Conditions, Outcome, Target, TargetError, Transport, TransportError};
pub use utc::rfc3339;
