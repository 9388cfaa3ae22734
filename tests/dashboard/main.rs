//! The dashboard in a real browser, against a live Sluice: Chromium, driven by Playwright. What a page shows is compared with
//! what the API says, and every page is looked at in both colours, on a phone, by the keyboard alone, and by axe-core.
//!
//! Chromium comes from the system; `make chromium` installs it where apt-get can. The rest comes from npm, with pinned versions.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

#[path = "../support/mod.rs"]
mod support;

mod actions;
mod letters;
mod narrow;
mod pages;
mod passing;
mod pictures;
mod planted;
mod scenes;
mod scroll;
mod series;
mod setup;
mod vendored;
