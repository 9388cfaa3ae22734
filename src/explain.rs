//! What would become of a request, entry by entry, and why: which routes take it, what they edit, which streams of which exporters it
//! goes to, and where these send it. Nothing is sent. `sluice explain` and the API both say it.

mod payload;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

pub use payload::{CapturedPayload, PayloadError};

use crate::export::{Target, TargetError};
use crate::otlp::{Entry, Signal};
use crate::receive::{Owner, SenderIdentity};
use crate::route::{
    self, CopyAllowance, EditError, EntryRoutes, Hit, Overridden, RouteTable, RoutingKey, TakenEntry,
    Unrouted,
};
use crate::stream::StreamName;
use crate::tenants::Tenant;

/// An error that lists the receivers, if there is none of this name among them.
pub fn check_receiver(wanted: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&wanted) {
        return Ok(());
    }
    let known: BTreeSet<String> = known.iter().map(|name| format!("`{name}`")).collect();
    let known: Vec<String> = known.into_iter().collect();
    Err(format!(
        "unknown receiver `{wanted}`: there {} {}",
        if known.len() == 1 { "is" } else { "are" },
        known.join(", ")
    ))
}

/// Says where an exporter, by its position, sends a stream, or why it can't.
type Targets<'e> = &'e dyn Fn(usize, &StreamName) -> Result<Target, TargetError>;

/// Explains entries by one configuration.
pub struct Explainer<'e> {
    /// The signal of the entries.
    pub signal: Signal,
    /// The routes, tenants and names of exporters of the configuration.
    pub routes: EntryRoutes,
    /// The destinations of its exporters.
    pub targets: Targets<'e>,
    /// The tenant that all entries are taken to be of, if one was named.
    pub tenant: Option<String>,
    /// The receiver by which they are taken to have come, if one was named.
    pub receiver: Option<String>,
    /// Bytes that the copies may take which routes and edits make of one entry.
    pub most_copied: usize,
    /// The most parts of one entry that are explained.
    pub most_parts: usize,
    /// The exporters that entries go to, by their positions.
    reached: RefCell<BTreeSet<usize>>,
}

/// What would become of an entry.
#[derive(Debug)]
pub struct ExplainedEntry {
    /// Its position in the request.
    pub index: usize,
    /// The number of its records and bytes.
    pub size: EntrySize,
    /// The tenant that it belongs to.
    pub tenant: Option<Arc<str>>,
    /// Why the entry is not admitted, if it is not.
    pub not_taken: Option<String>,
    /// The parts into which routes on records divide the entry; one part if none do.
    pub parts: Vec<ExplainedPart>,
    /// The number of further parts, which are not explained.
    pub left_out: usize,
}

/// How large an entry or a part of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntrySize {
    /// Spans, data points or log records.
    pub records: u64,
    /// Bytes in protobuf.
    pub bytes: usize,
}

/// What would become of a part of an entry, whose records agree in the attributes that routes read.
#[derive(Debug)]
pub struct ExplainedPart {
    /// The number of its records and bytes.
    pub size: EntrySize,
    /// The routes in the order in which they were asked.
    pub routes: Vec<AskedRoute>,
    /// Attributes that routes look for on the resource, and that are on the records.
    pub hints: Vec<String>,
    /// What becomes of it if no route takes it.
    pub unrouted: Option<UnroutedPart>,
}

/// The answer of a route for a part.
#[derive(Debug)]
pub struct AskedRoute {
    /// The name of the route.
    pub route: String,
    /// What the route does with the part.
    pub answer: RouteAnswer,
}

/// What a route does with a part.
#[derive(Debug)]
pub enum RouteAnswer {
    /// The route does not match, and why.
    Missed(String),
    /// The route gives the part to a stream of an exporter.
    Taken {
        /// The exporter.
        exporter: Arc<str>,
        /// The stream's routing key.
        key: RoutingKey,
        /// An attribute of the key that the resource and the records have with different values.
        overridden: Option<String>,
        /// What becomes of the part in that stream.
        end: TakenEnd,
    },
}

/// What becomes of a part that a route gives to a stream.
#[derive(Debug)]
pub enum TakenEnd {
    /// The stream has it already by the route of this name, whose copy counts.
    Already(String),
    /// The route can't edit it, and why.
    Unedited(String),
    /// The part is sent.
    Sent {
        /// The processors that edit the part before.
        edits: Option<Edits>,
        /// The destination.
        target: Target,
    },
    /// The part waits until the row of its tenant is corrected.
    Held {
        /// The processors that edit the part before.
        edits: Option<Edits>,
        /// What is wrong with the row.
        why: String,
    },
    /// The exporter can't send the part.
    Rejected {
        /// The processors that edit the part before.
        edits: Option<Edits>,
        /// Why.
        why: String,
    },
}

/// The edits of a route's processors.
#[derive(Clone, Debug)]
pub struct Edits {
    /// Their names.
    pub names: Vec<String>,
    /// Whether they change the part.
    pub change: bool,
}

/// What becomes of a part that no route takes.
#[derive(Debug)]
pub enum UnroutedPart {
    /// The part is dropped.
    Dropped,
    /// The part is rejected, with this message to its sender.
    Rejected(String),
    /// The part becomes a dead letter for this reason.
    DeadLetter(String),
}

impl EntrySize {
    fn of(entry: &Entry<'_>) -> Self {
        Self { records: entry.records, bytes: entry.bytes.len() }
    }
}

impl<'e> Explainer<'e> {
    /// Explains entries of this signal, of any tenant and receiver, without limits of parts and copies.
    pub fn new(signal: Signal, routes: EntryRoutes, targets: Targets<'e>) -> Self {
        let reached = RefCell::default();
        Self {
            signal,
            routes,
            targets,
            tenant: None,
            receiver: None,
            most_copied: usize::MAX,
            most_parts: usize::MAX,
            reached,
        }
    }

    /// The names of the exporters to which the entries go that were explained so far.
    pub fn reached(&self) -> Vec<Arc<str>> {
        self.reached.borrow().iter().map(|exporter| self.routes.exporters[*exporter].clone()).collect()
    }

    /// What would become of an entry.
    pub fn entry(&self, entry: &Entry<'_>) -> ExplainedEntry {
        let mut explained = ExplainedEntry {
            index: entry.index,
            size: EntrySize::of(entry),
            tenant: None,
            not_taken: None,
            parts: Vec::new(),
            left_out: 0,
        };
        // As if the first of its senders had sent the entry.
        let sender;
        let owner = match &self.tenant {
            Some(id) => {
                let listed = Owner::listed(&self.routes.table, id);
                sender = match listed {
                    Owner::Tenant(tenant) if !tenant.senders.is_empty() => {
                        Some(SenderIdentity::new(tenant.clone(), 0))
                    }
                    _ => None,
                };
                match &sender {
                    Some(sender) => Owner::of(&self.routes.table, Some(sender), entry.resource()),
                    None => listed,
                }
            }
            None => Owner::of(&self.routes.table, None, entry.resource()),
        };
        let tenant = match &owner {
            Owner::Nobody => None,
            Owner::Tenant(tenant) => Some(*tenant),
            not_taken => {
                explained.not_taken = Some(not_taken.to_string());
                return explained;
            }
        };
        explained.tenant = tenant.map(|tenant| tenant.id.clone());
        let allowance = CopyAllowance::new(self.most_copied);
        let (row, receiver) = (tenant.map(|tenant| &**tenant), self.receiver.as_deref());
        let parts = self.routes.partition(self.signal, entry.clone(), row, receiver, &allowance);
        if let Ok(parts) = parts {
            explained.left_out = parts.len().saturating_sub(self.most_parts);
            let shown = parts.iter().take(self.most_parts);
            explained.parts = shown.map(|part| self.part(part, tenant, &allowance)).collect();
        } else {
            let most = self.most_copied;
            explained.not_taken =
                Some(format!("divided by its records, it would take more than {most} bytes"));
        }
        explained
    }

    /// What would become of a part of an entry.
    fn part(
        &self,
        entry: &Entry<'_>,
        tenant: Option<&Arc<Tenant>>,
        allowance: &CopyAllowance,
    ) -> ExplainedPart {
        // In the order in which the routes were asked, whether they took the entry or not.
        let asked = RefCell::new(Vec::new());
        let routes = &*self.routes.routes;
        // The routes by which it is in the streams of exporters, which have it once.
        let mut streams: HashMap<(usize, String), usize> = HashMap::new();
        let routed = self.routes.route(
            self.signal,
            entry,
            tenant.map(|tenant| &**tenant),
            self.receiver.as_deref(),
            |hit| {
                let exporter = self.routes.exporters[hit.exporter].clone();
                let stream = StreamName { signal: self.signal, key: RoutingKey::written(hit.key) };
                let end = match streams.get(&(hit.exporter, hit.key.to_owned())) {
                    Some(first) => TakenEnd::Already(routes.name(*first).to_owned()),
                    None => match self.edits(&hit, entry, tenant, allowance) {
                        Ok(edits) => {
                            streams.insert((hit.exporter, hit.key.to_owned()), hit.route);
                            self.reached.borrow_mut().insert(hit.exporter);
                            self.end(hit.exporter, &stream, edits)
                        }
                        Err(error) => TakenEnd::Unedited(error.to_string()),
                    },
                };
                let overridden = hit.overridden.map(|Overridden { name, record, resource }| {
                    format!(
                        "`{name}` is `{record}` on the records, which counted, and `{resource}` on the resource"
                    )
                });
                let answer = RouteAnswer::Taken { exporter, key: stream.key, overridden, end };
                asked.borrow_mut().push(AskedRoute { route: routes.name(hit.route).to_owned(), answer });
            },
            |route, why| {
                let answer = RouteAnswer::Missed(why().to_string());
                asked.borrow_mut().push(AskedRoute { route: routes.name(route).to_owned(), answer });
            },
        );
        let unrouted = match routed {
            Ok(true) => None,
            Ok(false) => Some(self.unrouted(routes)),
            Err(error) => Some(UnroutedPart::Rejected(error.to_string())),
        };
        let hints =
            routes.record_hints(self.signal, entry).into_iter().map(|hint| hint.to_string()).collect();
        ExplainedPart { size: EntrySize::of(entry), routes: asked.into_inner(), hints, unrouted }
    }

    fn unrouted(&self, routes: &RouteTable) -> UnroutedPart {
        let missing = || routes.missing(self.signal).to_owned();
        match routes.unrouted() {
            Unrouted::Drop => UnroutedPart::Dropped,
            Unrouted::Reject { .. } => UnroutedPart::Rejected(missing()),
            Unrouted::DeadLetter => UnroutedPart::DeadLetter(missing()),
        }
    }

    /// What would become of a part in a stream of an exporter.
    fn end(&self, exporter: usize, stream: &StreamName, edits: Option<Edits>) -> TakenEnd {
        match (self.targets)(exporter, stream) {
            Ok(target) => TakenEnd::Sent { edits, target },
            Err(error) if error.is_of_row() && stream.key.tenant().is_some() => {
                TakenEnd::Held { edits, why: error.to_string() }
            }
            Err(error) => TakenEnd::Rejected { edits, why: error.to_string() },
        }
    }

    /// The edits of a route's processors; `None` if it has no processors.
    fn edits(
        &self,
        hit: &Hit<'_>,
        entry: &Entry<'_>,
        tenant: Option<&Arc<Tenant>>,
        allowance: &CopyAllowance,
    ) -> Result<Option<Edits>, EditError> {
        let edits = self.routes.routes.edits(hit.route);
        if edits.is_empty() {
            return Ok(None);
        }
        let taken = TakenEntry {
            signal: self.signal,
            bytes: &entry.bytes,
            resource: entry.resource(),
            key: hit.key,
            tenant: tenant.map(|tenant| &**tenant),
        };
        let names = edits.iter().map(|edit| edit.name.to_string()).collect();
        let edited = route::edited(edits, &taken, &mut |bytes| allowance.take(bytes))?;
        Ok(Some(Edits { names, change: edited.is_some() }))
    }
}
