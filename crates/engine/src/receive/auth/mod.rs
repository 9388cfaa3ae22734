//! Authentication of senders, by the heads of their requests, before the bodies are read.
//!
//! A receiver with `auth` has an [`Authenticator`], which knows senders by what they show: a bearer token, a user and a
//! password, or the certificate of their connection. Those of the table of tenants have a [`SenderIdentity`], which goes with the
//! request into the intake. All others are refused, counted and told of by [`failures`].
//!
//! A credential is taken out of the head that it comes in, so that nothing behind this module can keep or show it.

mod bearer;
mod certificate;
mod credential;
mod failures;
mod htpasswd;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use ::http::HeaderName;
use ::http::HeaderValue;
use ::http::header::AUTHORIZATION;
use ::http::request::Parts;

use self::credential::{MalformedCredential, ShownCredential, user_password};
use self::failures::network_of;
use self::htpasswd::Verified;
use super::caller::Caller;
use super::sender::{ConnectionPeer, SenderIdentity};
use crate::telemetry::RequestTrace;
use crate::tenants::{SenderLookup, Table, Tenants};

pub use bearer::BearerTokens;
pub(super) use certificate::names_of;
#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub use credential::check as check_credential;
pub use failures::{AuthFailure, AuthFailures};
pub use htpasswd::{HtpasswdUsers, WrongLine};

/// The answer to a sender that shows no credential, or none that is known. Only the log says which of both it was.
pub(super) const UNAUTHORIZED: &str = "Unauthorized";

/// The realm in challenges (RFC 9110, section 11.5).
const REALM: &str = "sluice";

/// The authenticator of a receiver.
#[derive(Debug, PartialEq, Eq)]
pub enum Authenticator {
    /// The table of tenants.
    Tenants,
    /// `bearertokenauth`.
    Bearer(BearerTokens),
    /// `basicauth`.
    Basic(HtpasswdUsers),
}

/// Why a request is not taken, and what there is to say about that in the log.
struct AuthRefusal {
    failure: AuthFailure,
    /// Without anything of the credential.
    why: Option<&'static str>,
    tenant: Option<Arc<str>>,
}

impl From<AuthFailure> for AuthRefusal {
    fn from(failure: AuthFailure) -> Self {
        Self { failure, why: None, tenant: None }
    }
}

impl From<MalformedCredential> for AuthRefusal {
    fn from(MalformedCredential(why): MalformedCredential) -> Self {
        Self { failure: AuthFailure::Malformed, why: Some(why), tenant: None }
    }
}

impl Authenticator {
    /// Authenticates the sender of a request that came by the receiver of this name. A network that has failed often waits for the
    /// answer, or its credential is not looked at.
    pub(super) async fn authenticate(
        &self,
        receiver: &Arc<str>,
        tenants: &Tenants,
        failures: &AuthFailures,
        head: &mut Parts,
    ) -> Result<Option<SenderIdentity>, AuthFailure> {
        let network = head.extensions.get().map(|peer: &ConnectionPeer| network_of(peer.address.ip()));
        let identified = if network.is_none_or(|network| failures.looks_at(network)) {
            self.identify(tenants, head).await
        } else {
            Err(AuthFailure::TooManyFailures.into())
        };
        match identified {
            Ok(identity) => {
                if let Some(trace) = head.extensions.get::<RequestTrace>() {
                    trace.trust_sender();
                }
                if let Some(network) = network {
                    failures.note_right(network);
                }
                if let Some(identity) = &identity {
                    let (tenant, sender) = (&identity.tenant, identity.sender());
                    let from = head.extensions.get().map(|peer: &ConnectionPeer| peer.address);
                    tenants.account(&tenant.id).totals().note_sender(sender, &tenant.senders, from);
                }
                Ok(identity)
            }
            Err(refusal) => {
                let failure = refusal.failure;
                if let Some(tenant) = &refusal.tenant {
                    tenants.account(tenant).totals().count_refused_request();
                }
                // In a box, since it is rare.
                Box::pin(failures.add(&Caller::of(receiver, head, None), refusal)).await;
                Err(failure)
            }
        }
    }

    /// The challenges of a 401 answer (RFC 9110, section 11.6.1).
    pub(super) fn challenges(&self) -> Vec<HeaderValue> {
        let bearer = |scheme: &str| format!("{scheme} realm=\"{REALM}\"");
        let basic = || format!("Basic realm=\"{REALM}\", charset=\"UTF-8\"");
        let challenges = match self {
            Self::Tenants => vec![bearer("Bearer"), basic()],
            Self::Bearer(tokens) if tokens.scheme().is_empty() => vec![bearer("Bearer")],
            Self::Bearer(tokens) => vec![bearer(tokens.scheme())],
            Self::Basic(_) => vec![basic()],
        };
        challenges.into_iter().filter_map(|challenge| challenge.try_into().ok()).collect()
    }

    async fn identify(
        &self,
        tenants: &Tenants,
        head: &mut Parts,
    ) -> Result<Option<SenderIdentity>, AuthRefusal> {
        let shown = take_header(head, self.header())?;
        match self {
            Self::Tenants => {
                let now = SystemTime::now();
                identify(&tenants.table(), shown.as_ref(), head.extensions.get(), now).map(Some)
            }
            Self::Bearer(tokens) => {
                let shown = shown.ok_or(AuthFailure::Missing)?;
                if tokens.takes(shown.as_bytes())? { Ok(None) } else { Err(AuthFailure::Unknown.into()) }
            }
            Self::Basic(htpasswd) => {
                let shown = shown.ok_or(AuthFailure::Missing)?;
                let pair = user_password(shown.as_bytes())?;
                match htpasswd.verify(pair.username(), pair.password()).await {
                    Verified::Right => Ok(None),
                    Verified::Wrong => Err(AuthFailure::Unknown.into()),
                    Verified::Busy => Err(AuthFailure::Unavailable.into()),
                }
            }
        }
    }

    /// The header that is looked at.
    fn header(&self) -> &HeaderName {
        match self {
            Self::Bearer(tokens) => tokens.header(),
            Self::Tenants | Self::Basic(_) => &AUTHORIZATION,
        }
    }
}

/// Removes a header from the head and returns its value. Several values are an error, since a proxy before this receiver may have
/// checked any of them.
fn take_header(head: &mut Parts, name: &HeaderName) -> Result<Option<HeaderValue>, MalformedCredential> {
    let several = head.headers.get_all(name).iter().nth(1).is_some();
    let value = head.headers.remove(name);
    if several { Err(MalformedCredential("there are several of them")) } else { Ok(value) }
}

/// Looks a sender up in the table: by its header if there is one, else by the certificate of its connection.
fn identify(
    table: &Table,
    shown: Option<&HeaderValue>,
    peer: Option<&ConnectionPeer>,
    now: SystemTime,
) -> Result<SenderIdentity, AuthRefusal> {
    let certificate = peer.and_then(|peer| peer.certificate.as_deref());
    let found = match (shown.map(|shown| ShownCredential::read(shown.as_bytes())).transpose()?, certificate) {
        (Some(ShownCredential::Token(token)), _) => table.by_token(token, now),
        (Some(ShownCredential::Basic(pair)), _) => table.by_basic(pair.username(), pair.password(), now),
        (None, Some(names)) => table.by_certificate(names, now),
        (None, None) => return Err(AuthFailure::Missing.into()),
    };
    match found {
        SenderLookup::Sender { tenant, .. } if tenant.paused => {
            Err(AuthRefusal { tenant: Some(tenant.id.clone()), ..AuthFailure::Paused.into() })
        }
        SenderLookup::Sender { tenant, position } => Ok(SenderIdentity::new(tenant.clone(), position)),
        SenderLookup::Unknown => Err(AuthFailure::Unknown.into()),
        SenderLookup::Expired => Err(AuthFailure::Expired.into()),
        SenderLookup::Unavailable => Err(AuthFailure::Unavailable.into()),
    }
}

/// For the log.
impl fmt::Display for AuthRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Some(why) => write!(f, "{}: {why}", self.failure.problem()),
            None => f.write_str(self.failure.problem()),
        }?;
        write!(f, "; {}", self.failure.advice())
    }
}

#[cfg(test)]
mod tests;
