//! Black-box tests over real sockets: senders, Sluice and upstreams on the loopback, ports given by the system.
//! Each module is one promise; each test is named as a claim.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod bodies;
mod command_line;
mod connections;
mod default_configuration;
mod receiver;
mod reload;
mod reload_under_load;
mod shutdown;
mod smoke;
