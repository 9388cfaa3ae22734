//! What the exporters to the network share, whatever their protocol: [`transport`] is all of it, made of the parts beside it.

mod allowance;
pub(super) mod answer_body;
pub(super) mod body;
pub(super) mod connection_age;
mod decoded_text;
pub(super) mod destination;
mod json_members;
pub(super) mod partial_success;
pub(super) mod protocol;
mod quoted_values;
pub(super) mod sanitizer;
pub(super) mod target;
mod traceparent;
pub(super) mod transport;
