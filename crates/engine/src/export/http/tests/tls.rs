//! TLS: whom we trust, and who we are.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;

use super::upstream::{Received, Then, converse_over};
use super::*;
use crate::client::TlsClientSettings;

static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

/// A certificate authority with a directory for what it signs.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

/// A certificate and its key, as PEM.
pub(super) struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        // Two authorities of the same name would differ by their keys alone.
        let name = format!("authority {}", AUTHORITIES.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, directory: tempfile::tempdir().unwrap() };
        std::fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub(super) fn server(&self, name: &str) -> Identity {
        self.sign(name, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Settings that trust this authority alone.
    pub(super) fn trusted(&self) -> TlsClientSettings {
        TlsClientSettings { ca_file: Some(self.path("ca.pem")), ..TlsClientSettings::default() }
    }

    /// Settings with a client certificate in files, which hold `identity` from now on.
    fn with_identity(&self, identity: &Identity) -> TlsClientSettings {
        let (cert, key) = (self.path("client.pem"), self.path("client.key"));
        std::fs::write(&cert, &identity.certificate).unwrap();
        std::fs::write(&key, &identity.key).unwrap();
        TlsClientSettings { cert_file: Some(cert), key_file: Some(key), ..self.trusted() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }
}

/// An upstream behind TLS.
pub(super) struct Server {
    upstream: Upstream,
    /// The client certificate of each connection, in order.
    clients: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

impl Server {
    /// Asks for a client certificate of `clients`, if there is one.
    pub(super) async fn new(identity: Identity, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(clients.roots(), provider).build().unwrap(),
            ),
            None => builder.with_no_client_auth(),
        };
        let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let clients = Arc::clone(&seen);
        let upstream = Upstream::accepting(move |number, stream, log| {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                if let Some(chain) = stream.get_ref().1.peer_certificates() {
                    seen.lock().push(chain[0].clone().into_owned());
                }
                let ok =
                    |_: &Received| Then::Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned());
                converse_over(number, stream, &ok, &log).await;
            }
        })
        .await;
        Self { upstream, clients }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.upstream.address
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.upstream.received()
    }

    fn settings(&self, tls: TlsClientSettings) -> OtlpHttpSettings {
        let url = format!("https://localhost:{}/v1/logs", self.address().port());
        http_settings_with(&url, |http| http.tls = tls)
    }

    async fn answer(&self, tls: TlsClientSettings) -> Answer {
        new(self.settings(tls)).unwrap().send("k").await
    }
}

#[tokio::test]
async fn a_certificate_of_the_configured_authority_is_trusted() {
    let authority = Authority::new();
    let server = Server::new(authority.server("localhost"), None).await;
    let answer = server.answer(authority.trusted()).await;
    assert_eq!(answer.outcome, DELIVERED, "{}", answer.detail);
    assert_eq!(server.received()[0].body, batch().to_bytes());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_and_named() {
    let server = Server::new(Authority::new().server("localhost"), None).await;
    let answer = server.answer(Authority::new().trusted()).await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("tls", RETRY));
    assert!(
        answer.detail.contains("https://localhost:") && answer.detail.contains("UnknownIssuer; if"),
        "{}",
        answer.detail
    );
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_that_name_is_configured() {
    let authority = Authority::new();
    let server = Server::new(authority.server("upstream.example"), None).await;
    let answer = server.answer(authority.trusted()).await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("tls", RETRY));
    assert!(answer.detail.contains("not valid for name"), "{}", answer.detail);

    let name = Some("upstream.example".to_owned());
    let named = server.answer(TlsClientSettings { server_name_override: name, ..authority.trusted() }).await;
    assert_eq!(named.outcome, DELIVERED, "{}", named.detail);
}

#[tokio::test]
async fn any_certificate_will_do_if_verification_is_skipped() {
    let server = Server::new(Authority::new().server("elsewhere.example"), None).await;
    let skip = TlsClientSettings { insecure_skip_verify: true, ..TlsClientSettings::default() };
    assert_eq!(server.answer(skip).await.outcome, DELIVERED);
}

#[tokio::test]
async fn a_server_without_tls_is_named() {
    let upstream = Upstream::accepting(|_, mut stream, _| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let tls = TlsClientSettings { insecure_skip_verify: true, ..TlsClientSettings::default() };
    let url = upstream.url().replace("http:", "https:");
    let answer = new(http_settings_with(&url, |http| http.tls = tls)).unwrap().send("k").await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("tls", RETRY), "{}", answer.detail);
    assert!(answer.detail.starts_with("no TLS with `https://127.0.0.1:"), "{}", answer.detail);
}

#[tokio::test]
async fn we_show_a_client_certificate_and_are_refused_without_one() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = Server::new(authority.server("localhost"), Some(&clients)).await;
    let identity = clients.sign("sluice", ExtendedKeyUsagePurpose::ClientAuth);
    let with = server.answer(authority.with_identity(&identity)).await;
    assert_eq!(with.outcome, DELIVERED, "{}", with.detail);

    let without = server.answer(authority.trusted()).await;
    assert_eq!((without.code.as_ref(), without.outcome), ("tls", RETRY), "{}", without.detail);
    assert!(without.detail.to_lowercase().contains("certificate"), "{}", without.detail);
}

#[tokio::test]
async fn a_client_certificate_that_changes_is_used_for_new_connections() {
    let authority = Authority::new();
    let server = Server::new(authority.server("localhost"), Some(&authority)).await;
    let sign = || authority.sign("sluice", ExtendedKeyUsagePurpose::ClientAuth);
    let (first, second) = (sign(), sign());
    let http = server.settings(authority.with_identity(&first));
    // Each attempt needs a connection of its own.
    let transport = new(OtlpHttpSettings { max_idle_connections: 0, ..http }).unwrap();
    let attempt = async || {
        transport.tls.expire();
        let answer = transport.send("k").await;
        assert_eq!(answer.outcome, DELIVERED, "{}", answer.detail);
    };
    attempt().await;
    authority.with_identity(&second);
    attempt().await;
    // A rotation that has only come half way, and nonsense, leave the last good one in use.
    std::fs::write(authority.path("client.key"), &first.key).unwrap();
    attempt().await;
    std::fs::write(authority.path("client.pem"), "nonsense").unwrap();
    attempt().await;
    std::fs::remove_file(authority.path("client.pem")).unwrap();
    attempt().await;
    authority.with_identity(&first);
    attempt().await;

    let der = |identity: &Identity| CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let expected = [&first, &second, &second, &second, &second, &first].map(der);
    assert_eq!(*server.clients.lock(), expected);
}

#[tokio::test]
async fn a_pooled_connection_is_not_used_after_the_certificate_has_changed() {
    let authority = Authority::new();
    let server = Server::new(authority.server("localhost"), None).await;
    let identity = authority.sign("sluice", ExtendedKeyUsagePurpose::ClientAuth);
    let transport = new(server.settings(authority.with_identity(&identity))).unwrap();
    transport.send("k").await;
    authority.with_identity(&authority.sign("sluice", ExtendedKeyUsagePurpose::ClientAuth));
    transport.tls.expire();
    transport.tls.current().await.unwrap();
    transport.send("k").await;
    assert_eq!(server.upstream.connections(), [0, 1]);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let refused = |tls: TlsClientSettings| {
        new(http_settings_with("https://u/", |http| http.tls = tls)).unwrap_err().to_string()
    };
    let missing =
        refused(TlsClientSettings { ca_file: Some("/no/ca.pem".into()), ..TlsClientSettings::default() });
    assert!(missing.starts_with("can't read `/no/ca.pem` of `tls.ca_file`: No such file"), "{missing}");

    std::fs::write(authority.path("ca.pem"), "nonsense").unwrap();
    let nonsense = refused(authority.trusted());
    assert!(nonsense.contains("ca.pem` of `tls.ca_file` holds no usable certificate"), "{nonsense}");

    let half = refused(TlsClientSettings { cert_file: Some("x".into()), ..TlsClientSettings::default() });
    assert_eq!(half, "`tls.cert_file` needs `tls.key_file` as well");

    let authority = Authority::new();
    let sign = || authority.sign("sluice", ExtendedKeyUsagePurpose::ClientAuth);
    let mixed = Identity { key: sign().key, ..sign() };
    let mixed = refused(authority.with_identity(&mixed));
    assert!(mixed.starts_with("`tls.cert_file` and `tls.key_file` don't make an identity"), "{mixed}");
}
