//! What an upstream or an error says, made fit for a log: short, without control characters, without secrets.

use std::error::Error;
use std::fmt;

use http::HeaderValue;

/// Characters of an upstream's message that are kept.
const MAX_CHARS: usize = 256;

/// How far into an upstream's text we look for those.
const MAX_SEARCHED: usize = 16 * 1024;

/// Parts shorter than this are not looked for: each is likely to be found in any text, and hides nothing.
const MIN_SECRET: usize = 4;

/// Texts that must never be shown: values of headers and of a URL's query, as a whole and by their words.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Secrets {
    /// Adds a value. An upstream may echo `Bearer abc` as `abc`, so its words count by themselves.
    pub(crate) fn add(&mut self, value: &str) {
        let words = value.split([' ', ',', ';', '=', '"']).filter(|word| !is_scheme(word));
        for secret in std::iter::once(value).chain(words) {
            if secret.len() >= MIN_SECRET && !self.0.iter().any(|known| known == secret) {
                self.0.push(secret.to_owned());
            }
        }
        // The longest first, so that a part doesn't tear a whole apart.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// `text` for people.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut end = text.len().min(MAX_SEARCHED);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut text = text[..end].to_owned();
        for secret in &self.0 {
            if text.contains(secret) {
                text = text.replace(secret, "[redacted]");
            }
        }
        let mut clean = String::new();
        for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty())
        {
            if !clean.is_empty() {
                clean.push(' ');
            }
            clean.push_str(word);
        }
        if let Some((cut, _)) = clean.char_indices().nth(MAX_CHARS) {
            clean.truncate(cut);
            clean.push('…');
        }
        clean
    }
}

/// Marks a header's value as one that is not shown, here or in an upstream's echo.
pub(in crate::export) fn keep_secret(mut value: HeaderValue, secrets: &mut Secrets) -> HeaderValue {
    if let Ok(text) = value.to_str() {
        secrets.add(text);
    }
    value.set_sensitive(true);
    value
}

fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "token", "apikey", "api-key"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// An error with its causes, each said once.
pub(in crate::export) fn chain(error: &(dyn Error + 'static)) -> String {
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
    fn a_secret_is_hidden_wherever_the_text_is_cut() {
        let mut secrets = Secrets::default();
        secrets.add("s3cr3t-token");
        for fill in 0..400 {
            let clean = secrets.clean(&format!("{}s3cr3t-token", "x".repeat(fill)));
            assert!(!clean.contains("s3c"), "{clean}");
        }
    }
}
