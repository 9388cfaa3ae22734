//! Frames of HTTP/2 that ask for work and carry nothing.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use sluice::otlp::Signal;

use crate::attacker::{Attacker, CONTINUATION, END_HEADERS, WINDOW_UPDATE, call_head, frame};
use crate::meter::{MIB, assert_linear};
use crate::support::http2::kind;
use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::{SluiceProcess, grpc, yaml};

/// Frames are written so many at a time.
const BURST: u32 = 500;

/// What makes the frame, or the frames, of this number.
type Frames<'a> = Box<dyn Fn(u32) -> Vec<u8> + 'a>;

/// Sends frames until there were so many or the connection is closed.
async fn flood(attacker: &mut Attacker, frames: u32, next: impl Fn(u32) -> Vec<u8>) {
    for first in (0..frames).step_by(BURST as usize) {
        let burst: Vec<u8> = (first..frames.min(first + BURST)).flat_map(&next).collect();
        if !attacker.send(&burst).await {
            return;
        }
    }
}

#[tokio::test]
async fn floods_of_frames_cost_cpu_time_linear_in_their_number_and_a_bounded_memory() {
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start(&yaml::up(&up.url(), &[]), &[]).await;
    let head = call_head(grpc::export(Signal::Logs));
    let floods: [(&str, Frames<'_>); 6] = [
        ("pings", Box::new(|_| frame(kind::PING, 0, 0, &[0; 8]))),
        ("settings", Box::new(|_| frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]))),
        ("window updates", Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        (
            "calls that are taken back at once",
            Box::new(|number| {
                let stream = 2 * number + 1;
                let cancel = frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
                [frame(kind::HEADERS, END_HEADERS, stream, &head), cancel].concat()
            }),
        ),
        (
            "heads that never end",
            Box::new(|number| match number {
                0 => frame(kind::HEADERS, 0, 1, &[0x83]),
                _ => frame(CONTINUATION, 0, 1, &[]),
            }),
        ),
        ("unknown frames", Box::new(|_| frame(0x42, 0, 0, &[0; 32]))),
    ];
    let sent = AtomicU64::new(0);
    for (what, next) in &floods {
        let memory = assert_linear(what, &sluice, &[50_000, 100_000, 200_000, 400_000], async |frames| {
            let mut attacker = Attacker::open(sluice.otlp).await;
            attacker.begin_http2(&[]).await;
            flood(&mut attacker, *frames, next).await;
            attacker.finish().await;
            sluice.accept(Signal::Logs, logs(&[("a", &["in between"])])).await;
            sent.fetch_add(1, Relaxed);
        })
        .await;
        assert!(memory < 8 * MIB, "{what}: {memory} bytes");
    }
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
    up.records(sent.into_inner()).await;
}
