//! `sluice send` in a process of its own, which goes on whatever becomes of Sluice.

use std::ops::Range;
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::ledger::minus;
use crate::support::PATIENCE;

/// A running `sluice send`. It is killed when it is dropped.
pub(crate) struct Sender {
    child: Child,
}

/// What it says in the end.
#[derive(Debug, Deserialize)]
pub(crate) struct Sent {
    /// Requests taken.
    pub(crate) requests: u64,
    /// Records of them.
    pub(crate) records: u64,
    /// Of each stream and connection.
    pub(crate) sequences: Vec<Acknowledged>,
}

/// What is known of one sequence: all numbers below `records` were sent, and those not in `unknown` acknowledged.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Acknowledged {
    pub(crate) stream: String,
    pub(crate) sender: String,
    pub(crate) records: u64,
    pub(crate) unknown: Vec<(u64, u64)>,
}

impl Sender {
    /// Begins to send to `endpoint`, and repeats what is refused.
    pub(crate) fn start(endpoint: &str, args: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["send", "--endpoint", endpoint, "--retry", "--json", "--sequences", "--duration", "10h"])
            .args(args)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary was built");
        Self { child }
    }

    /// Has it finish what it has begun, and report.
    pub(crate) async fn stop(self) -> Sent {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", "INT", &pid]).status().await;
        assert!(sent.expect("`kill` is there").success());
        self.end().await
    }

    /// Waits until it has sent all that it is to send, and reports.
    pub(crate) async fn end(self) -> Sent {
        let output = tokio::time::timeout(PATIENCE, self.child.wait_with_output()).await;
        let output = output.expect("it ends in time").expect("it can be waited for");
        serde_json::from_slice(&output.stdout).expect("it reports in JSON")
    }
}

impl Acknowledged {
    /// The numbers that were acknowledged.
    pub(crate) fn taken(&self) -> Vec<Range<u64>> {
        let unknown: Vec<Range<u64>> = self.unknown.iter().map(|(start, end)| *start..*end).collect();
        minus(&(0..self.records), &unknown)
    }
}
