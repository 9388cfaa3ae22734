//! Hashes by which tokens and passwords are kept and compared.

use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use subtle::{Choice, ConstantTimeEq as _};

/// The SHA-256 of a secret. Comparing two takes the same time wherever they differ, and whoever does not know the secret can't
/// choose its hash either, so that it may be looked up in a hash table. It is never shown whole, unless the secret was
/// made here: a short password could be guessed from it.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; SHA256_OUTPUT_LEN]);

impl SecretHash {
    /// Of these bytes one after the other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        Self(context.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// From 64 hexadecimal digits, in either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// As 64 hexadecimal digits. Only of a secret with so much chance in it that nobody can guess it from its hash.
    pub fn to_hex(self) -> String {
        self.0.iter().fold(String::with_capacity(2 * self.0.len()), |mut digits, byte| {
            write!(digits, "{byte:02x}").expect("a text takes all that is written");
            digits
        })
    }

    /// Whether it is among these. Looks at all of them, whichever it is.
    pub fn is_one_of(&self, others: &[Self]) -> bool {
        others.iter().fold(Choice::from(0), |found, other| found | self.0.ct_eq(&other.0)).into()
    }

    /// Its beginning, by which people can tell which of two secrets is meant, and nobody can guess one.
    pub fn masked(&self) -> String {
        let [first, second, ..] = self.0;
        format!("sha256:{first:02x}{second:02x}…")
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl Hash for SecretHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_in_hexadecimal_stands_for_its_token() {
        // Of `secret`.
        let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        for text in [hash.to_owned(), hash.to_uppercase()] {
            let token = SecretHash::from_hex(&text).unwrap();
            assert!(SecretHash::of(&[b"secret"]).is_one_of(&[SecretHash::of(&[b"other"]), token]));
            assert!(!SecretHash::of(&[b"secret2"]).is_one_of(&[token]));
            assert_eq!(token.to_hex(), hash);
            assert!(!format!("{token:?}").contains("2bb8"));
        }
        for wrong in
            ["", "secret", &hash[1..], &format!("{hash}00"), &hash.replace('2', "+"), &"ä".repeat(32)]
        {
            assert!(SecretHash::from_hex(wrong).is_none(), "{wrong}");
        }
    }
}
