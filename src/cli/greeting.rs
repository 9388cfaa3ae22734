//! Commands to try with a Sluice that has just started.

use std::fmt::Write as _;

use crate::first_commands::FirstCommands;

/// Lines with commands to try, given the URL of the admin listener; or a line that says why there is none.
pub(super) fn to_try(commands: &FirstCommands, admin: Option<&str>) -> String {
    let mut text = "Try:\n".to_owned();
    let mut line = |line: &str| writeln!(text, "  {line}").expect("writing to a String can't fail");
    match &commands.curl {
        Some(curl) => line(curl),
        None => line(
            "(no route takes a resource that could be made up here; `sluice explain` says what a captured one is missing)",
        ),
    }
    if let Some(send) = &commands.send {
        line(send);
    }
    if let Some(secret) = &commands.secret {
        line(&format!("({secret})"));
    }
    if let Some(admin) = admin {
        // A test certificate seldom names an IP address.
        let unchecked = if admin.starts_with("https:") { " -k" } else { "" };
        line(&format!("curl -s{unchecked} {admin}/api/v1/streams"));
        writeln!(text, "\nIn a browser, {admin}/ is the dashboard.").expect("writing to a String can't fail");
    }
    text
}
