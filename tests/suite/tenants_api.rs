//! The table of tenants, changed by the API and by `sluice tenants`: over real sockets, and in the files that come of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::num::{NonZeroU64, NonZeroUsize};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use rig::sink::{Fault, Sink};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sluice::otlp::Signal;
use sluice::tenants::TableRow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::http::{self, Answer};
use crate::support::letters::wait_for_letters;
use crate::support::payload::logs;
use crate::support::router::write_config;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS};
use crate::support::{Front, PATIENCE, Sluice, SluiceProcess, eventually};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const READER: &str = "0123456789abcdef-reader";
const WRITER: &str = "0123456789abcdef-writer";

/// A configuration whose receiver asks the table of tenants, which is written so.
fn config_with(up: &Sink, tenants: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, auth: {{ authenticator: tenants }} }} }} }} }}\n\
         admin: {{ endpoint: 127.0.0.1:0, read_token: {READER}, write_token: {WRITER} }}\n\
         exporters: {{ otlp_http/up: {{ endpoint: {}, compression: none }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n{tenants}",
        up.url()
    )
}

/// A running Sluice with a directory of tenants.
struct Place {
    up: Sink,
    table: tempfile::TempDir,
    sluice: Sluice,
}

impl Place {
    async fn start() -> Self {
        let (up, table) = (sinks::recording().await, tempfile::tempdir().unwrap());
        let tenants = format!("tenants: {{ directory: '{}' }}\n", table.path().display());
        let sluice = Sluice::start(&config_with(&up, &tenants)).await;
        // As the binary does: what is changed here is also noticed as if a person had done it.
        tokio::spawn(sluice::run::watch_tenants(sluice.router().clone()));
        Self { up, table, sluice }
    }

    /// Adds a tenant and returns its token.
    async fn create(&self, body: &Value) -> String {
        let answer = change(&self.sluice, "POST", "", body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        json_of(&answer)["token"].as_str().unwrap().to_owned()
    }

    /// What becomes of a request with this token.
    async fn send(&self, token: &str) -> u16 {
        let authorization = format!("Bearer {token}");
        let body = logs(&[("a", &["x"])]);
        self.sluice.post_with(Signal::Logs, body, &[("authorization", &authorization)]).await.status
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.table.path().join(name)).unwrap()
    }

    fn files(&self) -> BTreeSet<String> {
        files(self.table.path())
    }

    /// The texts of a value as the table in use has them.
    fn values(&self, id: &str, name: &str) -> Vec<String> {
        let table = self.sluice.router().tenants().table();
        let Some(TableRow::Ready(tenant)) = table.tenant(id) else { panic!("there is no tenant {id}") };
        let texts = tenant.values.get(name).unwrap_or_default();
        texts.iter().map(|text| text.expose_secret().to_owned()).collect()
    }
}

fn files(directory: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// Asks for a change with the write token; `path` is below that of the tenants.
async fn change(front: &Front, method: &str, path: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {WRITER}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::send(front.admin, method, &format!("/api/v1/tenants{path}"), &headers, body.into()).await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).expect("the API speaks JSON")
}

/// The error of an answer that has to have this status.
fn error_of(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    json_of(answer)["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_tenant_that_is_made_sends_at_once_with_the_token_of_the_answer_and_of_that_a_hash_alone_is_kept() {
    let place = Place::start().await;
    let body = json!({ "id": "acme", "platform": "node", "values": { "host": "s1.example.com", "token": ["a$b", "${env:HOME}"] } });
    let answer = change(&place.sluice, "POST", "", &body).await;
    assert_eq!((answer.status, answer.header("location")), (201, Some("/api/v1/tenants/acme")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let issued = json_of(&answer);
    let token = issued["token"].as_str().unwrap();
    assert_eq!((&issued["id"], &issued["sender"]), (&json!("acme"), &json!("default")));
    assert!(token.starts_with("slc_") && token.len() >= 4 + 43, "{token}");
    assert_eq!(place.send(token).await, 200, "the table has it when the answer comes");
    assert_eq!(place.send(&token[..token.len() - 1]).await, 401);
    place.up.records(1).await;

    let text = place.text("acme.yaml");
    assert!(text.contains("token_sha256") && !text.contains(token), "{text}");
    assert!(text.contains("a$$b") && text.contains("$${env:HOME}"), "{text}");
    let mode = fs::metadata(place.table.path().join("acme.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.values("acme", "token"), ["a$b", "${env:HOME}"], "what was sent is what is read");

    let again = change(&place.sluice, "POST", "", &body).await;
    assert!(error_of(&again, 409).contains("acme.yaml"));
    assert_eq!(place.text("acme.yaml"), text);

    assert_eq!(change(&place.sluice, "DELETE", "/acme", &Value::Null).await.status, 200);
    assert_eq!(place.send(token).await, 401);
    assert!(place.files().is_empty());
    for (method, path) in [
        ("DELETE", "/acme"),
        ("PUT", "/acme"),
        ("PATCH", "/acme"),
        ("POST", "/acme/pause"),
        ("POST", "/acme/rotate"),
    ] {
        error_of(&change(&place.sluice, method, path, &json!({})).await, 404);
    }
}

#[tokio::test]
async fn a_token_goes_on_beside_the_next_one_until_the_overlap_is_over() {
    let place = Place::start().await;
    let first = place.create(&json!({ "id": "acme" })).await;
    let rotate = async |body: Value| {
        let answer = change(&place.sluice, "POST", "/acme/rotate", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        json_of(&answer)
    };
    let issued = rotate(json!({ "overlap": "3s" })).await;
    let second = issued["token"].as_str().unwrap();
    assert_eq!((&issued["sender"], &issued["former"]["sender"]), (&json!("default"), &json!("default-old")));
    assert_eq!((place.send(&first).await, place.send(second).await), (200, 200));
    eventually("the first token ends", async || (place.send(&first).await == 401).then_some(())).await;
    assert_eq!(place.send(second).await, 200);

    // A day is what it takes unless it is said, and no body is needed for it.
    let before = SystemTime::now();
    let issued = rotate(Value::Null).await;
    let expires = issued["former"]["expires"].as_str().unwrap();
    let expires = SystemTime::from(OffsetDateTime::parse(expires, &Rfc3339).unwrap());
    let overlap = expires.duration_since(before).unwrap();
    // The rotation itself may take a while, and what is shown has milliseconds.
    assert!(overlap + Duration::from_millis(1) >= DAY && overlap < DAY + PATIENCE, "{overlap:?}");
    let third = issued["token"].as_str().unwrap();
    assert_eq!((place.send(second).await, place.send(third).await), (200, 200));
    assert_eq!(issued["former"]["sender"], "default-old-2", "a name is not given twice");
    assert!(!place.text("acme.yaml").contains("default-old\""), "what has ended is taken away");
    let issued = rotate(json!({ "sender": "default", "overlap": "0s" })).await;
    assert_eq!(issued["former"], Value::Null);
    let fourth = issued["token"].as_str().unwrap();
    assert_eq!(
        (place.send(second).await, place.send(third).await, place.send(fourth).await),
        (401, 401, 200)
    );
}

#[tokio::test]
async fn it_is_asked_which_sender_gets_another_token_and_only_tokens_are_changed() {
    let place = Place::start().await;
    let file = place.table.path().join("acme.yaml");
    let text = "id: acme\n# Theirs.\nsenders:\n  - { name: web, token: web-token }\n  - { name: batch, token: batch-token, may_send_for: ['acme-*'] }\n  - { name: edge, basic: { username: acme, password: s3cret } }\n";
    fs::write(&file, text).unwrap();
    let rotate = async |body: Value| change(&place.sluice, "POST", "/acme/rotate", &body).await;
    let error = error_of(&rotate(json!({})).await, 409);
    assert!(error.contains("`web`, `batch`") && !error.contains("edge"), "{error}");
    assert!(error_of(&rotate(json!({ "sender": "wbe" })).await, 404).contains("`web`, `batch`, `edge`"));
    assert!(error_of(&rotate(json!({ "sender": "edge" })).await, 409).contains("no token"));
    for wrong in [
        json!({ "overlap": 5 }),
        json!({ "overlap": "5" }),
        json!({ "sender": 1 }),
        json!({ "names": "web" }),
    ] {
        error_of(&rotate(wrong).await, 422);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let answer = rotate(json!({ "sender": "batch" })).await;
    let token = json_of(&answer)["token"].as_str().unwrap().to_owned();
    for token in ["web-token", "batch-token", &token] {
        assert_eq!(place.send(token).await, 200);
    }
    let table = place.sluice.router().tenants().table().clone();
    let Some(TableRow::Ready(tenant)) = table.tenant("acme") else { panic!("it is there") };
    let names: Vec<_> = tenant.senders.iter().map(|sender| &*sender.name).collect();
    assert_eq!(names, ["web", "batch", "batch-old", "edge"]);
    assert!(tenant.senders[1].may_send_for.is_some() && tenant.senders[1].expires.is_none());
    assert!(fs::read_to_string(&file).unwrap().starts_with("id: acme\n# Theirs.\nsenders:\n"));
}

#[tokio::test]
async fn a_rotation_without_an_overlap_ends_every_former_token_and_a_former_one_is_not_rotated() {
    let place = Place::start().await;
    let mut tokens = vec![place.create(&json!({ "id": "acme" })).await];
    let rotate = async |body: Value| change(&place.sluice, "POST", "/acme/rotate", &body).await;
    for _ in 0..2 {
        tokens.push(json_of(&rotate(json!({})).await)["token"].as_str().unwrap().to_owned());
    }
    for token in &tokens {
        assert_eq!(place.send(token).await, 200);
    }
    for former in ["default-old", "default-old-2"] {
        let error = error_of(&rotate(json!({ "sender": former })).await, 409);
        assert!(error.contains("former token of the sender `default`"), "{error}");
    }
    let answer = json_of(&rotate(json!({ "overlap": "0s" })).await);
    assert_eq!(place.send(answer["token"].as_str().unwrap()).await, 200);
    for token in &tokens {
        assert_eq!(place.send(token).await, 401);
    }
    let table = place.sluice.router().tenants().table().clone();
    let Some(TableRow::Ready(tenant)) = table.tenant("acme") else { panic!("it is there") };
    assert_eq!(tenant.senders.len(), 1);
}

#[tokio::test]
async fn a_tenant_is_paused_and_held_and_goes_on_and_its_file_keeps_what_people_wrote() {
    let place = Place::start().await;
    let text = "# By mail of 3 May.\nid: acme\nsenders: [{ name: web, token: web-token }] # one\npaused: false # so far\n";
    fs::write(place.table.path().join("acme.yaml"), text).unwrap();
    let switch = async |action: &str| {
        let answer = change(&place.sluice, "POST", &format!("/acme/{action}"), &Value::Null).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let state = json_of(&answer);
        (state["paused"].as_bool().unwrap(), state["hold"].as_bool().unwrap())
    };
    for _ in 0..2 {
        assert_eq!(switch("pause").await, (true, false));
        assert_eq!(place.send("web-token").await, 503);
    }
    assert_eq!(place.text("acme.yaml"), text.replace("paused: false", "paused: true"));
    assert_eq!(switch("resume").await, (false, false));
    assert_eq!(place.send("web-token").await, 200);
    assert_eq!(place.text("acme.yaml"), text);
    assert_eq!(switch("hold").await, (false, true));
    assert_eq!(place.text("acme.yaml"), format!("{text}hold: true\n"));
    assert_eq!(switch("release").await, (false, false));
    assert_eq!(place.text("acme.yaml"), format!("{text}hold: false\n"));
}

/// Waits until a tenant has so many streams that are held.
async fn wait_for_held(front: &Front, tenant: &str, streams: u64) {
    let are_held = async || {
        let page = front.api(&format!("/api/v1/streams?state=held&tenant={tenant}")).await;
        (page["total"] == streams).then_some(())
    };
    eventually(&format!("{streams} streams of {tenant} are held"), are_held).await;
}

#[tokio::test]
async fn a_release_tries_what_is_refused_of_the_tenant_and_says_how_many_streams_go_on() {
    let place = Place::start().await;
    for id in ["acme", "globex"] {
        let row = format!("id: {id}\nsenders: [{{ name: web, token: of-{id} }}]\n");
        fs::write(place.table.path().join(format!("{id}.yaml")), row).unwrap();
        change(&place.sluice, "POST", &format!("/{id}/release"), &Value::Null).await;
    }
    let release = async |id: &str| {
        json_of(&change(&place.sluice, "POST", &format!("/{id}/release"), &Value::Null).await)
    };
    place.up.set_fault(Fault::status(401));
    for id in ["acme", "globex"] {
        assert_eq!(place.send(&format!("of-{id}")).await, 200);
        wait_for_held(&place.sluice, id, 1).await;
    }
    place.up.clear_faults();
    assert_eq!(
        release("acme").await,
        json!({ "id": "acme", "paused": false, "hold": false, "released": 0, "tried": 1, "away": 0 })
    );
    place.up.records(1).await;

    change(&place.sluice, "POST", "/acme/hold", &Value::Null).await;
    assert_eq!(place.send("of-acme").await, 200);
    wait_for_held(&place.sluice, "acme", 1).await;
    assert_eq!(release("acme").await["released"], 1);
    place.up.records(2).await;
    wait_for_held(&place.sluice, "globex", 1).await;
    let said = "no operator holds tenant `globex` now; streams that are tried now: 1\n";
    assert_eq!(
        command(&place.sluice, &["release", "globex"]).await,
        (Some(0), said.to_owned(), String::new())
    );
    place.up.records(3).await;
}

#[tokio::test]
async fn a_tenant_whose_row_is_changed_by_hand_alone_is_tried_all_the_same_unless_the_row_holds_it() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(401));
    let tenants = "tenants:\n  list:\n\
                   \x20   - { id: acme, senders: [{ name: web, token: of-acme }] }\n\
                   \x20   - { id: globex, hold: true, senders: [{ name: web, token: of-globex }] }\n";
    let sluice = Sluice::start(&config_with(&up, tenants)).await;
    for id in ["acme", "globex"] {
        let authorization = format!("Bearer of-{id}");
        let headers = [("authorization", &*authorization)];
        let sent = sluice.post_with(Signal::Logs, logs(&[("a", &["x"])]), &headers).await;
        assert_eq!(sent.status, 200);
        wait_for_held(&sluice, id, 1).await;
    }
    up.clear_faults();
    assert_eq!(json_of(&change(&sluice, "POST", "/acme/release", &Value::Null).await)["tried"], 1);
    up.records(1).await;
    let refused = change(&sluice, "POST", "/globex/release", &Value::Null).await;
    assert!(error_of(&refused, 409).contains("changed by hand alone"));
    assert_eq!(change(&sluice, "POST", "/nobody/release", &Value::Null).await.status, 409);
}

#[tokio::test]
async fn a_row_is_replaced_but_for_its_senders() {
    let place = Place::start().await;
    let token = place
        .create(&json!({ "id": "acme", "platform": "node", "values": { "host": "h" }, "limits": { "streams": 5 }, "hold": true }))
        .await;
    let body = json!({ "values": { "other": "x", "list": ["a", "b"] }, "exporters": ["otlp_http/up"], "paused": false, "limits": null });
    let answer = change(&place.sluice, "PUT", "/acme", &body).await;
    assert_eq!(json_of(&answer), json!({ "id": "acme", "paused": false, "hold": false }));
    assert_eq!(
        (place.values("acme", "host"), place.values("acme", "list")),
        (vec![], vec!["a".into(), "b".into()])
    );
    let text = place.text("acme.yaml");
    assert!(!["platform", "limits", "hold"].iter().any(|field| text.contains(field)), "{text}");
    assert_eq!(place.send(&token).await, 200);
    assert!(
        error_of(&change(&place.sluice, "PUT", "/acme", &json!({ "id": "globex" })).await, 422)
            .contains("`id`")
    );
    for (method, path) in [("PUT", "/acme"), ("POST", "")] {
        let body = json!({ "id": "acme", "senders": [{ "name": "web", "token": "s3cret" }] });
        let answer = change(&place.sluice, method, path, &body).await;
        assert!(!answer.text().contains("s3cret"));
        assert!(method == "POST" || error_of(&answer, 422).contains("`senders` are not taken here"));
    }
    assert_eq!(place.text("acme.yaml"), text);
    // A broken row is repaired by replacing it.
    fs::write(place.table.path().join("acme.yaml"), text.replace("paused: false", "paused: perhaps"))
        .unwrap();
    let answer = change(&place.sluice, "POST", "/acme/hold", &Value::Null).await;
    assert!(error_of(&answer, 409).contains("repair it first"));
    assert!(answer.text().contains("`paused` must be"), "{}", answer.text());
    assert_eq!(change(&place.sluice, "PUT", "/acme", &json!({ "platform": "go" })).await.status, 200);
    assert_eq!(place.send(&token).await, 200);
}

/// A row as somebody has written it, with a secret in a file of its own.
const BY_HAND: &str = "# By mail of 3 May.\nid: acme\nplatform: node\nsenders: [{ name: web, token: web-token }] # one\n\
    values:\n  # Theirs.\n  host: h # for now\n  token: ['${file:.new}', old]\n  dataset: prod\nlimits: { rate: 10MiB/s, streams: 5 }\n\
    # The end.\n";

/// A place with the tenant `acme`, whose row is [`BY_HAND`].
async fn place_with_acme() -> Place {
    let place = Place::start().await;
    fs::write(place.table.path().join(".new"), "from a file").unwrap();
    let text = BY_HAND.replace(".new", place.table.path().join(".new").to_str().unwrap());
    fs::write(place.table.path().join("acme.yaml"), text).unwrap();
    eventually("it is read", async || (place.send("web-token").await == 200).then_some(())).await;
    place
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_keeps_the_rest_of_the_file_with_its_comments_and_secrets() {
    let place = place_with_acme().await;
    let text = place.text("acme.yaml");
    let patch = async |body: Value| {
        let answer = change(&place.sluice, "PATCH", "/acme", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        json_of(&answer)
    };
    let body =
        json!({ "id": "acme", "values": { "host": "h$2" }, "limits": { "rate": "5MiB/s" }, "hold": true });
    assert_eq!(patch(body).await, json!({ "id": "acme", "paused": false, "hold": true }));
    let changed = text.replace("host: h #", "host: \"h$$2\" #").replace("10MiB/s", "\"5MiB/s\"");
    assert_eq!(place.text("acme.yaml"), format!("{changed}hold: true\n"));
    assert_eq!(place.values("acme", "host"), ["h$2"], "the table has it when the answer comes");
    assert_eq!(place.values("acme", "token"), ["from a file", "old"]);
    assert_eq!(place.values("acme", "dataset"), ["prod"]);
    assert_eq!(place.send("web-token").await, 200);

    patch(json!({ "values": { "host": "h$2", "token": "one", "port": "${env:PATH}" }, "hold": null })).await;
    assert_eq!(
        (place.values("acme", "token"), place.values("acme", "port")),
        (vec!["one".into()], vec!["${env:PATH}".into()])
    );
    patch(json!({ "values": { "dataset": null }, "limits": { "streams": null }, "platform": null })).await;
    let table = place.sluice.router().tenants().table().clone();
    let Some(TableRow::Ready(tenant)) = table.tenant("acme") else { panic!("it is there") };
    let names: Vec<_> = tenant.values.names().collect();
    assert_eq!(
        (names, tenant.limits.rate, tenant.limits.streams),
        (vec!["host", "port", "token"], NonZeroU64::new(5 << 20), None)
    );
    assert!(tenant.platform.is_none() && !tenant.hold && tenant.senders.len() == 1);
    let text = place.text("acme.yaml");
    for comment in ["# By mail of 3 May.", "# one", "# Theirs.", "# for now", "# The end."] {
        assert!(text.contains(comment), "{comment}: {text}");
    }
}

#[tokio::test]
async fn a_patch_that_changes_nothing_leaves_the_file_as_it_is() {
    let place = place_with_acme().await;
    let text = place.text("acme.yaml");
    let file = place.table.path().join("acme.yaml");
    let written = fs::metadata(&file).unwrap().modified().unwrap();
    for body in [
        json!({}),
        json!({ "id": "acme" }),
        json!({ "values": {}, "limits": {} }),
        json!({ "exporters": null, "hold": null, "values": { "port": null }, "limits": { "memory": null } }),
        json!({ "limits": { "streams": 5 } }),
    ] {
        let answer = change(&place.sluice, "PATCH", "/acme", &body).await;
        assert_eq!(json_of(&answer), json!({ "id": "acme", "paused": false, "hold": false }), "{body}");
    }
    assert_eq!((place.text("acme.yaml"), fs::metadata(&file).unwrap().modified().unwrap()), (text, written));
}

#[tokio::test]
async fn a_patch_that_makes_the_row_unusable_is_refused_with_what_is_wrong_and_changes_nothing() {
    let place = place_with_acme().await;
    let text = place.text("acme.yaml");
    for (body, problem) in [
        (json!({ "id": "globex" }), "`id` of a tenant does not change"),
        (json!({ "id": null }), "`id` of a tenant does not change"),
        (json!({ "senders": [{ "name": "evil", "token": "s3cret" }] }), "`senders` are not taken here"),
        (json!({ "senders": null }), "`senders` are not taken here"),
        (json!({ "platform": "go", "plattform": "s3cret" }), "did you mean `platform`?"),
        (json!({ "platform": "go", "limits": { "rate": "s3cret" } }), "is not a rate"),
        (json!({ "limits": { "streams": "5" } }), "must be a whole number"),
        (json!({ "limits": 5 }), "`limits`"),
        (json!({ "exporters": ["otlp_http/other"] }), "there is no exporter"),
        (json!({ "values": { "id": "s3cret" } }), "the row's own id"),
        (json!({ "values": { "host": { "a": "s3cret" } } }), "values"),
        (json!({ "values": { "<<": { "host": "s3cret" } } }), "can't be written in YAML"),
        (json!({ "paused": "s3cret" }), "must be `true` or `false`"),
    ] {
        let answer = change(&place.sluice, "PATCH", "/acme", &body).await;
        error_of(&answer, 422);
        assert!(
            answer.text().contains(problem) && !answer.text().contains("s3cret"),
            "{body}: {}",
            answer.text()
        );
    }
    assert_eq!(place.text("acme.yaml"), text);
    assert_eq!(place.send("web-token").await, 200);
    // A row that is broken is repaired by a patch of what is wrong with it, and of nothing else.
    fs::write(place.table.path().join("acme.yaml"), text.replace("streams: 5", "streams: some")).unwrap();
    let answer = change(&place.sluice, "PATCH", "/acme", &json!({ "platform": "go" })).await;
    assert!(error_of(&answer, 422).contains("can't be used so") && answer.text().contains("whole number"));
    let answer = change(&place.sluice, "PATCH", "/acme", &json!({ "limits": { "streams": 6 } })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(place.text("acme.yaml"), text.replace("streams: 5", "streams: 6"));
    fs::write(place.table.path().join("acme.yaml"), "id: [").unwrap();
    error_of(&change(&place.sluice, "PATCH", "/acme", &json!({})).await, 409);
}

#[tokio::test]
async fn a_patch_is_json_or_a_merge_patch_and_every_other_body_is_json_alone() {
    let place = place_with_acme().await;
    let ask = async |method: &str, path: &str, content_type: &str, body: &str| {
        let authorization = format!("Bearer {WRITER}");
        let headers = [("authorization", &*authorization), ("content-type", content_type)];
        let path = format!("/api/v1/tenants{path}");
        http::send(place.sluice.admin, method, &path, &headers, body.to_owned().into()).await.status
    };
    let merge_patch = "application/merge-patch+json";
    for content_type in [merge_patch, "Application/Merge-Patch+JSON; charset=utf-8", "application/json"] {
        assert_eq!(ask("PATCH", "/acme", content_type, "{}").await, 200, "{content_type}");
    }
    for content_type in ["text/plain", "application/json-patch+json", "application/x-www-form-urlencoded"] {
        assert_eq!(ask("PATCH", "/acme", content_type, "{}").await, 415, "{content_type}");
    }
    for body in
        ["", "[]", "null", "{ \"platform\": s3cret }", "[{ \"op\": \"remove\", \"path\": \"/limits\" }]"]
    {
        assert_eq!(ask("PATCH", "/acme", merge_patch, body).await, 400, "{body}");
    }
    for (method, path) in [("POST", ""), ("PUT", "/acme"), ("POST", "/acme/rotate")] {
        assert_eq!(ask(method, path, merge_patch, "{ \"id\": \"globex\" }").await, 415, "{method} {path}");
    }
    assert_eq!(ask("PATCH", "/acme?pending=dead_letter", merge_patch, "{}").await, 400);
}

#[tokio::test]
async fn an_id_that_leads_elsewhere_reaches_no_file() {
    let place = Place::start().await;
    let outside = place.table.path().parent().unwrap().join("outside.yaml");
    let long = "a".repeat(129);
    for id in [
        "",
        ".",
        "..",
        "../outside",
        "a/b",
        "/etc/passwd",
        "a\0b",
        "a\nb",
        "ä",
        ".hidden",
        "a b",
        "a%2fb",
        "a\\b",
        &long,
    ] {
        let answer = change(&place.sluice, "POST", "", &json!({ "id": id })).await;
        assert!(error_of(&answer, 422).contains("1 to 128 letters"), "{id}");
        let mut encoded = String::new();
        id.bytes().for_each(|byte| write!(encoded, "%{byte:02x}").unwrap());
        for (method, below) in
            [("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/rotate")]
        {
            let answer = change(&place.sluice, method, &format!("/{encoded}{below}"), &json!({})).await;
            error_of(&answer, 404);
        }
    }
    for path in [
        "/../outside/pause",
        "/%2e%2e/pause",
        "/a/b/pause",
        "/acme/delete",
        "/acme/pause/",
        "//pause",
        "/%ff/pause",
    ] {
        assert_eq!(change(&place.sluice, "POST", path, &Value::Null).await.status, 404, "{path}");
    }
    assert!(!outside.exists() && place.files().is_empty());
    let longest = "a".repeat(128);
    for id in ["ACME", "a.b-c_d", &longest] {
        place.create(&json!({ "id": id })).await;
        assert_eq!(change(&place.sluice, "POST", &format!("/{id}/pause"), &Value::Null).await.status, 200);
    }
}

#[tokio::test]
async fn no_text_of_a_body_becomes_anything_but_that_text() {
    let place = Place::start().await;
    let evil = [
        "x\nsenders: [{ name: evil, token: evil-token }]",
        "\"\nsenders:\n  - { name: evil, token: evil-token }\n#",
        "${env:PATH}",
        "${file:/etc/passwd}",
        "$${env:PATH}",
        "*a",
        "&a b",
        "!!str x",
        "|\n  x",
        "{ a: b }",
        "# x",
        "x # y",
        "null",
        "~",
        "true",
        "007",
        "\u{feff}\u{2028}\u{85}\u{0}\u{7f}\r\n\t \u{1f600}",
        " ",
        "---\nid: evil",
    ];
    for (number, text) in evil.into_iter().enumerate() {
        let id = format!("t{number}");
        place
            .create(&json!({ "id": id, "platform": text, "values": { "one": text, "several": [text, "x"] } }))
            .await;
        assert_eq!(place.values(&id, "one"), [text]);
        assert_eq!(place.values(&id, "several"), [text, "x"]);
        let table = place.sluice.router().tenants().table();
        let Some(TableRow::Ready(tenant)) = table.tenant(&id) else { panic!("it is there") };
        assert_eq!((tenant.platform.as_deref(), tenant.senders.len()), (Some(text), 1));
    }
    assert_eq!(place.send("evil-token").await, 401);
    // Keys are no way in either.
    for key in ["<<", "a\nsenders", "a: b", "${env:PATH}", "id", ""] {
        let body = json!({ "id": "evil", "values": { key: "x" } });
        error_of(&change(&place.sluice, "POST", "", &body).await, 422);
    }
    assert_eq!(place.files().len(), evil.len());
}

#[tokio::test]
async fn a_row_that_cannot_be_used_is_refused_with_what_is_wrong_and_changes_nothing() {
    let place = Place::start().await;
    for (body, problem) in [
        (json!({ "id": "acme", "plattform": "s3cret" }), "did you mean `platform`?"),
        (json!({ "id": "acme", "limits": { "rate": "s3cret" } }), "is not a rate"),
        (json!({ "id": "acme", "limits": { "streams": "5" } }), "must be a whole number"),
        (json!({ "id": "acme", "exporters": ["otlp_http/s3cret"] }), "there is no exporter"),
        (json!({ "id": "acme", "values": { "id": "s3cret" } }), "the row's own id"),
        (json!({ "id": "acme", "values": { "host": { "a": "s3cret" } } }), "values"),
        (json!({ "id": "acme", "paused": "s3cret" }), "must be `true` or `false`"),
        (json!({ "id": 5 }), "needs an `id`"),
        (json!({}), "needs an `id`"),
    ] {
        let answer = change(&place.sluice, "POST", "", &body).await;
        error_of(&answer, 422);
        assert!(answer.text().contains(problem), "{body}: {}", answer.text());
        // The name of an exporter is no secret.
        assert!(!answer.text().contains("s3cret") || problem == "there is no exporter", "{}", answer.text());
    }
    let send = async |headers: &[(&str, &str)], body: &str| {
        let authorization = format!("Bearer {WRITER}");
        let headers = [&[("authorization", &*authorization)], headers].concat();
        http::send(place.sluice.admin, "POST", "/api/v1/tenants", &headers, body.to_owned().into()).await
    };
    let body = "{ \"id\": \"acme\" }";
    let json = ("content-type", "application/json");
    for other in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"]
    {
        assert_eq!(send(&[("content-type", other)], body).await.status, 415, "{other}");
    }
    assert_eq!(send(&[], body).await.status, 415);
    for broken in
        ["", "{", "[]", "\"acme\"", "{ \"id\": \"s3cret\" ", "id: acme", "{ \"id\": s3cret }", "\u{feff}{}"]
    {
        let answer = send(&[json], broken).await;
        assert!(answer.status == 400 && !answer.text().contains("s3cret"), "{broken}: {}", answer.text());
    }
    let large = format!("{{ \"id\": \"acme\", \"values\": {{ \"a\": \"{}\" }} }}", "x".repeat(1 << 20));
    assert_eq!(send(&[json], &large).await.status, 413);
    assert!(place.files().is_empty());
    assert_eq!(send(&[("content-type", "application/json; charset=utf-8")], body).await.status, 201);
}

#[tokio::test]
async fn a_table_that_cannot_be_changed_here_says_so() {
    let up = sinks::recording().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "[{ id: acme }]").unwrap();
    for (tenants, said) in [
        (String::new(), "add `tenants: { directory: ./tenants.d }`"),
        ("tenants: { list: [{ id: acme }] }\n".to_owned(), "write `tenants.directory`"),
        (format!("tenants: {{ file: '{}' }}\n", file.path().display()), "write `tenants.directory`"),
        // Nobody makes files here, whoever runs the test.
        ("tenants: { directory: /sys/kernel }\n".to_owned(), "can't change `/sys/kernel/acme.yaml`"),
    ] {
        let yaml = config_with(&up, &tenants);
        let yaml =
            if tenants.is_empty() { yaml.replace(", auth: { authenticator: tenants }", "") } else { yaml };
        let sluice = Sluice::start(&yaml).await;
        let answer = change(&sluice, "POST", "", &json!({ "id": "acme" })).await;
        assert!(error_of(&answer, 409).contains(said), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_link_in_place_of_a_row_is_followed_by_readers_and_replaced_by_nobody() {
    let place = Place::start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("acme");
    fs::write(&target, "id: acme\nsenders: [{ name: web, token: web-token }]\n").unwrap();
    symlink(&target, place.table.path().join("acme.yaml")).unwrap();
    eventually("it is read", async || (place.send("web-token").await == 200).then_some(())).await;
    for (method, path) in [
        ("POST", "/acme/pause"),
        ("PUT", "/acme"),
        ("PATCH", "/acme"),
        ("DELETE", "/acme"),
        ("POST", "/acme/rotate"),
    ] {
        let answer = change(&place.sluice, method, path, &json!({})).await;
        assert!(error_of(&answer, 409).contains("is a link"), "{}", answer.text());
    }
    error_of(&change(&place.sluice, "POST", "", &json!({ "id": "acme" })).await, 409);
    assert_eq!(place.send("web-token").await, 200);
}

#[tokio::test]
async fn what_a_killed_process_has_left_is_no_row_and_in_nobodys_way() {
    let place = Place::start().await;
    let left = ".acme.yaml.0123456789abcdef.tmp";
    fs::write(place.table.path().join(left), "id: acme\nsenders: [{ name: web, tok").unwrap();
    let token = place.create(&json!({ "id": "acme" })).await;
    assert_eq!(place.send(&token).await, 200);
    assert_eq!(place.sluice.router().tenants().table().problems().count(), 0);
    assert_eq!(place.files(), BTreeSet::from([left.to_owned(), "acme.yaml".to_owned()]));
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_made_and_an_id_is_given_once() {
    let place = Place::start().await;
    let asking = |method: &'static str, path: String, body: Value| {
        let front = Front::clone(&place.sluice);
        tokio::spawn(async move { change(&front, method, &path, &body).await.status })
    };
    let mut made: Vec<_> = (0..20).map(|_| asking("POST", String::new(), json!({ "id": "acme" }))).collect();
    made.extend((0..20).map(|number| asking("POST", String::new(), json!({ "id": format!("t{number}") }))));
    let mut statuses = Vec::new();
    for made in made {
        statuses.push(made.await.unwrap());
    }
    assert_eq!(statuses[..20].iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses[..20].iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    assert!(statuses[20..].iter().all(|status| *status == 201), "{statuses:?}");
    let mut changes: Vec<_> = (0..10).map(|_| asking("POST", "/acme/rotate".to_owned(), json!({}))).collect();
    changes.extend(["pause", "hold"].map(|action| asking("POST", format!("/acme/{action}"), Value::Null)));
    changes.extend((0..10).map(|number| {
        let value = (format!("v{number}"), "x".into());
        let values: serde_json::Map<_, _> = [value].into_iter().collect();
        asking("PATCH", "/acme".to_owned(), json!({ "values": values }))
    }));
    for change in changes {
        assert_eq!(change.await.unwrap(), 200);
    }
    let table = place.sluice.router().tenants().table().clone();
    let Some(TableRow::Ready(tenant)) = table.tenant("acme") else { panic!("it is there") };
    assert!(tenant.paused && tenant.hold && tenant.senders.len() == 11, "{tenant:?}");
    assert_eq!(tenant.values.names().count(), 10);
    assert_eq!(place.files().len(), 21);
}

#[tokio::test]
async fn a_change_by_hand_that_nobody_has_read_yet_is_not_lost() {
    let place = Place::start().await;
    let token = place.create(&json!({ "id": "acme" })).await;
    for number in 0..20 {
        let text = place.text("acme.yaml") + &format!("# by hand {number}\n");
        fs::write(place.table.path().join("acme.yaml"), text).unwrap();
        let action = if number % 2 == 0 { "pause" } else { "resume" };
        assert_eq!(change(&place.sluice, "POST", &format!("/acme/{action}"), &Value::Null).await.status, 200);
    }
    let text = place.text("acme.yaml");
    assert!((0..20).all(|number| text.contains(&format!("# by hand {number}\n"))), "{text}");
    assert_eq!(place.send(&token).await, 200);
}

#[tokio::test]
async fn the_table_is_changed_with_the_write_token_alone_and_by_no_page_of_another_site() {
    let place = Place::start().await;
    place.create(&json!({ "id": "acme" })).await;
    let before = place.text("acme.yaml");
    let all = [
        ("POST", ""),
        ("PUT", "/acme"),
        ("PATCH", "/acme"),
        ("DELETE", "/acme"),
        ("POST", "/acme/pause"),
        ("POST", "/acme/rotate"),
    ];
    for (method, path) in all {
        let ask = async |headers: &[(&str, &str)]| {
            let headers = [&[("content-type", "application/json")], headers].concat();
            let path = format!("/api/v1/tenants{path}");
            http::send(place.sluice.admin, method, &path, &headers, "{}".into()).await.status
        };
        let bearer = |token: &str| format!("Bearer {token}");
        assert_eq!(ask(&[]).await, 401);
        assert_eq!(ask(&[("authorization", &bearer("guess"))]).await, 401);
        assert_eq!(ask(&[("authorization", &bearer(READER))]).await, 403);
        let writer = bearer(WRITER);
        assert_eq!(ask(&[("authorization", &writer), ("origin", "https://evil.example.com")]).await, 403);
        assert_eq!(ask(&[("authorization", &writer), ("sec-fetch-site", "cross-site")]).await, 403);
    }
    for (method, path, takes) in [
        ("DELETE", "", "GET, POST"),
        ("PATCH", "", "GET, POST"),
        ("POST", "/acme", "GET, PUT, PATCH, DELETE"),
        ("PUT", "/acme/pause", "POST"),
    ] {
        let answer = change(&place.sluice, method, path, &json!({})).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(takes)), "{method} {path}");
    }
    assert_eq!(place.text("acme.yaml"), before);
    assert_eq!(place.files().len(), 1);
}

#[tokio::test]
async fn each_change_is_in_the_log_with_who_made_it_and_no_secret_is_anywhere() {
    let (up, table) = (sinks::recording().await, tempfile::tempdir().unwrap());
    let tenants = format!("tenants: {{ directory: '{}' }}\n", table.path().display());
    let sluice = SluiceProcess::start(&config_with(&up, &tenants), &["--log-level", "trace"]).await;
    let mut shown = String::new();
    let mut tokens = Vec::new();
    let secret = json!({ "id": "acme", "platform": "node", "values": { "token": "planted-s3cret", "list": ["planted-s3cret"] } });
    let broken = json!({ "id": "globex", "values": { "planted-s3cret": "planted-s3cret" }, "unknown": "planted-s3cret", "limits": "planted-s3cret" });
    for (method, path, body) in [
        ("POST", "", &secret),
        ("POST", "", &broken),
        ("POST", "/acme/rotate", &json!({ "overlap": "1h" })),
        ("PUT", "/acme", &secret),
        ("PUT", "/acme", &broken),
        ("PATCH", "/acme", &secret),
        ("PATCH", "/acme", &broken),
        ("POST", "/acme/pause", &Value::Null),
        ("POST", "/acme/resume", &Value::Null),
        ("DELETE", "/globex", &Value::Null),
        ("POST", "/planted-s3cret%20/pause", &Value::Null),
    ] {
        let answer = change(&sluice, method, path, body).await;
        match json_of(&answer)["token"].as_str() {
            Some(token) => tokens.push(token.to_owned()),
            None => shown += &answer.text(),
        }
    }
    assert_eq!(tokens.len(), 2);
    for page in ["/", "/metrics", "/api/v1/config", "/api/v1/streams", "/api/v1/exporters"] {
        shown += &sluice.get(page).await.text();
    }
    sluice.logged("action=\"resume\"").await;
    sluice.logged("there is no tenant of this id").await;
    let log = sluice.log().join("\n");
    for action in ["create", "rotate", "replace", "patch", "pause", "resume"] {
        let line = sluice.logged(&format!("action=\"{action}\" by=\"write_token\"")).await;
        let is_whole = ["the table of tenants is changed", "tenant=\"acme\"", "peer=127.0.0.1:", "INFO"]
            .iter()
            .all(|part| line.contains(part));
        assert!(is_whole, "{line}");
    }
    for secret in tokens.iter().map(String::as_str).chain(["planted-s3cret", WRITER]) {
        assert!(!shown.contains(secret), "{secret}: {shown}");
        let lines: Vec<_> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "{secret}: {lines:?}");
    }
}

#[tokio::test]
async fn a_row_that_would_be_too_large_to_be_read_is_not_written() {
    let place = Place::start().await;
    let token = place.create(&json!({ "id": "acme" })).await;
    // Each of these characters takes three bytes in the request, and six in the file.
    let values: serde_json::Map<_, _> =
        (0..200).map(|number| (format!("v{number}"), "\u{2028}".repeat(1000).into())).collect();
    for (method, path, id) in [("POST", "", "globex"), ("PUT", "/acme", "acme"), ("PATCH", "/acme", "acme")] {
        let answer = change(&place.sluice, method, path, &json!({ "id": id, "values": values })).await;
        assert!(error_of(&answer, 422).contains("and a row has at most 1048576"), "{}", answer.text());
        assert_eq!(place.files(), BTreeSet::from(["acme.yaml".to_owned()]));
    }
    assert_eq!(place.send(&token).await, 200);
}

#[tokio::test]
async fn a_tenant_of_which_something_is_pending_stays_unless_that_is_to_become_dead_letters() {
    let (up, table) = (sinks::recording().await, tempfile::tempdir().unwrap());
    let tenants = format!("tenants: {{ directory: '{}' }}\n", table.path().display());
    let yaml = config_with(&up, &tenants)
        .replace(&up.url(), &format!("http://{}", sinks::nobody().await))
        .replace("match: { s2.stream: '*' }, key: s2.stream", "tenants: '*', key: '{{ tenant.id }}'");
    let sluice = Sluice::start(&format!("{yaml}{LETTERS}")).await;
    let mut tokens = Vec::new();
    for id in ["acme", "globex"] {
        let issued = json_of(&change(&sluice, "POST", "", &json!({ "id": id })).await);
        tokens.push(format!("Bearer {}", issued["token"].as_str().unwrap()));
        let body = logs(&[("a", &["x", "y"])]);
        assert_eq!(
            sluice
                .post_with(Signal::Logs, body, &[("authorization", &tokens[tokens.len() - 1])])
                .await
                .status,
            200
        );
    }
    let answer = change(&sluice, "DELETE", "/acme", &Value::Null).await;
    assert!(
        error_of(&answer, 409).contains("bytes of this tenant are not delivered yet"),
        "{}",
        answer.text()
    );
    for wrong in ["?pending=drop", "?pending", "?force=true"] {
        error_of(&change(&sluice, "DELETE", &format!("/acme{wrong}"), &Value::Null).await, 400);
    }
    let held = change(&sluice, "POST", "/acme/hold", &Value::Null).await;
    assert_eq!(held.status, 200, "what is held is removed as well");
    let answer = change(&sluice, "DELETE", "/acme?pending=dead_letter", &Value::Null).await;
    assert_eq!(
        json_of(&answer),
        json!({ "id": "acme", "deleted": true, "pending_bytes": 0, "dead_lettered": 2, "dropped": 0 })
    );
    let letters = wait_for_letters(&sluice.directory().join("letters"), 1).await;
    assert_eq!((letters.len(), letters[0].records(), letters[0].text("tenant")), (1, 2, "acme"));
    assert_eq!(sluice.metric("sluice_pending_records", &[]).await, 2.0, "the other tenant's data waits on");
    assert_eq!(files(table.path()), BTreeSet::from(["globex.yaml".to_owned()]));

    // A row whose file is removed by hand leaves its data behind, which is nobody else's.
    fs::rename(table.path().join("globex.yaml"), table.path().join(".globex")).unwrap();
    reload(&sluice, &format!("{yaml}{LETTERS}")).await;
    let answer = change(&sluice, "POST", "", &json!({ "id": "globex" })).await;
    assert!(error_of(&answer, 409).contains("bytes of a tenant that had this id"), "{}", answer.text());
    let answer = change(&sluice, "DELETE", "/globex", &Value::Null).await;
    assert!(error_of(&answer, 409).contains("the row of this tenant is gone, and"), "{}", answer.text());
    let answer = change(&sluice, "DELETE", "/globex?pending=dead_letter", &Value::Null).await;
    assert_eq!(
        json_of(&answer),
        json!({ "id": "globex", "deleted": true, "pending_bytes": 0, "dead_lettered": 2, "dropped": 0 })
    );
    let letters = wait_for_letters(&sluice.directory().join("letters"), 2).await;
    assert!(letters.iter().any(|letter| letter.text("tenant") == "globex" && letter.records() == 2));
    for query in ["", "?pending=dead_letter"] {
        error_of(&change(&sluice, "DELETE", &format!("/globex{query}"), &Value::Null).await, 404);
    }
    // With its row it is as it was.
    fs::rename(table.path().join(".globex"), table.path().join("globex.yaml")).unwrap();
    let watching = tokio::spawn(sluice::run::watch_tenants(sluice.router().clone()));
    eventually("its row is in use again", async || {
        let body = logs(&[("a", &["x", "y"])]);
        let answer = sluice.post_with(Signal::Logs, body, &[("authorization", &tokens[1])]).await;
        (answer.status == 200).then_some(())
    })
    .await;
    watching.abort();
    eventually("it is tried, and not given up", async || {
        let stream = sluice.api("/api/v1/streams").await["streams"][0].clone();
        (stream["last_error"]["code"] == "connect" && stream["tenant"] == "globex").then_some(())
    })
    .await;

    // The id may be used again, by somebody else.
    let issued = json_of(&change(&sluice, "POST", "", &json!({ "id": "acme" })).await);
    let token = format!("Bearer {}", issued["token"].as_str().unwrap());
    for (token, status) in [(&tokens[0], 401), (&token, 200)] {
        let body = logs(&[("a", &["z"])]);
        assert_eq!(sluice.post_with(Signal::Logs, body, &[("authorization", token)]).await.status, status);
    }
    assert_eq!(sluice.metric("sluice_pending_records", &[]).await, 3.0);
    sluice.assert_conserved().await;
    reload(&sluice, &yaml).await;
    let answer = change(&sluice, "DELETE", "/acme?pending=dead_letter", &Value::Null).await;
    assert!(error_of(&answer, 409).contains("there is no `dead_letter`"));
}

#[tokio::test]
async fn a_crash_repeats_nothing_of_a_tenant_that_was_removed_as_data_of_the_next_one_of_its_id() {
    const REQUESTS: usize = 20;
    let (up, table, kept) =
        (sinks::recording().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let yaml = config_with(&up, &format!("tenants: {{ directory: '{}' }}\n", table.path().display()))
        .replace("match: { s2.stream: '*' }, key: s2.stream", "tenants: '*', key: s2.stream")
        + LETTERS
        + &format!("journal: {{ directory: '{}/journal' }}\nshutdown_timeout: 0s\n", kept.path().display());
    let mut first = SluiceProcess::start(&yaml, &[]).await;
    let change = async |sluice: &SluiceProcess, method: &str, path: &str, body: Value| {
        let authorization = format!("Bearer {WRITER}");
        let headers = [("authorization", &*authorization), ("content-type", "application/json")];
        let path = format!("/api/v1/tenants{path}");
        http::send(sluice.admin, method, &path, &headers, body.to_string().into()).await
    };
    let issued = json_of(&change(&first, "POST", "", json!({ "id": "acme", "hold": true })).await);
    let token = format!("Bearer {}", issued["token"].as_str().unwrap());
    for stream in 0..REQUESTS {
        let body = logs(&[(&stream.to_string(), &["of the first"])]);
        let answer = first.post_with(Signal::Logs, body, &[("authorization", &token)]).await;
        assert_eq!(answer.status, 200);
    }
    let removed = json_of(&change(&first, "DELETE", "/acme?pending=dead_letter", json!({})).await);
    assert_eq!((&removed["dead_lettered"], &removed["pending_bytes"]), (&json!(REQUESTS), &json!(0)));
    assert_eq!(change(&first, "POST", "", json!({ "id": "acme" })).await.status, 201);
    first.kill().await;
    let second = SluiceProcess::start(&yaml, &[]).await;
    let authorization = format!("Bearer {WRITER}");
    let headers = [("authorization", &*authorization)];
    let metrics = http::send(second.admin, "GET", "/metrics", &headers, "".into()).await.text();
    assert!(!metrics.contains("sluice_recovered_records_total{"), "nothing comes back: {metrics}");
    assert_eq!(up.texts(Signal::Logs), Vec::<String>::new());
}

/// Reloads with a configuration that has to be right, by the write token.
async fn reload(sluice: &Sluice, yaml: &str) {
    write_config(sluice.directory(), yaml);
    let authorization = format!("Bearer {WRITER}");
    let headers = [("authorization", &*authorization)];
    let answer = http::send(sluice.admin, "POST", "/api/v1/reload", &headers, "".into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Runs `sluice tenants` against a listener, and returns its exit code and what it prints, errors behind the rest.
async fn command(front: &Front, args: &[&str]) -> (Option<i32>, String, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("tenants")
        .args(args)
        .env("SLUICE_ADMIN", format!("http://{}", front.admin))
        .env("SLUICE_ADMIN_TOKEN", WRITER)
        .stdin(Stdio::null())
        .output();
    let output =
        tokio::time::timeout(PATIENCE, output).await.expect("it ends").expect("the binary was built");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_command_line_does_what_the_api_does() {
    let place = Place::start().await;
    let front = &*place.sluice;
    let value = place.table.path().join("value");
    fs::write(&value, "from a file\n").unwrap();
    let from_file = format!("token={}", value.display());
    let args = [
        "create",
        "acme",
        "--platform",
        "node",
        "--value",
        "host=h=1",
        "--value",
        "token=one",
        "--value-file",
        &from_file,
        "--limit",
        "burst=1MiB",
        "--exporter",
        "otlp_http/up",
    ];
    let (code, token, said) = command(front, &args).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("sender `default` of tenant `acme`") && !said.contains("slc_"), "{said}");
    assert_eq!(place.send(token.trim_end()).await, 200);
    assert_eq!(
        (place.values("acme", "host"), place.values("acme", "token")),
        (vec!["h=1".into()], vec!["one".into(), "from a file".into()])
    );

    let (code, second, said) =
        command(front, &["rotate", "acme", "--sender", "default", "--overlap", "1h"]).await;
    assert!(code == Some(0) && said.contains("`default-old` until "), "{said}");
    assert_eq!((place.send(token.trim_end()).await, place.send(second.trim_end()).await), (200, 200));
    for (action, done, status) in [
        ("pause", "paused", 503),
        ("resume", "no longer paused", 200),
        ("hold", "held", 200),
        ("release", "no longer held", 200),
    ] {
        let (code, out, said) = command(front, &[action, "acme"]).await;
        // What was sent meanwhile may have been held already: then it is told that it goes on.
        let (out, _) = out.split_once(';').unwrap_or((out.trim_end(), ""));
        assert_eq!((code, out, &*said), (Some(0), &*format!("tenant `acme` is {done}"), ""));
        assert_eq!(place.send(token.trim_end()).await, status, "{action}");
    }
    let (code, listed, said) = command(front, &["list", "--query", "acm"]).await;
    let lines: Vec<_> = listed.lines().collect();
    assert!(code == Some(0) && lines.len() == 2, "{listed}{said}");
    assert!(
        lines[0].starts_with("ID ") && lines[1].starts_with("acme ") && lines[1].contains("node"),
        "{listed}"
    );
    let none = |why: &str| (Some(0), String::new(), format!("{why}\n"));
    assert_eq!(command(front, &["list", "--query", "nobody"]).await, none("no tenant is found by that"));
    let without_table = Sluice::start(&yaml::up("http://127.0.0.1:9", &[])).await;
    assert_eq!(
        command(&without_table, &["list"]).await,
        none("this Sluice has no table of tenants: its configuration has no `tenants`")
    );
    let (code, shown, said) = command(front, &["show", "acme"]).await;
    assert_eq!(code, Some(0), "{said}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["id"], &shown["platform"]), (&json!("acme"), &json!("node")));
    let set = [
        "set",
        "acme",
        "--value",
        "host=h=2",
        "--exporter",
        "otlp_http/up",
        "--limit",
        "streams=7",
        "--limit",
        "rate=10MiB/s",
        "--remove",
        "platform",
    ];
    let changed = (Some(0), "tenant `acme` is changed\n".to_owned(), String::new());
    assert_eq!(command(front, &set).await, changed);
    let limits = async || {
        let table = place.sluice.router().tenants().table().clone();
        let Some(TableRow::Ready(tenant)) = table.tenant("acme") else { panic!("it is there") };
        (tenant.limits.streams, tenant.limits.rate, tenant.platform.clone())
    };
    assert_eq!(limits().await, (NonZeroUsize::new(7), NonZeroU64::new(10 << 20), None));
    assert_eq!(
        (place.values("acme", "host"), place.values("acme", "token")),
        (vec!["h=2".into()], vec!["one".into(), "from a file".into()])
    );
    let remove =
        ["set", "acme", "--remove", "limits.rate", "--remove", "values.port", "--value-file", &from_file];
    assert_eq!(command(front, &remove).await, changed);
    assert_eq!(limits().await, (NonZeroUsize::new(7), None, None));
    assert_eq!(place.values("acme", "token"), ["from a file"]);
    assert_eq!(place.send(token.trim_end()).await, 200);
    let (code, _, said) = command(front, &["set", "acme", "--limit", "streams=some"]).await;
    assert!(code == Some(1) && said.contains("must be a whole number"), "{said}");
    let (code, _, said) = command(front, &["set", "globex", "--platform", "go"]).await;
    assert!(code == Some(1) && said.contains("404"), "{said}");
    let (code, _, said) = command(front, &["set", "acme"]).await;
    assert!(
        code == Some(2) && said.contains("--limit <NAME=AMOUNT>") && said.contains("--remove <KEY>"),
        "{said}"
    );

    let (code, _, said) = command(front, &["show", "globex"]).await;
    assert!(code == Some(1) && said.contains("404"), "{said}");
    let token_file = place.table.path().join("admin-token");
    fs::write(&token_file, format!("{READER}\n")).unwrap();
    let (code, _, said) =
        command(front, &["--token-file", token_file.to_str().unwrap(), "pause", "acme"]).await;
    assert!(code == Some(1) && said.contains("this token may read alone"), "{said}");
    let (code, _, said) = command(front, &["create", "acme"]).await;
    assert!(code == Some(1) && said.contains("there is a tenant of this id already"), "{said}");
    let (code, _, said) = command(front, &["create", "globex", "--value", "id=x"]).await;
    assert!(code == Some(1) && said.contains("- `{{ tenant.id }}` is the row's own id\n  help: "), "{said}");
    eventually("nothing is pending", async || {
        (place.sluice.metric("sluice_pending_bytes", &[]).await == 0.0).then_some(())
    })
    .await;
    let removed = (Some(0), "tenant `acme` is removed\n".to_owned(), String::new());
    assert_eq!(command(front, &["delete", "acme"]).await, removed);
    assert_eq!(place.send(second.trim_end()).await, 401);
    for wrong in [
        &["rotate", "acme", "--overlap", "5"][..],
        &["create"],
        &["create", "a", "--value", "s3cret"],
        &["create", "a", "--limit", "rtae=5"],
        &["set", "a", "--remove", "senders"],
        &["pause", "a", "--admin", "ftp://x"],
    ] {
        let (code, _, said) = command(front, wrong).await;
        assert_eq!(code, Some(2), "{wrong:?}: {said}");
    }
    let nobody = format!("http://{}", sinks::nobody().await);
    let (code, _, said) = command(front, &["pause", "acme", "--admin", &nobody]).await;
    assert!(code == Some(1) && said.contains(&format!("no answer from {nobody}")), "{said}");
}

#[tokio::test]
async fn a_row_that_claims_what_is_another_rows_is_not_changed_to_one_that_is_not_used_either() {
    let place = Place::start().await;
    let own = place.create(&json!({ "id": "globex" })).await;
    let text = |id: &str| format!("id: {id}\nsenders: [{{ name: web, token: shared-token }}]\n");
    fs::write(place.table.path().join("acme.yaml"), text("acme")).unwrap();
    eventually("acme can send", async || (place.send("shared-token").await == 200).then_some(())).await;
    for (id, was_tenant) in [("globex", true), ("initech", false)] {
        let name = format!("{id}.yaml");
        fs::write(place.table.path().join(&name), text(id)).unwrap();
        let is_broken = || place.sluice.router().tenants().table().problem(&name).is_some();
        eventually("the row is broken", async || is_broken().then_some(())).await;
        for (method, action, body) in [
            ("POST", "/rotate", json!({})),
            ("POST", "/rotate", json!({ "sender": "web", "overlap": "1h" })),
            ("PUT", "", json!({ "platform": "node" })),
            ("POST", "/pause", Value::Null),
        ] {
            let answer = change(&place.sluice, method, &format!("/{id}{action}"), &body).await;
            let error = error_of(&answer, 409);
            assert!(
                error.contains("also that of sender `web` of tenant `acme` (`acme.yaml`)")
                    && error.contains("nothing was changed"),
                "{error}"
            );
            assert_eq!(place.text(&name), text(id), "{method} {action}");
        }
        if was_tenant {
            assert_eq!(place.send(&own).await, 200, "the tenant is as it was");
        }
        // Without the token that is another's, the row is used.
        let body = json!({ "overlap": "0s" });
        let answer = change(&place.sluice, "POST", &format!("/{id}/rotate"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = json_of(&answer)["token"].as_str().unwrap().to_owned();
        assert_eq!((place.send(&token).await, place.send("shared-token").await), (200, 200));
        assert!(!is_broken());
    }
}
