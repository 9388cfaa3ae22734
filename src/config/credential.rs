//! Credentials of a shape that no upstream takes.

use crate::client::is_basic_credential;

/// A mistake in a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MisshapenCredential {
    /// It begins with a scheme, and the scheme that it is sent with stands before that.
    TwoSchemes,
    /// It is sent as `Basic`, and is no Base64 of user and password.
    NoUser,
}

impl MisshapenCredential {
    /// The mistake in the value of a header that authenticates, if there is one that can be recognised.
    pub(super) fn of_header(value: &str) -> Option<Self> {
        let (scheme, credential) = value.trim().split_once(' ')?;
        if ![BEARER, BASIC].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return None;
        }
        let credential = credential.trim_start();
        let first = credential.split(' ').next().unwrap_or_default();
        if first != credential && [BEARER, BASIC].iter().any(|known| first.eq_ignore_ascii_case(known)) {
            return Some(Self::TwoSchemes);
        }
        let is_wrong = scheme.eq_ignore_ascii_case(BASIC) && !is_basic_credential(credential);
        is_wrong.then_some(Self::NoUser)
    }
}

const BEARER: &str = "Bearer";
const BASIC: &str = "Basic";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_schemes_and_what_is_no_user_and_password_are_found() {
        use MisshapenCredential::{NoUser, TwoSchemes};
        for (value, expected) in [
            ("Bearer t0ken", None),
            ("Bearer Bearer t0ken", Some(TwoSchemes)),
            ("bearer  basic t0ken", Some(TwoSchemes)),
            ("Bearer Basic", None),
            ("Basic MTIzNDpnbGNfeA==", None),
            ("Basic MTIzNDpnbGNfeA", None),
            ("Basic glc_xyz", Some(NoUser)),
            ("Basic a:b", Some(NoUser)),
            ("Basic Basic MTIzNDpnbGNfeA==", Some(TwoSchemes)),
            ("t0ken", None),
            ("Api-Token Bearer x", None),
        ] {
            assert_eq!(MisshapenCredential::of_header(value), expected, "{value}");
        }
    }
}
