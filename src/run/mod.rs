//! The life of a running Sluice: start, reload, shut down.
//!
//! [`Router`] holds what lives longer than one configuration. [`reload_when_asked`] reloads it on SIGHUP and when a
//! file changes, [`watch_tenants`] keeps the table of tenants current, [`shut_down`] empties its queues, [`show_progress`] says what flows.

mod ground;
mod letter_address;
mod letter_replay;
mod listeners;
mod progress;
mod recovered;
mod recovery;
mod reload;
mod reload_plan;
mod report;
mod router;
mod shutdown;
mod sweep;
mod tenant_changes;
mod tenant_directory;
mod tenant_files;
mod tenants;
mod watched;

pub use ground::Ground;
pub use letter_address::LetterAddresses;
pub use letter_replay::{LetterTally, LettersError};
pub use listeners::{Role, Serve};
pub use progress::show_progress;
pub use recovered::{Recovered, Unclaimed};
pub use reload::reload_when_asked;
pub use reload_plan::{ChangedPart, ReloadPlan, SectionChanges};
pub use report::{ConfigReport, ReloadError, ReloadRecord, Reloads};
pub use router::{Phase, Router};
pub use shutdown::{Leftover, Leftovers, Loss, Unkept, give_up, shut_down};
pub use sweep::sweep;
pub use tenant_changes::{IssuedToken, RemovedTenant, TenantChangeError, TenantSwitch};
pub use tenants::{check_tenants, table_of, watch_tenants};
