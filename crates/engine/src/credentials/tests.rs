//! Headers against a token endpoint in memory, so that time can be paused; and against files.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, advance, sleep};

use super::*;
use crate::client::TlsClientSettings;
use crate::net::{SimulatedListener, SimulatedNetwork, Soon, Transmission};

const CLIENT_SECRET: &str = "cl1ent s3cr3t/ü";

/// A request for a token.
#[derive(Clone, Debug)]
struct TokenRequest {
    /// `Authorization`, or nothing.
    credentials: String,
    form: HashMap<String, String>,
    at: Instant,
}

/// What a token endpoint answers: after this time, a status, headers and a body.
#[derive(Clone, Debug)]
struct TokenAnswer {
    after: Duration,
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

type Script = dyn Fn(usize, &TokenRequest) -> TokenAnswer + Send + Sync;

/// An authorization server in memory, which answers by a script; the number of a request is its first argument.
#[derive(Clone)]
struct AuthorizationServer {
    script: Arc<Script>,
    requests: Arc<Mutex<Vec<TokenRequest>>>,
    asked: Arc<AtomicUsize>,
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.requests.lock().iter()).finish()
    }
}

impl SimulatedNetwork for AuthorizationServer {
    fn bind(&self, _: SocketAddr) -> io::Result<Box<dyn SimulatedListener>> {
        unreachable!("nothing listens here")
    }

    fn connect(&self, _: &str, _: u16) -> Soon<'static, io::Result<Box<dyn Transmission>>> {
        let (server, (near, far)) = (self.clone(), tokio::io::duplex(1 << 20));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service).await
        });
        Box::pin(async { Ok(Box::new(near) as Box<dyn Transmission>) })
    }
}

impl AuthorizationServer {
    fn new(script: impl Fn(usize, &TokenRequest) -> TokenAnswer + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), requests: Arc::default(), asked: Arc::default() }
    }

    async fn answer(&self, request: http::Request<Incoming>) -> Response<Full<Bytes>> {
        let credentials =
            request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let form = std::str::from_utf8(&body)
            .unwrap()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        let request = TokenRequest { credentials: credentials.unwrap_or_default(), form, at: Instant::now() };
        self.requests.lock().push(request.clone());
        let said = (self.script)(self.asked.fetch_add(1, Ordering::SeqCst), &request);
        sleep(said.after).await;
        let mut response = Response::builder().status(said.status);
        for (name, value) in said.headers {
            response = response.header(name, value);
        }
        response.body(Full::from(said.body)).unwrap()
    }

    fn requests(&self) -> Vec<TokenRequest> {
        self.requests.lock().clone()
    }

    fn headers(&self) -> Arc<AuthHeaders> {
        self.headers_with(&oauth2())
    }

    fn headers_with(&self, settings: &OAuth2Settings) -> Arc<AuthHeaders> {
        AuthHeaders::new(&auth_of(settings), &Network::Simulated(Arc::new(self.clone())), None).unwrap()
    }
}

impl TokenAnswer {
    fn new(status: u16, body: impl Into<String>) -> Self {
        Self { after: Duration::ZERO, status, headers: vec![], body: body.into() }
    }

    /// A token that is good for so many seconds.
    fn token(token: &str, seconds: u64) -> Self {
        Self::new(
            200,
            format!(r#"{{"access_token":"{token}","token_type":"bearer","expires_in":{seconds}}}"#),
        )
    }

    fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

fn text(text: &str) -> SecretSource {
    SecretSource::Text(text.into())
}

fn file(option: &'static str, path: &Path) -> SecretSource {
    SecretSource::File { option, path: path.into() }
}

fn oauth2() -> OAuth2Settings {
    OAuth2Settings {
        client_id: text("sluice"),
        client_secret: text(CLIENT_SECRET),
        token_url: "http://login.test/oauth2/token?tenant=t3nant-in-the-query".into(),
        scopes: vec![],
        endpoint_params: vec![],
        timeout: Duration::from_secs(10),
        tls: TlsClientSettings::default(),
        expiry_buffer: Duration::from_secs(300),
    }
}

fn auth_of(settings: &OAuth2Settings) -> ExporterAuth {
    let method = ExporterAuthMethod::OAuth2(Box::new(settings.clone()));
    ExporterAuth { authenticator: "oauth2client/ingest".into(), method }
}

fn made_of(method: ExporterAuthMethod) -> Result<Arc<AuthHeaders>, CredentialsError> {
    let authenticator = "bearertokenauth/ingest".into();
    AuthHeaders::new(&ExporterAuth { authenticator, method }, &Network::Machine, None)
}

fn bearer(token: SecretSource) -> ExporterAuthMethod {
    ExporterAuthMethod::Bearer { header: AUTHORIZATION, scheme: "Bearer".into(), token }
}

impl AuthHeaders {
    /// The value of the header that an attempt made now has.
    async fn value(&self) -> Result<String, Arc<TokenError>> {
        self.current().await.map(|header| header.value.to_str().unwrap().to_owned())
    }

    /// The value of the header of an attempt that is answered with this code.
    async fn sent(&self, code: &'static str) -> String {
        let header = self.current().await.unwrap();
        self.answered(&header, code);
        header.value.to_str().unwrap().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_when_it_is_first_needed_and_once_for_all_that_wait_for_it() {
    let server = AuthorizationServer::new(|number, _| {
        TokenAnswer::token(&format!("t{number}"), 3600).after(Duration::from_secs(2))
    });
    let headers = server.headers();
    sleep(Duration::from_secs(3600)).await;
    assert!(server.requests().is_empty(), "nobody needed one");
    let mut waiting = JoinSet::new();
    for _ in 0..100 {
        let headers = headers.clone();
        waiting.spawn(async move { headers.value().await.unwrap() });
    }
    // Those that wait come and go.
    let gone = tokio::time::timeout(Duration::from_secs(1), headers.value()).await;
    assert!(gone.is_err());
    assert!(waiting.join_all().await.iter().all(|value| value == "Bearer t0"));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends_while_the_one_that_is_there_is_sent() {
    let server = AuthorizationServer::new(|number, _| {
        TokenAnswer::token(&format!("t{number}"), 3600).after(Duration::from_secs(1))
    });
    let headers = server.headers();
    assert_eq!(headers.value().await.unwrap(), "Bearer t0");
    advance(Duration::from_secs(3600 - 301)).await;
    assert_eq!(headers.value().await.unwrap(), "Bearer t0");
    assert_eq!(server.requests().len(), 1, "it is five minutes too early");
    advance(Duration::from_secs(1)).await;
    let asked = Instant::now();
    assert_eq!(headers.value().await.unwrap(), "Bearer t0");
    assert_eq!(asked.elapsed(), Duration::ZERO, "nobody waits for the new one");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(headers.value().await.unwrap(), "Bearer t1");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_good_for_less_than_the_buffer_is_used_for_half_its_life() {
    let server = AuthorizationServer::new(|number, _| TokenAnswer::token(&format!("t{number}"), 2));
    let headers = server.headers();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        headers.value().await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    assert!((58..=61).contains(&server.requests().len()), "{}", server.requests().len());
}

#[tokio::test(start_paused = true)]
async fn a_token_of_which_nobody_says_how_long_it_is_good_is_used_until_it_is_refused() {
    for said in [r#""scope":"all""#, r#""expires_in":0"#, r#""expires_in":null"#, r#""expires_in":"soon""#] {
        let body = format!(r#"{{"access_token":"t0",{said}}}"#);
        let server = AuthorizationServer::new(move |_, _| TokenAnswer::new(200, body.clone()));
        let headers = server.headers();
        for _ in 0..10 {
            assert_eq!(headers.value().await.unwrap(), "Bearer t0");
            advance(Duration::from_secs(1 << 20)).await;
        }
        assert_eq!(server.requests().len(), 1, "{said}");
        headers.sent("401").await;
        headers.value().await.unwrap();
        assert_eq!(server.requests().len(), 2, "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ended_while_nothing_was_sent_is_not_sent() {
    let server = AuthorizationServer::new(|number, _| TokenAnswer::token(&format!("t{number}"), 600));
    let headers = server.headers();
    assert_eq!(headers.value().await.unwrap(), "Bearer t0");
    advance(Duration::from_secs(600)).await;
    assert_eq!(headers.value().await.unwrap(), "Bearer t1");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_without_a_token_is_asked_after_waits_that_grow_however_many_attempts_are_made() {
    let server = AuthorizationServer::new(|_, _| TokenAnswer::new(503, "maintenance"));
    let headers = server.headers();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(600) {
        let answer = headers.value().await.unwrap_err();
        assert!(!answer.is_refusal());
        sleep(Duration::from_millis(10)).await;
    }
    let at: Vec<Instant> = server.requests().iter().map(|request| request.at).collect();
    assert!((15..60).contains(&at.len()), "{}", at.len());
    let longest = at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest <= Duration::from_secs(46), "half as much again as 30 s: {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_still_good_is_sent_while_it_can_not_be_renewed() {
    let server = AuthorizationServer::new(|number, _| match number {
        0 => TokenAnswer::token("t0", 600),
        _ => TokenAnswer::new(500, ""),
    });
    let headers = server.headers();
    let start = Instant::now();
    headers.value().await.unwrap();
    while start.elapsed() < Duration::from_secs(600) {
        assert_eq!(headers.value().await.unwrap(), "Bearer t0");
        sleep(Duration::from_secs(1)).await;
    }
    assert!(!headers.value().await.unwrap_err().is_refusal());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_upstream_refuses_is_fetched_anew_and_no_more_often_than_the_waits_allow() {
    let server = AuthorizationServer::new(|number, _| TokenAnswer::token(&format!("t{number}"), 3600));
    let headers = server.headers();
    assert_eq!(headers.sent("401").await, "Bearer t0");
    assert_eq!(headers.sent("UNAUTHENTICATED").await, "Bearer t1", "at once");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(600) {
        headers.sent("401").await;
        sleep(Duration::from_millis(10)).await;
    }
    assert!((15..60).contains(&server.requests().len()), "{}", server.requests().len());
    for other in ["200", "403", "404", "429", "503", "PERMISSION_DENIED"] {
        sleep(Duration::from_secs(120)).await;
        headers.value().await.unwrap();
        let known = server.requests().len();
        headers.sent(other).await;
        headers.sent(other).await;
        assert_eq!(server.requests().len(), known, "{other} says nothing of the token");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_token_that_was_replaced_since_says_nothing_of_the_new_one() {
    let server = AuthorizationServer::new(|number, _| TokenAnswer::token(&format!("t{number}"), 3600));
    let headers = server.headers();
    let old = headers.current().await.unwrap();
    headers.answered(&old, "401");
    assert_eq!(headers.value().await.unwrap(), "Bearer t1");
    sleep(Duration::from_secs(600)).await;
    headers.answered(&old, "401");
    assert_eq!(headers.value().await.unwrap(), "Bearer t1");
}

#[tokio::test(start_paused = true)]
async fn the_client_is_named_in_a_header_and_by_a_server_that_refuses_that_in_the_form_from_then_on() {
    let server = AuthorizationServer::new(|number, request| {
        if request.form.contains_key("client_secret") {
            TokenAnswer::token(&format!("t{number}"), 600)
        } else {
            TokenAnswer::new(400, r#"{"error":"invalid_request","error_description":"client_id is missing"}"#)
        }
    });
    let headers = server.headers();
    assert_eq!(headers.value().await.unwrap(), "Bearer t1");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(headers.value().await.unwrap(), "Bearer t2");
    let requests = server.requests();
    // Each is encoded as in a form before both are in Base64.
    let basic = format!("Basic {}", BASE64.encode("sluice:cl1ent%20s3cr3t%2F%C3%BC"));
    assert_eq!(requests[0].credentials, basic);
    assert!(!requests[0].form.contains_key("client_id"));
    for request in &requests[1..] {
        assert_eq!(request.credentials, "", "one of the two ways at a time");
        assert_eq!(request.form["client_id"], "sluice");
        assert_eq!(request.form["client_secret"], CLIENT_SECRET);
    }
}

#[tokio::test(start_paused = true)]
async fn grant_scopes_and_parameters_stand_in_the_form() {
    let server = AuthorizationServer::new(|_, _| TokenAnswer::token("t", 600));
    let params = vec![("audience".into(), "https://ingest.test/?a=b&c".into())];
    let settings =
        OAuth2Settings { scopes: vec!["a.write".into(), "b".into()], endpoint_params: params, ..oauth2() };
    server.headers_with(&settings).value().await.unwrap();
    let form = &server.requests()[0].form;
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["scope"], "a.write b");
    assert_eq!(form["audience"], "https://ingest.test/?a=b&c");

    let params = vec![("grant_type".into(), "password".into())];
    server.headers_with(&OAuth2Settings { endpoint_params: params, ..oauth2() }).value().await.unwrap();
    assert_eq!(server.requests()[1].form["grant_type"], "password", "for servers that want another word");
}

#[tokio::test(start_paused = true)]
async fn what_keeps_a_token_away_is_said_as_it_is_and_without_secrets() {
    const REFUSED: bool = true;
    const PASSING: bool = false;
    let with_secret = format!("{CLIENT_SECRET} of cl1ent%20s3cr3t%2F%C3%BC and p4rameter");
    let json = |error: &str, description: &str| {
        serde_json::json!({ "error": error, "error_description": description }).to_string()
    };
    let cases = [
        (
            TokenAnswer::new(401, json("invalid_client", "unknown client sluice")),
            REFUSED,
            "invalid_client: unknown client sluice",
        ),
        (TokenAnswer::new(400, json("invalid_scope", "")), REFUSED, "invalid_scope"),
        (
            TokenAnswer::new(401, json("invalid_client", &with_secret)),
            REFUSED,
            "invalid_client: [redacted] of [redacted] and [redacted]",
        ),
        (TokenAnswer::new(200, json("unauthorized_client", "")), REFUSED, "unauthorized_client"),
        (TokenAnswer::new(403, "nobody"), REFUSED, "403 Forbidden: nobody"),
        (TokenAnswer::new(404, ""), REFUSED, "404 Not Found"),
        (
            TokenAnswer::new(302, "").with("location", "https://other.test/?secret=x"),
            REFUSED,
            "302 Found: redirects are not followed; `token_url` should name what `https://other.test/?[redacted]` is",
        ),
        (TokenAnswer::new(200, "<html>"), REFUSED, "its answer is not JSON"),
        (TokenAnswer::new(200, r#"{"access_token":"h4lf"#), REFUSED, "its answer is not JSON"),
        (TokenAnswer::new(200, r#"{"access_token":["l1st"]}"#), REFUSED, "its answer has no `access_token`"),
        (TokenAnswer::new(200, r#"{"access_token":""}"#), REFUSED, "its answer has no `access_token`"),
        (TokenAnswer::token("l\u{e4}\\n", 10), REFUSED, "its token has characters that no header may have"),
        (
            TokenAnswer::new(200, format!(r#"{{"access_token":"{}"}}"#, "x".repeat(1 << 20))),
            REFUSED,
            "200 OK, and the answer is longer than 65536 bytes",
        ),
        (
            TokenAnswer::new(500, "oops p4rameter"),
            PASSING,
            "has no token now: 500 Internal Server Error: oops [redacted]",
        ),
        (TokenAnswer::new(429, json("slow_down", "")), PASSING, "has no token now: slow_down"),
        (
            TokenAnswer::token("t", 10).after(Duration::from_secs(11)),
            PASSING,
            "the token endpoint `http://login.test/oauth2/token?[redacted]` has not answered within 10s",
        ),
    ];
    for (said, is_refusal, expected) in cases {
        let server = AuthorizationServer::new({
            let said = said.clone();
            move |_, _| said.clone()
        });
        let params = vec![("resource".into(), "p4rameter".into())];
        let headers = server.headers_with(&OAuth2Settings { endpoint_params: params, ..oauth2() });
        let answer = headers.value().await.unwrap_err();
        assert_eq!(answer.is_refusal(), is_refusal, "{said:?}");
        let detail = &answer.to_string();
        assert!(detail.contains(expected), "{detail}");
        assert!(
            detail.starts_with("`oauth2client/ingest`: the token endpoint `http://login.test/"),
            "{detail}"
        );
        let secrets = ["s3cr3t", "p4rameter", "t3nant", "h4lf", "l1st", "xxxx"];
        assert!(!secrets.iter().any(|secret| detail.contains(secret)), "{detail}");
    }
}

#[tokio::test(start_paused = true)]
async fn both_answers_of_a_server_that_refuses_a_client_in_two_ways_are_said() {
    let server = AuthorizationServer::new(|number, _| {
        let error = ["invalid_request", "invalid_client"][number % 2];
        TokenAnswer::new(400, format!(r#"{{"error":"{error}"}}"#))
    });
    let answer = server.headers().value().await.unwrap_err();
    assert!(
        answer.to_string().ends_with("invalid_request; with the credentials in the form: invalid_client"),
        "{}",
        answer
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_busy_endpoint_asks_to_wait_is_waited() {
    let server = AuthorizationServer::new(|number, _| match number {
        0 => TokenAnswer::new(429, "").with("retry-after", "100"),
        _ => TokenAnswer::token("t", 600),
    });
    let headers = server.headers();
    for _ in 0..100 {
        headers.value().await.unwrap_err();
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!(headers.value().await.unwrap(), "Bearer t");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reload_goes_on_with_a_token_if_nothing_of_auth_has_changed() {
    let server = AuthorizationServer::new(|number, _| TokenAnswer::token(&format!("t{number}"), 3600));
    let headers = server.headers();
    assert_eq!(headers.value().await.unwrap(), "Bearer t0");
    let network = Network::Simulated(Arc::new(server.clone()));
    let same = AuthHeaders::new(&auth_of(&oauth2()), &network, Some(&headers)).unwrap();
    assert_eq!(same.value().await.unwrap(), "Bearer t0");
    let others = [
        OAuth2Settings { client_secret: text("another"), ..oauth2() },
        OAuth2Settings { scopes: vec!["another".into()], ..oauth2() },
        OAuth2Settings { endpoint_params: vec![("another".into(), "p".into())], ..oauth2() },
    ];
    for (number, other) in (1..).zip(others) {
        let other = AuthHeaders::new(&auth_of(&other), &network, Some(&headers)).unwrap();
        assert_eq!(other.value().await.unwrap(), format!("Bearer t{number}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_the_client_that_changes_in_its_file_is_sent_with_the_next_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "first\n").unwrap();
    let server = AuthorizationServer::new(|_, request| {
        if request.credentials == format!("Basic {}", BASE64.encode("sluice:second")) {
            TokenAnswer::token("t", 600)
        } else {
            TokenAnswer::new(401, r#"{"error":"invalid_client"}"#)
        }
    });
    let settings = OAuth2Settings { client_secret: file("client_secret_file", &path), ..oauth2() };
    let headers = server.headers_with(&settings);
    headers.value().await.unwrap_err();
    std::fs::write(&path, "second\n").unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(headers.value().await.unwrap(), "Bearer t");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_changes_in_its_file_is_sent_within_a_second_and_at_once_after_a_refusal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "first\n").unwrap();
    let headers = made_of(bearer(file("filename", &path))).unwrap();
    assert_eq!(headers.value().await.unwrap(), "Bearer first");
    std::fs::write(&path, "\n second \nthird\n").unwrap();
    assert_eq!(headers.value().await.unwrap(), "Bearer first", "not every attempt reads it");
    advance(Duration::from_secs(1)).await;
    assert_eq!(headers.value().await.unwrap(), "Bearer second", "the first of them");
    std::fs::write(&path, "third").unwrap();
    assert_eq!(headers.sent("401").await, "Bearer second");
    assert_eq!(headers.value().await.unwrap(), "Bearer third");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_can_not_be_used_any_more_leaves_what_it_last_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "good").unwrap();
    let headers = made_of(bearer(file("filename", &path))).unwrap();
    let long = vec![b'x'; 70_000];
    for bad in [Some(&b""[..]), Some(b"Bearer s3cret"), Some(b"\xff"), Some(&*long), None] {
        std::fs::remove_file(&path).unwrap();
        if let Some(bad) = bad {
            std::fs::write(&path, bad).unwrap();
        }
        advance(Duration::from_secs(2)).await;
        assert_eq!(headers.value().await.unwrap(), "Bearer good", "{bad:?}");
        std::fs::write(&path, "good").unwrap();
    }
}

#[tokio::test]
async fn a_user_and_a_password_are_sent_as_a_basic_credential_of_which_nothing_is_shown() {
    let method = ExporterAuthMethod::Basic { username: text("acme"), password: text("p4ss:word ü") };
    let headers = made_of(method).unwrap();
    let header = headers.current().await.unwrap();
    assert_eq!(header.value, format!("Basic {}", BASE64.encode("acme:p4ss:word ü")));
    assert_eq!(header.secrets.clean("no user acme with p4ss:word ü"), "no user [redacted] with [redacted]");
    let shown = format!("{headers:?} {header:?}");
    assert!(!shown.contains("p4ss") && !shown.contains(&BASE64.encode("acme:p4ss:word ü")), "{shown}");
}

#[tokio::test]
async fn header_and_scheme_can_be_others() {
    let token = |scheme: &str| ExporterAuthMethod::Bearer {
        header: HeaderName::from_static("x-api-key"),
        scheme: scheme.into(),
        token: text("k3y"),
    };
    for (scheme, expected) in [("", "k3y"), ("ApiKey", "ApiKey k3y")] {
        let headers = made_of(token(scheme)).unwrap();
        let mut map = HeaderMap::new();
        headers.current().await.unwrap().set(&mut map);
        assert_eq!(map["x-api-key"], expected);
        assert!(map["x-api-key"].is_sensitive());
    }
}

#[test]
fn what_can_not_be_sent_is_an_error_that_names_its_place_and_not_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let refused = |method| made_of(method).unwrap_err().to_string();
    let missing = refused(bearer(file("filename", &path)));
    assert!(
        missing.starts_with("`bearertokenauth/ingest`: `/")
            && missing.contains("of `filename` can't be used: No such file"),
        "{missing}"
    );
    std::fs::write(&path, "s3cret\x07").unwrap();
    let unusable = refused(bearer(file("filename", &path)));
    assert!(unusable.ends_with("a token must be visible ASCII without spaces"), "{unusable}");
    let in_text = refused(bearer(text("s3cret\n")));
    assert!(in_text.contains("a secret of the configuration can't be used"), "{in_text}");
    let colon = refused(ExporterAuthMethod::Basic { username: text("s3cret:"), password: text("p") });
    assert!(colon.ends_with("a user's name can't have a colon"), "{colon}");
    for error in [missing, unusable, in_text, colon] {
        assert!(!error.contains("s3cret"), "{error}");
    }
    for url in ["login.test/token", "https://user:s3cret@login.test/", "ftp://login.test"] {
        let settings = OAuth2Settings { token_url: url.into(), ..oauth2() };
        let error = AuthHeaders::new(&auth_of(&settings), &Network::Machine, None).unwrap_err().to_string();
        assert!(error.starts_with("`oauth2client/ingest`: `") && !error.contains("s3cret"), "{error}");
    }
}
