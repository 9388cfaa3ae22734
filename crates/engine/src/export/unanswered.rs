//! Telling of attempts that are not answered for long, while they are under way.

use std::convert::Infallible;
use std::future::pending;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{Exporter, Target};
use crate::notice;
use crate::stream::{DecisionDetails, Stream};

/// An attempt that is not answered for this long is told of.
const LONG_UNANSWERED: Duration = Duration::from_secs(10);

/// Waits until an attempt has not been answered for long, and shows that then, until this is dropped: before its `timeout` nothing else
/// would say why nothing is delivered. `begun` has no value while the attempt waits for its turn.
pub(super) async fn note_unanswered(
    exporter: &Exporter,
    stream: &Stream,
    target: &Target,
    begun: &OnceLock<Instant>,
) -> Infallible {
    let began = loop {
        // While it waits for its turn, nobody has been asked.
        tokio::time::sleep_until(*begun.get().unwrap_or(&Instant::now()) + LONG_UNANSWERED).await;
        if let Some(began) = begun.get().filter(|began| began.elapsed() >= LONG_UNANSWERED) {
            break *began;
        }
    };
    let _shown = stream.note_unanswered(began);
    let details = DecisionDetails { reason: Some("no answer yet"), ..DecisionDetails::default() };
    stream.log_decision("stream goes on waiting for the answer to its attempt", details);
    let (name, signal, key) = (exporter.name(), stream.name().signal, &stream.name().key);
    if let Some(suppressed) = notice::due_for_one_of_many(&(name, signal, key), "unanswered") {
        warn!(
            exporter = %name, %signal, key = &*key.text(), tenant = key.tenant(), %target, suppressed,
            "the destination has not answered an attempt for {LONG_UNANSWERED:?}, and is waited for"
        );
    }
    pending().await
}
