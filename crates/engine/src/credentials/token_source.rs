//! The token of OAuth 2.0 of one exporter: fetched, kept, renewed.
//!
//! One request for a token is made at a time, in a task of its own, whoever waits for it. There is none until a token is
//! first needed, and none while nothing is sent. A token is renewed by the first attempt in the last part of its life, which
//! goes out with the one that is there. A request that failed is repeated after a wait that grows, and not before, however
//! many attempts are made; until then they come to what it came to, or use the token that is still good. So it is with a
//! token that the upstream does not take.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::AuthHeader;
use super::token_endpoint::{AccessToken, TokenEndpoint, TokenError};
use crate::backoff::{Backoff, RetrySettings};
use crate::notice;

/// The waits between requests for a token, whatever the exporter's own are.
const WAITS: RetrySettings = RetrySettings {
    enabled: true,
    initial_interval: Duration::from_secs(1),
    max_interval: Duration::from_secs(30),
    multiplier: 1.5,
    randomization_factor: 0.5,
    max_elapsed_time: Duration::ZERO,
};

/// Once a refused token could have been replaced this long ago, the next refused token is replaced at once again.
const CALM: Duration = Duration::from_secs(60);

/// The part of its life that a token is used for at least before it is renewed, however short that is.
const LEAST_USE: f64 = 0.5;

/// The source of one exporter's tokens; see the module.
#[derive(Debug)]
pub(super) struct TokenSource {
    authenticator: Arc<str>,
    endpoint: TokenEndpoint,
    expiry_buffer: Duration,
    state: Mutex<TokenState>,
    /// A request for a token has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct TokenState {
    token: Option<KeptToken>,
    /// Whether a request for a token is on its way.
    fetching: bool,
    /// The failure of the last request for a token, if it failed.
    failure: Option<FetchFailure>,
    /// How often tokens are replaced that the upstream does not take.
    refusals: Option<Refusals>,
}

#[derive(Debug)]
struct KeptToken {
    header: Arc<AuthHeader>,
    /// `None`: nobody has said when.
    renewed: Option<Instant>,
    ends: Option<Instant>,
    /// Whether the upstream does not take it.
    refused: bool,
}

#[derive(Debug)]
struct FetchFailure {
    error: Arc<TokenError>,
    backoff: Backoff,
    again: Instant,
}

#[derive(Debug)]
struct Refusals {
    backoff: Backoff,
    /// When a token that is refused may be replaced.
    again: Instant,
}

impl TokenSource {
    pub(super) fn new(authenticator: Arc<str>, endpoint: TokenEndpoint, expiry_buffer: Duration) -> Self {
        Self { authenticator, endpoint, expiry_buffer, state: Mutex::default(), ended: Notify::new() }
    }

    /// The token of now. Waits for one if there is none that is good.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<AuthHeader>, Arc<TokenError>> {
        loop {
            // Made before the look, so that no end is missed.
            let ended = self.ended.notified();
            {
                let (mut state, now) = (self.state.lock(), Instant::now());
                if state.begins_fetch(now) {
                    self.fetch();
                }
                if let Some(known) = state.known(now) {
                    return known;
                }
            }
            ended.await;
        }
    }

    /// The upstream does not take this token.
    pub(super) fn refused(&self, header: &Arc<AuthHeader>) {
        let mut state = self.state.lock();
        if let Some(token) = state.token.as_mut().filter(|token| Arc::ptr_eq(&token.header, header)) {
            token.refused = true;
        }
    }

    /// In a task of its own: those who wait for it come and go.
    fn fetch(self: &Arc<Self>) {
        let source = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = source.endpoint.fetch().await;
            source.keep(fetched);
        });
    }

    fn keep(&self, fetched: Result<AccessToken, TokenError>) {
        let (authenticator, now) = (&self.authenticator, Instant::now());
        let mut state = self.state.lock();
        state.fetching = false;
        match fetched {
            Ok(token) => {
                debug!(%authenticator, lifetime = ?token.lifetime, "a token was fetched");
                state.failure = None;
                state.token = Some(KeptToken::new(token, self.expiry_buffer, now));
            }
            Err(error) => {
                let mut backoff = state.failure.take().map(|failure| failure.backoff).unwrap_or_default();
                let wait = backoff.hold_wait(&WAITS, error.after).length;
                let still_good = state.token.as_ref().is_some_and(|token| token.is_good(now));
                // Otherwise those who wait for it say so.
                if still_good && let Some(suppressed) = notice::due(authenticator, "token") {
                    warn!(
                        %authenticator, ?wait, suppressed,
                        "a token can't be renewed, so the one that is there is used until it ends: {error}"
                    );
                }
                state.failure = Some(FetchFailure { error: Arc::new(error), backoff, again: now + wait });
            }
        }
        drop(state);
        self.ended.notify_waiters();
    }
}

impl TokenState {
    /// Whether a token is to be fetched now; then one is on its way.
    fn begins_fetch(&mut self, now: Instant) -> bool {
        if self.fetching || self.failure.as_ref().is_some_and(|failure| now < failure.again) {
            return false;
        }
        let (due, refused) = match &self.token {
            Some(token) => (token.renewed.is_some_and(|renewed| renewed <= now), token.refused),
            None => (true, false),
        };
        self.fetching = due || (refused && self.may_replace_refused(now));
        self.fetching
    }

    /// Whether a token that the upstream does not take is replaced now, rather than used on.
    fn may_replace_refused(&mut self, now: Instant) -> bool {
        let known = self.refusals.take().filter(|refusals| now < refusals.again + CALM);
        let mut refusals = known.unwrap_or_else(|| Refusals { backoff: Backoff::new(), again: now });
        let may = refusals.again <= now;
        if may {
            refusals.again = now + refusals.backoff.hold_wait(&WAITS, None).length;
        }
        self.refusals = Some(refusals);
        may
    }

    /// The header for an attempt, or why there is none; `None` if that is known only when the current request for a token ends.
    fn known(&self, now: Instant) -> Option<Result<Arc<AuthHeader>, Arc<TokenError>>> {
        match &self.token {
            Some(token) if token.is_good(now) && !(token.refused && self.fetching) => {
                Some(Ok(Arc::clone(&token.header)))
            }
            _ if self.fetching => None,
            _ => self.failure.as_ref().map(|failure| Err(Arc::clone(&failure.error))),
        }
    }
}

impl KeptToken {
    fn new(token: AccessToken, expiry_buffer: Duration, now: Instant) -> Self {
        let used =
            |lifetime: Duration| lifetime.saturating_sub(expiry_buffer).max(lifetime.mul_f64(LEAST_USE));
        Self {
            header: Arc::new(token.header),
            renewed: token.lifetime.map(|lifetime| now + used(lifetime)),
            ends: token.lifetime.map(|lifetime| now + lifetime),
            refused: false,
        }
    }

    fn is_good(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }
}
