//! What tracing systems of senders want to go with their spans, as the header `tracestate` says it (W3C Trace Context, level 2,
//! <https://www.w3.org/TR/trace-context-2/#tracestate-header>).

use http::{HeaderMap, HeaderName};

/// The header beside `traceparent`.
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Members of a list; one that has more is not valid.
const MOST_MEMBERS: usize = 32;

/// Bytes of a list that are kept.
const LONGEST: usize = 512;

/// A member that is longer than this is left out first, where a list is too long.
const LONG_MEMBER: usize = 128;

/// The list of these headers, without the blanks and the empty members in it; none if there is none, or if it is not valid. Of one that is
/// too long, the long members are left out, from the last on, and then the last ones, as the specification wants it.
pub(super) fn trace_state(headers: &HeaderMap) -> Option<String> {
    let mut members: Vec<&str> = Vec::new();
    for header in headers.get_all(TRACESTATE) {
        let members_of_header = header.to_str().ok()?.split(',');
        for member in members_of_header.map(|member| member.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            let key = key_of(member)?;
            if members.len() == MOST_MEMBERS || members.iter().any(|known| key_of(known) == Some(key)) {
                return None;
            }
            members.push(member);
        }
    }
    while length(&members) > LONGEST {
        let long = members.iter().rposition(|member| member.len() > LONG_MEMBER);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    (!members.is_empty()).then(|| members.join(","))
}

/// Bytes of the members with commas between them.
fn length(members: &[&str]) -> usize {
    members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1)
}

/// The key of a member that is valid.
fn key_of(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    (is_key(key) && is_value(value)).then_some(key)
}

fn is_key(key: &str) -> bool {
    let is_part = |part: &str, longest: usize, begins: fn(u8) -> bool| {
        let rest = |byte: u8| is_lower_or_digit(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/');
        part.len() <= longest && part.bytes().next().is_some_and(begins) && part.bytes().all(rest)
    };
    match key.split_once('@') {
        None => is_part(key, 256, is_lower_or_digit),
        Some((tenant, system)) => {
            is_part(tenant, 241, is_lower_or_digit) && is_part(system, 14, |byte| byte.is_ascii_lowercase())
        }
    }
}

const fn is_lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Printable but for the comma and the equals sign; what blanks there are at its end are not part of it.
fn is_value(value: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(headers: &[&str]) -> Option<String> {
        let pair = |value: &&str| (TRACESTATE, value.parse().expect("a header's value"));
        trace_state(&headers.iter().map(pair).collect())
    }

    #[test]
    fn members_of_all_headers_are_one_list_in_their_order() {
        assert_eq!(
            of(&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]).unwrap(),
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
        );
        assert_eq!(of(&["a=1 , ,\tb=2", "", "fw529a3039@dt=x y"]).unwrap(), "a=1,b=2,fw529a3039@dt=x y");
        assert_eq!(of(&["0a/*-_=!~"]).unwrap(), "0a/*-_=!~");
        assert_eq!((of(&[]), of(&["", " , "])), (None, None));
    }

    #[test]
    fn a_list_that_is_not_valid_in_any_part_is_none() {
        let (long_key, long_value) = ("k".repeat(257), "v".repeat(257));
        for wrong in [
            "a",
            "a=",
            "=1",
            "A=1",
            "a b=1",
            "a=1=2",
            "a=1,a=2",
            "@dt=1",
            "a@=1",
            "a@1dt=1",
            "a@b@c=1",
            "a@abcdefghijklmno=1",
            "a=\u{e9}",
            "a=1\t2",
            &format!("{long_key}=1"),
            &format!("a={long_value}"),
            &format!("{}@dt=1", "t".repeat(242)),
        ] {
            assert_eq!(of(&["good=1", wrong]), None, "{wrong:?}");
        }
        let members: Vec<String> = (0..33).map(|number| format!("k{number}=1")).collect();
        assert!(of(&[&members[..32].join(",")]).is_some());
        assert_eq!(of(&[&members.join(",")]), None);
    }

    #[test]
    fn of_a_list_that_is_too_long_long_members_go_first_and_then_the_last_ones() {
        let (long, short) = ("l".repeat(200), "s".repeat(100));
        let list = format!("a={short},b={long},c={short},d={long},e=1");
        assert_eq!(of(&[&list]).unwrap(), format!("a={short},b={long},c={short},e=1"));
        let list: Vec<String> = (0..8).map(|number| format!("k{number}={short}")).collect();
        assert_eq!(of(&[&list.join(",")]).unwrap(), list[..4].join(","));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_bounded_and_kept_again_as_it_is(
            members in proptest::collection::vec("[a-c0-1@*A]{0,4}=?[ -~]{0,200}", 0..40),
        ) {
            let members: Vec<&str> = members.iter().map(|member| &**member).collect();
            if let Some(kept) = of(&members) {
                prop_assert!(kept.len() <= LONGEST && kept.split(',').count() <= MOST_MEMBERS);
                prop_assert_eq!(of(&[&kept]), Some(kept.clone()));
            }
        }
    }
}
