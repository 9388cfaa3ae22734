//! Black-box tests over real sockets: senders, Sluice and upstreams on the loopback, ports given by the system.
//! Each module is one promise; each test is named as a claim.

#[path = "../support/mod.rs"]
mod support;

mod all_or_nothing;
mod bodies;
mod connections;
mod conservation;
mod order;
mod poison;
mod receiver;
mod reload;
mod reload_under_load;
mod shutdown;
mod smoke;
