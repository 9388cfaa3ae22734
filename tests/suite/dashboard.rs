//! How the dashboard's pages and files are served: to whom, with which headers, and how often.

use bytes::Bytes;

use crate::support::Sluice;
use crate::support::http::{self, Answer};
use crate::support::sinks;
use crate::support::yaml;

/// What Chromium sends where somebody types an address.
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

const PAGES: [&str; 11] = [
    "/overview",
    "/tenants",
    "/tenants/acme",
    "/streams",
    "/streams/one?exporter=a&signal=logs&key=b",
    "/exporters",
    "/exporters/otlp_http%2Fup",
    "/dead-letters",
    "/dead-letters/some.pb",
    "/tap?query=level:error",
    "/configuration",
];

/// The policy that the pages are shown under: nothing from elsewhere, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A Sluice with this `admin`.
async fn start(admin: &str) -> Sluice {
    let up = sinks::counting().await;
    Sluice::start(&(format!("admin: {{ {admin} }}\n") + &yaml::up(&up.url(), &[]))).await
}

async fn get(sluice: &Sluice, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::send(sluice.admin, "GET", path, headers, Bytes::new()).await
}

/// The files that a document or a module names.
fn named_in(text: &str) -> Vec<String> {
    text.split('"').filter(|part| part.starts_with("/assets/")).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_page_is_the_same_document_which_nothing_else_may_show_or_change() {
    let sluice = start("endpoint: 127.0.0.1:0").await;
    let root = get(&sluice, "/", &[BROWSER]).await;
    assert_eq!(root.header("content-type"), Some("text/html; charset=utf-8"));
    for path in PAGES {
        let page = get(&sluice, path, &[BROWSER]).await;
        assert_eq!((page.status, &page.body), (200, &root.body), "{path}");
        assert_eq!(page.header("content-security-policy"), Some(POLICY), "{path}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"), "{path}");
    }
    let text = root.text();
    assert!(!text.contains("<style") && !text.contains(" style="), "the policy forbids it: {text}");
    assert!(!text.contains("://"), "nothing is loaded from elsewhere: {text}");
}

#[tokio::test]
async fn a_tool_that_asks_for_the_root_reads_what_the_api_has() {
    let sluice = start("endpoint: 127.0.0.1:0").await;
    for accept in ["*/*", "application/json"] {
        let answer = get(&sluice, "/", &[("accept", accept)]).await;
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(answer.text().contains("/api/v1/streams"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_file_is_sent_once_and_then_only_asked_about() {
    let sluice = start("endpoint: 127.0.0.1:0").await;
    let document = get(&sluice, "/", &[BROWSER]).await.text();
    let files = named_in(&document);
    assert!(files.len() >= 5, "{files:?}");
    for path in &files {
        let first = get(&sluice, path, &[]).await;
        assert_eq!(first.status, 200, "{path}");
        assert_eq!(first.header("cache-control"), Some("no-cache"), "{path}");
        let tag = first.header("etag").unwrap();
        assert!(tag.starts_with('"'), "a strong tag: {tag}");
        let again = get(&sluice, path, &[("if-none-match", tag)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        let other = get(&sluice, path, &[("if-none-match", "\"another\"")]).await;
        assert_eq!((other.status, &other.body), (200, &first.body), "{path}");
    }
}

#[tokio::test]
async fn pages_hold_nothing_and_need_no_token_while_the_api_does() {
    let token = "0123456789abcdef-reader";
    let sluice =
        start(&format!("endpoint: 0.0.0.0:0, read_token: {token}, write_token: 0123456789abcdef-writer"))
            .await;
    for path in ["/", "/streams", "/assets/app.js"] {
        let answer = get(&sluice, path, &[BROWSER]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains(token), "{path}");
    }
    for path in ["/", "/api/v1/streams"] {
        assert_eq!(get(&sluice, path, &[("accept", "*/*")]).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_link_in_a_chat_leads_to_a_page_and_no_page_of_another_site_loads_anything() {
    let sluice = start("endpoint: 127.0.0.1:0").await;
    let cross = ("sec-fetch-site", "cross-site");
    let followed = [BROWSER, cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    assert_eq!(get(&sluice, "/streams?state=held", &followed).await.status, 200);
    assert_eq!(get(&sluice, "/api/v1/streams", &followed).await.status, 403);
    let framed = [BROWSER, cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
    assert_eq!(get(&sluice, "/streams", &framed).await.status, 403);
    let script = [cross, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")];
    assert_eq!(get(&sluice, "/assets/app.js", &script).await.status, 403);
}

#[tokio::test]
async fn a_page_is_read_and_nothing_else_and_one_that_is_not_there_is_not_found() {
    let sluice = start("endpoint: 127.0.0.1:0").await;
    for path in ["/streams", "/assets/app.js"] {
        let answer = http::send(sluice.admin, "POST", path, &[BROWSER], Bytes::new()).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{path}");
    }
    for path in [
        "/stream",
        "/assets/",
        "/assets/none.js",
        "/assets/../Cargo.toml",
        "/assets/package.json",
        "/tenants/",
    ] {
        assert_eq!(get(&sluice, path, &[BROWSER]).await.status, 404, "{path}");
    }
    // Whoever mistypes an address, or follows a wrong link of another site, sees the frame, which says so.
    let followed = [
        BROWSER,
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    for path in ["/stream", "/tenants/", "/overview/", "/nonsense/of/it"] {
        for headers in [&[BROWSER][..], &followed] {
            let answer = get(&sluice, path, headers).await;
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (404, Some("text/html; charset=utf-8"))
            );
            assert_eq!(answer.text(), get(&sluice, "/streams", &[BROWSER]).await.text(), "{path}");
        }
    }
    for path in ["/api/v1/nonsense", "/assets/none.js"] {
        let answer = get(&sluice, path, &[BROWSER]).await;
        assert!(answer.text().starts_with("no such page"), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_health_listener_has_no_dashboard() {
    let up = sinks::counting().await;
    let yaml = "health: { endpoint: 127.0.0.1:0 }\n".to_owned() + &yaml::up(&up.url(), &[]);
    let sluice = Sluice::start(&yaml).await;
    let health = sluice.router().addresses(sluice::run::Role::Health).await[0];
    let root = http::send(health, "GET", "/", &[BROWSER], Bytes::new()).await;
    assert_eq!(root.text(), "ready\n", "where a Collector's health_check answers");
    for path in ["/streams", "/assets/app.js"] {
        assert_eq!(http::send(health, "GET", path, &[BROWSER], Bytes::new()).await.status, 404, "{path}");
    }
}

#[test]
fn what_a_page_says_to_write_is_what_sluice_reads() {
    let directory = tempfile::tempdir().unwrap();
    let module =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/web/lib/examples.js")).unwrap();
    // Between backticks, in which `\\${` is a variable of a configuration.
    let examples: Vec<String> =
        module.split('`').skip(1).step_by(2).map(|text| text.replace("\\$", "$")).collect();
    assert_eq!(examples.len(), 3, "{module}");
    for example in examples {
        let receivers = "receivers: { otlp: { protocols: { http: } } }";
        let yaml =
            format!("{receivers}\nexporters: {{ debug: }}\nroutes: [{{ exporters: [debug] }}]\n{example}\n");
        let file = directory.path().join("sluice.yaml");
        std::fs::write(&file, yaml).unwrap();
        let checked = std::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
            .arg("check")
            .arg(&file)
            .env("ACME_TOKEN", "0123456789-of-acme")
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(checked.status.success(), "{example}: {}", String::from_utf8_lossy(&checked.stdout));
    }
}

#[tokio::test]
async fn nothing_that_this_listener_answers_is_taken_for_what_it_does_not_say_it_is() {
    let sluice = start("endpoint: 127.0.0.1:0, read_token: 0123456789abcdef-reader").await;
    for path in
        ["/", "/metrics", "/healthz", "/api/v1/overview", "/api/v1/streams/one", "/assets/app.js", "/nothing"]
    {
        for token in ["Bearer 0123456789abcdef-reader", "Bearer wrong"] {
            let answer = get(&sluice, path, &[("authorization", token)]).await;
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}: {}", answer.status);
        }
    }
}
