//! The browser, and what drives it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::support::install::InstallDirectory;

/// What to do where a tool is missing.
pub(crate) const NEEDS: &str = "the tests of the dashboard need Node.js 20 with npm, and Chromium: `make chromium` installs it where apt-get can, and \
     CHROMIUM=PATH names another";

/// The directory of the scripts that say what to do in the browser.
fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dashboard/browser")
}

/// The modules that the scripts use, as npm has installed them.
fn modules() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let directory = InstallDirectory::enter("dashboard", "browser", source());
        directory.npm_ci(NEEDS);
        directory.path("node_modules")
    })
}

/// Runs a script of `browser/` against the admin listener, with what it has to know besides. It has to find nothing wrong.
pub(crate) async fn check(script: &str, admin: SocketAddr, facts: &Value) {
    // Frames are timed: one browser at a time has the machine.
    static ALONE: Mutex<()> = Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let output = Command::new("node")
        .arg(source().join(script))
        .env("SLUICE_MODULES", modules())
        .env("SLUICE_DASHBOARD", format!("http://{admin}"))
        .env("SLUICE_FACTS", facts.to_string())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("can't start node: {error}. {NEEDS}"));
    assert!(
        output.status.success(),
        "{script}:\n{}{}\n{NEEDS}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
