//! The error of a change of the table of tenants, for the author of the change.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::{LARGEST_ROW, Problem, TENANT_IDS, UnwritableRow};

/// Why the table is not changed. There is no secret in it.
#[derive(Debug, Error)]
pub enum TenantChangeError {
    /// There is no table.
    #[error(
        "there is no table of tenants: add `tenants: {{ directory: ./tenants.d }}` to the configuration, and make that directory"
    )]
    NoTable,
    /// The rows are not files of their own.
    #[error(
        "the rows of the table stand in `tenants.list` or `tenants.file`, which are changed by hand alone: write `tenants.directory` for rows that can be changed here"
    )]
    NoDirectory,
    /// There is no row of this id.
    #[error("there is no tenant of this id")]
    UnknownTenant,
    /// There is a row of this id.
    #[error("there is a tenant of this id already, in `{0}`")]
    TenantExists(PathBuf),
    /// The id can't be one.
    #[error("this is not an id: {}", TENANT_IDS)]
    NoId,
    /// The id in the body differs from the one in the path.
    #[error("the `id` of a tenant does not change: leave it out, or write that of the path")]
    OtherId,
    /// The body has senders.
    #[error(
        "`senders` are not taken here: a new tenant gets one, `rotate` gives a sender another token, and all else about them is written in the row's file"
    )]
    Senders,
    /// The tenant has no sender of this name.
    #[error("the tenant has no sender of this name; its senders are {}", names(.0))]
    UnknownSender(Vec<String>),
    /// The sender keeps the former token of another sender, after a rotation.
    #[error(
        "this is the former token of the sender `{0}`, which ends by itself: give `{0}` another one, with an `overlap` of `0s` to end all former ones at once"
    )]
    FormerToken(String),
    /// The sender has no token.
    #[error("this sender has no token, but a password or a certificate, which is changed in the row's file")]
    NoToken,
    /// The request does not say which of several senders is meant.
    #[error("say which `sender` gets another token; those that have one are {}", names(.0))]
    SeveralSenders(Vec<String>),
    /// The row that would be written can't be used.
    #[error("the row can't be used so, and nothing was changed")]
    Unusable(Vec<Problem>),
    /// The row in the file can't be used, and so is not changed.
    #[error("the file of the row can't be used as it is, and was not changed: repair it first")]
    Broken(Vec<Problem>),
    /// A key of the row is one that YAML can't have.
    #[error(transparent)]
    Unwritable(#[from] UnwritableRow),
    /// The file is a link, such as a mount of Kubernetes has.
    #[error("`{0}` is a link: change the file that it leads to")]
    Link(PathBuf),
    /// There are two files of the row.
    #[error("`{0}` and `{1}` are rows of one id, of which one alone is used: remove the other one")]
    TwoFiles(PathBuf, PathBuf),
    /// Somebody else has changed the file at the same moment.
    #[error("somebody else has changed `{0}` at this moment; ask again")]
    ChangedMeanwhile(PathBuf),
    /// Data of the tenant is pending.
    #[error(
        "{0} bytes of this tenant are not delivered yet: pause it and wait until they are, or have them become dead letters by `?pending=dead_letter` (`sluice tenants delete --pending dead_letter`)"
    )]
    Pending(u64),
    /// Data is pending of a tenant whose row is gone.
    #[error(
        "the row of this tenant is gone, and {0} bytes of it are not delivered: bring the row back, or have them become dead letters by `?pending=dead_letter` (`sluice tenants delete --pending dead_letter`)"
    )]
    PendingWithoutRow(u64),
    /// The pending data can't become dead letters.
    #[error("there is no `dead_letter` in the configuration, where what is pending could go")]
    NoDeadLetters,
    /// Data of a former tenant of the id is pending, which would be sent by the row of the new one.
    #[error(
        "{0} bytes of a tenant that had this id are not delivered yet, and would be sent as this one's: have them become dead letters by `DELETE` with `?pending=dead_letter` (`sluice tenants delete --pending dead_letter`), or choose another id"
    )]
    Leaving(u64),
    /// The file would be larger than the largest that is read.
    #[error("the row would have {0} bytes, and a row has at most {LARGEST_ROW}: give it shorter values")]
    TooLarge(usize),
    /// The file can't be read or written.
    #[error("can't change `{path}`: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The row that would be written claims something of another row, such as a token.
    #[error("the row would not be used, and nothing was changed: {0}")]
    Conflict(String),
    /// The file is written, and the row is not used, because somebody else has changed a file at the same moment.
    #[error("the file of the row is written, but the row is not used: {0}")]
    Unused(String),
}

fn names(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl TenantChangeError {
    /// What is wrong with the row, line by line.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Unusable(problems) | Self::Broken(problems) => problems,
            _ => &[],
        }
    }
}
