//! Black-box tests over real sockets: senders, Sluice and upstreams on the loopback, ports given by the system.
//! Each module is one promise; each test is named as a claim.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
#![allow(clippy::float_cmp, reason = "metrics are whole numbers that a float holds exactly")]

#[path = "../support/mod.rs"]
mod support;

mod acknowledge;
mod admin;
mod admin_access;
mod all_or_nothing;
mod answers;
mod answers_read;
mod authentication;
mod bad_configuration;
mod behind;
mod bodies;
mod bounds;
mod bytes;
mod collector_file;
mod command_line;
mod configuration_api;
mod connections;
mod conservation;
mod dead_letter_changes;
mod dead_letter_pages;
mod dead_letters;
mod default_configuration;
mod durable;
mod edits;
mod exporter_auth;
mod failing_streams;
mod files;
mod floods;
mod given_up;
mod grpc_connections;
mod grpc_in;
mod grpc_out;
mod hanging_disk;
mod holds;
mod isolation;
mod journal;
mod journal_shown;
mod json;
mod keys_of_parts;
mod keys_of_records;
mod mismatched_protocols;
mod moved_listener;
mod openings;
mod order;
mod outage;
mod overload;
mod planted_secrets;
mod poison;
mod proxy;
mod quotas;
mod receiver;
mod recorded;
mod reload;
mod reload_under_load;
mod remarks;
mod removed_exporter;
mod routing;
mod shutdown;
mod slow_disk;
mod smoke;
mod tenant_streams;
mod tenant_totals;
mod tenants;
mod tenants_api;
mod tls;
mod unrouted;
mod upstreams;
mod waits;
mod without_queue;
