//! What a running Sluice shows of itself: metrics, health, and an API for people and their tools. It only reads, but
//! for `POST /api/v1/reload`, changes of the table of tenants and holds, which it asks [`run`](crate::run) for.

mod api;
mod exporters;
mod holds;
mod journal;
mod json_body;
mod letters;
mod look;
mod metrics;
mod query;
mod server;
mod shared_page;
mod site;
mod stream_detail;
mod stream_list;
mod stream_row;
mod tenant_detail;
mod tenant_list;
mod tenant_metrics;
mod tenant_state;
mod tenants;

pub use server::Admin;
