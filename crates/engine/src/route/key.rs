//! Routing keys: what names a stream among those of its exporter and signal.
//!
//! A key is one text, or several named parts, and it may belong to a tenant. All of it is kept as one text, by which
//! streams are found in memory, in the journal and in dead letters. No value holds control characters, so these separate
//! them:
//!
//! | | written |
//! |---|---|
//! | the tenant, if there is one | `\x01`, its id, `\x01`; the key comes behind it |
//! | a key that is one text | the text |
//! | a key of named parts | for each part `\0`, its name, `\0`, its value |

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Around the tenant.
const TENANT: char = '\u{1}';

/// Before the name and the value of a part.
const PART: char = '\0';

/// Everything but the unreserved characters of RFC 3986, section 2.3.
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The name of a stream among those of its exporter and signal. Two entries share a stream if their keys are equal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoutingKey(Arc<str>);

impl RoutingKey {
    /// The key that is written so, as a routing table or a journal has it.
    pub fn written(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The key that belongs to this tenant and is made of these parts; of the text, if there are none.
    pub fn of<'p>(tenant: Option<&str>, text: &str, parts: impl Iterator<Item = (&'p str, &'p str)>) -> Self {
        let mut written = String::new();
        if let Some(tenant) = tenant {
            put_tenant(&mut written, tenant);
        }
        let before = written.len();
        parts.for_each(|(name, value)| put_part(&mut written, name, value));
        if written.len() == before {
            written.push_str(text);
        }
        Self(written.into())
    }

    /// The whole key, tenant and parts included, as one text.
    pub fn as_written(&self) -> &Arc<str> {
        &self.0
    }

    /// The id of the tenant that the key belongs to.
    pub fn tenant(&self) -> Option<&str> {
        split(&self.0).0
    }

    /// The value of a named part.
    pub fn part(&self, name: &str) -> Option<&str> {
        self.parts().find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Names and values of the parts, in the order of the configuration; none of a key that is one text.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut fields = split(&self.0).1.split(PART).skip(1);
        std::iter::from_fn(move || Some((fields.next()?, fields.next()?)))
    }

    /// Where the tenant stands in what is [written](RoutingKey::as_written).
    pub fn tenant_within(&self) -> Option<Range<usize>> {
        let start = TENANT.len_utf8();
        self.tenant().map(|tenant| start..start + tenant.len())
    }

    /// The key behind the tenant, as it is written: one that is one text sorts as that, and one of parts by these, in their order.
    pub fn without_tenant(&self) -> &str {
        split(&self.0).1
    }

    /// The key for people, and for `{{ key }}`: its text; or the values of its parts, percent-encoded, with `/` between them.
    pub fn text(&self) -> Cow<'_, str> {
        let key = self.without_tenant();
        if !key.starts_with(PART) {
            return Cow::Borrowed(key);
        }
        let mut text = String::with_capacity(key.len());
        self.write_parts(&mut text);
        Cow::Owned(text)
    }

    /// The key's [text](RoutingKey::text), which is written into `room` where it differs from the key as it is written.
    pub fn text_in<'s>(&'s self, room: &'s mut String) -> &'s str {
        let key = self.without_tenant();
        if !key.starts_with(PART) {
            return key;
        }
        room.clear();
        self.write_parts(room);
        room
    }

    fn write_parts(&self, text: &mut String) {
        for (nth, (_, value)) in self.parts().enumerate() {
            if nth > 0 {
                text.push('/');
            }
            text.extend(utf8_percent_encode(value, RESERVED));
        }
    }
}

/// As [`RoutingKey::text`].
impl fmt::Display for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The tenant, and the key behind it.
fn split(written: &str) -> (Option<&str>, &str) {
    match written.strip_prefix(TENANT).and_then(|rest| rest.split_once(TENANT)) {
        Some((tenant, key)) => (Some(tenant), key),
        None => (None, written),
    }
}

/// Writes the tenant that the key which is written next belongs to.
pub(super) fn put_tenant(written: &mut String, tenant: &str) {
    written.extend([TENANT]);
    written.push_str(tenant);
    written.push(TENANT);
}

/// Writes a part of a key.
pub(super) fn put_part(written: &mut String, name: &str, value: &str) {
    for field in [name, value] {
        written.push(PART);
        written.push_str(field);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_parts(tenant: Option<&str>, parts: &[(&str, &str)]) -> RoutingKey {
        RoutingKey::of(tenant, "", parts.iter().copied())
    }

    #[test]
    fn a_key_of_one_text_has_no_parts() {
        let key = RoutingKey::written("a/b");
        assert_eq!((&*key.text(), key.tenant(), key.parts().count()), ("a/b", None, 0));
    }

    #[test]
    fn parts_are_found_by_their_names_and_shown_percent_encoded() {
        let key = of_parts(Some("acme"), &[("tenant", "acme"), ("service", "a/b c"), ("empty", "")]);
        assert_eq!(key.to_string(), "acme/a%2Fb%20c/");
        assert_eq!(
            (key.tenant(), key.part("service"), key.part("zone")),
            (Some("acme"), Some("a/b c"), None)
        );
        assert_eq!(key.part("empty"), Some(""));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_tells_keys_apart(
            one in any_key(), other in any_key()
        ) {
            let written = |(tenant, parts): &(Option<String>, Vec<(String, String)>)| {
                let parts: Vec<_> = parts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                of_parts(tenant.as_deref(), &parts)
            };
            let key = written(&one);
            prop_assert_eq!(key.tenant(), one.0.as_deref());
            prop_assert_eq!(key.tenant_within().map(|at| &key.as_written()[at]), one.0.as_deref());
            let parts: Vec<_> = key.parts().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(&parts, &one.1);
            prop_assert_eq!(key == written(&other), one == other);
        }
    }

    fn any_key() -> impl Strategy<Value = (Option<String>, Vec<(String, String)>)> {
        let parts = proptest::collection::vec(("[a-c]{1,2}", "[ab/]{0,2}"), 0..3);
        (proptest::option::of("[a-c]{1,2}"), parts)
    }
}
