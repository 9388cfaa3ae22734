//! Looking at records as they pass.
//!
//! [`RecordObserver`] is told of every entry that is admitted, while anybody looks: [`TapReader`]s, who are shown the records that
//! match a query; the [`RecentRecords`], which keep the newest of each tenant; and the [watches](crate::watches), which count.
//! All queries are asked in one walk over an entry. Nobody who looks delays data: what a tap has no time, room or turn for is
//! left out, and counted.
//!
//! What is shown goes through a [`Redaction`](crate::otlp::Redaction) first, and then has to match its query still, so that
//! nobody finds out what is hidden by asking for it.

mod allowance;
mod observer;
mod reader;
mod recent;
mod shown;
#[cfg(test)]
mod tests;

pub use observer::{RecordObserver, TapSettings};
pub use reader::{NoTap, TapEvent, TapReader};
pub use recent::{RecentRecords, RecentSearch, RecordOrder, SearchPage};
