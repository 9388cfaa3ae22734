//! What bodies cost: in memory for what has come of them, and in time for each byte.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::receive::aside::counted::{Counted, WorkDone};

const MIB: usize = 1 << 20;

/// All but the one that is none.
const COMPRESSED: [Coding; 5] = [Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Snappy, Coding::Lz4];

fn compressed(coding: Coding, data: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Identity => data.to_vec(),
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Zstd => zstd::bulk::compress(data, 1).unwrap(),
        Coding::Snappy => {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            encoder.write_all(data).unwrap();
            encoder.into_inner().unwrap()
        }
        Coding::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// Telemetry, as far as compression is concerned: it shrinks to a tenth or so.
fn telemetry(len: usize) -> Vec<u8> {
    let lines = (0_u32..).flat_map(|i| {
        format!("GET /api/{:x} 200 in {} ms\n", i.wrapping_mul(2_654_435_761) % 4096, i % 97).into_bytes()
    });
    lines.take(len).collect()
}

fn limits(budget: &Arc<Budget>) -> BodyLimits {
    BodyLimits { size: 64 << 20, timeout: Duration::from_secs(1), budget: budget.clone(), arrives: false }
}

async fn read(
    coding: Coding,
    body: &[u8],
    piece: usize,
    limits: &BodyLimits,
) -> Result<Received, BodyReadError> {
    let body = Bytes::copy_from_slice(body);
    let mut reading = BodyReading::new(coding, None, limits)?;
    for at in (0..body.len()).step_by(piece) {
        let end = body.len().min(at + piece);
        reading.take(body.slice(at..end), end == body.len()).await?;
    }
    reading.finish().await
}

/// The processor time of this thread that it takes to read a body.
async fn cost(coding: Coding, body: &[u8], piece: usize) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let limits = limits(&Arc::new(Budget::new(1 << 30)));
    let begin = now();
    _ = read(coding, body, piece, &limits).await;
    now().saturating_sub(begin)
}

/// Looks at the cost of each body in pieces of this size until it is as `holds` says: whatever else goes on adds to it,
/// so that the least that was seen comes nearest to what it is.
async fn assert_cost(
    what: &str,
    bodies: &[(Coding, Vec<u8>)],
    piece: usize,
    holds: impl Fn(&[Duration]) -> bool,
) {
    let mut least = vec![Duration::MAX; bodies.len()];
    for _ in 0..20 {
        for (least, (coding, body)) in least.iter_mut().zip(bodies) {
            *least = cost(*coding, body, piece).await.min(*least);
        }
        if holds(&least) {
            return;
        }
    }
    let lens: Vec<usize> = bodies.iter().map(|(_, body)| body.len()).collect();
    panic!("{what}: bodies of {lens:?} bytes cost {least:?}");
}

/// Whether no doubling of the size costs more than 2.2 times as much, on the average of all.
fn is_linear(costs: &[Duration]) -> bool {
    let doublings = costs.len() as i32 - 1;
    costs[costs.len() - 1] <= costs[0].mul_f64(2.2_f64.powi(doublings))
}

#[tokio::test]
async fn a_body_in_one_byte_pieces_costs_time_linear_in_its_size_in_every_coding() {
    for coding in [Coding::Identity].into_iter().chain(COMPRESSED) {
        let sizes = (0..=3).map(|doubled| (MIB / 8) << doubled);
        let bodies: Vec<_> = sizes.map(|size| (coding, compressed(coding, &telemetry(size)))).collect();
        assert_cost(&format!("{coding:?}"), &bodies, 1, is_linear).await;
    }
}

#[tokio::test]
async fn what_is_decoded_costs_time_linear_in_its_size_in_every_coding() {
    for coding in COMPRESSED {
        let sizes = (0..=3).map(|doubled| (MIB / 8) << doubled);
        let bodies: Vec<_> = sizes.map(|size| (coding, compressed(coding, &vec![b'.'; size]))).collect();
        assert_cost(&format!("{coding:?}"), &bodies, 1000, is_linear).await;
    }
}

/// Bodies of parts that hold nothing, or next to nothing, as many of them as are asked for.
fn idle(count: usize) -> Vec<(&'static str, Coding, Vec<u8>)> {
    let frames = |coding, data: &[u8]| compressed(coding, data).repeat(count);
    let skipped = b"\x50\x2a\x4d\x18\0\0\0\0".repeat(count);
    let stream = &b"\xff\x06\0\0sNaPpY"[..];
    // The largest window that is allowed, and a block of no bytes.
    let wide = b"\x28\xb5\x2f\xfd\0\x68\x01\0\0".repeat(count);
    // Blocks of four mebibytes are announced, and one of a byte comes.
    let generous = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max4MB);
    let mut generous = lz4_flex::frame::FrameEncoder::with_frame_info(generous, Vec::new());
    generous.write_all(b"x").unwrap();
    vec![
        ("empty members", Coding::Gzip, frames(Coding::Gzip, b"")),
        ("members of a byte", Coding::Gzip, frames(Coding::Gzip, b"x")),
        (
            "empty stored blocks",
            Coding::Deflate,
            [&b"\x78\x01"[..], &b"\0\0\0\xff\xff".repeat(count)].concat(),
        ),
        ("empty frames", Coding::Zstd, frames(Coding::Zstd, b"")),
        ("frames of a byte", Coding::Zstd, frames(Coding::Zstd, b"x")),
        ("empty frames of a wide window", Coding::Zstd, wide),
        ("skipped frames", Coding::Zstd, skipped.clone()),
        ("stream identifiers", Coding::Snappy, stream.repeat(count)),
        ("padding", Coding::Snappy, [stream, &b"\xfe\0\0\0".repeat(count)].concat()),
        ("frames of a byte", Coding::Snappy, frames(Coding::Snappy, b"x")),
        ("empty frames", Coding::Lz4, frames(Coding::Lz4, b"")),
        ("frames of a byte", Coding::Lz4, frames(Coding::Lz4, b"x")),
        ("frames of a byte in a large block", Coding::Lz4, generous.finish().unwrap().repeat(count)),
        ("skipped frames", Coding::Lz4, skipped),
    ]
}

#[tokio::test]
async fn parts_that_hold_nothing_cost_time_linear_in_their_number() {
    for ((what, coding, few), (_, _, many)) in idle(2_000).into_iter().zip(idle(16_000)) {
        // Three doublings. What a body costs by itself, however short it is, makes the shorter one dearer.
        let holds = |costs: &[Duration]| costs[1] <= costs[0].mul_f64(2.2_f64.powi(3));
        assert_cost(&format!("{what}, {coding:?}"), &[(coding, few), (coding, many)], 5000, holds).await;
    }
}

#[tokio::test]
async fn parts_that_hold_nothing_cost_no_more_for_each_byte_than_thirty_times_what_telemetry_does() {
    for (what, coding, parts) in idle(8_000) {
        let telemetry = compressed(Coding::Gzip, &telemetry(MIB));
        let more = 30.0 * parts.len() as f64 / telemetry.len() as f64;
        let holds = |costs: &[Duration]| costs[0] <= costs[1].mul_f64(more);
        let bodies = [(coding, parts), (Coding::Gzip, telemetry)];
        assert_cost(&format!("{what}, {coding:?}"), &bodies, 5000, holds).await;
    }
}

/// A member of gzip with everything that may stand before its data.
fn gzip_with_a_long_head(data: &[u8]) -> Vec<u8> {
    let head = flate2::GzBuilder::new().extra(vec![7; 3000]).filename("name").comment("comment");
    let mut encoder = head.write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Decodes a body that is there in pieces of this size, in steps that read so much; what it comes to, and what each step read.
/// None reads and writes more than was said before.
fn in_steps(coding: Coding, body: &[u8], piece: usize, input: usize) -> (Vec<u8>, Vec<usize>) {
    let mut chunks = BodyChunks::default();
    for piece in body.chunks(piece) {
        chunks.push(Bytes::copy_from_slice(piece), piece.len());
    }
    let mut decoder = Decoder::new(coding, chunks).unwrap();
    let (mut decoded, mut steps) = (Vec::new(), Vec::new());
    let mut out = vec![0; STEP];
    loop {
        let memory = decoder.memory(out.len());
        let (before, most) = (decoder.input().len(), decoder.most_of_a_step(out.len(), memory, input));
        let filled = decoder.fill(&mut out, memory, input).unwrap();
        let read = before - decoder.input().len();
        let (Filled::Partly(more) | Filled::Whole(more)) = filled;
        assert!(read + more <= most, "{coding:?}: {read} bytes read and {more} written, of {most} at most");
        steps.push(read);
        decoded.extend_from_slice(&out[..more]);
        if let Filled::Whole(_) = filled {
            return (decoded, steps);
        }
    }
}

#[test]
fn a_body_comes_to_the_same_in_steps_of_whatever_size_in_every_coding() {
    let data = telemetry(3000);
    let ordinary = COMPRESSED.map(|coding| ("telemetry", coding, compressed(coding, &data).repeat(2)));
    let long_heads = ("long heads", Coding::Gzip, gzip_with_a_long_head(&data).repeat(2));
    let bodies = ordinary.into_iter().filter(|(_, coding, _)| *coding != Coding::Deflate).chain(idle(50));
    for (what, coding, mut body) in bodies.chain([long_heads]) {
        if coding == Coding::Deflate {
            // Its one stream ends here.
            body.extend_from_slice(b"\x01\0\0\xff\xff\0\0\0\x01");
        }
        let (whole, _) = in_steps(coding, &body, usize::MAX, body.len());
        for (piece, input) in [(usize::MAX, 1), (1, 1), (7, 1000), (1000, 7), (usize::MAX, 100)] {
            let (decoded, _) = in_steps(coding, &body, piece, input);
            assert!(decoded == whole, "{what}, {coding:?}: steps of {input} bytes, pieces of {piece}");
        }
    }
    let deflate = compressed(Coding::Deflate, &data);
    for input in [1, 7, 1000] {
        assert!(in_steps(Coding::Deflate, &deflate, 100, input).0 == data, "steps of {input} bytes");
    }
}

#[test]
fn no_step_reads_more_than_it_may_and_a_block_whatever_comes_out_in_every_coding() {
    let block = |coding| match coding {
        Coding::Gzip | Coding::Deflate | Coding::Zstd => 0,
        Coding::Snappy => 76 * 1024,
        Coding::Lz4 => 4 * MIB + 64,
        Coding::Identity => unreachable!("it is not decoded"),
    };
    let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(MIB).collect();
    let noisy = COMPRESSED.map(|coding| ("noise", coding, compressed(coding, &noise)));
    for (what, coding, mut body) in noisy.into_iter().chain(idle(100_000)) {
        if what == "empty stored blocks" {
            body.extend_from_slice(b"\x01\0\0\xff\xff\0\0\0\x01");
        }
        let (_, steps) = in_steps(coding, &body, usize::MAX, STEP_INPUT);
        let most = *steps.iter().max().unwrap();
        assert!(most <= STEP_INPUT + block(coding), "{what}, {coding:?}: {most} bytes in a step");
        if what != "noise" {
            // These blocks are short.
            assert!(most <= STEP_INPUT + 256, "{what}, {coding:?}: {most} bytes in a step");
        }
        assert_eq!(steps.iter().sum::<usize>(), body.len(), "{what}, {coding:?}");
    }
}

#[tokio::test]
async fn a_body_that_has_begun_takes_no_more_than_four_times_what_has_come_of_it() {
    for coding in COMPRESSED {
        let bomb = Bytes::from(compressed(coding, &vec![0; 32 * MIB]));
        for declared in [None, Some(bomb.len() as u64)] {
            for piece in [1, 100, 10_000] {
                let budget = Arc::new(Budget::new(64 << 20));
                let mut reading = BodyReading::new(coding, declared, &limits(&budget)).unwrap();
                let come = (bomb.len() - 1).min(200 * piece);
                for at in (0..come).step_by(piece) {
                    let end = come.min(at + piece);
                    reading.take(bomb.slice(at..end), false).await.unwrap();
                    let most = LEAST_PIECE.max(BELIEVED * end) as u64;
                    assert!(budget.used() <= most, "{coding:?}: {} bytes for {end}", budget.used());
                }
                drop(reading);
                assert_eq!(budget.used(), 0);
            }
        }
    }
}

#[tokio::test]
async fn of_a_body_of_which_much_has_come_more_is_believed_while_memory_is_plenty() {
    let (len, piece) = (MIB, MUCH);
    let body = Bytes::from(telemetry(len));
    for used in [0, 40 << 20] {
        let budget = Arc::new(Budget::new(64 << 20));
        assert!(budget.reserve(used));
        let mut reading = BodyReading::new(Coding::Identity, Some(len as u64), &limits(&budget)).unwrap();
        for at in (0..len).step_by(piece) {
            let end = len.min(at + piece);
            reading.take(body.slice(at..end), end == len).await.unwrap();
            let believed = if used == 0 { BELIEVED_OF_MUCH } else { BELIEVED };
            assert!(budget.used() <= used + len.min(believed * end) as u64, "{end} have come");
        }
        assert_eq!(reading.gathered.held(), len);
        assert_eq!(reading.gathered.is_whole(), used == 0);
        let received = reading.finish().await.unwrap();
        assert_eq!((received.bytes == body, received.own_memory), (true, Some(len as u64)));
    }
    let budget = Arc::new(Budget::new(64 << 20));
    let mut reading = BodyReading::new(Coding::Identity, Some(len as u64), &limits(&budget)).unwrap();
    reading.take(body.clone(), true).await.unwrap();
    let received = reading.finish().await.unwrap();
    assert_eq!(
        (received.bytes.as_ptr(), received.own_memory),
        (body.as_ptr(), None),
        "it is where it was read"
    );
}

#[tokio::test]
async fn what_fits_the_memory_with_its_decoder_is_taken_and_what_does_not_is_too_large() {
    for coding in COMPRESSED {
        // A block of LZ4 may come to 4 MiB, which are there beside the body until the next one comes.
        let memory = if coding == Coding::Lz4 { 16 << 20 } else { 8 << 20 };
        let budget = Arc::new(Budget::new(memory));
        let fits = telemetry(4 * MIB);
        let received = read(coding, &compressed(coding, &fits), 1000, &limits(&budget)).await.unwrap();
        assert!(received.bytes == fits, "{coding:?}");
        assert_eq!(budget.used(), fits.len() as u64, "{coding:?}");
        drop(received);
        let bomb = compressed(coding, &vec![0; 64 * MIB]);
        let refused = read(coding, &bomb, 1000, &limits(&budget)).await;
        assert!(
            matches!(refused, Err(BodyReadError::TooLarge(..) | BodyReadError::NeverFits(_))),
            "{coding:?}: {refused:?}"
        );
        assert_eq!(budget.used(), 0, "{coding:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_no_room_now_is_asked_for_again_and_one_that_finds_some_in_time_is_taken() {
    for coding in COMPRESSED {
        let budget = Arc::new(Budget::new(8 << 20));
        let body = compressed(coding, &telemetry(2 * MIB));
        assert!(budget.reserve(7 << 20));
        let refused = read(coding, &body, 1000, &limits(&budget)).await;
        assert!(matches!(refused, Err(BodyReadError::NoMemory)), "{coding:?}: {refused:?}");
        let freed = async {
            sleep(Duration::from_millis(100)).await;
            budget.release(7 << 20);
        };
        let limits = limits(&budget);
        let (read, ()) = tokio::join!(read(coding, &body, 1000, &limits), freed);
        assert_eq!(read.unwrap().bytes.len(), 2 * MIB, "{coding:?}");
        assert_eq!(budget.used(), 0, "{coding:?}");
    }
}

#[tokio::test]
async fn blocks_and_frames_of_snappy_are_told_apart_by_their_first_bytes() {
    let limits = limits(&Arc::new(Budget::new(64 << 20)));
    for len in [0, 1, 100, 100_000, 3 * MIB] {
        let data = telemetry(len);
        let block = snap::raw::Encoder::new().compress_vec(&data).unwrap();
        for body in [block, compressed(Coding::Snappy, &data)] {
            for piece in [7, 10_000, 4 * MIB] {
                let read = read(Coding::Snappy, &body, piece, &limits).await.unwrap();
                assert!(read.bytes == data, "{len} bytes, {piece} at a time");
            }
        }
    }
}

#[tokio::test]
async fn a_block_of_snappy_is_not_believed_to_be_longer_than_it_can_be() {
    let budget = Arc::new(Budget::new(u64::MAX / 2));
    let announcing = |announced: &[u8], len| [announced, &vec![0; len]].concat();
    let cases = [
        announcing(b"\xff\xff\xff\xff\x0f", 10),
        announcing(b"\xff\xff\xff\xff\x0f", MIB),
        announcing(b"\x80\x80\x80\x20", MIB),
        announcing(b"\xff\xff\xff\xff\xff\xff", 10),
        announcing(b"\x80", 0),
    ];
    for body in cases {
        let mut generous = limits(&budget);
        generous.size = u64::MAX;
        let refused = read(Coding::Snappy, &body, 100_000, &generous).await;
        assert!(matches!(refused, Err(BodyReadError::Corrupt(Coding::Snappy, _))), "{refused:?}");
        assert_eq!(budget.used(), 0);
    }
}

/// What comes of a body, and how often other tasks have their turn while it is read.
async fn read_beside_others(coding: Coding, body: &[u8]) -> (Bytes, usize) {
    let turns = std::cell::Cell::new(0);
    let others = async {
        loop {
            turns.set(turns.get() + 1);
            yield_now().await;
        }
    };
    let limits = limits(&Arc::new(Budget::new(256 << 20)));
    tokio::select! {
        biased;
        read = read(coding, body, 10_000, &limits) => (read.unwrap().bytes, turns.get()),
        () = others => unreachable!("it has no end"),
    }
}

#[tokio::test]
async fn other_tasks_have_their_turn_while_a_bomb_is_decoded() {
    for coding in COMPRESSED {
        let (decoded, turns) = read_beside_others(coding, &compressed(coding, &vec![0; 32 * MIB])).await;
        assert!(decoded.len() == 32 * MIB && decoded.iter().all(|byte| *byte == 0), "{coding:?}");
        assert!(turns >= 32 * MIB / STEP / 2, "{coding:?}: {turns} turns");
    }
}

#[tokio::test]
async fn other_tasks_have_their_turn_while_parts_that_hold_nothing_are_decoded() {
    for (what, coding, mut parts) in idle(100_000) {
        if coding == Coding::Deflate {
            // Its one stream ends here.
            parts.extend_from_slice(b"\x01\0\0\xff\xff\0\0\0\x01");
        }
        let (decoded, turns) = read_beside_others(coding, &parts).await;
        assert!(decoded.len() <= 100_000, "{what}, {coding:?}: {} bytes", decoded.len());
        assert!(turns >= parts.len() / STEP_INPUT / 2, "{what}, {coding:?}: {turns} turns");
    }
}

/// Who does the work on a body that comes to so many bytes.
async fn work_on(coding: Coding, body: Vec<u8>, len: usize) -> WorkDone {
    let reading = async move {
        let limits = limits(&Arc::new(Budget::new(256 << 20)));
        read(coding, &body, 16 * 1024, &limits).await.unwrap().bytes.len()
    };
    let (read, done) = tokio::spawn(Counted::new(reading)).await.unwrap();
    assert_eq!(read, len, "{coding:?}");
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_large_body_is_decoded_and_joined_aside_and_a_small_one_by_its_worker_in_every_coding() {
    for coding in COMPRESSED {
        let of = async |len| work_on(coding, compressed(coding, &telemetry(len)), len).await;
        assert_eq!(of(40 * 1024).await.aside, 0, "{coding:?}");
        // All that a worker does is to join what is not more than a mebibyte.
        assert_eq!(of(MIB - 1).await.by_worker, 1, "{coding:?}");
        let done = of(60 * MIB).await;
        assert!(done.by_worker == 0 && done.aside > 60 * MIB / STEP, "{coding:?}: {done:?}");
    }
    for (len, done) in
        [(MIB - 1, WorkDone { by_worker: 1, aside: 0 }), (MIB + 1, WorkDone { by_worker: 0, aside: 1 })]
    {
        assert_eq!(work_on(Coding::Identity, telemetry(len), len).await, done, "{len} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_few_bytes_of_lz4_that_are_a_block_of_mebibytes_are_decoded_aside() {
    let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max4MB);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&vec![0; 4 * MIB]).unwrap();
    let body = encoder.finish().unwrap();
    assert!(body.len() <= SMALL, "{} bytes", body.len());
    let done = work_on(Coding::Lz4, body, 4 * MIB).await;
    // The head of its frame.
    assert_eq!(done.by_worker, 1, "{done:?}");
    assert!(done.aside > 4 * MIB / STEP, "{done:?}");
}
