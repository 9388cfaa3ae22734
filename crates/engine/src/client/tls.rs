//! TLS towards upstreams: the trusted roots, our certificate, and both again when the files change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use thiserror::Error;
use tokio::time::Instant;
use tracing::{info, warn};

use super::system_roots::SystemRoots;
use crate::pem::{Pem, PemError};

/// How long the files are taken to be unchanged. A new connection after this time has them read again.
const RECHECK: Duration = Duration::from_secs(10);

/// `tls` of an exporter. Files are read when the exporter is set up, and again before a connection if they changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsClientSettings {
    /// PEM roots that replace the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM client certificate chain.
    pub cert_file: Option<PathBuf>,
    /// PEM key of the client certificate.
    pub key_file: Option<PathBuf>,
    /// Accept any server certificate.
    pub insecure_skip_verify: bool,
    /// The name to ask for and to verify, instead of the URL's host.
    pub server_name_override: Option<String>,
    /// TLS 1.3 alone.
    pub only_tls13: bool,
}

/// Why TLS can't be set up. The messages name the file and what to do.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be used.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// One of the two files of a client certificate is missing.
    #[error("`tls.{given}` needs `tls.{missing}` as well")]
    HalfIdentity {
        /// The option that is there.
        given: &'static str,
        /// The option that is not.
        missing: &'static str,
    },
    /// The system has no trusted roots.
    #[error(
        "the system has no trusted root certificates: install them (`ca-certificates`) or set `tls.ca_file`"
    )]
    NoRoots,
    /// The name to verify, which may have come from a file and is not shown, is not a host name or address.
    #[error(
        "the name that is verified, `tls.server_name_override` or the host, is not a host name or address that a certificate could be for"
    )]
    Name,
}

/// The TLS client of one exporter.
#[derive(Debug)]
pub(crate) struct Tls {
    settings: TlsClientSettings,
    /// The protocol that is asked for (ALPN).
    protocol: &'static [u8],
    /// Trusted where no `ca_file` is configured.
    system: &'static SystemRoots,
    state: Mutex<Option<LoadedClientTls>>,
    /// Held while the files are read for the first time, which the first connections all wait for: read by each of them,
    /// each would have a configuration of its own and void the connections of the others.
    first: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct LoadedClientTls {
    config: Arc<ClientConfig>,
    /// Goes up with every change; a pooled connection of an older one is not used again.
    generation: u64,
    /// When a certificate of the chain that is shown ends, the first of them, if one is shown.
    certificate_expiry: Option<SystemTime>,
    /// The files that were read last, even if they could not be used, so that a bad file is logged once.
    files: TlsClientFiles,
    checked: Instant,
}

impl Tls {
    /// Checks the settings and loads what they name. Without files that waits for the first TLS connection,
    /// unless it is `wanted` at once. Blocks on the files.
    pub(crate) fn new(
        settings: TlsClientSettings,
        protocol: &'static [u8],
        wanted: bool,
    ) -> Result<Self, TlsError> {
        Self::with_roots(settings, protocol, wanted, SystemRoots::of_process())
    }

    fn with_roots(
        settings: TlsClientSettings,
        protocol: &'static [u8],
        wanted: bool,
        system: &'static SystemRoots,
    ) -> Result<Self, TlsError> {
        match (&settings.cert_file, &settings.key_file) {
            (Some(_), None) => {
                return Err(TlsError::HalfIdentity { given: "cert_file", missing: "key_file" });
            }
            (None, Some(_)) => {
                return Err(TlsError::HalfIdentity { given: "key_file", missing: "cert_file" });
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let Some(name) = &settings.server_name_override {
            server_name(name)?;
        }
        let (state, first) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        let tls = Self { settings, protocol, system, state, first };
        if wanted || tls.has_files() {
            let files = TlsClientFiles::read(&tls.settings)?;
            let system = if tls.trusts_system() { system.look_now() } else { None };
            let config = files.config(&tls.settings, protocol, system)?;
            tls.install(files, Ok(config))?;
        }
        Ok(tls)
    }

    /// The configuration for a new connection and its generation, read again if the files changed. If what they
    /// hold now can't be used, the last good one stays, with a warning.
    pub(crate) async fn current(&self) -> Result<(Arc<ClientConfig>, u64), TlsError> {
        let mut first = None;
        let known = loop {
            match self.state.lock().as_mut() {
                Some(loaded) if !self.has_files() || loaded.checked.elapsed() < RECHECK => {
                    return Ok((Arc::clone(&loaded.config), loaded.generation));
                }
                Some(loaded) => {
                    // Other connections go on with the current files while this one reads them.
                    loaded.checked = Instant::now();
                    break Some(loaded.files.clone());
                }
                None if first.is_some() => break None,
                None => {}
            }
            first = Some(self.first.lock().await);
        };
        let system =
            if self.trusts_system() { Some(self.system.get().await.ok_or(TlsError::NoRoots)?) } else { None };
        let (settings, protocol) = (self.settings.clone(), self.protocol);
        let read = tokio::task::spawn_blocking(move || {
            let files = TlsClientFiles::read(&settings)?;
            let config = (Some(&files) != known.as_ref()).then(|| files.config(&settings, protocol, system));
            Ok((files, config))
        });
        match read.await.expect("reading certificates neither panics nor is aborted") {
            Ok((files, Some(config))) => self.install(files, config)?,
            Ok((_, None)) => {}
            Err(error) => self.keep_last_good(error)?,
        }
        let state = self.state.lock();
        let loaded = state.as_ref().expect("installed just now or before");
        Ok((Arc::clone(&loaded.config), loaded.generation))
    }

    /// Which change of the files is in use.
    pub(crate) fn generation(&self) -> u64 {
        self.state.lock().as_ref().map_or(0, |loaded| loaded.generation)
    }

    /// When the certificate that is shown ends, or one of its chain before it, if one is shown.
    pub(crate) fn certificate_expiry(&self) -> Option<SystemTime> {
        self.state.lock().as_ref()?.certificate_expiry
    }

    /// The name to ask `host` for, and to find in its certificate.
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        server_name(self.settings.server_name_override.as_deref().unwrap_or(host))
    }

    /// As if the files had last been looked at long ago.
    #[cfg(test)]
    pub(crate) fn expire(&self) {
        if let Some(loaded) = self.state.lock().as_mut() {
            loaded.checked -= RECHECK;
        }
    }

    fn has_files(&self) -> bool {
        self.settings.ca_file.is_some() || self.settings.cert_file.is_some()
    }

    /// Whether the system's roots are trusted.
    fn trusts_system(&self) -> bool {
        self.settings.ca_file.is_none() && !self.settings.insecure_skip_verify
    }

    fn install(&self, files: TlsClientFiles, config: Result<ClientConfig, TlsError>) -> Result<(), TlsError> {
        let mut state = self.state.lock();
        let config = match (config, state.as_mut()) {
            // Another connection has read the files meanwhile.
            (_, Some(old)) if old.files == files => return Ok(()),
            (Ok(config), _) => Arc::new(config),
            (Err(error), Some(old)) => {
                old.files = files;
                drop(state);
                return self.keep_last_good(error);
            }
            (Err(error), None) => return Err(error),
        };
        let generation = state.as_ref().map_or(0, |old| old.generation + 1);
        if generation > 0 {
            info!(generation, "the TLS files have changed: new connections use what they hold now");
        }
        let certificate_expiry = files.cert.as_ref().and_then(Pem::expiry);
        *state =
            Some(LoadedClientTls { config, generation, certificate_expiry, files, checked: Instant::now() });
        Ok(())
    }

    fn keep_last_good(&self, error: TlsError) -> Result<(), TlsError> {
        if self.state.lock().is_none() {
            return Err(error);
        }
        warn!(%error, "the changed TLS files can't be used: the last good ones stay in use");
        Ok(())
    }
}

/// The contents of the files that are configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct TlsClientFiles {
    ca: Option<Pem>,
    cert: Option<Pem>,
    key: Option<Pem>,
}

impl TlsClientFiles {
    fn read(settings: &TlsClientSettings) -> Result<Self, TlsError> {
        let read =
            |option, path: &Option<PathBuf>| path.as_ref().map(|path| Pem::read(option, path)).transpose();
        Ok(Self {
            ca: read("ca_file", &settings.ca_file)?,
            cert: read("cert_file", &settings.cert_file)?,
            key: read("key_file", &settings.key_file)?,
        })
    }

    fn config(
        &self,
        settings: &TlsClientSettings,
        protocol: &[u8],
        system: Option<Arc<RootCertStore>>,
    ) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[_] = if settings.only_tls13 { &[&TLS13] } else { &[&TLS13, &TLS12] };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("ring has the suites of TLS 1.2 and 1.3");
        let builder = if settings.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(self.roots(system)?)
        };
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(cert.certificates()?, key.key()?)
                .map_err(|error| PemError::Identity(error.to_string()))?,
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }

    /// The trusted roots: those of the configured file, else those of the system.
    fn roots(&self, system: Option<Arc<RootCertStore>>) -> Result<Arc<RootCertStore>, TlsError> {
        match &self.ca {
            Some(ca) => Ok(Arc::new(ca.authorities()?)),
            None => system.ok_or(TlsError::NoRoots),
        }
    }
}

pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    // An IPv6 address stands in brackets in a URL.
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::Name)
}

/// `insecure_skip_verify`: whoever answers is believed, but must hold the key of what it shows.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn first_connections_at_the_same_time_share_one_configuration() {
        let settings = TlsClientSettings { insecure_skip_verify: true, ..TlsClientSettings::default() };
        let tls = Arc::new(Tls::new(settings, b"h2", false).unwrap());
        let mut first = JoinSet::new();
        for _ in 0..50 {
            let tls = Arc::clone(&tls);
            first.spawn(async move { tls.current().await.unwrap() });
        }
        let all = first.join_all().await;
        assert!(all.iter().all(|(config, generation)| Arc::ptr_eq(config, &all[0].0) && *generation == 0));
        assert_eq!(tls.generation(), 0, "no connection is of an older one");
    }

    #[tokio::test]
    async fn a_thousand_connections_of_ten_exporters_that_find_no_roots_look_for_them_once_until_they_may_again()
     {
        static READS: AtomicUsize = AtomicUsize::new(0);
        fn nothing() -> RootCertStore {
            READS.fetch_add(1, Ordering::SeqCst);
            RootCertStore::empty()
        }
        static ROOTS: SystemRoots = SystemRoots::new(nothing);
        let exporter = || Tls::with_roots(TlsClientSettings::default(), b"h2", false, &ROOTS);
        let exporters: Vec<_> = (0..10).map(|_| Arc::new(exporter().unwrap())).collect();
        for looks in 1..4 {
            let mut dials = JoinSet::new();
            for dial in 0..1000 {
                let tls = Arc::clone(&exporters[dial % exporters.len()]);
                dials.spawn(async move { tls.current().await });
            }
            let ended = dials.join_all().await;
            assert!(ended.iter().all(|ended| matches!(ended, Err(TlsError::NoRoots))), "{:?}", ended[0]);
            assert_eq!(READS.load(Ordering::SeqCst), looks);
            ROOTS.expire();
        }
    }

    #[test]
    fn an_exporter_that_needs_roots_at_once_is_refused_without_them_and_taken_as_soon_as_there_are_some() {
        static INSTALLED: AtomicBool = AtomicBool::new(false);
        fn those_installed() -> RootCertStore {
            let mut roots = RootCertStore::empty();
            if INSTALLED.load(Ordering::SeqCst) {
                let key = rcgen::KeyPair::generate().unwrap();
                let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
                roots.add(CertificateDer::from(certificate)).unwrap();
            }
            roots
        }
        static ROOTS: SystemRoots = SystemRoots::new(those_installed);
        let exporter = || Tls::with_roots(TlsClientSettings::default(), b"h2", true, &ROOTS);
        let refused = exporter().unwrap_err();
        assert!(matches!(refused, TlsError::NoRoots), "{refused}");
        INSTALLED.store(true, Ordering::SeqCst);
        assert!(exporter().is_ok());
    }
}
