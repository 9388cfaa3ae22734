//! The dashboard: its one document and the files that the document loads, as `build.rs` has embedded them from `web/`.
//!
//! None of them holds data, so that they are shown to everybody who may reach the admin listener, without a token. What the
//! pages show comes from the API, which asks for one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::packed::unpacked;
use crate::receive::{HttpResponse, ResponseBody};

/// The paths of the dashboard's pages, beside `/`; one that ends with a slash is followed by a name.
const PAGES: [&str; 12] = [
    "/overview",
    "/tenants",
    "/tenants/",
    "/streams",
    "/streams/one",
    "/exporters",
    "/exporters/",
    "/dead-letters",
    "/dead-letters/",
    "/configuration",
    "/tap",
    "/watches",
];

/// Headers of every file. Nothing is loaded from elsewhere, no page of another site shows one in a frame, and no script runs
/// but those that are embedded.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A file of the dashboard.
struct Asset {
    /// Its path below `web/`.
    path: &'static str,
    content_type: &'static str,
    /// Its contents with gzip.
    packed: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// A file of the dashboard with its tag.
pub(super) struct DashboardFile {
    asset: &'static Asset,
    body: Bytes,
    /// Its strong `ETag`: a browser asks each time whether it still holds, so that another version of Sluice shows at once.
    tag: HeaderValue,
}

/// Every file of the dashboard by its path below `web/`, unpacked when somebody opens a page for the first time.
static FILES: LazyLock<HashMap<&'static str, DashboardFile>> = LazyLock::new(|| {
    let file = |asset: &'static Asset| {
        let body = unpacked(asset.packed);
        DashboardFile { asset, tag: strong_tag(&body), body: body.into() }
    };
    ASSETS.iter().map(|asset| (asset.path, file(asset))).collect()
});

/// The document, which is the same for every page, if this request is for a page. `/` is a page for browsers alone: other clients
/// get the list of the API's paths there.
pub(super) fn page(head: &Parts) -> Option<&'static DashboardFile> {
    let path = head.uri.path();
    let asked_for = match path {
        "/" => takes_html(head),
        path => PAGES.iter().any(|page| {
            path == *page && !page.ends_with('/')
                || page.ends_with('/') && path.len() > page.len() && path.starts_with(page)
        }),
    };
    asked_for.then(|| &FILES["index.html"])
}

/// The file that a page loads from this path, if there is one.
pub(super) fn asset(path: &str) -> Option<&'static DashboardFile> {
    FILES.get(path.strip_prefix("/assets/")?).filter(|file| file.asset.path != "index.html")
}

/// The document as the answer for a page that is not there, which it says: for a browser that asks for a path which nothing has.
/// Paths of the API and of the dashboard's files are not for people.
pub(super) fn no_page(head: &Parts) -> Option<HttpResponse> {
    let path = head.uri.path();
    let is_for_people = !["/api/", "/assets/"].iter().any(|prefix| path.starts_with(prefix));
    let asks = matches!(head.method, Method::GET | Method::HEAD) && is_for_people && takes_html(head);
    asks.then(|| {
        let mut answer = FILES["index.html"].whole();
        *answer.status_mut() = StatusCode::NOT_FOUND;
        answer
    })
}

/// Whether a browser goes to this address because somebody has followed a link or typed it, rather than because a page has made it
/// ask. The link may stand on a page of another site, such as a chat.
pub(super) fn is_navigation(head: &Parts) -> bool {
    let says = |name: &str, value: &str| head.headers.get(name).is_some_and(|said| said == value);
    says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document")
}

impl DashboardFile {
    /// The answer to a request for it.
    pub(super) fn answer(&self, head: &Parts) -> HttpResponse {
        let mut answer = Response::new(ResponseBody::from(Bytes::new()));
        if !matches!(head.method, Method::GET | Method::HEAD) {
            *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return answer;
        }
        if !self.is_known_to(head) {
            let mut answer = self.whole();
            answer.headers_mut().insert(ETAG, self.tag.clone());
            return answer;
        }
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        put_headers(&mut answer);
        answer.headers_mut().insert(ETAG, self.tag.clone());
        answer
    }

    /// The answer with its contents.
    fn whole(&self) -> HttpResponse {
        let mut answer = Response::new(ResponseBody::from(self.body.clone()));
        put_headers(&mut answer);
        let content_type = HeaderValue::from_static(self.asset.content_type);
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
        answer
    }

    /// Whether the browser has the file as it is now.
    fn is_known_to(&self, head: &Parts) -> bool {
        head.headers.get_all(IF_NONE_MATCH).iter().any(|known| {
            let Ok(known) = known.to_str() else { return false };
            known
                .split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.trim_start_matches("W/").as_bytes() == self.tag.as_bytes())
        })
    }
}

fn put_headers(answer: &mut HttpResponse) {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

/// Whether a request asks for HTML by name, as browsers do and tools don't.
fn takes_html(head: &Parts) -> bool {
    let all = head.headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    all.flat_map(|accept| accept.split(',')).any(|range| {
        let name = range.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("text/html")
    })
}

fn strong_tag(body: &[u8]) -> HeaderValue {
    let hash = ring::digest::digest(&ring::digest::SHA256, body);
    let mut tag = String::from("\"");
    for byte in &hash.as_ref()[..16] {
        write!(tag, "{byte:02x}").expect("a string takes everything");
    }
    tag.push('"');
    HeaderValue::from_str(&tag).expect("quotes and hexadecimal digits are allowed in a header")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http::Request;

    use super::*;

    fn head(path: &str, headers: &[(&str, &str)]) -> Parts {
        let request = Request::get(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn modules() -> impl Iterator<Item = &'static Asset> {
        ASSETS.iter().filter(|asset| asset.content_type.starts_with("text/javascript"))
    }

    #[test]
    fn every_page_is_the_one_document_and_no_other_path_is() {
        for path in [
            "/overview",
            "/tenants",
            "/tenants/acme",
            "/streams?sort=-pending_bytes",
            "/streams/one?exporter=a",
            "/exporters/otlp_http%2Fs2",
            "/exporters/otlp_http/s2",
            "/dead-letters/2026-11-30.json",
            "/configuration",
            "/tap",
            "/watches",
        ] {
            assert!(page(&head(path, &[])).is_some(), "{path}");
        }
        for path in [
            "/",
            "/tenants/",
            "/overview/",
            "/index.html",
            "/assets/index.html",
            "/api/v1/streams",
            "/metrics",
        ] {
            assert!(page(&head(path, &[])).is_none(), "{path}");
        }
    }

    #[test]
    fn the_root_is_a_page_for_who_asks_for_html_by_name() {
        let is_page = |accept: &str| page(&head("/", &[("accept", accept)])).is_some();
        assert!(is_page("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(is_page("application/json, Text/HTML;q=0.1"));
        assert!(!is_page("*/*"));
        assert!(!is_page("application/json"));
    }

    #[test]
    fn a_browser_is_told_by_the_document_that_there_is_no_such_page() {
        let html = [("accept", "text/html,*/*;q=0.8")];
        for path in ["/nonsense", "/tenants/", "/overview/", "/favicon.ico"] {
            let answer = no_page(&head(path, &html)).unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.headers()[CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
            assert!(answer.headers().contains_key(CONTENT_SECURITY_POLICY), "{path}");
            assert!(no_page(&head(path, &[("accept", "*/*")])).is_none(), "{path}");
        }
        for path in ["/api/v1/nonsense", "/assets/nonsense.js"] {
            assert!(no_page(&head(path, &html)).is_none(), "{path}");
        }
    }

    #[test]
    fn a_file_is_sent_again_only_to_who_has_another() {
        let file = asset("/assets/app.js").unwrap();
        let answer = file.answer(&head("/assets/app.js", &[]));
        assert_eq!(answer.status(), StatusCode::OK);
        let tag = answer.headers()[ETAG].to_str().unwrap();
        assert!(tag.starts_with('"'), "a strong tag: {tag}");
        let among_others = format!("\"other\", W/{tag}");
        for (known, status) in [
            (tag, StatusCode::NOT_MODIFIED),
            (among_others.as_str(), StatusCode::NOT_MODIFIED),
            ("\"other\"", StatusCode::OK),
        ] {
            let answer = file.answer(&head("/assets/app.js", &[("if-none-match", known)]));
            assert_eq!(answer.status(), status, "{known}");
        }
    }

    #[test]
    fn what_a_module_imports_is_embedded_with_it() {
        for asset in modules() {
            let text = String::from_utf8(unpacked(asset.packed)).unwrap();
            let directory = Path::new(asset.path).parent().unwrap();
            for name in text.split("from \"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let mut path = directory.to_path_buf();
                for part in name.split('/').filter(|part| *part != ".") {
                    match part {
                        ".." => assert!(path.pop(), "{} imports {name}", asset.path),
                        part => path.push(part),
                    }
                }
                let path = path.to_str().unwrap();
                assert!(FILES.contains_key(path), "{} imports {name}, which is {path}", asset.path);
            }
        }
    }

    #[test]
    fn no_module_takes_text_for_markup_or_for_a_program() {
        for asset in modules().filter(|asset| !asset.path.starts_with("vendor/")) {
            let text = String::from_utf8(unpacked(asset.packed)).unwrap();
            for way in ["nnerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
            {
                assert!(!text.contains(way), "{} uses {way}", asset.path);
            }
        }
    }

    #[test]
    fn all_files_together_are_as_small_as_the_documentation_says() {
        let bytes: usize = ASSETS.iter().map(|asset| unpacked(asset.packed).len()).sum();
        assert!(bytes < 300_000, "{bytes} bytes");
    }
}
