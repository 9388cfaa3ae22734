//! The credentials of senders, of which only hashes are kept.

use crate::secret_hash::SecretHash;

/// A sender's credential. Two that are equal are known by the same thing, so that no two senders may have them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A bearer token, by its hash.
    Token(SecretHash),
    /// A user name and a password, by the hash of both.
    Basic(SecretHash),
    /// A name in a client certificate that was verified.
    Certificate(CertificateName),
}

impl Credential {
    /// The credential of a bearer token.
    pub fn token(token: &[u8]) -> Self {
        Self::Token(SecretHash::of(&[token]))
    }

    /// The credential of a user name and a password.
    pub fn basic(username: &[u8], password: &[u8]) -> Self {
        // The length keeps `ab` and `c` apart from `a` and `bc`.
        let length = (username.len() as u64).to_be_bytes();
        Self::Basic(SecretHash::of(&[&length, username, password]))
    }

    /// The kind of credential, in the words of the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Basic(_) => "basic",
            Self::Certificate(_) => "certificate",
        }
    }

    /// The part of the credential that readers may be shown: of a token the beginning of its hash, by which people can tell which of two
    /// is in use; of a user and a password nothing; of a certificate its name, which is no secret.
    pub fn masked(&self) -> String {
        match self {
            Self::Token(hash) => hash.masked(),
            Self::Basic(_) => "[redacted]".to_owned(),
            Self::Certificate(CertificateName::Uri(uri)) => format!("uri:{uri}"),
            Self::Certificate(CertificateName::Dns(name)) => format!("dns:{name}"),
            Self::Certificate(CertificateName::CommonName(name)) => format!("cn:{name}"),
        }
    }
}

/// A name that a client certificate has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// A URI among the alternative names, such as a SPIFFE ID.
    Uri(Box<str>),
    /// A DNS name among the alternative names, in lower case.
    Dns(Box<str>),
    /// The common name of the subject.
    CommonName(Box<str>),
}

impl CertificateName {
    /// A DNS name in any case.
    pub fn dns(name: &str) -> Self {
        Self::Dns(name.to_ascii_lowercase().into())
    }
}

/// The names of a client certificate that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// The URIs among its alternative names.
    pub uris: Vec<String>,
    /// The DNS names among its alternative names.
    pub dns: Vec<String>,
    /// The common name of its subject.
    pub common_name: Option<String>,
}

impl CertificateNames {
    /// The names as credentials, in the order in which they are looked for.
    pub(super) fn credentials(&self) -> impl Iterator<Item = Credential> {
        let uris = self.uris.iter().map(|uri| CertificateName::Uri(uri.as_str().into()));
        let dns = self.dns.iter().map(|name| CertificateName::dns(name));
        let common = self.common_name.iter().map(|name| CertificateName::CommonName(name.as_str().into()));
        uris.chain(dns).chain(common).map(Credential::Certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_sha_256_as_others_compute_it() {
        let written = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(Credential::token(b"test"), Credential::Token(SecretHash::from_hex(written).unwrap()));
        assert_eq!(SecretHash::from_hex(written), SecretHash::from_hex(&written.to_uppercase()));
        for wrong in ["", "9f", &written[1..], &written.replace('9', "g"), &written.replace('9', "é")] {
            assert_eq!(SecretHash::from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_user_name_and_a_password_are_not_one_text() {
        assert_ne!(Credential::basic(b"ab", b"c"), Credential::basic(b"a", b"bc"));
        assert_ne!(Credential::basic(b"a", b"b"), Credential::basic(b"a", b"c"));
    }

    #[test]
    fn a_masked_credential_tells_tokens_apart_and_nothing_that_helps_to_guess_one() {
        assert_eq!(Credential::token(b"test").masked(), "sha256:9f86…");
        assert_eq!(Credential::basic(b"acme", b"test").masked(), "[redacted]");
        assert_eq!(Credential::Certificate(CertificateName::dns("A.example")).masked(), "dns:a.example");
    }

    #[test]
    fn a_hash_is_never_shown() {
        assert_eq!(format!("{:?}", Credential::token(b"test")), "Token(SecretHash([redacted]))");
    }
}
