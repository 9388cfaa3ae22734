//! Who sends: authentication of requests by their heads, before their bodies are read.

mod bearer;
mod credential;
mod htpasswd;

use ring::digest::{SHA256, digest};

pub use bearer::BearerTokens;
pub use htpasswd::{Htpasswd, WrongLine};

/// What knows the senders of a receiver.
#[derive(Debug, PartialEq, Eq)]
pub enum Authenticator {
    /// The table of tenants.
    Tenants,
    /// `bearertokenauth`.
    Bearer(BearerTokens),
    /// `basicauth`.
    Basic(Htpasswd),
}

/// What credentials are known and looked up by.
fn sha256(text: &[u8]) -> [u8; 32] {
    digest(&SHA256, text).as_ref().try_into().expect("a SHA-256 has 32 bytes")
}
