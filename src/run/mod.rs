//! The life of a running Sluice: start, reload, shut down.
//!
//! [`Router`] holds what lives longer than one configuration. [`reload_when_asked`] reloads it on SIGHUP and when a
//! file changes, [`watch_tenants`] keeps the table of tenants current, [`shut_down`] empties its queues, [`show_progress`] logs the
//! throughput, [`send_telemetry`] sends Sluice's own telemetry by OTLP, and [`tell_ready`] and [`answer_watchdog`] report to a service
//! manager. [`TenantChanges`], [`OperatorHoldRegistry`] and [`DeadLetterWork`] do what the API asks for.

mod dead_letter_address;
mod dead_letter_replay;
mod exporter_list;
mod leftover;
mod listeners;
mod operator_holds;
mod progress;
mod recovery;
mod reload;
mod reload_plan;
mod report;
mod router;
mod service_manager;
mod shutdown;
mod sweep;
mod telemetry;
mod telemetry_export;
mod tenant_change_error;
mod tenant_changes;
mod tenant_directory;
mod tenant_registry;
mod tenant_watch;
mod watched_directories;
mod watches;
mod whole_files;

pub use dead_letter_address::DeadLetterAddresses;
pub use dead_letter_replay::{DeadLetterTally, DeadLetterWork, DeadLetterWorkError};
pub use exporter_list::CountedExporters;
pub use leftover::{Leftover, LossCause};
pub use listeners::Role;
pub use operator_holds::{HeldName, OperatorHoldError, OperatorHoldRegistry};
pub use progress::show_progress;
pub use recovery::{RecoveryReport, Unclaimed};
pub use reload::reload_when_asked;
pub use reload_plan::{ChangedPart, ReloadPlan, SectionChanges};
pub use report::{ConfigReport, ReloadError, ReloadRecord, Reloads};
pub use router::{Phase, Router, RouterEnvironment, Serve};
pub use service_manager::{answer_watchdog, has_service_manager, tell_ready};
pub use shutdown::{Leftovers, Unkept, give_up, shut_down};
pub use sweep::sweep;
pub use telemetry::{ReadMetrics, send_telemetry};
pub use tenant_change_error::TenantChangeError;
pub use tenant_changes::{IssuedToken, RemovedTenant, SwitchedTenant, TenantChanges, TenantSwitch};
pub use tenant_registry::{check_tenants, table_of};
pub use tenant_watch::watch_tenants;
pub use watches::judge_watches;
