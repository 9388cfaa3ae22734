//! `auth` of exporters, and the extensions that it names.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::{good, load, load_with, said};
use crate::client::TlsClientSettings;
use crate::config::{self, ConfigSource, RowCheck, SecretPresence};
use crate::credentials::{ExporterAuth, ExporterAuthMethod, OAuth2Settings, SecretSource};
use crate::export::ExporterKind;

/// A configuration with an exporter of this type whose `auth` names `extension`, which has these settings (on line 4).
fn with_auth(r#type: &str, extension: &str, settings: &str) -> String {
    with_options(
        r#type,
        &format!("auth: {{ authenticator: {extension} }}"),
        &format!("{extension}: {settings}"),
    )
}

/// A configuration with an exporter that has these options (on line 2), and with these extensions (on line 4).
fn with_options(r#type: &str, options: &str, extensions: &str) -> String {
    let endpoint = if r#type == "otlp_http" { "https://up.test" } else { "up.test:4317" };
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: }} }} }}\nexporters: {{ {type}: {{ endpoint: \"{endpoint}\", {options} }} }}\nroutes: [{{ exporters: [{type}] }}]\nextensions: {{ {extensions} }}\n"
    )
}

fn auth_in(yaml: &str) -> Option<ExporterAuth> {
    let compiled = good(yaml);
    assert_eq!(compiled.warnings, []);
    match &compiled.exporters[0].1.kind {
        ExporterKind::OtlpHttp(http) => http.upstream.auth.clone(),
        ExporterKind::OtlpGrpc(grpc) => grpc.upstream.auth.clone(),
        other => panic!("{other:?}"),
    }
}

/// What an extension with these settings compiles to, for exporters of either protocol.
fn method(extension: &str, settings: &str) -> ExporterAuthMethod {
    let [http, grpc] =
        ["otlp_http", "otlp_grpc"].map(|r#type| auth_in(&with_auth(r#type, extension, settings)).unwrap());
    assert_eq!(http, grpc);
    assert_eq!(&*http.authenticator, extension);
    http.method
}

fn text(secret: &SecretSource) -> &str {
    match secret {
        SecretSource::Text(text) => text.expose_secret(),
        SecretSource::File { path, .. } => panic!("{path:?}"),
    }
}

fn file(option: &'static str, path: &Path) -> SecretSource {
    SecretSource::File { option, path: path.into() }
}

#[test]
fn an_exporter_sends_the_first_token_of_a_bearertokenauth() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "in-file\n").unwrap();
    let of = |settings: &str| match method("bearertokenauth/ingest", settings) {
        ExporterAuthMethod::Bearer { header, scheme, token } => (header.to_string(), scheme, token),
        other => panic!("{other:?}"),
    };
    let (header, scheme, token) = of("{ token: one }");
    assert_eq!((&*header, &*scheme, text(&token)), ("authorization", "Bearer", "one"));
    let (header, scheme, token) = of("{ tokens: [two, three], scheme: '', header: X-Key }");
    assert_eq!((&*header, &*scheme, text(&token)), ("x-key", "", "two"));
    assert_eq!(of(&format!("{{ filename: {} }}", path.display())).2, file("filename", &path));
}

#[test]
fn an_exporter_sends_the_client_auth_of_a_basicauth() {
    let directory = tempfile::tempdir().unwrap();
    let (user, password) = (directory.path().join("user"), directory.path().join("password"));
    std::fs::write(&user, "acme\n").unwrap();
    std::fs::write(&password, "s3cret\n").unwrap();
    match method("basicauth", "{ client_auth: { username: acme, password: \"s3:cret\" } }") {
        ExporterAuthMethod::Basic { username, password } => {
            assert_eq!((text(&username), text(&password)), ("acme", "s3:cret"));
        }
        other => panic!("{other:?}"),
    }
    let files = format!("username_file: {}, password_file: {}", user.display(), password.display());
    let expected = ExporterAuthMethod::Basic {
        username: file("username_file", &user),
        password: file("password_file", &password),
    };
    assert_eq!(method("basicauth", &format!("{{ client_auth: {{ {files} }} }}")), expected);
    let both = format!("{{ client_auth: {{ {files}, password: s3cret }} }}");
    assert_eq!(
        said(&with_auth("otlp_http", "basicauth", &both)).len(),
        1,
        "`password` has no effect beside its file"
    );
}

#[test]
fn an_oauth2client_takes_what_the_collectors_does() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let url = "https://login.test/token?tenant=a";
    let ExporterAuthMethod::OAuth2(least) = method(
        "oauth2client",
        &format!("{{ client_id: sluice, client_secret: s3cret, token_url: \"{url}\" }}"),
    ) else {
        panic!("an oauth2client")
    };
    let expected = OAuth2Settings {
        client_id: SecretSource::Text("sluice".into()),
        client_secret: SecretSource::Text("s3cret".into()),
        token_url: url.into(),
        scopes: vec![],
        endpoint_params: vec![],
        timeout: Duration::from_secs(30),
        tls: TlsClientSettings::default(),
        expiry_buffer: Duration::from_secs(300),
    };
    assert_eq!(*least, expected);
    let ExporterAuthMethod::OAuth2(all) = method(
        "oauth2client/ingest",
        &format!(
            "{{ client_id: sluice, client_secret_file: {}, token_url: \"{url}\", scopes: [a, b], timeout: 2s, expiry_buffer: 10s, \
             endpoint_params: {{ audience: ingest, resource: [x, z] }}, tls: {{ server_name_override: other.test }} }}",
            secret.display()
        ),
    ) else {
        panic!("an oauth2client")
    };
    let param = |name: &str, value: &str| (name.to_owned(), value.into());
    let expected = OAuth2Settings {
        client_secret: file("client_secret_file", &secret),
        scopes: vec!["a".into(), "b".into()],
        endpoint_params: vec![param("audience", "ingest"), param("resource", "x"), param("resource", "z")],
        timeout: Duration::from_secs(2),
        tls: TlsClientSettings {
            server_name_override: Some("other.test".into()),
            ..TlsClientSettings::default()
        },
        expiry_buffer: Duration::from_secs(10),
        ..expected
    };
    assert_eq!(*all, expected);
}

#[test]
fn an_auth_that_names_nothing_asks_for_nothing() {
    for r#type in ["otlp_http", "otlp_grpc"] {
        for nothing in ["auth: ", "auth: {}", "auth: { authenticator: }"] {
            assert_eq!(auth_in(&with_options(r#type, nothing, "")), None, "{nothing}");
        }
        for something in
            ["auth: { authenticator: '' }", "auth: { authenticator: \"${env:UNSET:-}\" }", "auth: x"]
        {
            assert!(load(&with_options(r#type, something, "")).is_err(), "{something}");
        }
    }
}

const OAUTH2: &str = "client_id: sluice, client_secret: s3cret, token_url: \"https://login.test/\"";

#[test]
fn what_is_wrong_with_an_extension_of_an_exporter_is_said_with_what_to_write_and_without_the_secret() {
    let oauth2 = |more: &str| format!("{{ {OAUTH2}, {more} }}");
    for (extension, settings, expected) in [
        ("bearertokenauth", "", "`bearertokenauth` has no token"),
        ("bearertokenauth", "{ token: \"Bearer s3cret\" }", "write the token alone"),
        (
            "bearertokenauth",
            "{ filename: ./no/such/file }",
            "can't use the file `./no/such/file`: No such file or directory",
        ),
        ("bearertokenauth", "{ token: s3cret, header: Content-Length }", "it frames the request"),
        (
            "basicauth",
            "{ htpasswd: { inline: \"a:s3cret\" } }",
            "`basicauth` of an exporter has no `client_auth`",
        ),
        (
            "basicauth",
            "{ client_auth: { username: s3cret } }",
            "there is no `password` (write `password` or `password_file`)",
        ),
        (
            "basicauth",
            "{ client_auth: { username: \"s3cret:\", password: s3cret } }",
            "this `username` can't be used: a user's name can't have a colon",
        ),
        ("oauth2client", "{ client_id: a, client_secret: s3cret }", "`oauth2client` has no `token_url`"),
        (
            "oauth2client",
            "{ client_id: a, token_url: \"https://login.test/\" }",
            "there is no `client_secret`",
        ),
        (
            "oauth2client",
            "{ client_id: a, client_secret: \"${env:UNSET:-}\", token_url: \"https://login.test/\" }",
            "there is no `client_secret`",
        ),
        (
            "oauth2client",
            "{ client_id: a, client_secret: s3cret, token_url: login.test/token }",
            "`token_url` is not an `http` or `https` URL",
        ),
        (
            "oauth2client",
            "{ client_id: a, client_secret: s3cret, token_url: \"https://a:s3cret@login.test/\" }",
            "`token_url` has credentials in it",
        ),
        (
            "oauth2client",
            "{ client_id: a, client_secret: s3cret, token_url: \"http://login.test/\" }",
            "warning: the client's secret is sent over plain HTTP",
        ),
        (
            "oauth2client",
            &oauth2("endpoint_params: { client_secret: s3cret }"),
            "`client_secret` can't stand in `endpoint_params`: `client_secret` says it",
        ),
        (
            "oauth2client",
            &oauth2("scopes: [a], endpoint_params: { scope: s3cret }"),
            "`scope` can't stand in `endpoint_params`: `scopes` says it",
        ),
        (
            "oauth2client",
            &oauth2("tls: { ca_file: ./no/such/file }"),
            "the file `./no/such/file` is not there",
        ),
        (
            "oauth2client",
            &oauth2("client_certificate_key: s3cret"),
            "`client_certificate_key` is not available",
        ),
    ] {
        let said = said(&with_auth("otlp_http", extension, settings));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(expected), "{extension} {settings}:\n{said:?}");
        assert!(!said[0].contains("s3cret"), "{said:?}");
    }
    let grpc = said(&with_auth("otlp_grpc", "bearertokenauth", "{ token: s3cret, header: grpc-timeout }"));
    assert!(grpc[0].contains("its header `grpc-timeout` can't be set: it is gRPC's own"), "{grpc:?}");
}

#[test]
fn a_mistake_of_an_extension_is_said_once_however_many_exporters_name_it() {
    let yaml = "
receivers: { otlp: { protocols: { http: } } }
extensions: { basicauth: { client_auth: { username: acme } } }
exporters:
  otlp_http/a: { endpoint: \"https://a\", auth: { authenticator: basicauth } }
  otlp_http/b: { endpoint: \"https://b\", auth: { authenticator: basicauth } }
routes: [{ exporters: [otlp_http/a, otlp_http/b] }]
";
    assert_eq!(said(yaml).len(), 1, "{:?}", said(yaml));
}

#[test]
fn an_exporter_names_an_extension_that_is_there_and_tenants_is_none() {
    let there = "bearertokenauth/a: { token: s3cret }";
    for (name, expected) in [
        (
            "bearertokenauth/b",
            "there is no extension `bearertokenauth/b` (did you mean `bearertokenauth/a`?)",
        ),
        ("tenants", "there is no extension `tenants` (write an extension of that name below `extensions:`"),
    ] {
        let yaml = with_options("otlp_http", &format!("auth: {{ authenticator: {name} }}"), there);
        assert!(said(&yaml).iter().any(|line| line.contains(expected)), "{:?}", said(&yaml));
    }
}

#[test]
fn a_header_that_stands_beside_the_auth_that_makes_it_is_an_error() {
    for r#type in ["otlp_http", "otlp_grpc"] {
        for (header, extension, settings) in [
            ("Authorization", "bearertokenauth", "{ token: t }"),
            ("authorization", "oauth2client", &*format!("{{ {OAUTH2} }}")),
            ("X-Key", "bearertokenauth", "{ token: t, header: x-key }"),
        ] {
            let options = format!("auth: {{ authenticator: {extension} }}, headers: {{ {header}: s3cret }}");
            let said = said(&with_options(r#type, &options, &format!("{extension}: {settings}")));
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(
                said[0].contains("stands beside `auth`, which makes it (leave out one of the two)")
                    && !said[0].contains("s3cret"),
                "{said:?}"
            );
        }
        let options = "auth: { authenticator: bearertokenauth }, headers: { X-Other: v }";
        assert!(auth_in(&with_options(r#type, options, "bearertokenauth: { token: t }")).is_some());
    }
}

#[test]
fn a_credential_over_plain_http_to_another_machine_is_a_warning() {
    for (endpoint, warned) in
        [("http://up.test", true), ("http://127.0.0.1:4318", false), ("https://up.test", false)]
    {
        let yaml =
            with_auth("otlp_http", "bearertokenauth", "{ token: t }").replace("https://up.test", endpoint);
        let said = said(&yaml);
        assert_eq!(
            said.iter().any(|line| line.contains("a credential is sent over plain HTTP")),
            warned,
            "{said:?}"
        );
    }
    let yaml = with_options(
        "otlp_grpc",
        "auth: { authenticator: bearertokenauth }, tls: { insecure: true }",
        "bearertokenauth: { token: t }",
    );
    assert!(said(&yaml)[0].contains("a credential is sent over plain HTTP"), "{:?}", said(&yaml));
}

#[test]
fn secrets_of_extensions_are_neither_in_what_is_compiled_nor_in_what_is_shown_of_the_file() {
    for (extension, settings) in [
        ("bearertokenauth", "{ token: s3cret }"),
        ("bearertokenauth", "{ tokens: [\"s3cret\"] }"),
        ("basicauth", "{ client_auth: { username: s3cret-user, password: s3cret } }"),
        (
            "oauth2client",
            "{ client_id: s3cret-id, client_secret: s3cret, token_url: \"https://login.test/?s3cret\", endpoint_params: { resource: s3cret, more: [s3cret] } }",
        ),
    ] {
        let compiled = good(&with_auth("otlp_http", extension, settings));
        let debug = format!("{compiled:?}");
        assert!(!debug.contains("s3cret"), "{debug}");
        let redacted = compiled.redacted.to_string();
        assert!(!redacted.contains("s3cret"), "{redacted}");
    }
    let yaml = with_auth("otlp_http", "bearertokenauth", "{ token: \"${env:TOKEN}\" }");
    let compiled = load_with(&yaml, &|_| Some("s3cret".into())).unwrap();
    assert!(!format!("{compiled:?}").contains("s3cret"));
}

#[test]
fn files_of_credentials_need_not_be_there_to_look_at_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sluice.yaml");
    for (extension, settings) in [
        ("bearertokenauth", "{ filename: ./no/such }"),
        ("basicauth", "{ client_auth: { username: a, password_file: ./no/such } }"),
        (
            "oauth2client",
            "{ client_id: a, client_secret_file: ./no/such, token_url: \"https://login.test/\" }",
        ),
    ] {
        std::fs::write(&path, with_auth("otlp_http", extension, settings)).unwrap();
        let source = ConfigSource::File(path.clone());
        let compiled =
            config::load_with(&source, &|_| None, SecretPresence::Optional, RowCheck::Alone).unwrap();
        assert_eq!(compiled.warnings.len(), 1, "{:?}", compiled.warnings);
    }
}
