//! Certificates, made for each test, and a sender that speaks TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate authority with a directory for its own certificate and for what it signs.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// A new one with this name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("no names are valid names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("there is randomness");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("the parameters are right");
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("it can be written");
        Self { issuer, directory }
    }

    /// A file of its directory; `ca.pem` is its own certificate.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A certificate for servers and clients of this name.
    pub fn sign(&self, name: &str) -> Identity {
        // A DNS name, or an address.
        let params = CertificateParams::new([name.to_owned()]).expect("the test's name is valid");
        self.sign_names(params.subject_alt_names, None)
    }

    /// A certificate for servers and clients of these alternative names and this common name.
    pub fn sign_names(&self, names: Vec<SanType>, common_name: Option<&str>) -> Identity {
        let mut params = CertificateParams::new([]).expect("no names are valid names");
        params.subject_alt_names = names;
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        // Python 3.13 and newer take none without.
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are right");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes an identity to `NAME.pem` and `NAME.key` of the directory.
    pub fn write(&self, name: &str, identity: &Identity) {
        for (extension, text) in [("pem", &identity.certificate), ("key", &identity.key)] {
            let file = self.path(&format!("{name}.{extension}"));
            std::fs::write(file, text).expect("the temporary directory can be written");
        }
    }

    /// Writes a server certificate for `localhost` to `server.pem` and `server.key`; returns `tls` options for them.
    pub fn server(&self) -> String {
        self.write("server", &self.sign("localhost"));
        format!(
            "cert_file: '{}', key_file: '{}'",
            self.path("server.pem").display(),
            self.path("server.key").display()
        )
    }

    /// A client that trusts this authority alone, and shows `identity` if it is asked.
    pub fn client(&self, identity: Option<&Identity>, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority is one");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the suites")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![identity.der()], key).expect("an identity")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Identity {
    /// The certificate as it is shown in a handshake.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

/// A connection on which requests are sent.
pub struct SecureConnection {
    sender: Sender,
    /// The certificate that the server showed.
    pub certificate: CertificateDer<'static>,
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

/// Connects to `localhost` at this address, and does the handshake.
pub async fn handshake(to: SocketAddr, client: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let name = "localhost".try_into().expect("a name");
    TlsConnector::from(client).connect(name, TcpStream::connect(to).await?).await
}

impl SecureConnection {
    /// Connects; speaks HTTP/2 if both sides have it.
    pub async fn open(to: SocketAddr, client: Arc<ClientConfig>) -> Option<Self> {
        let stream = handshake(to, client).await.ok()?;
        let certificate = stream.get_ref().1.peer_certificates()?[0].clone().into_owned();
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        let sender = if http2 {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.ok()?;
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
            tokio::spawn(connection);
            Sender::Http1(sender)
        };
        Some(Self { sender, certificate })
    }

    /// Posts a protobuf request; returns status and version, unless the connection has ended.
    pub async fn post(&mut self, path: &str, body: Vec<u8>) -> Option<(u16, http::Version)> {
        self.post_with(path, &[], body).await
    }

    /// The same with more headers.
    pub async fn post_with(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<(u16, http::Version)> {
        let headers: Vec<_> =
            [("content-type", "application/x-protobuf")].iter().chain(headers).copied().collect();
        self.send("POST", path, &headers, body).await
    }

    /// Sends a request; returns status and version, unless the connection has ended.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<(u16, http::Version)> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("host", "localhost");
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value))
            .body(Full::new(Bytes::from(body)))
            .expect("the test's request is well-formed");
        let answer = match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        };
        let answer = answer.ok()?;
        let (status, version) = (answer.status().as_u16(), answer.version());
        answer.into_body().collect().await.ok()?;
        Some((status, version))
    }
}
