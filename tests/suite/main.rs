//! Black-box tests over real sockets: senders, Sluice and upstreams on the loopback, ports given by the system.
//! Each module is one promise; each test is named as a claim.

#[path = "../support/mod.rs"]
mod support;

mod all_or_nothing;
mod answers;
mod bad_configuration;
mod bounds;
mod bytes;
mod conservation;
mod dead_letters;
mod isolation;
mod order;
mod poison;
mod routing;
mod smoke;
