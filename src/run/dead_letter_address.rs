//! Dead letters that never had an exporter: finds the streams that a configuration has for their entries.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::dead_letters::{DeadLetterPart, StoredDeadLetter};
use crate::encoding::Encoding;
use crate::otlp::{self, Entry, Signal};
use crate::receive::Owner;
use crate::route::{self, CopyAllowance, EntryRoutes, Miss, RoutingKey, TakenEntry, Values as _};
use crate::stream::StreamName;
use crate::tenants::Tenant;

/// Bytes that the copies may take which routes and edits make of a letter's entries.
const MOST_COPIED: usize = 64 << 20;

/// Why a letter is left whose copies would take more.
const TOO_LARGE: &str = "divided by its records for the routes, it would take more than 64 MiB";

/// A stream that an entry goes to.
struct AddressedStream {
    exporter: Arc<str>,
    stream: StreamName,
    /// The entry as the route's edits leave it, if they change it.
    edited: Option<Vec<u8>>,
    /// The most bytes of a batch of the exporter.
    most: usize,
}

/// The parts of a letter, in the order in which they are to be sent.
#[derive(Default)]
struct AddressedParts {
    parts: Vec<DeadLetterPart>,
    /// The last part of each stream.
    last: HashMap<(Arc<str>, RoutingKey), usize>,
}

/// Finds the streams of letters that never had an exporter.
pub struct DeadLetterAddresses<'r, F> {
    /// The routes by which the letters are to be sent, with a request without headers: dead letters do not keep the headers.
    pub routes: &'r EntryRoutes,
    /// Returns the most bytes of a batch of an exporter, or why the exporter can't send to a stream.
    pub open: F,
}

impl<F: FnMut(&Arc<str>, &StreamName) -> Result<usize, String>> DeadLetterAddresses<'_, F> {
    /// Divides a letter into a part for each stream that the configuration has for its entries, several parts if the entries are too
    /// many for a batch, and at the end a part without an exporter for entries that have no stream. The error says why no entry has a
    /// stream. Blocks.
    pub fn address(&mut self, letter: &StoredDeadLetter) -> Result<Vec<DeadLetterPart>, String> {
        let signal = letter.signal();
        let bytes = letter.load().map_err(|error| format!("its bytes can't be read: {error}"))?;
        let split = match letter.encoding() {
            Encoding::Proto => otlp::split(signal, &bytes).ok(),
            Encoding::Json => None,
        };
        let valid = split.filter(|split| split.cuts.is_empty() && !split.entries.is_empty());
        let Some(split) = valid else {
            return Err(format!(
                "it was cut out when it was received, before it had an exporter ({}): sent again as it is, it would be cut out \
                 again. Correct it, or the program that sends it, and post it to `/v1/{signal}` of a receiver",
                letter.reason(),
            ));
        };
        let allowance = CopyAllowance::new(MOST_COPIED);
        let mut addressed = AddressedParts::default();
        let mut rest: Option<DeadLetterPart> = None;
        let receiver = letter.origin().map(|origin| origin.receiver.as_str());
        for mut entry in split.entries {
            let parts = match self.owner_of(letter, &mut entry) {
                Err(reason) => vec![(entry, Err(reason))],
                Ok(tenant) => {
                    let parts = self.routes.partition(signal, entry, tenant.as_deref(), receiver, &allowance);
                    let parts = parts.map_err(|_| TOO_LARGE)?;
                    let streams = |part| {
                        let streams = self.streams_of(signal, &part, tenant.as_deref(), receiver, &allowance);
                        (part, streams)
                    };
                    parts.into_iter().map(streams).collect()
                }
            };
            for (part, streams) in parts {
                match streams {
                    Ok(streams) => {
                        for AddressedStream { exporter, stream, edited, most } in streams {
                            let bytes = edited.as_deref().unwrap_or(&part.bytes);
                            addressed.add(letter, &exporter, &stream, bytes, most);
                        }
                    }
                    Err(reason) => {
                        let rest = rest.get_or_insert_with(|| DeadLetterPart {
                            exporter: None,
                            key: None,
                            reason,
                            records: 0,
                            bytes: Vec::new(),
                        });
                        put(rest, &part.bytes, part.records);
                    }
                }
            }
        }
        match rest {
            Some(rest) if addressed.parts.is_empty() => Err(rest.reason),
            rest => Ok(addressed.parts.into_iter().chain(rest).collect()),
        }
    }

    /// The tenant that an entry belongs to, or why it can't be admitted. The entry gets the stamp that it would have got on receipt.
    fn owner_of(
        &self,
        letter: &StoredDeadLetter,
        entry: &mut Entry<'_>,
    ) -> Result<Option<Arc<Tenant>>, String> {
        let (origin, table) = (letter.origin(), &*self.routes.table);
        let recorded = origin.and_then(|origin| origin.tenant.as_deref());
        let owner = match recorded {
            Some(id) => Owner::listed(table, id),
            None => Owner::of(table, None, entry.resource()),
        };
        let tenant = match owner {
            Owner::Nobody => None,
            // Not another tenant that has the id now.
            Owner::Tenant(tenant) if recorded.is_none_or(|id| *tenant.id == *id) => Some(tenant.clone()),
            Owner::Tenant(_) => return Err(format!("its tenant `{}` is gone", recorded.unwrap_or_default())),
            not_taken => return Err(not_taken.to_string()),
        };
        let is_senders = origin.is_some_and(|origin| origin.sender.is_some());
        if let (Some(attribute), Some(tenant), true) = (table.stamp(), &tenant, is_senders) {
            entry.stamp(attribute, &tenant.id);
        }
        Ok(tenant)
    }

    /// The streams that an entry goes to, all of which can be sent to, each with the entry as the route's edits leave it; or why the entry
    /// goes nowhere.
    fn streams_of(
        &mut self,
        signal: Signal,
        entry: &Entry<'_>,
        tenant: Option<&Tenant>,
        receiver: Option<&str>,
        allowance: &CopyAllowance,
    ) -> Result<Vec<AddressedStream>, String> {
        let mut streams: Vec<AddressedStream> = Vec::new();
        let mut unedited = None;
        // Routes may have matched it, or not, by headers of its request.
        let undecided = Cell::new(None);
        let routes = &*self.routes.routes;
        let routed = self.routes.route(
            signal,
            entry,
            tenant,
            receiver,
            |hit| {
                if routes.looks_at_headers(hit.route) {
                    undecided.set(undecided.get().or(Some(hit.route)));
                }
                let stream = StreamName { signal, key: RoutingKey::written(hit.key) };
                let exporter = self.routes.exporters[hit.exporter].clone();
                if streams.iter().any(|known| known.exporter == exporter && known.stream == stream) {
                    return;
                }
                let taken = TakenEntry {
                    signal,
                    bytes: &entry.bytes,
                    resource: entry.resource(),
                    key: hit.key,
                    tenant,
                };
                match route::edited(self.routes.routes.edits(hit.route), &taken, &mut |bytes| {
                    allowance.take(bytes)
                }) {
                    Ok(edited) => streams.push(AddressedStream { exporter, stream, edited, most: 0 }),
                    Err(error) => {
                        let name = self.routes.routes.name(hit.route);
                        unedited = Some(format!("the route `{name}` can't edit it: {error}"));
                    }
                }
            },
            |route, why| {
                if routes.looks_at_headers(route) && matches!(why(), Miss::RequestMatch { .. } | Miss::Key(_))
                {
                    undecided.set(undecided.get().or(Some(route)));
                }
            },
        );
        if let Some(route) = undecided.get() {
            return Err(format!(
                "the route `{}` looks at headers of the request, which a dead letter does not keep: post it to `/v1/{signal}` of a \
                 receiver, with its headers",
                routes.name(route)
            ));
        }
        if !routed.map_err(|error| error.to_string())? {
            let mut why = self.routes.routes.missing(signal).to_owned();
            self.routes.routes.put_values(signal, entry, &mut why);
            return Err(why);
        }
        if let Some(why) = unedited {
            return Err(why);
        }
        for AddressedStream { exporter, stream, most, .. } in &mut streams {
            *most = (self.open)(exporter, stream)?;
        }
        Ok(streams)
    }
}

impl AddressedParts {
    /// Adds an entry to the last part of its stream, in pieces that fit into a batch; begins another part where the last one would
    /// become larger than `most` bytes.
    fn add(
        &mut self,
        letter: &StoredDeadLetter,
        exporter: &Arc<str>,
        stream: &StreamName,
        entry: &[u8],
        most: usize,
    ) {
        otlp::split_to_size(stream.signal, entry, most, &mut |piece, records| {
            let last = self.last.entry((exporter.clone(), stream.key.clone())).or_insert(usize::MAX);
            let framed = otlp::frame_len(piece.len());
            if self.parts.get(*last).is_none_or(|part| part.bytes.len() + framed > most) {
                *last = self.parts.len();
                self.parts.push(DeadLetterPart {
                    exporter: Some(exporter.to_string()),
                    key: Some(stream.key.clone()),
                    reason: format!(
                        "a replay has found a route for it, which it had not before ({})",
                        letter.reason()
                    ),
                    records: 0,
                    bytes: Vec::new(),
                });
            }
            put(&mut self.parts[*last], piece, records);
        });
    }
}

fn put(part: &mut DeadLetterPart, entry: &[u8], records: u64) {
    otlp::put_frame(&mut part.bytes, entry.len());
    part.bytes.extend_from_slice(entry);
    part.records += records;
}
