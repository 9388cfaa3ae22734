//! Arbitrary messages: the strategies of the library's own tests.

pub(crate) use otlp::arbitrary_request as request;
