//! Which requests the admin and health listeners answer at all: none that a page of another site has made a browser send,
//! be it to read something or to change it.
//!
//! Such a page can make a browser send requests to any address, and read the answers from a name of its own if that name is
//! made to lead here ("DNS rebinding"). A browser says in `Origin` and `Sec-Fetch-Site` where a request comes from, and in
//! `Host` under which name it has found us.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{HOST, HeaderValue, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

/// Whether a request is addressed to a name that is not one of the listener's own, or to no name. Its own names are IP addresses,
/// which a foreign DNS server cannot change, `localhost`, and those in the configuration. Every name that the request gives has to be
/// one of them.
pub(super) fn has_foreign_name(own: &[String], head: &Parts) -> bool {
    let mut names = names(head).peekable();
    let is_own = |name: &[u8]| {
        Authority::try_from(name).is_ok_and(|authority| {
            let host = authority.host();
            // Beside its host a name has a port at the most: no user, and nothing behind an address in brackets.
            let rest = authority.as_str().strip_prefix(host);
            let is_port = |rest: &str| {
                rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
            };
            rest.is_some_and(|rest| rest.is_empty() || is_port(rest))
                && (is_address(host)
                    || host.eq_ignore_ascii_case("localhost")
                    || own.iter().any(|own| own.eq_ignore_ascii_case(host)))
        })
    };
    names.peek().is_none() || !names.all(is_own)
}

/// Whether a page of another site has sent a request. If the listener is `secured` by TLS, pages that came over plain HTTP count as
/// foreign: they may be from anybody between the listener and the browser.
pub(super) fn is_of_foreign_page(secured: bool, head: &Parts) -> bool {
    let own_origin = |origin: &[u8]| {
        let text = std::str::from_utf8(origin).ok()?;
        // Without TLS of its own, the listener may stand behind a proxy that has it.
        let without = || text.strip_prefix("http://").filter(|_| !secured);
        let host = text.strip_prefix("https://").or_else(without)?;
        Some(host.as_bytes().eq_ignore_ascii_case(names(head).next()?))
    };
    let foreign_origin =
        head.headers.get_all(ORIGIN).iter().any(|origin| own_origin(origin.as_bytes()) != Some(true));
    let foreign_site = head
        .headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|site| !["same-origin", "none"].iter().any(|own| site.as_bytes() == own.as_bytes()));
    foreign_origin || foreign_site
}

/// The names that a request is addressed to, the one that counts first. In HTTP/2 the name is a part of the target.
fn names(head: &Parts) -> impl Iterator<Item = &[u8]> {
    let target = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    target.into_iter().chain(head.headers.get_all(HOST).iter().map(HeaderValue::as_bytes))
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
    fn addresses_localhost_and_the_configured_names_are_its_names_and_no_others() {
        let own = ["sluice.internal".to_owned(), "sluice.monitoring.svc".to_owned()];
        let is_foreign = |host: &str| has_foreign_name(&own, &head(host, &[]));
        for own in [
            "127.0.0.1:8888",
            "127.9.9.9",
            "10.0.0.7:8888",
            "[::1]:8888",
            "[fe80::1]",
            "localhost",
            "LOCALHOST:8888",
            "Sluice.Internal:8888",
            "sluice.monitoring.svc",
        ] {
            assert!(!is_foreign(own), "{own}");
        }
        for other in [
            "evil.example",
            "evil.example.",
            "127.0.0.1.evil.example:8888",
            "127.0.0.1.",
            "localhost.evil.example",
            "sluice.internal.evil",
            "evil.sluice.internal",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "user:127.0.0.1@localhost",
            "[::1].evil.example",
            "[evil.example]",
            "2130706433",
            "0x7f.1",
            "127.1",
            "%6cocalhost",
            "",
            ":8888",
        ] {
            assert!(is_foreign(other), "{other}");
        }
        assert!(has_foreign_name(&[], &head("sluice.internal", &[])));
    }

    #[test]
    fn every_name_that_a_request_gives_has_to_be_its_own_and_one_has_to_be_there() {
        let is_foreign = |target: &str, hosts: &[&str]| {
            let request =
                hosts.iter().fold(Request::get(target), |request, host| request.header("host", *host));
            has_foreign_name(&[], &request.body(()).unwrap().into_parts().0)
        };
        assert!(!is_foreign("http://127.0.0.1:8888/", &[]));
        assert!(!is_foreign("http://127.0.0.1:8888/", &["localhost"]));
        assert!(is_foreign("http://127.0.0.1:8888/", &["evil.example"]));
        assert!(is_foreign("http://evil.example/", &["127.0.0.1:8888"]));
        assert!(is_foreign("/", &["127.0.0.1:8888", "evil.example"]));
        assert!(is_foreign("/", &[]));
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_tools_and_own_pages_are_not() {
        let refused = |headers: &[(&str, &str)]| is_of_foreign_page(false, &head("127.0.0.1:8888", headers));
        assert!(!refused(&[]));
        assert!(!refused(&[("origin", "http://127.0.0.1:8888")]));
        assert!(!refused(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8888")]));
        assert!(!refused(&[("sec-fetch-site", "none")]));
        assert!(!refused(&[("origin", "https://127.0.0.1:8888")]), "a proxy may speak TLS for it");
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", ""),
            ("origin", "127.0.0.1:8888"),
            ("origin", "ftp://127.0.0.1:8888"),
            ("origin", "http://127.0.0.1"),
            ("origin", "http://127.0.0.1:8889"),
            ("origin", "http://127.0.0.1:8888."),
            ("origin", "http://127.0.0.1:8888/"),
            ("origin", "http://127.0.0.1:8888@evil.example"),
            ("origin", "http://127.0.0.1:8888 http://evil.example"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", ""),
        ] {
            assert!(refused(&[foreign]), "{foreign:?}");
        }
        assert!(refused(&[("origin", "http://127.0.0.1:8888"), ("origin", "http://evil.example")]));
        assert!(refused(&[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]));
        let secured = |origin| is_of_foreign_page(true, &head("localhost", &[("origin", origin)]));
        assert!(!secured("https://localhost"));
        assert!(secured("http://localhost"), "another may answer where there is no TLS");
    }
}
