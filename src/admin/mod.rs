//! What a running Sluice shows of itself: metrics, health, and an API for people and their tools. It only reads, but
//! for reloads, changes of the table of tenants, holds, and replays and deletions of dead letters, which it asks [`run`](crate::run) for.

mod answers;
mod api;
mod attempt_row;
mod attention;
mod body;
mod change_author;
mod dashboard;
mod dead_letters;
mod explain;
mod exporters;
mod first_steps;
mod flow_picture;
mod follow;
mod history;
mod holds;
mod journal;
mod logs;
mod look;
mod metric_points;
mod metric_writer;
mod metrics;
mod overview;
mod page_search;
mod query;
mod sample;
mod server;
mod shared_page;
mod site;
mod stream_detail;
mod stream_list;
mod stream_row;
mod tap;
mod tenant_detail;
mod tenant_list;
mod tenant_metrics;
mod tenant_state;
mod tenants;
mod troubled;
mod watches;

pub(crate) use answers::TEXT;
pub use history::MetricHistory;
pub use metric_points::read_metrics;
pub use server::Admin;
pub(crate) use server::{HEALTH_PAGES, NO_PAGE};
