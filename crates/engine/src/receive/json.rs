//! A body of OTLP/JSON as the protobuf that everything behind it works on, with the memory for both.

use super::aside::aside;
use super::body::Received;
use crate::stream::{Full, Patience, Refused, Reservation};
use otlp::{self, JsonReadError, Malformed, Omitted, Signal, Transcoded};

/// Above this size a document is not transcoded by a worker, whom it could keep busy for milliseconds.
const LARGE: usize = 256 * 1024;

/// Why a body was not transcoded.
#[derive(Debug)]
pub(super) enum Untranscoded {
    Malformed(Malformed),
    /// There is no memory; with the number of records in the body.
    Refused(Refused, u64),
}

/// The result of an attempt to transcode.
enum Attempt {
    Done(Result<(Received, Omitted), Untranscoded>),
    /// This much more memory was needed than there was.
    Short(Received, u64),
    /// There never is enough memory for it.
    TooLarge(Received),
}

/// Transcodes a body. Its memory is given back at the end; while it is read, both count. Where there is no memory, it waits
/// for some as long as there is `patience`.
pub(super) async fn transcode(
    signal: Signal,
    mut received: Received,
    patience: &mut Patience,
) -> Result<(Received, Omitted), Untranscoded> {
    loop {
        let len = received.bytes.len();
        let (body, refused) = match aside(len > LARGE, || read(signal, received)).await {
            Attempt::Done(done) => return done,
            Attempt::Short(body, bytes) => {
                // There may be room each time it is asked for, and none any more when it is taken.
                if !patience.is_over() && Box::pin(body.reservation.room_soon(bytes, patience)).await {
                    received = body;
                    continue;
                }
                (body, Refused::Full(Full::Memory))
            }
            Attempt::TooLarge(body) => (body, Refused::TooLarge),
        };
        let records = aside(len > LARGE, || otlp::count_json(signal, &body.bytes)).await;
        return Err(Untranscoded::Refused(refused, records));
    }
}

fn read(signal: Signal, received: Received) -> Attempt {
    let budget = received.reservation.budget();
    let mut reservation = Reservation::empty(budget.clone());
    let mut lacking = None;
    let mut room = |bytes: usize| {
        let wanted = reservation.bytes() + bytes as u64;
        if received.reservation.bytes() + wanted > budget.limit() {
            return false;
        }
        let room = reservation.grow(bytes as u64);
        lacking = (!room).then_some(wanted);
        room
    };
    match otlp::read_request(signal, &received.bytes, &mut room) {
        Ok(Transcoded { bytes, omitted }) => {
            let own_memory = Some(reservation.bytes());
            Attempt::Done(Ok((Received { bytes: bytes.into(), reservation, own_memory }, omitted)))
        }
        Err(JsonReadError::Malformed(malformed)) => Attempt::Done(Err(Untranscoded::Malformed(malformed))),
        Err(JsonReadError::NoRoom) => match lacking {
            Some(bytes) => Attempt::Short(received, bytes),
            None => Attempt::TooLarge(received),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::receive::aside::counted::Counted;
    use crate::stream::Budget;

    fn received(budget: &Arc<Budget>, json: String) -> Received {
        let mut reservation = Reservation::empty(budget.clone());
        assert!(reservation.grow(json.len() as u64));
        Received { bytes: Bytes::from(json), reservation, own_memory: None }
    }

    /// Four times as large in protobuf.
    fn bounds(count: usize) -> String {
        let bounds = vec!["1"; count].join(",");
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"explicitBounds":[{bounds}]}}]}}}}]}}]}}]}}"#
        )
    }

    #[tokio::test]
    async fn the_bodys_memory_is_given_back_and_the_requests_kept() {
        let budget = Arc::new(Budget::new(20_000_000));
        for count in [10, 1_000_000] {
            let (received, _) =
                transcode(Signal::Metrics, received(&budget, bounds(count)), &mut Patience::default())
                    .await
                    .expect("it is valid");
            assert!(received.bytes.len() > count * 8);
            assert_eq!(budget.used(), received.reservation.bytes());
            assert!(received.reservation.bytes() >= received.bytes.len() as u64);
            drop(received);
            assert_eq!(budget.used(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_now_is_full_and_what_never_will_is_too_large() {
        let budget = Arc::new(Budget::new(1_000_000));
        let json = bounds(50_000);
        let refused = |result: Result<_, Untranscoded>| match result {
            Err(Untranscoded::Refused(refused, 1)) => refused,
            other => panic!("{other:?} is not refused"),
        };
        assert!(budget.reserve(700_000));
        let body = received(&budget, json.clone());
        assert!(matches!(
            refused(transcode(Signal::Metrics, body, &mut Patience::default()).await),
            Refused::Full(Full::Memory)
        ));
        budget.release(700_000);
        assert_eq!(budget.used(), 0);
        assert!(transcode(Signal::Metrics, received(&budget, json), &mut Patience::default()).await.is_ok());
        let body = received(&budget, bounds(200_000));
        assert!(matches!(
            refused(transcode(Signal::Metrics, body, &mut Patience::default()).await),
            Refused::TooLarge
        ));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_document_that_is_not_small_is_not_read_by_a_worker() {
        for (count, by_worker) in [(1_000, true), (200_000, false), (2_000_000, false)] {
            let budget = Arc::new(Budget::new(256 << 20));
            let body = received(&budget, bounds(count));
            let len = body.bytes.len();
            let reading =
                async move { transcode(Signal::Metrics, body, &mut Patience::default()).await.is_ok() };
            let (read, done) = tokio::spawn(Counted::new(reading)).await.unwrap();
            assert!(read);
            let expected = if by_worker { (1, 0) } else { (0, 1) };
            assert_eq!((done.by_worker, done.aside), expected, "{len} bytes");
        }
    }
}
