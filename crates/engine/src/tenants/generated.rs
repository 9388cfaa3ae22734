//! Tokens that are made here, for senders.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::SecretString;

use crate::secret_hash::SecretHash;

/// The prefix of each token, so that scanners for secrets find one where it should not be.
const PREFIX: &str = "slc_";

/// The random bytes in a token.
const BYTES: usize = 32;

/// A bearer token that nobody has seen yet, and what may be kept of it.
pub struct GeneratedToken {
    /// The token as a sender shows it.
    pub token: SecretString,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl GeneratedToken {
    /// A new one.
    pub fn generate() -> Self {
        let mut bytes = [0; BYTES];
        SystemRandom::new().fill(&mut bytes).expect("the system has random bytes once it has started");
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let sha256 = SecretHash::of(&[token.as_bytes()]).to_hex();
        Self { token: token.into(), sha256 }
    }
}

/// A hash of so much chance tells nothing, but is of no use in a log either.
impl fmt::Debug for GeneratedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GeneratedToken([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::tenants::Credential;

    #[test]
    fn a_token_is_new_each_time_and_known_by_its_hash() {
        let made: Vec<_> = (0..100).map(|_| GeneratedToken::generate()).collect();
        for made in &made {
            let token = made.token.expose_secret();
            assert!(token.starts_with("slc_") && token.len() == 4 + 43, "{token}");
            assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "it can be sent in a header");
            let by_hash = Credential::Token(SecretHash::from_hex(&made.sha256).unwrap());
            assert_eq!(Credential::token(token.as_bytes()), by_hash);
            assert!(!format!("{made:?}").contains(&token[4..]));
        }
        let different: std::collections::HashSet<_> = made.iter().map(|made| &made.sha256).collect();
        assert_eq!(different.len(), made.len());
    }
}
