//! What a running Sluice shows of itself: metrics, health, and an API for people and their tools. It only reads, but
//! for reloads, changes of the table of tenants, and replays and deletions of dead letters, which it asks [`run`](crate::run) for.

mod api;
mod body;
mod change_author;
mod explain;
mod journal;
mod letters;
mod metrics;
mod query;
mod server;
mod shared_page;
mod site;
mod tenant_detail;
mod tenant_list;
mod tenant_metrics;
mod tenant_state;
mod tenants;

pub use server::Admin;
