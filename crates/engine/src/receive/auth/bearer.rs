//! `bearertokenauth` of a receiver: whoever has one of its tokens may send.

use std::collections::HashSet;
use std::fmt;

use ::http::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};

use super::credential::{MalformedCredential, token_of};
use crate::secret_hash::SecretHash;

/// The tokens that are taken, known by their hashes.
#[derive(PartialEq, Eq)]
pub struct BearerTokens {
    header: HeaderName,
    scheme: Box<str>,
    tokens: HashSet<SecretHash>,
}

impl BearerTokens {
    /// Tokens that come in `header`, behind `scheme` if that is not empty.
    pub fn new(header: HeaderName, scheme: &str, tokens: &[SecretString]) -> Self {
        let tokens = tokens.iter().map(|token| SecretHash::of(&[token.expose_secret().as_bytes()])).collect();
        Self { header, scheme: scheme.into(), tokens }
    }

    /// The header that carries the token.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The scheme before the token.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether the token in the header's value is taken. It is looked up by its hash, so that the time that takes says nothing
    /// about the tokens.
    pub(super) fn takes(&self, value: &[u8]) -> Result<bool, MalformedCredential> {
        let token = token_of(value, self.scheme.as_bytes())?;
        Ok(self.tokens.contains(&SecretHash::of(&[token])))
    }
}

impl fmt::Debug for BearerTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerTokens({}: {} [{} redacted])", self.header, self.scheme, self.tokens.len())
    }
}
