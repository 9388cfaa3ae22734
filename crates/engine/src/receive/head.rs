//! The memory that a request holds before its body: for its head, and for the task that answers it.
//!
//! On HTTP/2 a header that takes a hundred bytes of memory may be a single byte on the wire, and one connection begins
//! hundreds of requests. So what they hold is counted against `limits.memory`, as bodies are. hyper gives headers as
//! slices of what it has read, of which a single one keeps a whole buffer; they are copied, so that nothing is held but what
//! is counted.

use std::sync::Arc;

use ::http::header::{CONTENT_TYPE, HOST};
use ::http::request::Parts;
use ::http::uri::Authority;
use ::http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use bytes::BytesMut;

use super::watch::OpenRequest;
use crate::stream::{Budget, Reservation};

/// A head up to this size is always taken: of HTTP/1.1 as it is on the wire, of HTTP/2 as RFC 9113 (section 10.5.1) counts it,
/// which is 32 bytes more for each header. On HTTP/1.1, connections with a large buffer take larger ones.
pub(super) const LARGEST: u32 = 16 * 1024;

/// The memory of a request on HTTP/2 beside its head and the part that is [reserved](super::watch) for each concurrent request: a task,
/// and the answer on its way. 5 KiB were measured for both together.
const REQUEST: u64 = 4 * 1024;

/// The most memory of a header in a [`HeaderMap`] beside its name and value.
const HEADER: u64 = 192;

/// A head up to this size is one of those that the 16 KiB of its connection are for.
const SMALL: u64 = 4 * 1024;

/// Bytes of memory that a head takes.
fn size(head: &Parts) -> u64 {
    let uri = &head.uri;
    let uri = uri.path_and_query().map_or(0, |path| path.as_str().len())
        + uri.authority().map_or(0, |authority| authority.as_str().len());
    let headers =
        head.headers.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64 + HEADER);
    uri as u64 + headers.sum::<u64>()
}

/// Reserves what a request holds for as long as it is answered, or nothing. `alone`: its connection has no other. It then
/// needs no reservation but for an uncommonly large head: one that has all of the memory to itself must not be refused for
/// want of some.
pub(super) fn reserve(
    head: &Parts,
    alone: bool,
    budget: Option<&Arc<Budget>>,
) -> Result<Option<Reservation>, NoMemory> {
    let Some(budget) = budget else { return Ok(None) };
    let bytes = match size(head) {
        size if !alone => REQUEST + size,
        size if size > SMALL => size,
        _ => return Ok(None),
    };
    let mut reservation = Reservation::empty(budget.clone());
    if reservation.grow(bytes) { Ok(Some(reservation)) } else { Err(NoMemory) }
}

/// The error that there is no memory for a request.
pub(super) struct NoMemory;

/// The memory that a request on HTTP/2 holds until the last of these is gone: the task that answers it, the answer on its way, and the
/// task that drains its body. On HTTP/1.1 no other request begins before.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    _held: Arc<(Option<Reservation>, OpenRequest)>,
}

impl Holding {
    pub(super) fn new(reservation: Option<Reservation>, open: OpenRequest) -> Self {
        Self { _held: Arc::new((reservation, open)) }
    }

    /// The holding of a request, shared with a task that is a part of it.
    pub(super) fn of(head: &Parts) -> Option<Self> {
        head.extensions.get().cloned()
    }
}

/// Copies what a head refers to, so that it keeps nothing else of what was read.
pub(super) fn detach(head: &mut Parts) {
    head.headers = copy(&head.headers);
    if let Ok(uri) = Uri::try_from(head.uri.to_string()) {
        head.uri = uri;
    }
}

/// The fault of a request's `Host`, if it has one (RFC 9112, section 3.2). A `Host` that two readers take for different hosts may be
/// an attack.
pub fn wrong_host(head: &Parts) -> Option<&'static str> {
    if head.version >= Version::HTTP_2 {
        return None;
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if head.version < Version::HTTP_11 => None,
        (None, _) => Some("a request of HTTP/1.1 needs a `Host`"),
        (Some(_), Some(_)) => Some("a request has one `Host`, not several"),
        (Some(host), None) if host.is_empty() || Authority::try_from(host.as_bytes()).is_ok() => None,
        (Some(_), None) => Some("`Host` is a host name and perhaps a port"),
    }
}

/// Keeps of a head only what an answer in its own format needs.
pub(super) fn forget(head: &mut Parts) {
    let content_type = head.headers.get(CONTENT_TYPE).cloned();
    head.headers = content_type.into_iter().map(|value| (CONTENT_TYPE, value)).collect();
    detach(head);
}

fn copy(headers: &HeaderMap) -> HeaderMap {
    let mut values = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    for value in headers.values() {
        values.extend_from_slice(value.as_bytes());
    }
    let mut values = values.freeze();
    let mut copied = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).expect("it was a name before");
        let mut own =
            HeaderValue::from_maybe_shared(values.split_to(value.len())).expect("it was a value before");
        own.set_sensitive(value.is_sensitive());
        copied.append(name, own);
    }
    copied
}

#[cfg(test)]
mod tests {
    use ::http::Request;

    use super::*;

    #[test]
    fn http_1_1_has_one_host_and_older_requests_may_have_none() {
        let wrong = |version: Version, hosts: &[&str]| {
            let request = Request::post("/v1/logs").version(version);
            let request = hosts.iter().fold(request, |request, host| request.header("host", *host));
            wrong_host(&request.body(()).unwrap().into_parts().0).is_some()
        };
        for fine in [&["localhost"][..], &["127.0.0.1:4318"], &["[::1]:4318"], &[""]] {
            assert!(!wrong(Version::HTTP_11, fine) && !wrong(Version::HTTP_10, fine), "{fine:?}");
        }
        for bad in [&["a", "a"][..], &["a", "b"], &["a b"], &["a/b"]] {
            assert!(wrong(Version::HTTP_11, bad) && wrong(Version::HTTP_10, bad), "{bad:?}");
        }
        assert!(wrong(Version::HTTP_11, &[]));
        assert!(!wrong(Version::HTTP_10, &[]) && !wrong(Version::HTTP_2, &[]));
    }

    fn head(headers: usize) -> Parts {
        let mut request = Request::post("http://localhost/v1/logs?x=y");
        for index in 0..headers {
            request = request.header(format!("x-{}", index / 2), format!("value {index}"));
        }
        request.header("content-type", "application/json").body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_detached_head_is_the_same_in_the_same_order() {
        let (original, mut detached) = (head(100), head(100));
        detach(&mut detached);
        assert_eq!((&original.uri, &original.headers), (&detached.uri, &detached.headers));
        assert!(original.headers.iter().eq(detached.headers.iter()));
    }

    #[test]
    fn the_first_request_of_a_connection_is_free_unless_its_head_is_large_and_others_are_counted() {
        let budget = Arc::new(Budget::new(1 << 20));
        let reserved = |headers, alone| {
            let reservation = reserve(&head(headers), alone, Some(&budget)).ok().flatten();
            reservation.map_or(0, |reservation| reservation.bytes())
        };
        assert_eq!(reserved(5, true), 0);
        assert!(reserved(5, false) > REQUEST);
        assert!((400 * HEADER..600 * HEADER).contains(&reserved(400, true)));
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(1 << 20));
        assert!(reserve(&head(5), true, Some(&budget)).is_ok());
        assert!(reserve(&head(5), false, Some(&budget)).is_err());
        assert!(reserve(&head(400), true, Some(&budget)).is_err());
    }
}
