//! OTLP/JSON, in both directions by the same schema tables as the walks over protobuf, and without building a
//! message in either.
//!
//! | half | from | to | what it takes or gives |
//! |---|---|---|---|
//! | [`read`] | what senders post | protobuf | whatever the specification or a Collector accepts |
//! | [`write`] | validated protobuf | upstreams and files | only what the specification allows |

mod read;
mod write;

pub(crate) use read::base64;
pub use read::{JsonReadError, Omitted, Transcoded, count_json, read_request};
pub use write::write_request;
