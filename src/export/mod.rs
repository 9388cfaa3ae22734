//! What leaves.

mod settings;

pub use settings::{
    Compression, DeadLetterSettings, DebugSettings, Encoding, ExporterKind, ExporterSettings, FileSettings,
    OtlpHttpSettings, RetrySettings, SecretTemplate, TlsClientSettings,
};
