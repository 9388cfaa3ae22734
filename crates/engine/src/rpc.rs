//! What gRPC has around a message, in both directions: its framing, and the end of a call in `google.rpc.Code`,
//! `google.rpc.Status` and its details (`google/rpc/{code,status,error_details}.proto`).

mod frame;
pub mod trailers;

use std::sync::LazyLock;
use std::time::Duration;

use http::Version;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use prost::Message;

pub use self::frame::{PREFIX, announced, arrived, framed, prefix};
use crate::coding::Coding;

/// The codings that answers are read in.
pub static ACCEPTED: LazyLock<HeaderValue> = LazyLock::new(|| accepting(&Coding::OF_ANSWERS));

/// Where that is said.
pub const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The media type of calls and answers.
pub const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// How compressed messages are compressed.
pub const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The type of [`BadRequest`] as a detail.
pub(crate) const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// The type of [`RetryInfo`] as a detail.
pub(crate) const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The value of [`ACCEPT_ENCODING`] that asks for these codings.
pub(crate) fn accepting(codings: &[Coding]) -> HeaderValue {
    HeaderValue::try_from(Coding::names(codings)).expect("the names of codings are letters and digits")
}

/// Whether a request is a gRPC call: on HTTP/2, and by its content type (which is not gRPC-Web's).
pub fn is_call(version: Version, headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let start = content_type.get(..MEDIA_TYPE.len()).unwrap_or_default();
    let rest = content_type.get(MEDIA_TYPE.len()..).unwrap_or_default();
    version == Version::HTTP_2
        && start.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes())
        && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// `google.rpc.Code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// Done.
    Ok = 0,
    /// The caller has given up.
    Cancelled = 1,
    /// Nobody knows.
    Unknown = 2,
    /// The request is wrong and will be.
    InvalidArgument = 3,
    /// It took too long.
    DeadlineExceeded = 4,
    /// There is no such thing.
    NotFound = 5,
    /// There is such a thing already.
    AlreadyExists = 6,
    /// The caller is known, and may not.
    PermissionDenied = 7,
    /// A limit: one that a retry would meet again, unless `RetryInfo` says otherwise.
    ResourceExhausted = 8,
    /// Something else has to be done first.
    FailedPrecondition = 9,
    /// It was in the way of another.
    Aborted = 10,
    /// Beyond what there is now.
    OutOfRange = 11,
    /// Nothing here does that.
    Unimplemented = 12,
    /// Broken.
    Internal = 13,
    /// Try again later.
    Unavailable = 14,
    /// Data was lost on the way.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

impl Code {
    /// Every code, by its number.
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code of a number; one that is not known is [`Code::Unknown`].
    pub(crate) fn of(number: usize) -> Self {
        Self::ALL.get(number).copied().unwrap_or(Self::Unknown)
    }

    /// The code that has this name in the specification.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::name)
    }

    /// Whether a call that ended so is to be tried again, whatever else its end says (rule 17).
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Cancelled
                | Self::DeadlineExceeded
                | Self::Aborted
                | Self::OutOfRange
                | Self::Unavailable
                | Self::DataLoss
        )
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A [`Code`].
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    /// For programs.
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// What `value` is.
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    /// An encoded message.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// `google.rpc.BadRequest`: which fields are wrong.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BadRequest {
    /// One for each.
    #[prost(message, repeated, tag = "1")]
    pub(crate) field_violations: Vec<FieldViolation>,
}

/// A field that is wrong.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FieldViolation {
    /// Its path.
    #[prost(string, tag = "1")]
    pub(crate) field: String,
    /// What is wrong with it.
    #[prost(string, tag = "2")]
    pub(crate) description: String,
}

/// `google.rpc.RetryInfo`: a retry is welcome.
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    /// After this time.
    #[prost(message, optional, tag = "1")]
    pub(crate) retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Delay {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    /// The rest.
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

impl Status {
    /// A status with at most one detail.
    pub fn new(code: Code, message: &str, detail: Option<Any>) -> Self {
        Self { code: code as i32, message: message.to_owned(), details: detail.into_iter().collect() }
    }
}

impl BadRequest {
    /// One wrong field, as a detail.
    pub(crate) fn detail(field: &str, description: &str) -> Any {
        let violation = FieldViolation { field: field.to_owned(), description: description.to_owned() };
        let value = Self { field_violations: vec![violation] }.encode_to_vec();
        Any { type_url: BAD_REQUEST.to_owned(), value }
    }
}

impl RetryInfo {
    /// A retry after this time.
    pub fn after(delay: Duration) -> Self {
        let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        Self { retry_delay: Some(Delay { seconds, nanos: delay.subsec_nanos() as i32 }) }
    }

    /// As a detail.
    pub fn detail(&self) -> Any {
        Any { type_url: RETRY_INFO.to_owned(), value: self.encode_to_vec() }
    }

    /// The time to wait; zero if none is named, or a negative one.
    pub fn delay(&self) -> Duration {
        let Some(delay) = self.retry_delay else { return Duration::ZERO };
        let (seconds, nanos) = (delay.seconds.max(0).unsigned_abs(), delay.nanos.max(0).unsigned_abs());
        Duration::from_secs(seconds).saturating_add(Duration::from_nanos(u64::from(nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_numbers() {
        for (number, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!((code as usize, Code::of(number)), (number, code));
        }
        assert_eq!(Code::of(17), Code::Unknown);
    }

    #[test]
    fn a_delay_is_never_negative() {
        let delay = |seconds, nanos| RetryInfo { retry_delay: Some(Delay { seconds, nanos }) }.delay();
        assert_eq!(delay(2, 500_000_000), Duration::from_millis(2500));
        assert_eq!(delay(-1, -1), Duration::ZERO);
        assert_eq!(delay(i64::MAX, i32::MAX).as_secs(), i64::MAX as u64 + 2);
        assert_eq!(RetryInfo::after(Duration::from_millis(1500)).delay(), Duration::from_millis(1500));
        assert_eq!(RetryInfo::default().delay(), Duration::ZERO);
    }
}
