//! The credential in a request's header, parsed and not yet looked up.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Padding may be missing, as some senders have it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The credential in an `Authorization` header.
pub(super) enum ShownCredential<'h> {
    /// `Bearer TOKEN` (RFC 6750, section 2.1).
    Token(&'h [u8]),
    /// `Basic BASE64` (RFC 7617).
    Basic(UserPassword),
}

/// A user's name and password.
pub(super) struct UserPassword {
    text: Vec<u8>,
    colon: usize,
}

impl UserPassword {
    pub(super) fn username(&self) -> &[u8] {
        &self.text[..self.colon]
    }

    pub(super) fn password(&self) -> &[u8] {
        &self.text[self.colon + 1..]
    }
}

/// Why a header holds no credential; for the log, and so without any part of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedCredential(pub(super) &'static str);

impl<'h> ShownCredential<'h> {
    /// Reads the value of an `Authorization` header.
    pub(super) fn read(value: &'h [u8]) -> Result<Self, MalformedCredential> {
        if let Some(rest) = after_scheme(value, b"bearer") {
            return token(rest).map(Self::Token);
        }
        user_password(value).map(Self::Basic).map_err(|malformed| match after_scheme(value, b"basic") {
            Some(_) => malformed,
            None => MalformedCredential("its scheme is neither `Bearer` nor `Basic`"),
        })
    }
}

/// The token behind a scheme; with an empty scheme the whole value is the token.
pub(super) fn token_of<'h>(value: &'h [u8], scheme: &[u8]) -> Result<&'h [u8], MalformedCredential> {
    let rest = if scheme.is_empty() { Some(trimmed(value)) } else { after_scheme(value, scheme) };
    token(rest.ok_or(MalformedCredential("its scheme is another one"))?)
}

/// The user and the password behind `Basic`.
pub(super) fn user_password(value: &[u8]) -> Result<UserPassword, MalformedCredential> {
    let rest = after_scheme(value, b"basic").ok_or(MalformedCredential("its scheme is not `Basic`"))?;
    let text =
        BASE64.decode(rest).map_err(|_| MalformedCredential("what stands behind `Basic` is not base64"))?;
    let colon = text.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or(MalformedCredential("there is no colon between user and password"))?;
    if text.iter().any(u8::is_ascii_control) {
        return Err(MalformedCredential("there are control characters in the user or the password"));
    }
    Ok(UserPassword { text, colon })
}

/// The text behind the scheme, if it is that scheme, in any case (RFC 9110, section 11.1).
fn after_scheme<'h>(value: &'h [u8], scheme: &[u8]) -> Option<&'h [u8]> {
    let value = trimmed(value);
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (written, rest) = value.split_at(end);
    written.eq_ignore_ascii_case(scheme).then(|| trimmed(rest))
}

fn token(text: &[u8]) -> Result<&[u8], MalformedCredential> {
    if text.is_empty() {
        return Err(MalformedCredential("there is no token in it"));
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(MalformedCredential("its token is not visible ASCII without spaces"));
    }
    Ok(text)
}

/// The text without the spaces around it: HTTP/1 has none, and on HTTP/2 they are not removed before.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

/// Checks what is read of any header: that what is taken has the form that it is said to have, and is found again in what it is
/// written as.
#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub fn check(value: &[u8]) {
    let again = |written: Vec<u8>, expected: &[u8], basic: bool| match ShownCredential::read(&written) {
        Ok(ShownCredential::Token(token)) => assert!(!basic && token == expected),
        Ok(ShownCredential::Basic(pair)) => assert!(basic && pair.text == expected),
        Err(malformed) => panic!("{malformed:?}"),
    };
    match ShownCredential::read(value) {
        Ok(ShownCredential::Token(token)) => {
            assert!(!token.is_empty() && token.iter().all(u8::is_ascii_graphic));
            assert!(token_of(value, b"BEARER") == Ok(token) && token_of(token, b"") == Ok(token));
            again([b"bEARER   ", token, b" "].concat(), token, false);
        }
        Ok(ShownCredential::Basic(pair)) => {
            assert!(!pair.username().contains(&b':') && !pair.text.iter().any(u8::is_ascii_control));
            assert_eq!([pair.username(), b":", pair.password()].concat(), pair.text);
            again([&b"basic "[..], BASE64.encode(&pair.text).as_bytes()].concat(), &pair.text, true);
        }
        Err(MalformedCredential(why)) => assert!(!why.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: impl AsRef<[u8]>) -> Result<String, &'static str> {
        match ShownCredential::read(value.as_ref()) {
            Ok(ShownCredential::Token(token)) => Ok(String::from_utf8_lossy(token).into_owned()),
            Ok(ShownCredential::Basic(pair)) => {
                let [user, password] = [pair.username(), pair.password()].map(String::from_utf8_lossy);
                Ok(format!("{user} with {password}"))
            }
            Err(MalformedCredential(why)) => Err(why),
        }
    }

    #[test]
    fn a_scheme_is_the_same_in_any_case_and_before_any_number_of_spaces() {
        for value in ["Bearer abc", "bearer abc", "BEARER   abc", " Bearer abc  "] {
            assert_eq!(read(value).as_deref(), Ok("abc"), "{value}");
        }
        for value in ["Basic YWNtZTpwOnc=", "basic YWNtZTpwOnc=", "BASIC  YWNtZTpwOnc"] {
            assert_eq!(read(value).as_deref(), Ok("acme with p:w"), "{value}");
        }
        assert_eq!(read(format!("Basic {}", BASE64.encode("a:"))).as_deref(), Ok("a with "));
    }

    #[test]
    fn what_has_another_form_is_malformed_and_never_shown() {
        let no_colon = format!("Basic {}", BASE64.encode("s3cret"));
        let line_feed = format!("Basic {}", BASE64.encode("a:s3cret\n"));
        for value in [
            "",
            " ",
            "Bearer",
            "Bearer ",
            "Bearers s3cret",
            "Bearer s3cret s3cret",
            "Bearer\ts3cret",
            "Bearer s3\u{7f}cret",
            "Bearer ṡ3cret",
            "Digest s3cret",
            "s3cret",
            "Basic",
            "Basic s3cret!",
            &no_colon,
            &line_feed,
        ] {
            let why = read(value).unwrap_err();
            assert!(!why.contains("s3cret"), "{value}: {why}");
        }
    }

    #[test]
    fn a_scheme_of_ones_own_is_told_apart_and_may_be_none() {
        assert_eq!(token_of(b"ApiKey abc", b"apikey"), Ok(&b"abc"[..]));
        assert_eq!(token_of(b"abc", b""), Ok(&b"abc"[..]));
        assert!(token_of(b"Bearer abc", b"ApiKey").is_err());
        assert!(token_of(b"Bearer abc", b"").is_err(), "it has a space");
    }

    proptest! {
        #[test]
        fn any_header_is_read_as_what_it_is_written_as(
            value in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "(Bearer|bearer|Basic|BASIC|Digest|)[ \t]{0,2}[ -~]{0,40}".prop_map(String::into_bytes),
                "[ -~]{0,20}:?[ -~\n]{0,20}".prop_map(|text| format!("Basic {}", BASE64.encode(text)).into_bytes()),
            ],
        ) {
            check(&value);
        }
    }
}
