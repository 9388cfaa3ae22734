//! The life of a running Sluice: start, reload, shut down.
//!
//! [`Router`] holds what lives longer than one configuration. [`reload_when_asked`] reloads it on SIGHUP and when a
//! file changes, [`watch_tenants`] keeps the table of tenants current, [`shut_down`] empties its queues, [`show_progress`] says what flows,
//! [`send_telemetry`] tells of all of it by OTLP,
//! and a service manager is told of all of it by [`tell_ready`] and [`answer_watchdog`].

mod counted_exporters;
mod environment;
mod leftover;
mod letter_address;
mod letter_replay;
mod listeners;
mod operator_holds;
mod progress;
mod recovered;
mod recovery;
mod reload;
mod reload_plan;
mod report;
mod router;
mod service_manager;
mod shutdown;
mod sweep;
mod telemetry;
mod tenant_changes;
mod tenant_directory;
mod tenants;
mod watched;
mod watches;
mod whole_files;

pub use counted_exporters::CountedExporters;
pub use environment::RouterEnvironment;
pub use leftover::{Leftover, LossCause};
pub use letter_address::LetterAddresses;
pub use letter_replay::{LetterTally, LettersError};
pub use listeners::{Role, Serve};
pub use operator_holds::{HeldName, OperatorHoldError};
pub use progress::show_progress;
pub use recovered::{Recovered, Unclaimed};
pub use reload::reload_when_asked;
pub use reload_plan::{ChangedPart, ReloadPlan, SectionChanges};
pub use report::{ConfigReport, ReloadError, ReloadRecord, Reloads};
pub use router::{Phase, Router};
pub use service_manager::{answer_watchdog, has_service_manager, tell_ready};
pub use shutdown::{Leftovers, Unkept, give_up, shut_down};
pub use sweep::sweep;
pub use telemetry::{ReadMetrics, send_telemetry};
pub use tenant_changes::{IssuedToken, RemovedTenant, SwitchedTenant, TenantChangeError, TenantSwitch};
pub use tenants::{check_tenants, table_of, watch_tenants};
pub use watches::judge_watches;
