//! `extensions`, and `auth` that names them.

use std::sync::Arc;

use super::{good, load, said, said_with};
use crate::config::{ConfigSource, RowCheck, SecretPresence, load_with};
use crate::receive::Authenticator;

/// A configuration whose receiver has this `auth` (on line 1), and these extensions (on line 2).
fn with_auth(auth: &str, extensions: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ auth: {auth} }} }} }} }}\nextensions: {extensions}\nexporters: {{ debug: }}\nroutes: [{{ exporters: [debug] }}]\ntenants: {{ list: [] }}\n"
    )
}

fn authenticator(extension: &str, settings: &str) -> Arc<Authenticator> {
    let yaml =
        with_auth(&format!("{{ authenticator: {extension} }}"), &format!("{{ {extension}: {settings} }}"));
    let compiled = good(&yaml);
    assert_eq!(compiled.warnings, []);
    compiled.listeners[0].auth.clone().unwrap()
}

#[test]
fn a_receiver_names_the_table_of_tenants_or_an_extension_on_either_protocol() {
    let yaml = "
receivers:
  otlp/inside: { protocols: { http: , grpc: { auth: { authenticator: tenants } } } }
  otlp/outside: { protocols: { http: { endpoint: \"127.0.0.1:4319\", auth: { authenticator: bearertokenauth/outside } } } }
extensions: { bearertokenauth/outside: { token: abc } }
exporters: { debug: }
routes: [{ exporters: [debug] }]
tenants: { list: [] }
";
    let listeners = good(yaml).listeners;
    let auth: Vec<_> = listeners.iter().map(|listener| (&*listener.name, listener.auth.as_deref())).collect();
    assert!(
        matches!(
            auth[..],
            [
                ("otlp/inside", None),
                ("otlp/inside", Some(Authenticator::Tenants)),
                ("otlp/outside", Some(Authenticator::Bearer(_)))
            ]
        ),
        "{auth:?}"
    );
}

#[test]
fn an_auth_that_names_nothing_asks_for_nothing_and_an_empty_name_is_a_mistake() {
    for nothing in ["", "{}", "{ authenticator: }"] {
        assert!(good(&with_auth(nothing, "")).listeners[0].auth.is_none(), "{nothing}");
    }
    for something in [
        "{ authenticator: '' }",
        "{ authenticator: \"${env:UNSET:-}\" }",
        "tenants",
        "{ authenticatr: tenants }",
    ] {
        assert!(load(&with_auth(something, "")).is_err(), "{something}");
    }
}

#[test]
fn a_receiver_that_asks_the_table_of_tenants_needs_one() {
    let yaml = with_auth("{ authenticator: tenants }", "").replace("tenants: { list: [] }", "");
    assert_eq!(
        said(&yaml),
        [
            "1:66 error: there is no table of tenants, so nobody could send (write `tenants: { directory: ./tenants.d }` at the \
          top level, or name an extension)"
        ]
    );
}

#[test]
fn tokens_are_given_in_one_of_three_ways_and_mean_the_same_in_each() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    std::fs::write(&file, "one\n\n two \r\n").unwrap();
    let of_list = authenticator("bearertokenauth", "{ tokens: [one, two] }");
    assert_eq!(of_list, authenticator("bearertokenauth/b", &format!("{{ filename: {} }}", file.display())));
    assert_ne!(of_list, authenticator("bearertokenauth", "{ token: one }"));
    assert_ne!(of_list, authenticator("bearertokenauth", "{ tokens: [one, two], scheme: '' }"));
    assert_ne!(of_list, authenticator("bearertokenauth", "{ tokens: [one, two], header: X-Key }"));
}

#[test]
fn a_change_of_a_file_of_credentials_is_a_change_of_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let (tokens, users) = (directory.path().join("tokens"), directory.path().join("users"));
    std::fs::write(&tokens, "one\n").unwrap();
    std::fs::write(&users, "acme:one\n").unwrap();
    for (extension, settings, file) in [
        ("bearertokenauth", format!("{{ filename: {} }}", tokens.display()), &tokens),
        ("basicauth", format!("{{ htpasswd: {{ file: {} }} }}", users.display()), &users),
    ] {
        let yaml = with_auth(
            &format!("{{ authenticator: {extension} }}"),
            &format!("{{ {extension}: {settings} }}"),
        );
        let compiled = good(&yaml);
        assert!(compiled.files.contains(file));
        std::fs::write(file, std::fs::read_to_string(file).unwrap().replace("one", "two")).unwrap();
        assert_ne!(crate::config::fingerprint(&compiled.files), compiled.hash);
        assert_ne!(good(&yaml).listeners[0].auth, compiled.listeners[0].auth);
    }
}

#[test]
fn lines_in_place_win_over_those_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    std::fs::write(&file, "acme:old\nglobex:both\n").unwrap();
    let both = format!("{{ htpasswd: {{ file: {}, inline: \"acme:new\" }} }}", file.display());
    assert_eq!(
        authenticator("basicauth", &both),
        authenticator("basicauth", "{ htpasswd: { inline: \"globex:both\\nacme:new\" } }")
    );
}

#[test]
fn what_is_wrong_with_an_extension_is_said_with_what_to_write_and_without_the_secret() {
    let said_of = |authenticator: &str, extensions: &str| {
        said(&with_auth(&format!("{{ authenticator: {authenticator} }}"), extensions))
    };
    for (authenticator, extensions, expected) in [
        (
            "bearertokenauth",
            "{ bearertokenauth/a: { token: s3cret } }",
            "1:66 error: there is no extension `bearertokenauth` (did you mean `bearertokenauth/a`?)",
        ),
        (
            "oidc",
            "",
            "1:66 error: there is no extension `oidc` (write an extension of that name below `extensions:`",
        ),
        ("tenant", "", "(did you mean `tenants`?)"),
        ("bearertokenauth", "{ bearertokenauth: }", "error: `bearertokenauth` has no token"),
        (
            "bearertokenauth",
            "{ bearertokenauth: { token: '' } }",
            "a token must be visible ASCII without spaces, and not empty",
        ),
        ("bearertokenauth", "{ bearertokenauth: { token: \"Bearer s3cret\" } }", "write the token alone"),
        (
            "bearertokenauth",
            "{ bearertokenauth: { tokens: [ok, \"s3cr\u{e9}t\"] } }",
            "a token must be visible ASCII",
        ),
        (
            "bearertokenauth",
            "{ bearertokenauth: { token: s3cret, header: \"a b\" } }",
            "this is not a header's name",
        ),
        (
            "bearertokenauth",
            "{ bearertokenauth: { token: s3cret, scheme: \"a b\" } }",
            "a scheme is a single word",
        ),
        (
            "bearertokenauth",
            "{ bearertokenauth: { token: s3cret, tokens: [s3cret] } }",
            "warning: `token` has no effect: `tokens` wins over it",
        ),
        (
            "bearertokenauth",
            "{ bearertokenauth: { filename: ./no/such/file } }",
            "can't read the file `./no/such/file`",
        ),
        ("bearertokenauth", "{ bearertokenauth: { filename: /dev/null } }", "can't read the file"),
        ("basicauth", "{ basicauth: }", "`basicauth` of a receiver has no `htpasswd`"),
        (
            "basicauth",
            "{ basicauth: { client_auth: { username: a, password: s3cret } } }",
            "`basicauth` of a receiver has no `htpasswd`",
        ),
        (
            "basicauth",
            "{ basicauth: { htpasswd: { inline: s3cret } } }",
            "line 1 of `inline` can't be used: there is no colon in it",
        ),
        (
            "basicauth",
            "{ basicauth: { htpasswd: { inline: \"a:$apr1$s3cret\" } } }",
            "`htpasswd -B` hashes by bcrypt",
        ),
        (
            "basicauth",
            "{ basicauth: { htpasswd: { inline: \"# nobody\" } } }",
            "there is no user in `htpasswd`",
        ),
        (
            "oauth2client",
            "{ oauth2client: { token_url: \"https://a\" } }",
            "`oauth2client` fetches tokens for an exporter",
        ),
        (
            "tenants",
            "{ bearertokenauth/b: { token: s3cret } }",
            "2:15 warning: the extension `bearertokenauth/b` has no effect: nothing names it",
        ),
        (
            "tenants",
            "{ bearertokenaut: { token: s3cret } }",
            "`bearertokenaut` is not a known type of extension (did you mean `bearertokenauth`?)",
        ),
        (
            "tenants",
            "{ health_check: , pprof: , oidc: }",
            "the extension `health_check` has no effect: health is `health:`",
        ),
        (
            "tenants",
            "{ oauth2client: { grant_type: jwt } }",
            "tokens are fetched by the client credentials grant",
        ),
    ] {
        let said = said_of(authenticator, extensions).join("\n");
        assert!(said.contains(expected), "{authenticator} {extensions}:\n{said}");
        assert!(!said.contains("s3cret") && !said.contains("s3cr\u{e9}t"), "{said}");
    }
    // What is left out has been said once.
    assert_eq!(said_of("tenants", "{ health_check: , pprof: , oidc: }").len(), 3);
    assert_eq!(said_of("tenants", "{}"), [""; 0]);
}

#[test]
fn a_token_of_the_environment_is_a_token_and_never_shown() {
    let yaml =
        with_auth("{ authenticator: bearertokenauth }", "{ bearertokenauth: { token: \"${env:TOKEN}\" } }");
    assert_eq!(said_with(&yaml, &|_| Some("s3cret".into())), [""; 0]);
    let said = said_with(&yaml, &|_| Some("s3cret with spaces".into())).join("\n");
    assert!(said.contains("visible ASCII") && !said.contains("s3cret"), "{said}");
    let compiled = super::load_with(&yaml, &|_| Some("s3cret".into())).unwrap();
    assert!(!format!("{compiled:?}").contains("s3cret"));
}

#[test]
fn files_of_credentials_need_not_be_there_to_look_at_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sluice.yaml");
    for extension in
        ["bearertokenauth: { filename: ./no/such }", "basicauth: { htpasswd: { file: ./no/such } }"]
    {
        let name = extension.split(':').next().unwrap();
        let yaml = with_auth(&format!("{{ authenticator: {name} }}"), &format!("{{ {extension} }}"));
        std::fs::write(&file, yaml).unwrap();
        let compiled = load_with(
            &ConfigSource::File(file.clone()),
            &|_| None,
            SecretPresence::Optional,
            RowCheck::Alone,
        )
        .unwrap();
        assert_eq!(compiled.warnings.len(), 1, "{:?}", compiled.warnings);
        assert!(compiled.listeners[0].auth.is_some());
    }
}
