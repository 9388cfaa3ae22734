//! `tap`, `watches` and `alertmanager`: what is taken, and what is said of what is wrong.

use std::time::Duration;

use super::{good, load_with, said, with};
use crate::watches::Threshold;

const WATCH: &str = "name: errors, query: 'level:error', above: 10 in 5m";

#[test]
fn a_watch_has_a_name_a_query_and_a_threshold() {
    let compiled = good(&with(
        "watches:\n  - { name: api-errors, query: 'level:error service:api', tenants: '*', above: '10 in 5m' }\n  - { name: heartbeat, query: 'job:backup done', below: 1 in 26h }\nalertmanager: http://alertmanager:9093\n",
    ));
    let [errors, heartbeat] = &compiled.watches[..] else { panic!("{:?}", compiled.watches) };
    assert_eq!(errors.threshold, Threshold::Above { records: 10, within: Duration::from_secs(300) });
    assert_eq!(errors.tenants.as_ref().map(Vec::len), Some(1));
    assert_eq!(heartbeat.threshold, Threshold::Below { records: 1, within: Duration::from_secs(26 * 3600) });
    assert_eq!((&heartbeat.tenants, heartbeat.query.to_string()), (&None, "job:backup done".to_owned()));
    assert_eq!(compiled.alertmanager.as_deref(), Some("http://alertmanager:9093"));
    assert_eq!(compiled.warnings, []);
}

#[test]
fn it_is_said_what_is_wrong_with_a_watch_and_where() {
    for (text, expected) in [
        ("query: x, above: 1 in 1m", "4:11 error: a watch needs a name"),
        ("name: a, above: 1 in 1m", "4:11 error: a watch needs a query"),
        ("name: a, query: x", "4:11 error: a watch does not say when it fires"),
        (
            "name: a, query: 'level:eror', above: 1 in 1m",
            "4:29 error: the query is wrong at its column 7 (this is not a level",
        ),
        ("name: a, query: x, above: often", "4:39 error: `above` can't be read (write how many records"),
        (
            "name: a, query: x, above: 1 in 1m, below: 1 in 1m",
            "4:48 error: a watch has either `above` or `below`",
        ),
        ("name: a, query: x, below: 0 in 1m", "4:39 error: there are never fewer than 0 records"),
        ("name: a, query: x, above: 1 in 1m, tenants: []", "4:57 error: this watch is for no tenant"),
    ] {
        let said = said(&with(&format!("watches: [{{ {text} }}]\n")));
        assert!(said.len() == 1 && said[0].starts_with(expected), "{text}: {said:?}");
    }
    let several = said(&with("watches: [{ nam: a, query: 'level:eror', above: often }]\n"));
    let mistakes = ["unknown key `nam`", "the query is wrong", "`above` can't be read"];
    let found = mistakes.map(|mistake| several.iter().any(|said| said.contains(mistake)));
    assert_eq!((several.len(), found), (3, [true; 3]), "{several:?}");
    let twice = said(&with(&format!("watches: [{{ {WATCH} }}, {{ {WATCH} }}]\n")));
    assert!(twice.len() == 1 && twice[0].contains("another watch called `errors`"), "{twice:?}");
}

#[test]
fn the_name_of_a_watch_is_short_and_without_control_characters() {
    let named =
        |name: &str| said(&with(&format!("watches: [{{ name: \"{name}\", query: x, above: 1 in 1m }}]\n")));
    assert_eq!(named(&"é".repeat(128)), [""; 0]);
    for wrong in [&"n".repeat(129), r"a\nb", r"a\u202eb", r"\e[2J"] {
        let said = named(wrong);
        assert!(said.len() == 1 && said[0].contains("at most 128 characters"), "{said:?}");
    }
}

#[test]
fn a_query_is_shown_without_what_could_be_a_secret() {
    let with_query = |query: &str| {
        let text = with(&format!("watches: [{{ name: a, query: '{query}', above: 1 in 1m }}]\n"));
        load_with(&text, &|_| Some("s3cret".to_owned())).unwrap_or_else(|problems| panic!("{problems}"))
    };
    for (query, shown) in [
        ("level:error service:api status:>=500", "level:error service:api status:>=500"),
        ("\"connection refused\" host:prod-*", "\"connection refused\" host:prod-*"),
        ("body:\"key=s3cret+/x==\" OR x", "body:\"[redacted]\" OR x"),
        ("user:${S3CRET}", "user:\"[redacted]\""),
        ("\"id ${S3CRET}\" a", "\"[redacted]\" a"),
    ] {
        let compiled = with_query(query);
        assert_eq!(compiled.watches[0].shown_query, shown);
        let redacted = compiled.redacted["watches"][0]["query"].as_str().unwrap();
        assert!(!redacted.contains("s3cret+"), "{redacted}");
        assert_eq!(redacted == query, !query.contains("s3cret+"), "{redacted}");
    }
}

#[test]
fn an_alertmanager_is_a_url_without_credentials_and_needs_watches() {
    let with_watch = |url: &str| said(&with(&format!("watches: [{{ {WATCH} }}]\nalertmanager: '{url}'\n")));
    for wrong in ["alertmanager:9093", "http://user:pass@host:9093", "http://host?x=1", "ftp://host"] {
        let said = with_watch(wrong);
        assert!(said.len() == 1 && said[0].contains("no URL of an Alertmanager"), "{wrong}: {said:?}");
        assert!(!said[0].contains("pass"), "{said:?}");
    }
    for right in ["http://host:9093", "https://host/alertmanager/"] {
        assert_eq!(with_watch(right), [""; 0], "{right}");
    }
    let said = said(&with("alertmanager: http://host:9093\n"));
    assert!(said.len() == 1 && said[0].contains("no effect: there are no watches"), "{said:?}");
}

#[test]
fn what_is_not_shown_is_regular_expressions_and_recent_records_have_their_share_of_memory() {
    let compiled = good(&with("tap: { redact: ['(?i)card$'], recent: 64MiB, open: true }\n"));
    assert!(compiled.tap.redaction.hides("credit_card") && !compiled.tap.redaction.hides("password"));
    assert_eq!(compiled.tap.recent, 64 << 20);
    let default = good(&with(""));
    for hidden in
        ["password", "http.request.header.authorization", "apiKey", "client-secret", "session.token"]
    {
        assert!(default.tap.redaction.hides(hidden), "{hidden}");
    }
    for shown in ["gen_ai.usage.input_tokens", "service.name", "message", "user.id"] {
        assert!(!default.tap.redaction.hides(shown), "{shown}");
    }
    let wrong = said(&with("tap: { redact: [ok, '(open'] }\n"));
    assert!(
        wrong.len() == 1 && wrong[0].starts_with("4:21 error: this is not a regular expression"),
        "{wrong:?}"
    );
    let wrong = said(&with("tap: { recent: 10GiB }\n"));
    assert!(
        wrong.len() == 1 && wrong[0].contains("more than half of `limits.memory` (write at most 256MiB)"),
        "{wrong:?}"
    );
}

#[test]
fn a_threshold_is_a_number_and_a_time() {
    let read = |text| Threshold::read(text, crate::config::duration);
    assert_eq!(read("10 in 5m"), Ok((10, Duration::from_secs(300))));
    assert_eq!(read(" 1 in 26h "), Ok((1, Duration::from_secs(26 * 3600))));
    for wrong in ["", "10", "10 5m", "ten in 5m", "-1 in 5m", "10 in 5", "10 in", "1.5 in 5m"] {
        assert!(read(wrong).unwrap_err().contains("such as `10 in 5m`"), "{wrong}");
    }
    for wrong in ["10 in 0s", "10 in 500ms", "10 in 745h"] {
        assert!(read(wrong).unwrap_err().contains("from 1s"), "{wrong}");
    }
}
