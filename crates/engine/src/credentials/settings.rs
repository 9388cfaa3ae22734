//! The compiled settings of an exporter's `auth`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret as _, SecretString};

use crate::client::TlsClientSettings;

/// `auth` of an exporter, with the extension that it names. Two that are equal authenticate alike, so that a reload can go on
/// with a token.
#[derive(Clone, Debug, PartialEq)]
pub struct ExporterAuth {
    /// The extension's name, such as `oauth2client/ingest`.
    pub authenticator: Arc<str>,
    /// How it authenticates.
    pub method: ExporterAuthMethod,
}

impl ExporterAuth {
    /// The header that it makes.
    pub fn header(&self) -> &HeaderName {
        match &self.method {
            ExporterAuthMethod::Bearer { header, .. } => header,
            ExporterAuthMethod::Basic { .. } | ExporterAuthMethod::OAuth2(_) => &AUTHORIZATION,
        }
    }
}

/// How an exporter authenticates itself.
#[derive(Clone, Debug, PartialEq)]
pub enum ExporterAuthMethod {
    /// `bearertokenauth`.
    Bearer {
        /// The header's name.
        header: HeaderName,
        /// The scheme before the token and a space; no scheme if it is empty.
        scheme: String,
        /// The token. Of a file it is the first line.
        token: SecretSource,
    },
    /// `basicauth`.
    Basic {
        /// The user's name.
        username: SecretSource,
        /// The password.
        password: SecretSource,
    },
    /// `oauth2client`.
    OAuth2(Box<OAuth2Settings>),
}

/// `oauth2client`: a token by the grant of client credentials (RFC 6749, section 4.4).
#[derive(Clone, Debug)]
pub struct OAuth2Settings {
    /// The client's name.
    pub client_id: SecretSource,
    /// The client's secret.
    pub client_secret: SecretSource,
    /// Where tokens are fetched. Its query may hold a secret.
    pub token_url: SecretString,
    /// The scopes that the token is asked for.
    pub scopes: Vec<String>,
    /// More parameters of the request for a token, by their names.
    pub endpoint_params: Vec<(String, SecretString)>,
    /// The time for one request to the token endpoint; zero sets no limit.
    pub timeout: Duration,
    /// The TLS settings for an `https` URL.
    pub tls: TlsClientSettings,
    /// How long before its end a token is renewed.
    pub expiry_buffer: Duration,
}

/// Where a secret is.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// In the configuration.
    Text(SecretString),
    /// In a file, which is read again when it changes.
    File {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
}

impl PartialEq for SecretSource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.expose_secret() == other.expose_secret(),
            (Self::File { option, path }, Self::File { option: other_option, path: other }) => {
                option == other_option && path == other
            }
            (Self::Text(_), Self::File { .. }) | (Self::File { .. }, Self::Text(_)) => false,
        }
    }
}

/// A token is used on only if all of its settings are equal, so none may be left out here.
impl PartialEq for OAuth2Settings {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            client_id,
            client_secret,
            token_url,
            scopes,
            endpoint_params,
            timeout,
            tls,
            expiry_buffer,
        } = self;
        let texts = |params: &[(String, SecretString)]| -> Vec<(String, String)> {
            params.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect()
        };
        *client_id == other.client_id
            && *client_secret == other.client_secret
            && token_url.expose_secret() == other.token_url.expose_secret()
            && *scopes == other.scopes
            && texts(endpoint_params) == texts(&other.endpoint_params)
            && *timeout == other.timeout
            && *tls == other.tls
            && *expiry_buffer == other.expiry_buffer
    }
}
