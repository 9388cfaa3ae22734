//! An authorization server's endpoint for tokens, which hands out a new token each time, and can be told to fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::scripted::{Asked, Said, Scripted};

/// The endpoint. It ends with the test's runtime.
pub struct TokenServer {
    server: Scripted,
    /// What it says to every request in place of a token.
    failing: Arc<Mutex<Option<Said>>>,
    given: Arc<AtomicUsize>,
}

/// The secret of the client that it knows, whose name is `sluice`.
pub const CLIENT_SECRET: &str = "cl1ent-s3cret";

impl TokenServer {
    /// One that gives tokens `token-1-s3cret`, `token-2-s3cret`, … of so long a life.
    pub async fn giving(lifetime: Duration) -> Self {
        let failing = Arc::<Mutex<Option<Said>>>::default();
        let given = Arc::new(AtomicUsize::new(0));
        let (fails, number) = (failing.clone(), given.clone());
        let server = Scripted::new(move |asked| match fails.lock().clone() {
            Some(said) => said,
            None if !is_known(asked) => refusal("invalid_client", "wrong credentials"),
            None => {
                let number = number.fetch_add(1, Ordering::SeqCst) + 1;
                let seconds = lifetime.as_secs();
                let body = format!(
                    r#"{{"access_token":"{}","token_type":"Bearer","expires_in":{seconds}}}"#,
                    token(number)
                );
                Said::new(200, &[("content-type", "application/json")], body)
            }
        })
        .await;
        Self { server, failing, given }
    }

    /// From now on it gives no token, and says this.
    pub fn fail_with(&self, said: Said) {
        *self.failing.lock() = Some(said);
    }

    /// From now on it gives tokens again.
    pub fn recover(&self) {
        *self.failing.lock() = None;
    }

    /// How many tokens it has given.
    pub fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.server.asked()
    }

    /// The `extensions` section with an `oauth2client/ingest` that asks here, and has these options more.
    pub fn extension(&self, more: &str) -> String {
        format!(
            "extensions: {{ oauth2client/ingest: {{ client_id: sluice, client_secret: {CLIENT_SECRET}, token_url: '{}/token', {more} }} }}\n",
            self.server.url()
        )
    }
}

/// The token of this number, from 1.
pub fn token(number: usize) -> String {
    format!("token-{number}-s3cret")
}

/// An error of OAuth 2.0.
pub fn refusal(error: &str, description: &str) -> Said {
    let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
    Said::new(401, &[("content-type", "application/json")], body)
}

fn is_known(asked: &Asked) -> bool {
    use base64::Engine as _;
    let expected = base64::prelude::BASE64_STANDARD.encode(format!("sluice:{CLIENT_SECRET}"));
    asked.headers.get("authorization").is_some_and(|value| *value == format!("Basic {expected}"))
}
