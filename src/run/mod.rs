//! The life of a running Sluice: start, reload, shut down.
//!
//! [`Router`] holds what lives longer than one configuration. [`reload_when_asked`] reloads it on SIGHUP and when a
//! file changes, [`shut_down`] empties its queues, [`show_progress`] says what flows.

mod progress;
mod reload;
mod router;
mod shutdown;
mod sweep;

pub use progress::show_progress;
pub use reload::reload_when_asked;
pub use router::{ConfigReport, Phase, ReloadError, Reloads, Role, Router, Serve};
pub use shutdown::{Leftover, shut_down};
pub use sweep::sweep;
