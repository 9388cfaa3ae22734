//! Both halves against each other and against opentelemetry-proto, on arbitrary messages; and any bytes at all.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::arbitrary;
use crate::damaged::RequestDamage;
use crate::{oracle, write_request};

fn written(signal: Signal, request: &[u8]) -> Vec<u8> {
    let mut json = Vec::new();
    write_request(signal, &[request], &mut json);
    json
}

fn any_request() -> impl Strategy<Value = (Signal, Vec<u8>)> {
    prop::sample::select(&Signal::ALL[..]).prop_flat_map(|signal| (Just(signal), arbitrary::request(signal)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn traces_come_back_from_our_json_and_from_serdes(request in arbitrary::traces()) {
        prop_assert_eq!(&traces(written(Signal::Traces, &request.encode_to_vec())), &request);
        prop_assert_eq!(&traces(serde_json::to_vec(&request).unwrap()), &request);
        prop_assert_eq!(&traces(serde_json::to_vec_pretty(&request).unwrap()), &request);
    }

    #[test]
    fn metrics_come_back_from_our_json_and_from_serdes(request in arbitrary::metrics()) {
        prop_assert_eq!(&metrics(written(Signal::Metrics, &request.encode_to_vec())), &request);
        prop_assert_eq!(&metrics(serde_json::to_vec(&request).unwrap()), &request);
        prop_assert_eq!(&metrics(serde_json::to_vec_pretty(&request).unwrap()), &request);
    }

    #[test]
    fn logs_come_back_from_our_json_and_from_serdes(request in arbitrary::logs()) {
        prop_assert_eq!(&logs(written(Signal::Logs, &request.encode_to_vec())), &request);
        prop_assert_eq!(&logs(serde_json::to_vec(&request).unwrap()), &request);
        prop_assert_eq!(&logs(serde_json::to_vec_pretty(&request).unwrap()), &request);
    }

    #[test]
    fn what_is_read_is_encoded_as_prost_would(request in arbitrary::traces()) {
        // prost writes fields in the order of their numbers, and so does our writer from prost's bytes.
        let bytes = request.encode_to_vec();
        prop_assert_eq!(whole(Signal::Traces, written(Signal::Traces, &bytes)), bytes);
    }

    #[test]
    fn json_comes_back_from_protobuf((signal, request) in any_request()) {
        let json = written(signal, &request);
        prop_assert_eq!(written(signal, &whole(signal, &json)), json);
    }

    #[test]
    fn damaged_json_never_yields_what_is_not_valid(
        (signal, request) in any_request(),
        damage in vec(RequestDamage::arbitrary(), 1..4),
    ) {
        let mut json = written(signal, &request);
        for damage in &damage {
            damage.apply(&mut json);
        }
        oracle::check_json(signal, &json);
    }

    #[test]
    fn any_bytes_are_read_as_json_or_refused(bytes: Vec<u8>, text in "[\\[\\]{}\":,0-9a-z\\\\ ]{0,60}") {
        for signal in Signal::ALL {
            oracle::check_json(signal, &bytes);
            oracle::check_json(signal, text.as_bytes());
        }
    }

    #[test]
    fn unknown_members_change_nothing(request in arbitrary::logs(), unknown in "[\\[\\]{}\":,0-9a-z ]{0,20}") {
        // Whether serde takes it as a value decides whether the document is one.
        let json = String::from_utf8(written(Signal::Logs, &request.encode_to_vec())).unwrap();
        let comma = if json == "{}" { "" } else { "," };
        let json = json.replacen('{', &format!("{{\"unknown\":{unknown}{comma}"), 1);
        let is_json = serde_json::from_str::<serde_json::Value>(&unknown).is_ok();
        match transcode(Signal::Logs, &json) {
            Ok(transcoded) if is_json => prop_assert_eq!(ExportLogsServiceRequest::decode(&*transcoded.bytes).unwrap(), request),
            Ok(_) => prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok()),
            Err(malformed) => prop_assert!(!is_json, "{:?}", malformed),
        }
    }
}
