//! `exporters`.

use std::time::Duration;

use super::*;
use crate::encoding::Encoding;
use crate::export::{Compression, HoldScope, OtlpGrpcSettings, StatusAction, Statuses, TimedAction};
use crate::route::{Template, TemplateValue};
use crate::rpc::Code;
use crate::stream::WhenFull;

fn said_of(lines: &str) -> Vec<String> {
    said(&with_exporter("otlp_http", lines))
}

fn url(text: &str) -> Option<Template> {
    Template::parse(text).ok()
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let settings = exporter("otlp_http", "endpoint: https://example.com/otlp/");
    assert_eq!(settings.queue.num_consumers, 1);
    assert_eq!(settings.queue.queue_bytes, 16 << 20);
    assert_eq!(settings.queue.queue_requests, None);
    assert_eq!(settings.queue.when_full, WhenFull::Refuse);
    assert_eq!(settings.queue.batch.flush_timeout, Duration::from_millis(50));
    assert_eq!((settings.queue.batch.min_size, settings.queue.batch.max_size), (256 << 10, 512 << 10));
    assert_eq!(settings.max_in_flight, 256);
    assert_eq!(settings.statuses, Statuses::retrying(vec![429, 502, 503, 504]));
    assert_eq!(settings.retry.max_elapsed_time, Duration::ZERO);
    let ExporterKind::OtlpHttp(http) = settings.kind else { panic!() };
    assert_eq!(http.upstream.compression, Compression::Gzip { level: 1 });
    assert_eq!(http.encoding, Encoding::Proto);
    assert_eq!(http.upstream.timeout, Duration::from_secs(30));
    assert_eq!(http.max_idle_connections, 256);
    assert_eq!(http.urls[0], url("https://example.com/otlp/v1/traces"));
    assert_eq!(http.urls[2], url("https://example.com/otlp/v1/logs"));
}

#[test]
fn an_endpoint_of_a_signal_is_used_as_it_is() {
    let http = otlp_http("endpoint: http://a\nlogs_endpoint: http://b/x?y=1");
    assert_eq!(http.urls, [url("http://a/v1/traces"), url("http://a/v1/metrics"), url("http://b/x?y=1")]);
}

#[test]
fn urls_are_templates() {
    let http = otlp_http("endpoint: \"https://{{ key }}.b.s2.dev/{{ signal }}/otlp\"");
    assert_eq!(
        http.urls[2].as_ref().unwrap().reads().collect::<Vec<_>>(),
        [&TemplateValue::Key, &TemplateValue::Signal]
    );
    assert_eq!(
        said_of("endpoint: \"https://{{ tenant }}.b.s2.dev\""),
        [
            "4:15 error: `tenant` is not an expression: name the value: `tenant.id` (templates are `{{ key }}`, `{{ key.part }}`, \
          `{{ signal }}` and `{{ tenant.NAME }}`, and in a route's `key` and the values of its processors `{{ resource[\"service.name\"] }}`; filters are default, lower, \
          upper, replace and truncate)"
        ]
    );
}

#[test]
fn what_is_no_url_says_why() {
    let why = |url: &str| said_of(&format!("endpoint: \"{url}\"")).join("\n");
    assert_eq!(
        why("ingest.example.com/otlp"),
        "4:15 error: `ingest.example.com/otlp` can't be sent to: it has no scheme (write \
         `https://ingest.example.com/otlp`, or `http://ingest.example.com/otlp` without TLS)"
    );
    let reasons = [
        ("ftp://example.com", "its scheme is neither `https` nor `http`"),
        ("https://", "it is no URL"),
        ("https:", "it has no scheme"),
        ("https:///otlp", "it is no URL"),
        ("https://exa mple.com", "it is no URL"),
        ("https://example.com:99999", "its port is not a number from 1 to 65535"),
        ("https://example.com:0", "its port is not a number from 1 to 65535"),
        ("https://example.com/#a", "it has a fragment"),
        ("https://example.com/?a=b", "a path is added to it, which can't follow a query"),
        ("https://me:pw@example.com", "this can't be sent to: a URL with credentials would show them"),
    ];
    for (url, reason) in reasons {
        assert!(why(url).contains(reason), "{url}: {}", why(url));
    }
}

#[test]
fn an_exporter_without_an_endpoint_says_so_once() {
    assert_eq!(
        said_of("timeout: 5s"),
        [
            "4:5 error: the exporter `otlp_http` has no `endpoint` (write `endpoint: https://…`, to which `/v1/traces`, \
          `/v1/metrics` or `/v1/logs` is added)"
        ]
    );
}

#[test]
fn headers_keep_their_order_and_may_be_templates() {
    let http =
        otlp_http("endpoint: http://localhost:1\nheaders: { X-B: 1, Authorization: \"Bearer {{ key }}\" }");
    let names: Vec<&str> = http.upstream.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-b", "authorization"]);
    assert_eq!(http.upstream.headers[0].1.0.as_text(), Some("1"));
    assert_eq!(http.upstream.headers[1].1.0.as_text(), None);
}

#[test]
fn headers_may_be_a_list_as_in_newer_collectors() {
    let http = otlp_http(
        "endpoint: http://localhost:1\nheaders:\n  - { name: X-B, value: 1 }\n  - { name: X-A, value: b }",
    );
    let names: Vec<&str> = http.upstream.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-b", "x-a"]);
    assert_eq!(
        said_of("endpoint: https://a\nheaders: [{ name: X, value: a }, { name: x, value: b }, { value: c }]"),
        [
            "5:46 error: duplicate header `x` (names of headers are the same in any case; keep one of the two)",
            "5:61 error: this is not a header's name (a name has letters, digits and `-`, without spaces or `:`)",
        ]
    );
}

#[test]
fn headers_that_cannot_be_sent_are_named() {
    assert_eq!(
        said_of(
            "endpoint: https://a\nheaders: { \"a b\": x, Content-Length: 5, X: a, x: b, Y: , Z: \"a\\nb\" }"
        ),
        [
            "5:16 error: this is not a header's name (a name has letters, digits and `-`, without spaces or `:`)",
            "5:26 error: the header `content-length` can't be set: it frames the request",
            "5:51 error: duplicate header `x` (names of headers are the same in any case; keep one of the two)",
            "5:65 error: the value of `Z` has characters that no header may have (a line break or a control character; is \
             the secret's file one line?)",
        ]
    );
}

#[test]
fn a_signals_path_at_the_end_of_an_endpoint_is_a_warning() {
    let said = said_of("endpoint: http://localhost:4319/v1/logs/");
    assert!(
        said[0].contains("warning: `endpoint` ends in `/v1/logs`, and that is added to it once more"),
        "{said:?}"
    );
    assert_eq!(said.len(), 1);
    assert_eq!(said_of("endpoint: http://localhost:4319/v1"), [""; 0]);
}

#[test]
fn a_credential_over_plain_http_is_a_warning() {
    assert_eq!(
        said_of("endpoint: http://example.com\nheaders: { Authorization: x }"),
        [
            "5:14 warning: a credential is sent over plain HTTP, where anyone in between can read it (write an `https` \
          endpoint)"
        ]
    );
    assert_eq!(said_of("endpoint: http://localhost:4319\nheaders: { Authorization: x }"), [""; 0]);
    assert_eq!(said_of("endpoint: http://loki\nheaders: { X-Scope-OrgID: x }"), [""; 0]);
    assert_eq!(said_of("endpoint: http://[::1]:4318\nheaders: { X-Api-Key: x }"), [""; 0]);
    for header in ["X-Api-Key", "Cookie", "x-honeycomb-team", "X-Auth", "dd-api-key", "X-Secret"] {
        for host in ["loki", "127.0.0.1.example.com", "{{ key }}.a", "192.168.0.1"] {
            let said = said_of(&format!("endpoint: \"http://{host}\"\nheaders: {{ {header}: x }}"));
            assert!(said.len() == 1 && said[0].contains("a credential is sent over plain HTTP"), "{said:?}");
        }
    }
}

#[test]
fn compression_is_what_the_collector_has() {
    let compression = |lines: &str| otlp_http(&format!("endpoint: https://a\n{lines}")).upstream.compression;
    assert_eq!(compression("compression: none"), Compression::None);
    assert_eq!(compression("compression: zstd"), Compression::Zstd { level: 3 });
    assert_eq!(compression("compression: zlib"), Compression::Zlib { level: 1, deflate: false });
    assert_eq!(compression("compression: snappy"), Compression::SnappyBlock);
    assert_eq!(compression("compression: x-snappy-framed"), Compression::SnappyFrames);
    assert_eq!(compression("compression: lz4"), Compression::Lz4);
    assert_eq!(compression("compression_params: { level: 9 }"), Compression::Gzip { level: 9 });
    assert_eq!(
        compression("compression: deflate\ncompression_params: { level: 5 }"),
        Compression::Zlib { level: 5, deflate: true }
    );
    assert_eq!(
        said_of("endpoint: https://a\ncompression: brotli"),
        ["5:18 error: this is not a value of `compression` (the values are `none`, `gzip`, `zstd`, `zlib`, \
          `deflate`, `snappy`, `x-snappy-framed` and `lz4`)"]
    );
    assert_eq!(
        said_of("endpoint: https://a\ncompression_params: { level: 10 }"),
        ["5:34 error: `10` is not a level (levels are 1 (fastest) to 9)"]
    );
    assert_eq!(
        said_of("endpoint: https://a\ncompression_params: { level: -3 }"),
        ["5:34 error: `-3` is not a level (levels are 1 (fastest) to 9)"]
    );
    assert_eq!(
        said_of("endpoint: https://a\ncompression_params: { level: -2 }"),
        ["5:34 warning: `-2` has no effect: level 1 is the fastest (write `level: 1`)"]
    );
    assert_eq!(
        said_of("endpoint: https://a\ncompression: snappy\ncompression_params: { level: 1 }"),
        ["6:34 error: this compression has no levels (leave `compression_params` out, or write \
          `compression: gzip` or `compression: zstd`)"]
    );
}

#[test]
fn a_level_of_0_or_minus_1_is_the_default_as_in_the_collector() {
    let compression = |name: &str, level: i32| {
        let lines = format!("compression: {name}\ncompression_params: {{ level: {level} }}");
        otlp_http(&format!("endpoint: https://a\n{lines}")).upstream.compression
    };
    let without =
        |name: &str| otlp_http(&format!("endpoint: https://a\ncompression: {name}")).upstream.compression;
    for name in ["gzip", "zlib", "deflate", "zstd"] {
        assert_eq!([0, -1].map(|level| compression(name, level)), [without(name), without(name)], "{name}");
    }
    for name in ["none", "snappy", "x-snappy-framed", "lz4"] {
        assert_eq!(compression(name, 0), without(name), "{name}");
    }
    assert_eq!(
        [-7, 1, 22, 23, 100].map(|level| compression("zstd", level)),
        [1, 1, 22, 22, 22].map(|level| Compression::Zstd { level }),
        "what is no level is the nearest"
    );
    let snappy = "endpoint: https://a\ncompression: snappy\ncompression_params: { level: -1 }";
    assert_eq!(said_of(snappy).len(), 1, "it has no default of levels");
}

#[test]
fn a_header_without_a_value_is_an_empty_one_as_in_the_collector() {
    let empty = otlp_http("endpoint: https://a\nheaders: { X-A: '' }").upstream.headers;
    for headers in ["{ X-A: }", "{ X-A: ~ }", "{ X-A: null }", "[{ name: X-A, value: }]", "[{ name: X-A }]"] {
        let lines = format!("endpoint: https://a\nheaders: {headers}");
        assert_eq!(good(&with_exporter("otlp_http", &lines)).warnings, [], "{headers}");
        assert_eq!(otlp_http(&lines).upstream.headers, empty, "{headers}");
    }
}

#[test]
fn compression_of_grpc_is_what_the_collector_has() {
    for (written, compression) in [
        ("none", Compression::None),
        ("gzip", Compression::Gzip { level: 1 }),
        ("zstd", Compression::Zstd { level: 3 }),
        ("snappy", Compression::SnappyFrames),
    ] {
        assert_eq!(
            otlp_grpc(&format!("endpoint: a:4317\ncompression: {written}")).upstream.compression,
            compression
        );
    }
}

#[test]
fn a_bare_queue_size_counts_requests_as_in_the_collector() {
    let queue = |lines: &str| exporter("debug", &format!("sending_queue: {lines}")).queue;
    let bare = queue("{ queue_size: 1000 }");
    assert_eq!((bare.queue_bytes, bare.queue_requests), (16 << 20, Some(1000)));
    let bytes = queue("{ queue_size: 5000000, sizer: bytes }");
    assert_eq!((bytes.queue_bytes, bytes.queue_requests), (5_000_000, None));
    let unit = queue("{ queue_size: 5MB }");
    assert_eq!((unit.queue_bytes, unit.queue_requests), (5_000_000, None));
}

#[test]
fn sizes_that_contradict_each_other_are_named() {
    let said_of = |lines: &str| said(&with_exporter("debug", &format!("sending_queue: {lines}")));
    assert_eq!(
        said_of("{ queue_size: 5MB, sizer: requests }"),
        [
            "4:34 error: a `queue_size` with a unit counts bytes, but `sizer` says otherwise (write `sizer: bytes`, or a \
          number without a unit)"
        ]
    );
    assert_eq!(
        said_of("{ batch: { min_size: 1MiB } }"),
        ["4:41 error: `min_size` (1MiB) is above `max_size` (512KiB) (make it at most as large)"]
    );
    assert_eq!(said_of("{ queue_size: 0 }"), ["4:34 error: `queue_size` must be above zero"]);
    assert_eq!(
        said_of("{ queue_size: 100, sizer: items }"),
        [
            "4:46 warning: items can't be counted; a stream may hold 16MiB (write `sizer: bytes` and a `queue_size` such as \
          `16MiB`)"
        ]
    );
    assert_eq!(
        said_of("{ batch: { min_size: 8192, sizer: items } }"),
        [
            "4:54 warning: batches are sized in bytes; the default sizes hold (write `sizer: bytes`, with `min_size: 256KiB` \
          and `max_size: 512KiB`)"
        ]
    );
    assert_eq!(
        said_of("{ num_consumers: 10 }"),
        [
            "4:37 warning: with more than one consumer the order within a stream is lost (write `num_consumers: 1`; other \
          streams are sent at the same time anyway)"
        ]
    );
}

#[test]
fn a_disabled_queue_sends_at_once() {
    let batch = exporter("debug", "sending_queue: { enabled: false }").queue.batch;
    assert_eq!((batch.flush_timeout, batch.min_size, batch.max_size), (Duration::ZERO, 0, 512 << 10));
}

#[test]
fn a_max_size_of_zero_is_no_limit_but_the_queues() {
    let batch = exporter("debug", "sending_queue: { queue_size: 1MiB, batch: { max_size: 0 } }").queue.batch;
    assert_eq!(batch.max_size, 1 << 20);
}

#[test]
fn retries_are_checked() {
    assert_eq!(
        said_of(
            "endpoint: https://a\nretry_on_failure: { initial_interval: 0, max_interval: 1s, statuses: [200] }"
        ),
        [
            "5:43 error: `initial_interval` must be longer than zero",
            "5:75 error: `200` is not a status that a request fails with (write statuses from 300 to 599; what is not \
             listed is not tried again)",
        ]
    );
    assert_eq!(
        said_of("endpoint: https://a\nretry_on_failure: { max_interval: 1ms, randomization_factor: 2 }"),
        [
            "5:39 error: `max_interval` (1ms) is shorter than `initial_interval` (1s) (make it at least as long)",
            "5:66 error: `2` is out of range for `randomization_factor` (the most is 1)",
        ]
    );
}

#[test]
fn statuses_are_named_alone_as_a_range_as_a_class_and_by_grpcs_names() {
    let named = "endpoint: https://a\n\
                 statuses: { 404: dead_letter, 409: retry, 422: hold, \"520-530\": divide, 5xx: delivered, 4XX: retry, \
                 402: hold_tenant, 403: hold_exporter, 413: split, 420: drop, default: retry }";
    let mut expected = Statuses::default();
    for (range, action) in [
        (404..=404, StatusAction::DeadLetter),
        (409..=409, StatusAction::Retry),
        (422..=422, StatusAction::Hold(HoldScope::Stream)),
        (520..=530, StatusAction::Split),
        (500..=599, StatusAction::Delivered),
        (400..=499, StatusAction::Retry),
        (402..=402, StatusAction::Hold(HoldScope::Tenant)),
        (403..=403, StatusAction::Hold(HoldScope::Exporter)),
        (413..=413, StatusAction::Split),
        (420..=420, StatusAction::Drop),
    ] {
        expected.set(range, action).unwrap();
    }
    expected.set_otherwise(StatusAction::Retry);
    assert_eq!(exporter("otlp_http", named).statuses, expected);

    let named = "endpoint: a:4317\nstatuses: { NOT_FOUND: hold, 404: dead_letter }\n\
                 retry_on_failure: { statuses: [408] }";
    let mut expected = Statuses::retrying(vec![408]);
    expected.set_grpc(Code::NotFound, StatusAction::Hold(HoldScope::Stream));
    expected.set(404..=404, StatusAction::DeadLetter).unwrap();
    assert_eq!(exporter("otlp_grpc", named).statuses, expected);
    // A key that asks for nothing.
    assert_eq!(exporter("otlp_http", "endpoint: https://a\nstatuses:").statuses, Statuses::default());
}

#[test]
fn a_word_for_a_status_may_have_a_least_time() {
    let hour = Duration::from_secs(3600);
    let named = "endpoint: https://a\n\
                 statuses: { 402: { hold: 1h }, 403: { hold_tenant: 1h }, 404: { hold_exporter: 1h }, 408: { retry: 1h }, \
                 413: { split: 1h }, 420: { drop: 1h }, default: { dead_letter: 1h } }";
    let mut expected = Statuses::default();
    for (status, action) in [
        (402, StatusAction::Hold(HoldScope::Stream)),
        (403, StatusAction::Hold(HoldScope::Tenant)),
        (404, StatusAction::Hold(HoldScope::Exporter)),
        (408, StatusAction::Retry),
        (413, StatusAction::Split),
        (420, StatusAction::Drop),
    ] {
        expected.set(status..=status, TimedAction { action, least: hour }).unwrap();
    }
    expected.set_otherwise(TimedAction { action: StatusAction::DeadLetter, least: hour });
    assert_eq!(exporter("otlp_http", named).statuses, expected);

    let named = "endpoint: a:4317\nstatuses: { NOT_FOUND: { hold: 1h }, default: drop }";
    let mut expected = Statuses::default();
    let hold = TimedAction { action: StatusAction::Hold(HoldScope::Stream), least: hour };
    expected.set_grpc(Code::NotFound, hold);
    expected.set_otherwise(StatusAction::Drop);
    assert_eq!(exporter("otlp_grpc", named).statuses, expected);
}

#[test]
fn what_is_wrong_with_a_least_time_is_said_at_its_place() {
    const WORDS: &str =
        "`delivered`, `retry`, `hold`, `hold_tenant`, `hold_exporter`, `split`, `dead_letter` and `drop`";
    const INSTEAD: &str =
        "(write one word, such as `hold`, or one with its least time, such as `{ hold: 1h }`)";
    let at = "exporters.otlp_http.statuses";
    let keys = WORDS.trim_start_matches("`delivered`, ");
    let wrong = [
        ("402: hodl", format!("5:22 error: `hodl` is not a value of `402` (did you mean `hold`? the values are {WORDS})")),
        ("402: tenant", format!("5:22 error: this is not a value of `402` (the values are {WORDS})")),
        ("402: { hodl: 1h }", format!("5:24 error: unknown key `hodl` in `{at}.402`; did you mean `hold`?")),
        ("402: { wait: 1h }", format!("5:24 error: unknown key `wait` in `{at}.402` (the keys here are {keys})")),
        (
            "402: { hold: 1h, retry: 1m }",
            format!("5:22 error: `402` says several things of what becomes of a batch: `hold` and `retry` {INSTEAD}"),
        ),
        ("402: {}", format!("5:22 error: `402` says nothing of what becomes of a batch {INSTEAD}")),
        (
            "402: { hold: soon }",
            "5:30 error: this is not a duration (in `hold`) (write a duration such as `50ms`, `30s`, `5m` or `1h30m`)"
                .to_owned(),
        ),
        (
            "402: { hold: }",
            "5:24 error: `hold` has no least time (write `402: hold`, or a time, such as `{ hold: 1h }`)".to_owned(),
        ),
        (
            "409: { delivered: 1h }",
            "5:24 error: `delivered` has no least time: what counts as delivered does so at once (write `409: delivered`)"
                .to_owned(),
        ),
        (
            "default: delivered",
            "5:17 warning: what is answered by any of `default` is lost and counts as delivered (name the statuses alone that mean \
             that the upstream has the data, such as `409`)"
                .to_owned(),
        ),
        ("defualt: drop", "5:17 error: `defualt` is not a status (did you mean `default`?)".to_owned()),
    ];
    for (written, message) in wrong {
        assert_eq!(
            said_of(&format!("endpoint: https://a\nstatuses: {{ {written} }}")).join("\n"),
            message,
            "{written}"
        );
    }
}

#[test]
fn what_is_no_status_or_means_nothing_is_said_at_its_key() {
    const WRITE: &str = "(write a failure of HTTP such as `404`, a range such as `520-530`, a class such as `5xx`, or `default` for \
                         all others)";
    let lines = [
        ("40x", "error: `40x` is not a status", WRITE),
        ("0404", "error: `0404` is not a status", WRITE),
        ("404..408", "error: `404..408` is not a status", WRITE),
        ("400-", "error: `400-` is not a status", WRITE),
        ("not_found", "error: `not_found` is not a status", WRITE),
        (
            "NOT_FOUND",
            "error: `NOT_FOUND` is a status of gRPC, and the answers of this exporter have none",
            WRITE,
        ),
        ("530-520", "error: the range `530-520` begins above its end", "(write `520-530`)"),
        ("100", "error: `100` is not a status that a request fails with", "(write statuses from 300 to 599)"),
        ("6xx", "error: `6xx` is not a status that a request fails with", "(write statuses from 300 to 599)"),
        (
            "590-600",
            "error: `590-600` is not a status that a request fails with",
            "(write statuses from 300 to 599)",
        ),
    ];
    for (key, message, help) in lines {
        assert_eq!(
            said_of(&format!("endpoint: https://a\nstatuses:\n  {key}: retry")),
            [format!("6:7 {message} {help}")],
            "{key}"
        );
    }
    for key in ["200", "2xx", "202-404"] {
        assert_eq!(
            said_of(&format!("endpoint: https://a\nstatuses: {{ {key}: retry }}")),
            [format!(
                "5:17 error: a success such as `{key}` can't be changed: the upstream has taken the batch with it, and would get \
                 it twice {WRITE}"
            )]
        );
    }
    assert_eq!(
        said_of("endpoint: https://a\nstatuses: { 202: delivered, 404: dead-letter }"),
        [
            "5:17 warning: `202` is delivered in any case (leave it out)",
            "5:38 error: `dead-letter` is not a value of `404` (did you mean `dead_letter`? the values are `delivered`, `retry`, `hold`, \
             `hold_tenant`, `hold_exporter`, `split`, `dead_letter` and `drop`)",
        ]
    );
    assert_eq!(
        said_of("endpoint: https://a\nstatuses: { 5xx: hold, 500-599: retry, 404: hold, 404-404: retry }"),
        [
            "5:28 error: `500-599` overlaps `500-599`, which is as wide, so that neither counts first (name each status once; a \
             single status counts before a range, and a narrow range before a wide one)",
            "5:55 error: `404-404` overlaps `404`, which is as wide, so that neither counts first (name each status once; a single \
             status counts before a range, and a narrow range before a wide one)",
        ]
    );
    assert!(said_of("endpoint: https://a\nstatuses: [404]")[0].contains("must be a map"));
    assert!(said(&with_exporter("file", "statuses: { 404: retry }"))[0].contains("unknown key `statuses`"));
}

#[test]
fn a_success_of_grpc_and_one_of_http_without_it_can_not_be_changed() {
    let said_of = |statuses: &str| {
        said(&with_exporter("otlp_grpc", &format!("endpoint: a:4317\nstatuses: {{ {statuses} }}")))
    };
    for key in ["OK: retry", "OK: delivered", "200: delivered", "2xx: retry"] {
        let said = said_of(key);
        assert!(said[0].starts_with("5:17 error: a success such as") && said.len() == 1, "{said:?}");
    }
    for (key, near) in [("NOTFOUND", "NOT_FOUND"), ("unavailable", "UNAVAILABLE")] {
        assert_eq!(
            said_of(&format!("{key}: retry")),
            [format!("5:17 error: `{key}` is not a status (did you mean `{near}`?)")]
        );
    }
    assert!(said_of("5: retry")[0].contains("write a failure of gRPC such as `NOT_FOUND`"));
}

#[test]
fn connections_are_limited_as_in_the_collector() {
    let settings =
        exporter("otlp_http", "endpoint: https://a\nmax_conns_per_host: 4\nmax_idle_conns_per_host: 2");
    assert_eq!(settings.max_in_flight, 4);
    let ExporterKind::OtlpHttp(http) = settings.kind else { panic!() };
    assert_eq!(http.max_idle_connections, 2);
    assert_eq!(otlp_http("endpoint: https://a\ndisable_keep_alives: true").max_idle_connections, 0);
}

#[test]
fn a_timeout_of_zero_is_no_limit_as_in_the_collector() {
    let http = otlp_http("endpoint: https://a\ntimeout: 0\nidle_conn_timeout: 0s\nmax_connection_age: 0");
    assert_eq!(
        (http.upstream.timeout, http.idle_timeout, http.upstream.max_connection_age),
        (Duration::ZERO, Duration::ZERO, Duration::ZERO)
    );
    good(&with_exporter("otlp_grpc", "endpoint: host:4317\ntimeout: 0"));
}

#[test]
fn tls_is_checked() {
    assert_eq!(
        said_of(
            "endpoint: https://a\ntls: { cert_file: ./no/such/file, insecure: true, insecure_skip_verify: true }"
        ),
        [
            "5:12 error: `cert_file` needs `key_file` (write `key_file`, too)",
            "5:23 error: the file `./no/such/file` is not there (it has to be there before Sluice starts; a later change \
             of it is noticed)",
            "5:49 warning: `insecure` has no effect: the URL says `https`, and the URL decides (write an `http` URL to \
             send without TLS, or `insecure_skip_verify` to accept any certificate)",
            "5:77 warning: any certificate is accepted, so anyone in between can pose as the upstream (write `ca_file` to \
             trust a certificate authority of your own)",
        ]
    );
}

#[test]
fn what_protects_is_never_left_out_with_a_warning() {
    for lines in [
        "auth: { authenticator: oauth2 }",
        "tls: { ca_pem: x }",
        "tls: { include_system_ca_certs_pool: true, ca_file: /dev/null }",
        "middlewares: [{ id: ratelimiter }]",
        "sending_queue: { storage: file_storage }",
        "sending_queue: { persistent_storage_enabled: true }",
    ] {
        assert!(
            load(&with_exporter("otlp_http", &format!("endpoint: https://a\n{lines}"))).is_err(),
            "{lines}"
        );
    }
}

#[test]
fn a_queue_on_disk_needs_a_journal() {
    let with_storage = with_exporter("debug", "sending_queue: { storage: file_storage }");
    assert_eq!(
        said(&with_storage),
        [
            "4:22 error: `storage` is not available: the queue would be lost with the process (write `journal: { directory: \
             ./journal }` at the top level, which keeps the queues of all exporters on disk)"
        ]
    );
    assert_eq!(
        said(&format!("{with_storage}journal: {{ directory: ./journal }}\n")),
        ["4:22 warning: `storage` has no effect: the queues of all exporters are kept in `journal`"]
    );
    good(&format!("{with_storage}journal:\n"));
}

#[test]
fn the_block_that_the_error_of_a_queue_on_disk_gives_is_all_that_is_missing() {
    let storage = |name: &str| with_exporter("debug", &format!("sending_queue: {{ storage: {name} }}"));
    for (name, extensions, directory) in [
        ("file_storage", "", "./journal"),
        ("file_storage/a", "extensions: { file_storage: { directory: /var/lib/otelcol } }\n", "./journal"),
        (
            "file_storage",
            "extensions: { file_storage: { directory: /var/lib/otelcol } }\n",
            "/var/lib/otelcol/journal",
        ),
        (
            "file_storage/a",
            "extensions:\n  file_storage/a:\n    directory: ./storage/\n    fsync: true\n",
            "./storage/journal",
        ),
        ("*a", "extensions: { &a file_storage/a: { directory: /data } }\n", "/data/journal"),
        ("file_storage", "extensions: { file_storage: }\n", "./journal"),
        ("file_storage", "extensions: { file_storage: { directory: hunter2 } }\n", "./journal"),
        ("file_storage", "extensions: { file_storage: { directory: \"${env:D}\" } }\n", "./journal"),
        ("redis_storage", "extensions: { redis_storage: { directory: /data } }\n", "./journal"),
    ] {
        // An anchor stands before its alias.
        let yaml = format!("{extensions}{}", storage(name));
        let problems = load_with(&yaml, &|_| Some("/secret".into())).expect_err(name);
        let error = problems.list.iter().find(|problem| problem.message.contains("`storage`")).unwrap();
        let help = error.help.as_deref().unwrap();
        let block = help.split('`').nth(1).unwrap();
        assert_eq!(block, format!("journal: {{ directory: {directory} }}"), "{yaml}");
        let whole = format!("{yaml}{block}\n");
        let compiled =
            load_with(&whole, &|_| Some("/secret".into())).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(compiled.journal.unwrap().directory, std::path::Path::new(directory));
    }
}

#[test]
fn a_queue_that_is_turned_off_needs_no_journal() {
    let off =
        |more: &str| said(&with_exporter("debug", &format!("sending_queue: {{ enabled: false{more} }}")));
    assert_eq!(off(", storage: file_storage, blocking: true"), off(""));
}

#[test]
fn connectors_say_what_routes_can_do_of_them() {
    for connectors in [
        "{ routing: { table: [] }, forward: , spanmetrics/a: }",
        "[routing, forward, spanmetrics/a]",
        "[{ routing: { table: [] } }, [forward], spanmetrics/a]",
    ] {
        let said = said(&with(&format!("connectors: {connectors}\n")));
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].contains("the connector `routing` has no effect")
                && said[0].contains("`match` of routes"),
            "{said:?}"
        );
        assert!(said[1].contains("`continue: true`"), "{said:?}");
        assert!(
            said[2].contains("the connector `spanmetrics/a` has no effect: there is nothing like it"),
            "{said:?}"
        );
    }
}

fn otlp_grpc(lines: &str) -> OtlpGrpcSettings {
    match exporter("otlp_grpc", lines).kind {
        ExporterKind::OtlpGrpc(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_collectors_block_of_grpc_means_the_same() {
    let lines = "endpoint: otel.highlight.io:4317\ntls: { insecure: true }\ncompression: zstd\nheaders: { a: b }\n\
                 keepalive: { time: 30s }\nbalancer_name: pick_first\nwait_for_ready: true\ntimeout: 5s";
    for r#type in ["otlp", "otlp_grpc"] {
        let compiled = good(&with_exporter(r#type, lines));
        let ExporterKind::OtlpGrpc(grpc) = &compiled.exporters[0].1.kind else { panic!() };
        assert_eq!(grpc.url.as_ref().unwrap().as_text(), Some("http://otel.highlight.io:4317"));
        assert_eq!(
            (grpc.upstream.compression, grpc.upstream.timeout),
            (Compression::Zstd { level: 3 }, Duration::from_secs(5))
        );
        assert_eq!(compiled.warnings.len(), 3, "of what has no effect: {:?}", compiled.warnings);
    }
    assert_eq!(otlp_grpc("endpoint: a:4317").upstream.compression, Compression::Gzip { level: 1 });
}

#[test]
fn a_scheme_says_whether_grpc_speaks_tls_else_insecure_does() {
    let url = |lines: &str| otlp_grpc(lines).url.unwrap().as_text().unwrap().to_owned();
    assert_eq!(url("endpoint: host:4317"), "https://host:4317");
    assert_eq!(url("endpoint: host:4317\ntls: { insecure: true }"), "http://host:4317");
    assert_eq!(url("endpoint: https://host:4317\ntls: { insecure: true }"), "https://host:4317");
    assert_eq!(url("endpoint: http://host:4317"), "http://host:4317");
    assert_eq!(url("endpoint: dns:///host:4317"), "https://host:4317");
    let said = said(&with_exporter("otlp", "endpoint: https://host:4317/v1/traces"));
    assert!(said[0].contains("gRPC is sent to a host, not to a path"), "{said:?}");
}

#[test]
fn what_grpc_servers_would_not_take_is_not_configured() {
    let with = |more: &str| with_exporter("otlp_grpc", &format!("endpoint: https://a:4317\n{more}"));
    let large = with("sending_queue: { batch: { max_size: 5MiB } }");
    assert!(
        said(&large)[0].contains("warning: gRPC servers take messages of up to 4MiB"),
        "{:?}",
        said(&large)
    );
    assert_eq!(good(&large).exporters[0].1.queue.batch.max_size, 4 << 20);
    let unlimited = good(&with("sending_queue: { batch: { max_size: 0 } }"));
    assert_eq!((unlimited.exporters[0].1.queue.batch.max_size, unlimited.warnings.len()), (4 << 20, 0));
    for header in ["grpc-timeout", "content-type", "te"] {
        assert!(load(&with(&format!("headers: {{ {header}: x }}"))).is_err(), "{header}");
    }
    let plain = said(&with_exporter("otlp", "endpoint: http://a:4317\nheaders: { authorization: secret }"));
    assert!(plain[0].contains("a credential is sent over plain HTTP"), "{plain:?}");
}

#[test]
fn grpc_is_sent_to_a_host_and_a_port() {
    let said = |endpoint: &str| said(&with_exporter("otlp", &format!("endpoint: {endpoint}")));
    assert_eq!(
        said("https://otel.example.com"),
        ["4:15 error: `https://otel.example.com` can't be sent to: it has no port (write \
             `https://otel.example.com:4317`, or the port that the server listens on)"]
    );
    for endpoint in
        ["otel.example.com", "http://localhost/", "dns:///otel.example.com", "\"[::1]\"", "\"{{ key }}.a.b\""]
    {
        let said = said(endpoint);
        assert!(said.len() == 1 && said[0].contains("it has no port"), "{endpoint}: {said:?}");
    }
    for endpoint in
        ["otel.example.com:4317", "http://localhost:80/", "dns://otel.example.com:1", "\"[::1]:4317\""]
    {
        assert_eq!(said(endpoint), [""; 0], "{endpoint}");
    }
}

#[test]
fn a_content_type_that_fits_the_encoding_is_taken_and_one_that_does_not_is_an_error() {
    let with = |encoding: &str, headers: &str| {
        said_of(&format!("endpoint: https://a\nencoding: {encoding}\nheaders: {headers}"))
    };
    for (encoding, media_type) in [
        ("proto", "application/x-protobuf"),
        ("proto", "Application/X-Protobuf"),
        ("json", "application/json"),
        ("json", "application/json; charset=utf-8"),
    ] {
        assert_eq!(with(encoding, &format!("{{ Content-Type: \"{media_type}\" }}")), [""; 0]);
        assert_eq!(with(encoding, &format!("[{{ name: content-type, value: \"{media_type}\" }}]")), [""; 0]);
    }
    assert_eq!(
        with("proto", "{ Content-Type: application/json }"),
        [
            "6:30 error: this `Content-Type` is not that of `encoding: proto` (leave the header out, or write `encoding: json` if that is what it says)"
        ]
    );
    for (encoding, media_type) in
        [("json", "application/x-protobuf"), ("json", "text/plain"), ("proto", "{{ key }}"), ("proto", "")]
    {
        let said = with(encoding, &format!("{{ content-type: \"{media_type}\" }}"));
        assert!(said.len() == 1 && said[0].contains(&format!("`encoding: {encoding}`")), "{said:?}");
    }
}

#[test]
fn a_content_encoding_that_is_not_that_of_the_compression_is_an_error() {
    let with = |compression: &str, encoding: &str| {
        let lines = format!("compression: {compression}\nheaders: {{ content-encoding: {encoding} }}");
        said_of(&format!("endpoint: https://a\n{lines}"))
    };
    for (compression, encoding) in
        [("gzip", "GZIP"), ("zstd", "zstd"), ("none", "identity"), ("snappy", "snappy")]
    {
        assert_eq!(with(compression, encoding), [""; 0], "{compression} {encoding}");
    }
    for (compression, encoding) in
        [("none", "gzip"), ("gzip", "zstd"), ("x-snappy-framed", "snappy"), ("gzip", "''")]
    {
        let said = with(compression, encoding);
        assert!(
            said.len() == 1 && said[0].contains("not that of `compression`"),
            "{compression} {encoding}: {said:?}"
        );
    }
}

#[test]
fn what_asks_for_nothing_is_its_default() {
    let lines = "endpoint: https://a:1\ncompression: ''\nauth:\ncompression_params:\nheaders:\ntimeout: ''\nmiddlewares: []\n\
                 tls: { include_system_ca_certs_pool: false, ca_file: '', server_name_override: '', min_version: '', ca_pem: '', \
                 insecure: , tpm: { enabled: false }, cipher_suites: [], max_version: '' }\nsending_queue: { storage: , batch: , \
                 blocking: false, wait_for_result: false }\nretry_on_failure:\nread_buffer_size: 0";
    for r#type in ["otlp_http", "otlp_grpc"] {
        assert_eq!(good(&with_exporter(r#type, lines)).warnings, [], "{type}");
    }
    let lines = format!(
        "{lines}\nproxy_url: ''\ntraces_endpoint: ''\nencoding: ''\nmax_idle_conns: 100\nforce_attempt_http2: false\ncookies: {{ enabled: \
         false }}"
    );
    assert_eq!(good(&with_exporter("otlp_http", &lines)).warnings, []);
    let http = otlp_http(&lines);
    assert_eq!((http.upstream.compression, http.encoding), (Compression::Gzip { level: 1 }, Encoding::Proto));
    assert_eq!(http.urls[0], url("https://a:1/v1/traces"));
    assert_eq!(http.upstream.tls, otlp_http("endpoint: https://a").upstream.tls);
    // What is not the Collector's default asks for something.
    for line in [
        "auth: { authenticator: '' }",
        "tls: { include_system_ca_certs_pool: true, ca_file: /dev/null }",
        "middlewares: [{ id: x }]",
        "auth: { authenticator: , scopes: [a] }",
        "auth: { authenticator: \"${env:UNSET:-}\" }",
        "tls: { tpm: { enabled: , path: /dev/tpm0 } }",
    ] {
        assert!(
            load(&with_exporter("otlp_http", &format!("endpoint: https://a\n{line}"))).is_err(),
            "{line}"
        );
    }
    for line in ["cookies: { enabled: true }", "max_idle_conns: 101", "write_buffer_size: 4096"] {
        assert_eq!(said_of(&format!("endpoint: https://a\n{line}")).len(), 1, "{line}");
    }
}

#[test]
fn files_rotate_as_in_the_collector() {
    let ExporterKind::File(file) = exporter("file", "").kind else { panic!() };
    assert_eq!((file.max_file_size, file.max_backups), (64 << 20, 8));
    assert_eq!(file.path, std::path::Path::new("./data"));
    let ExporterKind::File(file) = exporter("file", "rotation: { max_megabytes: 1, max_backups: 0 }").kind
    else {
        panic!()
    };
    assert_eq!((file.max_file_size, file.max_backups), (1 << 20, 0));
}

#[test]
fn files_are_for_their_user_alone_unless_mode_says_otherwise() {
    let mode = |lines: &str| {
        let ExporterKind::File(file) = exporter("file", lines).kind else { panic!() };
        file.mode
    };
    assert_eq!(mode(""), 0o600);
    for written in ["'0640'", "0640", "640", "0o640", "\"0640\""] {
        let lines = format!("mode: {written}");
        assert_eq!(mode(&lines), 0o640, "{written}");
        assert_eq!(good(&with_exporter("file", &lines)).warnings, [], "{written}");
    }
    for (written, shown) in [("0400", "0400"), ("'0700'", "0700"), ("416", "416"), ("0x1A0", "0x1A0")] {
        let said = said(&with_exporter("file", &format!("mode: {written}")));
        let [problem] = said.as_slice() else { panic!("{said:?}") };
        assert!(problem.contains(&format!("error: `{shown}` is not a file mode (in `mode`)")), "{problem}");
        assert!(problem.contains("write an octal mode such as `0640`: 6 for the owner"), "{problem}");
    }
    assert!(load(&with_exporter("file", "mode: rw-r-----")).is_err());
}

#[test]
fn files_of_one_path_are_named() {
    let yaml = "receivers: { otlp: { protocols: { http: } } }
exporters:
  file/a: { path: data }
  file/b: { path: other }
  file/c:
  file/d: { path: ./data/ }
routes: [{ exporters: [file/a, file/b, file/c, file/d] }]
";
    assert_eq!(
        said(yaml),
        [
            "5:3 warning: `file/c` writes to the same files as `file/a` (write another `path`)",
            "6:19 warning: `file/d` writes to the same files as `file/a` (write another `path`)",
        ]
    );
}

#[test]
fn words_of_which_there_is_one_are_checked_like_others() {
    assert_eq!(
        said(&with_exporter("file", "format: proto")),
        ["4:13 error: this is not a value of `format` (the values are `json`)"]
    );
    assert_eq!(
        said_of("endpoint: https://a\ntls: { min_version: \"1.0\" }"),
        [
            "5:25 error: `1.0` is not a value of `min_version` (did you mean `1.2`? the values are `1.2` and `1.3`)"
        ]
    );
    assert!(!otlp_http("endpoint: https://a\ntls: { min_version: \"1.2\" }").upstream.tls.only_tls13);
    assert!(otlp_http("endpoint: https://a\ntls: { min_version: \"1.3\" }").upstream.tls.only_tls13);
}

#[test]
fn s2s_documented_block_works_unchanged() {
    let yaml = r#"receivers: { otlp: { protocols: { http: } } }
exporters:
  otlphttp/s2:
    endpoint: "https://my-basin.b.s2.dev/otlp"
    headers:
      Authorization: "Bearer ${env:S2_ACCESS_TOKEN}"
    sending_queue:
      num_consumers: 1
      batch:
        flush_timeout: 50ms
        min_size: 262144
        max_size: 524288
        sizer: bytes
routes: [{ match: { s2.stream: "*" }, key: s2.stream, exporters: [otlphttp/s2] }]
"#;
    let compiled = load_with(yaml, &|name| (name == "S2_ACCESS_TOKEN").then(|| "t0ken".to_owned())).unwrap();
    assert_eq!(compiled.warnings, []);
    let settings = &compiled.exporters[0].1;
    assert_eq!((settings.queue.batch.min_size, settings.queue.batch.max_size), (262_144, 524_288));
    let ExporterKind::OtlpHttp(http) = &settings.kind else { panic!() };
    assert_eq!(http.urls[2], url("https://my-basin.b.s2.dev/otlp/v1/logs"));
    assert_eq!(http.upstream.headers[0].1.0.as_text(), Some("Bearer t0ken"));
}

/// What is said of an exporter of this type with these lines, beside receivers for HTTP and gRPC at these endpoints.
fn said_beside(http: &str, grpc: &str, r#type: &str, lines: &str) -> Vec<String> {
    let receivers = format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: \"{http}\" }}, grpc: {{ endpoint: \"{grpc}\" }} }} }} }}"
    );
    let yaml = with_exporter(r#type, lines);
    let said = said(&yaml.replace("receivers: { otlp: { protocols: { http: } } }", &receivers));
    said.into_iter().filter(|line| line.contains("its own receiver")).collect()
}

#[test]
fn an_exporter_to_a_receiver_of_the_same_configuration_is_a_warning() {
    assert_eq!(
        said(&with_exporter("otlp_http", "endpoint: http://localhost:4318")),
        [
            "4:15 warning: `otlp_http` sends to its own receiver `otlp`: what comes in goes round without end (write the endpoint \
          of the upstream, or let the receiver listen on another port)"
        ]
    );
    let own = |listens: &str, endpoint: &str| {
        said_beside(listens, "127.0.0.1:0", "otlp_http", &format!("endpoint: http://{endpoint}")).len() == 1
    };
    assert!(own("127.0.0.1:4318", "127.0.0.1:4318"));
    assert!(own("127.0.0.1:4318", "LOCALHOST:4318/otlp"));
    assert!(own("127.0.0.1:4318", "0.0.0.0:4318"));
    assert!(own("0.0.0.0:4318", "127.0.0.1:4318"));
    assert!(own("0.0.0.0:4318", "127.0.0.7:4318"));
    assert!(own("[::]:4318", "127.0.0.1:4318"));
    assert!(own("[::1]:4318", "[::1]:4318"));
    assert!(own("192.0.2.7:4318", "192.0.2.7:4318"));
    assert!(own("127.0.0.1:80", "localhost"));

    assert!(!own("127.0.0.1:4318", "127.0.0.1:4319"));
    assert!(!own("127.0.0.1:4318", "127.0.0.2:4318"));
    assert!(!own("127.0.0.1:4318", "[::1]:4318"));
    assert!(!own("0.0.0.0:4318", "collector:4318"));
    assert!(!own("0.0.0.0:4318", "192.0.2.7:4318"));
    assert!(!own("127.0.0.1:4318", "{{ key }}:4318"));
}

#[test]
fn each_url_of_an_exporter_is_compared_with_each_receiver() {
    let of = |r#type: &str, lines: &str| said_beside("127.0.0.1:4318", "127.0.0.1:4317", r#type, lines);
    assert_eq!(of("otlp_grpc", "{ endpoint: localhost:4317, tls: { insecure: true } }").len(), 1);
    // Either port takes either protocol.
    assert_eq!(of("otlp_grpc", "endpoint: localhost:4318").len(), 1);
    assert_eq!(of("otlp_http", "endpoint: http://localhost:4317").len(), 1);
    let logs = of(
        "otlp_http",
        "{ endpoint: \"https://a.example\", logs_endpoint: \"http://localhost:4318/v1/logs\" }",
    );
    assert_eq!(logs.len(), 1);
    let signals =
        "traces_endpoint: http://localhost:4318/v1/traces\nlogs_endpoint: http://localhost:4318/v1/logs";
    assert_eq!(of("otlp_http", signals).len(), 2);
    // The proxy's own machine is meant.
    let proxied = "{ endpoint: \"http://localhost:4318\", proxy_url: \"http://proxy.example:3128\" }";
    assert_eq!(of("otlp_http", proxied), [""; 0]);
}

#[test]
fn what_is_made_smaller_than_it_is_written_comes_with_a_warning() {
    let said_of = |kind: &str, lines: &str| said(&with_exporter(kind, lines));
    assert_eq!(
        said_of(
            "otlp_http",
            "endpoint: https://a\nmax_conns_per_host: 2\nsending_queue: { max_in_flight: 8 }"
        ),
        [
            "6:37 warning: `8` in flight need as many connections, and `max_conns_per_host` allows 2 (write the same number for both)"
        ]
    );
    assert_eq!(said_of("otlp_http", "endpoint: https://a\nmax_conns_per_host: 2"), [""; 0]);
    assert_eq!(
        said_of(
            "otlp_grpc",
            "endpoint: https://a:4317\nsending_queue: { batch: { min_size: 8MiB, max_size: 0 } }"
        ),
        [
            "5:41 warning: batches are sent at 4MiB, since gRPC servers take no larger messages (write at most `min_size: 4MiB`)"
        ]
    );
}
