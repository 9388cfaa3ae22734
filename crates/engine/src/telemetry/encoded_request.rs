//! A request whose records are encoded already.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

/// `Export…ServiceRequest`: those of the three signals differ in names only, down to the spans, metrics or log records.
#[derive(Clone, PartialEq, Message)]
struct EncodedRequest {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<EncodedResource>,
}

/// `ResourceSpans`, `ResourceMetrics` or `ResourceLogs`.
#[derive(Clone, PartialEq, Message)]
struct EncodedResource {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<EncodedScope>,
}

/// `ScopeSpans`, `ScopeMetrics` or `ScopeLogs`.
#[derive(Clone, PartialEq, Message)]
struct EncodedScope {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    /// A message is written as its bytes are.
    #[prost(bytes = "vec", repeated, tag = "2")]
    records: Vec<Vec<u8>>,
}

/// The request with these encoded spans, metrics or log records of Sluice.
pub fn encode_request(resource: Resource, records: Vec<Vec<u8>>) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: "sluice".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scopes = vec![EncodedScope { scope: Some(scope), records }];
    EncodedRequest { resources: vec![EncodedResource { resource: Some(resource), scopes }] }.encode_to_vec()
}
