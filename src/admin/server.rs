//! The paths of the admin and health listeners.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::answers::{answer, json, not_allowed, problem, text};
use super::attention::TableFindings;
use super::change_author::ChangeAuthor;
use super::dead_letters::{self, DeadLettersPage};
use super::follow::{self, Followers, Joined, PageReader, Unfollowable};
use super::history::{self, HistorySubject, MetricHistory, WantedHistory};
use super::holds::{self, HoldSwitch};
use super::logs::SearchTurns;
use super::shared_page::SharedPage;
use super::stream_detail::{self, WrittenName};
use super::tenants::{self, TenantChange, TenantPage};
use super::{
    api, body, dashboard, explain, exporters, first_steps, journal, logs, look, metric_writer, metrics,
    overview, query, site, stream_list, tap, tenant_detail, tenant_list, tenant_metrics, watches,
};
use crate::access::{AdminAction, AdminCredential, AdminEntrance, AdminRefusal};
use crate::notice;
use crate::panics::spawn_contained;
use crate::receive::{
    ConnectionErrors, ConnectionPeer, Handler, HttpResponse, ListenerSettings, UnreadBody, whole_body,
    wrong_host,
};
use crate::run::{Phase, ReloadError, Role, Router};
use crate::secret_hash::SecretHash;
use crate::stream::Budget;

/// The admin listener's answer to unknown paths.
pub(crate) const NO_PAGE: &str = "no such page; / lists them\n";

/// The health listener's answer to unknown paths.
pub(crate) const HEALTH_PAGES: &str = "there are /healthz, /readyz and /metrics here\n";

/// Bytes of answers that may be on their way at a time, not counting the last one that was begun.
const PAGES: u64 = 8 << 20;

/// Bytes of a candidate for the configuration.
const LARGEST_CANDIDATE: usize = 4 << 20;

/// The media types of a candidate for the configuration.
const CANDIDATE_TYPES: [&str; 5] =
    ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain"];

/// The page `/` for clients that do not ask for HTML; browsers see the dashboard there.
const INDEX: &str = "Sluice admin; in a browser this is the dashboard

GET  /metrics              Prometheus metrics
GET  /healthz              200 while the process runs
GET  /readyz               200 while it accepts telemetry
GET  /metrics/tenants      the same of each tenant, if admin.tenant_metrics is true
GET  /api/v1/overview      all at a glance, and what needs attention
GET  /api/v1/first-steps   where to send to, and commands to try
GET  /api/v1/history       the last 15 minutes and 24 hours (?range=15m|24h&exporter=NAME), and the last 15 minutes of a tenant (?tenant=ID) or
                           a stream (?exporter=NAME&signal=SIGNAL&tenant=ID&key=KEY)
GET  /api/v1/tenants       the table of tenants (?q=TEXT&state=STATE&sort=ORDER&limit=N&after=ID&skip=N)
GET  /api/v1/tenants/ID    all about one tenant
GET  /api/v1/streams       live streams (?exporter=NAME&tenant=ID&key=TEXT&signal=SIGNAL&state=STATE&sort=ORDER&limit=N&after=NEXT&skip=N)
GET  /api/v1/streams/one   all about one stream (?exporter=NAME&signal=SIGNAL&tenant=ID&key=KEY)
GET  /api/v1/exporters     exporters and their counts (?q=TEXT&sort=ORDER&limit=N&after=NAME&skip=N)
GET  /api/v1/exporters/NAME   all about one exporter
GET  /api/v1/dead-letters  dead letters, newest first (?exporter=NAME&tenant=ID&key=TEXT&reason=TEXT&signal=SIGNAL&from=TIME&to=TIME&limit=N&after=NEXT&skip=N)
GET  /api/v1/dead-letters/FILE  what is in one
GET  /api/v1/journal       the journal, and what nobody claims of it
GET  /api/v1/tap           records as they pass, by server-sent events (?query=QUERY&limit=N)
GET  /api/v1/logs          the newest log records (?query=QUERY&tenant=ID&from=TIME&to=TIME&batch_size=N&order=ORDER&after=NEXT)
GET  /api/v1/watches       what is watched for, and what fires
GET  /api/v1/config        the configuration in use, secrets redacted
POST /api/v1/reload        reads the configuration again; with ?dry_run=true, says what that would do, with a body what that text would do
POST /api/v1/explain       says where an OTLP request would go, and why (?signal=SIGNAL&tenant=ID&receiver=NAME)

POST   /api/v1/dead-letters/replay  sends dead letters again; delete removes them

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
    /// The router whose state is shown.
    router: Arc<Router>,
    /// Which of the two listeners this is.
    role: Role,
    /// The memory of requests and answers is reserved on it. It is not `limits.memory`: the pages have to work when that is full.
    budget: Arc<Budget>,
    metrics: SharedPage,
    tenant_metrics: SharedPage,
    /// Held while every tenant is read, which one request at a time does.
    looking_at_tenants: Arc<Mutex<()>>,
    /// Held while an OTLP request is explained, one at a time.
    explaining: Arc<Mutex<()>>,
    /// Held while all streams or exporters are read, which takes less time than all tenants.
    looking_at_streams: Arc<Mutex<()>>,
    searches: SearchTurns,
    followers: Followers,
    history: Arc<MetricHistory>,
    findings: Arc<TableFindings>,
    /// For the tasks that send to followers.
    this: Weak<Self>,
}

impl Handler for Admin {
    fn budget(&self) -> Option<&Arc<Budget>> {
        Some(&self.budget)
    }

    fn connection_errors(&self) -> Option<&ConnectionErrors> {
        Some(&self.router.intake().counters.connection_errors)
    }

    async fn answer(&self, settings: &ListenerSettings, request: Request<Incoming>) -> HttpResponse {
        let mut answer = self.answer_to(settings, request).await;
        // An answer that quotes data must not be taken for a page or a script.
        answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
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
    Overview,
    FirstSteps,
    History,
    Streams,
    Stream,
    Hold(HoldSwitch),
    Exporters,
    Exporter(&'p str),
    HoldExporter(&'p str, HoldSwitch),
    DeadLetters(DeadLettersPage<'p>),
    Journal,
    Tap,
    Logs,
    Watches,
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
            "/api/v1/overview" => Self::Overview,
            "/api/v1/first-steps" => Self::FirstSteps,
            "/api/v1/history" => Self::History,
            "/api/v1/streams" => Self::Streams,
            "/api/v1/streams/one" => Self::Stream,
            "/api/v1/exporters" => Self::Exporters,
            "/api/v1/journal" => Self::Journal,
            "/api/v1/tap" => Self::Tap,
            "/api/v1/logs" => Self::Logs,
            "/api/v1/watches" => Self::Watches,
            "/api/v1/config" => Self::Config,
            "/api/v1/reload" => Self::Reload,
            "/api/v1/explain" => Self::Explain,
            _ => return Self::of_name(path),
        })
    }

    /// The page of a path with a name in it.
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
        let tenants = || TenantPage::at(path).map(Self::Tenants);
        DeadLettersPage::at(path).map(Self::DeadLetters).or_else(tenants)
    }

    /// The action that a request for this page is, for the check of permission; `None` for the pages of probes, which are for everybody.
    fn action(self, method: &Method) -> Option<AdminAction> {
        match self {
            Self::Healthz | Self::Readyz => None,
            Self::Index
            | Self::Metrics
            | Self::TenantMetrics
            | Self::Overview
            | Self::FirstSteps
            | Self::History
            | Self::Streams
            | Self::Stream
            | Self::Exporters
            | Self::Exporter(_)
            | Self::Journal
            | Self::Watches
            // It admits nothing.
            | Self::Explain
            | Self::Config
            | Self::DeadLetters(DeadLettersPage::All) => Some(AdminAction::Read),
            // A letter holds records.
            Self::Tap | Self::Logs | Self::DeadLetters(DeadLettersPage::One(_)) => Some(AdminAction::Tap),
            Self::Reload => Some(AdminAction::Reload),
            Self::Tenants(_) | Self::DeadLetters(DeadLettersPage::Change(_)) if is_read(method) => {
                Some(AdminAction::Read)
            }
            Self::Tenants(_)
            | Self::DeadLetters(DeadLettersPage::Change(_))
            | Self::Hold(_)
            | Self::HoldExporter(..) => Some(AdminAction::Write),
        }
    }

    /// Whether it can be [followed](follow).
    fn is_live(self) -> bool {
        match self {
            Self::Overview
            | Self::History
            | Self::Streams
            | Self::Stream
            | Self::Exporters
            | Self::Exporter(_)
            | Self::Watches => true,
            Self::DeadLetters(page) => matches!(page, DeadLettersPage::All),
            Self::Tenants(page) => matches!(page, TenantPage::All | TenantPage::One(_)),
            Self::Index
            | Self::Metrics
            | Self::TenantMetrics
            | Self::Healthz
            | Self::Readyz
            | Self::FirstSteps
            | Self::Journal
            | Self::Tap
            | Self::Logs
            | Self::Config
            | Self::Reload
            | Self::Explain
            | Self::Hold(_)
            | Self::HoldExporter(..) => false,
        }
    }

    /// Whether the health listener has it, too.
    fn is_public(self) -> bool {
        matches!(self, Self::Metrics | Self::Healthz | Self::Readyz)
    }
}

impl Admin {
    /// What answers in one of these two roles, and shows this history of the router.
    pub fn new(router: Arc<Router>, role: Role, history: Arc<MetricHistory>) -> Arc<Self> {
        let budget = Arc::new(Budget::new(PAGES));
        Arc::new_cyclic(|this| Self {
            router,
            role,
            followers: Followers::new(budget.clone()),
            budget,
            metrics: SharedPage::default(),
            tenant_metrics: SharedPage::default(),
            looking_at_tenants: Arc::default(),
            explaining: Arc::default(),
            looking_at_streams: Arc::default(),
            history,
            findings: Arc::default(),
            searches: SearchTurns::default(),
            this: this.clone(),
        })
    }

    async fn answer_to(&self, settings: &ListenerSettings, request: Request<Incoming>) -> HttpResponse {
        let (head, body) = request.into_parts();
        if let Some(message) = wrong_host(&head) {
            return text(StatusCode::BAD_REQUEST, &format!("{message}\n"));
        }
        // What the health listener shows is for everybody, under whatever name Prometheus knows it.
        if self.role == Role::Admin && site::has_foreign_name(&settings.hosts, &head) {
            return self.refuse(settings, &head, AdminRefusal::ForeignName);
        }
        let dashboard_page = dashboard::page(&head).filter(|_| self.role == Role::Admin);
        let is_navigation = dashboard::is_navigation(&head);
        if let Some(page) = dashboard_page.filter(|_| is_navigation) {
            return page.answer(&head);
        }
        let no_page = |head: &Parts| {
            let is_unknown = self.role == Role::Admin && Page::at(head.uri.path()).is_none();
            dashboard::no_page(head).filter(|_| is_unknown)
        };
        if is_navigation && let Some(answer) = no_page(&head) {
            return answer;
        }
        if site::is_of_foreign_page(settings.tls.is_some(), &head) {
            return self.refuse(settings, &head, AdminRefusal::ForeignPage);
        }
        let asset = || dashboard::asset(head.uri.path()).filter(|_| self.role == Role::Admin);
        if let Some(file) = dashboard_page.or_else(asset) {
            return file.answer(&head);
        }
        let path = head.uri.path().to_owned();
        let page = match (self.role, path.as_str()) {
            (Role::Admin, path) => Page::at(path),
            // Where a Collector's `health_check` answers.
            (_, "/") => Some(Page::Readyz),
            (_, path) => Page::at(path).filter(|page| page.is_public()),
        };
        let Some(page) = page else {
            let pages = if self.role == Role::Admin { NO_PAGE } else { HEALTH_PAGES };
            return no_page(&head).unwrap_or_else(|| text(StatusCode::NOT_FOUND, pages));
        };
        let mut credential = AdminCredential::Nothing;
        let action = match page.action(&head.method) {
            // The request describes what is planned. Without a candidate it has no part of it.
            Some(AdminAction::Reload) if has_candidate(&head, &body) => Some(AdminAction::Write),
            action => action,
        };
        if self.role == Role::Admin
            && let Some(action) = action
        {
            match self.router.admin_access().check(action, entrance(settings), bearer_token(&head)) {
                Ok(by) => credential = by,
                Err(refusal) => return self.refuse(settings, &head, refusal),
            }
        }
        match (page, &head.method) {
            (Page::Reload, &Method::POST) => return self.reload(&head, body, credential).await,
            (Page::Explain, &Method::POST) => {
                return explain::explain(&self.router, &head, body, &self.explaining, &self.budget).await;
            }
            (Page::Hold(switch), &Method::POST) => {
                return holds::change(&self.router, None, switch, &head, body, credential).await;
            }
            (Page::HoldExporter(name, switch), &Method::POST) => {
                let name = decoded(name);
                return holds::change(&self.router, Some(name), switch, &head, body, credential).await;
            }
            (Page::Reload | Page::Explain | Page::Hold(_) | Page::HoldExporter(..), _) => {
                return not_allowed("POST");
            }
            (Page::Tenants(TenantPage::All | TenantPage::One(_)), method) if is_read(method) => {}
            (Page::Tenants(page), _) => {
                return match TenantChange::of(page, &head) {
                    Ok(Some(change)) => tenants::change(&self.router, change, &head, body, credential).await,
                    Ok(None) => not_allowed(page.methods()),
                    Err(error) => problem(StatusCode::BAD_REQUEST, &error),
                };
            }
            (Page::DeadLetters(DeadLettersPage::Change(action)), &Method::POST) => {
                return dead_letters::change(&self.router, action, &head, body, credential).await;
            }
            (_, method) if is_read(method) => {}
            _ => return not_allowed("GET"),
        }
        // Answers that clients do not read must not keep probes from theirs, which are a few bytes.
        if !matches!(page, Page::Healthz | Page::Readyz) && !self.budget.has_room(1) {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many pages are on their way to others; try again\n",
            );
        }
        if page.is_live() && head.method == Method::GET && follow::is_wanted(&head.headers) {
            return self.follow(page, entrance(settings), &head).await;
        }
        self.show(page, head.uri.query().unwrap_or_default()).await
    }

    /// Counts, logs and answers a request that is refused.
    fn refuse(&self, settings: &ListenerSettings, head: &Parts, refusal: AdminRefusal) -> HttpResponse {
        self.router.admin_access().count(refusal);
        let peer = head.extensions.get().map(|peer: &ConnectionPeer| peer.address);
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

    /// Answers with events that have the content of a page, until the client disconnects.
    async fn follow(&self, page: Page<'_>, entrance: AdminEntrance, head: &Parts) -> HttpResponse {
        let token = bearer_token(head).map(|token| SecretHash::of(&[token]));
        let address = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let follower = match self.followers.join(address, PageReader { entrance, token }) {
            Joined::Answer(answer) => return answer,
            Joined::First(follower) => follower,
            Joined::Full(most) => {
                let error = format!(
                    "{most} pages are followed, which is as many as may be at a time; try again later"
                );
                return problem(StatusCode::SERVICE_UNAVAILABLE, &error);
            }
        };
        let shown = self.show(page, head.uri.query().unwrap_or_default()).await;
        if shown.status() != StatusCode::OK {
            return shown;
        }
        match self.followers.begin(address, &json_of(shown).await, follower) {
            Ok((answer, is_first)) => {
                if is_first && let Some(admin) = self.this.upgrade() {
                    spawn_contained(admin.tell_followers(head.uri.clone()));
                }
                answer
            }
            Err(error @ Unfollowable::TooLarge) => {
                problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string())
            }
            Err(error @ Unfollowable::NoRoom) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        }
    }

    /// Sends the followers of a page its changes, until there are no followers any more.
    async fn tell_followers(self: Arc<Self>, page: Uri) {
        let may_read = |reader: &PageReader| {
            self.router.admin_access().check_hash(AdminAction::Read, reader.entrance, reader.token).is_ok()
        };
        let make = || async {
            let page_at = Page::at(page.path()).expect("it was a page when it was asked for");
            let shown = self.show(page_at, page.query().unwrap_or_default()).await;
            if shown.status() == StatusCode::OK {
                Ok(json_of(shown).await)
            } else {
                Err(json_of(shown).await)
            }
        };
        let address = page.path_and_query().map_or("/", PathAndQuery::as_str);
        self.followers.tell(address, may_read, make).await;
    }

    async fn show(&self, page: Page<'_>, query: &str) -> HttpResponse {
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
                answer(StatusCode::OK, metric_writer::CONTENT_TYPE, page)
            }
            Page::TenantMetrics => self.tenant_metrics().await,
            Page::Tenants(TenantPage::One(id)) => self.tenant(id).await,
            Page::Tenants(TenantPage::All) => self.tenants(query).await,
            Page::Tenants(page) => not_allowed(page.methods()),
            Page::Overview => self.overview(query).await,
            Page::FirstSteps => self.first_steps().await,
            Page::History => self.history(query).await,
            Page::Streams => self.streams(query).await,
            Page::Stream => self.stream(query).await,
            Page::Exporters => self.exporters(query).await,
            Page::Exporter(name) => self.exporter(name).await,
            Page::DeadLetters(page) => dead_letters::show(&self.router, page, query).await,
            Page::Journal => json(StatusCode::OK, &journal::shown(&self.router)),
            Page::Tap => tap::open(&self.router, query),
            Page::Logs => logs::page(&self.router, &self.searches, query).await,
            Page::Watches => json(StatusCode::OK, &watches::shown(&self.router)),
            Page::Config => json(StatusCode::OK, &api::config(&self.router)),
            Page::Reload | Page::Explain | Page::Hold(_) | Page::HoldExporter(..) => not_allowed("POST"),
        }
    }

    async fn overview(&self, query: &str) -> HttpResponse {
        if let Some((name, _)) = query::parameters(query).next() {
            return problem(StatusCode::BAD_REQUEST, &format!("unknown parameter `{name}`: there are none"));
        }
        let (history, findings) = (self.history.clone(), self.findings.clone());
        let shown = self.look_at_tenants(move |router| overview::shown(router, &history, &findings)).await;
        json(StatusCode::OK, &shown)
    }

    async fn history(&self, query: &str) -> HttpResponse {
        let WantedHistory { subject, range } = match history::wanted(query) {
            Ok(wanted) => wanted,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        match subject {
            HistorySubject::Whole => json(StatusCode::OK, &self.history.of_whole(range)),
            HistorySubject::Exporter(name) => match self.history.of_exporter(&name, range) {
                Ok(shown) => json(StatusCode::OK, &shown),
                Err(error) => problem(StatusCode::NOT_FOUND, &error),
            },
            HistorySubject::Stream(name) => {
                let history = self.history.clone();
                stream_answer(self.look_at_streams(move |router| history.of_stream(router, &name)).await)
            }
            HistorySubject::Tenant(id) => tenant_answer(self.history.of_tenant(&self.router, &id)),
        }
    }

    async fn first_steps(&self) -> HttpResponse {
        let receivers = self.router.receivers(Role::Otlp).await;
        let shown = self.look_at_tenants(move |router| first_steps::shown(router, &receivers)).await;
        json(StatusCode::OK, &shown)
    }

    async fn tenant_metrics(&self) -> HttpResponse {
        if !self.router.report().tenant_metrics {
            return text(
                StatusCode::NOT_FOUND,
                "metrics of each tenant are off: write `admin: { tenant_metrics: true }`\n",
            );
        }
        let page = self.tenant_metrics.get(self.look_at_tenants(tenant_metrics::encode)).await;
        answer(StatusCode::OK, metric_writer::CONTENT_TYPE, page)
    }

    async fn tenants(&self, query: &str) -> HttpResponse {
        let wanted = match tenant_list::wanted(query) {
            Ok(wanted) => wanted,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        self.look_at_tenants(move |router| page_answer(tenant_list::page(router, &wanted))).await
    }

    async fn tenant(&self, id: &str) -> HttpResponse {
        let id = percent_decode_str(id).decode_utf8_lossy().into_owned();
        tenant_answer(self.look_at_tenants(move |router| tenant_detail::shown(router, &id)).await)
    }

    async fn streams(&self, query: &str) -> HttpResponse {
        let wanted = match stream_list::wanted(query) {
            Ok(wanted) => wanted,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        self.look_at_streams(move |router| page_answer(stream_list::page(router, &wanted))).await
    }

    async fn stream(&self, query: &str) -> HttpResponse {
        let name = match WrittenName::of_query(query) {
            Ok(name) => name,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        stream_answer(self.look_at_streams(move |router| stream_detail::shown(router, &name)).await)
    }

    async fn exporters(&self, query: &str) -> HttpResponse {
        let wanted = match exporters::wanted(query) {
            Ok(wanted) => wanted,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        self.look_at_streams(move |router| page_answer(exporters::page(router, &wanted))).await
    }

    async fn exporter(&self, name: &str) -> HttpResponse {
        let name = decoded(name);
        match self.look_at_streams(move |router| exporters::shown(router, &name)).await {
            Some(exporter) => json(StatusCode::OK, &exporter),
            None => problem(StatusCode::NOT_FOUND, "there is no exporter of this name"),
        }
    }

    /// Reads all tenants and their streams. With a hundred thousand of them that takes too long for a worker of the runtime, and for
    /// several threads at a time.
    async fn look_at_tenants<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Arc<Router>) -> T + Send + 'static,
    ) -> T {
        self.look(self.looking_at_tenants.clone(), look).await
    }

    /// Reads all streams, one request at a time.
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
            // Held until the read has ended, even if the client has disconnected.
            let _alone = alone;
            look_at(&router)
        })
        .await
    }

    async fn reload(&self, head: &Parts, body: Incoming, credential: AdminCredential) -> HttpResponse {
        let candidate = has_candidate(head, &body);
        match dry_run(head.uri.query().unwrap_or_default()) {
            Ok(false) if candidate => {
                let error = "a reload reads the file and takes no body: send a candidate with `?dry_run=true`, which says what it would do";
                return problem(StatusCode::BAD_REQUEST, error);
            }
            Ok(false) => {}
            Ok(true) if candidate => return self.plan_candidate(head, body).await,
            Ok(true) => return self.plan_reload(None).await,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        }
        let author = ChangeAuthor::of(head, credential);
        let (by, certificate, peer) = author.fields();
        info!(by, certificate, peer, "reload asked for by POST /api/v1/reload");
        // In a task of its own: a client that disconnects must not cancel a reload half way.
        let (router, by) = (self.router.clone(), author.in_words());
        let reload = tokio::spawn(async move { router.reload(&by).await });
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

    /// What a reload would do if the file had the text in the body.
    async fn plan_candidate(&self, head: &Parts, body: Incoming) -> HttpResponse {
        if !is_of_candidate(body::media_type(head)) {
            let error = "send the text of a configuration with `Content-Type: application/yaml` (curl: `--data-binary @FILE`)";
            return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, error);
        }
        match whole_body(head, body, LARGEST_CANDIDATE, body::PATIENCE, &self.budget).await {
            Ok(candidate) => self.plan_reload(Some(candidate.bytes)).await,
            Err(UnreadBody { status, message }) => problem(status, &message),
        }
    }

    /// What a reload would do, of the file or of the text of a candidate.
    async fn plan_reload(&self, candidate: Option<Bytes>) -> HttpResponse {
        match self.router.plan_reload(candidate).await {
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

/// The answer with a page of a list. To write a thousand rows takes more than a millisecond, so it is made where the page is.
fn page_answer(page: Result<serde_json::Value, String>) -> HttpResponse {
    match page {
        Ok(page) => json(StatusCode::OK, &page),
        Err(error) => problem(StatusCode::BAD_REQUEST, &error),
    }
}

/// The answer about one stream.
fn stream_answer(shown: Result<Option<serde_json::Value>, String>) -> HttpResponse {
    match shown {
        Ok(Some(shown)) => json(StatusCode::OK, &shown),
        Ok(None) => problem(StatusCode::NOT_FOUND, "there is no stream of this name, and was none lately"),
        Err(error) => problem(StatusCode::BAD_REQUEST, &error),
    }
}

/// The answer about one tenant.
fn tenant_answer(shown: Option<serde_json::Value>) -> HttpResponse {
    match shown {
        Some(shown) => json(StatusCode::OK, &shown),
        None => problem(StatusCode::NOT_FOUND, "there is no tenant of this id"),
    }
}

/// Whether a request for a reload brings the text of a configuration, or means to. Of others, the body is not looked at.
fn has_candidate(head: &Parts, body: &Incoming) -> bool {
    let is_dry_run = dry_run(head.uri.query().unwrap_or_default()) == Ok(true);
    !body.is_end_stream() && (is_dry_run || is_of_candidate(body::media_type(head)))
}

/// Whether a text of this media type is a candidate for the configuration.
fn is_of_candidate(media_type: &str) -> bool {
    CANDIDATE_TYPES.iter().any(|known| media_type.eq_ignore_ascii_case(known))
}

/// Whether a reload is to be planned only, by the parameter `dry_run`.
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

/// The body of an answer that is there as a whole.
async fn json_of(answer: HttpResponse) -> Bytes {
    let Ok(body) = answer.into_body().collect().await;
    body.to_bytes()
}

/// How a request to this listener has come in.
fn entrance(settings: &ListenerSettings) -> AdminEntrance {
    AdminEntrance {
        loopback: settings.endpoint.ip().to_canonical().is_loopback(),
        certificates: settings.tls.as_ref().is_some_and(|tls| tls.demands_certificates()),
    }
}

/// A name in a path without its percent-encoding; empty, which is nobody's name, if it is not UTF-8.
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
