//! What stands in `deploy/` is what its tools take: Prometheus the alerts and Grafana's queries, Kubernetes the manifests, systemd the unit,
//! Debian the package.
//!
//! Each tool is installed by `deploy/tool` below cargo's target directory, in the version that is pinned there; that takes some minutes
//! the first time. What is needed for it and missing fails the tests that need it, and says so.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

#[path = "../documents/blocks.rs"]
mod blocks;
#[path = "../support/mod.rs"]
mod support;
#[path = "../documents/targets.rs"]
mod targets;

mod adapter;
mod alerts;
mod board;
mod image;
mod kubernetes;
mod package;
mod prometheus;
mod site;
mod tools;
mod unit;
