//! The text of a row that is made or changed: it is read as what was asked for, and what was not changed stays.

use std::num::NonZeroUsize;
use std::path::Path;

use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value as Json, json};

use super::{MINIMAL, good};
use crate::config::row_text::RowText;
use crate::config::{RowCheck, RowReader, SecretPresence};
use crate::tenants::{RowContent, Tenant};

/// What is read where this text is the row `acme`.
fn read(text: &str) -> Result<Tenant, String> {
    let reader = RowReader::new(
        &good(MINIMAL),
        |name| (name == "SET").then(|| "set".to_owned()),
        SecretPresence::Needed,
        RowCheck::Alone,
    );
    match reader.read_text(text, Path::new("acme.yaml"), &"acme.yaml".into()).content {
        RowContent::Row(tenant) => Ok((*tenant).clone()),
        RowContent::Broken(broken) => Err(broken.problem),
        RowContent::Gone => Err("gone".to_owned()),
    }
}

fn texts(tenant: &Tenant, name: &str) -> Vec<String> {
    tenant.values.get(name).unwrap_or_default().iter().map(|text| text.expose_secret().to_owned()).collect()
}

fn parse(text: &str) -> RowText {
    RowText::parse(text).expect("it is a map")
}

const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[test]
fn a_row_is_written_in_the_order_in_which_it_is_given() {
    let mut row = RowText::new("acme").unwrap();
    row.set("platform", &json!("node")).unwrap();
    row.add_sender("default", HASH).unwrap();
    row.set("values", &json!({ "host": "h", "token": ["a$b", "${env:SET}"] })).unwrap();
    row.set("limits", &json!({ "rate": "10MiB/s", "streams": 5 })).unwrap();
    row.set("paused", &json!(true)).unwrap();
    let expected = format!(
        "id: \"acme\"\nplatform: \"node\"\nsenders:\n  - name: \"default\"\n    token_sha256: \"{HASH}\"\n\
         values:\n  host: \"h\"\n  token:\n    - \"a$$b\"\n    - \"$${{env:SET}}\"\n\
         limits:\n  rate: \"10MiB/s\"\n  streams: 5\npaused: true\n"
    );
    assert_eq!(row.as_str(), expected);
    let tenant = read(row.as_str()).unwrap();
    assert_eq!(texts(&tenant, "token"), ["a$b", "${env:SET}"]);
    assert!(tenant.paused && tenant.limits.streams == NonZeroUsize::new(5) && tenant.senders.len() == 1);
}

#[test]
fn what_is_not_changed_stays_as_somebody_has_written_it() {
    let text = "# Our first customer.\nid: acme\npaused: false   # since May\n\n# Asked for by mail.\nvalues:\n  \
                host: '${env:SET}'  # theirs\n  token: |\n    # no comment\n\n# The end.\n";
    let mut row = parse(text);
    row.set("paused", &json!(true)).unwrap();
    assert_eq!(row.as_str(), text.replace("paused: false ", "paused: true "));
    row.set("paused", &json!(false)).unwrap();
    assert_eq!(row.as_str(), text);
    row.set("paused", &json!(false)).unwrap();
    row.remove("hold").unwrap();
    assert_eq!(row.as_str(), text, "it was so before");
    row.remove("paused").unwrap();
    assert_eq!(row.as_str(), text.replace("paused: false   # since May\n", ""));
    row.set("hold", &json!(true)).unwrap();
    row.add_sender("web", HASH).unwrap();
    let added = format!("hold: true\nsenders:\n  - name: \"web\"\n    token_sha256: \"{HASH}\"\n");
    assert_eq!(row.as_str(), text.replace("paused: false   # since May\n", "") + &added);
    row.set("values", &json!({ "host": "other" })).unwrap();
    let (before, _) = text.split_once("values:").unwrap();
    let before = before.replace("paused: false   # since May\n", "");
    assert_eq!(row.as_str(), format!("{before}values:\n  host: \"other\"  # theirs\n\n# The end.\n{added}"));
}

/// What becomes of a row's text by a JSON merge patch.
fn patched(text: &str, patch: &Json) -> String {
    let mut row = parse(text);
    row.merge(patch.as_object().expect("a patch is a map")).unwrap();
    row.as_str().to_owned()
}

#[test]
fn a_patch_changes_what_it_names_and_everything_beside_it_stays_as_it_is_written() {
    let text = "# Our first customer.\nid: acme\nvalues:\n  # Theirs.\n  host: '${env:SET}'  # by mail\n  \
                token: [\"${file:secrets/new}\", old]   # until June\n\n  # Not used.\n  dataset: prod\n\
                # Agreed on in May.\nlimits: { rate: 10MiB/s, burst: 20MiB } # for now\nexporters: [a, b]\n";
    for (patch, changed) in [
        (json!({}), vec![]),
        (json!({ "values": {}, "limits": {} }), vec![]),
        (json!({ "values": { "dataset": "pr$od" } }), vec![("dataset: prod", "dataset: \"pr$$od\"")]),
        (json!({ "values": { "dataset": null } }), vec![("  dataset: prod\n", "")]),
        (
            json!({ "values": { "token": ["a", "b"] } }),
            vec![(
                "  token: [\"${file:secrets/new}\", old]   # until June\n",
                "  token:\n    - \"a\"\n    - \"b\"\n",
            )],
        ),
        (
            json!({ "values": { "host": "h", "port": "1", "dataset": null } }),
            vec![("'${env:SET}'", "\"h\""), ("  dataset: prod\n", "  port: \"1\"\n")],
        ),
        (json!({ "limits": { "rate": "5MiB/s" } }), vec![("10MiB/s", "\"5MiB/s\"")]),
        (
            json!({ "limits": { "burst": null, "streams": 5 } }),
            vec![(
                "limits: { rate: 10MiB/s, burst: 20MiB } # for now\n",
                "limits:\n  rate: 10MiB/s\n  streams: 5\n",
            )],
        ),
        (
            json!({ "limits": { "rate": null, "burst": null } }),
            vec![("limits: { rate: 10MiB/s, burst: 20MiB } # for now\n", "limits: {}\n")],
        ),
        (json!({ "limits": null }), vec![("limits: { rate: 10MiB/s, burst: 20MiB } # for now\n", "")]),
        (
            json!({ "exporters": ["c"], "platform": "go" }),
            vec![("exporters: [a, b]\n", "exporters:\n  - \"c\"\nplatform: \"go\"\n")],
        ),
    ] {
        let expected = changed.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        assert_eq!(patched(text, &patch), expected, "{patch}");
    }
}

#[test]
fn a_text_with_lines_like_comments_goes_as_a_whole_and_the_comments_around_it_stay() {
    let last = "  # Before.\n  token: |\n    # s3cret\n    # s3cret\n\n\n";
    let texts = [
        format!("id: acme\nvalues:\n  host: h\n{last}# The end.\nhold: true\n"),
        format!("id: acme\nvalues:\n  host: h\n{last}"),
        format!("id: acme\nvalues:\n{last}  # After.\n  host: h\n"),
        format!("values:\n{last}\n  host: h\nid: acme"),
    ];
    for text in texts {
        for (value, changed) in [(json!("new"), "  token: \"new\"\n"), (json!(null), "")] {
            let row = patched(&text, &json!({ "values": { "token": value } }));
            let cut = "  token: |\n    # s3cret\n    # s3cret\n";
            assert_eq!(row, text.replace(cut, changed));
        }
    }
}

#[test]
fn what_a_patch_takes_away_and_is_not_there_leaves_the_row_as_it_is() {
    for text in ["id: acme\n", "{ id: acme }", "id: acme # theirs\nvalues: { host: h }\nlimits: {}"] {
        for patch in [
            json!({ "platform": null }),
            json!({ "limits": { "rate": null } }),
            json!({ "values": { "token": null, "port": null }, "exporters": null }),
        ] {
            assert_eq!(patched(text, &patch), text, "{patch}");
        }
    }
    // What was there becomes a map, though nothing is in it.
    assert_eq!(
        patched("id: acme\nvalues: ~\n", &json!({ "values": { "x": null } })),
        "id: acme\nvalues: {}\n"
    );
    assert_eq!(patched("id: acme\n", &json!({ "values": {} })), "id: acme\nvalues: {}\n");
}

#[test]
fn a_patch_says_the_same_in_whatever_way_the_row_is_written() {
    for text in [
        "{ id: acme, values: { host: h, token: t, port: 1 } }",
        "id: acme\nvalues: { host: h, token: t, port: 1 }",
        "id: acme\nvalues: {\n  host: h,\n  token: t,\n  port: 1\n}\nhold: false",
        "id: acme\r\nvalues:\r\n  host: h\r\n  token: t\r\n  port: 1\r\n",
        "---\n  id: acme\n  values: &v\n      host: h\n      token: &t t\n      port: 1\n...\n",
        "id: acme\nvalues: &values { host: &host h, token: t, port: 1 }\nplatform: *host\n",
        "? id\n: acme\n? values\n: ? host\n  : h\n  ? token\n  : t\n  ? port\n  : 1\n",
        "id: acme\nvalues:\n  <<: { host: h, port: 1 }\n  token: >\n    t\n\n# The end.",
        "values:\n  token: |-\n    t\n  host: h\n  port: 1 # comment\n  # and more\nid: acme",
        "values:\n  token: t\n  host: h\n  port: |+\n    1\n\nid: acme",
    ] {
        let row = patched(text, &json!({ "values": { "port": "2", "new": ["a", "b"], "token": null } }));
        let tenant = read(&row).unwrap_or_else(|problem| panic!("{text}: {problem}\n{row}"));
        let values = ["host", "port", "new", "token"].map(|name| texts(&tenant, name));
        let expected: [Vec<String>; 4] =
            [vec!["h".into()], vec!["2".into()], vec!["a".into(), "b".into()], vec![]];
        assert_eq!(values, expected, "{text}\n{row}");
    }
}

#[test]
fn a_row_is_changed_in_whatever_way_it_is_written() {
    for text in [
        "{ id: acme, values: { host: h }, paused: false }",
        "{ id: acme, values: { host: h } } # all on one line\n",
        "id: acme\nvalues: { host: h }",
        "id: acme\r\nvalues:\r\n  host: h\r\n",
        "---\nid: acme\nvalues: &values { host: h }\n...\n",
        "values: &v\n  host: h\npaused: &off false\nhold: *off\nid: acme\n",
        "\u{feff}\"id\": acme\n? values\n: host: h\n",
        "id: acme\nvalues:\n  <<: { host: h }\nplatform: >\n  some\n  words\n",
    ] {
        let mut row = parse(text);
        row.set("paused", &json!(true)).unwrap();
        row.set("platform", &json!("go")).unwrap();
        row.add_sender("web", HASH).unwrap();
        let tenant =
            read(row.as_str()).unwrap_or_else(|problem| panic!("{text}: {problem}\n{}", row.as_str()));
        assert!(tenant.paused && !tenant.hold && tenant.platform.as_deref() == Some("go"), "{text}");
        assert_eq!((texts(&tenant, "host"), tenant.senders.len()), (vec!["h".to_owned()], 1), "{text}");
        row.remove("platform").unwrap();
        row.remove("values").unwrap();
        let tenant = read(row.as_str()).unwrap();
        assert!(tenant.platform.is_none() && tenant.values.names().count() == 0, "{text}");
    }
}

#[test]
fn what_is_no_row_is_not_changed() {
    for text in ["[a]", "text", "id: [", "id: a\nid: b", "a: 1\n---\nb: 2\n"] {
        assert!(RowText::parse(text).is_none(), "{text}");
    }
}

#[test]
fn a_key_that_yaml_has_no_way_to_write_is_an_error() {
    let mut row = RowText::new("acme").unwrap();
    assert!(row.set("values", &json!({ "<<": { "host": "h" } })).is_err());
    assert_eq!(row.as_str(), "id: \"acme\"\n");
}

#[test]
fn a_token_is_changed_and_what_else_a_sender_has_stays() {
    let text = "id: acme\nsenders:\n  - { name: web, token: \"${env:SET}\", may_send_for: [\"acme-*\"] }\n  - { name: b, basic: { username: u, password: p } }\n";
    let mut row = parse(text);
    row.change_token(0, HASH, Some(("web-old", "2099-01-01T00:00:00Z"))).unwrap();
    let tenant = read(row.as_str()).unwrap();
    let names: Vec<_> = tenant.senders.iter().map(|sender| &*sender.name).collect();
    assert_eq!(names, ["web", "web-old", "b"]);
    assert!(row.as_str().contains("${env:SET}") && row.as_str().contains(HASH), "{}", row.as_str());
    assert!(tenant.senders[0].expires.is_none() && tenant.senders[1].expires.is_some());
    assert!(tenant.senders[..2].iter().all(|sender| sender.may_send_for.is_some()));
    row.remove_senders(&[1, 2]).unwrap();
    assert_eq!(read(row.as_str()).unwrap().senders.len(), 1);
    row.change_token(0, &HASH.replace('9', "0"), None).unwrap();
    assert!(!row.as_str().contains(HASH) && !row.as_str().contains("SET"), "{}", row.as_str());
}

proptest! {
    #[test]
    fn whatever_text_is_given_is_the_text_that_is_read(
        texts_given in proptest::collection::vec(any_text(), 1..4), platform in any_text()
    ) {
        let mut row = RowText::new("acme").unwrap();
        row.set("values", &json!({ "secret": texts_given, "other": "x" })).unwrap();
        row.set("platform", &json!(platform)).unwrap();
        let tenant = read(row.as_str()).unwrap();
        prop_assert_eq!(texts(&tenant, "secret"), texts_given);
        prop_assert_eq!(texts(&tenant, "other"), ["x"]);
        // A key with an empty text is one that says nothing.
        prop_assert_eq!(tenant.platform.as_deref(), Some(&*platform).filter(|platform| !platform.is_empty()));
        prop_assert_eq!((&*tenant.id, tenant.senders.len(), tenant.paused), ("acme", 0, false));
        prop_assert_eq!(tenant.values.names().count(), 2);
    }
}

proptest! {
    #[test]
    fn a_patch_leaves_each_value_that_it_does_not_name_and_makes_the_others_what_it_says(
        before in proptest::collection::btree_map("[a-e]", any_text(), 0..5),
        patch in proptest::collection::btree_map("[a-e]", proptest::option::of(any_text()), 0..5),
    ) {
        let mut row = RowText::new("acme").unwrap();
        row.set("values", &json!(before)).unwrap();
        row.set("hold", &json!(true)).unwrap();
        let mut fields = Map::new();
        fields.insert("values".to_owned(), json!(patch));
        row.merge(&fields).unwrap();
        let tenant = read(row.as_str()).unwrap();
        let mut expected = before;
        for (name, text) in patch {
            match text {
                Some(text) => expected.insert(name, text),
                None => expected.remove(&name),
            };
        }
        prop_assert_eq!(tenant.values.names().count(), expected.len());
        for (name, text) in expected {
            prop_assert_eq!(texts(&tenant, &name), [text]);
        }
        prop_assert!(tenant.hold);
    }
}

/// Any text, and often such as has a meaning in YAML or as a substitution.
fn any_text() -> impl Strategy<Value = String> {
    let syntax = proptest::sample::select(vec![
        "\n",
        "\n- ",
        ": ",
        " #",
        "${",
        "}",
        "$$",
        "$",
        "${env:SET}",
        "${file:/etc/passwd}",
        "\"",
        "\\",
        "'",
        "{{",
        "*",
        "&a",
        "!x",
        "|",
        "null",
        "true",
        "~",
        "0",
        "\t",
        "\r\n",
        "\u{0}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{1b}",
        " ",
        "---\n",
        "senders: []",
    ]);
    let pieces = prop_oneof![3 => syntax.prop_map(str::to_owned), 1 => any::<String>(), 1 => "[a-z]{0,4}"];
    proptest::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
}
