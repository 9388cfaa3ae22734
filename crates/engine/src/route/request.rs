//! Headers of requests, as far as routes look at them.
//!
//! An entry is routed after the head of its request is gone. So the headers that routes look at are copied from the head first, and
//! kept with the caller.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::tested_value::TestedValue;
use super::unroutable::Unroutable;
use otlp::ReadValue;

/// The headers of one request that the routes of a configuration look at. Values may be credentials, and are not shown.
#[derive(Clone, Default)]
pub struct RequestHeaders(Vec<(HeaderName, HeaderContent)>);

/// The content of a header in a request's head.
#[derive(Clone)]
enum HeaderContent {
    Absent,
    Value(HeaderValue),
    /// The header occurs several times, with different values.
    Conflicting,
}

impl RequestHeaders {
    /// The values that a head has for headers of these names. In gRPC they are the call's metadata.
    pub fn of(names: &[HeaderName], head: &HeaderMap) -> Self {
        Self(names.iter().map(|name| (name.clone(), HeaderContent::of(name, head))).collect())
    }

    /// Whether all of these headers were looked at.
    pub fn cover(&self, names: &[HeaderName]) -> bool {
        names.iter().all(|name| self.0.iter().any(|(known, _)| known == name))
    }

    /// The value of a header; one that was not looked at is absent.
    pub(super) fn value(&self, name: &HeaderName) -> Result<TestedValue<'_>, Unroutable> {
        match self.0.iter().find(|(known, _)| known == name).map(|(_, content)| content) {
            None | Some(HeaderContent::Absent) => Ok(TestedValue::ABSENT),
            Some(HeaderContent::Value(value)) => {
                let bytes = value.as_bytes();
                Ok(std::str::from_utf8(bytes).map_or(ReadValue::Bytes(bytes), ReadValue::Text).into())
            }
            Some(HeaderContent::Conflicting) => Err(Unroutable::ConflictingInRequest(name.to_string())),
        }
    }
}

impl HeaderContent {
    fn of(name: &HeaderName, head: &HeaderMap) -> Self {
        let mut values = head.get_all(name).iter();
        let Some(value) = values.next() else { return Self::Absent };
        if values.any(|other| other != value) { Self::Conflicting } else { Self::Value(value.clone()) }
    }
}

/// Shows the names alone.
impl fmt::Debug for RequestHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::UnusableValue;

    #[test]
    fn a_header_has_one_value_and_it_is_text() {
        let name = HeaderName::from_static("x-tenant");
        let read = |values: &[&[u8]]| {
            let mut head = HeaderMap::new();
            for value in values {
                head.append(&name, HeaderValue::from_bytes(value).unwrap());
            }
            let headers = RequestHeaders::of(std::slice::from_ref(&name), &head);
            headers.value(&name).map(|value| value.usable().map(str::to_owned))
        };
        assert_eq!(read(&[b"acme"]), Ok(Ok("acme".to_owned())));
        assert_eq!(read(&[b"acme", b"acme"]), Ok(Ok("acme".to_owned())), "a proxy may repeat it");
        assert_eq!(read(&[]), Ok(Err(UnusableValue::Absent)));
        assert_eq!(read(&[b""]), Ok(Err(UnusableValue::Empty)));
        assert_eq!(read(&[b"\xff"]), Ok(Err(UnusableValue::Kind)));
        assert_eq!(read(&[&[b'x'; 513]]), Ok(Err(UnusableValue::TooLong)));
        assert_eq!(read(&[b"acme", b"globex"]), Err(Unroutable::ConflictingInRequest("x-tenant".to_owned())));
    }

    #[test]
    fn what_was_not_looked_at_is_absent_and_known_to_be_missing() {
        let [asked, other] = ["x-tenant", "x-team"].map(HeaderName::from_static);
        let headers = RequestHeaders::of(std::slice::from_ref(&asked), &HeaderMap::new());
        assert!(headers.cover(&[]) && headers.cover(std::slice::from_ref(&asked)));
        assert!(!headers.cover(&[asked, other.clone()]));
        assert!(!headers.value(&other).unwrap().is_there());
        assert_eq!(format!("{headers:?}"), "{\"x-tenant\"}");
    }
}
