//! Black-box tests over real sockets: senders, Sluice and upstreams on the loopback, ports given by the system.
//! Each module is one promise; each test is named as a claim.

// Helpers of tests may fail like tests, and metrics are whole numbers in a float's clothes.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod all_or_nothing;
mod answers;
mod bad_configuration;
mod bodies;
mod bounds;
mod bytes;
mod command_line;
mod connections;
mod conservation;
mod dead_letters;
mod default_configuration;
mod isolation;
mod order;
mod poison;
mod receiver;
mod reload;
mod reload_under_load;
mod routing;
mod shutdown;
mod smoke;
