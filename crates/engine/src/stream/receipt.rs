//! How a request learns that its entries are settled.
//!
//! Until its sender is answered a request that waits for delivery holds a [`Receipt`]: which of its entries have been settled, and
//! how, stands in its [`Ledger`], and its entries in the streams know that they are waited for.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::ledger::{Ledger, Loss};
use super::{Reservation, Stream, StreamAddress};

/// Of how many exporters a sender is told what it waits for.
const MOST_CAUSES: usize = 4;

/// What an exporter has to do with it that a stream of its is not delivered yet, in words; `None` if it is something else.
type DelayCause = fn(&Stream, &str) -> Option<String>;

/// A request that wants to know what becomes of its entries. Dropped before they are settled, it withdraws what is left of
/// them.
#[derive(Debug)]
pub struct Receipt {
    ledger: Arc<Ledger>,
    /// Where its entries are, with the sequence numbers that they have there.
    places: Vec<(Arc<Stream>, Range<u64>)>,
    /// For the request while it waits.
    _held: Reservation,
}

impl Receipt {
    pub(super) fn new(
        ledger: Arc<Ledger>,
        places: Vec<(Arc<Stream>, Range<u64>)>,
        held: Reservation,
    ) -> Self {
        Self { ledger, places, _held: held }
    }

    /// Ready once all entries are settled. Returns what was not delivered of them, and what upstreams had to say: once. Or once
    /// any of them is given up for want of retries or time, and why: then the sender still has all of the request, and is to
    /// be told to send it again.
    pub async fn settled(&self) -> Result<Vec<Loss>, Arc<str>> {
        self.ledger.closed().await
    }

    /// Why what is left is not delivered yet: of each exporter that it waits for, what is wrong with its destination, or that
    /// it has not answered. Empty if it waits for none. For senders, without secrets.
    pub fn causes_of_delay(&self) -> String {
        // What is known best comes first, and an exporter is told of once.
        let causes: [DelayCause; 4] = [
            |stream, exporter| stream.destination_error().map(|message| format!("`{exporter}`: {message}")),
            |stream, exporter| stream.is_sending().then(|| format!("`{exporter}` has not answered yet")),
            |stream, exporter| stream.is_held().then(|| format!("for `{exporter}` it is held")),
            |_, exporter| Some(format!("`{exporter}` has not taken it yet")),
        ];
        let mut told: Vec<(&str, String)> = Vec::new();
        for cause in causes {
            for stream in self.waited_for() {
                let exporter = &**stream.context().exporter();
                if told.len() < MOST_CAUSES
                    && told.iter().all(|(known, _)| *known != exporter)
                    && let Some(text) = cause(stream, exporter)
                {
                    told.push((exporter, text));
                }
            }
        }
        let told: Vec<String> = told.into_iter().map(|(_, text)| text).collect();
        told.join("; ")
    }

    /// The stream that it was given up in; else the first that it still waits for, if there is one.
    pub fn undelivered(&self) -> Option<StreamAddress> {
        self.ledger.given_up_in().or_else(|| self.waited_for().next().map(Stream::address))
    }

    /// The streams that have not settled all that they have of it.
    fn waited_for(&self) -> impl Iterator<Item = &Stream> {
        let waiting = self.places.iter().filter(|(stream, numbers)| stream.is_waited_for_in(numbers));
        waiting.map(|(stream, _)| &**stream)
    }

    /// What was not delivered of the entries that have ended by now, and the positions in the request of those that have not, or were
    /// given up. For whoever will not wait any longer.
    pub fn so_far(&self) -> (Vec<Loss>, BTreeSet<usize>) {
        let waiting = self.places.iter().flat_map(|(stream, numbers)| stream.unsettled_entries(numbers));
        let mut unsettled: BTreeSet<usize> = waiting.collect();
        let losses = self.ledger.so_far(&mut unsettled);
        (losses, unsettled)
    }

    /// Whether nothing is left to wait for.
    pub fn is_settled(&self) -> bool {
        self.ledger.is_settled()
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.is_settled() {
            return;
        }
        for (stream, numbers) in &self.places {
            stream.withdraw(numbers);
        }
    }
}
