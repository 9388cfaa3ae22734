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
use tracing::warn;

use super::holds::{self, HoldSwitch};
use super::shared_page::SharedPage;
use super::stream_detail::{self, WrittenName};
use super::tenants::{self, TenantChange, TenantPage};
use super::{api, exporters, journal, letters, look, metrics, site};
use super::{stream_list, tenant_detail, tenant_list, tenant_metrics};
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
GET  /api/v1/streams       live streams (?exporter=NAME&tenant=ID&key=TEXT&signal=SIGNAL&state=STATE&sort=ORDER&limit=N&after=NEXT)
GET  /api/v1/streams/one   all about one stream (?exporter=NAME&signal=SIGNAL&tenant=ID&key=KEY)
GET  /api/v1/exporters     exporters and their counts (?q=TEXT&sort=ORDER&limit=N&after=NAME)
GET  /api/v1/exporters/NAME   all about one exporter
GET  /api/v1/dead-letters  dead letters, newest first (?limit=N&after=FILE)
GET  /api/v1/journal       the journal, and what nobody claims of it
GET  /api/v1/config        the configuration in use, secrets redacted
POST /api/v1/reload        reads the configuration again

POST   /api/v1/tenants            adds a tenant, and answers with a token for its sender
PUT    /api/v1/tenants/ID         replaces all of its row but its senders
PATCH  /api/v1/tenants/ID         changes what the body names of its row (a JSON merge patch)
DELETE /api/v1/tenants/ID         removes it, if nothing of it is pending
POST   /api/v1/tenants/ID/rotate  gives a sender another token
POST   /api/v1/tenants/ID/pause   refuses its senders; resume takes them on again
POST   /api/v1/tenants/ID/hold    delivers nothing of it; release does again
POST   /api/v1/streams/hold       delivers nothing of a stream; streams/release does again
POST   /api/v1/exporters/NAME/hold   delivers nothing of an exporter; exporters/NAME/release does again
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
    /// The same for streams and exporters, which takes less time.
    looking_at_streams: Arc<Mutex<()>>,
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
            (Page::Reload, &Method::POST) => return self.reload().await,
            (Page::Hold(switch), &Method::POST) => {
                return holds::change(&self.router, None, switch, &head, body, credential).await;
            }
            (Page::HoldExporter(name, switch), &Method::POST) => {
                let name = decoded(name);
                return holds::change(&self.router, Some(name), switch, &head, body, credential).await;
            }
            (Page::Reload | Page::Hold(_) | Page::HoldExporter(..), _) => return not_allowed("POST"),
            (Page::Tenants(TenantPage::All | TenantPage::One(_)), method) if is_read(method) => {}
            (Page::Tenants(page), _) => {
                return match TenantChange::of(page, &head) {
                    Ok(Some(change)) => tenants::change(&self.router, change, &head, body, credential).await,
                    Ok(None) => not_allowed(page.methods()),
                    Err(error) => problem(StatusCode::BAD_REQUEST, &error),
                };
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
    Stream,
    Hold(HoldSwitch),
    Exporters,
    Exporter(&'p str),
    HoldExporter(&'p str, HoldSwitch),
    DeadLetters,
    Journal,
    Config,
    Reload,
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
            "/api/v1/streams/one" => Self::Stream,
            "/api/v1/exporters" => Self::Exporters,
            "/api/v1/dead-letters" => Self::DeadLetters,
            "/api/v1/journal" => Self::Journal,
            "/api/v1/config" => Self::Config,
            "/api/v1/reload" => Self::Reload,
            _ => return Self::of_name(path),
        })
    }

    /// The page about what a path names.
    fn of_name(path: &'p str) -> Option<Self> {
        if let Some(switch) = path.strip_prefix("/api/v1/streams/") {
            return HoldSwitch::named(switch).map(Self::Hold);
        }
        // Names of exporters have a slash.
        if let Some(name) = path.strip_prefix("/api/v1/exporters/") {
            let switched =
                name.rsplit_once('/').and_then(|(name, switch)| Some((name, HoldSwitch::named(switch)?)));
            return Some(
                switched.map_or(Self::Exporter(name), |(name, switch)| Self::HoldExporter(name, switch)),
            );
        }
        TenantPage::at(path).map(Self::Tenants)
    }

    /// What it is to ask for it; nothing that anybody could be refused, if it is for probes.
    fn action(self, method: &Method) -> Option<AdminAction> {
        match self {
            Self::Healthz | Self::Readyz => None,
            Self::Index
            | Self::Metrics
            | Self::TenantMetrics
            | Self::Streams
            | Self::Stream
            | Self::Exporters
            | Self::Exporter(_)
            | Self::DeadLetters
            | Self::Journal
            | Self::Config => Some(AdminAction::Read),
            Self::Reload => Some(AdminAction::Reload),
            Self::Tenants(_) if is_read(method) => Some(AdminAction::Read),
            Self::Tenants(_) | Self::Hold(_) | Self::HoldExporter(..) => Some(AdminAction::Write),
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
            looking_at_streams: Arc::default(),
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
                let page = self.metrics.get(self.look_at_streams(metrics::encode)).await;
                answer(StatusCode::OK, metrics::CONTENT_TYPE, page)
            }
            Page::TenantMetrics => self.tenant_metrics().await,
            Page::Tenants(TenantPage::One(id)) => self.tenant(id).await,
            Page::Tenants(TenantPage::All) => self.tenants(query).await,
            Page::Tenants(page) => not_allowed(page.methods()),
            Page::Streams => self.streams(query).await,
            Page::Stream => self.stream(query).await,
            Page::Exporters => self.exporters(query).await,
            Page::Exporter(name) => self.exporter(name).await,
            Page::DeadLetters => self.dead_letters(query).await,
            Page::Journal => json(StatusCode::OK, &journal::shown(&self.router)),
            Page::Config => json(StatusCode::OK, &api::config(&self.router)),
            Page::Reload | Page::Hold(_) | Page::HoldExporter(..) => not_allowed("POST"),
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

    async fn streams(&self, query: &str) -> Answer {
        let wanted = match stream_list::wanted(query) {
            Ok(wanted) => wanted,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        match self.look_at_streams(move |router| stream_list::page(router, &wanted)).await {
            Ok(page) => json(StatusCode::OK, &page),
            Err(error) => problem(StatusCode::BAD_REQUEST, &error),
        }
    }

    async fn stream(&self, query: &str) -> Answer {
        let name = match WrittenName::of_query(query) {
            Ok(name) => name,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        match self.look_at_streams(move |router| stream_detail::shown(router, &name)).await {
            Ok(Some(stream)) => json(StatusCode::OK, &stream),
            Ok(None) => {
                problem(StatusCode::NOT_FOUND, "there is no stream of this name, and was none lately")
            }
            Err(error) => problem(StatusCode::BAD_REQUEST, &error),
        }
    }

    async fn exporters(&self, query: &str) -> Answer {
        let wanted = match exporters::wanted(query) {
            Ok(wanted) => wanted,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        match self.look_at_streams(move |router| exporters::page(router, &wanted)).await {
            Ok(page) => json(StatusCode::OK, &page),
            Err(error) => problem(StatusCode::BAD_REQUEST, &error),
        }
    }

    async fn exporter(&self, name: &str) -> Answer {
        let name = decoded(name);
        match self.look_at_streams(move |router| exporters::shown(router, &name)).await {
            Some(exporter) => json(StatusCode::OK, &exporter),
            None => problem(StatusCode::NOT_FOUND, "there is no exporter of this name"),
        }
    }

    /// Looks at all tenants and their streams, which takes so long with a hundred thousand of them that it is nothing for a worker,
    /// nor for several threads at a time.
    async fn look_at_tenants<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Arc<Router>) -> T + Send + 'static,
    ) -> T {
        self.look(self.looking_at_tenants.clone(), look).await
    }

    /// The same for what looks at all streams.
    async fn look_at_streams<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Arc<Router>) -> T + Send + 'static,
    ) -> T {
        self.look(self.looking_at_streams.clone(), look).await
    }

    async fn look<T: Send + 'static>(
        &self,
        looking: Arc<Mutex<()>>,
        look_at: impl FnOnce(&Arc<Router>) -> T + Send + 'static,
    ) -> T {
        let (alone, router) = (looking.lock_owned().await, self.router.clone());
        look::on_a_thread(move || {
            // Also if whoever asked has gone.
            let _alone = alone;
            look_at(&router)
        })
        .await
    }

    async fn dead_letters(&self, query: &str) -> Answer {
        let wanted = match letters::wanted(query) {
            Ok(wanted) => wanted,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        let directory = self.router.intake().dead_letters.load_full();
        match letters::page(directory.as_deref(), wanted).await {
            Ok(page) => json(StatusCode::OK, &page),
            Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error),
        }
    }

    async fn reload(&self) -> Answer {
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
}

/// How a request to this listener has come in.
fn entrance(settings: &ListenerSettings) -> AdminEntrance {
    AdminEntrance {
        loopback: settings.endpoint.ip().to_canonical().is_loopback(),
        certificates: settings.tls.as_ref().is_some_and(|tls| tls.demands_certificates()),
    }
}

/// A name as it stands in a path, without its percent-encoding. What is no text is no name, as this is none.
fn decoded(name: &str) -> String {
    percent_decode_str(name).decode_utf8().map(String::from).unwrap_or_default()
}

/// The token of a request, if it has a single one.
fn bearer_token(head: &Parts) -> Option<&[u8]> {
    let mut all = head.headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

fn not_allowed(method: &'static str) -> Answer {
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
