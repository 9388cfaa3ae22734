//! What the exporters to the network share: where an upstream is, how it is reached, how many requests it gets at a
//! time, and what its success says. What differs by protocol - connections and answers - is theirs.

pub(super) mod allowance;
pub(super) mod answer_body;
pub(super) mod body;
pub(super) mod circuit;
mod decoded_text;
pub(super) mod destination;
pub(super) mod detail;
pub(super) mod dial;
pub(super) mod first_bytes;
mod json_members;
pub(super) mod partial_success;
pub(super) mod proxy;
mod quoted_values;
pub(super) mod sanitizer;
pub(super) mod status;
mod system_roots;
pub(super) mod tls;
pub(super) mod traceparent;
pub(super) mod url;

use std::time::Duration;

/// A reused connection that breaks within this time after a request was put on it, and without a byte in answer,
/// was most likely closed by the other side before the request arrived.
pub(super) const STALE: Duration = Duration::from_secs(1);

/// Whether a URL asks for TLS.
pub(super) fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}
