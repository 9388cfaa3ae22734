//! Black-box tests over real sockets: senders, Sluice and upstreams on the loopback, ports given by the system.
//! Each module is one promise; each test is named as a claim.

#[path = "../support/mod.rs"]
mod support;

mod all_or_nothing;
mod conservation;
mod order;
mod poison;
mod smoke;
