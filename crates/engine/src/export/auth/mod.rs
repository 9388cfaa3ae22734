//! `auth` of exporters: the header that each attempt is authenticated with.
//!
//! What it promises: the header is that of the moment in which the attempt is made, so that a token or a password that
//! changes takes effect at the next attempt, without a reload. Files are read again when they change; a token of OAuth 2.0
//! is fetched when it is first needed, kept, and renewed before it ends. Attempts without a header are not made: they end
//! with an [`Answer`] that says why, and what they would have sent waits as for an upstream that refuses it. No secret is in
//! an error, a log line or a `Debug` text.

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

use self::secret::ReadSecret;
pub use self::secret::{SecretError, SecretUse};
pub use self::settings::{ExporterAuth, ExporterAuthMethod, OAuth2Settings, SecretSource};
use self::token_endpoint::TokenEndpoint;
pub use self::token_endpoint::TokenEndpointError;
use self::token_source::TokenSource;
use super::upstream::detail::{Secrets, keep_secret};
use super::{Answer, TransportError};
use crate::net::Network;

/// What one exporter authenticates its attempts with.
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
pub(super) struct AuthHeader {
    name: HeaderName,
    /// Marked as sensitive.
    value: HeaderValue,
    /// What must not be seen of it if the upstream says it back.
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
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }
}

/// What must not be seen of a request: what is secret of its target, and of the header that authenticates it.
pub(super) fn secrets_of<'a>(target: &'a Secrets, header: Option<&AuthHeader>) -> Cow<'a, Secrets> {
    header.map_or(Cow::Borrowed(target), |header| Cow::Owned(target.with(&header.secrets)))
}

impl AuthHeaders {
    /// Reads the files that hold secrets, and blocks on them; fetches no token. If `former`, which an exporter had before a
    /// reload, is made of the same settings, it is used on with the token that it has.
    pub(super) fn new(
        settings: &ExporterAuth,
        network: &Network,
        former: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, TransportError> {
        if let Some(former) = former.filter(|former| former.settings == *settings) {
            return Ok(Arc::clone(former));
        }
        let name = &settings.authenticator;
        let (header, maker) = match &settings.method {
            ExporterAuthMethod::Bearer { header, scheme, token } => {
                if HeaderValue::from_str(scheme).is_err() {
                    return Err(TransportError::HeaderValue(header.clone()));
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
    pub(super) fn reserve(&self, headers: &mut HeaderMap) {
        let mut value = HeaderValue::from_static("[redacted]");
        value.set_sensitive(true);
        headers.insert(self.header.clone(), value);
    }

    /// Waits until there is a header, where there is `auth`; or returns what an attempt comes to that can't be made.
    pub(super) async fn ready(auth: Option<&Self>) -> Result<(), Answer> {
        match auth {
            Some(auth) => auth.current().await.map(drop),
            None => Ok(()),
        }
    }

    /// Makes an attempt with the header of this moment, where there is `auth`, and else without.
    pub(super) async fn attempt<F: Future<Output = Answer>>(
        auth: Option<&Self>,
        attempt: impl FnOnce(Option<Arc<AuthHeader>>) -> F,
    ) -> Answer {
        let Some(auth) = auth else { return attempt(None).await };
        let header = match auth.current().await {
            Ok(header) => header,
            Err(answer) => return answer,
        };
        let answer = attempt(Some(Arc::clone(&header))).await;
        // Whatever `statuses` makes of it.
        if matches!(&*answer.code, "401" | "UNAUTHENTICATED") {
            auth.refused(&header);
        }
        answer
    }

    async fn current(&self) -> Result<Arc<AuthHeader>, Answer> {
        match &self.maker {
            Maker::Secrets(made) => Ok(made.current().await),
            Maker::Tokens(source) => source.current().await.map_err(|error| error.answer()),
        }
    }

    /// The upstream does not take this header: it is not used on if another can be had.
    fn refused(&self, header: &Arc<AuthHeader>) {
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
