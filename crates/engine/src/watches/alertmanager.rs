//! Tells an Alertmanager which watches fire, by its API of version 2.
//!
//! An alert that fires is sent again each minute, and ends by itself a few minutes after it was last sent, so that none stays if
//! Sluice is gone. The end of an alert is sent until the Alertmanager has taken it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use thiserror::Error;
use tokio::time::Instant;

use crate::client::{Dialer, Origin, TlsClientSettings, TlsError};
use crate::utc::rfc3339;

/// How often an alert that fires is sent again.
const REPEATED: Duration = Duration::from_secs(60);

/// After this time an alert that is not sent again ends for the Alertmanager.
const ENDS_AFTER: Duration = Duration::from_secs(240);

/// For how long the end of an alert is sent again: by then the alert has ended by itself.
const TOLD_FOR: Duration = Duration::from_secs(900);

/// Alerts of one request.
const MOST_AT_A_TIME: usize = 256;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Where alerts are sent.
const PATH: &str = "/api/v2/alerts";

/// A series of a watch that fires, or has until lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The name of the watch.
    pub watch: String,
    /// The tenant of the records, if each tenant's are counted by themselves.
    pub tenant: Option<Arc<str>>,
    /// Since when.
    pub since: SystemTime,
    /// Until when, if it fires no more.
    pub ended: Option<SystemTime>,
    /// Why, in words.
    pub summary: String,
    /// The query of the watch, as it is shown.
    pub query: String,
}

/// A server to tell.
#[derive(Debug)]
pub struct Alertmanager {
    dialer: Dialer,
    uri: Uri,
    host: HeaderValue,
    /// The URL as it is configured.
    url: String,
    told: Mutex<(Option<SystemTime>, Option<String>)>,
}

/// Why an Alertmanager was not told.
#[derive(Debug, Error)]
pub enum AlertmanagerError {
    /// The URL is none.
    #[error("this is no URL of an Alertmanager: write `http://host:9093`")]
    Url,
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The Alertmanager has not answered.
    #[error("no answer from `{url}`: {reason}")]
    Unanswered {
        /// The URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// The answer is no success.
    #[error("`{url}` has answered {status}")]
    Refused {
        /// The URL.
        url: String,
        /// The answer's.
        status: http::StatusCode,
    },
}

impl Alert {
    fn json(&self, now: SystemTime) -> Json {
        let mut labels = json!({ "alertname": self.watch, "source": "sluice" });
        if let Some(tenant) = &self.tenant {
            labels["tenant"] = (**tenant).into();
        }
        json!({
            "labels": labels,
            "annotations": { "summary": self.summary, "query": self.query },
            "startsAt": rfc3339(self.since),
            "endsAt": rfc3339(self.ended.unwrap_or(now + ENDS_AFTER)),
        })
    }
}

impl Alertmanager {
    /// The Alertmanager whose API is below this URL. Reads the system's certificates if the URL is `https`.
    pub fn new(url: &str) -> Result<Self, AlertmanagerError> {
        let (uri, origin) = Self::read_url(url).ok_or(AlertmanagerError::Url)?;
        let host = HeaderValue::try_from(origin.authority()).map_err(|_| AlertmanagerError::Url)?;
        let path = format!("{}{PATH}", uri.path().trim_end_matches('/'));
        Ok(Self {
            dialer: Dialer::new(origin, TlsClientSettings::default(), b"http/1.1", TIMEOUT)?,
            uri: path.parse().map_err(|_| AlertmanagerError::Url)?,
            host,
            url: url.to_owned(),
            told: Mutex::default(),
        })
    }

    /// Whether this is the URL of a server, without credentials and without a query.
    pub fn is_url(url: &str) -> bool {
        Self::read_url(url).is_some()
    }

    fn read_url(url: &str) -> Option<(Uri, Origin)> {
        let uri: Uri = url.parse().ok()?;
        let origin = Origin::of(&uri)?;
        let has_credentials = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        (uri.query().is_none() && !has_credentials).then_some((uri, origin))
    }

    /// As it is configured.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// When it has last taken alerts, and why it has not taken those that were sent since.
    pub fn last_told(&self) -> (Option<SystemTime>, Option<String>) {
        self.told.lock().clone()
    }

    /// Sends these alerts.
    ///
    /// # Errors
    ///
    /// Why it has not taken them.
    pub async fn tell(&self, alerts: &[Alert]) -> Result<(), AlertmanagerError> {
        let told = match tokio::time::timeout(TIMEOUT, self.post(alerts)).await {
            Ok(told) => told,
            Err(_) => Err(self.unanswered(format!("it takes longer than {TIMEOUT:?}"))),
        };
        let mut last = self.told.lock();
        match &told {
            Ok(()) => *last = (Some(SystemTime::now()), None),
            Err(error) => last.1 = Some(error.to_string()),
        }
        told
    }

    async fn post(&self, alerts: &[Alert]) -> Result<(), AlertmanagerError> {
        let now = SystemTime::now();
        let body: Json = alerts.iter().map(|alert| alert.json(now)).collect();
        let request = Request::post(self.uri.clone())
            .header(HOST, self.host.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| self.unanswered(error.to_string()))?;
        let io = self.dialer.dial().await.map_err(|error| self.unanswered(error.to_string()))?;
        let broke_off = |error: hyper::Error| self.unanswered(error.to_string());
        let (mut requests, connection) = http1::handshake(TokioIo::new(io)).await.map_err(broke_off)?;
        let running = tokio::spawn(connection);
        let answer = requests.send_request(request).await.map_err(broke_off)?;
        let (head, body) = answer.into_parts();
        // The body is of no use. It is read, so that the server does not see a broken connection.
        let _ = Limited::new(body, LARGEST_ANSWER).collect().await;
        running.abort();
        if head.status.is_success() {
            Ok(())
        } else {
            Err(AlertmanagerError::Refused { url: self.url.clone(), status: head.status })
        }
    }

    fn unanswered(&self, reason: String) -> AlertmanagerError {
        AlertmanagerError::Unanswered { url: self.url.clone(), reason }
    }
}

/// Which alerts an Alertmanager knows of, and which it has to be told: one state for each series, however often that changes.
#[derive(Debug, Default)]
pub struct SentAlerts {
    alerts: BTreeMap<(String, Option<Arc<str>>), SentAlert>,
}

#[derive(Debug)]
struct SentAlert {
    alert: Alert,
    /// When the Alertmanager has last taken it as it is.
    taken: Option<Instant>,
    /// Since when it is as it is.
    changed: Instant,
}

impl SentAlerts {
    /// Whether there is no alert to send.
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty()
    }

    /// Takes the alerts that fire now. Others that fired before have ended.
    pub fn update(&mut self, firing: Vec<Alert>) {
        let (now, ended) = (Instant::now(), SystemTime::now());
        let mut gone = std::mem::take(&mut self.alerts);
        for alert in firing {
            let key = (alert.watch.clone(), alert.tenant.clone());
            // An alert that fires again is a new one.
            let known = gone.remove(&key).filter(|known| known.alert.ended.is_none());
            let (taken, changed) = known.map_or((None, now), |known| (known.taken, known.changed));
            self.alerts.insert(key, SentAlert { alert, taken, changed });
        }
        for (key, mut known) in gone {
            if known.alert.ended.is_none() {
                known.alert.ended = Some(ended);
                (known.taken, known.changed) = (None, now);
            }
            if known.taken.is_none() && known.changed.elapsed() < TOLD_FOR {
                self.alerts.insert(key, known);
            }
        }
    }

    /// The alerts that are to be sent now.
    pub fn due(&self) -> Vec<Alert> {
        let due =
            self.alerts.values().filter(|known| known.taken.is_none_or(|taken| taken.elapsed() >= REPEATED));
        due.take(MOST_AT_A_TIME).map(|known| known.alert.clone()).collect()
    }

    /// Notes that these were taken, unless they have changed since.
    pub fn taken(&mut self, alerts: &[Alert]) {
        for alert in alerts {
            let key = (alert.watch.clone(), alert.tenant.clone());
            if let Some(known) = self.alerts.get_mut(&key)
                && (known.alert.since, known.alert.ended) == (alert.since, alert.ended)
            {
                known.taken = Some(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(tenant: &str) -> Alert {
        Alert {
            watch: "errors".to_owned(),
            tenant: Some(tenant.into()),
            since: SystemTime::UNIX_EPOCH,
            ended: None,
            summary: String::new(),
            query: String::new(),
        }
    }

    fn due(sent: &SentAlerts) -> Vec<(String, bool)> {
        let due = sent.due().into_iter();
        due.map(|alert| (alert.tenant.unwrap_or_default().to_string(), alert.ended.is_some())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_fires_is_told_until_it_is_taken_and_then_each_minute() {
        let mut sent = SentAlerts::default();
        sent.update(vec![alert("acme")]);
        assert_eq!(due(&sent), [("acme".to_owned(), false)]);
        assert_eq!(due(&sent).len(), 1, "it was not taken");
        sent.taken(&sent.due());
        assert_eq!(due(&sent), []);
        tokio::time::advance(REPEATED).await;
        sent.update(vec![alert("acme")]);
        assert_eq!(due(&sent).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fires_no_more_is_told_until_it_is_taken_or_old() {
        let mut sent = SentAlerts::default();
        sent.update(vec![alert("acme"), alert("globex")]);
        sent.taken(&sent.due());
        sent.update(vec![alert("globex")]);
        assert_eq!(due(&sent), [("acme".to_owned(), true)]);
        sent.update(vec![alert("globex")]);
        assert_eq!(due(&sent).len(), 1);
        sent.taken(&sent.due());
        sent.update(vec![alert("globex")]);
        assert_eq!(due(&sent), []);
        sent.update(Vec::new());
        tokio::time::advance(TOLD_FOR).await;
        sent.update(Vec::new());
        assert!(sent.is_empty(), "it has ended by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_while_it_was_on_its_way_is_told_as_that() {
        let mut sent = SentAlerts::default();
        sent.update(vec![alert("acme")]);
        let on_its_way = sent.due();
        sent.update(Vec::new());
        sent.taken(&on_its_way);
        assert_eq!(due(&sent), [("acme".to_owned(), true)]);
    }
}
