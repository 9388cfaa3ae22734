//! One request for a token of OAuth 2.0, by the grant of client credentials (RFC 6749, section 4.4), and the meaning of its
//! answer.
//!
//! Servers differ in where they look for the client's name and secret. As in the Collector (`golang.org/x/oauth2`), they
//! stand in an `Authorization: Basic` header first, which every server has to take, each encoded as in a form. A server that
//! refuses that is asked once more, at once, with both in the form. It gets the credentials from then on where it has taken
//! them.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, PROXY_AUTHORIZATION, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use thiserror::Error;
use tracing::trace;

use super::secret::{ReadSecret, SecretUse};
use super::settings::OAuth2Settings;
use super::{AuthHeader, CredentialsError};
use crate::client::{
    Connector, Origin, Proxies, Secrets, Tls, UrlError, Way, chain, dial, error_message, parse_url,
    retry_after, shown_url,
};
use crate::net::Network;

/// Bytes of an answer that are read. A token is sent in a header with every request, so that a long one is of no use.
const MAX_ANSWER: usize = 64 * 1024;

/// Bytes of an answer's head, and those that are read at a time.
const READ_BUFFER: usize = 16 * 1024;

/// The characters that a form does not encode.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');

/// Why there is no token endpoint at what is configured.
#[derive(Debug, Error)]
#[error("`{authenticator}`: `{url}` of `token_url` is {source}")]
pub struct TokenEndpointError {
    authenticator: Arc<str>,
    /// The URL without user information and query.
    url: String,
    source: UrlError,
}

/// Where one exporter fetches its tokens.
#[derive(Debug)]
pub(super) struct TokenEndpoint {
    authenticator: Arc<str>,
    client_id: ReadSecret,
    client_secret: ReadSecret,
    /// The form of every request: the grant, scopes and configured parameters, encoded.
    form: SecretString,
    origin: Origin,
    way: Way,
    /// The target in the request line: a path, or the whole URL for a proxy.
    uri: Uri,
    /// For people.
    url: String,
    timeout: Duration,
    connector: Connector,
    tls: Tls,
    /// Texts that are not shown if the server echoes them, beside the client's secret.
    secrets: Secrets,
    /// The place for the credentials that it has given a token for.
    place: Mutex<Option<CredentialsPlace>>,
}

/// Where the client's name and secret stand in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CredentialsPlace {
    Header,
    Form,
}

/// A token that an endpoint has given.
pub(super) struct AccessToken {
    pub(super) header: AuthHeader,
    /// How long it is valid, if the endpoint said so.
    pub(super) lifetime: Option<Duration>,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenError {
    /// The reason for people, without secrets: a line of limited length.
    detail: String,
    refused: bool,
    /// Whether other credentials, or the same in another place, may be taken.
    of_credentials: bool,
    /// How long the server asks to wait.
    pub(super) after: Option<Duration>,
}

impl TokenError {
    /// Whether what answers refuses the client, or is no token endpoint; otherwise it is nothing that lasts.
    pub(crate) fn is_refusal(&self) -> bool {
        self.refused
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl TokenEndpoint {
    /// Reads the files that hold secrets or certificates, and blocks on them; opens no connection.
    pub(super) fn new(
        authenticator: &Arc<str>,
        settings: &OAuth2Settings,
        network: &Network,
    ) -> Result<Self, CredentialsError> {
        let url = settings.token_url.expose_secret();
        let whole = parse_url(url).map_err(|source| TokenEndpointError {
            authenticator: Arc::clone(authenticator),
            url: shown_url(url),
            source,
        })?;
        let origin = Origin::of(&whole).expect("`parse_url` has seen scheme and host");
        let way = Proxies::from_env().way(&origin)?;
        let path = whole.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut secrets = Secrets::default();
        for pair in path.query().unwrap_or_default().split('&') {
            secrets.add(pair.split_once('=').map_or(pair, |(_, value)| value));
        }
        for (_, value) in &settings.endpoint_params {
            secrets.add(value.expose_secret());
            secrets.add(&encoded(value.expose_secret()));
        }
        Ok(Self {
            authenticator: Arc::clone(authenticator),
            client_id: ReadSecret::new(authenticator, &settings.client_id, SecretUse::Encoded)?,
            client_secret: ReadSecret::new(authenticator, &settings.client_secret, SecretUse::Encoded)?,
            form: form(settings),
            uri: if matches!(way, Way::Forward(_)) { whole } else { Uri::from(path) },
            connector: Connector::new(network, settings.timeout, Weak::<()>::new()),
            tls: Tls::new(settings.tls.clone(), b"http/1.1", origin.https)?,
            origin,
            way,
            url: shown_url(url),
            timeout: settings.timeout,
            secrets,
            place: Mutex::new(None),
        })
    }

    /// Fetches a token.
    pub(super) async fn fetch(&self) -> Result<AccessToken, TokenError> {
        if self.timeout.is_zero() {
            return self.fetch_by_any_place().await;
        }
        let fetched = tokio::time::timeout(self.timeout, self.fetch_by_any_place()).await;
        fetched.unwrap_or_else(|_| Err(self.passing(&format!("has not answered within {:?}", self.timeout))))
    }

    async fn fetch_by_any_place(&self) -> Result<AccessToken, TokenError> {
        self.client_id.read_again();
        self.client_secret.read_again();
        let (id, secret) = (self.client_id.current().await, self.client_secret.current().await);
        let client = ClientCredentials { id: id.expose_secret(), secret: secret.expose_secret() };
        let known = *self.place.lock();
        let place = known.unwrap_or(CredentialsPlace::Header);
        let error = match self.ask(client, place).await {
            Ok(token) => {
                *self.place.lock() = Some(place);
                return Ok(token);
            }
            Err(error) => error,
        };
        if known.is_some() || !error.of_credentials {
            return Err(error);
        }
        match self.ask(client, CredentialsPlace::Form).await {
            Ok(token) => {
                *self.place.lock() = Some(CredentialsPlace::Form);
                Ok(token)
            }
            Err(other) if !other.of_credentials || other == error => Err(error),
            // Which of the two the server means to be asked by is not known, and so which of the answers counts.
            Err(other) => {
                let reason = other.detail.split_once(REFUSED).map_or(&*other.detail, |(_, reason)| reason);
                let detail = format!("{}; with the credentials in the form: {reason}", error.detail);
                Err(TokenError { detail, ..error })
            }
        }
    }

    /// Sends one request and reads its answer.
    async fn ask(
        &self,
        client: ClientCredentials<'_>,
        place: CredentialsPlace,
    ) -> Result<AccessToken, TokenError> {
        let secrets = client.secrets(&self.secrets);
        let (io, _) = dial(&self.connector, &self.tls, &self.origin, &self.way).await.map_err(|error| {
            self.passing(&format!("can't be reached: {}", secrets.clean(&error.to_string())))
        })?;
        let broke_off = |error: hyper::Error| {
            self.passing(&format!("has not answered: {}", secrets.clean(&chain(&error))))
        };
        let (mut sender, connection) = http1::Builder::new()
            .read_buf_exact_size(Some(READ_BUFFER))
            .handshake(TokioIo::new(io))
            .await
            .map_err(broke_off)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                trace!(%error, "a connection to a token endpoint ended");
            }
        });
        let response = sender.send_request(self.request(client, place)).await.map_err(broke_off)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = match body {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(self.refusal(
                    &format!("{}, and the answer is longer than {MAX_ANSWER} bytes", head.status),
                    false,
                ));
            }
            Err(_) => return Err(self.passing("has answered, but the answer broke off")),
        };
        self.judge(head.status, &head.headers, &body, &secrets)
    }

    fn request(&self, client: ClientCredentials<'_>, place: CredentialsPlace) -> Request<Full<Bytes>> {
        let mut form = self.form.expose_secret().to_owned();
        let mut headers = HeaderMap::with_capacity(6);
        let host = HeaderValue::from_str(&self.origin.authority()).expect("a host was a part of a URL");
        headers.insert(HOST, host);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION"))));
        if let Way::Forward(proxy) = &self.way
            && let Some(authorization) = proxy.authorization.clone()
        {
            headers.insert(PROXY_AUTHORIZATION, authorization);
        }
        match place {
            CredentialsPlace::Header => {
                let value = format!("Basic {}", client.in_base64());
                let mut value = HeaderValue::from_str(&value).expect("Base64 is printable");
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            CredentialsPlace::Form => {
                push(&mut form, "client_id", client.id);
                push(&mut form, "client_secret", client.secret);
            }
        }
        let mut request = Request::new(Full::new(Bytes::from(form)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }

    /// A token, or why there is none. Of a success nothing is ever shown, since it may hold one.
    fn judge(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        secrets: &Secrets,
    ) -> Result<AccessToken, TokenError> {
        let answer: Option<Value> = serde_json::from_slice(body).ok();
        let text = |name: &str| answer.as_ref().and_then(|answer| answer.get(name)).and_then(Value::as_str);
        // RFC 6749, section 5.2. Some servers say it with a status of success.
        let error = text("error").filter(|error| !error.is_empty()).map(|error| {
            let described = text("error_description").filter(|text| !text.is_empty());
            described.map_or_else(|| error.to_owned(), |described| format!("{error}: {described}"))
        });
        let reason = match (&error, status) {
            (Some(error), _) => secrets.clean(error),
            (None, status) if status.is_success() => String::new(),
            (None, status) => {
                let message = error_message(headers, body);
                secrets.clean(&if message.trim().is_empty() {
                    status.to_string()
                } else {
                    format!("{status}: {message}")
                })
            }
        };
        match status.as_u16() {
            408 | 429 | 500..=599 => {
                let after = retry_after(headers, SystemTime::now());
                return Err(TokenError { after, ..self.passing(&format!("has no token now: {reason}")) });
            }
            300..=399 => {
                let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
                // The location may repeat the query that was sent.
                let location = secrets.clean(&shown_url(location.unwrap_or("nowhere")));
                let reason = format!(
                    "{status}: redirects are not followed; `token_url` should name what `{location}` is"
                );
                return Err(self.refusal(&reason, false));
            }
            200..=299 if error.is_none() => {}
            status => return Err(self.refusal(&reason, matches!(status, 200..=299 | 400 | 401 | 403))),
        }
        let Some(token) = text("access_token").filter(|token| !token.is_empty()) else {
            let what = if answer.is_some() { "has no `access_token`" } else { "is not JSON" };
            let reason = format!(
                "its answer {what}: is `token_url` the endpoint for tokens of the authorization server?"
            );
            return Err(self.refusal(&reason, false));
        };
        let scheme = match text("token_type") {
            Some(other) if !other.is_empty() && !other.eq_ignore_ascii_case("bearer") => other,
            _ => "Bearer",
        };
        let Ok(value) = HeaderValue::from_str(&format!("{scheme} {token}")) else {
            return Err(self.refusal("its token has characters that no header may have", false));
        };
        let lifetime = answer.as_ref().and_then(|answer| answer.get("expires_in")).and_then(seconds);
        Ok(AccessToken { header: AuthHeader::new(AUTHORIZATION, value), lifetime })
    }

    fn passing(&self, what: &str) -> TokenError {
        let detail = format!("`{}`: the token endpoint `{}` {what}", self.authenticator, self.url);
        TokenError { detail, refused: false, of_credentials: false, after: None }
    }

    fn refusal(&self, reason: &str, of_credentials: bool) -> TokenError {
        let detail = format!("`{}`: the token endpoint `{}`{REFUSED}{reason}", self.authenticator, self.url);
        TokenError { detail, refused: true, of_credentials, after: None }
    }
}

/// The text before the reason of a refusal.
const REFUSED: &str = " gives no token: ";

/// The client's name and secret.
#[derive(Clone, Copy)]
struct ClientCredentials<'a> {
    id: &'a str,
    secret: &'a str,
}

impl ClientCredentials<'_> {
    /// Both as they stand behind `Basic` (RFC 6749, section 2.3.1).
    fn in_base64(self) -> String {
        BASE64.encode(format!("{}:{}", encoded(self.id), encoded(self.secret)))
    }

    /// The secret in every form that it is sent in, and `others`. The client's name is none.
    fn secrets(self, others: &Secrets) -> Secrets {
        let mut secrets = others.clone();
        secrets.add_whole(&self.in_base64());
        secrets.add(&encoded(self.secret));
        secrets.add(self.secret);
        secrets
    }
}

/// The form of every request.
fn form(settings: &OAuth2Settings) -> SecretString {
    let mut form = String::new();
    // Some servers want another word for the grant.
    if !settings.endpoint_params.iter().any(|(name, _)| name == "grant_type") {
        push(&mut form, "grant_type", "client_credentials");
    }
    if !settings.scopes.is_empty() {
        push(&mut form, "scope", &settings.scopes.join(" "));
    }
    for (name, value) in &settings.endpoint_params {
        push(&mut form, name, value.expose_secret());
    }
    form.into()
}

/// Adds a parameter to a form.
fn push(form: &mut String, name: &str, value: &str) {
    if !form.is_empty() {
        form.push('&');
    }
    form.push_str(&encoded(name));
    form.push('=');
    form.push_str(&encoded(value));
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string()
}

/// `expires_in`, as a number or, as some servers write it, a text. Zero says nothing, as in the Collector.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    // Thirty years are as good as for ever, and can be added to any moment.
    Duration::try_from_secs_f64(seconds.min(1e9)).ok().filter(|lifetime| !lifetime.is_zero())
}
