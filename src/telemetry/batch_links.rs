//! The traced requests whose entries are in a batch.

use opentelemetry_proto::tonic::trace::v1::span::Link;

use super::TraceContext;

/// So many requests are named; more are only counted.
const MOST: usize = 32;

/// The spans of the traced requests that have entries in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchLinks {
    /// In the order in which the requests were admitted.
    requests: Vec<TraceContext>,
    /// Requests beyond those.
    unnamed: u32,
}

impl BatchLinks {
    /// The request of this span has an entry in the batch.
    pub fn add(links: &mut Option<Box<Self>>, request: TraceContext) {
        let links = links.get_or_insert_with(|| Box::new(Self { requests: Vec::new(), unnamed: 0 }));
        // Entries of one request come one behind the other.
        if links.requests.last() == Some(&request) {
            return;
        }
        if links.requests.len() < MOST {
            links.requests.push(request);
        } else {
            links.unnamed = links.unnamed.saturating_add(1);
        }
    }

    /// As OTLP has them, and how many there are more.
    pub(super) fn as_otlp(&self) -> (Vec<Link>, u32) {
        let link = |request: &TraceContext| Link {
            trace_id: request.trace_id().to_vec(),
            span_id: request.span_id().to_vec(),
            flags: request.flags(),
            ..Link::default()
        };
        (self.requests.iter().map(link).collect(), self.unnamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_once_and_those_beyond_the_limit_are_counted() {
        let mut links = None;
        let requests: Vec<_> = (0..MOST + 3).map(|_| TraceContext::root(|_| true)).collect();
        for request in &requests {
            BatchLinks::add(&mut links, *request);
            if requests[..MOST].contains(request) {
                BatchLinks::add(&mut links, *request);
            }
        }
        let (named, unnamed) = links.unwrap().as_otlp();
        let ids: Vec<_> = named.into_iter().map(|link| link.span_id).collect();
        let expected: Vec<_> = requests[..MOST].iter().map(|request| request.span_id().to_vec()).collect();
        assert_eq!((ids, unnamed), (expected, 3));
    }
}
