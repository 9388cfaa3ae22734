//! `${…}`.

use super::*;
use crate::route::{KeySource, KeySpec};

fn env(name: &str) -> Option<String> {
    let value = match name {
        "NUMBER" => "7",
        "YES" => "true",
        "EMPTY" => "",
        "NAME" => "shop",
        "EVIL" => "x\"], exporters: [file/evil]\nunrouted: drop #",
        "RECURSIVE" => "${env:NAME}",
        "SECRET" => "hunter2",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The name of the one route, which is written as given.
fn substituted(written: &str) -> String {
    let yaml = with_routes(&format!("  - name: {written}\n    exporters: [debug, file]\n"));
    let mut compiled = load_with(&yaml, &env).unwrap_or_else(|problems| panic!("{problems}"));
    compiled.routes.remove(0).name
}

fn said_of(written: &str) -> Vec<String> {
    said_with(&with_routes(&format!("  - name: {written}\n    exporters: [debug, file]\n")), &env)
}

#[test]
fn variables_are_put_in() {
    assert_eq!(substituted("\"a-${env:NAME}-${NAME}\""), "a-shop-shop");
    assert_eq!(substituted("${env:NONE:-de:-fault}"), "de:-fault");
    assert_eq!(substituted("${NONE:-other}"), "other");
    assert_eq!(substituted("${env:EMPTY:-other}"), "other");
    assert_eq!(substituted("\"$${env:NAME} $1 a$\""), "${env:NAME} $1 a$");
}

#[test]
fn a_missing_variable_is_named() {
    assert_eq!(
        said_of("\"${env:NONE}\""),
        ["4:11 error: the environment variable `NONE` is not set (set it, or write `${env:NONE:-default}`)"]
    );
}

#[test]
fn what_is_no_substitution_says_what_to_write() {
    assert_eq!(
        said_of("\"${vault:x}\""),
        [
            "4:11 error: this `${…}` is not a substitution (write `${env:NAME}`, `${env:NAME:-default}` or `${file:PATH}`, \
          or `$$` for a dollar sign)"
        ]
    );
    assert_eq!(
        said_of("\"${env:NAME\""),
        ["4:11 error: `${` is never closed by `}` (write `${env:NAME}`, or `$$` for a dollar sign)"]
    );
}

#[test]
fn a_missing_variable_is_one_error_wherever_it_stands() {
    for line in [
        "endpoint: ${env:NONE}",
        "endpoint: https://${env:NONE}.example.com",
        "endpoint: https://a\nheaders: { Authorization: \"${env:NONE}\" }",
        "endpoint: https://a\nheaders: { Authorization: \"Bearer ${env:NONE}\" }",
        "endpoint: https://a\nheaders: [{ name: X, value: \"${env:NONE}\" }]",
        "endpoint: https://a\nheaders: ${env:NONE}",
        "endpoint: https://a\ntimeout: ${env:NONE}",
        "endpoint: https://a\ntimeout: ${env:NONE}s",
        "endpoint: https://a\nencoding: ${env:NONE}",
        "endpoint: https://a\nproxy_url: ${env:NONE}",
        "endpoint: https://a\ntls: { ca_file: \"${env:NONE}\", insecure_skip_verify: false }",
        "endpoint: https://a\nsending_queue: { num_consumers: \"${env:NONE}\" }",
        "endpoint: https://a\nsending_queue: \"${env:NONE}\"",
        "endpoint: https://a\nheaders: { X: \"${file:./no/such/file}\" }",
        "endpoint: https://a\nheaders: { X: \"${env:NO\" }",
    ] {
        for r#type in ["otlp_http", "otlp_grpc"] {
            if r#type == "otlp_grpc" && (line.contains("encoding") || line.contains("proxy_url")) {
                continue;
            }
            let said = said_with(&with_exporter(r#type, &line.replace("//a", "//a:1")), &env);
            assert_eq!(said.len(), 1, "{line}: {said:?}");
        }
    }
    for routes in [
        "  - exporters: [\"${env:NONE}\"]\n",
        "  - { match: { a: \"${env:NONE}\" }, exporters: [debug, file] }\n",
        "  - { key: \"${env:NONE}\", exporters: [debug, file] }\n",
        "  - { key: \"{{ ${env:NONE} }}\", exporters: [debug, file] }\n",
        "  - { signals: [\"${env:NONE}\"], exporters: [debug, file] }\n",
        "  - { max_streams: \"${env:NONE}\", exporters: [debug, file] }\n",
    ] {
        let errors = said_with(&with_routes(routes), &env);
        let errors: Vec<_> = errors.iter().filter(|line| line.contains(" error: ")).collect();
        assert_eq!(errors.len(), 1, "{routes}: {errors:?}");
    }
    for top in [
        "limits: { memory: \"${env:NONE}\" }",
        "admin: { endpoint: \"${env:NONE}\" }",
        "unrouted: ${env:NONE}",
    ] {
        assert_eq!(said_with(&with(top), &env).len(), 1, "{top}");
    }
}

#[test]
fn braces_of_a_variable_or_a_file_are_text() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "\u{feff}f{{ key }}{{\n").unwrap();
    let brought = |name: &str| match name {
        "PW" => Some("ab{{ key }}cd".to_owned()),
        "OPEN" => Some("ab{{cd".to_owned()),
        "ONE" => Some("{".to_owned()),
        _ => None,
    };
    let header = |written: &str| {
        let written = written.replace('@', path.to_str().unwrap());
        let yaml =
            with_exporter("otlp_http", &format!("endpoint: https://a\nheaders: {{ X: \"{written}\" }}"));
        let mut compiled = load_with(&yaml, &brought).unwrap_or_else(|problems| panic!("{problems}"));
        let ExporterKind::OtlpHttp(http) = compiled.exporters.remove(0).1.kind else { panic!() };
        http.upstream.headers[0].1.0.clone()
    };
    assert_eq!(header("${env:PW}").as_text(), Some("ab{{ key }}cd"));
    assert_eq!(header("${env:OPEN}").as_text(), Some("ab{{cd"));
    assert_eq!(header("${file:@}").as_text(), Some("f{{ key }}{{"));
    assert_eq!(header("${NONE:-{{x}").as_text(), Some("{{x"));
    assert_eq!(header("{${env:ONE} key }}").as_text(), Some("{{ key }}"));
    assert_eq!(header("$$${env:PW}$").as_text(), Some("$ab{{ key }}cd$"));
    // What is written in the file itself is a template, beside what is not.
    assert_eq!(header("{{ key }}${env:PW}").as_text(), None);

    let endpoint = |r#type: &str, written: &str| {
        load_with(&with_exporter(r#type, &format!("endpoint: \"{written}\"")), &brought)
    };
    let compiled =
        endpoint("otlp_http", "https://a/${env:OPEN}/").unwrap_or_else(|problems| panic!("{problems}"));
    let ExporterKind::OtlpHttp(http) = &compiled.exporters[0].1.kind else { panic!() };
    assert_eq!(http.urls[0].as_ref().unwrap().as_text(), Some("https://a/ab{{cd/v1/traces"));
    assert!(endpoint("otlp", "${env:PW}:4317").is_err(), "a host has no braces");
    assert!(endpoint("otlp", "dns:///{{ ${env:PW} }}:4317").is_err());

    let key = |written: &str| {
        let yaml = with_routes(&format!("  - {{ key: \"{written}\", exporters: [debug, file] }}\n"));
        load_with(&yaml, &brought).map(|mut compiled| compiled.routes.remove(0).key)
    };
    assert!(
        matches!(key("${env:OPEN}"), Ok(KeySpec::One(KeySource::Attributes(names))) if names == ["ab{{cd"])
    );
    assert!(key("{{ resource['${env:OPEN}'] }}").is_ok());
    assert!(key("{{ ${env:ONE} }}").is_err());
}

#[test]
fn yaml_wants_quotes_around_one_in_braces() {
    let said = said_with(&with_routes("  - { name: ${env:NAME}, exporters: [debug] }\n"), &env);
    assert!(
        said[0].ends_with("(inside of `{ }` and `[ ]`, put quotes around what has a `${…}`)"),
        "{said:?}"
    );
}

#[test]
fn a_value_can_be_a_number_or_a_boolean_where_one_is_expected_and_text_where_text_is() {
    let yaml = "limits: { streams: \"${env:NUMBER}\" }\nadmin: { enabled: \"${env:YES}\" }\n";
    let compiled = load_with(&with(yaml), &env).unwrap();
    assert_eq!(compiled.limits.streams, 7);
    assert!(compiled.admin.is_some());
    assert_eq!(substituted("${env:NUMBER}"), "7");
    assert_eq!(substituted("${env:YES}"), "true");
}

#[test]
fn an_empty_value_means_the_default() {
    let compiled = load_with(&with("limits: { streams: \"${env:EMPTY}\" }\n"), &env).unwrap();
    assert_eq!(compiled.limits.streams, 100_000);
}

#[test]
fn a_value_cannot_inject_yaml() {
    let yaml = with_routes("  - { name: \"${env:EVIL}\", exporters: [debug, file] }\n");
    let compiled = load_with(&yaml, &env).unwrap();
    assert_eq!(compiled.routes[0].name, env("EVIL").unwrap());
    assert_eq!(compiled.routes[0].exporters, [0, 1]);
    assert_eq!(compiled.unrouted, crate::route::Unrouted::Reject { whole_as_error: false });
}

#[test]
fn a_value_is_not_substituted_again() {
    assert_eq!(substituted("${env:RECURSIVE}"), "${env:NAME}");
}

#[test]
fn files_are_put_in_without_their_last_line_break_and_are_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("name");
    std::fs::write(&path, "shop\n\n").unwrap();
    let yaml =
        with_routes(&format!("  - {{ name: \"${{file:{}}}\", exporters: [debug, file] }}\n", path.display()));
    let compiled = good(&yaml);
    assert_eq!(compiled.routes[0].name, "shop\n");
    assert_eq!(compiled.files, std::slice::from_ref(&path));

    assert_eq!(crate::config::fingerprint(&compiled.files), compiled.hash);
    std::fs::write(&path, "other").unwrap();
    assert_ne!(crate::config::fingerprint(&compiled.files), compiled.hash);
}

#[test]
fn a_file_that_is_not_there_is_named_and_watched_for() {
    let yaml = with_routes("  - { name: \"${file:./no/such/file}\", exporters: [debug, file] }\n");
    let problems = load(&yaml).unwrap_err();
    assert!(problems.list[0].message.starts_with("can't read the file `./no/such/file`: "), "{problems}");
    assert_eq!(problems.files, [std::path::PathBuf::from("./no/such/file")]);
    assert_eq!(crate::config::fingerprint(&problems.files), problems.hash);
}

#[test]
fn the_configuration_file_itself_is_part_of_the_fingerprint() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sluice.yaml");
    std::fs::write(&path, MINIMAL).unwrap();
    let compiled = crate::config::load(&crate::config::ConfigSource::File(path.clone()), &|_| None).unwrap();
    assert_eq!(compiled.files, std::slice::from_ref(&path));
    assert_eq!(crate::config::fingerprint(&compiled.files), compiled.hash);
    std::fs::write(&path, with("unrouted: drop\n")).unwrap();
    assert_ne!(crate::config::fingerprint(&compiled.files), compiled.hash);
}

#[test]
fn a_wrong_value_is_quoted_as_written_not_as_substituted() {
    let yaml = with(
        "limits: { memory: \"${env:SECRET}\", streams: \"${env:SECRET}\" }\nunrouted: ${env:SECRET}\nadmin: { endpoint: \
         \"${env:SECRET}\" }\n",
    );
    let problems = load_with(&yaml, &env).unwrap_err();
    let errors = problems.list.iter().filter(|problem| problem.severity == crate::config::Severity::Error);
    assert_eq!(errors.count(), 4);
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
    assert!(problems.list[2].message.contains("`${env:SECRET}`"), "{problems}");
}

#[test]
fn a_secret_that_is_empty_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    for (content, written) in [
        ("", "Bearer ${file:@}"),
        ("\n", "${file:@}"),
        (" \n", "${file:@}"),
        ("\u{feff}", "Bearer ${file:@}"),
        ("x", "Bearer ${env:EMPTY}"),
        ("x", "${env:EMPTY}"),
    ] {
        std::fs::write(&path, content).unwrap();
        let written = written.replace('@', path.to_str().unwrap());
        for headers in
            [format!("{{ Authorization: \"{written}\" }}"), format!("[{{ name: A, value: \"{written}\" }}]")]
        {
            let yaml = with_exporter("otlp_http", &format!("endpoint: https://a\nheaders: {headers}"));
            let compiled = load_with(&yaml, &env).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(compiled.warnings.len(), 1, "{written}: {:?}", compiled.warnings);
            let said = &compiled.warnings[0].message;
            assert!(said.contains("there is nothing in the file") || said.contains("is empty"), "{said}");
        }
    }
}

#[test]
fn a_value_that_is_a_part_of_another_leaves_nothing_of_it_to_be_seen() {
    let yaml = with_routes("  - name: \"${env:SHORT} ${env:LONG}\"\n    exporters: [debug, file]\n");
    let env = |name: &str| Some(if name == "SHORT" { "hunter" } else { "hunter2-and-more" }.to_owned());
    let compiled = load_with(&yaml, &env).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(compiled.substituted.hide(&compiled.routes[0].name), "[redacted] [redacted]");
}
