//! What leaves: the means of sending, the waits between attempts, and what becomes of batches nobody takes.

mod backoff;
mod dead_letter;
mod debug;
mod file;
mod file_name;
mod http;
mod settings;
mod transport;
mod utc;

pub use self::http::{HttpTarget, HttpTransport, ProxyError, TlsError, UrlError};
pub use backoff::{Backoff, LONGEST_RETRY_AFTER};
pub use dead_letter::{DeadLetters, Letter, Letters, StoreError, StoredLetter, letters};
pub use debug::{DebugTarget, DebugTransport};
pub use file::{FileTarget, FileTransport};
pub use settings::{
    Compression, DeadLetterSettings, DebugSettings, Encoding, ExporterKind, ExporterSettings, FileSettings,
    OtlpHttpSettings, RetrySettings, SecretTemplate, TlsClientSettings,
};
pub use transport::{Answer, Outcome, Target, TargetError, Transport, TransportError};
