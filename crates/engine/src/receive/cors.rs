//! Cross-origin requests: a browser's exporter asks first (WHATWG Fetch, "CORS protocol").

use ::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap, ORIGIN,
    VARY,
};
use ::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;

use super::response::{HttpResponse, ResponseBody};
use super::settings::CorsSettings;
use crate::route::Glob;

/// Headers that OTLP exporters in browsers send and that need leave.
const ALWAYS_ALLOWED: &str = "content-type, content-encoding";

/// The pattern that allows all origins, or all headers.
const ALL: &str = "*";

/// The origin of a request whose page may send.
pub(super) struct Allowed {
    origin: HeaderValue,
    /// Whether the page may send with credentials, as `navigator.sendBeacon` always does: only where it was meant, and not
    /// merely not kept out.
    credentials: bool,
}

/// The request's origin, if it is an allowed one. Scheme and host are the same in any case (RFC 6454, section 4): browsers
/// send them in small letters, and people write them as they like.
pub(super) fn allowed(cors: &CorsSettings, headers: &HeaderMap) -> Option<Allowed> {
    let origin = headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?.to_ascii_lowercase();
    let allows = |pattern: &str| Glob::new(&pattern.to_ascii_lowercase()).matches(&text);
    let mut by = cors.allowed_origins.iter().filter(|allowed| allows(allowed)).peekable();
    by.peek()?;
    Some(Allowed { origin: origin.clone(), credentials: by.any(|allowed| allowed != ALL) })
}

/// The answer to a preflight request.
pub(super) fn preflight(cors: &CorsSettings, origin: &Allowed, request: &HeaderMap) -> HttpResponse {
    let mut answer = Response::new(ResponseBody::from(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    origin.allow(headers);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    let mut names = ALWAYS_ALLOWED.to_owned();
    let mut add = |name: &str| {
        names.push_str(", ");
        names.push_str(name);
    };
    cors.allowed_headers.iter().filter(|header| *header != ALL).for_each(|header| add(header));
    if cors.allowed_headers.iter().any(|header| header == ALL) {
        // For requests with credentials `*` means the header of that name, so those are named that were asked for.
        let asked = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let asked = asked.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        asked
            .map(str::trim)
            .filter(|name| HeaderName::from_bytes(name.as_bytes()).is_ok())
            .for_each(&mut add);
        if !origin.credentials {
            add(ALL);
        }
    }
    if let Ok(names) = HeaderValue::from_str(&names) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age));
    answer
}

impl Allowed {
    /// Lets a page of this origin read the answer.
    pub(super) fn allow(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(VARY, HeaderValue::from_static("origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(origins: &[&str], headers: &[&str]) -> CorsSettings {
        let owned = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        CorsSettings { allowed_origins: owned(origins), allowed_headers: owned(headers), max_age: 5 }
    }

    fn request(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn credentials_are_allowed_where_an_origin_is_named_and_not_by_an_asterisk_alone() {
        let credentials = |origins: &[&str]| {
            let headers = request(&[(ORIGIN, "https://app.example.com")]);
            allowed(&settings(origins, &[]), &headers).map(|allowed| allowed.credentials)
        };
        assert_eq!(credentials(&["https://app.example.com"]), Some(true));
        assert_eq!(credentials(&["https://*.example.com"]), Some(true));
        assert_eq!(credentials(&["*"]), Some(false));
        assert_eq!(credentials(&["*", "https://app.example.com"]), Some(true));
        assert_eq!(credentials(&["*", "https://other.example.com"]), Some(false));
        assert_eq!(credentials(&["https://other.example.com"]), None);
    }

    #[test]
    fn an_origin_is_the_same_in_any_case_and_is_answered_as_it_was_sent() {
        for (pattern, origin, expected) in [
            ("https://App.Example.com", "https://app.example.com", true),
            ("HTTPS://APP.EXAMPLE.COM", "https://app.example.com", true),
            ("https://*.Example.com", "https://app.example.com", true),
            ("https://app.example.com", "HTTPS://App.Example.COM", true),
            ("https://App.Example.com:8443", "https://app.example.com:8443", true),
            ("https://App.Example.com", "https://app.example.org", false),
            ("https://App.Example.com", "http://app.example.com", false),
        ] {
            let allowed = allowed(&settings(&[pattern], &[]), &request(&[(ORIGIN, origin)]));
            assert_eq!(allowed.is_some(), expected, "{pattern} {origin}");
            assert!(allowed.is_none_or(|allowed| allowed.origin == origin), "{pattern} {origin}");
        }
    }

    #[test]
    fn where_all_headers_are_allowed_those_are_named_that_are_asked_for() {
        let headers = request(&[
            (ORIGIN, "https://app.example.com"),
            (ACCESS_CONTROL_REQUEST_HEADERS, "x-one,X-Two, not a name"),
        ]);
        let names = |origins: &[&str]| {
            let cors = settings(origins, &["*"]);
            let answer = preflight(&cors, &allowed(&cors, &headers).unwrap(), &headers);
            answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().to_owned()
        };
        assert_eq!(names(&["https://*.example.com"]), "content-type, content-encoding, x-one, X-Two");
        assert_eq!(names(&["*"]), "content-type, content-encoding, x-one, X-Two, *");
    }
}
