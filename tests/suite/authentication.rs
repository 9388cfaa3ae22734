//! Who may send: what receivers with `auth` take, and what they answer all others, over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ::http::Version;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use prost::Message as _;
use rcgen::SanType;
use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;
use sluice::run::Role;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, resume, timeout};
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::support::clock;
use crate::support::grpc::{call, export, framed};
use crate::support::http::{self, Answer};
use crate::support::http2::Calls;
use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::tls::{Authority, Identity, SecureConnection};
use crate::support::wire::Wire;
use crate::support::{PATIENCE, Sluice, SluiceProcess, eventually};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// A configuration whose receiver `otlp` has these options on both protocols, with these extensions.
fn config(up: &Sink, options: &str, extensions: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, {options} }}, grpc: {{ endpoint: 127.0.0.1:0, {options} }} }} }} }}\n\
         extensions: {{ {extensions} }}\n\
         exporters: {{ otlp_http/up: {{ endpoint: {}, compression: none }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n",
        up.url()
    )
}

/// A Sluice that takes these tokens, and the address of its gRPC receiver.
async fn start(tokens: &str) -> (Sink, Sluice, SocketAddr) {
    start_with(
        "auth: { authenticator: bearertokenauth }",
        &format!("bearertokenauth: {{ tokens: [{tokens}] }}"),
    )
    .await
}

async fn start_with(options: &str, extensions: &str) -> (Sink, Sluice, SocketAddr) {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, options, extensions)).await;
    let grpc = sluice.router().addresses(Role::OtlpGrpc).await[0];
    (up, sluice, grpc)
}

/// A configuration whose receiver asks the table of tenants, which has these rows.
fn with_rows(up: &Sink, tls: &str, rows: &str) -> String {
    config(up, &format!("auth: {{ authenticator: tenants }}, {tls}"), "")
        + &format!("tenants: {{ list: [{rows}] }}\n")
}

async fn start_with_tenants(tls: &str, rows: &str) -> (Sink, Sluice, SocketAddr) {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&with_rows(&up, tls, rows)).await;
    let grpc = sluice.router().addresses(Role::OtlpGrpc).await[0];
    (up, sluice, grpc)
}

fn body() -> Vec<u8> {
    logs(&[("a", &["x"])])
}

async fn post(sluice: &Sluice, authorization: &[&str]) -> Answer {
    let headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
    sluice.post_with(Signal::Logs, body(), &headers).await
}

async fn status(sluice: &Sluice, authorization: &str) -> u16 {
    post(sluice, &[authorization]).await.status
}

/// The code of a call by a proper client.
async fn code(to: SocketAddr, authorization: Option<&str>) -> Code {
    let channel = Endpoint::from_shared(format!("http://{to}")).unwrap().connect().await.unwrap();
    let mut request = tonic::Request::new(ExportLogsServiceRequest::decode(&*body()).unwrap());
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    LogsServiceClient::new(channel).export(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// The code of a call by a proper client that shows this certificate; nothing if there is no connection by it.
async fn code_by_certificate(to: SocketAddr, authority: &Authority, identity: &Identity) -> Option<Code> {
    let ca = std::fs::read_to_string(authority.path("ca.pem")).unwrap();
    let own = tonic::transport::Identity::from_pem(&identity.certificate, &identity.key);
    let tls = ClientTlsConfig::new()
        .domain_name("localhost")
        .ca_certificate(Certificate::from_pem(ca))
        .identity(own);
    let endpoint = Endpoint::from_shared(format!("https://{to}")).unwrap().tls_config(tls).unwrap();
    let request = ExportLogsServiceRequest::decode(&*body()).unwrap();
    match LogsServiceClient::new(endpoint.connect().await.ok()?).export(request).await {
        Ok(_) => Some(Code::Ok),
        // Of TLS 1.3 a client learns only then that its certificate was refused.
        Err(status) if std::error::Error::source(&status).is_some() => None,
        Err(status) => Some(status.code()),
    }
}

/// The address of the gRPC receiver of a process.
async fn grpc_of(process: &SluiceProcess) -> SocketAddr {
    let line = process.logged("OTLP/gRPC on ").await;
    let (_, address) = line.split_once("OTLP/gRPC on ").unwrap();
    address.split_whitespace().next().unwrap().parse().unwrap()
}

fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64.encode(pair))
}

#[tokio::test]
async fn a_sender_without_a_right_token_is_refused_before_its_body_is_read() {
    let (up, sluice, _) = start("s3cret").await;
    for authorization in ["x-nothing: 1", "authorization: Bearer wrong", "authorization: Basic !"] {
        for (content_type, is_json) in [("application/x-protobuf", false), ("application/json", true)] {
            let mut wire = Wire::open(sluice.otlp).await;
            let content_type = format!("content-type: {content_type}");
            wire.request("POST /v1/logs", &[authorization, &content_type, "content-length: 1000000"], "")
                .await;
            let answer = wire.answer().await;
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, Some("Bearer realm=\"sluice\""))
            );
            if is_json {
                assert_eq!(answer.text(), r#"{"code":16,"message":"Unauthorized"}"#);
            } else {
                let status = answer.error();
                assert_eq!((status.code, &*status.message), (16, "Unauthorized"));
            }
        }
    }
    assert_eq!(status(&sluice, "Bearer s3cret").await, 200);
    up.records(1).await;
}

#[tokio::test]
async fn a_call_without_a_right_token_is_refused_before_its_message_is_read() {
    let (up, sluice, grpc) = start("s3cret").await;
    for port in [grpc, sluice.otlp] {
        let mut calls = Calls::over(TcpStream::connect(port).await.unwrap()).await;
        let waiting = calls.begin(export(Signal::Logs)).await;
        assert_eq!(waiting.code().await, Code::Unauthenticated);
        let headers = [("authorization", "Bearer wrong")];
        let mut waiting = calls.begin_with(export(Signal::Logs), &headers).await;
        waiting.send(vec![0; 100], false);
        assert_eq!(waiting.code().await, Code::Unauthenticated);
        let headers = [("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")];
        assert_eq!(
            calls.begin_with(export(Signal::Logs), &headers).await.code().await,
            Code::Unauthenticated
        );

        assert_eq!(code(port, None).await, Code::Unauthenticated);
        assert_eq!(code(port, Some("Bearer s3cre")).await, Code::Unauthenticated);
        assert_eq!(code(port, Some("bearer s3cret")).await, Code::Ok);
        let reply = call(port, export(Signal::Logs), &[], framed(0, &body())).await;
        assert_eq!((reply.code(), &*reply.message()), (Code::Unauthenticated, "Unauthorized"));
    }
    up.records(2).await;
}

#[tokio::test]
async fn a_token_is_right_as_a_whole_or_wrong_whatever_it_has_in_common_with_a_right_one() {
    let long = "x".repeat(8192);
    let (up, sluice, _) = start(&format!("s3cret, s3cret-2, {long}")).await;
    for right in ["Bearer s3cret", "bearer s3cret-2", "BEARER   s3cret", &format!("Bearer {long}")] {
        assert_eq!(status(&sluice, right).await, 200, "{right}");
    }
    let [longer, shorter] = [format!("Bearer {long}x"), format!("Bearer {}", &long[1..])];
    for wrong in [
        "Bearer s3cre",
        "Bearer s3cret-",
        "Bearer s3cret-22",
        "Bearer S3cret",
        "Bearer s3cret,s3cret-2",
        "Bearer s3cret s3cret",
        "Bearer\ts3cret",
        "Bearer",
        "s3cret",
        "Token s3cret",
        "Bearer \u{e9}",
        &basic("s3cret:"),
        &longer,
        &shorter,
    ] {
        assert_eq!(status(&sluice, wrong).await, 401, "{wrong}");
    }
    assert_eq!(post(&sluice, &["Bearer s3cret", "Bearer s3cret"]).await.status, 401);
    assert_eq!(post(&sluice, &["Bearer s3cret", "Bearer wrong"]).await.status, 401);
    up.records(4).await;
}

#[tokio::test]
async fn control_characters_in_a_header_end_the_request() {
    let (up, sluice, _) = start("s3cret").await;
    for (authorization, status) in [
        (&b"Bearer s3cret\x00"[..], 400),
        (b"Bearer s3\rcret", 400),
        (b"Bearer \x1bs3cret", 400),
        (b"Bearer s3cret\x7f", 400),
        (b"Bearer s3\tcret", 401),
        (b"Bearer s3cret\xff", 401),
    ] {
        let mut wire = Wire::open(sluice.otlp).await;
        let head = [
            b"POST /v1/logs HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\nauthorization: ",
            authorization,
            b"\r\n\r\n",
        ];
        wire.write(head.concat()).await;
        assert_eq!(wire.answer().await.status, status, "{}", String::from_utf8_lossy(authorization));
    }
    assert!(up.requests().is_empty());
}

#[tokio::test]
async fn a_connection_whose_request_was_refused_goes_on() {
    let (up, sluice, _) = start("s3cret").await;
    let mut wire = Wire::open(sluice.otlp).await;
    let length = format!("content-length: {}", body().len());
    let content_type = "content-type: application/x-protobuf";
    for _ in 0..3 {
        wire.request("POST /v1/logs", &[content_type, &length], body()).await;
        assert_eq!(wire.answer().await.status, 401);
    }
    wire.request("POST /v1/logs", &["authorization: Bearer s3cret", content_type, &length], body()).await;
    assert_eq!(wire.answer().await.status, 200);
    // Who waits for leave to send its body is refused it.
    wire.request("POST /v1/logs", &["expect: 100-continue", content_type, &length], "").await;
    assert_eq!(wire.answer().await.status, 401);
    up.records(1).await;
}

#[tokio::test]
async fn senders_of_the_table_are_known_by_token_and_password_and_their_tenants_may_be_paused() {
    let rows = "
        { id: acme, senders: [
            { name: old, token: old, expires: 2001-01-01T00:00:00Z }, { name: new, token: new, expires: 2999-01-01T00:00:00Z },
            { name: batch, basic: { username: acme, password: 'pass:word' } } ] },
        { id: sleepy, paused: true, senders: [{ name: web, token: sleepy }] }";
    let (up, sluice, grpc) = start_with_tenants("", rows).await;
    for right in ["Bearer new", &basic("acme:pass:word")] {
        assert_eq!(status(&sluice, right).await, 200, "{right}");
        assert_eq!(code(grpc, Some(right)).await, Code::Ok, "{right}");
    }
    for wrong in ["Bearer old", "Bearer other", &basic("acme:pass"), &basic("acme"), &basic("new:")] {
        let answer = post(&sluice, &[wrong]).await;
        let asked: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(answer.status, 401, "{wrong}");
        assert_eq!(asked, ["Bearer realm=\"sluice\"", "Basic realm=\"sluice\", charset=\"UTF-8\""]);
        assert_eq!(code(grpc, Some(wrong)).await, Code::Unauthenticated, "{wrong}");
    }
    let paused = post(&sluice, &["Bearer sleepy"]).await;
    assert_eq!((paused.status, paused.error().code), (503, 14));
    assert!((1..=5).contains(&paused.header("retry-after").unwrap().parse().unwrap()));
    let headers = [("authorization", "Bearer sleepy")];
    let paused = call(grpc, export(Signal::Logs), &headers, framed(0, &body())).await;
    assert_eq!(paused.code(), Code::Unavailable);
    assert!(paused.retry_delay().is_some());

    // What is queued of a tenant waits while it has no row.
    up.records(4).await;
    // The table is asked at each request.
    let resumed = "{ id: sleepy, senders: [{ name: web, token: sleepy }] }";
    sluice.reconfigure(&with_rows(&up, "", resumed)).await;
    assert_eq!(status(&sluice, "Bearer sleepy").await, 200);
    assert_eq!(status(&sluice, "Bearer new").await, 401);
    up.records(5).await;
}

#[tokio::test]
async fn a_table_without_tenants_takes_nobody() {
    let (_up, sluice, grpc) = start_with_tenants("", "").await;
    assert_eq!(status(&sluice, "Bearer ").await, 401);
    assert_eq!(status(&sluice, "Bearer x").await, 401);
    assert_eq!(code(grpc, None).await, Code::Unauthenticated);
}

#[tokio::test]
async fn a_client_certificate_is_its_names_and_a_header_wins_over_it() {
    let (authority, clients, others) =
        (Authority::new("a"), Authority::new("clients"), Authority::new("others"));
    let tls =
        format!("tls: {{ {}, client_ca_file: '{}' }}", authority.server(), clients.path("ca.pem").display());
    let rows = "
        { id: acme, senders: [{ name: mesh, certificate: { uri: 'spiffe://prod/acme' } }] },
        { id: globex, senders: [{ name: edge, certificate: { dns: globex.example.com } }, { name: web, token: globex }] },
        { id: initech, paused: true, senders: [{ name: mesh, certificate: { cn: initech } }] },
        { id: umbrella, senders: [{ name: mesh, certificate: { cn: 'the umbrella' } }] }";
    let (up, sluice, grpc) = start_with_tenants(&tls, rows).await;
    let uri = |uri: &str| vec![SanType::URI(uri.try_into().unwrap())];
    let acme = clients.sign_names(uri("spiffe://prod/acme"), None);
    let status = async |identity: &Identity, headers: &[(&str, &str)], alpn: &[&str]| {
        let mut connection =
            SecureConnection::open(sluice.otlp, authority.client(Some(identity), alpn)).await?;
        let answers = [
            connection.post_with("/v1/logs", headers, body()).await?,
            connection.post_with("/v1/logs", headers, body()).await?,
        ];
        assert_eq!(answers[0], answers[1], "a connection's certificate holds for all of its requests");
        Some(answers[0])
    };
    let (http1, http2) = (&["http/1.1"][..], &["h2"][..]);
    assert_eq!(status(&acme, &[], http1).await, Some((200, Version::HTTP_11)));
    assert_eq!(status(&acme, &[], http2).await, Some((200, Version::HTTP_2)));
    assert_eq!(status(&clients.sign("Globex.example.com"), &[], http2).await.unwrap().0, 200);
    assert_eq!(status(&clients.sign_names(vec![], Some("initech")), &[], http1).await.unwrap().0, 503);
    let umbrella = clients.sign_names(vec![], Some("the umbrella"));
    assert_eq!(status(&umbrella, &[], http1).await.unwrap().0, 200);
    for nobody in [
        clients.sign_names(uri("spiffe://prod/acme/x"), Some("spiffe://prod/acme")),
        clients.sign_names(uri("spiffe://prod"), Some("acme")),
        clients.sign("initech"),
        clients.sign_names(vec![], None),
    ] {
        assert_eq!(status(&nobody, &[], http1).await.unwrap().0, 401);
    }
    // Acme's name, signed by nobody who is asked.
    let forged = others.sign_names(uri("spiffe://prod/acme"), None);
    assert_eq!(status(&forged, &[], http1).await, None);
    for (identity, expected) in [
        (&acme, Some(Code::Ok)),
        (&umbrella, Some(Code::Ok)),
        (&clients.sign("initech"), Some(Code::Unauthenticated)),
        (&forged, None),
    ] {
        assert_eq!(code_by_certificate(grpc, &authority, identity).await, expected);
    }
    let with = |value| [("authorization", value)];
    assert_eq!(status(&acme, &with("Bearer globex"), http2).await.unwrap().0, 200);
    assert_eq!(status(&acme, &with("Bearer wrong"), http2).await.unwrap().0, 401);
    assert_eq!(status(&acme, &with(""), http1).await.unwrap().0, 401);
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs).len(), 12);
}

#[tokio::test]
async fn health_checks_and_preflights_need_no_credential_and_a_page_can_read_its_refusal() {
    let up = sinks::recording().await;
    let auth = "auth: { authenticator: bearertokenauth }";
    let yaml = config(&up, auth, "bearertokenauth: { token: s3cret }").replacen(
        auth,
        &format!("{auth}, cors: {{ allowed_origins: ['https://app.example.com'] }}"),
        1,
    );
    let sluice = Sluice::start(&yaml).await;
    let grpc = sluice.router().addresses(Role::OtlpGrpc).await[0];
    let health = call(grpc, "/grpc.health.v1.Health/Check", &[], framed(0, b"")).await;
    assert_eq!(health.code(), Code::Ok);
    for no_health in ["/grpc.health.v1.HealthX/Check", "/x/grpc.health.v1.Health/Check", "/", "/x"] {
        assert_eq!(
            call(grpc, no_health, &[], framed(0, b"")).await.code(),
            Code::Unauthenticated,
            "{no_health}"
        );
    }
    let origin = ("origin", "https://app.example.com");
    let asks = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    assert_eq!(http::send(sluice.otlp, "OPTIONS", "/v1/logs", &asks, "".into()).await.status, 204);
    assert_eq!(http::send(sluice.otlp, "OPTIONS", "/v1/logs", &[], "".into()).await.status, 401);
    let refused = http::send(sluice.otlp, "POST", "/v1/logs", &[origin, PROTOBUF], body().into()).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(origin.1)));
    assert!(up.requests().is_empty());
}

#[tokio::test]
async fn a_question_for_health_is_read_only_as_far_as_it_can_be_one() {
    let (_up, _sluice, grpc) = start("s3cret").await;
    // A service of this name, as a field of protobuf.
    let asking = |len: usize| {
        let name = vec![b'x'; len];
        [&[0x0a, (len & 0x7f) as u8 | 0x80, (len >> 7) as u8][..], &name].concat()
    };
    let gzip = |message: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, message).unwrap();
        encoder.finish().unwrap()
    };
    let gzipped = [("grpc-encoding", "gzip")];
    for name in ["Check", "Watch"] {
        let path = format!("/grpc.health.v1.Health/{name}");
        let code = async |headers: &[(&str, &str)], message: Vec<u8>| {
            let mut calls = Calls::over(TcpStream::connect(grpc).await.unwrap()).await;
            let mut call = calls.begin_with(&path, headers).await;
            call.send(message, false);
            call.code().await
        };
        // More than it may be has been announced, or come out; nobody waits for the rest.
        assert_eq!(code(&[], framed(0, &asking(5000))).await, Code::ResourceExhausted, "{name}");
        let mut announced = framed(0, b"");
        announced[1..].copy_from_slice(&(16_u32 << 20).to_be_bytes());
        assert_eq!(code(&[], announced).await, Code::ResourceExhausted, "{name}");
        let small = gzip(&asking(16_000));
        assert!(small.len() < 200);
        let answer = call(grpc, &path, &gzipped, framed(1, &small)).await;
        assert_eq!(answer.code(), Code::ResourceExhausted, "{name}");
    }
    let path = "/grpc.health.v1.Health/Check";
    assert_eq!(call(grpc, path, &[], framed(0, &asking(4000))).await.code(), Code::NotFound);
    let answer = call(grpc, path, &gzipped, framed(1, &gzip(&asking(4000)))).await;
    assert_eq!(answer.code(), Code::NotFound);
}

#[tokio::test]
async fn a_receiver_can_be_there_twice_for_those_who_are_trusted_and_for_all_others() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&format!(
        "receivers:\n  otlp/inside: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0 }} }} }}\n\
         \x20 otlp/outside: {{ protocols: {{ http: {{ endpoint: 127.0.0.2:0, auth: {{ authenticator: basicauth/outside }} }} }} }}\n\
         extensions: {{ basicauth/outside: {{ htpasswd: {{ inline: 'acme:s3cret' }} }} }}\n\
         exporters: {{ otlp_http/up: {{ endpoint: {}, compression: none }} }}\n\
         routes: [{{ exporters: [otlp_http/up] }}]\n",
        up.url()
    ))
    .await;
    let addresses = sluice.router().addresses(Role::Otlp).await;
    let of =
        |ip: [u8; 4]| *addresses.iter().find(|address| address.ip() == std::net::IpAddr::from(ip)).unwrap();
    let (inside, outside) = (of([127, 0, 0, 1]), of([127, 0, 0, 2]));
    let right = basic("acme:s3cret");
    let post = async |to, headers: &[(&str, &str)]| {
        http::send(to, "POST", "/v1/logs", headers, body().into()).await.status
    };
    assert_eq!(post(inside, &[PROTOBUF]).await, 200);
    assert_eq!(post(inside, &[PROTOBUF, ("authorization", "nonsense")]).await, 200, "nobody asks for it");
    assert_eq!(post(outside, &[PROTOBUF]).await, 401);
    assert_eq!(post(outside, &[PROTOBUF, ("authorization", &right)]).await, 200);
    let failures = async |receiver| {
        sluice.metric("sluice_receiver_auth_failures_total", &[("receiver", receiver)]).await
    };
    assert_eq!((failures("otlp/inside").await, failures("otlp/outside").await), (0.0, 1.0));
    up.records(3).await;
}

#[tokio::test]
async fn changed_files_of_credentials_are_noticed_and_a_bad_one_replaces_no_good_one() {
    let directory = tempfile::tempdir().unwrap();
    let (tokens, users) = (directory.path().join("tokens"), directory.path().join("users"));
    let write = |tokens_text: &str, password: &str| {
        std::fs::write(&tokens, tokens_text).unwrap();
        std::fs::write(&users, format!("acme:{}\n", bcrypt::hash(password, 4).unwrap())).unwrap();
    };
    write("old\n", "old");
    let up = sinks::recording().await;
    let yaml = config(
        &up,
        "auth: { authenticator: bearertokenauth }",
        &format!(
            "bearertokenauth: {{ filename: {} }}, basicauth: {{ htpasswd: {{ file: {} }} }}",
            tokens.display(),
            users.display()
        ),
    )
    .replacen(
        "grpc: { endpoint: 127.0.0.1:0, auth: { authenticator: bearertokenauth }",
        "grpc: { endpoint: 127.0.0.1:0, auth: { authenticator: basicauth }",
        1,
    );
    let process = SluiceProcess::start(&yaml, &[]).await;
    let grpc = grpc_of(&process).await;
    let status = async |token: &str| {
        let headers = [("authorization", &*format!("Bearer {token}"))];
        process.post_with(Signal::Logs, body(), &headers).await.status
    };
    let code = async |password: &str| code(grpc, Some(&basic(&format!("acme:{password}")))).await;
    assert_eq!((status("old").await, status("new").await), (200, 401));
    assert_eq!((code("old").await, code("new").await), (Code::Ok, Code::Unauthenticated));
    write("new\nold\n", "new");
    eventually("the new ones are known", async || {
        (status("new").await == 200 && code("new").await == Code::Ok).then_some(())
    })
    .await;
    assert_eq!((status("old").await, code("old").await), (200, Code::Unauthenticated));
    write("not a token\n", "new");
    process.logged("a token must be visible ASCII").await;
    assert_eq!((status("old").await, code("new").await), (200, Code::Ok));
}

#[tokio::test]
async fn failures_are_counted_and_told_once_for_each_cause_and_never_with_the_credential() {
    let up = sinks::recording().await;
    let yaml = config(
        &up,
        "auth: { authenticator: bearertokenauth }",
        "bearertokenauth: { token: right-s3cret }, basicauth: { htpasswd: { inline: 'acme:plain-s3cret' } }",
    )
    .replacen(
        "grpc: { endpoint: 127.0.0.1:0, auth: { authenticator: bearertokenauth }",
        "grpc: { endpoint: 127.0.0.1:0, auth: { authenticator: basicauth }",
        1,
    );
    let process = SluiceProcess::start_with_env(&yaml, &[("RUST_LOG", "trace")]).await;
    let grpc = grpc_of(&process).await;
    let post = async |headers: &[(&str, &str)]| process.post_with(Signal::Logs, body(), headers).await;
    for _ in 0..3 {
        let answers = [
            post(&[]).await,
            post(&[("authorization", "Bearer wrong-s3cret")]).await,
            post(&[("authorization", "Digest wrong-s3cret")]).await,
        ];
        assert!(
            answers.iter().all(|answer| answer.status == 401 && !format!("{answer:?}").contains("s3cret"))
        );
    }
    assert_eq!(post(&[("authorization", "Bearer right-s3cret")]).await.status, 200);
    assert_eq!(code(grpc, Some(&basic("acme:wrong-s3cret"))).await, Code::Unauthenticated);
    assert_eq!(code(grpc, Some(&basic("acme:plain-s3cret"))).await, Code::Ok);
    let count = async |cause| {
        process.metric("sluice_receiver_auth_failures_total", &[("receiver", "otlp"), ("cause", cause)]).await
    };
    assert_eq!([count("missing").await, count("unknown").await, count("malformed").await], [3.0, 4.0, 3.0]);
    assert!(
        !process.get("/metrics").await.text().contains("cause=\"expired\""),
        "what never was is left out"
    );
    up.records(2).await;
    let log = process.log();
    for (cause, advice) in [
        (
            "missing",
            "its sender shows no credential; write the credential into the headers of the sender's exporter",
        ),
        ("unknown", "the credential is nobody's; compare"),
        ("malformed", "its scheme is another one; send one header"),
    ] {
        let told: Vec<_> =
            log.iter().filter(|line| line.contains("request not taken") && line.contains(cause)).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains(advice) && told[0].contains("127.0.0.1:") && told[0].contains("otlp"),
            "{told:?}"
        );
    }
    for secret in
        ["s3cret".to_owned(), BASE64.encode("acme:wrong-s3cret"), BASE64.encode("acme:plain-s3cret")]
    {
        let shown: Vec<_> = log.iter().filter(|line| line.contains(&secret)).collect();
        assert!(shown.is_empty(), "{shown:?}");
        for page in ["/metrics", "/api/v1/config", "/api/v1/streams"] {
            assert!(!process.get(page).await.text().contains(&secret), "{page}");
        }
    }
}

/// A connection from another address of this machine.
async fn connect_from(address: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn tenants_that_fail_are_all_named_while_strangers_of_ever_new_addresses_guess() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503).message("come back later"));
    // Whoever is not named at its first failure has few more.
    let retry = "retry_on_failure: { initial_interval: 5s }";
    let yaml = config(&up, "auth: { authenticator: bearertokenauth }", "bearertokenauth: { token: s3cret }")
        .replacen("compression: none", &format!("compression: none, {retry}"), 1);
    let process = SluiceProcess::start(&yaml, &[]).await;
    let to = process.otlp;
    let guessing = tokio::spawn(async move {
        for stranger in 1.. {
            let address = Ipv4Addr::from_bits(0x7f01_0000 + stranger);
            let mut wire = Wire::over(connect_from(address, to).await);
            wire.request("POST /v1/logs", &["authorization: Bearer wrong", "content-length: 0"], "").await;
            assert_eq!(wire.answer().await.status, 401);
        }
    });
    let refused = async || process.metric("sluice_receiver_auth_failures_total", &[]).await;
    eventually("strangers", async || (refused().await > 500.0).then_some(())).await;
    let keys: Vec<String> = (1..=7).map(|tenant| format!("tenant-{tenant}")).collect();
    for key in &keys {
        let answer = process
            .post_with(Signal::Logs, logs(&[(key, &["x"])]), &[("authorization", "Bearer s3cret")])
            .await;
        assert_eq!(answer.status, 200);
    }
    for key in &keys {
        let line = format!("key=\"{key}\"");
        timeout(Duration::from_secs(20), process.logged(&line))
            .await
            .unwrap_or_else(|_| panic!("{key} is not named"));
    }
    process.logged("lines about other failed authentication were left out of this log").await;
    assert!(!guessing.is_finished());
    guessing.abort();
}

#[tokio::test]
async fn a_paused_tenant_whose_senders_go_on_is_named_once_whoever_they_are_and_not_as_a_warning() {
    let up = sinks::recording().await;
    let row = "{ id: sleepy, paused: true, senders: [{ name: web, token: sleepy }] }";
    let process = SluiceProcess::start(&with_rows(&up, "", row), &[]).await;
    for host in 1..=5 {
        let mut wire = Wire::over(connect_from(Ipv4Addr::new(127, 0, 0, host), process.otlp).await);
        wire.request("POST /v1/logs", &["authorization: Bearer sleepy", "content-length: 0"], "").await;
        assert_eq!(wire.answer().await.status, 503);
    }
    process.logged("the tenant is paused").await;
    let log = process.log();
    let told: Vec<_> = log.iter().filter(|line| line.contains("request not taken")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("INFO") && told[0].contains("tenant=\"sleepy\""), "{told:?}");
}

#[tokio::test]
async fn who_goes_on_guessing_is_answered_late_and_who_knows_the_token_at_the_same_address_at_once() {
    const GUESSES: usize = 50;
    let (up, sluice, grpc) = start("s3cret").await;
    let clock = clock::hold();
    for guess in 0..20 {
        assert_eq!(status(&sluice, &format!("Bearer {guess}")).await, 401, "no time passes until the answer");
    }
    let guessing: Vec<_> = (0..GUESSES).map(|_| tokio::spawn(code(grpc, Some("Bearer guess")))).collect();
    while sluice.metric("sluice_receiver_auth_failures_total", &[]).await < (20 + GUESSES) as f64 {}
    for _ in 0..10 {
        assert_eq!(status(&sluice, "Bearer s3cret").await, 200, "no time passes until the answer");
    }
    assert!(!guessing.iter().any(tokio::task::JoinHandle::is_finished));
    drop(clock);
    resume();
    let since = Instant::now();
    for guess in guessing {
        assert_eq!(tokio::time::timeout(PATIENCE, guess).await.unwrap().unwrap(), Code::Unauthenticated);
    }
    assert!(since.elapsed() >= Duration::from_millis(900), "a second after the guess");
    up.records(10).await;
}

#[tokio::test]
async fn of_one_address_that_asks_many_times_at_once_no_more_is_looked_at_right_or_wrong_and_others_are_taken()
 {
    let (up, sluice, grpc) = start("s3cret").await;
    let right = ("authorization", "Bearer s3cret");
    // Each time it may be slower than a second, in which others are looked at again, so that it may have to be tried again.
    let mut barred = None;
    for host in 2..20 {
        let address = Ipv4Addr::new(127, 0, 0, host);
        let mut calls = Calls::over(connect_from(address, grpc).await).await;
        let mut guesses = Vec::new();
        for _ in 0..200 {
            guesses.push(calls.begin_with(export(Signal::Logs), &[("authorization", "Bearer guess")]).await);
        }
        let mut last = calls.begin_with(export(Signal::Logs), &[right]).await;
        last.send(framed(0, &body()), true);
        if last.code().await == Code::Unavailable {
            barred = Some((address, calls, guesses));
            break;
        }
    }
    let (address, mut calls, guesses) = barred.expect("it is not looked at");
    let mut unavailable = 0;
    for guess in guesses {
        match guess.code().await {
            Code::Unauthenticated => {}
            code => {
                assert_eq!(code, Code::Unavailable);
                unavailable += 1;
            }
        }
    }
    assert!((1..=200 - 20 - 64).contains(&unavailable), "{unavailable}");
    let refused =
        sluice.metric("sluice_receiver_auth_failures_total", &[("cause", "too_many_failures")]).await;
    assert!(refused > f64::from(unavailable));
    let taken = up.counts().records;
    assert_eq!(code(grpc, Some(right.1)).await, Code::Ok, "another address");
    up.records(taken + 1).await;

    // Once something right has come from there, nobody there is kept out.
    eventually("a look", async || {
        let mut wire = Wire::over(connect_from(address, sluice.otlp).await);
        wire.request("POST /v1/logs", &["authorization: Bearer s3cret", "content-length: 0"], "").await;
        let answer = wire.answer().await;
        assert!(answer.status != 503 || answer.header("retry-after").is_some());
        (answer.status != 503).then_some(())
    })
    .await;
    let mut guesses = Vec::new();
    for _ in 0..200 {
        guesses.push(calls.begin_with(export(Signal::Logs), &[("authorization", "Bearer guess")]).await);
    }
    let mut last = calls.begin_with(export(Signal::Logs), &[right]).await;
    last.send(framed(0, &body()), true);
    assert_eq!(last.code().await, Code::Ok);
}

#[tokio::test]
async fn sluice_send_shows_a_token_or_a_certificate() {
    let (authority, clients) = (Authority::new("a"), Authority::new("clients"));
    let tls =
        format!("tls: {{ {}, client_ca_file: '{}' }}", authority.server(), clients.path("ca.pem").display());
    let row = "{ id: acme, senders: [{ name: edge, certificate: { dns: acme.example.com } }, { name: web, token: s3cret }] }";
    let (up, sluice, grpc) = start_with_tenants(&tls, row).await;
    clients.write("acme", &clients.sign("acme.example.com"));
    clients.write("other", &clients.sign("other.example.com"));
    let send = async |protocol: &str, to: SocketAddr, name: &str, more: &[&str]| {
        let [certificate, key] = ["pem", "key"].map(|extension| clients.path(&format!("{name}.{extension}")));
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["send", "--requests", "1", "--protocol", protocol, "--endpoint"])
            .arg(format!("https://localhost:{}", to.port()))
            .arg("--ca-file")
            .arg(authority.path("ca.pem"))
            .arg("--cert-file")
            .arg(certificate)
            .arg("--key-file")
            .arg(key)
            .args(more)
            .output()
            .await
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (protocol, to) in [("http", sluice.otlp), ("grpc", grpc)] {
        assert!(send(protocol, to, "acme", &[]).await.0);
        let (taken, _) = send(protocol, to, "other", &[]).await;
        assert!(!taken);
        let (taken, said) = send(protocol, to, "other", &["--header", "Authorization: Bearer s3cret"]).await;
        assert!(taken && !said.contains("s3cret"), "{said}");
    }
    up.records(4 * 200).await;
}

#[tokio::test]
async fn names_of_headers_are_the_same_in_capitals() {
    let (up, sluice, _) = start("0123456789-of-all").await;
    let body = logs(&[("a", &["text"])]);
    for (authorization, expected) in
        [("Bearer 0123456789-of-all", 200), ("BEARER 0123456789-of-all", 200), ("Bearer x", 401)]
    {
        let mut wire = Wire::open(sluice.otlp).await;
        wire.write(format!(
            "POST /v1/logs HTTP/1.1\r\nHOST: sluice\r\nCONTENT-TYPE: APPLICATION/X-PROTOBUF\r\nAUTHORIZATION: {authorization}\r\n\
             CONTENT-LENGTH: {}\r\n\r\n",
            body.len()
        ))
        .await;
        wire.write(&body).await;
        assert_eq!(wire.answer().await.status, expected, "{authorization}");
    }
    up.records(2).await;
}
