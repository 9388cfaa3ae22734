//! `auth` of exporters: the header that each attempt at sending is authenticated with.
//!
//! The header is made anew for each attempt, so that a token or a password that
//! changes takes effect at the next attempt, without a reload. Files are read again when they change; a token of OAuth 2.0
//! is fetched when it is first needed, kept, and renewed before it ends. Without a header there is an error that says why.
//! No secret is in an error, a log line or a `Debug` text.

mod secret;
mod settings;
#[cfg(test)]
mod tests;
mod token_endpoint;
mod token_source;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

use self::secret::ReadSecret;
pub use self::secret::{SecretError, SecretUse};
pub use self::settings::{ExporterAuth, ExporterAuthMethod, OAuth2Settings, SecretSource};
use self::token_endpoint::TokenEndpoint;
pub use self::token_endpoint::TokenEndpointError;
pub(crate) use self::token_endpoint::TokenError;
use self::token_source::TokenSource;
use crate::client::{ProxyError, Secrets, TlsError, keep_secret};
use crate::net::Network;

/// Why an exporter's `auth` can't be set up. For people who configure.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Where tokens are fetched.
    #[error(transparent)]
    TokenEndpoint(#[from] TokenEndpointError),
    /// The TLS settings of that, or their files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy on the way there.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The header's value can't be sent.
    #[error(transparent)]
    HeaderValue(#[from] HeaderValueError),
}

/// A header's value that can't be sent.
#[derive(Debug, Error)]
#[error(
    "the value of the header `{0}` holds characters that can't be sent, such as a line break: only printable ASCII"
)]
pub struct HeaderValueError(pub HeaderName);

/// The credentials that one exporter authenticates its attempts with.
#[derive(Debug)]
pub struct AuthHeaders {
    settings: ExporterAuth,
    header: HeaderName,
    maker: Maker,
}

/// Where the header's value comes from.
#[derive(Debug)]
enum Maker {
    /// A scheme and a token, or a user and a password.
    Secrets(Box<MadeOfSecrets>),
    /// A token of OAuth 2.0.
    Tokens(Arc<TokenSource>),
}

/// The header of an attempt.
pub(crate) struct AuthHeader {
    name: HeaderName,
    /// Marked as sensitive.
    value: HeaderValue,
    /// The texts of the header that are not shown if the upstream echoes them.
    secrets: Secrets,
}

impl fmt::Debug for AuthHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [redacted]", self.name)
    }
}

impl AuthHeader {
    fn new(name: HeaderName, value: HeaderValue) -> Self {
        let mut secrets = Secrets::default();
        let value = keep_secret(value, &mut secrets);
        Self { name, value, secrets }
    }

    /// Puts it among the headers of a request.
    pub(crate) fn set(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }
}

/// What must not be seen of a request: what is secret of its target, and of the header that authenticates it.
pub(crate) fn secrets_of<'a>(target: &'a Secrets, header: Option<&AuthHeader>) -> Cow<'a, Secrets> {
    header.map_or(Cow::Borrowed(target), |header| Cow::Owned(target.with(&header.secrets)))
}

impl AuthHeaders {
    /// Reads the files that hold secrets, and blocks on them; fetches no token. If `former`, which an exporter had before a
    /// reload, is made of the same settings, it is used on with the token that it has.
    pub(crate) fn new(
        settings: &ExporterAuth,
        network: &Network,
        former: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, CredentialsError> {
        if let Some(former) = former.filter(|former| former.settings == *settings) {
            return Ok(Arc::clone(former));
        }
        let name = &settings.authenticator;
        let (header, maker) = match &settings.method {
            ExporterAuthMethod::Bearer { header, scheme, token } => {
                if HeaderValue::from_str(scheme).is_err() {
                    return Err(HeaderValueError(header.clone()).into());
                }
                let token = ReadSecret::new(name, token, SecretUse::Token)?;
                let made = MadeOfSecrets::new(header, Recipe::Token { scheme: scheme.clone(), token });
                (header.clone(), Maker::Secrets(Box::new(made)))
            }
            ExporterAuthMethod::Basic { username, password } => {
                let username = ReadSecret::new(name, username, SecretUse::Username)?;
                let password = ReadSecret::new(name, password, SecretUse::Encoded)?;
                let made = MadeOfSecrets::new(&AUTHORIZATION, Recipe::Basic { username, password });
                (AUTHORIZATION, Maker::Secrets(Box::new(made)))
            }
            ExporterAuthMethod::OAuth2(oauth2) => {
                let endpoint = TokenEndpoint::new(name, oauth2, network)?;
                let source = TokenSource::new(Arc::clone(name), endpoint, oauth2.expiry_buffer);
                (AUTHORIZATION, Maker::Tokens(Arc::new(source)))
            }
        };
        Ok(Arc::new(Self { settings: settings.clone(), header, maker }))
    }

    /// Keeps the header's place among those of a target, for people who look at them: its value is another at each attempt.
    pub(crate) fn reserve(&self, headers: &mut HeaderMap) {
        let mut value = HeaderValue::from_static("[redacted]");
        value.set_sensitive(true);
        headers.insert(self.header.clone(), value);
    }

    /// The header of an attempt that is made now. Without one there is none to make.
    pub(crate) async fn current(&self) -> Result<Arc<AuthHeader>, Arc<TokenError>> {
        match &self.maker {
            Maker::Secrets(made) => Ok(made.current().await),
            Maker::Tokens(source) => source.current().await,
        }
    }

    /// Tells the code of the answer to an attempt with this header, whatever `statuses` makes of it. A header that the upstream does
    /// not take is not used on if another can be had.
    pub(crate) fn answered(&self, header: &Arc<AuthHeader>, code: &str) {
        if !matches!(code, "401" | "UNAUTHENTICATED") {
            return;
        }
        match &self.maker {
            Maker::Secrets(made) => made.read_again(),
            Maker::Tokens(source) => source.refused(header),
        }
    }
}

/// A header that is made of what is configured, or of what files hold.
#[derive(Debug)]
struct MadeOfSecrets {
    name: HeaderName,
    recipe: Recipe,
    /// The last one, and the secrets that it was made of.
    made: Mutex<Option<MadeHeader>>,
}

#[derive(Debug)]
struct MadeHeader {
    of: [Option<Arc<SecretString>>; 2],
    header: Arc<AuthHeader>,
}

#[derive(Debug)]
enum Recipe {
    Token { scheme: String, token: ReadSecret },
    Basic { username: ReadSecret, password: ReadSecret },
}

impl MadeOfSecrets {
    fn new(name: &HeaderName, recipe: Recipe) -> Self {
        Self { name: name.clone(), recipe, made: Mutex::new(None) }
    }

    async fn current(&self) -> Arc<AuthHeader> {
        let of = match &self.recipe {
            Recipe::Token { token, .. } => [Some(token.current().await), None],
            Recipe::Basic { username, password } => {
                [Some(username.current().await), Some(password.current().await)]
            }
        };
        let mut made = self.made.lock();
        if let Some(made) = made.as_ref().filter(|made| made.is_of(&of)) {
            return Arc::clone(&made.header);
        }
        let header = Arc::new(AuthHeader::new(self.name.clone(), self.recipe.value(&of)));
        *made = Some(MadeHeader { of, header: Arc::clone(&header) });
        header
    }

    fn read_again(&self) {
        match &self.recipe {
            Recipe::Token { token, .. } => token.read_again(),
            Recipe::Basic { username, password } => {
                username.read_again();
                password.read_again();
            }
        }
    }
}

impl MadeHeader {
    fn is_of(&self, of: &[Option<Arc<SecretString>>; 2]) -> bool {
        self.of.iter().zip(of).all(|(one, other)| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        })
    }
}

impl Recipe {
    /// The header's value, of secrets in their order.
    fn value(&self, secrets: &[Option<Arc<SecretString>>; 2]) -> HeaderValue {
        let [first, second] =
            secrets.each_ref().map(|secret| secret.as_ref().map_or("", |it| it.expose_secret()));
        let text = match self {
            Self::Token { scheme, .. } if scheme.is_empty() => first.to_owned(),
            Self::Token { scheme, .. } => format!("{scheme} {first}"),
            Self::Basic { .. } => format!("Basic {}", BASE64.encode(format!("{first}:{second}"))),
        };
        HeaderValue::from_str(&text).expect("scheme and token were looked at, and Base64 is printable")
    }
}
