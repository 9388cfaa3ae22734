//! How commands speak `https`.

use std::path::PathBuf;

use clap::Args;

use crate::client::TlsClientSettings;

/// For `https`.
#[derive(Args, Clone, Debug)]
pub(super) struct TlsArgs {
    /// For `https`: the certificates to trust instead of the system's, in PEM.
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// For `https`: trust whoever answers.
    #[arg(long, global = true)]
    insecure_skip_verify: bool,
    /// For `https`: the certificate to show, in PEM; needs `--key-file`.
    #[arg(long, global = true, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// For `https`: the key of that certificate, in PEM.
    #[arg(long, global = true, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
}

impl TlsArgs {
    /// The TLS settings of these options.
    pub(super) fn settings(&self) -> TlsClientSettings {
        TlsClientSettings {
            ca_file: self.ca_file.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            ..TlsClientSettings::default()
        }
    }
}
