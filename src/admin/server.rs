//! The paths of the admin and health listeners.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::letters::{self, LettersPage};
use super::shared_page::SharedPage;
use super::tenants::{self, TenantChange, TenantPage};
use super::{api, explain, journal, metrics, query, site, tenant_detail, tenant_list, tenant_metrics};
use crate::access::{AdminAction, AdminCredential, AdminEntrance, AdminRefusal};
use crate::notice;
use crate::receive::{Answer, AnswerBody, ConnectionErrors, Handler, ListenerSettings, Peer, wrong_host};
use crate::run::{Phase, ReloadError, Role, Router};
use crate::stream::Budget;

const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// Bytes of pages that may be on their way at a time, but for the last that was begun.
const PAGES: u64 = 8 << 20;

/// What is read on `/`.
const INDEX: &str = "Sluice admin

GET  /metrics              Prometheus metrics
GET  /healthz              200 while the process runs
GET  /readyz               200 while it accepts telemetry
GET  /metrics/tenants      the same of each tenant, if admin.tenant_metrics is true
GET  /api/v1/tenants       the table of tenants (?q=TEXT&state=STATE&sort=ORDER&limit=N&after=ID)
GET  /api/v1/tenants/ID    all about one tenant
GET  /api/v1/streams       live streams (?exporter=NAME&tenant=ID&key=TEXT&state=STATE&limit=N)
GET  /api/v1/exporters     exporters and their counts
GET  /api/v1/dead-letters  dead letters, newest first (?exporter=NAME&tenant=ID&key=TEXT&reason=TEXT&limit=N&after=FILE)
GET  /api/v1/dead-letters/FILE  what is in one
GET  /api/v1/journal       the journal, and what nobody claims of it
GET  /api/v1/config        the configuration in use, secrets redacted
POST /api/v1/reload        reads the configuration again; with ?dry_run=true, says what that would do
POST /api/v1/explain       says where an OTLP request would go, and why (?signal=SIGNAL)

POST   /api/v1/dead-letters/replay  sends dead letters again; delete removes them

POST   /api/v1/tenants            adds a tenant, and answers with a token for its sender
PUT    /api/v1/tenants/ID         replaces all of its row but its senders
PATCH  /api/v1/tenants/ID         changes what the body names of its row (a JSON merge patch)
DELETE /api/v1/tenants/ID         removes it, if nothing of it is pending
POST   /api/v1/tenants/ID/rotate  gives a sender another token
POST   /api/v1/tenants/ID/pause   refuses its senders; resume takes them on again
POST   /api/v1/tenants/ID/hold    delivers nothing of it; release does again
";

/// Answers on the admin listener, or with health and metrics alone on the health listener.
#[derive(Debug)]
pub struct Admin {
    /// What is shown.
    router: Arc<Router>,
    /// Which of the two listeners this is.
    role: Role,
    /// What requests and pages are reserved on, which is not `limits.memory`: what is looked at must not depend on it.
    budget: Arc<Budget>,
    metrics: SharedPage,
    tenant_metrics: SharedPage,
    /// Held by who looks at every tenant: one at a time does.
    looking_at_tenants: Arc<Mutex<()>>,
    /// Held by who has a request explained: one at a time does.
    explaining: Arc<Mutex<()>>,
}

impl Handler for Admin {
    fn budget(&self) -> Option<&Arc<Budget>> {
        Some(&self.budget)
    }

    fn connection_errors(&self) -> Option<&ConnectionErrors> {
        Some(&self.router.intake().counters.connection_errors)
    }

    async fn answer(&self, settings: &ListenerSettings, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        if let Some(message) = wrong_host(&head) {
            return text(StatusCode::BAD_REQUEST, &format!("{message}\n"));
        }
        // What the health listener shows is for everybody, under whatever name Prometheus knows it.
        if self.role == Role::Admin && site::has_foreign_name(&settings.hosts, &head) {
            return self.refuse(settings, &head, AdminRefusal::ForeignName);
        }
        if site::is_of_foreign_page(settings.tls.is_some(), &head) {
            return self.refuse(settings, &head, AdminRefusal::ForeignPage);
        }
        let path = head.uri.path().to_owned();
        let page = match (self.role, path.as_str()) {
            (Role::Admin, path) => Page::at(path),
            // Where a Collector's `health_check` answers.
            (_, "/") => Some(Page::Readyz),
            (_, path) => Page::at(path).filter(|page| page.is_public()),
        };
        let Some(page) = page else {
            return text(
                StatusCode::NOT_FOUND,
                if self.role == Role::Admin {
                    "no such page; / lists them\n"
                } else {
                    "there are /healthz, /readyz and /metrics here\n"
                },
            );
        };
        let mut credential = AdminCredential::Nothing;
        if self.role == Role::Admin
            && let Some(action) = page.action(&head.method)
        {
            match self.router.admin_access().check(action, entrance(settings), bearer_token(&head)) {
                Ok(by) => credential = by,
                Err(refusal) => return self.refuse(settings, &head, refusal),
            }
        }
        match (page, &head.method) {
            (Page::Reload, &Method::POST) => return self.reload(head.uri.query().unwrap_or_default()).await,
            (Page::Explain, &Method::POST) => {
                return explain::explain(&self.router, &head, body, &self.explaining).await;
            }
            (Page::Reload | Page::Explain, _) => return not_allowed("POST"),
            (Page::Tenants(TenantPage::All | TenantPage::One(_)), method) if is_read(method) => {}
            (Page::Tenants(page), _) => {
                return match TenantChange::of(page, &head) {
                    Ok(Some(change)) => tenants::change(&self.router, change, &head, body, credential).await,
                    Ok(None) => not_allowed(page.methods()),
                    Err(error) => problem(StatusCode::BAD_REQUEST, &error),
                };
            }
            (Page::DeadLetters(LettersPage::Change(action)), &Method::POST) => {
                return letters::change(&self.router, action, &head, body, credential).await;
            }
            (_, method) if is_read(method) => {}
            _ => return not_allowed("GET"),
        }
        // Whoever takes no answers must not keep probes from theirs, which are a few bytes.
        if !matches!(page, Page::Healthz | Page::Readyz) && !self.budget.has_room(1) {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many pages are on their way to others; try again\n",
            );
        }
        self.show(page, head.uri.query().unwrap_or_default()).await
    }
}

/// The pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page<'p> {
    Index,
    Metrics,
    TenantMetrics,
    Healthz,
    Readyz,
    Streams,
    Exporters,
    DeadLetters(LettersPage<'p>),
    Journal,
    Config,
    Reload,
    Explain,
    Tenants(TenantPage<'p>),
}

/// Whether a request by this method changes nothing.
fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

impl<'p> Page<'p> {
    fn at(path: &'p str) -> Option<Self> {
        Some(match path {
            "/" => Self::Index,
            "/metrics" => Self::Metrics,
            "/metrics/tenants" => Self::TenantMetrics,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/api/v1/streams" => Self::Streams,
            "/api/v1/exporters" => Self::Exporters,
            "/api/v1/journal" => Self::Journal,
            "/api/v1/config" => Self::Config,
            "/api/v1/reload" => Self::Reload,
            "/api/v1/explain" => Self::Explain,
            _ => {
                let tenants = || TenantPage::at(path).map(Self::Tenants);
                return LettersPage::at(path).map(Self::DeadLetters).or_else(tenants);
            }
        })
    }

    /// What it is to ask for it; nothing that anybody could be refused, if it is for probes.
    fn action(self, method: &Method) -> Option<AdminAction> {
        match self {
            Self::Healthz | Self::Readyz => None,
            Self::Index
            | Self::Metrics
            | Self::TenantMetrics
            | Self::Streams
            | Self::Exporters
            | Self::Journal
            // It takes nothing in.
            | Self::Explain
            | Self::Config => Some(AdminAction::Read),
            Self::Reload => Some(AdminAction::Reload),
            Self::DeadLetters(LettersPage::Change(_)) if !is_read(method) => Some(AdminAction::Write),
            Self::DeadLetters(_) => Some(AdminAction::Read),
            Self::Tenants(_) if is_read(method) => Some(AdminAction::Read),
            Self::Tenants(_) => Some(AdminAction::Write),
        }
    }

    /// Whether the health listener has it, too.
    fn is_public(self) -> bool {
        matches!(self, Self::Metrics | Self::Healthz | Self::Readyz)
    }
}

impl Admin {
    /// What answers in one of these two roles.
    pub fn new(router: Arc<Router>, role: Role) -> Self {
        Self {
            router,
            role,
            budget: Arc::new(Budget::new(PAGES)),
            metrics: SharedPage::default(),
            tenant_metrics: SharedPage::default(),
            looking_at_tenants: Arc::default(),
            explaining: Arc::default(),
        }
    }

    /// Counts a request that is refused, tells of it in the log, and answers it.
    fn refuse(&self, settings: &ListenerSettings, head: &Parts, refusal: AdminRefusal) -> Answer {
        self.router.admin_access().count(refusal);
        let peer = head.extensions.get().map(|peer: &Peer| peer.address);
        let scope = (&settings.name, peer.map(|peer| peer.ip()));
        if let Some(suppressed) = notice::due_for_one_of_many(&scope, refusal.name()) {
            let (listener, peer) = (&settings.name, peer.map(tracing::field::display));
            let cause = refusal.name();
            warn!(%listener, peer, cause, suppressed, "request refused: {}", refusal.message());
        }
        let unknown = matches!(refusal, AdminRefusal::NoToken | AdminRefusal::WrongToken);
        let status = if unknown { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
        let mut answer = text(status, &format!("{}\n", refusal.message()));
        if unknown {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }

    async fn show(&self, page: Page<'_>, query: &str) -> Answer {
        match page {
            Page::Index => text(StatusCode::OK, INDEX),
            Page::Healthz => text(StatusCode::OK, "ok\n"),
            Page::Readyz => match self.router.phase() {
                Phase::Ready => text(StatusCode::OK, "ready\n"),
                Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
                Phase::Stopping => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            },
            Page::Metrics => {
                let page = self.metrics.get(async { metrics::encode(&self.router) }).await;
                answer(StatusCode::OK, metrics::CONTENT_TYPE, page)
            }
            Page::TenantMetrics => self.tenant_metrics().await,
            Page::Tenants(TenantPage::One(id)) => self.tenant(id).await,
            Page::Tenants(TenantPage::All) => self.tenants(query).await,
            Page::Tenants(page) => not_allowed(page.methods()),
            Page::Streams => match api::streams(&self.router, query) {
                Ok(streams) => json(StatusCode::OK, &streams),
                Err(error) => problem(StatusCode::BAD_REQUEST, &error),
            },
            Page::DeadLetters(page) => letters::show(&self.router, page, query).await,
            Page::Journal => json(StatusCode::OK, &journal::shown(&self.router)),
            Page::Exporters => json(StatusCode::OK, &api::exporters(&self.router)),
            Page::Config => json(StatusCode::OK, &api::config(&self.router)),
            Page::Reload | Page::Explain => not_allowed("POST"),
        }
    }

    async fn tenant_metrics(&self) -> Answer {
        if !self.router.report().tenant_metrics {
            return text(
                StatusCode::NOT_FOUND,
                "metrics of each tenant are off: write `admin: { tenant_metrics: true }`\n",
            );
        }
        let page = self.tenant_metrics.get(self.look_at_tenants(tenant_metrics::encode)).await;
        answer(StatusCode::OK, metrics::CONTENT_TYPE, page)
    }

    async fn tenants(&self, query: &str) -> Answer {
        let wanted = match tenant_list::wanted(query) {
            Ok(wanted) => wanted,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        match self.look_at_tenants(move |router| tenant_list::page(router, &wanted)).await {
            Ok(page) => json(StatusCode::OK, &page),
            Err(error) => problem(StatusCode::BAD_REQUEST, &error),
        }
    }

    async fn tenant(&self, id: &str) -> Answer {
        let id = percent_decode_str(id).decode_utf8_lossy().into_owned();
        match self.look_at_tenants(move |router| tenant_detail::shown(router, &id)).await {
            Some(tenant) => json(StatusCode::OK, &tenant),
            None => problem(StatusCode::NOT_FOUND, "there is no tenant of this id"),
        }
    }

    /// Looks at all tenants and their streams, which takes so long with a hundred thousand of them that it is nothing for a worker,
    /// nor for several threads at a time.
    async fn look_at_tenants<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Arc<Router>) -> T + Send + 'static,
    ) -> T {
        let (alone, router) = (self.looking_at_tenants.clone().lock_owned().await, self.router.clone());
        let looking = spawn_blocking(move || {
            // Also if whoever asked has gone.
            let _alone = alone;
            look(&router)
        });
        looking.await.expect("looking at tenants doesn't panic")
    }

    async fn reload(&self, query: &str) -> Answer {
        match dry_run(query) {
            Ok(false) => {}
            Ok(true) => return self.plan_reload().await,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        }
        // In a task of its own: an impatient client must not cancel a reload half way.
        let router = self.router.clone();
        let reload = tokio::spawn(async move { router.reload().await });
        match reload.await.unwrap_or(Err(ReloadError::Stopping)) {
            Ok(version) => json(StatusCode::OK, &json!({ "version": version })),
            Err(error) => {
                let problems = api::problems(&error);
                json(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    &json!({ "error": error.to_string(), "problems": problems }),
                )
            }
        }
    }

    /// What a reload would do.
    async fn plan_reload(&self) -> Answer {
        match self.router.plan_reload().await {
            Ok(plan) => {
                let mut plan = json!(plan);
                plan["valid"] = true.into();
                plan["problems"] = json!([]);
                json(StatusCode::OK, &plan)
            }
            Err(error) => json(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({
                    "valid": false,
                    "error": error.to_string(),
                    "problems": api::problems(&error),
                    "text": api::text(&error),
                }),
            ),
        }
    }
}

/// Whether a reload is only to be looked at.
fn dry_run(text: &str) -> Result<bool, String> {
    let mut dry_run = false;
    for (name, value) in query::parameters(text) {
        dry_run = match (name, value.as_str()) {
            ("dry_run", "true") => true,
            ("dry_run", "false") => false,
            ("dry_run", _) => return Err("`dry_run` is true or false".to_owned()),
            _ => return Err(format!("unknown parameter `{name}`: there is dry_run")),
        };
    }
    Ok(dry_run)
}

/// How a request to this listener has come in.
fn entrance(settings: &ListenerSettings) -> AdminEntrance {
    AdminEntrance {
        loopback: settings.endpoint.ip().to_canonical().is_loopback(),
        certificates: settings.tls.as_ref().is_some_and(|tls| tls.demands_certificates()),
    }
}

/// The token of a request, if it has a single one.
fn bearer_token(head: &Parts) -> Option<&[u8]> {
    let mut all = head.headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

pub(super) fn not_allowed(method: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("this page takes {method}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    answer
}

pub(super) fn text(status: StatusCode, body: &str) -> Answer {
    answer(status, TEXT, body.to_owned())
}

pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    answer(status, JSON, body.to_string() + "\n")
}

pub(super) fn problem(status: StatusCode, error: &str) -> Answer {
    json(status, &json!({ "error": error }))
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(AnswerBody::from(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
