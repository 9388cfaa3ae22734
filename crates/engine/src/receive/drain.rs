//! Bodies that nobody wants.

use ::http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::head::Holding;
use super::watch::DRAIN;
use crate::panics::spawn_contained;

/// Reads what the sender of a refused request still sends, for [`DRAIN`] at most, and forgets it: only then does the sender look at the
/// answer. Until that is over, what the request holds stays reserved.
pub(super) fn drain(head: &Parts, mut body: Incoming) {
    let held = Holding::of(head);
    spawn_contained(async move {
        let _held = held;
        let _ = timeout(DRAIN, async { while let Some(Ok(_)) = body.frame().await {} }).await;
    });
}
