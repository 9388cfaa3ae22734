//! The traced requests whose entries are in a batch.

use opentelemetry_proto::tonic::trace::v1::span::Link;

use super::TraceContext;

/// The most requests that are named; more are only counted.
const MOST: usize = 32;

/// The spans of the traced requests that have entries in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchLinks {
    /// In the order in which the requests were admitted.
    requests: Vec<TraceContext>,
    /// The request that was admitted last, which may be unnamed. Entries of one request come one behind the other.
    last: TraceContext,
    /// The number of requests that are not named.
    unnamed: u32,
}

impl BatchLinks {
    /// Adds the request of this span, which has an entry in the batch.
    pub fn add(links: &mut Option<Box<Self>>, request: TraceContext) {
        let Some(links) = links else {
            *links = Some(Box::new(Self { requests: vec![request], last: request, unnamed: 0 }));
            return;
        };
        if std::mem::replace(&mut links.last, request) == request {
            return;
        }
        if links.requests.len() < MOST {
            links.requests.push(request);
        } else {
            links.unnamed = links.unnamed.saturating_add(1);
        }
    }

    /// The links in OTLP, and how many more requests there are.
    pub(super) fn as_otlp(&self) -> (Vec<Link>, u32) {
        let link = |request: &TraceContext| Link {
            trace_id: request.trace_id().to_vec(),
            span_id: request.span_id().to_vec(),
            flags: request.local_flags(),
            ..Link::default()
        };
        (self.requests.iter().map(link).collect(), self.unnamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_or_counted_once_however_many_entries_it_has() {
        let mut links = None;
        let requests: Vec<_> = (0..MOST + 3).map(|_| TraceContext::root(|_| true)).collect();
        for request in &requests {
            for _entry in 0..3 {
                BatchLinks::add(&mut links, *request);
            }
        }
        let (named, unnamed) = links.unwrap().as_otlp();
        let ids: Vec<_> = named.into_iter().map(|link| link.span_id).collect();
        let expected: Vec<_> = requests[..MOST].iter().map(|request| request.span_id().to_vec()).collect();
        assert_eq!((ids, unnamed), (expected, 3));
    }
}
