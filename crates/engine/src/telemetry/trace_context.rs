//! The span that a request belongs to, as the header `traceparent` names it (W3C Trace Context, level 1,
//! <https://www.w3.org/TR/trace-context/#traceparent-header>).

use std::fmt;

use http::{HeaderName, HeaderValue};
use opentelemetry_proto::tonic::trace::v1::SpanFlags;

/// The header by which a sender says which span its request belongs to.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The length of a `traceparent` of version 0: four fields with dashes between them.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// The flag that says that a span is recorded.
const SAMPLED: u8 = 1;

/// A span, and the trace that it is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Not all zero.
    trace_id: [u8; 16],
    /// Not all zero.
    span_id: [u8; 8],
    is_sampled: bool,
}

impl TraceContext {
    /// The span that the text of a `traceparent` names; none if the text is not valid. Of a version that is not known yet, what stands
    /// behind the fields of version 0 is passed over, as the specification wants it.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (fields, further) = header.split_at_checked(LENGTH)?;
        let [version] = hexadecimal(&fields[..2])?;
        let is_of_length = match version {
            0 => further.is_empty(),
            0xff => false,
            _ => further.is_empty() || further[0] == b'-',
        };
        if !is_of_length || [fields[2], fields[35], fields[52]] != *b"---" {
            return None;
        }
        let trace_id: [u8; 16] = hexadecimal(&fields[3..35])?;
        let span_id: [u8; 8] = hexadecimal(&fields[36..52])?;
        let [flags] = hexadecimal(&fields[53..])?;
        let is_valid = trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self { trace_id, span_id, is_sampled: flags & SAMPLED != 0 })
    }

    /// The first span of a new trace, which `is_sampled` decides about by the trace's number: 63 random bits.
    pub(super) fn root(is_sampled: impl FnOnce(u64) -> bool) -> Self {
        let trace_id = rand::random_range(1..=u128::MAX).to_be_bytes();
        let number = u64::from_be_bytes(*trace_id.last_chunk().expect("it has sixteen bytes")) >> 1;
        Self { trace_id, span_id: new_span_id(), is_sampled: is_sampled(number) }
    }

    /// A new span in the same trace.
    #[must_use]
    pub(super) fn child(self) -> Self {
        Self { span_id: new_span_id(), ..self }
    }

    /// The same span, which is recorded whatever its sender says.
    #[must_use]
    pub(super) fn sampled(self) -> Self {
        Self { is_sampled: true, ..self }
    }

    /// Whether the span is recorded.
    pub fn is_sampled(self) -> bool {
        self.is_sampled
    }

    /// The number of the trace.
    pub fn trace_id(self) -> [u8; 16] {
        self.trace_id
    }

    /// The number of the span.
    pub fn span_id(self) -> [u8; 8] {
        self.span_id
    }

    /// The flags, as a `traceparent` and OTLP's log records have them.
    pub(super) fn flags(self) -> u32 {
        u32::from(if self.is_sampled { SAMPLED } else { 0 })
    }

    /// The flags of a span of this process, or of a link with one, as OTLP has them: it says that nothing of it is remote.
    pub(super) fn local_flags(self) -> u32 {
        self.flags() | SpanFlags::ContextHasIsRemoteMask as u32
    }

    /// The `traceparent` that names it.
    pub fn header(self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("hexadecimal digits and dashes are printable")
    }
}

/// As in a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", self.flags())
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn new_span_id() -> [u8; 8] {
    rand::random_range(1..=u64::MAX).to_be_bytes()
}

/// Bytes of lower-case hexadecimal digits: the specification has no others.
fn hexadecimal<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn parse(text: &str) -> Option<TraceContext> {
        TraceContext::parse(text.as_bytes())
    }

    #[test]
    fn the_fields_of_a_traceparent_are_read() {
        let context = parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
        assert_eq!(u128::from_be_bytes(context.trace_id()), u128::from_str_radix(TRACE, 16).unwrap());
        assert_eq!(u64::from_be_bytes(context.span_id()), u64::from_str_radix(SPAN, 16).unwrap());
        assert!(context.is_sampled());
        assert!(!parse(&format!("00-{TRACE}-{SPAN}-00")).unwrap().is_sampled());
        assert!(!parse(&format!("00-{TRACE}-{SPAN}-fe")).unwrap().is_sampled(), "only the last bit counts");
    }

    #[test]
    fn a_version_that_is_not_known_is_read_as_far_as_it_is() {
        let whole = parse(&format!("00-{TRACE}-{SPAN}-01"));
        assert_eq!(parse(&format!("cc-{TRACE}-{SPAN}-01")), whole);
        assert_eq!(parse(&format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like")), whole);
        assert_eq!(parse(&format!("cc-{TRACE}-{SPAN}-01.what")), None);
    }

    #[test]
    fn what_is_not_valid_names_no_span() {
        let (no_trace, no_span) = ("0".repeat(32), "0".repeat(16));
        for wrong in [
            String::new(),
            "00".to_owned(),
            format!("00-{no_trace}-{SPAN}-01"),
            format!("00-{TRACE}-{no_span}-01"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(parse(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn new_spans_differ_and_a_child_stays_in_its_trace() {
        let root = TraceContext::root(|_| true);
        let child = root.child();
        assert!(root.is_sampled() && child.is_sampled());
        assert_eq!(root.trace_id(), child.trace_id());
        assert_ne!(root.span_id(), child.span_id());
        assert_ne!(TraceContext::root(|_| false).trace_id(), root.trace_id());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            trace_id in any::<[u8; 16]>(), span_id in any::<[u8; 8]>(), is_sampled in any::<bool>(),
        ) {
            let context = TraceContext { trace_id, span_id, is_sampled };
            let is_valid = trace_id != [0; 16] && span_id != [0; 8];
            prop_assert_eq!(TraceContext::parse(context.header().as_bytes()), is_valid.then_some(context));
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(context) = TraceContext::parse(&bytes) {
                let text = context.to_string();
                prop_assert_eq!(&bytes[3..53], &text.as_bytes()[3..53]);
            }
        }

        #[test]
        fn one_wrong_byte_is_enough(at in 0..LENGTH, byte in any::<u8>()) {
            let right = format!("00-{TRACE}-{SPAN}-01").into_bytes();
            let mut changed = right.clone();
            changed[at] = byte;
            let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let is_dash = [2, 35, 52].contains(&at);
            let is_still_valid = if is_dash { byte == b'-' } else { is_digit };
            prop_assert_eq!(TraceContext::parse(&changed).is_some(), is_still_valid);
        }
    }
}
