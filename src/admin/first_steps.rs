//! `GET /api/v1/first-steps`: where to send to, and commands to try, for whoever has just started.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::first_commands::{FirstCommands, ReceiverAt};
use crate::receive::ListenerSettings;
use crate::run::Router;

/// The first steps for the first of these receivers, which come with their URLs. Reads every tenant.
pub(super) fn shown(router: &Router, receivers: &[(String, Arc<ListenerSettings>)]) -> Value {
    let Some((url, settings)) = receivers.first() else {
        return json!({ "url": null, "curl": null, "send": null, "secret": null });
    };
    let (snapshot, table) = (router.intake().snapshot.load(), router.tenants().table());
    let commands = FirstCommands::of(&snapshot, &table, &ReceiverAt { url, settings }, "sluice");
    json!({ "url": url, "curl": commands.curl, "send": commands.send, "secret": commands.secret })
}
