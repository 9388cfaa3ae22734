//! The other side of a connection, and who has been found to be there.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::tenants::{CertificateNames, Sender, Tenant};

/// The other side of a connection. Put into the extensions of a request by its connection.
#[derive(Clone, Debug)]
pub struct ConnectionPeer {
    /// Where it connects from.
    pub address: SocketAddr,
    /// The names in its certificate, if TLS has verified one.
    pub certificate: Option<Arc<CertificateNames>>,
}

/// A sender that the table of tenants knows.
#[derive(Clone, Debug)]
pub struct SenderIdentity {
    /// The tenant whose sender it is, as its row was when the request came.
    pub tenant: Arc<Tenant>,
    /// The sender's position in the tenant's `senders`.
    position: usize,
}

impl SenderIdentity {
    /// The sender at this position of the tenant's `senders`, where there has to be one.
    pub fn new(tenant: Arc<Tenant>, position: usize) -> Self {
        debug_assert!(position < tenant.senders.len(), "a tenant's sender is one of its `senders`");
        Self { tenant, position }
    }

    /// The sender within its tenant.
    pub fn sender(&self) -> &Sender {
        &self.tenant.senders[self.position]
    }
}
