use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::arbitrary;
use crate::damaged::{self, RequestDamage};
use crate::oracle;
use crate::wire::put_varint;

/// `bytes` as field `number`.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, u64::from(number << 3 | 2));
    put_varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

fn in_entry(bytes: &[u8]) -> Vec<u8> {
    field(1, bytes)
}

/// A log request with one record of these bytes.
fn log_record(bytes: &[u8]) -> Vec<u8> {
    in_entry(&field(2, &field(2, bytes)))
}

fn span(bytes: &[u8]) -> Vec<u8> {
    log_record(bytes)
}

fn reason(request: &[u8]) -> Option<Reason> {
    oracle::check(Signal::Logs, request);
    validate(Signal::Logs, request).err().map(|fault| fault.reason)
}

fn record_reason(bytes: &[u8]) -> Option<Reason> {
    reason(&log_record(bytes))
}

#[test]
fn an_empty_request_is_valid_and_has_no_records() {
    for signal in Signal::ALL {
        assert_eq!(validate(signal, b""), Ok(0));
    }
}

#[test]
fn invalid_utf8_in_a_string_is_rejected_where_it_is() {
    let request = log_record(&field(3, b"severe\xff!"));
    let offset = request.iter().position(|byte| *byte == 0xff).unwrap();
    assert_eq!(validate(Signal::Logs, &request), Err(Violation { reason: Reason::Utf8, offset }));
    assert_eq!(record_reason(&field(3, "sévère, 水".as_bytes())), None);
}

#[test]
fn invalid_utf8_in_a_plain_attribute_is_rejected() {
    for pair in
        [[field(1, b"\xc3"), field(2, &field(1, b"v"))], [field(1, b"k"), field(2, &field(1, b"\x80"))]]
    {
        assert_eq!(record_reason(&field(6, &pair.concat())), Some(Reason::Utf8));
    }
}

#[test]
fn unknown_fields_that_are_well_formed_are_kept() {
    for unknown in [&b"\x20\x01"[..], b"\xa1\x06abcdefgh", b"\xa5\x06abcd", b"\xa2\x06\x01\xff"] {
        assert_eq!(record_reason(unknown), None);
    }
}

#[test]
fn a_known_field_with_another_wire_type_is_rejected() {
    assert_eq!(record_reason(b"\x18\x01"), Some(Reason::WireType));
    assert_eq!(record_reason(b"\x09abcdefgh"), None);
    assert_eq!(record_reason(b"\x0dabcd"), Some(Reason::WireType));
}

#[test]
fn groups_are_rejected_in_known_and_unknown_fields() {
    for group in [&b"\x1b\x1c"[..], b"\x23\x24", b"\xa3\x06\xa4\x06", b"\x24"] {
        assert_eq!(record_reason(group), Some(Reason::Group));
    }
}

#[test]
fn wire_types_6_and_7_and_field_number_0_are_rejected() {
    assert_eq!(record_reason(b"\x1e"), Some(Reason::UnknownWireType));
    assert_eq!(record_reason(b"\xa7\x06"), Some(Reason::UnknownWireType));
    assert_eq!(record_reason(b"\x02\x00"), Some(Reason::FieldNumber));
    assert_eq!(record_reason(b"\x82\x00\x00"), Some(Reason::FieldNumber));
}

#[test]
fn a_varint_over_ten_bytes_or_64_bits_is_rejected() {
    let varint = |last: &[u8]| [b"\x10", &[0xff; 9][..], last].concat();
    assert_eq!(record_reason(&varint(b"\x01")), None);
    assert_eq!(record_reason(&varint(b"\x02")), Some(Reason::Varint));
    assert_eq!(record_reason(&varint(b"\x81\x00")), Some(Reason::Varint));
}

#[test]
fn a_field_number_over_29_bits_is_rejected() {
    assert_eq!(record_reason(b"\xf8\xff\xff\xff\x0f\x00"), None);
    assert_eq!(record_reason(b"\xf8\xff\xff\xff\x1f\x00"), Some(Reason::FieldNumber));
}

#[test]
fn keys_in_more_bytes_than_needed_are_accepted() {
    assert_eq!(record_reason(b"\x9a\x80\x00\x02ok"), None);
    assert_eq!(record_reason(b"\x9a\x80\x00\x01\xff"), Some(Reason::Utf8));
}

#[test]
fn what_ends_early_is_rejected() {
    for truncated in [&b"\x09abc"[..], b"\x1a\x05abc", b"\x10\x80", b"\x1a", b"\x9a", b"\x45ab"] {
        assert_eq!(record_reason(truncated), Some(Reason::Truncated), "{truncated:x?}");
    }
    // A length beyond the end of its message, though not beyond the end of the request.
    let long = [log_record(b"\x1a\x02a"), in_entry(b"")].concat();
    assert_eq!(reason(&long), Some(Reason::Truncated));
}

#[test]
fn ids_of_other_lengths_are_rejected() {
    for (number, len) in [(9, 16), (10, 8)] {
        assert_eq!(record_reason(&field(number, &vec![1; len])), None);
        assert_eq!(record_reason(&field(number, b"")), None);
        assert_eq!(record_reason(&field(number, &vec![1; len - 1])), Some(Reason::IdLength));
    }
    for (number, right) in [(1, 16), (2, 8), (4, 8)] {
        assert!(validate(Signal::Traces, &span(&field(number, &vec![1; right]))).is_ok());
        assert!(validate(Signal::Traces, &span(&field(number, &[1; 7]))).is_err());
    }
}

#[test]
fn messages_nest_100_levels_below_the_request_and_no_deeper() {
    // Entry, scope and record are three levels, the body is the fourth.
    let nested = |levels: usize| {
        let mut body = Vec::new();
        for level in 0..levels - 4 {
            body = field(if level % 2 == 0 { 1 } else { 5 }, &body);
        }
        log_record(&field(5, &body))
    };
    assert_eq!(reason(&nested(100)), None);
    assert_eq!(reason(&nested(102)), Some(Reason::Depth));
    assert_eq!(reason(&nested(1000)), Some(Reason::Depth));
}

#[test]
fn a_second_resource_in_an_entry_is_rejected() {
    assert_eq!(reason(&in_entry(&[field(1, b""), field(1, b"")].concat())), Some(Reason::DuplicateResource));
    assert_eq!(reason(&[in_entry(&field(1, b"")), in_entry(&field(1, b""))].concat()), None);
}

#[test]
fn field_1000_of_an_entry_must_be_valid_as_scopes_and_elsewhere_is_unknown() {
    let (scope, record) = (field(2, b"\x1a\x02ok"), field(2, &field(2, b"\x1a\x02ok")));
    let count = |entry: &[u8]| {
        oracle::check(Signal::Logs, &in_entry(entry));
        validate(Signal::Logs, &in_entry(entry))
    };
    assert_eq!(count(&field(1000, b"")), Ok(0));
    assert_eq!(count(&field(1000, &scope)), Ok(1), "alone, it holds the entry's records");
    assert_eq!(count(&[field(1000, &scope), field(1000, &scope)].concat()), Ok(2));
    for new in [field(2, b""), record.clone()] {
        let new_alone = count(&new).unwrap();
        assert_eq!(count(&[new.clone(), field(1000, &scope)].concat()), Ok(new_alone));
        assert_eq!(count(&[field(1000, &scope), new].concat()), Ok(new_alone), "whichever comes first");
    }
    // A Collector would reject the whole request, also where it reads field 2.
    for wrong in [field(1000, b"\xff"), field(1000, &field(2, b"\x1a\x01\xff")), b"\xc0\x3e\x07".to_vec()] {
        assert!(count(&wrong).is_err() && count(&[record.clone(), wrong].concat()).is_err());
    }
    assert_eq!(record_reason(&field(1000, b"\xff")), None);
}

#[test]
fn repeated_scalars_are_accepted_packed_or_not() {
    // bucket_counts of a histogram's data point, offset counts of an exponential one.
    let histogram = |point: &[u8]| log_record(&field(9, &field(1, point)));
    let exponential = |buckets: &[u8]| log_record(&field(10, &field(1, &field(8, buckets))));
    for (request, valid) in [
        (histogram(&field(6, &[1; 16])), true),
        (histogram(&[b"\x31", &[1; 8][..]].concat()), true),
        (histogram(&field(6, &[1; 12])), false),
        (exponential(&field(2, b"\x80\x01\x05")), true),
        (exponential(b"\x10\x05\x10\x06"), true),
        (exponential(&field(2, b"\x05\x80")), false),
    ] {
        oracle::check(Signal::Metrics, &request);
        assert_eq!(validate(Signal::Metrics, &request).is_ok(), valid);
    }
}

#[test]
fn fields_may_come_in_any_order() {
    let entry = [field(3, b"url"), field(2, &field(2, b"\x1a\x00")), field(1, b"\x10\x01")].concat();
    assert_eq!(validate(Signal::Logs, &in_entry(&entry)), Ok(1));
}

#[test]
fn a_plain_integer_with_something_behind_it_is_not_taken_for_a_longer_one() {
    let pair = [field(1, b"k"), field(2, b"\x18\x05\x02")].concat();
    assert_eq!(record_reason(&field(6, &pair)), Some(Reason::FieldNumber));
}

#[test]
fn data_points_of_all_five_kinds_are_records() {
    for kind in [5, 7, 9, 10, 11] {
        let request = log_record(&field(kind, &[field(1, b""), field(1, b"")].concat()));
        oracle::check(Signal::Metrics, &request);
        assert_eq!(validate(Signal::Metrics, &request), Ok(2));
    }
}

fn signal() -> impl Strategy<Value = Signal> {
    prop::sample::select(&Signal::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_prost_encodes_is_valid(bytes in signal().prop_flat_map(|signal| (Just(signal), arbitrary::request(signal)))) {
        prop_assert!(validate(bytes.0, &bytes.1).is_ok());
        oracle::check(bytes.0, &bytes.1);
    }

    #[test]
    fn damaged_requests_are_judged_as_by_the_oracle(
        (signal, mut bytes) in signal().prop_flat_map(|signal| (Just(signal), arbitrary::request(signal))),
        damages in vec(RequestDamage::arbitrary(), 1..4),
    ) {
        for damage in &damages {
            damage.apply(&mut bytes);
            oracle::check(signal, &bytes);
        }
    }

    #[test]
    fn near_otlp_is_judged_as_by_the_oracle(
        signal in signal(),
        fields in vec(damaged::wire(), 0..4),
        depth in 0..4_usize,
    ) {
        // One level after another makes sure that records are reached, and not only now and then.
        let mut bytes = fields.concat();
        for _ in 0..depth {
            bytes = field(if bytes.len().is_multiple_of(5) { 1 } else { 2 }, &bytes);
        }
        oracle::check(signal, &bytes);
        oracle::check(signal, &in_entry(&bytes));
    }

    #[test]
    fn random_bytes_are_judged_as_by_the_oracle(signal in signal(), bytes: Vec<u8>) {
        oracle::check(signal, &bytes);
        oracle::check(signal, &log_record(&bytes));
    }

    #[test]
    fn records_are_counted(request in arbitrary::logs()) {
        let records: usize = request.resource_logs.iter().flat_map(|entry| &entry.scope_logs)
            .map(|scope| scope.log_records.len()).sum();
        prop_assert_eq!(validate(Signal::Logs, &request.encode_to_vec()), Ok(records as u64));
        prop_assert!(ExportLogsServiceRequest::decode(&*request.encode_to_vec()).is_ok());
    }
}
