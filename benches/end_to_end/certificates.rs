//! The certificate of proxies and upstream, in the files that each of them wants.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sluice::client::TlsClientSettings;
use sluice::receive::TlsServerSettings;

use crate::Failure;
use crate::tls::Authority;

/// An authority, and what it signed for `127.0.0.1`.
pub(crate) struct Certificates(Authority);

impl Certificates {
    pub(crate) fn new() -> Result<Self, Failure> {
        let authority = Authority::new("bench");
        let identity = authority.sign("127.0.0.1");
        authority.write("server", &identity);
        fs::write(authority.path("both.pem"), identity.certificate + &identity.key)?;
        Ok(Self(authority))
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.0.path("ca.pem")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.path("server.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.path("server.key")
    }

    /// Certificate and key in one file.
    pub(crate) fn both(&self) -> PathBuf {
        self.0.path("both.pem")
    }

    /// For the load generator.
    pub(crate) fn client(&self) -> TlsClientSettings {
        TlsClientSettings { ca_file: Some(self.authority()), ..TlsClientSettings::default() }
    }

    /// For the upstream.
    pub(crate) fn server(&self) -> TlsServerSettings {
        TlsServerSettings {
            cert_file: self.certificate(),
            key_file: self.key(),
            client_ca_file: None,
            only_tls13: false,
            reload_interval: Duration::ZERO,
        }
    }
}
