//! `tenants`, and rows of the table wherever they stand.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret;

use super::*;
use crate::config::{ReadRow, RowReader, TenantRows};
use crate::tenants::{
    RowContent, SenderLookup, Table, TableRow, TableSettings, Tenant, TenantLimits, UnknownTenant,
};

/// A row with everything.
const ACME: &str = r#"id: acme
platform: node
senders:
  - { name: web, token: "${env:IN}" }
  - { name: batch, token_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, expires: 2026-12-01T00:00:00Z }
  - { name: edge, basic: { username: acme, password: s3cret-pass } }
  - { name: mesh, certificate: { uri: "spiffe://prod/acme" } }
  - { name: gateway, token: s3cret-gateway, may_send_for: ["acme", "acme-*"] }
values: { host: s1234.example.com, token: [s3cret-new, "${env:OLD}"], dataset: prod, shards: 7 }
exporters: [debug]
limits: { rate: 10MiB/s, burst: 20MiB, streams: 1000, memory: 64MiB, journal: 2GiB }
paused: true
hold: true
"#;

fn env(name: &str) -> Option<String> {
    ["IN", "OLD"].contains(&name).then(|| format!("s3cret-{name}"))
}

fn read_row(text: &str, secrets: SecretPresence) -> ReadRow {
    let reader = RowReader::new(&good(MINIMAL), env, secrets, RowCheck::Alone);
    reader.read_text(text, Path::new("tenants.d/acme.yaml"), &Arc::from("acme.yaml"))
}

/// A row that must have no error.
fn good_row(text: &str) -> Arc<Tenant> {
    let ReadRow { content, problems, .. } = read_row(text, SecretPresence::Needed);
    match content {
        RowContent::Row(tenant) => tenant,
        other => panic!("{other:?} {problems:?}"),
    }
}

/// What is said of a row, one line each: `line:column message (help)`.
fn said_of_row(text: &str) -> Vec<String> {
    let ReadRow { problems, .. } = read_row(text, SecretPresence::Needed);
    let place = |problem: &crate::config::Problem| match (problem.line, problem.column) {
        (Some(line), Some(column)) => format!("{line}:{column}"),
        _ => "-".to_owned(),
    };
    let help = |problem: &crate::config::Problem| {
        problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default()
    };
    problems
        .iter()
        .map(|problem| format!("{} {}{}", place(problem), problem.message, help(problem)))
        .collect()
}

fn said_of_sender(sender: &str) -> Vec<String> {
    said_of_row(&format!("id: acme\nsenders:\n  - {sender}\n"))
}

#[test]
fn a_row_is_read_with_all_that_it_says() {
    let tenant = good_row(ACME);
    assert_eq!(
        (&*tenant.id, &*tenant.place, tenant.platform.as_deref()),
        ("acme", "acme.yaml", Some("node"))
    );
    let senders: Vec<(&str, &str)> =
        tenant.senders.iter().map(|sender| (&*sender.name, sender.credential.kind())).collect();
    let expected = [
        ("web", "token"),
        ("batch", "token"),
        ("edge", "basic"),
        ("mesh", "certificate"),
        ("gateway", "token"),
    ];
    assert_eq!(senders, expected);
    assert_eq!(tenant.senders[1].expires, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_083_200)));
    let globs = tenant.senders[4].may_send_for.as_ref().unwrap();
    assert!(
        globs.iter().any(|glob| glob.matches("acme-7")) && !globs.iter().any(|glob| glob.matches("globex"))
    );
    let value = |name: &str| -> Vec<&str> {
        tenant.values.get(name).unwrap_or_default().iter().map(ExposeSecret::expose_secret).collect()
    };
    assert_eq!(value("host"), ["s1234.example.com"]);
    assert_eq!(value("token"), ["s3cret-new", "s3cret-OLD"]);
    assert_eq!(value("shards"), ["7"]);
    assert_eq!(value("nothing"), [""; 0]);
    assert_eq!(tenant.exporters.as_deref(), Some(&["debug".into()][..]));
    let limits = TenantLimits {
        rate: NonZeroU64::new(10 << 20),
        burst: NonZeroU64::new(20 << 20),
        streams: NonZeroUsize::new(1000),
        memory: NonZeroU64::new(64 << 20),
        journal: NonZeroU64::new(2 << 30),
    };
    assert_eq!(tenant.limits, limits);
    assert!(tenant.paused && tenant.hold);
    assert!(!format!("{tenant:?}").contains("s3cret"), "{tenant:?}");

    let table = Table::of(TableSettings::default(), &[tenant], &Table::default());
    let now = SystemTime::UNIX_EPOCH;
    let position = |found: SenderLookup<'_>| match found {
        SenderLookup::Sender { position, .. } => position,
        other => panic!("{other:?}"),
    };
    assert_eq!(position(table.by_token(b"s3cret-IN", now)), 0);
    assert_eq!(position(table.by_token(b"test", now)), 1, "what the hash is of");
    assert_eq!(position(table.by_basic(b"acme", b"s3cret-pass", now)), 2);
}

#[test]
fn a_row_needs_an_id_alone() {
    let tenant = good_row("id: acme\nplatform:\nsenders:\nvalues: {}\nlimits:\n");
    assert_eq!((tenant.senders.len(), tenant.limits), (0, TenantLimits::default()));
    for empty in ["", "# nothing\n", "platform: node\n"] {
        assert_eq!(
            said_of_row(empty),
            ["1:1 a row of the table needs an `id` (write `id: acme`)"],
            "{empty}"
        );
    }
    assert_eq!(
        said_of_row("- id: acme\n")[0].split(" (").next(),
        Some("1:1 a row of the table must be a map, not a list")
    );
}

#[test]
fn a_slip_in_a_row_is_told_as_in_the_configuration() {
    assert_eq!(
        said_of_row("id: acme\nsendres: []\n"),
        ["2:1 unknown key `sendres` in the top level; did you mean `senders`?"]
    );
    assert_eq!(
        said_of_row("id: acme\nlimits: { rate: 10MiB }\n"),
        ["2:17 `10MiB` is not a rate (in `rate`) (write bytes a second, such as `10MiB/s`)"]
    );
    assert_eq!(
        said_of_row("id: acme\nexporters: [debgu]\n"),
        ["2:13 there is no exporter `debgu` (did you mean `debug`?)"]
    );
    let problems = read_row("id: acme\nlimits: { streams: 0 }\n", SecretPresence::Needed).problems;
    assert_eq!(
        problems[0].to_string(),
        "tenants.d/acme.yaml:2:20: error: `0` is out of range for `streams`\n  |\n2 | limits: { streams: 0 }\n  |                    ^\n  \
         = help: the least is 1\n"
    );
}

#[test]
fn an_id_is_the_name_of_its_file() {
    assert_eq!(
        said_of_row("id: globex\n"),
        ["1:5 the id `globex` is not the name of the file (call the file `globex.yaml`, or write `acme`)"]
    );
    for wrong in ["\"\"", ".acme", "ac me", "acme/x", "é", &"x".repeat(129)] {
        let said = said_of_row(&format!("id: {wrong}\n"));
        assert!(said.len() == 1 && said[0].starts_with("1:"), "{wrong} {said:?}");
    }
}

#[test]
fn a_sender_has_exactly_one_credential() {
    assert_eq!(
        said_of_sender("{ name: web }"),
        ["3:5 a sender needs a credential (write `token`, `token_sha256`, `basic` or `certificate`)"]
    );
    assert_eq!(
        said_of_sender("{ name: web, token: a, basic: { username: a, password: b } }"),
        ["3:28 a sender has one credential, not `token` and `basic` (write a sender for each)"]
    );
    assert_eq!(
        said_of_sender("{ name: web, tokn: a }"),
        ["3:18 unknown key `tokn` in `senders[0]`; did you mean `token`?"]
    );
    assert_eq!(said_of_sender("{ token: a }"), ["3:5 a sender needs a `name` (write `name: web`)"]);
    assert_eq!(said_of_sender("{ name: web, token: }"), ["3:23 `token` is empty"]);
    assert_eq!(said_of_sender("{ name: web, token: \"\" }"), ["3:25 `token` is empty"]);
    for wrong in [
        "token: \"a b\"",
        "token: é",
        "token_sha256: 9f86",
        "basic: { username: \"a:b\", password: x }",
        "basic: { username: a, password: \"x\\u0001\" }",
        "basic: { username: a }",
        "basic: { username: a, password: \"\" }",
        "certificate: { uri: a, dns: b }",
        "certificate: {}",
        "token: a, expires: tomorrow",
        "token: a, may_send_for: []",
    ] {
        let said = said_of_sender(&format!("{{ name: web, {wrong} }}"));
        assert_eq!(said.len(), 1, "{wrong} {said:?}");
    }
}

#[test]
fn two_senders_of_a_row_have_two_names_and_two_credentials() {
    let said = said_of_row(
        "id: acme\nsenders:\n  - { name: a, token: test }\n  - { name: b, token_sha256: \
         9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 }\n  - { name: a, token: other }\n",
    );
    assert_eq!(
        said,
        [
            "4:30 the token of sender `b` is also that of sender `a` (it is already on line 3; no two senders have the same)",
            "5:13 duplicate sender `a` (each sender of a tenant has a name of its own)",
        ]
    );
}

#[test]
fn a_value_has_a_name_that_a_template_can_have() {
    assert_eq!(
        good_row("id: acme\nvalues: { a_1: true, b: \"\" }\n").values.names().collect::<Vec<_>>(),
        ["a_1", "b"]
    );
    for wrong in ["a-b: x", "1a: x", "id: x", "a: []", "a: { b: c }", "a:"] {
        let said = said_of_row(&format!("id: acme\nvalues: {{ {wrong} }}\n"));
        assert_eq!(said.len(), 1, "{wrong} {said:?}");
    }
}

#[test]
fn a_limit_of_nothing_says_what_to_write() {
    for wrong in ["rate: 0/s", "memory: 0", "journal: 0", "rate: 1/s, burst: 0"] {
        let said = said_of_row(&format!("id: acme\nlimits: {{ {wrong} }}\n"));
        assert!(said.len() == 1 && said[0].contains("must be above zero"), "{said:?}");
    }
    assert_eq!(
        said_of_row("id: acme\nlimits: { burst: 5 }\n"),
        ["2:18 `burst` has no effect without a `rate`"]
    );
}

#[test]
fn of_a_broken_row_it_is_known_which_senders_it_has() {
    let of = |text: &str| match read_row(text, SecretPresence::Needed).content {
        RowContent::Broken(broken) => (broken.credentials.len(), broken.complete),
        other => panic!("{other:?}"),
    };
    let sender = "id: acme\nsenders: [{ name: web, token: a }]\n";
    assert_eq!(of(&format!("{sender}exporters: [nothing]\n")), (1, true));
    assert_eq!(of(&format!("{sender}values: {{ token: \"${{file:./no/such/file}}\" }}\n")), (1, true));
    assert_eq!(of(&format!("{sender}limits: [5]\n")), (1, true));
    assert_eq!(of(&format!("{sender}platfrom: x\n")), (1, false), "`senders` may be what was meant");
    assert_eq!(
        of("id: acme\nsenders: [{ name: web, token: a }, { name: b, token: \"${env:NONE}\" }]\n"),
        (1, false)
    );
    assert_eq!(of("id: acme\nsenders: 5\n"), (0, false));
    assert_eq!(of("id: acme: x\n"), (0, false));
    assert_eq!(of("\u{0}"), (0, false));
}

#[test]
fn no_problem_of_a_row_shows_a_secret() {
    for lines in [
        "senders: [{ name: s3cret s3cret, token: s3cret }]",
        "senders: [{ token: s3cret }]",
        "senders: [{ name: a, token: \"s3cret s3cret\" }]",
        "senders: [{ name: a, token_sha256: s3cret }]",
        "senders: [{ name: a, token: { a: s3cret } }]",
        "senders: [{ name: a, tokn: s3cret }]",
        "senders: [{ name: a, s3cret }]",
        "senders: [{ name: a, basic: s3cret }]",
        "senders: [{ name: a, basic: { username: \"s3cret:\", password: \"s3cret\\u0001\" } }]",
        "senders: [{ name: a, basic: { user: s3cret, pass: s3cret } }]",
        "senders: [{ name: a, token: s3cret, basic: { username: s3cret } }]",
        "senders: [{ name: a, token: s3cret }, { name: b, token: s3cret }]",
        "senders: [{ name: a, token: \"${env:S3-s3cret}\" }]",
        "senders: s3cret",
        "senders: [s3cret]",
        "values: { a-b: s3cret }",
        "values: { token: { a: s3cret } }",
        "values: s3cret",
        "values: [s3cret]",
        "values: { token: s3cret, token: s3cret }",
        "value: { token: s3cret }",
        "values: { token: \"s3cret }",
        "values: { token: [s3cret, [s3cret]] }",
        "exporters: [\"Bearer s3cret\"]",
        "limits: { rate: s3cret }",
        "limits: { streams: s3cret, memory: s3cret }",
        "paused: s3cret",
        "platform: [s3cret]",
        "senders: [{ name: a, token: x, expires: s3cret }]",
        "\"Bearer s3cret\": x",
    ] {
        let ReadRow { content, problems, .. } =
            read_row(&format!("id: acme\n{lines}\n"), SecretPresence::Needed);
        let RowContent::Broken(broken) = content else { panic!("{lines}") };
        let shown = problems.iter().map(ToString::to_string).collect::<String>() + &broken.problem;
        assert!(!shown.contains("s3cret") && !shown.is_empty(), "{lines}\n{shown}");
    }
}

#[test]
fn a_row_that_names_files_is_broken_without_them_and_tells_which() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("acme-in");
    let text = format!("id: acme\nsenders: [{{ name: web, token: \"${{file:{}}}\" }}]\n", secret.display());
    let ReadRow { content, files, .. } = read_row(&text, SecretPresence::Needed);
    assert!(
        matches!(content, RowContent::Broken(broken) if broken.problem.contains("No such file") && !broken.complete)
    );
    assert_eq!(files.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&secret]);
    std::fs::write(&secret, "token\n").unwrap();
    assert!(matches!(read_row(&text, SecretPresence::Needed).content, RowContent::Row(_)));
}

#[test]
fn without_secrets_a_sender_whose_credential_is_not_there_is_left_out() {
    let text = "id: acme\nsenders: [{ name: web, token: \"${env:NONE}\" }, { name: b, token: \"${env:NONE}\" }, { name: c, \
                token: c }]\nvalues: { token: \"${env:NONE}\" }\n";
    let ReadRow { content, .. } = read_row(text, SecretPresence::Optional);
    assert!(matches!(content, RowContent::Row(tenant) if tenant.senders.len() == 1));
}

/// The table of a configuration whose `tenants` is this.
fn table_of(tenants: &str) -> crate::config::TenantTable {
    good(&with(&format!("tenants: {tenants}\n"))).tenants.expect("it is there")
}

#[test]
fn the_section_says_where_rows_are_and_what_holds_for_all() {
    let table = table_of("{ directory: ./tenants.d }");
    assert!(matches!(table.rows, TenantRows::Directory(path) if path == Path::new("./tenants.d")));
    let settings = TableSettings { attributes: vec!["tenant.id".into()], ..TableSettings::default() };
    assert_eq!(table.settings, settings);
    let table = table_of("{ list: [], attribute: [a, b], stamp: c, unknown: dead_letter }");
    let settings = TableSettings {
        attributes: vec!["a".into(), "b".into()],
        stamp: Some("c".into()),
        unknown: UnknownTenant::DeadLetter,
    };
    assert_eq!(table.settings, settings);
    assert!(good(MINIMAL).tenants.is_none());
}

#[test]
fn a_section_that_names_no_place_or_two_says_what_to_write() {
    let help = "`tenants` does not say where the rows of the table are (write `directory: ./tenants.d`, `file: tenants.yaml` or \
                `list: […]`)";
    assert_eq!(said(&with("tenants: { unknown: reject }\n")), [format!("4:10 error: {help}")]);
    assert_eq!(said(&with("tenants:\n")), [format!("4:8 error: {help}")]);
    assert_eq!(
        said(&with("tenants: { directory: a, list: [] }\n")),
        ["4:26 error: the rows of the table stand in one place (keep one of `directory`, `file` and `list`)"]
    );
    assert_eq!(
        said(&with("tenants: { directroy: a }\n")),
        ["4:12 error: unknown key `directroy` in `tenants`; did you mean `directory`?"]
    );
    assert_eq!(
        said(&with("tenants: { list: [], attribute: [] }\n")),
        [
            "4:33 error: `attribute` must name a resource attribute (write `attribute: tenant.id`, or leave it out)"
        ]
    );
}

#[test]
fn rows_of_a_list_that_claim_the_same_are_errors_that_name_both_lines() {
    let yaml = with(
        "tenants:\n  list:\n    - { id: acme, senders: [{ name: web, token: one }] }\n    - { id: globex, senders: [{ name: in, \
         token: one }] }\n    - { id: acme }\n",
    );
    assert_eq!(
        said(&yaml),
        [
            "7:50 error: the token of sender `in` is also that of sender `web` of tenant `acme` (it is already on line 6; no \
             two senders have the same)",
            "8:13 error: duplicate id `acme` (it is already the id of the row on line 6)",
        ]
    );
}

#[test]
fn rows_of_a_list_know_their_place() {
    let TenantRows::Listed(tenants) =
        table_of("\n  list:\n    - id: acme\n    - id: globex\n      exporters: [debug]").rows
    else {
        panic!("it is a list")
    };
    let places: Vec<&str> = tenants.iter().map(|tenant| &*tenant.place).collect();
    assert_eq!(places, ["config.yaml:6:7", "config.yaml:7:7"]);
}

#[test]
fn rows_of_a_list_may_stand_in_one_line() {
    let TenantRows::Listed(tenants) = table_of("{ list: [{ id: acme }, { id: globex }] }").rows else {
        panic!("it is a list")
    };
    let table = Table::of(TableSettings::default(), &tenants, &Table::default());
    for id in ["acme", "globex"] {
        assert!(matches!(table.tenant(id), Some(TableRow::Ready(_))), "{id}");
    }
}

#[test]
fn a_file_of_rows_is_taken_or_refused_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tenants.yaml");
    let yaml = with(&format!("tenants: {{ file: {} }}\n", file.display()));
    let missing = load(&yaml).unwrap_err();
    assert!(missing.list[0].message.starts_with("can't read it: No such file"), "{missing}");
    assert!(missing.files.contains(&file), "it is looked for again");
    std::fs::write(&file, "- id: acme\n- id: globex\n").unwrap();
    let compiled = good(&yaml);
    assert!(matches!(compiled.tenants.unwrap().rows, TenantRows::Listed(tenants) if tenants.len() == 2));
    assert!(compiled.files.contains(&file));
    std::fs::write(&file, "- id: acme\n- id: globex\n  senders: [{ name: web }]\n- id: acme\n").unwrap();
    let problems = load(&yaml).unwrap_err();
    let places: Vec<_> = problems.list.iter().map(|problem| (problem.line, problem.file.clone())).collect();
    let name = file.display().to_string();
    assert_eq!(places, [(Some(3), name.clone()), (Some(4), name)], "{problems}");
}

#[test]
fn the_redacted_configuration_shows_no_secret_of_a_listed_row() {
    let rows: String = ACME.lines().flat_map(|line| ["      ", line, "\n"]).collect();
    let yaml = with(&format!("tenants:\n  list:\n    -\n{rows}"));
    let compiled = load_with(&yaml, &env).unwrap_or_else(|problems| panic!("{problems}"));
    let redacted = compiled.redacted.to_string();
    for secret in ["s3cret", "9f86d0", "s1234"] {
        assert!(!redacted.contains(secret), "{redacted}");
    }
    assert!(redacted.contains("spiffe://prod/acme") && redacted.contains("10MiB/s"), "{redacted}");
}

#[test]
fn a_row_or_a_list_of_rows_that_is_read_as_a_configuration_is_one_error_that_says_how_rows_are_checked() {
    let row =
        "id: acme\nsenders: [{ name: web, token: s3cret }]\nvalues: { token: s3cret }\nexporters: [debug]\n";
    let told = "error: this is no configuration: it looks like a row of the table of tenants (rows are checked by `sluice \
                check --tenants FILE`, where FILE is the configuration whose `tenants` names them)";
    assert_eq!(said(row), [format!("1:1 {told}")]);
    assert_eq!(
        said("senders: [{ name: web, token: s3cret }]\n"),
        [format!("1:1 {told}")],
        "its id is forgotten"
    );
    assert_eq!(said("- { id: acme }\n- { id: globex }\n"), [format!("1:5 {told}")]);
    let shown = load_with(row, &|_| None).unwrap_err().to_string();
    assert!(!shown.contains("s3cret"), "{shown}");
    let said = said(&format!("values: 1\n{}", with_routes("  - { exporters: [debug, file] }\n")));
    assert!(said[0].contains("unknown key `values`"), "it has what a configuration has: {said:?}");
}
