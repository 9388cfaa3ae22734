//! Rows of the table of tenants, against what exporters read of them.

use std::path::Path;

use super::*;
use crate::config::{RowReader, Severity};
use crate::tenants::RowContent;

/// One exporter that reads values of rows, and others that a row may name.
const EXPORTERS: &str = r#"receivers: { otlp: { protocols: { http: } } }
exporters:
  otlp_http/eu:
    endpoint: 'https://{{ tenant.host }}:{{ tenant.port | default("443") }}/{{ tenant.dataset }}'
    headers: { Authorization: "Bearer {{ tenant.token }}" }
  otlp_grpc/us: { endpoint: "https://{{ tenant.id }}.example.com:4317", headers: { x-token: "{{ tenant.token }}" } }
  otlp_http/zones: { endpoint: "https://example.com/{{ key.zone }}" }
  otlp_http/basic: { endpoint: "https://example.com", headers: { Authorization: "Basic {{ tenant.basic }}" } }
  otlp_http/traces: { traces_endpoint: "https://example.com/v1/traces" }
  debug:
"#;

/// All that a row needs.
const WHOLE: &str = "id: acme\nvalues: { host: eu.example.com, dataset: a, token: [s3cret-1, s3cret-2] }\n";

/// What is said of a row, a line each: where, what, and what to write.
fn said_of_row(routes: &str, row: &str, secrets: SecretPresence) -> Vec<String> {
    let compiled = good(&format!("{EXPORTERS}routes:\n{routes}tenants: {{ directory: ./tenants.d }}\n"));
    let reader = RowReader::new(&compiled, |_| None, secrets, RowCheck::WithExporters);
    let id = row.lines().next().and_then(|line| line.strip_prefix("id: ")).unwrap();
    let read = reader.read_text(row, Path::new("row.yaml"), &format!("{id}.yaml").into());
    assert!(matches!(read.content, RowContent::Row(_)), "{:?}", read.problems);
    let said = read.problems.iter().map(|problem| {
        assert_eq!(problem.severity, Severity::Warning);
        assert!(!problem.to_string().contains("s3cret"), "{problem}");
        let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{}:{} {}{help}", problem.line.unwrap(), problem.column.unwrap(), problem.message)
    });
    said.collect()
}

/// As [`said_of_row`], where all that tenants send goes to these exporters.
fn said_with_route_to(exporters: &str, row: &str) -> Vec<String> {
    let route = format!("  - {{ tenants: '*', key: '{{{{ tenant.id }}}}', exporters: [{exporters}] }}\n");
    said_of_row(&route, row, SecretPresence::Needed)
}

#[test]
fn each_value_that_an_exporter_reads_and_the_row_lacks_is_named_unless_it_has_a_default() {
    let lacks = |exporter: &str, name: &str| {
        format!(
            "the exporter `{exporter}` can't send data of tenant `acme`: the tenant's row has no value `{name}`, which a \
             template needs (write `{name}` under `values`, or a default in the template: `{{{{ tenant.{name} | \
             default(\"…\") }}}}`)"
        )
    };
    let said = said_with_route_to("otlp_http/eu, debug", "id: acme\nvalues: { token: s3cret }\n");
    assert_eq!(said, ["host", "dataset"].map(|name| format!("2:1 {}", lacks("otlp_http/eu", name))));
    let said = said_with_route_to("otlp_grpc/us", "id: acme\n");
    assert_eq!(said, [format!("1:5 {}", lacks("otlp_grpc/us", "token"))]);
    assert!(said_with_route_to("otlp_http/eu, otlp_grpc/us, debug", WHOLE).is_empty());
    assert!(said_with_route_to("debug", "id: acme\n").is_empty());
}

#[test]
fn each_value_that_a_key_reads_and_the_row_lacks_is_named_unless_it_has_a_default() {
    let route = |key: &str| format!("  - {{ key: {key}, exporters: [debug] }}\n");
    let key =
        r#"{ zone: "{{ tenant.zone }}", rack: "{{ tenant.zone }}-{{ tenant.rack | default('none') }}" }"#;
    let row = |values: &str| format!("id: acme\nvalues: {{ {values} }}\n");
    assert_eq!(
        said_of_row(&route(key), &row("rack: r1"), SecretPresence::Needed),
        [
            "2:1 a route has no key for data of tenant `acme`: the row has no value `zone` (write `zone` under `values`, or a \
          default in the key: `{{ tenant.zone | default(\"…\") }}`)"
        ]
    );
    for (key, values) in [(key, "zone: eu"), ("'{{ tenant.id }}'", "rack: r1"), ("service.name", "rack: r1")]
    {
        assert!(said_of_row(&route(key), &row(values), SecretPresence::Needed).is_empty(), "{key}");
    }
    // What has no key there goes to a later route, whose exporters then have to fit, too.
    let both = format!("{}  - {{ exporters: [otlp_http/eu] }}\n", route("'{{ tenant.zone }}'"));
    let says_of_later = |values: &str| {
        let said = said_of_row(&both, &row(values), SecretPresence::Needed);
        said.iter().any(|line| line.contains("`otlp_http/eu` can't send"))
    };
    assert_eq!(["rack: r1", "zone: eu"].map(says_of_later), [true, false]);
}

#[test]
fn each_value_that_a_processor_of_a_route_reads_and_the_row_lacks_is_named_unless_it_has_a_default() {
    let said = |route: &str, values: &str| {
        let processors = "processors:\n  resource/zone: { attributes: [{ key: zone, action: upsert, value: '{{ key.id }} {{ \
                          tenant.zone }} {{ tenant.rack | default(key) }}' }] }\n";
        let routes = format!(
            "  - {{ match: {{ env: prod }}, processors: [resource/zone], {route}, exporters: [debug] }}\n\
             \x20 - {{ key: {{ id: '{{{{ tenant.id }}}}' }}, exporters: [debug] }}\n{processors}"
        );
        said_of_row(&routes, &format!("id: acme\nvalues: {{ {values} }}\n"), SecretPresence::Needed)
    };
    let route = "key: { id: '{{ tenant.id }}' }";
    assert_eq!(
        said(route, "host: a"),
        [
            "2:1 a route may reject data of tenant `acme`: its processor `resource/zone` reads `zone`, which the row does not have \
             (write `zone` under `values`, or a default in the processor: `{{ tenant.zone | default(\"…\") }}`)"
        ]
    );
    assert!(said(route, "zone: eu").is_empty());
    assert!(said(&format!("{route}, tenants: other"), "host: a").is_empty(), "a route of another tenant");
    let no_key = said("key: { id: '{{ tenant.host }}' }", "rack: a");
    assert!(no_key.len() == 1 && no_key[0].contains("a route has no key"), "{no_key:?}");
}

#[test]
fn a_credential_of_a_row_that_its_header_has_no_place_for_is_named_and_not_shown() {
    let said = |token: &str| {
        said_with_route_to(
            "otlp_http/eu",
            &format!("id: acme\nvalues: {{ host: a, dataset: a, token: {token} }}\n"),
        )
    };
    let refused = |column: usize| {
        format!(
            "2:{column} the upstream of the exporter `otlp_http/eu` is likely to refuse the value `token` of tenant `acme`: the header \
             that it goes into has a scheme before it already"
        )
    };
    assert_eq!(said("'Bearer s3cret'"), [refused(39)]);
    assert_eq!(said("[s3cret, 'Bearer s3cret-2']"), [refused(48)], "the second of two");
    assert!(said("s3cret").is_empty());
    let route = "  - { tenants: '*', key: '{{ tenant.id }}', exporters: [otlp_http/basic] }\n";
    let of_basic = |basic: &str| {
        said_of_row(route, &format!("id: acme\nvalues: {{ basic: {basic} }}\n"), SecretPresence::Optional)
    };
    assert_eq!(
        of_basic("glc_s3cret"),
        [
            "2:18 the upstream of the exporter `otlp_http/basic` is likely to refuse the value `basic` of tenant `acme`: it goes \
             behind `Basic`, and is no Base64 of `USER:PASSWORD`"
        ]
    );
    assert!(of_basic("MTIzNDpnbGNfeA==").is_empty());
    assert!(
        of_basic("\"${env:BASIC}\"").iter().all(|line| !line.contains("refuse")),
        "a placeholder stands there"
    );
}

#[test]
fn a_value_that_can_not_be_put_where_it_is_read_is_named_and_not_shown() {
    let row = |values: &str| format!("id: acme\nvalues: {{ {values} }}\n");
    for (values, expected) in [
        (
            "dataset: a, token: s3cret, host: 's3cret host'",
            "2:44 the exporter `otlp_http/eu` can't send data of tenant `acme`: the value of `tenant.host` can't be put into a \
             URL's host: only letters, digits, `-` and `.` make a host name",
        ),
        (
            "host: a, dataset: a, token: [s3cret, \"s3cret\\n2\"]",
            "2:48 the exporter `otlp_http/eu` can't send data of tenant `acme`: the value of `tenant.token` can't be put into a \
             header: only printable ASCII can be sent in a header",
        ),
        (
            "host: s3cret.example.com, port: 99999, dataset: a, token: s3cret",
            "2:1 the exporter `otlp_http/eu` can't send data of tenant `acme`: what its template makes of the row's values is a URL \
             with a port that is not a number from 1 to 65535",
        ),
        (
            "host: a, dataset: .., token: s3cret",
            "2:29 the exporter `otlp_http/eu` can't send data of tenant `acme`: the value of `tenant.dataset` can't be put into \
             a URL path: `.` and `..` would name another path",
        ),
    ] {
        assert_eq!(said_with_route_to("otlp_http/eu", &row(values)), [expected]);
    }
    let said = said_with_route_to("otlp_grpc/us", "id: ac_me\nvalues: { token: s3cret }\n");
    assert!(matches!(&*said, [only] if only.starts_with("1:5 ") && only.contains("`tenant.id`")), "{said:?}");
}

#[test]
fn exporters_that_a_row_names_itself_have_to_fit_the_keys_and_the_signals_of_its_routes() {
    let said =
        said_with_route_to("debug", "id: acme\nexporters: [otlp_http/zones, otlp_http/traces, debug]\n");
    assert_eq!(
        said,
        [
            "2:13 the exporter `otlp_http/zones` can't send data of tenant `acme`: the routing key has no part `zone`, which a \
             template needs (name exporters that read what the keys of this tenant's routes have)",
            "2:30 the exporter `otlp_http/traces` can't send data of tenant `acme`: the exporter has no `endpoint` and no \
             `metrics_endpoint` (name exporters that take metrics, as this tenant's routes do)",
            "2:30 the exporter `otlp_http/traces` can't send data of tenant `acme`: the exporter has no `endpoint` and no \
             `logs_endpoint` (name exporters that take logs, as this tenant's routes do)",
        ]
    );
    let fitting = "  - { tenants: '*', signals: [traces], key: { zone: zone }, exporters: [debug] }\n";
    let row = "id: acme\nexporters: [otlp_http/zones, otlp_http/traces]\n";
    assert!(said_of_row(fitting, row, SecretPresence::Needed).is_empty());
    // What its routes would send to does not matter then.
    assert!(said_with_route_to("otlp_http/eu", "id: acme\nexporters: [debug]\n").is_empty());
}

#[test]
fn only_exporters_that_something_of_the_tenant_can_get_to_are_looked_at() {
    let to_eu = "  - { tenants: '*', exporters: [otlp_http/eu] }\n";
    let said = |first: &str, id: &str| {
        let routes = format!("  - {{ {first}, exporters: [debug] }}\n{to_eu}");
        said_of_row(&routes, &format!("id: {id}\n"), SecretPresence::Needed).len()
    };
    for leaves_nothing in
        ["tenants: acme", "tenants: [other, 'ac*']", "tenants: acme, key: '{{ tenant.id }}'"]
    {
        assert_eq!(
            (said(leaves_nothing, "acme"), said(leaves_nothing, "globex")),
            (0, 3),
            "{leaves_nothing}"
        );
    }
    for leaves_some in [
        "tenants: acme, continue: true",
        "tenants: acme, signals: [logs]",
        "tenants: acme, receivers: [otlp]",
        "tenants: acme, key: service.name",
        "tenants: acme, match: { a: b }",
    ] {
        assert_eq!(said(leaves_some, "acme"), 3, "{leaves_some}");
    }
    // Those of a route for the entries of all.
    let routes = "  - { exporters: [debug, otlp_grpc/us] }\n";
    assert_eq!(said_of_row(routes, "id: acme\n", SecretPresence::Needed).len(), 1);
}

#[test]
fn a_placeholder_is_not_taken_for_what_is_wrong() {
    let row =
        "id: acme\nvalues: { host: '${env:HOST}', port: '${env:PORT}', token: ['${file:./no/such}'] }\n";
    let route = "  - { tenants: '*', exporters: [otlp_http/eu] }\n";
    let said = said_of_row(route, row, SecretPresence::Optional);
    let (placeholders, others): (Vec<_>, Vec<_>) =
        said.iter().partition(|line| line.contains("a placeholder stands for it"));
    assert_eq!(placeholders.len(), 3, "{said:?}");
    assert!(matches!(&*others, [only] if only.contains("no value `dataset`")), "{said:?}");
}

#[test]
fn rows_in_a_file_or_in_the_configuration_are_looked_at_as_well() {
    let routes = "routes: [{ tenants: '*', exporters: [otlp_http/eu] }]\n";
    let rows = "- id: acme\n  values: { host: eu.example.com, dataset: a, token: s3cret }\n- id: globex\n  values: { host: b, dataset: b }\n";
    let told = |problems: &[crate::config::Problem]| -> Vec<String> {
        problems.iter().map(|problem| format!("{}: {}", problem.line.unwrap(), problem.message)).collect()
    };
    let expected = "the exporter `otlp_http/eu` can't send data of tenant `globex`: the tenant's row has no value `token`, which a \
                    template needs";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tenants.yaml");
    std::fs::write(&file, rows).unwrap();
    let compiled = good(&format!("{EXPORTERS}{routes}tenants: {{ file: '{}' }}\n", file.display()));
    assert_eq!(told(&compiled.warnings), [format!("4: {expected}")]);

    let indented = rows.trim_end().replace('\n', "\n    ");
    let compiled = good(&format!("{EXPORTERS}{routes}tenants:\n  list:\n    {indented}\n"));
    let line = EXPORTERS.lines().count() + 3 + 4;
    assert_eq!(told(&compiled.warnings), [format!("{line}: {expected}")]);
}
