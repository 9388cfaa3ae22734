//! The query of a URL.

use percent_encoding::percent_decode_str;

/// Names and decoded values, in order.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (&str, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name, percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}

/// A number, or what to say if it is none.
pub(super) fn number(name: &str, value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| format!("`{name}` is a number, not `{value}`"))
}
