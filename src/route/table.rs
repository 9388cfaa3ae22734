//! The routing table: from the attributes of an entry's resource to the streams it belongs to.
//!
//! One walk over the resource finds every attribute that any route or template names; the routes are then asked in
//! order. Nothing is allocated for an entry unless a route's key is a template.

mod example;

use std::fmt::Write as _;
use std::sync::Arc;

use super::key::{put_part, put_tenant};
use super::{
    Glob, KeySource, KeySpec, Matcher, Place, RouteEdit, RouteSpec, RoutingKey, TENANT_ID, Template,
    TemplateValue, Unrouted, Values,
};
use crate::otlp::{self, Found, Signal, Value};

/// A routing key, or a part of one, is at most this many bytes.
pub const LONGEST_KEY: usize = 512;

/// Attributes that are shown of a resource that no route takes.
const SHOWN_VALUES: usize = 4;

/// Characters that are shown of each of their values.
const SHOWN_CHARACTERS: usize = 64;

/// The compiled `routes`, immutable.
#[derive(Debug)]
pub struct RouteTable {
    /// Every attribute that is looked at; routes refer to it by position.
    attributes: Vec<Box<str>>,
    routes: Vec<Route>,
    unrouted: Unrouted,
    /// For each signal the attributes that its routes look at, in their order.
    asked: [Vec<usize>; 3],
    missing: [Box<str>; 3],
}

#[derive(Debug)]
struct Route {
    name: Box<str>,
    matches: Vec<(usize, Matcher)>,
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
    Template(Template),
}

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryOrigin<'o> {
    /// The receiver that it came by; `None` if that is not known, so that it may be any.
    pub receiver: Option<&'o str>,
    /// The id of the tenant whose it is.
    pub tenant: Option<&'o str>,
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
}

/// Why no route is asked for an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unroutable {
    /// Servers differ in which of the values they take.
    #[error("the resource attribute `{0}` occurs twice with different values")]
    Conflicting(String),
}

/// Why a route did not take an entry; for `sluice explain`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// The route is for other signals.
    #[error("it is not for {0}")]
    Signal(Signal),
    /// An attribute does not match.
    #[error("`{name}` {value}, which does not match", value = .value.as_ref().map_or_else(ToString::to_string, |value| format!("is `{value}`")))]
    Match {
        /// The attribute.
        name: String,
        /// Its value, or why it counts as absent.
        value: Result<String, Unusable>,
    },
    /// It is for other receivers.
    #[error("it is not for the receiver `{0}`")]
    Receiver(String),
    /// It is for other tenants.
    #[error("{}", .0.as_ref().map_or_else(|| "it is for tenants, and the entry is nobody's".to_owned(), |id| format!("it is not for the tenant `{id}`")))]
    Tenant(Option<String>),
    /// There is no key, and why: what is wrong with the attributes that it is made of, or with itself.
    #[error("it has no key: {0}")]
    Key(String),
}

/// Why an attribute counts as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is.
    #[error("is absent")]
    Absent,
    /// It is an empty string.
    #[error("is there but empty")]
    Empty,
    /// It is longer than a routing key may be.
    #[error("is longer than {LONGEST_KEY} bytes")]
    TooLong,
    /// It could not be printed.
    #[error("holds control characters")]
    Control,
    /// It is a double, bytes, a list or nothing.
    #[error("is neither a string, an integer nor a boolean")]
    Kind,
}

/// An attribute's value as text: a string as it is, an integer in decimal, a boolean in words.
#[derive(Debug, Clone, Copy)]
enum Text<'a> {
    Unusable(Unusable),
    Borrowed(&'a str),
    Number { digits: [u8; 20], len: u8 },
}

impl Text<'_> {
    fn get(&self) -> Option<&str> {
        self.usable().ok()
    }

    /// The text, or why there is none.
    fn usable(&self) -> Result<&str, Unusable> {
        match self {
            Self::Unusable(why) => Err(*why),
            Self::Borrowed(text) => Ok(text),
            Self::Number { digits, len } => {
                Ok(std::str::from_utf8(&digits[..usize::from(*len)]).expect("digits are ASCII"))
            }
        }
    }
}

impl<'a> From<Value<'a>> for Text<'a> {
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::Text(text) => as_key(text).map_or_else(Text::Unusable, Text::Borrowed),
            Value::Bool(flag) => Text::Borrowed(if flag { "true" } else { "false" }),
            Value::Int(number) => {
                let mut digits = [0; 20];
                let mut rest = &mut digits[..];
                std::io::Write::write_fmt(&mut rest, format_args!("{number}"))
                    .expect("an i64 has at most 20 characters");
                let len = (20 - rest.len()) as u8;
                Text::Number { digits, len }
            }
            Value::Other => Text::Unusable(Unusable::Kind),
        }
    }
}

/// A text that can name a stream; what can't counts as absent.
fn as_key(text: &str) -> Result<&str, Unusable> {
    // Of spaces alone nothing would be left in a header.
    if text.trim_matches([' ', '\t']).is_empty() {
        Err(Unusable::Empty)
    } else if text.len() > LONGEST_KEY {
        Err(Unusable::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(Unusable::Control)
    } else {
        Ok(text)
    }
}

/// The attributes of one resource, by position in the table.
struct Attributes<'a> {
    names: &'a [Box<str>],
    values: smallvec::SmallVec<[Text<'a>; 6]>,
    signal: Signal,
    tenant: Option<&'a str>,
}

impl Values for Attributes<'_> {
    fn key(&self) -> Option<&RoutingKey> {
        None
    }
    fn signal(&self) -> Signal {
        self.signal
    }
    fn resource(&self, name: &str) -> Option<&str> {
        self.names.iter().position(|known| &**known == name).and_then(|at| self.values[at].get())
    }
    fn tenant(&self, name: &str) -> Option<&str> {
        self.tenant.filter(|_| name == TENANT_ID)
    }
}

impl RouteTable {
    /// Compiles `routes`.
    pub fn new(routes: Vec<RouteSpec>, unrouted: Unrouted) -> Self {
        let mut attributes: Vec<Box<str>> = Vec::new();
        let mut position = |name: &str| {
            attributes.iter().position(|known| &**known == name).unwrap_or_else(|| {
                attributes.push(name.into());
                attributes.len() - 1
            })
        };
        let mut asked: [Vec<usize>; 3] = Default::default();
        let routes: Vec<Route> = routes
            .into_iter()
            .map(|spec| {
                let mut names: Vec<&str> = spec.matches.iter().map(|(name, _)| name.as_str()).collect();
                names.extend(spec.key.sources().flat_map(KeySource::attributes));
                for name in names {
                    let at = position(name);
                    for (signal, asked) in asked.iter_mut().enumerate() {
                        if spec.signals[signal] && !asked.contains(&at) {
                            asked.push(at);
                        }
                    }
                }
                let mut source = |source| match source {
                    KeySource::Attributes(names) => {
                        KeyReading::Attributes(names.iter().map(|name| position(name)).collect())
                    }
                    KeySource::Template(template) => KeyReading::Template(template),
                };
                let key = match spec.key {
                    KeySpec::Route => Key::Route,
                    KeySpec::One(one) => Key::One(source(one)),
                    KeySpec::Parts(parts) => Key::Parts(
                        parts.into_iter().map(|(name, part)| (name.into(), source(part))).collect(),
                    ),
                };
                Route {
                    matches: spec
                        .matches
                        .into_iter()
                        .map(|(name, matcher)| (position(&name), matcher))
                        .collect(),
                    name: spec.name.into(),
                    tenants: spec.tenants,
                    receivers: spec.receivers,
                    signals: spec.signals,
                    key,
                    edits: spec.edits,
                    exporters: spec.exporters,
                    continues: spec.continues,
                }
            })
            .collect();
        let missing = Signal::ALL.map(|signal| missing(signal, &asked[signal.index()], &attributes));
        Self { attributes, routes, unrouted, asked, missing }
    }

    /// What happens to entries that no route takes.
    pub fn unrouted(&self) -> Unrouted {
        self.unrouted
    }

    /// What to tell a sender whose entry no route takes.
    pub fn missing(&self, signal: Signal) -> &str {
        &self.missing[signal.index()]
    }

    /// Adds to `text` what a resource has of the attributes that its signal's routes look at: ` (env=`test`, zone absent)`,
    /// or `zone is there but empty`.
    /// At most four of them, and 64 characters of each.
    pub fn put_values(&self, signal: Signal, resource: &[u8], text: &mut String) {
        let asked = &self.asked[signal.index()];
        let Ok(attributes) = self.find(signal, resource, None) else { return };
        for (nth, &at) in asked.iter().take(SHOWN_VALUES).enumerate() {
            text.push_str(if nth == 0 { " (" } else { ", " });
            text.push_str(&self.attributes[at]);
            let value = match attributes.values[at].usable() {
                Ok(value) => value,
                Err(Unusable::Absent) => {
                    text.push_str(" absent");
                    continue;
                }
                Err(why) => {
                    write!(text, " {why}").expect("writing to a String can't fail");
                    continue;
                }
            };
            text.push_str("=`");
            text.extend(value.chars().take(SHOWN_CHARACTERS));
            text.push_str(if value.chars().nth(SHOWN_CHARACTERS).is_some() { "…`" } else { "`" });
        }
        if !asked.is_empty() {
            text.push_str(if asked.len() > SHOWN_VALUES { ", …)" } else { ")" });
        }
    }

    /// The name of the route at a position.
    pub fn name(&self, route: usize) -> &str {
        &self.routes[route].name
    }

    /// What the route at a position changes in its copies of entries.
    pub fn edits(&self, route: usize) -> &[Arc<RouteEdit>] {
        &self.routes[route].edits
    }

    /// Calls `hit` for each stream that an entry with this encoded resource goes to, and `miss` for each route that
    /// was asked in vain. Returns whether a route took it; `scratch` is overwritten.
    pub fn route<E: From<Unroutable>>(
        &self,
        signal: Signal,
        resource: &[u8],
        origin: &EntryOrigin<'_>,
        scratch: &mut String,
        mut hit: impl FnMut(Hit<'_>) -> Result<(), E>,
        mut miss: impl FnMut(usize, &dyn Fn() -> Miss),
    ) -> Result<bool, E> {
        let attributes = self.find(signal, resource, origin.tenant).map_err(E::from)?;
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
                && !origin.tenant.is_some_and(|id| tenants.iter().any(|glob| glob.matches(id)))
            {
                miss(at, &|| Miss::Tenant(origin.tenant.map(ToOwned::to_owned)));
                continue;
            }
            let failed =
                route.matches.iter().find(|(name, matcher)| !matcher.matches(attributes.values[*name].get()));
            if let Some((name, _)) = failed {
                miss(at, &|| Miss::Match {
                    name: self.attributes[*name].to_string(),
                    value: attributes.values[*name].usable().map(str::to_owned),
                });
                continue;
            }
            if !route.put_key(&attributes, scratch) {
                miss(at, &|| Miss::Key(self.why_no_key(route, &attributes)));
                continue;
            }
            for &exporter in origin.exporters.unwrap_or(&route.exporters) {
                hit(Hit { route: at, exporter, key: scratch.as_str() })?;
            }
            routed = true;
            if !route.continues {
                break;
            }
        }
        Ok(routed)
    }

    /// What is wrong with what a route's key is made of, or with the key itself.
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
            KeyReading::Template(template) => {
                let rendered = template.render(attributes, Place::Key);
                let whole = rendered.ok().and_then(|key| as_key(&key).err()).map(|why| format!("it {why}"));
                let nobodys = attributes.tenant.is_none()
                    && template.reads().any(|read| matches!(read, TemplateValue::Tenant(_)));
                let nobodys = nobodys.then(|| "the entry is no tenant's".to_owned());
                template
                    .attributes()
                    .filter_map(position)
                    .filter_map(unusable)
                    .chain(nobodys)
                    .chain(whole)
                    .collect()
            }
        }
    }

    fn find<'a>(
        &'a self,
        signal: Signal,
        resource: &'a [u8],
        tenant: Option<&'a str>,
    ) -> Result<Attributes<'a>, Unroutable> {
        let mut found: smallvec::SmallVec<[Found<'a>; 6]> =
            smallvec::smallvec![Found::Absent; self.attributes.len()];
        otlp::find(resource, &self.attributes, &mut found);
        let mut values = smallvec::SmallVec::new();
        for (found, name) in found.into_iter().zip(&self.attributes) {
            values.push(match found {
                Found::Absent => Text::Unusable(Unusable::Absent),
                Found::Value(value) => Text::from(value),
                Found::Conflicting => return Err(Unroutable::Conflicting(name.to_string())),
            });
        }
        Ok(Attributes { names: &self.attributes, values, signal, tenant })
    }
}

impl Route {
    /// Writes the routing key, or says that it is absent.
    fn put_key(&self, attributes: &Attributes<'_>, key: &mut String) -> bool {
        key.clear();
        if let Some(tenant) = attributes.tenant {
            put_tenant(key, tenant);
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
                let first = positions.iter().find_map(|at| attributes.values[*at].get());
                out.push_str(first.unwrap_or_default());
                first.is_some()
            }
            Self::Template(template) => {
                let rendered = template.render(attributes, Place::Key).unwrap_or_default();
                out.push_str(&rendered);
                as_key(&rendered).is_ok()
            }
        }
    }
}

fn missing(signal: Signal, asked: &[usize], attributes: &[Box<str>]) -> Box<str> {
    if asked.is_empty() {
        return format!("no route takes {signal}").into();
    }
    let names: Vec<String> = asked.iter().map(|at| format!("`{}`", attributes[*at])).collect();
    format!("no route takes these {signal}: routes look at the resource attributes {}", names.join(", "))
        .into()
}

#[cfg(test)]
mod tests;
