//! `admin`: where it listens, and who may use it.

use super::receivers::pem_files;
use super::{good, load, said, said_with, with};

/// Tokens that are long enough.
const READER: &str = "0123456789abcdef-reader";
const WRITER: &str = "0123456789abcdef-writer";

fn admin(options: &str) -> String {
    with(&format!("admin: {{ {options} }}\n"))
}

#[test]
fn admin_can_be_turned_off() {
    assert_eq!(good(&admin("enabled: false")).admin, None);
    assert_eq!(good(&admin("endpoint: '0.0.0.0:8888', enabled: false")).warnings, []);
}

#[test]
fn a_listener_that_others_can_reach_is_an_error_unless_it_asks_who_they_are_or_is_meant_to_be_open() {
    for reachable in ["0.0.0.0:8888", "[::]:8888", ":8888", "10.0.0.7:8888"] {
        let endpoint = format!("endpoint: '{reachable}'");
        let Err(problems) = load(&admin(&endpoint)) else { panic!("{reachable} is taken") };
        assert!(problems.to_string().contains("can read routing keys"), "{problems}");
        let open = good(&admin(&format!("{endpoint}, insecure: true"))).warnings;
        assert!(open.len() == 1 && open[0].message.contains("can read routing keys"), "{open:?}");
        for token in ["read_token", "write_token"] {
            let warnings = good(&admin(&format!("{endpoint}, {token}: {READER}"))).warnings;
            assert!(warnings.len() == 1 && warnings[0].message.contains("unencrypted"), "{warnings:?}");
        }
        assert!(load(&admin(&format!("{endpoint}, read_token: '', write_token_sha256: ''"))).is_err());
    }
    for inside in
        ["127.0.0.1:8888", "127.1.2.3:8888", "[::1]:8888", "[::ffff:127.0.0.1]:8888", "localhost:8888"]
    {
        assert_eq!(good(&admin(&format!("endpoint: '{inside}'"))).warnings, [], "{inside}");
    }
    assert_eq!(
        said(&admin("endpoint: '0.0.0.0:8888'")),
        [
            "4:20 error: whoever reaches 0.0.0.0:8888 from another machine can read routing keys and the configuration \
          (write `write_token: \"${file:PATH}\"` and `tls:`, or `127.0.0.1:8888` with `health:` for probes and Prometheus; or \
          `insecure: true` if that is meant)"
        ]
    );
}

#[test]
fn tls_alone_keeps_nobody_out_and_certificates_of_clients_do() {
    let directory = pem_files();
    let with_tls = |more: &str| {
        admin(&format!(
            "endpoint: '0.0.0.0:8888', tls: {{ cert_file: @/cert.pem, key_file: @/key.pem{more} }}"
        ))
        .replace('@', directory.path().to_str().unwrap())
    };
    assert!(load(&with_tls("")).is_err());
    let settings = good(&with_tls(", client_ca_file: @/cert.pem"));
    assert_eq!(settings.warnings, []);
    assert!(settings.admin.unwrap().tls.unwrap().demands_certificates());
    let with_token = with_tls("").replace("endpoint", &format!("write_token: {WRITER}, endpoint"));
    assert_eq!(good(&with_token).warnings, []);
}

#[test]
fn it_is_known_by_the_host_of_its_endpoint_and_by_those_that_are_listed() {
    let hosts = |options: &str| good(&admin(options)).admin.unwrap().hosts;
    assert_eq!(hosts("endpoint: 'localhost:8888'"), ["localhost"]);
    for address in ["127.0.0.1:8888", "[::1]:8888"] {
        assert!(hosts(&format!("endpoint: '{address}'")).is_empty());
    }
    assert_eq!(
        hosts("endpoint: 'localhost:8888', hosts: [sluice, sluice.monitoring.svc]"),
        ["localhost", "sluice", "sluice.monitoring.svc"]
    );
    for wrong in [
        "sluice.example:8888",
        "http://sluice.example",
        "'*.example'",
        "sluice.example/",
        "a b.example",
        "''",
    ] {
        let said = said(&admin(&format!("hosts: [sluice.example, {wrong}]")));
        assert!(said.len() == 1 && said[0].contains("is not a host name"), "{wrong}: {said:?}");
    }
}

#[test]
fn what_is_wrong_with_a_token_is_said_without_the_token() {
    let cases = [
        ("read_token: 'two words of a token'", "4:22 error: `read_token` can't be sent in a header"),
        ("write_token: \"line\\nbreak-of-a-token\"", "4:23 error: `write_token` can't be sent in a header"),
        ("write_token: schlüssel-of-a-token", "4:23 error: `write_token` can't be sent in a header"),
        ("write_token: short-token", "4:23 warning: `write_token` has fewer than 16 characters"),
        ("read_token_sha256: not-of-a-token", "4:29 error: `read_token_sha256` is not a SHA-256 in 64"),
        (
            "read_token: 0123456789-of-a-token, write_token: 0123456789-of-a-token",
            "4:8 error: `admin` has the same token for reading and for writing",
        ),
    ];
    for (options, expected) in cases {
        let said = said(&admin(options));
        assert!(said.len() == 1 && said[0].starts_with(expected), "{options}: {said:?}");
        assert!(!said[0].contains("of-a-token"), "{said:?}");
    }
}

#[test]
fn a_variable_that_is_not_set_and_has_an_empty_default_is_no_token() {
    let variables = |name: &str| (name == "TOKEN").then(|| WRITER.to_owned());
    let from_variable = admin("endpoint: '0.0.0.0:1', insecure: true, write_token: '${env:TOKEN}'");
    let said = said_with(&from_variable, &variables);
    assert!(said.len() == 1 && said[0].contains("unencrypted"), "{said:?}");
    let unset = from_variable.replace("TOKEN", "OTHER:-");
    assert!(said_with(&unset, &variables)[0].contains("can read routing keys"));
}

#[test]
fn an_empty_file_is_no_reason_to_ask_for_no_token() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    for key in ["write_token", "read_token_sha256"] {
        let yaml = admin(&format!("{key}: '${{file:{}}}'", file.display()));
        std::fs::write(&file, "\n").unwrap();
        assert!(load(&yaml).unwrap_err().to_string().contains(&format!("`{key}` is empty")));
        std::fs::write(&file, "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n").unwrap();
        assert_eq!(good(&yaml).warnings, []);
    }
}

#[test]
fn no_token_is_in_what_is_shown_of_the_configuration() {
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let options = format!("read_token_sha256: {hash}, write_token: {WRITER}, read_token: {READER}");
    let compiled = good(&admin(&options));
    let shown = format!("{} {compiled:?}", compiled.redacted);
    for secret in [hash, WRITER, READER] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(compiled.redacted["admin"]["write_token"], "[redacted]");
}
