//! The owner of an entry: its sender's tenant, or the tenant that its resource names where the sender may send for it, or where
//! the receiver authenticates nobody.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::caller::printable;
use super::sender::SenderIdentity;
use crate::tenants::{Table, TableRow, Tenant, UnknownTenant};
use otlp::{self, Entry, Found, ReadValue};

/// The id of the row that stands in for tenants which are not in the table.
const STAND_IN: &str = "default";

/// The owner of an entry.
#[derive(Clone, Debug)]
pub enum Owner<'t> {
    /// No tenant: there is no table, or the entry names no tenant.
    Nobody,
    /// This tenant.
    Tenant(&'t Arc<Tenant>),
    /// The resource names a tenant that is not in the table.
    Unknown(UnknownOwner),
    /// The resource names a tenant that the sender may not send for.
    Foreign(ForeignOwner),
    /// The resource names several tenants by this attribute.
    Conflicting(String),
    /// The tenant's row can't be used now.
    Unavailable(UnavailableOwner),
}

/// A tenant that is not in the table.
#[derive(Clone, Debug)]
pub struct UnknownOwner {
    named: String,
}

/// A tenant that the sender may not send for.
#[derive(Clone, Debug)]
pub struct ForeignOwner {
    attribute: String,
    named: String,
    sender: String,
}

/// A tenant whose data is not taken now, so that its senders are to retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnavailableOwner {
    /// Its row is broken, and was never read without a fault. Its id may be any text that stands in the table.
    Broken(String),
    /// The tenant is paused.
    Paused(String),
    /// The row does not have the sender's credential any more, and may be another tenant's by now.
    Changed(String),
}

impl<'t> Owner<'t> {
    /// The owner of an entry with this encoded resource; `sender` is who has sent it, if the receiver knows its senders.
    pub fn of(table: &'t Table, sender: Option<&'t SenderIdentity>, resource: &[u8]) -> Self {
        if !table.is_configured() {
            return Self::Nobody;
        }
        let own = sender.map(|identity| (identity, identity.sender().may_send_for.as_deref()));
        // The stamp overwrites the attribute and hides those behind it, so only those before it are left to compare.
        let hidden_from = match own {
            Some((_, None)) => table.stamp().map(|stamp| {
                let at = table.attributes().iter().position(|attribute| attribute == stamp);
                at.unwrap_or(table.attributes().len())
            }),
            _ => None,
        };
        let attributes = &table.attributes()[..hidden_from.unwrap_or(table.attributes().len())];
        let (attribute, named) = match named(attributes, resource) {
            Ok(Some(named)) => named,
            Ok(None) => {
                return own.map_or_else(|| Self::unnamed(table), |(identity, _)| Self::own(table, identity));
            }
            Err(attribute) => return Self::Conflicting(attribute.to_owned()),
        };
        match own {
            Some((identity, _)) if *identity.tenant.id == *named => Self::own(table, identity),
            Some((identity, others))
                if !others.is_some_and(|others| others.iter().any(|glob| glob.matches(&named))) =>
            {
                Self::Foreign(ForeignOwner {
                    attribute: attribute.to_owned(),
                    named: printable(&named),
                    sender: identity.tenant.id.to_string(),
                })
            }
            _ => Self::listed(table, &named),
        }
    }

    /// The tenant of a sender, as its row is now: it may have changed, have been removed, or be another tenant's of the same id, while
    /// the body of the request came.
    fn own(table: &'t Table, identity: &SenderIdentity) -> Self {
        let (tenant, shown) = (&identity.tenant, &identity.sender().credential);
        match table.tenant(&tenant.id) {
            Some(TableRow::Ready(now)) if !now.senders.iter().any(|sender| sender.credential == *shown) => {
                Self::Unavailable(UnavailableOwner::Changed(tenant.id.to_string()))
            }
            Some(_) => Self::listed(table, &tenant.id),
            None => Self::Unavailable(UnavailableOwner::Broken(tenant.id.to_string())),
        }
    }

    /// The owner of an entry that names no tenant.
    fn unnamed(table: &'t Table) -> Self {
        match table.unknown() {
            UnknownTenant::Default => Self::stand_in(table),
            UnknownTenant::Reject | UnknownTenant::DeadLetter => Self::Nobody,
        }
    }

    /// The tenant of this id.
    pub fn listed(table: &'t Table, id: &str) -> Self {
        match table.tenant(id) {
            Some(TableRow::Ready(tenant)) if tenant.paused => {
                Self::Unavailable(UnavailableOwner::Paused(tenant.id.to_string()))
            }
            Some(TableRow::Ready(tenant)) => Self::Tenant(tenant),
            Some(TableRow::Broken) => Self::Unavailable(UnavailableOwner::Broken(id.to_owned())),
            None => {
                let unknown = Self::Unknown(UnknownOwner { named: printable(id) });
                if table.unknown() != UnknownTenant::Default || id == STAND_IN {
                    return unknown;
                }
                match Self::stand_in(table) {
                    Self::Unknown(_) => unknown,
                    stand_in => stand_in,
                }
            }
        }
    }

    fn stand_in(table: &'t Table) -> Self {
        Self::listed(table, STAND_IN)
    }

    /// The id of the tenant in the table that it is, whether it can be taken for it now or not.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Tenant(tenant) => Some(&tenant.id),
            Self::Unavailable(
                UnavailableOwner::Broken(id) | UnavailableOwner::Paused(id) | UnavailableOwner::Changed(id),
            ) => Some(id),
            Self::Nobody | Self::Unknown(_) | Self::Foreign(_) | Self::Conflicting(_) => None,
        }
    }
}

/// The owners of a request's entries. Where the table asks for that, the tenant's id is written into the resources of a sender's
/// entries; entries that the sender may not send are left as they are.
pub(super) fn owners<'t>(
    table: &'t Table,
    sender: Option<&'t SenderIdentity>,
    entries: &mut [Entry<'_>],
) -> SmallVec<[Owner<'t>; 4]> {
    let stamp = table.stamp().filter(|_| sender.is_some());
    let owner = |entry: &mut Entry<'_>| {
        let owner = Owner::of(table, sender, entry.resource());
        if let (Some(attribute), Owner::Tenant(tenant)) = (stamp, &owner) {
            entry.stamp(attribute, &tenant.id);
        }
        owner
    };
    entries.iter_mut().map(owner).collect()
}

/// The attribute that names a tenant, and what it names; an attribute that names several is an error.
fn named<'a>(
    attributes: &'a [String],
    resource: &'a [u8],
) -> Result<Option<(&'a str, Cow<'a, str>)>, &'a str> {
    let mut found: SmallVec<[Found<'_>; 2]> = smallvec::smallvec![Found::Absent; attributes.len()];
    otlp::find(resource, attributes, &mut found);
    for (attribute, found) in attributes.iter().zip(found) {
        let named = match found {
            Found::Value(ReadValue::Text(text)) if !text.trim().is_empty() => Cow::Borrowed(text),
            Found::Value(ReadValue::Int(number)) => Cow::Owned(number.to_string()),
            Found::Value(ReadValue::Bool(flag)) => Cow::Borrowed(if flag { "true" } else { "false" }),
            Found::Conflicting => return Err(attribute),
            Found::Value(_) | Found::Absent => continue,
        };
        return Ok(Some((attribute, named)));
    }
    Ok(None)
}

/// Describes the owner; for the log and the sender.
impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("it is no tenant's"),
            Self::Tenant(tenant) => write!(f, "it is the tenant `{}`'s", tenant.id),
            Self::Unknown(unknown) => unknown.fmt(f),
            Self::Foreign(foreign) => foreign.fmt(f),
            Self::Conflicting(attribute) => {
                write!(f, "the resource attribute `{attribute}` occurs twice with different values")
            }
            Self::Unavailable(unavailable) => unavailable.fmt(f),
        }
    }
}

/// The message for the sender.
impl fmt::Display for UnknownOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no tenant `{}`", self.named)
    }
}

/// The message for the sender.
impl fmt::Display for ForeignOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attribute, named, sender } = self;
        write!(f, "`{attribute}` names the tenant `{named}`, and a sender of `{sender}` may not send for it")
    }
}

/// The message for the sender.
impl fmt::Display for UnavailableOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(id) => {
                write!(f, "the tenant `{}` can't be served now; send it again later", printable(id))
            }
            Self::Paused(id) => write!(f, "the tenant `{id}` is paused; send it again later"),
            Self::Changed(id) => {
                write!(f, "the row of the tenant `{id}` has changed while the request came; send it again")
            }
        }
    }
}
