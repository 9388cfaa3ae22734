//! Requests as a Collector writes them. It fills its buffer from the end, so that the fields of every message come with
//! their numbers descending: a resource after its scopes, a key after its value. What is repeated keeps its order.

use prost::bytes::Buf as _;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use sluice::otlp::Signal;

/// The fields of a message that are messages, as far as the samples have any.
struct Shape(&'static [(u32, &'static Shape)]);

const LEAF: Shape = Shape(&[]);
const ATTRIBUTE: Shape = Shape(&[(2, &LEAF)]);
const RESOURCE: Shape = Shape(&[(1, &ATTRIBUTE)]);
const SCOPE: Shape = Shape(&[(3, &ATTRIBUTE)]);

const LOG_RECORD: Shape = Shape(&[(5, &LEAF), (6, &ATTRIBUTE)]);
const SPAN: Shape = Shape(&[(9, &ATTRIBUTE), (15, &LEAF)]);
const SUM: Shape = Shape(&[(1, &Shape(&[(7, &ATTRIBUTE)]))]);
const HISTOGRAM: Shape = Shape(&[(1, &Shape(&[(9, &ATTRIBUTE)]))]);
const METRIC: Shape = Shape(&[(7, &SUM), (9, &HISTOGRAM)]);

const LOGS: Shape = Shape(&[(1, &Shape(&[(1, &RESOURCE), (2, &Shape(&[(1, &SCOPE), (2, &LOG_RECORD)]))]))]);
const TRACES: Shape = Shape(&[(1, &Shape(&[(1, &RESOURCE), (2, &Shape(&[(1, &SCOPE), (2, &SPAN)]))]))]);
const METRICS: Shape = Shape(&[(1, &Shape(&[(1, &RESOURCE), (2, &Shape(&[(1, &SCOPE), (2, &METRIC)]))]))]);

/// The same request, as a Collector would write it.
pub(crate) fn backwards(signal: Signal, request: &[u8]) -> Vec<u8> {
    let shape = match signal {
        Signal::Traces => &TRACES,
        Signal::Metrics => &METRICS,
        Signal::Logs => &LOGS,
    };
    let written = message(request, shape);
    assert_eq!(written.len(), request.len(), "only the order differs");
    written
}

fn message(bytes: &[u8], shape: &Shape) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut rest = bytes;
    while rest.has_remaining() {
        let (number, kind) = decode_key(&mut rest).expect("samples are valid");
        let mut field = Vec::new();
        encode_key(number, kind, &mut field);
        match kind {
            WireType::Varint => encode_varint(varint(&mut rest), &mut field),
            WireType::SixtyFourBit => field.extend(rest.split_off(..8).expect("samples are valid")),
            WireType::ThirtyTwoBit => field.extend(rest.split_off(..4).expect("samples are valid")),
            WireType::LengthDelimited => {
                let len = varint(&mut rest);
                let value = rest.split_off(..len as usize).expect("samples are valid");
                encode_varint(len, &mut field);
                match shape.0.iter().find(|(nested, _)| *nested == number) {
                    Some((_, shape)) => field.extend(message(value, shape)),
                    None => field.extend(value),
                }
            }
            WireType::StartGroup | WireType::EndGroup => unreachable!("samples have no groups"),
        }
        fields.push((number, field));
    }
    fields.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    fields.into_iter().flat_map(|(_, field)| field).collect()
}

fn varint(bytes: &mut &[u8]) -> u64 {
    decode_varint(bytes).expect("samples are valid")
}
