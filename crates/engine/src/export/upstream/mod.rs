//! What the exporters to the network share, whatever their protocol: [`transport`] is all of it, made of the parts beside it.

mod allowance;
pub(super) mod answer_body;
pub(super) mod body;
pub(super) mod circuit;
pub(super) mod connection_age;
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
pub(super) mod target;
pub(super) mod tls;
mod traceparent;
pub(super) mod transport;
pub(super) mod url;
