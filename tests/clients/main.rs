//! Sluice among programs that nobody here wrote: OpenTelemetry's SDKs send to it, a real Collector stands before and
//! behind it, `curl` posts what vendors document. What arrives upstream is compared, field by field, with what the same
//! program sends when it sends there directly.
//!
//! Each program is set up once, from its registry, with pinned versions, below cargo's target directory; that takes some
//! minutes the first time. What is needed for it and missing fails the tests that need it, and says so.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

#[path = "../support/mod.rs"]
mod support;

mod capture;
mod collector;
mod collectors;
mod compose;
mod curl;
mod decoded;
mod edits;
mod expected;
mod guides;
mod messages;
mod recordings;
mod sdk;
mod sdks;
mod setup;
mod tls;
mod whole_files;
