//! What a journal does when nothing is wrong.

use std::ops::Range;

use super::*;

#[test]
fn what_is_appended_is_read_back_in_order_and_whole() {
    let disk = SimulatedDisk::new(1);
    let (journal, recovery) = open(&disk);
    assert_eq!((recovery.streams.len(), recovery.damage.len()), (0, 0));
    let [a, b] = ["a", "b"].map(|name| journal.stream(&key(name)));
    for n in 0..200 {
        let groups = vec![
            StreamEntries { stream: a, entries: [entry(nth("a", n, 500), n)].into_iter().collect() },
            StreamEntries {
                stream: b,
                entries: (0..3).map(|part| entry(nth("b", n * 3 + part, 40), part)).collect(),
            },
        ];
        let appended = append(&journal, groups).unwrap();
        assert_eq!(appended.first[..], [n, n * 3]);
    }
    for max_bytes in [1, 1000, 100_000, usize::MAX] {
        assert_eq!(read_from(&journal, a, 0, max_bytes), filled("a", 0..200, 500));
        assert_eq!(read_from(&journal, b, 0, max_bytes), filled("b", 0..600, 40));
        assert_eq!(read_from(&journal, b, 299, max_bytes), filled("b", 299..600, 40));
    }
    assert!(segments(&disk).len() > 3, "{:?}", disk.files());
    let chunks = journal.read(b, 1..u64::MAX, usize::MAX).unwrap();
    assert_eq!(chunks[0].first, 1);
    assert_eq!(chunks.iter().map(Chunk::records).sum::<u64>(), 200 * 3);
}

#[test]
fn what_comes_after_the_end_is_not_read() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..10, 500);
    let read = |numbers| -> Vec<u64> {
        let chunks = journal.read(a, numbers, usize::MAX).unwrap();
        chunks.iter().flat_map(Chunk::sequences).collect()
    };
    // Small records that follow each other are one chunk: it has to end in time.
    assert_eq!(read(3..7), [3, 4, 5, 6]);
    assert_eq!(read(0..10), (0..10).collect::<Vec<_>>());
    assert!(read(5..5).is_empty() && read(10..12).is_empty());
}

#[test]
fn requests_that_are_written_together_share_records_and_are_told_apart() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let [a, b] = ["a", "b"].map(|name| journal.stream(&key(name)));
    let firsts = Arc::new(Mutex::new(Vec::new()));
    for request in 0..3 {
        let group = |stream, name, numbers: Range<u64>| StreamEntries {
            stream,
            entries: numbers.map(|n| entry(nth(name, n, 6_000), 1)).collect(),
        };
        let groups = vec![group(a, "a", 2 * request..2 * request + 2), group(b, "b", request..request + 1)];
        let firsts = firsts.clone();
        journal.append(groups, Box::new(move |done| firsts.lock().push(done.unwrap().first.to_vec())));
    }
    while journal.commit_once() {}
    assert_eq!(*firsts.lock(), [[0, 0], [2, 1], [4, 2]]);
    // Records of this size are chunks.
    assert_eq!(journal.read(a, 0..u64::MAX, usize::MAX).unwrap().len(), 1);
    assert_eq!(
        (read_all(&journal, a), read_all(&journal, b)),
        (filled("a", 0..6, 6_000), filled("b", 0..3, 6_000))
    );
    // As far as the first two requests went, of which alone a stream may have been told.
    let chunks = journal.read(a, 1..4, usize::MAX).unwrap();
    assert_eq!(chunks.iter().flat_map(entries_of).collect::<Vec<_>>(), filled("a", 1..4, 6_000));
    assert_eq!(chunks[0].records(), 3);
}

#[test]
fn a_request_larger_than_a_record_and_than_a_segment_is_one() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    let entries = (0..40).map(|n| entry(nth("a", n, 30_000), n)).collect();
    append(&journal, vec![StreamEntries { stream: a, entries }]).unwrap();
    fill(&journal, a, "a", 40..42, 300_000);
    drop(journal);
    let (journal, recovery) = open(&disk);
    let a = journal.stream(&key("a"));
    assert_eq!(recovery.streams[0].records, (0..40).sum::<u64>() + 2);
    let all = read_all(&journal, a);
    assert_eq!(all[..40], filled("a", 0..40, 30_000));
    assert_eq!(all[40..], filled("a", 40..42, 300_000));
}

#[test]
fn batches_that_are_read_together_are_those_that_are_read_one_by_one() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    // Records of one entry and of many, small ones and those that are larger than a batch.
    fill(&journal, a, "a", 0..50, 300);
    let entries = (50..80).map(|n| entry(nth("a", n, 5_000), 1)).collect();
    append(&journal, vec![StreamEntries { stream: a, entries }]).unwrap();
    fill(&journal, a, "a", 80..84, 40_000);
    for max_bytes in [1, 700, 4_000, 30_000, 90_000, usize::MAX] {
        for batches in 1..4 {
            let (mut from, mut found) = (0, Vec::new());
            loop {
                let read = journal.read_batches(a, from..82, max_bytes, batches).unwrap();
                assert!(read.len() <= batches);
                if read.is_empty() {
                    break;
                }
                for chunks in &read {
                    assert_eq!(
                        *chunks,
                        journal.read(a, from..82, max_bytes).unwrap(),
                        "{max_bytes} {batches}"
                    );
                    let bytes: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
                    let entries: u64 = chunks.iter().map(|chunk| chunk.counts.len() as u64).sum();
                    assert!(bytes <= max_bytes || entries == 1, "{bytes} of {max_bytes}");
                    from = chunks[chunks.len() - 1].sequences().end() + 1;
                    found.extend(chunks.iter().flat_map(entries_of));
                }
            }
            let mut expected = filled("a", 0..50, 300);
            expected.extend(filled("a", 50..80, 5_000));
            expected.extend(filled("a", 80..82, 40_000));
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn requests_that_wait_are_made_durable_together_and_answered_in_order() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    let answers = Arc::new(Mutex::new(Vec::new()));
    for n in 0..16 {
        let answers = answers.clone();
        let group = StreamEntries { stream: a, entries: [entry(nth("a", n, 1000), 1)].into_iter().collect() };
        journal.append(vec![group], Box::new(move |done| answers.lock().push(done.unwrap().first[0])));
    }
    assert!(journal.commit_once());
    assert!(!journal.commit_once());
    assert_eq!(*answers.lock(), (0..16).collect::<Vec<_>>());
    assert_eq!(journal.state().commits, 1);
}

#[test]
fn what_is_settled_does_not_come_back_and_its_segments_are_used_again() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    for n in 0..2000 {
        append_one(&journal, a, nth("a", n, 1000)).unwrap();
        journal.settle(a, n..=n);
        if n % 20 == 0 {
            journal.tend_once();
        }
    }
    let state = journal.state();
    assert!(state.segments <= 4, "{state:?}");
    assert!(state.bytes_on_disk <= 10 * SEGMENT + (512 << 10), "{state:?}");
    assert_eq!(state.settled_entries, 2000);
    drop(journal);
    let (journal, recovery) = open(&disk);
    assert_eq!((recovery.streams, recovery.damage), (vec![], vec![]));
    let again = journal.stream(&key("a"));
    assert_eq!(read_all(&journal, again), []);
}

#[test]
fn the_order_and_the_numbers_go_on_after_a_restart() {
    let disk = SimulatedDisk::new(1);
    for life in 0..5 {
        let (journal, recovery) = open(&disk);
        assert_eq!(recovery.damage, []);
        let a = journal.stream(&key("a"));
        if life > 0 {
            let stream = &recovery.streams[0];
            assert_eq!((stream.id, stream.first, stream.last), (a, life * 20, life * 100 - 1));
            assert_eq!((stream.entries, stream.records), (life * 80, life * 80));
            assert_eq!(stream.bytes, life * 80 * otlp::frame_len(700) as u64);
        }
        fill(&journal, a, "a", life * 100..life * 100 + 100, 700);
        journal.settle(a, life * 20..=life * 20 + 19);
        journal.tend_once();
        if life % 2 == 0 {
            disk.kill();
        }
        drop(journal);
    }
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    assert_eq!(read_from(&journal, a, 100, 10_000), filled("a", 100..500, 700));
}

#[test]
fn a_stream_that_is_stuck_does_not_pin_the_disk() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let [stuck, busy] = ["stuck", "busy"].map(|name| journal.stream(&key(name)));
    for n in 0..400 {
        append_one(&journal, stuck, nth("stuck", n, 100)).unwrap();
        for part in 0..10 {
            append_one(&journal, busy, nth("busy", n * 10 + part, 2000)).unwrap();
        }
        journal.settle(busy, n * 10..=n * 10 + 9);
        journal.tend_once();
    }
    let state = journal.state();
    assert!(state.segments < 16, "{state:?}");
    assert!(state.carried_bytes > 0);
    assert_eq!(read_all(&journal, stuck), filled("stuck", 0..400, 100));
    disk.kill();
    drop(journal);
    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.damage, []);
    assert_eq!(recovery.streams.len(), 1);
    let stuck = journal.stream(&key("stuck"));
    assert_eq!(recovery.streams[0].entries, 400);
    assert_eq!(read_all(&journal, stuck), filled("stuck", 0..400, 100));
}

#[test]
fn what_many_streams_left_behind_is_regrouped_once() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let streams: Vec<_> =
        (0..20).map(|n| (format!("s{n}"), journal.stream(&key(&format!("s{n}"))))).collect();
    for n in 0..25 {
        for (name, stream) in &streams {
            append_one(&journal, *stream, nth(name, n, 500)).unwrap();
        }
    }
    let scattered = journal.read(streams[0].1, 0..u64::MAX, usize::MAX).unwrap().len();
    for _ in 0..20 {
        journal.tend_once();
    }
    let carried = journal.state().carried_bytes;
    assert!(carried > 0);
    for _ in 0..20 {
        journal.tend_once();
    }
    assert_eq!(journal.state().carried_bytes, carried, "nothing is carried again for no reason");
    assert!(journal.read(streams[0].1, 0..u64::MAX, usize::MAX).unwrap().len() <= scattered);
    for (name, stream) in &streams {
        assert_eq!(read_all(&journal, *stream), filled(name, 0..25, 500));
    }
}

#[test]
fn a_stream_nobody_needs_is_forgotten_and_begins_anew() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..3, 100);
    let number = journal.number(a);
    journal.forget(a);
    let a = journal.stream(&key("a"));
    assert_eq!(journal.number(a), number, "it has entries");
    journal.settle(a, 0..=2);
    journal.forget(a);
    let b = journal.stream(&key("b"));
    fill(&journal, b, "b", 0..200, 1000);
    journal.settle(b, 0..=100);
    journal.tend_once();
    assert_eq!(journal.state().streams, 1);
    let again = journal.stream(&key("a"));
    fill(&journal, again, "a", 0..1, 100);
    assert_ne!(journal.number(again), number);
    assert_eq!(append_one(&journal, a, nth("a", 0, 1)), Err(NotWritten::Forgotten));
}

#[test]
fn settled_out_of_order_nothing_is_freed_that_is_needed() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..300, 1000);
    journal.settle(a, 10..=299);
    journal.tend_once();
    assert_eq!(read_all(&journal, a)[..10], filled("a", 0..10, 1000));
    journal.settle(a, 0..=9);
    for _ in 0..3 {
        journal.tend_once();
    }
    assert!(journal.state().segments <= 2, "{:?}", journal.state());
}

#[test]
fn a_second_process_is_refused() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    assert!(matches!(try_open(&disk), Err(OpenError::InUse { .. })));
    journal.close();
    open(&disk);
}

#[test]
fn a_closed_journal_takes_nothing() {
    let (journal, _) = open(&SimulatedDisk::new(1));
    let a = journal.stream(&key("a"));
    journal.close();
    assert_eq!(append_one(&journal, a, nth("a", 0, 1)), Err(NotWritten::Closed));
}

#[test]
fn a_large_request_does_not_bring_the_segments_out_of_order() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..10, 1000);
    // The next segment is ready, and too small.
    journal.tend_once();
    fill(&journal, a, "a", 10..11, 200_000);
    fill(&journal, a, "a", 11..40, 1000);
    disk.kill();
    drop(journal);
    let (journal, recovery) = open(&disk);
    assert_eq!((recovery.damage, recovery.streams[0].entries), (vec![], 40));
    let a = journal.stream(&key("a"));
    journal.settle(a, 0..=39);
    journal.tend_once();
    assert_eq!(journal.state().segments, 0);
}
