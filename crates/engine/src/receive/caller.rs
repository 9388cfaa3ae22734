//! The caller of a request: its receiver, address, user agent and authenticated identity.

use std::net::SocketAddr;
use std::sync::Arc;

use ::http::header::{HeaderMap, HeaderValue, USER_AGENT};
use ::http::request::Parts;

use super::sender::{ConnectionPeer, SenderIdentity};
use crate::route::{RequestHeaders, RouteTable};
use crate::telemetry::{RequestTrace, text};
use crate::terminal::is_obeyed;
use otlp::{self, Cut, Entry, Found, ReadValue};

/// The attribute by which people know the service that has sent an entry.
const SERVICE: [&str; 1] = ["service.name"];

/// The attribute by which a process recognises its own telemetry.
const INSTANCE: [&str; 1] = ["service.instance.id"];

/// The most characters that are shown of a text that a sender has chosen.
const SHOWN: usize = 100;

/// Longer parts of JSON are not read again for the sake of a log line.
const LONGEST_JSON: usize = 16 * 1024;

/// The sender of a request. Everything but its identity is unproved, and for the log alone.
#[derive(Clone, Debug)]
pub struct Caller {
    receiver: Arc<str>,
    identity: Option<SenderIdentity>,
    address: Option<SocketAddr>,
    user_agent: Option<HeaderValue>,
    service: Option<String>,
    headers: RequestHeaders,
    trace: RequestTrace,
}

impl Caller {
    /// The caller of a request that came by this receiver, by its head and the sender's identity, if that is known.
    pub(super) fn of(receiver: &Arc<str>, head: &Parts, identity: Option<SenderIdentity>) -> Self {
        let trace = head.extensions.get::<RequestTrace>().cloned().unwrap_or_default();
        if let Some(identity) = &identity {
            trace.set("sluice.tenant", || text(&*identity.tenant.id));
        }
        Self {
            trace,
            receiver: receiver.clone(),
            identity,
            address: head.extensions.get().map(|peer: &ConnectionPeer| peer.address),
            user_agent: user_agent(&head.headers).cloned(),
            service: None,
            headers: RequestHeaders::default(),
        }
    }

    /// The caller with the headers of its request that routes look at.
    pub(super) fn with_headers(mut self, routes: &RouteTable, head: &Parts) -> Self {
        self.headers = RequestHeaders::of(routes.headers(), &head.headers);
        self
    }

    /// The headers of the request that routes looked at when its head was read.
    pub(super) fn headers(&self) -> &RequestHeaders {
        &self.headers
    }

    /// Whether its request is traced.
    pub(super) fn trace(&self) -> &RequestTrace {
        &self.trace
    }

    /// Notes that the whole request is this process's own telemetry, which others have sent on.
    pub(super) fn is_this_process(&mut self) {
        self.trace.withhold();
    }

    /// The name of the receiver that the request came by.
    pub fn receiver(&self) -> &Arc<str> {
        &self.receiver
    }

    /// The sender's identity, if the receiver has looked it up in the table of tenants.
    pub fn identity(&self) -> Option<&SenderIdentity> {
        self.identity.as_ref()
    }

    /// The other side of the connection, which may be a proxy.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The address as text.
    pub(super) fn peer(&self) -> Option<String> {
        self.address.map(|address| address.to_string())
    }

    /// `User-Agent`, shortened and printable.
    pub(super) fn user_agent(&self) -> Option<String> {
        self.user_agent.as_ref().map(|agent| printable(&String::from_utf8_lossy(agent.as_bytes())))
    }

    /// The `service.name` of what was sent, shortened and printable, if it was looked for.
    pub(super) fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// Looks for the `service.name` of what is wrong with a request: of the entry that is not taken, else of what was cut
    /// out first, else of the first entry that has one.
    pub(super) fn look_for_service(&mut self, entries: &[Entry<'_>], untaken: Option<usize>, cuts: &[Cut]) {
        let of_entry = |index: usize| {
            let entry = entries.iter().find(|entry| entry.index == index)?;
            service(entry.resource())
        };
        let of_cut = || {
            let cut = cuts.first()?;
            of_entry(cut.index).or_else(|| service_of_request(&cut.bytes))
        };
        self.service = untaken
            .and_then(of_entry)
            .or_else(of_cut)
            .or_else(|| entries.iter().find_map(|entry| service(entry.resource())));
    }
}

/// A header for people: its values as the sender wrote them, shortened and printable, if it is there.
pub(super) fn written(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| printable(&values.join(", ")))
}

fn user_agent(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(USER_AGENT)
}

/// The `service.name` of an encoded resource.
fn service(resource: &[u8]) -> Option<String> {
    text_of(resource, &SERVICE).map(printable).filter(|name| !name.is_empty())
}

/// The `service.instance.id` of an encoded resource.
pub(super) fn instance(resource: &[u8]) -> Option<&str> {
    text_of(resource, &INSTANCE)
}

fn text_of<'r>(resource: &'r [u8], name: &[&str; 1]) -> Option<&'r str> {
    let mut found = [Found::Absent];
    otlp::find(resource, name, &mut found);
    match found {
        [Found::Value(ReadValue::Text(text))] => Some(text),
        _ => None,
    }
}

/// The `service.name` in what was cut out: a request of one entry, which is not valid, in protobuf or JSON.
fn service_of_request(request: &[u8]) -> Option<String> {
    if !request.starts_with(b"{") {
        let (_, entry) = otlp::frames(request).next()?;
        return service(otlp::resource(entry));
    }
    let line = request.split(|byte| *byte == b'\n').next().filter(|line| line.len() <= LONGEST_JSON)?;
    let request: serde_json::Value = serde_json::from_slice(line).ok()?;
    let entry = request.as_object()?.values().next()?.get(0)?;
    let attributes = entry.get("resource")?.get("attributes")?.as_array()?;
    let named =
        attributes.iter().find(|attribute| attribute.get("key").is_some_and(|key| *key == SERVICE[0]))?;
    let name = named.get("value")?.get("stringValue")?.as_str()?;
    Some(printable(name)).filter(|name| !name.is_empty())
}

/// The beginning of a text that a sender has chosen, as much as fits into a log line or an answer, without characters that a terminal
/// would obey.
pub(super) fn printable(text: &str) -> String {
    let mut characters = text.chars();
    let shown = characters.by_ref().take(SHOWN);
    let mut shown: String = shown.map(|char| if is_obeyed(char) { '\u{fffd}' } else { char }).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sender_chooses_is_shown_shortened_and_printable() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}b\n"), "a\u{fffd}[31m\u{fffd}b\u{fffd}");
        assert_eq!(printable(&"ä".repeat(SHOWN)), "ä".repeat(SHOWN));
        assert_eq!(printable(&"ä".repeat(SHOWN + 1)), "ä".repeat(SHOWN) + "…");
    }

    #[test]
    fn a_header_is_shown_with_all_its_values_shortened_and_printable() {
        let mut headers = HeaderMap::new();
        assert_eq!(written(&headers, "Content-Type"), None);
        for value in [&b"text/\tplain"[..], b"\xff", "ä".repeat(SHOWN).as_bytes()] {
            headers.append("content-type", HeaderValue::from_bytes(value).unwrap());
        }
        let shown = "text/\u{fffd}plain, \u{fffd}, ".to_owned() + &"ä".repeat(SHOWN - 16) + "…";
        assert_eq!(written(&headers, "Content-Type"), Some(shown));
    }

    #[test]
    fn the_service_of_a_part_that_was_cut_out_is_found_in_either_encoding() {
        let json = br#"{"resourceLogs":[{"resource":{"attributes":[{"key":"a"},{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeLogs":[5]}]}"#;
        assert_eq!(service_of_request(json).as_deref(), Some("shop"));
        // An entry with a resource, and with a scope that ends too early.
        let pair = b"\x0a\x0cservice.name\x12\x06\x0a\x04shop";
        let resource = [&[0x0a, pair.len() as u8][..], pair].concat();
        let entry = [&[0x0a, resource.len() as u8][..], &resource, b"\x12\x63"].concat();
        let request = [&[0x0a, entry.len() as u8][..], &entry].concat();
        assert_eq!(service_of_request(&request).as_deref(), Some("shop"));
        for nothing in [&b""[..], b"{", b"{}", b"\x0a\x00", b"\xff"] {
            assert_eq!(service_of_request(nothing), None);
        }
    }
}
