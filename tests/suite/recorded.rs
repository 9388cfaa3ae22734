//! What real SDKs have sent, recorded, arrives as they sent it.

use std::io::Write as _;

use sluice::otlp::Signal;

use crate::support::fixtures::{self, Encoding, SDKS, recorded};
use crate::support::sinks::{self, Received as _};
use crate::support::telemetry::Telemetry;
use crate::support::{Sluice, grpc, http, yaml};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(body).unwrap();
    writer.finish().unwrap()
}

#[tokio::test]
async fn requests_in_protobuf_arrive_as_they_were_sent() {
    for sdk in SDKS {
        let up = sinks::recording().await;
        let sluice = Sluice::start(&yaml::up(&up.url(), &[])).await;
        let requests = recorded(sdk, Encoding::Protobuf);
        assert_eq!(requests.len(), 4, "{sdk}: traces, logs, and metrics of two resources");
        for request in requests {
            sluice.accept(request.signal, request.body).await;
        }
        sluice.settled().await;
        Telemetry::of(&up.taken()).assert_is(&fixtures::telemetry(sdk), sdk);
    }
}

/// As the same telemetry arrives in protobuf, but for what JSON can't say: it has no empty message that isn't left out.
#[tokio::test]
async fn requests_in_json_arrive_as_those_in_protobuf() {
    for sdk in ["node", "python"] {
        let up = sinks::recording().await;
        let sluice = Sluice::start(&yaml::up(&up.url(), &[])).await;
        let requests = recorded(sdk, Encoding::Json);
        assert_eq!(requests.len(), 4, "{sdk}: traces, logs, and metrics of two resources");
        for request in requests {
            let json = [("content-type", "application/json")];
            let answer =
                http::send(sluice.otlp, "POST", request.signal.path(), &json, request.body.into()).await;
            assert_eq!((answer.status, &*answer.text()), (200, "{}"), "{}", request.path.display());
        }
        sluice.settled().await;
        Telemetry::of(&up.taken()).assert_is(&fixtures::telemetry(sdk), sdk);
    }
}

#[tokio::test]
async fn calls_of_grpc_arrive_as_they_were_sent() {
    for sdk in SDKS {
        let up = sinks::recording().await;
        let sluice = Sluice::start(&yaml::up(&up.url(), &[])).await;
        let requests = recorded(sdk, Encoding::Grpc);
        assert_eq!(requests.len(), 4, "{sdk}: traces, logs, and metrics of two resources");
        for request in requests {
            let gzip = [("grpc-encoding", "gzip"), ("te", "trailers")];
            let reply = grpc::call(sluice.otlp, grpc::export(request.signal), &gzip, request.body).await;
            assert_eq!(reply.code(), tonic::Code::Ok, "{}: {}", request.path.display(), reply.message());
            assert_eq!(reply.body, grpc::framed(0, &[]));
        }
        sluice.settled().await;
        Telemetry::of(&up.taken()).assert_is(&fixtures::telemetry(sdk), sdk);
    }
}

#[tokio::test]
async fn a_request_of_two_resources_is_split_into_their_bytes() {
    for sdk in SDKS {
        for signal in [Signal::Traces, Signal::Logs] {
            let up = sinks::recording().await;
            let sluice = Sluice::start(&yaml::up(&up.url(), &[])).await;
            let mut requests = recorded(sdk, Encoding::Protobuf);
            requests.retain(|request| request.signal == signal);
            let body = &requests[0].body;
            let gzipped = sluice.post_with(signal, gzip(body), &[("content-encoding", "gzip")]).await;
            assert_eq!((gzipped.status, gzipped.partial(signal)), (200, None));
            sluice.settled().await;
            let mut arrived = up.entries(signal);
            let mut sent = crate::support::payload::entries(body);
            assert_eq!(up.bodies(signal).len(), 2, "{sdk}: a request for each stream");
            arrived.sort();
            sent.sort();
            assert_eq!(arrived, sent, "{sdk}, {signal}");
        }
    }
}
