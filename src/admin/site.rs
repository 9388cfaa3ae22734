//! Which requests the admin and health listeners answer at all: none that a page of another site has made a browser send.
//!
//! Such a page can make a browser send requests to any address, and read the answers from a name of its own if that name is
//! made to lead here ("DNS rebinding"). A browser says in `Origin` and `Sec-Fetch-Site` where a request comes from, and in
//! `Host` under which name it has found us.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{HOST, HeaderMap, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

/// Why a request is not answered, if it is addressed to a name that is none of the listener's. Those are addresses, which lead to
/// nobody else, and the host that its endpoint was written with.
pub(super) fn refuse_foreign_name(written: Option<&str>, head: &Parts) -> Option<String> {
    let authority = authority(head)?;
    let host = authority.host();
    let known = is_address(host)
        || host.eq_ignore_ascii_case("localhost")
        || written.is_some_and(|name| name.eq_ignore_ascii_case(host));
    (!known).then(|| {
        format!(
            "this listener is not known as `{host}`: use its address or localhost, or write that name in `admin.endpoint`\n"
        )
    })
}

/// Why a request is not answered, if a page of another site has sent it.
pub(super) fn refuse_foreign_page(head: &Parts) -> Option<&'static str> {
    const FOREIGN: &str = "pages of other sites are not answered\n";
    let own_origin = |origin: &[u8]| {
        let text = std::str::from_utf8(origin).ok()?;
        let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
        Some(host.eq_ignore_ascii_case(authority(head)?.as_str()))
    };
    let foreign_origin =
        head.headers.get_all(ORIGIN).iter().any(|origin| own_origin(origin.as_bytes()) != Some(true));
    let foreign_site = head
        .headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|site| !["same-origin", "none"].iter().any(|own| site.as_bytes() == own.as_bytes()));
    (foreign_origin || foreign_site).then_some(FOREIGN)
}

/// To whom a request is addressed. HTTP/2 says it in the target.
fn authority(head: &Parts) -> Option<Authority> {
    let host = |headers: &HeaderMap| Authority::try_from(headers.get(HOST)?.as_bytes()).ok();
    head.uri.authority().cloned().or_else(|| host(&head.headers))
}

fn is_address(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.parse::<IpAddr>().is_ok() || v6.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(host: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/").header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn addresses_localhost_and_the_configured_name_are_its_names_and_no_others() {
        let refused = |host: &str| refuse_foreign_name(Some("sluice.internal"), &head(host, &[]));
        for own in [
            "127.0.0.1:8888",
            "127.9.9.9",
            "10.0.0.7:8888",
            "[::1]:8888",
            "localhost",
            "LOCALHOST:8888",
            "Sluice.Internal:8888",
        ] {
            assert_eq!(refused(own), None, "{own}");
        }
        for other in [
            "evil.example",
            "127.0.0.1.evil.example:8888",
            "localhost.evil.example",
            "sluice.internal.evil",
            "1",
        ] {
            assert!(refused(other).unwrap().contains(other.split(':').next().unwrap()), "{other}");
        }
        assert!(refuse_foreign_name(None, &head("sluice.internal", &[])).is_some());
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_tools_and_own_pages_are_not() {
        let refused =
            |headers: &[(&str, &str)]| refuse_foreign_page(&head("127.0.0.1:8888", headers)).is_some();
        assert!(!refused(&[]));
        assert!(!refused(&[("origin", "http://127.0.0.1:8888")]));
        assert!(!refused(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8888")]));
        assert!(!refused(&[("sec-fetch-site", "none")]));
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1"),
            ("origin", "http://127.0.0.1:8889"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(refused(&[foreign]), "{foreign:?}");
        }
    }
}
