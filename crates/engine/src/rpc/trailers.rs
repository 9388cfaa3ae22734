//! The status of a call as headers, written and read.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use prost::Message as _;

use super::{Code, RETRY_INFO, RetryInfo, Status};

/// The [`Code`].
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What people are told, percent-encoded.
pub(crate) const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// `google.rpc.Status`, where most senders look for `RetryInfo`.
pub(crate) const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// `google.rpc.RetryInfo`, where Python's exporter looks for it.
pub(crate) const RETRY: HeaderName = HeaderName::from_static("google.rpc.retryinfo-bin");

/// What a `grpc-message` can't hold as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Binary headers are written without padding, and come with padding and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Status {
    /// The status as trailers. `RetryInfo` among its details stands in both places where senders look for it.
    pub fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(8);
        trailers.insert(STATUS, HeaderValue::from(self.code));
        let text = utf8_percent_encode(&self.message, ENCODED).to_string();
        trailers.insert(MESSAGE, HeaderValue::from_str(&text).expect("percent-encoded text is printable"));
        if !self.details.is_empty() {
            trailers.insert(DETAILS, binary(&self.encode_to_vec()));
        }
        if let Some(retry) = self.details.iter().find(|detail| detail.type_url == RETRY_INFO) {
            trailers.insert(RETRY, binary(&retry.value));
        }
        trailers
    }
}

/// The code that an end of a call names.
pub fn code(end: &HeaderMap) -> Code {
    let number = end.get(STATUS).and_then(|value| value.to_str().ok()?.parse().ok());
    number.map_or(Code::Unknown, Code::of)
}

/// What an end of a call tells people; may be empty.
pub fn message(end: &HeaderMap) -> String {
    let message = end.get(MESSAGE).map_or(&b""[..], HeaderValue::as_bytes);
    percent_decode_str(&String::from_utf8_lossy(message)).decode_utf8_lossy().into_owned()
}

/// `RetryInfo`, from either of the places where servers put it.
pub fn retry_info(end: &HeaderMap) -> Option<RetryInfo> {
    let binary = |name: &HeaderName| BASE64.decode(end.get(name)?.as_bytes()).ok();
    let details = binary(&DETAILS).and_then(|bytes| Status::decode(&*bytes).ok());
    let among =
        details.iter().flat_map(|status| &status.details).find(|detail| detail.type_url == RETRY_INFO);
    let among = among.and_then(|detail| RetryInfo::decode(&*detail.value).ok());
    among.or_else(|| RetryInfo::decode(&*binary(&RETRY)?).ok())
}

fn binary(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_str(&BASE64.encode(bytes)).expect("Base64 is printable")
}
