//! The routing table: from the attributes of an entry's resource, and of its records, to the streams it belongs to.
//!
//! One walk over the resource finds every attribute that any route or template names; the routes are then asked in
//! order. Nothing is allocated for an entry unless a route's key is a template, or a regular expression is matched with a value that is
//! neither a string, an integer nor a boolean.
//!
//! Records are looked at only where a route for their signal asks for it. The records of an entry may differ then, so that the entry
//! has to be [partitioned](RouteTable::partition) first; in each of the resulting entries, the first record stands for all.

mod example;
mod partition;
mod record_hints;

use std::fmt::Write as _;
use std::sync::Arc;

use http::HeaderName;
use smallvec::{SmallVec, smallvec};

use self::partition::RouteWays;
pub use record_hints::RecordHint;

use super::edits;
use super::key::{put_part, put_tenant};
use super::tested_value::{TestedValue, UnusableValue, as_key, is_usable};
use super::unroutable::Unroutable;
use super::{
    Glob, KeySource, KeySpec, Matcher, Mismatch, RequestHeaders, RouteEdit, RouteSpec, RoutingKey, TENANT_ID,
    Template, TemplateTarget, TemplateValue, Unrouted, Values,
};
use crate::tenants::Tenant;
use otlp::{self, EditBound, Entry, Found, NoRoom, RecordAttribute, RecordAttributes, RoomCheck, Signal};

/// Attributes that are shown of a resource that no route takes.
const SHOWN_VALUES: usize = 4;

/// Characters that are shown of each of their values.
const SHOWN_CHARACTERS: usize = 64;

/// The compiled `routes`, immutable.
#[derive(Debug)]
pub struct RouteTable {
    /// Every attribute that is looked at on resources; routes refer to it by position.
    attributes: Vec<Box<str>>,
    /// Every attribute that is looked at on records, likewise.
    record_attributes: Vec<RecordAttribute>,
    /// Every header of requests that is looked at, likewise.
    headers: Vec<HeaderName>,
    routes: Vec<Route>,
    unrouted: Unrouted,
    /// By signal.
    asked: [RouteInputs; 3],
    /// By signal, the most work that the edits of routes can be; `None` if no route edits.
    edits: [Option<EditBound>; 3],
    /// By signal, how many regular expressions are matched with attributes.
    patterns: [AskedPatterns; 3],
    missing: [Box<str>; 3],
}

/// The attributes, values and headers that the routes for one signal look at, in their order.
#[derive(Debug, Default)]
struct RouteInputs {
    /// Attributes of resources, with their use in keys and conditions.
    resource: Vec<AskedAttribute>,
    /// Positions of attributes of records.
    records: Vec<usize>,
    /// The attributes of records at these positions.
    record_attributes: Vec<RecordAttribute>,
    /// The names of values of the tenant's row.
    row_values: Vec<Box<str>>,
    /// Positions of headers of requests.
    headers: Vec<usize>,
}

/// An attribute of resources that routes look at.
#[derive(Clone, Copy, Debug)]
struct AskedAttribute {
    at: usize,
    in_keys: bool,
    in_conditions: bool,
}

#[derive(Debug)]
struct Route {
    name: Box<str>,
    matches: Vec<(usize, Matcher)>,
    record_matches: Vec<(EitherAttribute, Matcher)>,
    record_alone_matches: Vec<(usize, Matcher)>,
    request_matches: Vec<(usize, Matcher)>,
    tenants: Option<Vec<Glob>>,
    receivers: Option<Vec<String>>,
    signals: [bool; 3],
    key: Key,
    edits: Vec<Arc<RouteEdit>>,
    exporters: Vec<usize>,
    continues: bool,
}

#[derive(Debug)]
enum Key {
    Route,
    One(KeyReading),
    Parts(Vec<(Box<str>, KeyReading)>),
}

/// Where a key or a part of it comes from.
#[derive(Debug)]
enum KeyReading {
    Attributes(Vec<usize>),
    Records { record: Vec<usize>, resource: Vec<usize> },
    Request { header: usize, default: Option<Box<str>> },
    Template(Template),
}

/// An attribute that a record has, or else its resource.
#[derive(Clone, Copy, Debug)]
struct EitherAttribute {
    record: usize,
    resource: usize,
}

/// The origin of an entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryOrigin<'o> {
    /// The receiver that it came by; `None` if that is not known, which matches any receiver.
    pub receiver: Option<&'o str>,
    /// The headers of the request that it came in; without them, all are absent.
    pub request: Option<&'o RequestHeaders>,
    /// The tenant that it belongs to.
    pub tenant: Option<&'o Tenant>,
    /// The positions of the exporters that it goes to in place of those of its route.
    pub exporters: Option<&'o [usize]>,
}

/// A stream that an entry goes to.
#[derive(Debug)]
pub struct Hit<'r> {
    /// The route's position.
    pub route: usize,
    /// The exporter's position in the configuration.
    pub exporter: usize,
    /// The stream's routing key, as it is [written](RoutingKey::written).
    pub key: &'r str,
    /// An attribute of records that was used and has another value on the resource.
    pub overridden: Option<Overridden<'r>>,
}

/// An attribute that the records of an entry have, and its resource with another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overridden<'r> {
    /// Its name on the records.
    pub name: &'r str,
    /// The records' value, which was used.
    pub record: &'r str,
    /// The resource's value.
    pub resource: &'r str,
}

/// Why a route did not take an entry; for `sluice explain`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// The route is for other signals.
    #[error("it is not for {0}")]
    Signal(Signal),
    /// An attribute does not match.
    #[error("`{name}` {}, {}", why.seen, why.verdict)]
    Match {
        /// The attribute.
        name: String,
        /// Its value, and why that does not match.
        why: Mismatch,
    },
    /// An attribute of the records, or of the resource in place of it, does not match.
    #[error("`{name}` {} on the {whose}, {}", why.seen, why.verdict)]
    RecordMatch {
        /// The attribute.
        name: String,
        /// Its value, and why that does not match.
        why: Mismatch,
        /// The part of the entry that has the value: the resource, the record, or the first of the records.
        whose: String,
    },
    /// A header of the request does not match. Its value may be a credential.
    #[error("the header `{name}` of the request {}", .unusable.as_ref().map_or("does not match".to_owned(), |why| format!("{why}, which does not match")))]
    RequestMatch {
        /// The header.
        name: String,
        /// Why it counts as absent, if it does.
        unusable: Option<UnusableValue>,
    },
    /// The route is for other receivers than this one.
    #[error("it is not for the receiver `{0}`")]
    Receiver(String),
    /// The route is for other tenants than this one; `None` if the entry has no tenant.
    #[error("{}", .0.as_ref().map_or_else(|| "it is for tenants, and the entry is nobody's".to_owned(), |id| format!("it is not for the tenant `{id}`")))]
    Tenant(Option<String>),
    /// There is no routing key: the faults of the attributes that it is made of, or of the key itself.
    #[error("it has no key: {0}")]
    Key(String),
}

/// Values of attributes, by position in the table.
type TestedValues<'a> = SmallVec<[TestedValue<'a>; 6]>;

/// The attributes of one entry.
struct Attributes<'a> {
    names: &'a [Box<str>],
    /// The values of its resource.
    values: TestedValues<'a>,
    /// The values of its first record.
    record: TestedValues<'a>,
    /// How many records it has.
    records: u64,
    /// The values of its request's headers.
    request: TestedValues<'a>,
    signal: Signal,
    tenant: Option<&'a Tenant>,
}

impl Attributes<'_> {
    /// The record's value, or else the resource's; and whether it is the record's.
    fn either(&self, attribute: EitherAttribute) -> (&TestedValue<'_>, bool) {
        let (record, resource) = (&self.record[attribute.record], &self.values[attribute.resource]);
        let is_better = resource.key_text().is_some() || (resource.is_there() && !record.is_there());
        if record.key_text().is_none() && is_better { (resource, false) } else { (record, true) }
    }

    /// The record that was looked at, in words: other records with the same streams may have other values.
    fn looked_at(&self) -> String {
        if self.records > 1 { format!("first of its {} records", self.records) } else { "record".to_owned() }
    }
}

impl Values for Attributes<'_> {
    fn key(&self) -> Option<&RoutingKey> {
        None
    }
    fn signal(&self) -> Signal {
        self.signal
    }
    fn resource(&self, name: &str) -> Option<&str> {
        self.names.iter().position(|known| &**known == name).and_then(|at| self.values[at].key_text())
    }
    fn tenant(&self, name: &str) -> Option<&str> {
        let tenant = self.tenant?;
        // A value with several texts gives a key its first text, so that the key doesn't depend on which of them an upstream takes.
        if name == TENANT_ID { Some(&tenant.id) } else { tenant.values.text(name, 0) }
    }
}

/// How many regular expressions routes look for.
#[derive(Clone, Copy, Debug)]
struct AskedPatterns {
    /// In attributes of resources alone.
    resource: usize,
    /// In attributes of records, or of resources in place of those.
    record: usize,
}

impl AskedPatterns {
    fn of(routes: &[RouteSpec], signal: Signal) -> Self {
        let mut asked = Self { resource: 0, record: 0 };
        for route in routes.iter().filter(|route| route.signals[signal.index()]) {
            let patterns = |matches: &[(String, Matcher)]| {
                matches.iter().map(|(_, matcher)| matcher.patterns()).sum::<usize>()
            };
            asked.resource += patterns(&route.matches);
            asked.record += patterns(&route.record_matches) + patterns(&route.record_alone_matches);
        }
        asked
    }
}

/// The most work that it is to edit what routes take of a signal: that of each route which lets others take the entry as well, and the
/// most of any other, of which one takes it. `None` if none of them edits.
fn most_edited(routes: &[RouteSpec], signal: Signal) -> Option<EditBound> {
    let edited = || routes.iter().filter(|route| route.signals[signal.index()] && !route.edits.is_empty());
    let (continuing, last): (Vec<_>, Vec<_>) = edited().partition(|route| route.continues);
    let bound = |route: &&RouteSpec| edits::bound(&route.edits);
    let most = last.iter().map(bound).fold(EditBound::default(), EditBound::or);
    edited().next().map(|_| continuing.iter().map(bound).fold(most, EditBound::and))
}

impl RouteTable {
    /// Compiles `routes`.
    pub fn new(routes: Vec<RouteSpec>, unrouted: Unrouted) -> Self {
        let (mut attributes, mut record_attributes, mut headers) = (Vec::new(), Vec::new(), Vec::new());
        let mut asked: [RouteInputs; 3] = Default::default();
        for spec in &routes {
            let conditions =
                spec.matches.iter().chain(&spec.record_matches).map(|(name, _)| (&**name, false));
            let keys = spec.key.sources().flat_map(KeySource::attributes).map(|name| (name, true));
            let on_records = spec.record_matches.iter().map(|(name, _)| name);
            let on_records = on_records.chain(spec.key.sources().flat_map(KeySource::record_attributes));
            let on_records = on_records.map(|name| (name, false));
            let alone = spec.record_alone_matches.iter().map(|(name, _)| (name, true));
            let signals = || asked_signals(spec);
            for (name, in_key) in conditions.chain(keys) {
                let at = position(&mut attributes, name);
                signals().for_each(|signal| asked[signal].add(at, in_key));
            }
            for (name, is_alone) in on_records.chain(alone) {
                let at = record_position(&mut record_attributes, name, is_alone);
                signals().for_each(|signal| asked[signal].add_of_records(at, &record_attributes[at]));
            }
            for name in spec.key.sources().flat_map(KeySource::row_values) {
                signals().for_each(|signal| asked[signal].add_of_row(name));
            }
            let in_request = spec.request_matches.iter().map(|(name, _)| name);
            for name in in_request.chain(spec.key.sources().filter_map(KeySource::header)) {
                let at = header_position(&mut headers, name);
                signals().for_each(|signal| asked[signal].add_header(at));
            }
        }
        let edits = Signal::ALL.map(|signal| most_edited(&routes, signal));
        let patterns = Signal::ALL.map(|signal| AskedPatterns::of(&routes, signal));
        let routes: Vec<Route> = routes
            .into_iter()
            .map(|spec| Route::new(spec, &mut attributes, &mut record_attributes, &mut headers))
            .collect();
        let missing =
            Signal::ALL.map(|signal| missing(signal, &asked[signal.index()], &attributes, &headers));
        Self { attributes, record_attributes, headers, routes, unrouted, asked, edits, patterns, missing }
    }

    /// The headers of requests that routes look at.
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// The fate of entries that no route takes.
    pub fn unrouted(&self) -> Unrouted {
        self.unrouted
    }

    /// The message for a sender whose entry no route takes.
    pub fn missing(&self, signal: Signal) -> &str {
        &self.missing[signal.index()]
    }

    /// Adds to `text` what an entry has of the attributes that its signal's routes look at: ` (env=`test`, zone absent)`,
    /// or `zone is there but empty`; and, of those that its records have instead, how routes would look there.
    /// At most four of them, and 64 characters of each.
    pub fn put_values(&self, signal: Signal, entry: &Entry<'_>, text: &mut String) {
        let asked = &self.asked[signal.index()];
        let Ok(attributes) = self.find(signal, entry, &EntryOrigin::default()) else { return };
        let of_resource = asked
            .resource
            .iter()
            .map(|asked| (&*self.attributes[asked.at], attributes.values[asked.at].usable(), ""));
        let of_records = asked.records.iter().map(|at| {
            let RecordAttribute { name, is_alone } = &self.record_attributes[*at];
            let whose = if *is_alone { " on the record itself" } else { " on the record" };
            (&**name, attributes.record[*at].usable(), whose)
        });
        let count = asked.resource.len() + asked.records.len();
        for (nth, (name, value, whose)) in of_resource.chain(of_records).take(SHOWN_VALUES).enumerate() {
            text.push_str(if nth == 0 { " (" } else { ", " });
            text.push_str(name);
            match value {
                Ok(value) => {
                    text.push_str("=`");
                    text.extend(value.chars().take(SHOWN_CHARACTERS));
                    text.push_str(if value.chars().nth(SHOWN_CHARACTERS).is_some() { "…`" } else { "`" });
                }
                Err(UnusableValue::Absent) => text.push_str(" absent"),
                Err(why) => write!(text, " {why}").expect("writing to a String can't fail"),
            }
            text.push_str(whose);
        }
        if count > SHOWN_VALUES {
            text.push_str(", …");
        }
        for hint in self.record_hints(signal, entry).iter().filter(|hint| hint.is_missing_on_resource()) {
            write!(text, "; {hint}").expect("writing to a String can't fail");
        }
        if count > 0 {
            text.push(')');
        }
    }

    /// The name of the route at a position.
    pub fn name(&self, route: usize) -> &str {
        &self.routes[route].name
    }

    /// The names of all routes, in the order in which they are asked.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| &*route.name)
    }

    /// Whether a route looks at headers of requests.
    pub fn looks_at_headers(&self, route: usize) -> bool {
        let Route { request_matches, key, .. } = &self.routes[route];
        let reads_header = |reading: &KeyReading| matches!(reading, KeyReading::Request { .. });
        !request_matches.is_empty()
            || match key {
                Key::Route => false,
                Key::One(reading) => reads_header(reading),
                Key::Parts(parts) => parts.iter().any(|(_, reading)| reads_header(reading)),
            }
    }

    /// How many exporters the route at a position has.
    pub fn exporters(&self, route: usize) -> usize {
        self.routes[route].exporters.len()
    }

    /// The edits that the route at a position makes in its copies of entries.
    pub fn edits(&self, route: usize) -> &[Arc<RouteEdit>] {
        &self.routes[route].edits
    }

    /// The most work that it is to edit the copies of a request's entries that routes get, in bytes that could be copied in that time.
    pub fn most_edited(&self, signal: Signal, request: &[u8]) -> usize {
        let divided = self.looks_at_records(signal);
        self.edits[signal.index()].map_or(0, |bound| bound.of_request(signal, request, divided))
    }

    /// The most work that it is to look for regular expressions in the attributes of a request, in bytes that could be copied in that
    /// time. It need not be valid.
    pub fn most_matched(&self, signal: Signal, request: &[u8]) -> usize {
        /// The cost of matching a pattern with a byte, including that of making a list or map into text.
        const PATTERN: usize = 8;
        let AskedPatterns { resource, record } = self.patterns[signal.index()];
        if resource + record == 0 {
            return 0;
        }
        let of_entry = |(_, entry): (&[u8], &[u8])| {
            let of_resource = resource.saturating_mul(otlp::resource(entry).len());
            of_resource.saturating_add(record.saturating_mul(entry.len()))
        };
        otlp::frames(request).map(of_entry).fold(0, usize::saturating_add).saturating_mul(PATTERN)
    }

    /// Divides an entry of this origin by the streams that its records go to, where routes for its signal look at records: as
    /// [`otlp::partition`]. `None` where all go to the same.
    pub fn partition(
        &self,
        signal: Signal,
        entry: &Entry<'_>,
        origin: &EntryOrigin<'_>,
        room: &mut RoomCheck<'_>,
    ) -> Result<Option<Vec<Entry<'static>>>, NoRoom> {
        let wanted = &self.asked[signal.index()].record_attributes;
        if wanted.is_empty() {
            return Ok(None);
        }
        // A resource that conflicts with itself is not routed, whatever its records say.
        let Ok(values) = self.find_on_resource(entry) else { return Ok(None) };
        let mut ways = RouteWays::new(self, signal, &values, origin);
        otlp::partition(signal, entry, &RecordAttributes::new(wanted, is_usable), &mut ways, room)
    }

    /// Whether routes for the signal look at records.
    pub fn looks_at_records(&self, signal: Signal) -> bool {
        !self.asked[signal.index()].records.is_empty()
    }

    /// Hints about attributes that routes look at on the resource alone, and that the entry's first record has.
    pub fn record_hints(&self, signal: Signal, entry: &Entry<'_>) -> Vec<RecordHint> {
        RecordHint::of_entry(self, signal, entry)
    }

    /// For each route that takes the signal, in order, the attributes of a resource that it may take; `filler` is the
    /// value where any will do.
    pub fn examples(&self, signal: Signal, filler: &str) -> impl Iterator<Item = Vec<(&str, String)>> {
        let routes = self.routes.iter().filter(move |route| route.signals[signal.index()]);
        routes.map(move |route| example::of_route(self, route, filler))
    }

    /// The attributes of resources that routes look at.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|name| &**name)
    }

    /// Calls `hit` for each stream that an entry goes to, and `miss` for each route that was asked in vain. Returns whether a
    /// route took it; `scratch` is overwritten. Where routes look at records, these agree: it has been partitioned.
    pub fn route<E: From<Unroutable>>(
        &self,
        signal: Signal,
        entry: &Entry<'_>,
        origin: &EntryOrigin<'_>,
        scratch: &mut String,
        hit: impl FnMut(Hit<'_>) -> Result<(), E>,
        miss: impl FnMut(usize, &dyn Fn() -> Miss),
    ) -> Result<bool, E> {
        let attributes = self.find(signal, entry, origin).map_err(E::from)?;
        self.ask(&attributes, origin, scratch, hit, miss)
    }

    /// Asks the routes, as [`RouteTable::route`], about an entry that has these attributes.
    fn ask<E>(
        &self,
        attributes: &Attributes<'_>,
        origin: &EntryOrigin<'_>,
        scratch: &mut String,
        mut hit: impl FnMut(Hit<'_>) -> Result<(), E>,
        mut miss: impl FnMut(usize, &dyn Fn() -> Miss),
    ) -> Result<bool, E> {
        let signal = attributes.signal;
        let mut routed = false;
        for (at, route) in self.routes.iter().enumerate() {
            if !route.signals[signal.index()] {
                miss(at, &|| Miss::Signal(signal));
                continue;
            }
            if let (Some(receivers), Some(receiver)) = (&route.receivers, origin.receiver)
                && !receivers.iter().any(|known| known == receiver)
            {
                miss(at, &|| Miss::Receiver(receiver.to_owned()));
                continue;
            }
            if let Some(tenants) = &route.tenants
                && !origin.tenant.is_some_and(|tenant| tenants.iter().any(|glob| glob.matches(&tenant.id)))
            {
                miss(at, &|| Miss::Tenant(origin.tenant.map(|tenant| tenant.id.to_string())));
                continue;
            }
            let failed =
                route.matches.iter().find(|(name, matcher)| !matcher.matches(&attributes.values[*name]));
            if let Some((name, matcher)) = failed {
                miss(at, &|| Miss::Match {
                    name: self.attributes[*name].to_string(),
                    why: matcher.mismatch(&attributes.values[*name]),
                });
                continue;
            }
            let failed = route
                .record_matches
                .iter()
                .find(|(attribute, matcher)| !matcher.matches(attributes.either(*attribute).0));
            if let Some((attribute, matcher)) = failed {
                miss(at, &|| {
                    let (value, is_of_record) = attributes.either(*attribute);
                    let whose = if is_of_record { attributes.looked_at() } else { "resource".to_owned() };
                    let name = self.record_attributes[attribute.record].name.to_string();
                    Miss::RecordMatch { name, why: matcher.mismatch(value), whose }
                });
                continue;
            }
            let failed = route
                .record_alone_matches
                .iter()
                .find(|(attribute, matcher)| !matcher.matches(&attributes.record[*attribute]));
            if let Some((attribute, matcher)) = failed {
                miss(at, &|| Miss::RecordMatch {
                    name: self.record_attributes[*attribute].name.to_string(),
                    why: matcher.mismatch(&attributes.record[*attribute]),
                    whose: attributes.looked_at(),
                });
                continue;
            }
            let failed = route
                .request_matches
                .iter()
                .find(|(header, matcher)| !matcher.matches(&attributes.request[*header]));
            if let Some((header, matcher)) = failed {
                miss(at, &|| Miss::RequestMatch {
                    name: self.headers[*header].to_string(),
                    unusable: matcher.unusable_in(&attributes.request[*header]),
                });
                continue;
            }
            if !route.put_key(attributes, scratch) {
                miss(at, &|| Miss::Key(self.why_no_key(route, attributes)));
                continue;
            }
            let overridden = self.overridden(route, attributes);
            for &exporter in origin.exporters.unwrap_or(&route.exporters) {
                hit(Hit { route: at, exporter, key: scratch.as_str(), overridden })?;
            }
            routed = true;
            if !route.continues {
                break;
            }
        }
        Ok(routed)
    }

    /// Why a route gives an entry no key: the faults of the values that the key is made of, or of the key itself.
    fn why_no_key(&self, route: &Route, attributes: &Attributes<'_>) -> String {
        let reasons: Vec<String> = match &route.key {
            Key::Route => Vec::new(),
            Key::One(source) => self.why_nothing(source, attributes),
            Key::Parts(parts) => {
                parts.iter().flat_map(|(_, source)| self.why_nothing(source, attributes)).collect()
            }
        };
        reasons.join(", ")
    }

    /// Why a source gives no key; nothing if it gives one.
    fn why_nothing(&self, source: &KeyReading, attributes: &Attributes<'_>) -> Vec<String> {
        let unusable = |at: usize| {
            let why = attributes.values[at].usable().err()?;
            Some(format!("`{}` {why}", self.attributes[at]))
        };
        let position = |name: &str| self.attributes.iter().position(|known| &**known == name);
        match source {
            _ if source.text(attributes, &mut String::new()) => Vec::new(),
            KeyReading::Attributes(positions) => positions.iter().filter_map(|at| unusable(*at)).collect(),
            KeyReading::Records { record, resource } => {
                let on_record = |at: &usize| {
                    let why = attributes.record[*at].usable().err()?;
                    let name = &self.record_attributes[*at].name;
                    Some(format!("`{name}` {why} on the {}", attributes.looked_at()))
                };
                let on_resource = |at: &usize| Some(format!("{} on the resource", unusable(*at)?));
                record.iter().filter_map(on_record).chain(resource.iter().filter_map(on_resource)).collect()
            }
            KeyReading::Request { header, .. } => {
                let why = attributes.request[*header].usable().err();
                why.map(|why| format!("the header `{}` of the request {why}", self.headers[*header]))
                    .into_iter()
                    .collect()
            }
            KeyReading::Template(template) => {
                let rendered = template.render(attributes, TemplateTarget::Key);
                let of_row =
                    rendered.as_ref().err().filter(|error| error.is_of_row() && attributes.tenant.is_some());
                let of_row = of_row.map(ToString::to_string);
                let whole = rendered.ok().and_then(|key| as_key(&key).err()).map(|why| format!("it {why}"));
                let nobodys = attributes.tenant.is_none()
                    && template.reads().any(|read| matches!(read, TemplateValue::Tenant(_)));
                let nobodys = nobodys.then(|| "the entry is no tenant's".to_owned());
                template
                    .attributes()
                    .filter_map(position)
                    .filter_map(unusable)
                    .chain(nobodys)
                    .chain(of_row)
                    .chain(whole)
                    .collect()
            }
        }
    }

    /// The attribute that a route has read off the records, if the resource has another value of it.
    fn overridden<'a>(&'a self, route: &Route, attributes: &'a Attributes<'_>) -> Option<Overridden<'a>> {
        let of_key = route.key_readings().filter_map(|reading| match reading {
            KeyReading::Records { record, resource } => {
                let first = |positions: &[usize], values: &[TestedValue<'_>]| {
                    positions.iter().copied().find(|at| values[*at].key_text().is_some())
                };
                let (record, resource) =
                    (first(record, &attributes.record)?, first(resource, &attributes.values)?);
                Some(EitherAttribute { record, resource })
            }
            KeyReading::Attributes(_) | KeyReading::Request { .. } | KeyReading::Template(_) => None,
        });
        let of_conditions = route.record_matches.iter().map(|(attribute, _)| *attribute);
        of_key.chain(of_conditions).find_map(|EitherAttribute { record, resource }| {
            let name = &self.record_attributes[record].name;
            let (record, resource) =
                (attributes.record[record].key_text()?, attributes.values[resource].key_text()?);
            (record != resource).then_some(Overridden { name, record, resource })
        })
    }

    fn find<'a>(
        &'a self,
        signal: Signal,
        entry: &'a Entry<'_>,
        origin: &EntryOrigin<'a>,
    ) -> Result<Attributes<'a>, Unroutable> {
        let values = self.find_on_resource(entry)?;
        let asked = &self.asked[signal.index()];
        let record = if asked.records.is_empty() {
            TestedValues::new()
        } else {
            let wanted = RecordAttributes::new(&asked.record_attributes, is_usable);
            self.values_of_record(signal, wanted.of_first_record(signal, &entry.bytes).into_iter())?
        };
        let request = self.values_of_request(signal, origin)?;
        let (names, records, tenant) = (&self.attributes, entry.records, origin.tenant);
        Ok(Attributes { names, values, record, records, request, signal, tenant })
    }

    /// The request's values of the headers that routes for the signal look at, by position in the table.
    fn values_of_request<'a>(
        &self,
        signal: Signal,
        origin: &EntryOrigin<'a>,
    ) -> Result<TestedValues<'a>, Unroutable> {
        let mut request: TestedValues<'a> = smallvec![TestedValue::ABSENT; self.headers.len()];
        if let Some(headers) = origin.request {
            for at in &self.asked[signal.index()].headers {
                request[*at] = headers.value(&self.headers[*at])?;
            }
        }
        Ok(request)
    }

    fn find_on_resource<'a>(&'a self, entry: &'a Entry<'_>) -> Result<TestedValues<'a>, Unroutable> {
        let mut found: SmallVec<[Found<'a>; 6]> = smallvec![Found::Absent; self.attributes.len()];
        otlp::find(entry.resource(), &self.attributes, &mut found);
        let mut values = TestedValues::new();
        for (found, name) in found.into_iter().zip(&self.attributes) {
            let value = TestedValue::of(found).ok_or_else(|| Unroutable::Conflicting(name.to_string()))?;
            values.push(value);
        }
        Ok(values)
    }

    /// The values that were found on a record in the order in which routes for the signal ask for them, by position in the table.
    fn values_of_record<'a>(
        &self,
        signal: Signal,
        found: impl Iterator<Item = Found<'a>>,
    ) -> Result<TestedValues<'a>, Unroutable> {
        let mut record: TestedValues<'a> = smallvec![TestedValue::ABSENT; self.record_attributes.len()];
        for (at, found) in self.asked[signal.index()].records.iter().zip(found) {
            let name = || Unroutable::ConflictingOnRecord(self.record_attributes[*at].name.to_string());
            record[*at] = TestedValue::of(found).ok_or_else(name)?;
        }
        Ok(record)
    }
}

impl RouteInputs {
    fn add(&mut self, at: usize, in_key: bool) {
        let known = self.resource.iter().position(|known| known.at == at).unwrap_or_else(|| {
            self.resource.push(AskedAttribute { at, in_keys: false, in_conditions: false });
            self.resource.len() - 1
        });
        let known = &mut self.resource[known];
        known.in_keys |= in_key;
        known.in_conditions |= !in_key;
    }

    fn add_of_records(&mut self, at: usize, attribute: &RecordAttribute) {
        if !self.records.contains(&at) {
            self.records.push(at);
            self.record_attributes.push(attribute.clone());
        }
    }

    fn add_of_row(&mut self, name: &str) {
        if !self.row_values.iter().any(|known| **known == *name) {
            self.row_values.push(name.into());
        }
    }

    fn add_header(&mut self, at: usize) {
        if !self.headers.contains(&at) {
            self.headers.push(at);
        }
    }
}

/// The position of an attribute among those that are known; a new one is added.
fn position(known: &mut Vec<Box<str>>, name: &str) -> usize {
    known.iter().position(|known| &**known == name).unwrap_or_else(|| {
        known.push(name.into());
        known.len() - 1
    })
}

/// The position of an attribute of records among those that are known; a new one is added.
fn record_position(known: &mut Vec<RecordAttribute>, name: &str, is_alone: bool) -> usize {
    known.iter().position(|known| *known.name == *name && known.is_alone == is_alone).unwrap_or_else(|| {
        known.push(RecordAttribute { name: name.into(), is_alone });
        known.len() - 1
    })
}

/// The position of a header among those that are known; a new one is added.
fn header_position(known: &mut Vec<HeaderName>, name: &HeaderName) -> usize {
    known.iter().position(|known| known == name).unwrap_or_else(|| {
        known.push(name.clone());
        known.len() - 1
    })
}

/// The signals that a route takes, by their indexes.
fn asked_signals(spec: &RouteSpec) -> impl Iterator<Item = usize> {
    spec.signals.into_iter().enumerate().filter_map(|(signal, taken)| taken.then_some(signal))
}

impl Route {
    fn new(
        spec: RouteSpec,
        attributes: &mut Vec<Box<str>>,
        record_attributes: &mut Vec<RecordAttribute>,
        headers: &mut Vec<HeaderName>,
    ) -> Self {
        let matches = spec.matches.into_iter().map(|(name, matcher)| (position(attributes, &name), matcher));
        let matches = matches.collect();
        let either = |(name, matcher): (String, Matcher)| {
            let record = record_position(record_attributes, &name, false);
            (EitherAttribute { record, resource: position(attributes, &name) }, matcher)
        };
        let record_matches = spec.record_matches.into_iter().map(either).collect();
        let alone =
            |(name, matcher): (String, Matcher)| (record_position(record_attributes, &name, true), matcher);
        let record_alone_matches = spec.record_alone_matches.into_iter().map(alone).collect();
        let of_request = |(name, matcher)| (header_position(headers, &name), matcher);
        let request_matches = spec.request_matches.into_iter().map(of_request).collect();
        let mut source = |source| match source {
            KeySource::Attributes(names) => {
                KeyReading::Attributes(names.iter().map(|name| position(attributes, name)).collect())
            }
            KeySource::Records { record, resource } => KeyReading::Records {
                record: record.iter().map(|name| record_position(record_attributes, name, false)).collect(),
                resource: resource.iter().map(|name| position(attributes, name)).collect(),
            },
            KeySource::Request { header, default } => {
                let header = header_position(headers, &header);
                KeyReading::Request { header, default: default.map(Into::into) }
            }
            KeySource::Template(template) => KeyReading::Template(template),
        };
        let key = match spec.key {
            KeySpec::Route => Key::Route,
            KeySpec::One(one) => Key::One(source(one)),
            KeySpec::Parts(parts) => {
                Key::Parts(parts.into_iter().map(|(name, part)| (name.into(), source(part))).collect())
            }
        };
        Self {
            name: spec.name.into(),
            matches,
            record_matches,
            record_alone_matches,
            request_matches,
            tenants: spec.tenants,
            receivers: spec.receivers,
            signals: spec.signals,
            key,
            edits: spec.edits,
            exporters: spec.exporters,
            continues: spec.continues,
        }
    }

    /// The sources that the key is made of.
    fn key_readings(&self) -> impl Iterator<Item = &KeyReading> {
        let (one, parts): (Option<&KeyReading>, &[_]) = match &self.key {
            Key::Route => (None, &[]),
            Key::One(reading) => (Some(reading), &[]),
            Key::Parts(parts) => (None, parts),
        };
        one.into_iter().chain(parts.iter().map(|(_, reading)| reading))
    }

    /// Writes the routing key, or says that it is absent.
    fn put_key(&self, attributes: &Attributes<'_>, key: &mut String) -> bool {
        key.clear();
        if let Some(tenant) = attributes.tenant {
            put_tenant(key, &tenant.id);
        }
        match &self.key {
            Key::Route => {
                key.push_str(&self.name);
                true
            }
            Key::One(source) => source.text(attributes, key),
            Key::Parts(parts) => {
                let mut value = String::new();
                parts.iter().all(|(name, source)| {
                    value.clear();
                    let is_there = source.text(attributes, &mut value);
                    put_part(key, name, &value);
                    is_there
                })
            }
        }
    }
}

impl KeyReading {
    /// Adds the text to `out`, or says that it is absent.
    fn text(&self, attributes: &Attributes<'_>, out: &mut String) -> bool {
        match self {
            Self::Attributes(positions) => {
                let first = positions.iter().find_map(|at| attributes.values[*at].key_text());
                out.push_str(first.unwrap_or_default());
                first.is_some()
            }
            Self::Records { record, resource } => {
                let of_record = record.iter().find_map(|at| attributes.record[*at].key_text());
                let first =
                    of_record.or_else(|| resource.iter().find_map(|at| attributes.values[*at].key_text()));
                out.push_str(first.unwrap_or_default());
                first.is_some()
            }
            Self::Request { header, default } => {
                let value = attributes.request[*header].key_text().or(default.as_deref());
                out.push_str(value.unwrap_or_default());
                value.is_some()
            }
            Self::Template(template) => {
                let rendered = template.render(attributes, TemplateTarget::Key).unwrap_or_default();
                out.push_str(&rendered);
                as_key(&rendered).is_ok()
            }
        }
    }
}

/// The message for senders of data that no route takes, which names what routes look at.
fn missing(signal: Signal, asked: &RouteInputs, attributes: &[Box<str>], headers: &[HeaderName]) -> Box<str> {
    let quoted = |names: &mut dyn Iterator<Item = &str>| {
        names.map(|name| format!("`{name}`")).collect::<Vec<String>>().join(", ")
    };
    let of_resource = quoted(&mut asked.resource.iter().map(|asked| &*attributes[asked.at]));
    let mut on_records: Vec<&str> = Vec::new();
    for attribute in &asked.record_attributes {
        if !on_records.contains(&&*attribute.name) {
            on_records.push(&attribute.name);
        }
    }
    let of_records = quoted(&mut on_records.into_iter());
    let of_row = quoted(&mut asked.row_values.iter().map(|name| &**name));
    let of_request = quoted(&mut asked.headers.iter().map(|at| headers[*at].as_str()));
    let looked_at: Vec<String> = [
        ("the attributes", of_records, " of records"),
        ("the resource attributes", of_resource, ""),
        ("the headers", of_request, " of the request"),
        ("the values", of_row, " of the tenant's row"),
    ]
    .into_iter()
    .filter(|(_, names, _)| !names.is_empty())
    .map(|(before, names, behind)| format!("{before} {names}{behind}"))
    .collect();
    if looked_at.is_empty() {
        return format!("no route takes {signal}").into();
    }
    format!("no route takes these {signal}: routes look at {}", looked_at.join(" and at ")).into()
}

#[cfg(test)]
mod tests;
