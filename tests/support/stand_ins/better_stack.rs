//! Better Stack's endpoint for OTLP/HTTP: a source for each token, a quota for each source, and spans that it skips.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::{Delivery, Refusal, Rules, StandIn, Taken};

/// The largest body as it comes, compressed, in bytes.
const LARGEST_BODY: usize = 10 << 20;

/// Better Stack, with its sources.
pub struct BetterStack {
    /// Names by their tokens.
    sources: BTreeMap<String, String>,
    over_quota: Mutex<Vec<String>>,
    largest: usize,
}

impl BetterStack {
    /// Starts with sources, each with its token.
    pub async fn start(sources: &[(&str, &str)]) -> StandIn<Self> {
        Self::start_with_limit(sources, LARGEST_BODY).await
    }

    /// The same, with another size of the largest body.
    pub async fn start_with_limit(sources: &[(&str, &str)], largest: usize) -> StandIn<Self> {
        let sources = sources.iter().map(|(name, token)| ((*token).to_owned(), (*name).to_owned())).collect();
        StandIn::start(Self { sources, over_quota: Mutex::default(), largest }).await
    }

    /// Says whether a source is over its quota.
    pub fn set_over_quota(&self, source: &str, is_over: bool) {
        let mut over = self.over_quota.lock();
        over.retain(|other| other != source);
        if is_over {
            over.push(source.to_owned());
        }
    }
}

impl Rules for BetterStack {
    fn judge(&self, request: &Delivery, taken: &mut Taken) -> Result<(), Refusal> {
        if request.path != request.signal.path() {
            return Err(Refusal::new(404, "{}"));
        }
        let source = request.bearer().and_then(|token| self.sources.get(token));
        let source = source.ok_or(Refusal::new(401, r#"{"message":"Unauthorized"}"#))?;
        if self.over_quota.lock().contains(source) {
            return Err(Refusal::new(402, r#"{"message":"Quota exceeded"}"#));
        }
        if request.wire_size > self.largest {
            return Err(Refusal::new(413, r#"{"message":"payload reached size limit"}"#));
        }
        for record in request.exported.records().iter().filter(|record| !record.is_event) {
            if record.is_endless {
                taken.dropped.push(record.text.clone());
            } else {
                taken.add(source, request.signal, record.text.clone());
            }
        }
        Ok(())
    }
}
