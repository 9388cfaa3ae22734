//! The table of tenants: who may send, where it goes, and how much.
//!
//! A [`Tenant`] is one row of the table, a [`Sender`] one of those who may send as it. A [`Table`] is all rows as they
//! are at one moment, with the indexes by which a credential finds its sender; it does not change, a changed one takes
//! its place in [`Tenants`], which everybody shares.
//!
//! Rows are read elsewhere: `config` makes them of YAML, `run` notices when files change. What stands here is what a
//! table makes of rows: which of two rows with the same credential counts, what a broken row keeps, and what is answered
//! to a credential that nobody knows. A [`TenantAccount`] is kept of each tenant that has sent or has streams, while
//! rows come and go; what the tenant has used of its row's limits is its [`Quota`].

mod account;
mod bucket;
mod credential;
mod generated;
mod index;
mod last_minute;
mod live;
mod quota;
mod sharded;
mod table;
mod tenant;
mod totals;

pub use account::TenantAccount;
pub use credential::{CertificateName, CertificateNames, Credential};
pub use generated::GeneratedToken;
pub use index::{IndexedTenant, TenantIndex};
pub use live::Tenants;
pub use quota::{Quota, QuotaShare, QuotaUsage, RateExceeded, TenantLimit};
pub use table::{
    AppliedRows, BrokenRow, RowChange, RowContent, RowProblem, SenderLookup, Table, TableRow, TableSettings,
    UnknownTenant,
};
pub use tenant::{Rate, Sender, Tenant, TenantLimits, TenantValues};
pub use totals::{SenderUse, TenantFailure, TenantTotals};
