//! Who has asked for a change by the API, and from where: every change is logged with that.

use std::net::SocketAddr;

use http::request::Parts;
use tracing::field::{DisplayValue, display};

use crate::access::AdminCredential;
use crate::receive::ConnectionPeer;
use crate::tenants::CertificateNames;

/// Who asks for a change.
#[derive(Clone, Debug)]
pub(super) struct ChangeAuthor {
    credential: AdminCredential,
    certificate: Option<String>,
    address: Option<SocketAddr>,
}

impl ChangeAuthor {
    /// Who has sent a request with this head, and was let in for this credential.
    pub(super) fn of(head: &Parts, credential: AdminCredential) -> Self {
        let peer = head.extensions.get::<ConnectionPeer>();
        let certificate = peer.and_then(|peer| peer.certificate.as_deref()).and_then(known_name);
        let address = peer.map(|peer| peer.address);
        Self { credential, certificate: certificate.map(str::to_owned), address }
    }

    /// In words for people, such as "the write token, from 192.0.2.1".
    pub(super) fn in_words(&self) -> String {
        let credential = match self.credential {
            AdminCredential::Nothing => "nobody known",
            AdminCredential::Certificate => "a client certificate",
            AdminCredential::ReadToken => "the read token",
            AdminCredential::WriteToken => "the write token",
        };
        // A certificate's name may be anything.
        let certificate = self.certificate.as_ref().map(|name| format!(" of `{}`", name.escape_debug()));
        let address = self.address.map(|address| format!(", from {}", address.ip()));
        [Some(credential.to_owned()), certificate, address].into_iter().flatten().collect()
    }

    /// For the log: by what it may be done, the name in the client certificate, and the address.
    pub(super) fn fields(&self) -> (&'static str, Option<&str>, Option<DisplayValue<SocketAddr>>) {
        (self.credential.name(), self.certificate.as_deref(), self.address.map(display))
    }
}

/// The name by which people know a certificate.
fn known_name(names: &CertificateNames) -> Option<&str> {
    let first = names.uris.first().or(names.dns.first());
    first.or(names.common_name.as_ref()).map(String::as_str)
}
