//! Arbitrary messages: the strategies of the library's own tests.

use sluice::otlp::Signal;

#[path = "../../src/otlp/arbitrary.rs"]
#[allow(dead_code, unreachable_pub, reason = "what damages messages is not used here")]
mod arbitrary;

/// What they need of the library beside the signals.
mod wire {
    pub(super) fn put_varint(out: &mut Vec<u8>, value: u64) {
        out.extend(crate::support::payload::varint(value));
    }
}

pub(crate) use arbitrary::request;
