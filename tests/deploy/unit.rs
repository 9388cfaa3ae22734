//! The unit of systemd.

use std::process::Command;

use crate::tools::{root, run};

#[test]
fn the_unit_leaves_the_service_little_that_it_could_do() {
    let unit = root("deploy/systemd/sluice.service");
    // 15 stands for the level of exposure 1.5, of 10.
    run(Command::new("systemd-analyze").args(["security", "--offline=yes", "--threshold=15"]).arg(unit));
}
