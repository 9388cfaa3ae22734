//! Changes of the table of tenants by the API: what a request asks for, and what it is told. Who asks may write, which has
//! been checked; each change is logged with who that is.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, LOCATION};
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use tracing::info;

use super::change_author::ChangeAuthor;
use super::holds::put_released;
use super::server::{self, JSON};
use super::{body, query};
use crate::access::AdminCredential;
use crate::config::{self, LARGEST_ROW};
use crate::export::ReleasedStreams;
use crate::receive::HttpResponse;
use crate::run::{IssuedToken, RemovedTenant, Router, SwitchedTenant, TenantChangeError, TenantSwitch};
use crate::tenants::Tenant;
use crate::utc::rfc3339;

/// The media type of a JSON merge patch (RFC 7396).
const MERGE_PATCH: &str = "application/merge-patch+json";

/// How long the token before goes on if a rotation does not say.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// The pages by which the table is changed. Ids stand as in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TenantPage<'p> {
    All,
    One(&'p str),
    Switch(&'p str, TenantSwitch),
    Rotate(&'p str),
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) enum TenantChange {
    Create,
    Replace(String),
    Patch(String),
    Delete(String, PendingData),
    Switch(String, TenantSwitch),
    Rotate(String),
}

/// What becomes of what is pending of a tenant that is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingData {
    /// It keeps the tenant from being removed.
    Refuse,
    DeadLetter,
}

impl<'p> TenantPage<'p> {
    pub(super) fn at(path: &'p str) -> Option<Self> {
        let Some(rest) = path.strip_prefix("/api/v1/tenants")?.strip_prefix('/') else {
            return (path == "/api/v1/tenants").then_some(Self::All);
        };
        let Some((id, action)) = rest.split_once('/') else { return Some(Self::One(rest)) };
        if action == "rotate" {
            return Some(Self::Rotate(id));
        }
        let switch = TenantSwitch::ALL.into_iter().find(|switch| switch.name() == action)?;
        Some(Self::Switch(id, switch))
    }

    /// The methods that it takes.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::All => "GET, POST",
            Self::Switch(..) | Self::Rotate(_) => "POST",
            Self::One(_) => "GET, PUT, PATCH, DELETE",
        }
    }
}

impl TenantChange {
    /// What a request asks for on a page; `None` if the page does not take its method. An error is for whoever has sent it.
    pub(super) fn of(page: TenantPage<'_>, head: &Parts) -> Result<Option<Self>, String> {
        let mut pending = PendingData::Refuse;
        for (name, value) in query::parameters(head.uri.query().unwrap_or_default()) {
            match (page, &head.method, name, value.as_str()) {
                (TenantPage::One(_), &Method::DELETE, "pending", "dead_letter") => {
                    pending = PendingData::DeadLetter;
                }
                (TenantPage::One(_), &Method::DELETE, "pending", _) => {
                    return Err("`pending` can be dead_letter, and nothing else".to_owned());
                }
                _ => return Err("this page takes no such parameter; DELETE takes `pending`".to_owned()),
            }
        }
        Ok(Self::asked(page, &head.method, pending))
    }

    fn asked(page: TenantPage<'_>, method: &Method, pending: PendingData) -> Option<Self> {
        // What is no text is no id, as this is none.
        let decoded = |id: &str| percent_decode_str(id).decode_utf8().map(String::from).unwrap_or_default();
        match (page, method) {
            (TenantPage::All, &Method::POST) => Some(Self::Create),
            (TenantPage::One(id), &Method::PUT) => Some(Self::Replace(decoded(id))),
            (TenantPage::One(id), &Method::PATCH) => Some(Self::Patch(decoded(id))),
            (TenantPage::One(id), &Method::DELETE) => Some(Self::Delete(decoded(id), pending)),
            (TenantPage::Switch(id, switch), &Method::POST) => Some(Self::Switch(decoded(id), switch)),
            (TenantPage::Rotate(id), &Method::POST) => Some(Self::Rotate(decoded(id))),
            _ => None,
        }
    }

    /// What is done, for the log.
    fn name(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace(_) => "replace",
            Self::Patch(_) => "patch",
            Self::Delete(_, PendingData::Refuse) => "delete",
            Self::Delete(_, PendingData::DeadLetter) => "delete and dead-letter",
            Self::Switch(_, switch) => switch.name(),
            Self::Rotate(_) => "rotate",
        }
    }

    /// The tenant that the path names.
    fn id(&self) -> Option<&str> {
        match self {
            Self::Create => None,
            Self::Replace(id)
            | Self::Patch(id)
            | Self::Delete(id, _)
            | Self::Switch(id, _)
            | Self::Rotate(id) => Some(id),
        }
    }
}

/// Does what is asked for, and answers when the table in use has it.
pub(super) async fn change(
    router: &Arc<Router>,
    change: TenantChange,
    head: &Parts,
    body: Incoming,
    credential: AdminCredential,
) -> HttpResponse {
    let fields = match &change {
        TenantChange::Create | TenantChange::Replace(_) => {
            body::object(head, body, &[JSON], false, LARGEST_ROW).await
        }
        TenantChange::Patch(_) => body::object(head, body, &[JSON, MERGE_PATCH], false, LARGEST_ROW).await,
        TenantChange::Rotate(_) => body::object(head, body, &[JSON], true, LARGEST_ROW).await,
        TenantChange::Delete(..) | TenantChange::Switch(..) => Ok(Map::new()),
    };
    let fields = match fields {
        Ok(fields) => fields,
        Err(problem) => return problem.answer(),
    };
    let (author, action) = (ChangeAuthor::of(head, credential), change.name());
    let (by, certificate, peer) = author.fields();
    let id = change.id().or_else(|| fields.get("id")?.as_str()).filter(|id| config::is_tenant_id(id));
    let tenant = id.map(str::to_owned);
    // In a task of its own: an impatient client must not cancel a change half way.
    let changing = tokio::spawn(apply(router.clone(), change, fields));
    match changing.await.expect("changing a row doesn't panic") {
        Ok(AppliedChange { answer, released }) => {
            let (tried, away) = (released.map(|streams| streams.tried), released.map(|streams| streams.away));
            let released = released.map(|streams| streams.released);
            info!(
                tenant,
                action, released, tried, away, by, certificate, peer, "the table of tenants is changed"
            );
            answer
        }
        Err(refusal) => {
            info!(tenant, action, by, certificate, peer, "the table of tenants is not changed: {refusal}");
            refusal.answer()
        }
    }
}

/// Why a request to change the table is refused.
#[derive(Debug, thiserror::Error)]
enum ChangeRefusal {
    #[error("the body needs an `id`, which is a text")]
    NoId,
    #[error("there are `sender` and `overlap` in the body of a rotation, and no other key")]
    RotationKey,
    #[error("`sender` is the name of a sender, as a text")]
    SenderName,
    #[error("`overlap` is a duration such as \"24h\" or \"0s\"")]
    Overlap,
    #[error(transparent)]
    Change(#[from] TenantChangeError),
}

/// What has come of a request.
struct AppliedChange {
    answer: HttpResponse,
    /// After a release.
    released: Option<ReleasedStreams>,
}

async fn apply(
    router: Arc<Router>,
    change: TenantChange,
    fields: Map<String, Value>,
) -> Result<AppliedChange, ChangeRefusal> {
    let answer = match change {
        TenantChange::Create => {
            let id = fields.get("id").and_then(Value::as_str).ok_or(ChangeRefusal::NoId)?.to_owned();
            let location = HeaderValue::try_from(format!("/api/v1/tenants/{id}"));
            let issued = router.create_tenant(id, fields).await?;
            let mut answer = server::json(StatusCode::CREATED, &issued_json(&issued));
            if let Ok(location) = location {
                answer.headers_mut().insert(LOCATION, location);
            }
            answer
        }
        TenantChange::Replace(id) => changed(&*router.replace_tenant(id, fields).await?),
        TenantChange::Patch(id) => changed(&*router.patch_tenant(id, fields).await?),
        TenantChange::Switch(id, switch) => {
            let SwitchedTenant { row, released } = router.switch_tenant(id, switch).await?;
            let mut shown = row_json(&row);
            if let Some(streams) = released {
                put_released(&mut shown, streams);
            }
            return Ok(AppliedChange { answer: server::json(StatusCode::OK, &shown), released });
        }
        TenantChange::Rotate(id) => {
            let (sender, overlap) = rotation(&fields)?;
            let issued = router.rotate_token(id, sender, overlap).await?;
            server::json(StatusCode::OK, &issued_json(&issued))
        }
        TenantChange::Delete(id, pending) => {
            let removed = match pending {
                PendingData::Refuse => {
                    router.delete_tenant(id.clone()).await?;
                    RemovedTenant::default()
                }
                PendingData::DeadLetter => router.delete_pending_tenant(id.clone()).await?,
            };
            let RemovedTenant { pending_bytes, dead_lettered, dropped } = removed;
            let status = if pending_bytes == 0 { StatusCode::OK } else { StatusCode::ACCEPTED };
            let body = json!({
                "id": id,
                "deleted": true,
                "pending_bytes": pending_bytes,
                "dead_lettered": dead_lettered,
                "dropped": dropped,
            });
            server::json(status, &body)
        }
    };
    Ok(AppliedChange { answer, released: None })
}

fn changed(tenant: &Tenant) -> HttpResponse {
    server::json(StatusCode::OK, &row_json(tenant))
}

fn row_json(tenant: &Tenant) -> Value {
    json!({ "id": *tenant.id, "paused": tenant.paused, "hold": tenant.hold })
}

/// The one place where a token is shown.
fn issued_json(issued: &IssuedToken) -> Value {
    json!({
        "id": issued.tenant,
        "sender": issued.sender,
        "token": issued.token.expose_secret(),
        "former": issued.former.as_ref().map(|(name, ends)| json!({ "sender": name, "expires": rfc3339(*ends) })),
    })
}

/// The sender whose token is to be changed, if it is named, and how long the one before goes on.
fn rotation(fields: &Map<String, Value>) -> Result<(Option<String>, Duration), ChangeRefusal> {
    let (mut sender, mut overlap) = (None, OVERLAP);
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("sender" | "overlap", Value::Null) => {}
            ("sender", value) => sender = Some(value.as_str().ok_or(ChangeRefusal::SenderName)?.to_owned()),
            ("overlap", value) => {
                let duration = value.as_str().and_then(|text| config::duration(text).ok());
                overlap = duration.ok_or(ChangeRefusal::Overlap)?;
            }
            _ => return Err(ChangeRefusal::RotationKey),
        }
    }
    Ok((sender, overlap))
}

impl ChangeRefusal {
    fn answer(&self) -> HttpResponse {
        let problems = match self {
            Self::Change(error) => error.problems(),
            _ => &[],
        };
        server::json(self.status(), &json!({ "error": self.to_string(), "problems": problems }))
    }

    fn status(&self) -> StatusCode {
        use TenantChangeError as Error;
        let Self::Change(error) = self else { return StatusCode::UNPROCESSABLE_ENTITY };
        match error {
            Error::UnknownTenant | Error::UnknownSender(_) => StatusCode::NOT_FOUND,
            Error::NoId
            | Error::OtherId
            | Error::Senders
            | Error::Unusable(_)
            | Error::Unwritable(_)
            | Error::TooLarge(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::File { reason, .. } => match reason.kind() {
                std::io::ErrorKind::PermissionDenied
                | std::io::ErrorKind::ReadOnlyFilesystem
                | std::io::ErrorKind::NotFound => StatusCode::CONFLICT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Error::NoTable
            | Error::NoDirectory
            | Error::TenantExists(_)
            | Error::NoToken
            | Error::SeveralSenders(_)
            | Error::Broken(_)
            | Error::Link(_)
            | Error::ChangedMeanwhile(_)
            | Error::Pending(_)
            | Error::PendingWithoutRow(_)
            | Error::FormerToken(_)
            | Error::TwoFiles(..)
            | Error::NoDeadLetters
            | Error::Leaving(_)
            | Error::Conflict(_)
            | Error::Unused(_) => StatusCode::CONFLICT,
        }
    }
}
