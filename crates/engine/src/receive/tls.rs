//! TLS towards senders: the certificate that is shown, the authorities that are trusted, and both again when the files change.
//!
//! A connection keeps the certificate of its handshake, so that a new one closes no connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::pem::{Pem, PemError};

/// `tls` of a receiver. Files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsServerSettings {
    /// The certificate chain, the server's own certificate first.
    pub cert_file: PathBuf,
    /// The key of that certificate.
    pub key_file: PathBuf,
    /// Authorities of which every sender has to show a certificate.
    pub client_ca_file: Option<PathBuf>,
    /// TLS 1.3 alone.
    pub only_tls13: bool,
    /// How long the files are taken to be unchanged; zero: until the next reload of the configuration.
    pub reload_interval: Duration,
}

/// The TLS server of one listener: the files that its settings name, as they were when last looked at.
#[derive(Debug)]
pub struct TlsServer {
    settings: TlsServerSettings,
    state: Mutex<LoadedServerTls>,
}

#[derive(Debug)]
struct LoadedServerTls {
    config: Arc<ServerConfig>,
    /// When a certificate of that chain ends, the first of them.
    certificate_expiry: Option<SystemTime>,
    /// The files that were read last, even if they could not be used, so that a bad file is logged once.
    files: Option<TlsServerFiles>,
    checked: Instant,
}

impl TlsServer {
    /// Reads the files. Blocks.
    pub fn load(settings: TlsServerSettings) -> Result<Self, PemError> {
        let files = TlsServerFiles::read(&settings)?;
        let config = Arc::new(files.config(&settings)?);
        let certificate_expiry = files.cert.expiry();
        let state =
            LoadedServerTls { config, certificate_expiry, files: Some(files), checked: Instant::now() };
        Ok(Self { settings, state: Mutex::new(state) })
    }

    /// The file of the server's certificate.
    pub fn certificate_file(&self) -> &Path {
        &self.settings.cert_file
    }

    /// Whether every sender has to show a certificate that one of the configured authorities has signed.
    pub fn demands_certificates(&self) -> bool {
        self.settings.client_ca_file.is_some()
    }

    /// When the certificate that is shown ends, or one of its chain before it.
    pub fn certificate_expiry(&self) -> Option<SystemTime> {
        self.state.lock().certificate_expiry
    }

    /// The configuration for a new connection. Reads the files again if that was too long ago; if they can't be used, the last good
    /// ones stay in use, with a warning.
    pub async fn current(&self) -> Arc<ServerConfig> {
        let interval = self.settings.reload_interval;
        let known = {
            let mut state = self.state.lock();
            if interval.is_zero() || state.checked.elapsed() < interval {
                return state.config.clone();
            }
            // Other handshakes go on with the current files while this one reads them.
            state.checked = Instant::now();
            state.files.clone()
        };
        let settings = self.settings.clone();
        let read = tokio::task::spawn_blocking(move || {
            let files = TlsServerFiles::read(&settings)?;
            let config = (Some(&files) != known.as_ref()).then(|| files.config(&settings));
            Ok::<_, PemError>((files, config))
        });
        let read = read.await.expect("reading certificates neither panics nor is aborted");
        let mut state = self.state.lock();
        match read {
            Ok((_, None)) => {}
            Ok((files, Some(Ok(config)))) => {
                info!(certificate = %self.settings.cert_file.display(), "TLS files changed: new connections use them");
                (state.config, state.certificate_expiry) = (Arc::new(config), files.cert.expiry());
                state.files = Some(files);
            }
            Ok((files, Some(Err(error)))) => {
                warn!(%error, "changed TLS files can't be used: the last good ones stay in use");
                state.files = Some(files);
            }
            Err(error) => {
                // Said once as well; files that are back will be looked at as if they had changed.
                if state.files.take().is_some() {
                    warn!(%error, "TLS files can't be read: the last good ones stay in use");
                }
            }
        }
        state.config.clone()
    }
}

/// Settings are compared; what the files hold is not a setting.
impl PartialEq for TlsServer {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl Eq for TlsServer {}

#[derive(Clone, Debug, PartialEq, Eq)]
struct TlsServerFiles {
    cert: Pem,
    key: Pem,
    client_ca: Option<Pem>,
}

impl TlsServerFiles {
    fn read(settings: &TlsServerSettings) -> Result<Self, PemError> {
        let client_ca = settings.client_ca_file.as_ref();
        Ok(Self {
            cert: Pem::read("cert_file", &settings.cert_file)?,
            key: Pem::read("key_file", &settings.key_file)?,
            client_ca: client_ca.map(|path| Pem::read("client_ca_file", path)).transpose()?,
        })
    }

    fn config(&self, settings: &TlsServerSettings) -> Result<ServerConfig, PemError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[_] = if settings.only_tls13 { &[&TLS13] } else { &[&TLS13, &TLS12] };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .expect("ring has the suites of TLS 1.2 and 1.3");
        let builder = match &self.client_ca {
            Some(client_ca) => {
                let authorities = Arc::new(client_ca.authorities()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider)
                    .build()
                    .map_err(|error| client_ca.no("certificate", error))?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(self.cert.certificates()?, self.key.key()?)
            .map_err(|error| PemError::Identity(error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}
