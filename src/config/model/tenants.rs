//! `tenants`, and the rows of the table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::units::{ByteRate, ByteSize, Timestamp};

/// The table of tenants: one row for each client, with all that is particular to it. Exactly one of `directory`, `file`
/// and `list` says where the rows are.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TenantsSection {
    /// A directory with a file for each row, `ID.yaml`. Changes are seen while Sluice runs, and a row that is wrong costs
    /// itself alone.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) directory: Option<PathBuf>,
    /// A file with a list of rows, of at most 16MiB. It is taken or refused as a whole; a change of it is a reload.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) file: Option<PathBuf>,
    /// The rows, in place. They are taken or refused as a whole.
    pub(in crate::config) list: Option<Vec<TenantRow>>,
    /// The resource attribute that names an entry's tenant, or a list of them of which the first that is present counts.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) attribute: TenantAttribute,
    /// A resource attribute into which the id of an authenticated sender's tenant is written, whatever was there.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) stamp: Option<String>,
    /// What happens to entries whose tenant is not in the table.
    pub(in crate::config) unknown: UnlistedTenant,
}

impl Default for TenantsSection {
    fn default() -> Self {
        Self {
            directory: None,
            file: None,
            list: None,
            attribute: TenantAttribute::One("tenant.id".into()),
            stamp: None,
            unknown: UnlistedTenant::default(),
        }
    }
}

/// What names an entry's tenant.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum TenantAttribute {
    /// A resource attribute.
    One(String),
    /// Resource attributes of which the first that is present counts.
    FirstOf(Vec<String>),
}

/// What happens to entries whose tenant is not in the table.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum UnlistedTenant {
    /// The sender is told by partial success.
    #[default]
    Reject,
    /// They become dead letters.
    DeadLetter,
    /// They are those of the row whose id is `default`.
    Default,
}

/// A row of the table: one tenant.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TenantRow {
    /// What the tenant is known by: 1 to 128 letters, digits, `.`, `_` and `-`, not beginning with a `.`. In a directory, the
    /// name of the file before `.yaml`.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) id: Option<String>,
    /// A word for people.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) platform: Option<String>,
    /// Who may send as this tenant. Without any, nobody who has to authenticate.
    pub(in crate::config) senders: Vec<TenantSender>,
    /// What templates read as `{{ tenant.NAME }}`: a text, or a list of texts that are tried in their order. They are secret:
    /// they are never shown.
    pub(in crate::config) values: BTreeMap<String, TenantValue>,
    /// The exporters that its entries go to, instead of those of the route.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) exporters: Option<Vec<String>>,
    /// How much the tenant may have.
    pub(in crate::config) limits: TenantShare,
    /// Refuse its senders with 503 for now. What is queued is delivered.
    pub(in crate::config) paused: bool,
    /// Deliver nothing of it for now. Its senders are taken on until there is no more room.
    pub(in crate::config) hold: bool,
}

/// Who may send as a tenant. It has exactly one of `token`, `token_sha256`, `basic` and `certificate`, which no other
/// sender has.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TenantSender {
    /// What the sender is called; formed as an `id` is.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) name: Option<String>,
    /// A bearer token, of which a hash alone is kept.
    pub(in crate::config) token: Option<String>,
    /// The SHA-256 of a bearer token, as 64 hexadecimal digits.
    pub(in crate::config) token_sha256: Option<String>,
    /// A user name and a password.
    pub(in crate::config) basic: Option<TenantPassword>,
    /// A name in a verified client certificate.
    pub(in crate::config) certificate: Option<TenantCertificate>,
    /// From when on the credential is worth nothing, such as `2026-12-01T00:00:00Z`.
    pub(in crate::config) expires: Option<Timestamp>,
    /// The tenants that its entries may name, as globs over ids. Without it, its own alone.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) may_send_for: Option<Vec<String>>,
}

/// A user name and a password.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TenantPassword {
    /// The user name, without a `:`.
    pub(in crate::config) username: Option<String>,
    /// The password, of which a hash alone is kept.
    pub(in crate::config) password: Option<String>,
}

/// A name in a verified client certificate: exactly one of `uri`, `dns` and `cn`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TenantCertificate {
    /// A URI among the alternative names, such as a SPIFFE ID.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) uri: Option<String>,
    /// A DNS name among the alternative names.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) dns: Option<String>,
    /// The common name of the subject.
    #[cfg_attr(test, schemars(extend("x-shown" = "name")))]
    pub(in crate::config) cn: Option<String>,
}

/// A text, or several that are tried in their order.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(untagged)]
pub(in crate::config) enum TenantValue {
    /// A text.
    One(String),
    /// Texts that are tried in their order.
    Several(Vec<String>),
}

/// How much a tenant may have; what is left out is not limited.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TenantShare {
    /// Bytes a second, in protobuf after decompression. Beyond it senders get 429, with the time after which they may come back.
    pub(in crate::config) rate: Option<ByteRate>,
    /// Bytes that may come at once. Without it, as many as `rate` allows in a second.
    pub(in crate::config) burst: Option<ByteSize>,
    /// Streams alive at a time: one per exporter, signal and routing key.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(in crate::config) streams: Option<usize>,
    /// Bytes that its streams hold in memory, those in flight included. With a journal, what is beyond stays on disk.
    pub(in crate::config) memory: Option<ByteSize>,
    /// Bytes that its streams hold in the journal.
    pub(in crate::config) journal: Option<ByteSize>,
}
