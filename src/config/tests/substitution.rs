//! `${…}`.

use super::*;

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
    assert_eq!(compiled.unrouted, crate::route::Unrouted::Reject);
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
    let compiled = crate::config::load(&crate::config::Source::File(path.clone()), &|_| None).unwrap();
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
