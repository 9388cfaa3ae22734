//! A tenant: one row of the table, compiled.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretString};

use super::credential::Credential;
use crate::glob::Glob;

/// One row of the table. It never changes: a changed row is another tenant of the same id.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The id of the tenant.
    pub id: Arc<str>,
    /// Where the row stands: the name of a file in a directory, or a file, and line and column in it.
    pub place: Arc<str>,
    /// A word for people.
    pub platform: Option<Box<str>>,
    /// The senders that may send as this tenant.
    pub senders: Box<[Sender]>,
    /// The values that templates read.
    pub values: TenantValues,
    /// The names of the exporters that its entries go to, in place of the route's.
    pub exporters: Option<Box<[Box<str>]>>,
    /// How much it may have.
    pub limits: TenantLimits,
    /// Whether its senders are refused; entries that are queued are delivered.
    pub paused: bool,
    /// Whether queued entries wait; its senders' requests are taken until there is no more room.
    pub hold: bool,
}

/// Whether they mean the same. Where the row stands means nothing: one that only moves to another line of its file is the row that
/// it was.
impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        let Self { id, place: _, platform, senders, values, exporters, limits, paused, hold } = self;
        *id == other.id
            && *platform == other.platform
            && *senders == other.senders
            && *values == other.values
            && *exporters == other.exporters
            && *limits == other.limits
            && *paused == other.paused
            && *hold == other.hold
    }
}

/// So that comparing two looks at what they hold only where they are not one and the same.
impl Eq for Tenant {}

impl Tenant {
    /// When the last credential of its senders ends, so that nobody can send as it any more; nothing where one has no end.
    pub fn credentials_expiry(&self) -> Option<SystemTime> {
        let lasting = self.senders.iter().any(|sender| sender.expires.is_none());
        self.senders.iter().filter(|_| !lasting).filter_map(|sender| sender.expires).max()
    }
}

/// A sender that may send as a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The name of the sender; unique within its tenant.
    pub name: Box<str>,
    /// The credential that it is authenticated by.
    pub credential: Credential,
    /// When its credential expires.
    pub expires: Option<SystemTime>,
    /// The ids of the tenants that its entries may name, if it may send for others.
    pub may_send_for: Option<Box<[Glob]>>,
}

/// Named values, each with one text or several that are tried in their order. Any may be a secret.
#[derive(Clone, Default)]
pub struct TenantValues(Box<[(Box<str>, Texts)]>);

type Texts = Box<[SecretString]>;

impl TenantValues {
    /// In the order in which they are written; the names are unique, and each has at least one text.
    pub fn new(values: Vec<(Box<str>, Box<[SecretString]>)>) -> Self {
        Self(values.into())
    }

    /// The texts of a value, if there is one of this name.
    pub fn get(&self, name: &str) -> Option<&[SecretString]> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, texts)| &**texts)
    }

    /// The text of a value that is tried as the `choice`th from 0: the last one where there are fewer.
    pub fn text(&self, name: &str, choice: usize) -> Option<&str> {
        let texts = self.get(name)?;
        texts.get(choice).or(texts.last()).map(ExposeSecret::expose_secret)
    }

    /// The names, in the order in which they are written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }
}

impl PartialEq for TenantValues {
    fn eq(&self, other: &Self) -> bool {
        let are_same = |one: &Texts, other: &Texts| {
            one.iter().map(SecretString::expose_secret).eq(other.iter().map(SecretString::expose_secret))
        };
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|((name, texts), (other_name, other_texts))| {
                name == other_name && are_same(texts, other_texts)
            })
    }
}

impl Eq for TenantValues {}

impl fmt::Debug for TenantValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// How much a tenant may have; what is not there is not limited. None is 0: a row that takes nothing is `paused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Bytes of protobuf a second, after decompression.
    pub rate: Option<NonZeroU64>,
    /// Bytes that may come at once.
    pub burst: Option<NonZeroU64>,
    /// Streams alive at a time.
    pub streams: Option<NonZeroUsize>,
    /// Framed bytes that its streams hold in memory.
    pub memory: Option<NonZeroU64>,
    /// Framed bytes that its streams hold in the journal.
    pub journal: Option<NonZeroU64>,
}

/// A rate, and what may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second, above zero.
    pub per_second: u64,
    /// Bytes that may come at once, above zero.
    pub burst: u64,
}

impl TenantLimits {
    /// The rate, if there is one. Without a `burst`, what may come at once is what may come in a second.
    pub fn rate(&self) -> Option<Rate> {
        let per_second = self.rate?;
        Some(Rate { per_second: per_second.get(), burst: self.burst.unwrap_or(per_second).get() })
    }
}
