//! The query of a URL, as `application/x-www-form-urlencoded` has it: a space may stand there as `+`, and a plus is `%2B`.

use percent_encoding::percent_decode_str;

/// Names and decoded values, in order.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (&str, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name, percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
    })
}

/// A number, or the message for a value that is none.
pub(super) fn number(name: &str, value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| format!("`{name}` is a number, not `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_is_a_space_and_an_encoded_plus_is_one() {
        let read: Vec<_> = parameters("query=a+b%2Bc%20d&&from=&x").collect();
        let expected = [("query", "a b+c d"), ("from", ""), ("x", "")];
        assert_eq!(read, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
