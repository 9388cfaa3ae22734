//! Texts of upstreams and errors, made fit for a log: short, without control characters, without secrets.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;

use crate::route::{Template, Values};
use crate::terminal::is_obeyed;

/// Characters of an upstream's message that are kept.
pub(crate) const MAX_CHARS: usize = 256;

/// The bytes of an upstream's text that are searched for these characters.
const MAX_SEARCHED: usize = 16 * 1024;

/// Bytes or characters beyond those that are kept in which secrets are looked for, so that none is cut in two before it is found.
pub(crate) const MARGIN: usize = 128;

/// Parts shorter than this are not looked for: each is likely to be found in any text, and hides nothing.
pub(crate) const MIN_SECRET: usize = 4;

/// Texts that must never be shown: values of headers and of a URL's query, as a whole and by their words.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Secrets {
    /// Adds a value. An upstream may echo `Bearer abc` as `abc`, so its words count by themselves; and of
    /// `Basic dXNlcjpwYXNz` user and password, together and each alone.
    pub fn add(&mut self, value: &str) {
        let words = value.split([' ', ',', ';', '=', '"']).filter(|word| !is_scheme(word));
        for secret in std::iter::once(value).chain(words) {
            self.add_whole(secret);
        }
        for word in value.split([' ', ',', ';', '"']) {
            let Some(credential) = basic(word) else { continue };
            self.add_whole(&credential);
            if let Some((user, password)) = credential.split_once(':') {
                self.add_whole(user);
                self.add_whole(password);
            }
        }
    }

    /// Adds a value, of which no part is a secret by itself.
    pub(crate) fn add_whole(&mut self, secret: &str) {
        if secret.len() < MIN_SECRET || self.0.iter().any(|known| known == secret) {
            return;
        }
        // The longest first, so that a part doesn't tear a whole apart.
        let at = self.0.partition_point(|known| known.len() >= secret.len());
        self.0.insert(at, secret.to_owned());
    }

    /// These secrets and others.
    pub(crate) fn with(&self, others: &Self) -> Self {
        let mut all = self.clone();
        for secret in &others.0 {
            all.add_whole(secret);
        }
        all
    }

    /// `text` for people: in one line, shortened, without secrets.
    pub fn clean(&self, text: &str) -> String {
        let (text, doubtful) = searched(text);
        shortened(without_last(&one_line(&self.hide(text)), doubtful))
    }

    /// Each secret as it would stand in a line.
    pub(crate) fn in_line(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|secret| one_line(secret)).filter(|secret| secret.len() >= MIN_SECRET)
    }

    /// The text without secrets.
    fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.0 {
            if text.contains(secret) {
                text = text.replace(secret, "[redacted]").into();
            }
        }
        text
    }
}

/// As much of an upstream's text as is looked at, and how many characters of the line that becomes of it may be a secret that was cut in
/// two: none if that is all of the text.
pub(crate) fn searched(text: &str) -> (&str, usize) {
    let searched = begun(text, MAX_SEARCHED);
    let doubtful = &searched[begun(searched, searched.len().saturating_sub(MARGIN)).len()..];
    (searched, if searched.len() < text.len() { one_line(doubtful).chars().count() } else { 0 })
}

/// The beginning of a text, of at most so many bytes.
fn begun(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The words of a text in one line, without what a terminal obeys.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || is_obeyed(c)).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// A text without so many characters at its end.
pub(crate) fn without_last(text: &str, chars: usize) -> &str {
    let mut all = text.chars();
    for _ in 0..chars {
        all.next_back();
    }
    all.as_str()
}

/// A line, cut to [`MAX_CHARS`].
pub(crate) fn shortened(line: &str) -> String {
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// A configured header's value, made of `template`: it is not shown unless all that is in it is shown anyway, such as a routing
/// key.
pub(crate) fn configured(
    value: HeaderValue,
    template: &Template,
    values: &impl Values,
    secrets: &mut Secrets,
) -> HeaderValue {
    // Each by itself: an upstream may say back only one of those that the header is put together from.
    template.row_values(values).for_each(|value| secrets.add_whole(value));
    if template.shows_nothing_new() { value } else { keep_secret(value, secrets) }
}

/// Marks a header's value as one that is not shown, here or in an upstream's echo.
pub(crate) fn keep_secret(mut value: HeaderValue, secrets: &mut Secrets) -> HeaderValue {
    if let Ok(text) = value.to_str() {
        secrets.add(text);
    }
    value.set_sensitive(true);
    value
}

/// Whether a word is what stands behind `Basic` in a header.
pub fn is_basic_credential(word: &str) -> bool {
    basic(word).is_some()
}

/// `user:password`, of the base64 that a `Basic` credential is, padded or not.
fn basic(word: &str) -> Option<String> {
    let padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [alphabet::STANDARD, alphabet::URL_SAFE].into_iter().find_map(|alphabet| {
        let decoded = GeneralPurpose::new(&alphabet, padding).decode(word).ok()?;
        String::from_utf8(decoded).ok().filter(|text| text.contains(':') && !text.contains(char::is_control))
    })
}

fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "token", "apikey", "api-key"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// An error with its causes, each said once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_one_short_line() {
        let clean = Secrets::default().clean(&format!("  a\r\n\x1b[31mb\0{}", "ü".repeat(300)));
        assert!(clean.starts_with("a [31mb ü"), "{clean}");
        assert_eq!(clean.chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn secrets_are_hidden_as_a_whole_and_in_part() {
        let mut secrets = Secrets::default();
        secrets.add("Bearer s3cr3t-token");
        assert_eq!(secrets.clean("got Bearer s3cr3t-token!"), "got [redacted]!");
        assert_eq!(secrets.clean("bad token s3cr3t-token; use Bearer"), "bad token [redacted]; use Bearer");
    }

    #[test]
    fn user_and_password_of_a_basic_credential_are_hidden_as_the_upstream_decodes_them() {
        use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
        for encoded in
            [BASE64_STANDARD.encode("acme:s3cr3t pass"), BASE64_STANDARD_NO_PAD.encode("acme:s3cr3t pass")]
        {
            let mut secrets = Secrets::default();
            secrets.add(&format!("Basic {encoded}"));
            assert_eq!(secrets.clean("no user acme:s3cr3t pass"), "no user [redacted]");
            assert_eq!(
                secrets.clean("wrong password 's3cr3t pass' of acme"),
                "wrong password '[redacted]' of [redacted]"
            );
            assert!(!secrets.clean(&format!("bad {encoded}")).contains(encoded.trim_end_matches('=')));
        }
    }

    #[test]
    fn a_secret_is_hidden_wherever_the_text_is_cut() {
        let mut secrets = Secrets::default();
        secrets.add("s3cr3t-token");
        for fill in 0..400 {
            let clean = secrets.clean(&format!("{}s3cr3t-token", "x".repeat(fill)));
            assert!(!clean.contains("s3c"), "{clean}");
        }
    }
}
