//! Watches: queries whose records are counted as they are admitted, and which fire when there are too many or too few.
//!
//! A [`RecordWatch`] counts, and knows whether it fires; [`Alertmanager`] tells a server of that. Counting is one addition for each
//! record that matches; all else is done once in a second, by whoever calls [`RecordWatch::judge`].

mod alertmanager;
mod settings;
mod watch;

pub use alertmanager::{Alert, Alertmanager, AlertmanagerError, SentAlerts};
pub use settings::{Threshold, WatchSettings};
pub use watch::{FiringSeries, MOST_TENANTS, RecordWatch, WatchState};
