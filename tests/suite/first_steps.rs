//! What whoever has just started is told to try, by the API as on a terminal: it sends what is taken.

use serde_json::Value;

use crate::support::process::{TAKEN, run_printed};
use crate::support::{Sluice, SluiceProcess};

/// The exporter and the receiver of each case, which differ in what follows.
fn config(receiver: &str, rest: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, {receiver} }} }} }} }}\n\
         admin: {{ endpoint: 127.0.0.1:0 }}\nexporters: {{ debug: }}\n{rest}"
    )
}

/// What a command needs to be known, as a shell has it, and the line.
async fn accepted(sluice: &Sluice, set: &str, command: &Value) -> f64 {
    let command = command.as_str().unwrap_or_else(|| panic!("there is a command"));
    let before = records(sluice).await;
    let short = command.replace("--duration 5s", "--requests 1").replacen(
        "sluice send",
        &format!("{} send", env!("CARGO_BIN_EXE_sluice")),
        1,
    );
    let said = run_printed(&format!("{set}\n{short}")).await;
    if short.starts_with("curl") {
        assert_eq!(said, TAKEN);
    }
    records(sluice).await - before
}

async fn records(sluice: &Sluice) -> f64 {
    sluice.metrics().await.sum("sluice_received_records_total", &[("outcome", "accepted")])
}

#[tokio::test]
async fn what_is_pasted_is_taken_whoever_may_send_and_whatever_routes_ask_for() {
    let route = "routes: [{ exporters: [debug] }]\n";
    let tenants = "tenants: { list: [{ id: acme, paused: true, senders: [{ name: web, token: 0123456789-of-acme }] }, \
                   { id: globex, senders: [{ name: web, token: 0123456789-of-globex }] }] }\n";
    let of_tenants = format!("routes: [{{ tenants: '*', exporters: [debug] }}]\n{tenants}");
    let cases = [
        ("", route.to_owned(), "", None),
        ("", "routes: [{ match: { project: { regex: '^[0-9a-z]{1,16}$' } }, key: project, exporters: [debug] }]\n".to_owned(), "", None),
        ("", "routes: [{ match: { project: \"o'clock\" }, key: project, exporters: [debug] }]\n".to_owned(), "", None),
        ("", "routes: [{ key: { shop: { request: X-Shop } }, exporters: [debug] }]\n".to_owned(), "", None),
        ("", of_tenants.clone(), "", None),
        (
            "auth: { authenticator: tenants }",
            of_tenants,
            "SLUICE_TOKEN=0123456789-of-globex",
            Some("`SLUICE_TOKEN` is the token of the sender `web` of globex."),
        ),
        (
            "auth: { authenticator: bearertokenauth }",
            format!("extensions: {{ bearertokenauth: {{ token: 0123456789-of-all }} }}\n{route}"),
            "SLUICE_TOKEN=0123456789-of-all",
            Some("`SLUICE_TOKEN` is a token of the receiver `otlp`."),
        ),
        (
            "auth: { authenticator: bearertokenauth }",
            format!("extensions: {{ bearertokenauth: {{ header: X-Key, scheme: '', token: 0123456789-of-all }} }}\n{route}"),
            "SLUICE_TOKEN=0123456789-of-all",
            Some("`SLUICE_TOKEN` is a token of the receiver `otlp`."),
        ),
    ];
    for (receiver, rest, set, secret) in cases {
        let sluice = Sluice::start(&config(receiver, &rest)).await;
        let steps = sluice.api("/api/v1/first-steps").await;
        assert_eq!(steps["url"], format!("http://{}", sluice.otlp), "{rest}");
        assert_eq!(steps["secret"].as_str(), secret, "{rest}");
        assert!(!steps.to_string().contains("0123456789"), "{steps}");
        assert_eq!(accepted(&sluice, set, &steps["curl"]).await, 1.0, "{rest}: {steps}");
        if steps["send"].is_string() {
            assert_eq!(accepted(&sluice, set, &steps["send"]).await, 200.0, "{rest}: {steps}");
        }
    }
}

#[tokio::test]
async fn a_terminal_is_told_the_same_and_what_has_to_be_known_for_it() {
    let rest =
        "extensions: { bearertokenauth: { token: 0123456789-of-all } }\nroutes: [{ exporters: [debug] }]\n";
    let sluice =
        SluiceProcess::start_on_terminal(&config("auth: { authenticator: bearertokenauth }", rest)).await;
    let steps = sluice.api("/api/v1/first-steps").await;
    let curl = sluice.logged("curl -sS").await;
    assert!(curl.contains("Authorization: Bearer $SLUICE_TOKEN"), "{curl}");
    assert_eq!(curl.trim(), steps["curl"].as_str().unwrap());
    sluice.logged("(`SLUICE_TOKEN` is a token of the receiver `otlp`.)").await;
}

#[tokio::test]
async fn what_could_not_be_made_up_is_no_command() {
    let routes = "routes: [{ match: { id: { regex: '^[0-9]{9}$' } }, exporters: [debug] }]\n";
    let sluice = Sluice::start(&config("", routes)).await;
    let steps = sluice.api("/api/v1/first-steps").await;
    assert_eq!(
        (&steps["curl"], &steps["send"], &steps["secret"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(steps["url"], format!("http://{}", sluice.otlp));
}
