//! What an upstream's success says of the batch: all of it taken, or how much was not (OTLP rules 10 to 14).

use prost::Message;
use thiserror::Error;

use super::detail::Secrets;
use crate::export::Outcome;

/// Bytes of an answer that are read, before and again after decompression (OTLP rules 5 and 33).
pub(in crate::export) const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Why an answer's body is not known.
#[derive(Debug, Error)]
pub(crate) enum Unreadable {
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("the answer broke off")]
    BrokeOff,
    #[error("the answer's `content-encoding` is not supported or does not match its bytes")]
    Encoding,
    #[error("the answer's body is not an OTLP response")]
    Format,
}

/// `Export<Signal>ServiceResponse`: the three differ in names only.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `Export<Signal>PartialSuccess`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::export) struct PartialSuccess {
    /// Records.
    #[prost(int64, tag = "1")]
    pub(in crate::export) rejected: i64,
    /// Why; or a warning, if none was rejected.
    #[prost(string, tag = "2")]
    pub(in crate::export) error_message: String,
}

/// The partial success in a response of protobuf.
pub(in crate::export) fn partial_success(response: &[u8]) -> Result<Option<PartialSuccess>, Unreadable> {
    let response = ExportResponse::decode(response).map_err(|_| Unreadable::Format)?;
    Ok(response.partial_success)
}

/// What a success means for a batch of so many records. What can't be read of it was still delivered; `status` is how
/// it was called. An empty partial success is full success (rule 14).
pub(in crate::export) fn delivered(
    partial: Result<Option<PartialSuccess>, Unreadable>,
    status: &str,
    records: u64,
    secrets: &Secrets,
) -> (Outcome, String) {
    match partial.map(|partial| partial.filter(|partial| *partial != PartialSuccess::default())) {
        Ok(None) => (Outcome::Delivered { rejected: 0, warning: false }, String::new()),
        Ok(Some(PartialSuccess { rejected: 0, error_message })) => {
            (Outcome::Delivered { rejected: 0, warning: true }, secrets.clean(&error_message))
        }
        Ok(Some(partial)) => {
            let rejected = partial.rejected.max(0).unsigned_abs();
            let lie = rejected > records || partial.rejected < 0;
            let detail =
                format!("{} of {records} records rejected: {}", partial.rejected, partial.error_message);
            let outcome = Outcome::Delivered { rejected: rejected.min(records), warning: lie };
            (outcome, secrets.clean(&detail))
        }
        Err(error) => (Outcome::Delivered { rejected: 0, warning: true }, format!("{status}, but {error}")),
    }
}
