//! Headers of requests, as far as routes look at them.
//!
//! An entry is routed after the head of its request is gone. So what routes look at is read off the head first, and kept with
//! whatever is known of the sender.

use std::fmt;

use http::{HeaderMap, HeaderName};

use super::table::Text;
use super::{Unroutable, Unusable};

/// The headers of one request that the routes of a configuration look at. Values may be credentials, and are not shown.
#[derive(Clone, Default)]
pub struct RequestHeaders(Vec<(HeaderName, HeaderText)>);

/// The value of a header as text, or why there is none.
#[derive(Clone)]
enum HeaderText {
    Usable(Box<str>),
    Unusable(Unusable),
    /// It occurs several times, with different values.
    Conflicting,
}

impl RequestHeaders {
    /// What a head has of the headers of these names. By gRPC these are its metadata.
    pub fn of(names: &[HeaderName], head: &HeaderMap) -> Self {
        Self(names.iter().map(|name| (name.clone(), HeaderText::of(name, head))).collect())
    }

    /// Whether all of these were looked at.
    pub fn cover(&self, names: &[HeaderName]) -> bool {
        names.iter().all(|name| self.0.iter().any(|(known, _)| known == name))
    }

    /// The value of a header; one that was not looked at is absent.
    pub(super) fn text(&self, name: &HeaderName) -> Result<Text<'_>, Unroutable> {
        match self.0.iter().find(|(known, _)| known == name).map(|(_, text)| text) {
            None => Ok(Text::Unusable(Unusable::Absent)),
            Some(HeaderText::Usable(text)) => Ok(Text::Borrowed(text)),
            Some(HeaderText::Unusable(why)) => Ok(Text::Unusable(*why)),
            Some(HeaderText::Conflicting) => Err(Unroutable::ConflictingInRequest(name.to_string())),
        }
    }
}

impl HeaderText {
    fn of(name: &HeaderName, head: &HeaderMap) -> Self {
        let mut values = head.get_all(name).iter();
        let Some(value) = values.next() else { return Self::Unusable(Unusable::Absent) };
        if values.any(|other| other != value) {
            return Self::Conflicting;
        }
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Unusable::Control);
        match text.and_then(super::table::as_key) {
            Ok(text) => Self::Usable(text.into()),
            Err(why) => Self::Unusable(why),
        }
    }
}

/// The names alone.
impl fmt::Debug for RequestHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_header_has_one_value_and_it_is_text() {
        let name = HeaderName::from_static("x-tenant");
        let read = |values: &[&[u8]]| {
            let mut head = HeaderMap::new();
            for value in values {
                head.append(&name, HeaderValue::from_bytes(value).unwrap());
            }
            let headers = RequestHeaders::of(std::slice::from_ref(&name), &head);
            headers.text(&name).map(|text| text.usable().map(str::to_owned))
        };
        assert_eq!(read(&[b"acme"]), Ok(Ok("acme".to_owned())));
        assert_eq!(read(&[b"acme", b"acme"]), Ok(Ok("acme".to_owned())), "a proxy may repeat it");
        assert_eq!(read(&[]), Ok(Err(Unusable::Absent)));
        assert_eq!(read(&[b""]), Ok(Err(Unusable::Empty)));
        assert_eq!(read(&[b"\xff"]), Ok(Err(Unusable::Control)));
        assert_eq!(read(&[&[b'x'; 513]]), Ok(Err(Unusable::TooLong)));
        assert_eq!(read(&[b"acme", b"globex"]), Err(Unroutable::ConflictingInRequest("x-tenant".to_owned())));
    }

    #[test]
    fn what_was_not_looked_at_is_absent_and_known_to_be_missing() {
        let [asked, other] = ["x-tenant", "x-team"].map(HeaderName::from_static);
        let headers = RequestHeaders::of(std::slice::from_ref(&asked), &HeaderMap::new());
        assert!(headers.cover(&[]) && headers.cover(std::slice::from_ref(&asked)));
        assert!(!headers.cover(&[asked, other.clone()]));
        assert!(headers.text(&other).unwrap().get().is_none());
        assert_eq!(format!("{headers:?}"), "{\"x-tenant\"}");
    }
}
