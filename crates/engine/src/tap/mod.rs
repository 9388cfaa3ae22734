//! Looking at records as they pass.
//!
//! [`RecordObserver`] is told of every entry that is admitted, while anybody looks: [`TapReader`]s, who are shown the records that
//! match a query; the [`RecentRecords`], which keep the newest of each tenant; and the [watches](crate::watches), which count.
//! All queries of taps are asked in one walk over an entry, and all of watches in another. Taps do not delay data: records that a tap
//! has no time, room or turn for are left out, and counted. The work for watches is bounded by the bytes of a request, and a request
//! for which that is much is admitted by a thread of its own.
//!
//! Taps and searches see records as a [`Redaction`](otlp::Redaction) shows them, so that nobody finds out what is hidden by
//! asking for it. Watches, whose queries stand in the configuration, see all.

mod allowance;
mod feed;
mod observer;
mod reader;
mod recent;
mod shown;
#[cfg(test)]
mod tests;

pub use feed::NoTap;
pub use observer::{RecordObserver, TapSettings};
pub use reader::{TapEvent, TapReader};
pub use recent::{RecentRecords, RecentSearch, RecordOrder, SearchCursor, SearchEnd, SearchPage};
