//! gRPC through the tunnels of a proxy that the environment names.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use sluice::otlp::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::support::SluiceProcess;
use crate::support::grpc_upstream::{GrpcUpstream, Reply};
use crate::support::payload::logs;
use crate::support::tls::Authority;
use crate::support::yaml::{QUICK, SINGLY, by_stream, exporters};

/// A proxy that opens tunnels to `to`, whatever it is asked for.
struct Proxy {
    address: SocketAddr,
    /// What it was asked, head by head.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// `speaks_first`: the first bytes of the other side come in one piece with the head of the proxy's answer.
    async fn to(to: SocketAddr, speaks_first: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), heads: Arc::default() };
        let heads = Arc::clone(&proxy.heads);
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let heads = Arc::clone(&heads);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(near.read_u8().await.unwrap());
                    }
                    heads.lock().push(String::from_utf8(head).unwrap());
                    let mut far = TcpStream::connect(to).await.unwrap();
                    let mut answer = b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec();
                    if speaks_first {
                        far.read_buf(&mut answer).await.unwrap();
                    }
                    near.write_all(&answer).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("http://user:secret@{}", self.address)
    }
}

/// Sends through a Sluice whose exporter has these options, and which is told of the proxy by `variable`.
async fn sends(options: &str, variable: &str, proxy: &Proxy, up: &GrpcUpstream) {
    let config = exporters(&[("otlp_grpc/up", format!("{options}, {SINGLY}, {QUICK}"))]);
    let config = config + &by_stream("otlp_grpc/up");
    let url = proxy.url();
    let none = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"].map(|name| (name, ""));
    let variables = [&none[..], &[(variable, url.as_str())]].concat();
    let sluice = SluiceProcess::start_with_env(&config, &variables).await;
    for text in ["1", "2", "3"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    up.records(3).await;
    assert_eq!(up.texts(), ["1", "2", "3"]);
    assert!(!sluice.log().iter().any(|line| line.contains("secret")), "{:?}", sluice.log());
    let heads = proxy.heads.lock().clone();
    assert_eq!(heads.len(), 1, "the connection is kept: {heads:?}");
    assert!(heads[0].starts_with("CONNECT upstream.test:4317 HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains("\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"), "{heads:?}");
    for call in up.calls() {
        assert!(call.metadata.get("proxy-authorization").is_none(), "the upstream sees the proxy's password");
    }
}

#[tokio::test]
async fn calls_over_tls_go_through_a_tunnel() {
    let authority = Authority::new("authority");
    let identity = authority.sign("upstream.test");
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&identity.certificate, &identity.key));
    let up = GrpcUpstream::with(Server::builder().tls_config(tls).unwrap(), |_| Reply::Take);
    let proxy = Proxy::to(up.address, false).await;
    let ca = authority.path("ca.pem");
    let options = format!("endpoint: 'https://upstream.test:4317', tls: {{ ca_file: '{}' }}", ca.display());
    sends(&options, "HTTPS_PROXY", &proxy, &up).await;
}

#[tokio::test]
async fn calls_without_tls_go_through_a_tunnel_though_the_upstream_speaks_first() {
    let up = GrpcUpstream::taking();
    let proxy = Proxy::to(up.address, true).await;
    sends("endpoint: 'http://upstream.test:4317'", "HTTP_PROXY", &proxy, &up).await;
}
