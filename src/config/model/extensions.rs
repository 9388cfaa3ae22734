//! `extensions`, and `auth` of the receivers and exporters that name one of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess};

use super::named::Typed;
use super::tls::TlsSection;
use super::units::Duration;

/// How whoever sends shows who it is.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Auth {
    /// An extension by its name, such as `bearertokenauth` or `basicauth/inside`; of a receiver also `tenants`, which is the
    /// table of tenants.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) authenticator: Option<String>,
}

/// An extension of any type.
pub(in crate::config) enum Extension {
    BearerToken(Box<BearerTokenAuth>),
    Basic(Box<BasicAuth>),
    OAuth2Client(Box<OAuth2Client>),
}

impl Typed for Extension {
    const WHAT: &'static str = "extension";
    const TYPES: &'static [&'static str] = &["bearertokenauth", "basicauth", "oauth2client"];

    #[cfg(test)]
    fn schema(r#type: &str, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        match r#type {
            "bearertokenauth" => generator.subschema_for::<BearerTokenAuth>(),
            "basicauth" => generator.subschema_for::<BasicAuth>(),
            _ => generator.subschema_for::<OAuth2Client>(),
        }
    }

    fn read<'de, A: MapAccess<'de>>(r#type: &str, map: &mut A) -> Result<Self, A::Error> {
        match r#type {
            "bearertokenauth" => map.next_value().map(Self::BearerToken),
            "basicauth" => map.next_value().map(Self::Basic),
            "oauth2client" => map.next_value().map(Self::OAuth2Client),
            _ => Err(A::Error::custom("an extension of an unknown type")),
        }
    }
}

/// A token in a header of each request. An exporter sends the first, a receiver takes any of them. One of `token`, `tokens`
/// and `filename` is needed.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct BearerTokenAuth {
    /// What stands before the token, in any case of letters where it is received; `''` where nothing does.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) scheme: String,
    /// The token. Secret: it is never shown.
    pub(in crate::config) token: Option<String>,
    /// Several tokens, in place of `token`. Secret: they are never shown.
    pub(in crate::config) tokens: Vec<String>,
    /// A file of tokens, one in each line, in place of `token` and `tokens`. A change of it is noticed.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) filename: Option<PathBuf>,
    /// The header that carries the token.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) header: String,
}

impl Default for BearerTokenAuth {
    fn default() -> Self {
        Self {
            scheme: "Bearer".into(),
            token: None,
            tokens: Vec::new(),
            filename: None,
            header: "Authorization".into(),
        }
    }
}

/// A user name and a password: `htpasswd` for a receiver, or `client_auth` for an exporter.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct BasicAuth {
    /// Who may send to a receiver.
    pub(in crate::config) htpasswd: Option<Htpasswd>,
    /// Who an exporter is.
    pub(in crate::config) client_auth: Option<ClientAuth>,
}

/// Users and passwords, one `USER:PASSWORD` in each line, as `htpasswd -nB USER` prints it: the password is hashed by bcrypt,
/// `{SHA}` or `{SSHA}`, or plain.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Htpasswd {
    /// A file of such lines. A change of it is noticed.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) file: Option<PathBuf>,
    /// Such lines in place; they win over those of `file` with the same user. Secret: they are never shown.
    pub(in crate::config) inline: Option<String>,
}

/// The user name and the password that an exporter sends.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ClientAuth {
    /// The user name. Secret: it is never shown.
    pub(in crate::config) username: Option<String>,
    /// A file with the user name, in place of `username`. A change of it is noticed.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) username_file: Option<PathBuf>,
    /// The password. Secret: it is never shown.
    pub(in crate::config) password: Option<String>,
    /// A file with the password, in place of `password`. A change of it is noticed.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) password_file: Option<PathBuf>,
}

/// A token that an exporter fetches from an authorization server, by the client credentials grant of OAuth 2.0 (RFC 6749,
/// section 4.4), keeps, and renews before it ends.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct OAuth2Client {
    /// The name of the client, which asks for the token. It is never shown.
    pub(in crate::config) client_id: Option<String>,
    /// A file with it, in place of `client_id`. A change of it is noticed.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) client_id_file: Option<PathBuf>,
    /// The secret of the client. Secret: it is never shown.
    pub(in crate::config) client_secret: Option<String>,
    /// A file with it, in place of `client_secret`. A change of it is noticed.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) client_secret_file: Option<PathBuf>,
    /// The URL of the authorization server's endpoint for tokens.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) token_url: Option<String>,
    /// What the token has to be good for.
    #[cfg_attr(test, schemars(extend("x-shown" = "words")))]
    pub(in crate::config) scopes: Vec<String>,
    /// More parameters of the request for a token, such as `audience`: each a value or a list of values. Secret: they are
    /// never shown.
    pub(in crate::config) endpoint_params: BTreeMap<String, OneOrMore>,
    /// TLS towards the authorization server.
    pub(in crate::config) tls: TlsSection,
    /// For one request for a token, from connecting to the end of the answer; 0 sets no limit.
    pub(in crate::config) timeout: Duration,
    /// How long before its end a token is renewed; one that is good for less than twice as long, after half its life.
    pub(in crate::config) expiry_buffer: Duration,
}

impl Default for OAuth2Client {
    fn default() -> Self {
        Self {
            client_id: None,
            client_id_file: None,
            client_secret: None,
            client_secret_file: None,
            token_url: None,
            scopes: Vec::new(),
            endpoint_params: BTreeMap::new(),
            tls: TlsSection::default(),
            timeout: Duration::from_secs(30),
            expiry_buffer: Duration::from_secs(300),
        }
    }
}

/// A value, or several of them.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    More(Vec<String>),
}
