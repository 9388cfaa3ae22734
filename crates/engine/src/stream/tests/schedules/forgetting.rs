//! Admission while idle streams are forgotten: no entry is lost or in a stream that is forgotten, and streams are counted exactly.

use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use super::check;
use super::stream_count::{CountedOnce, StreamCount};
use super::stream_map::StreamMap;
use super::stream_word::AtomicStreamWord;
use otlp::Signal;

const SIGNAL: Signal = Signal::Logs;
const KEYS: [&str; 2] = ["a", "b"];
const ADMITTERS: usize = 3;
const ENTRIES: usize = 3;

/// A stream, as far as this is about it.
#[derive(Default)]
struct Stream {
    word: AtomicStreamWord,
    counted: CountedOnce,
    entries: Mutex<Vec<usize>>,
}

struct Registry {
    live: StreamMap<Stream>,
    /// With room for no more streams than there are names.
    count: StreamCount,
    /// All that were ever made.
    made: Mutex<Vec<std::sync::Arc<Stream>>>,
    settled: Mutex<Vec<usize>>,
}

impl Registry {
    fn stream(&self, key: &str) -> std::sync::Arc<Stream> {
        self.live.find(SIGNAL, key).unwrap_or_else(|| {
            let make = || {
                assert!(self.count.join(), "whoever was before it counts no more");
                let stream = std::sync::Arc::new(Stream::default());
                self.made.lock().unwrap().push(stream.clone());
                Ok::<_, ()>(stream)
            };
            self.live.find_or_make(SIGNAL, &key.into(), make).unwrap()
        })
    }

    /// As a group reserves and appends.
    fn admit(&self, key: &str, entry: usize) {
        let mut stream = self.stream(key);
        while stream.word.reserve(1, |word| !word.is_gone()).is_err() {
            stream = self.stream(key);
        }
        stream.entries.lock().unwrap().push(entry);
    }

    /// As a consumer takes and settles what there is in a stream.
    fn settle(&self, key: &str) {
        let Some(stream) = self.live.find(SIGNAL, key) else { return };
        let entry = stream.entries.lock().unwrap().pop();
        if let Some(entry) = entry {
            self.settled.lock().unwrap().push(entry);
            stream.word.subtract(1);
        }
    }

    fn retire(&self, stream: &Stream) -> bool {
        let gone = stream.word.retire();
        if gone {
            assert!(stream.entries.lock().unwrap().is_empty(), "it holds nothing");
            stream.counted.leave(|| self.count.leave());
        }
        gone
    }

    fn sweep(&self) {
        self.live.forget_all(|stream| self.retire(stream));
    }

    /// As the exporter is removed and put back.
    fn pause(&self) {
        self.live.for_each(|stream| stream.counted.leave(|| self.count.leave()));
        self.live.for_each(|stream| stream.counted.join(|| self.count.join_anyway()));
    }
}

/// Entries are admitted and settled while streams are forgotten, and the exporter is paused for a while if it is to be.
fn streams_come_and_go(is_paused: bool) {
    let count = StreamCount::new(if is_paused { 100 } else { KEYS.len() });
    let (live, made, settled) = (StreamMap::new(), Mutex::default(), Mutex::default());
    let registry = Arc::new(Registry { live, count, made, settled });
    let start = |run: fn(&Registry, usize), number: usize| {
        let registry = registry.clone();
        thread::spawn(move || run(&registry, number))
    };
    let admit = |registry: &Registry, admitter: usize| {
        for entry in (0..ENTRIES).map(|entry| admitter * ENTRIES + entry) {
            let key = KEYS[entry % KEYS.len()];
            registry.admit(key, entry);
            registry.settle(key);
        }
    };
    let forget = |registry: &Registry, _| {
        for key in KEYS {
            registry.sweep();
            // One that was made for a request which was then refused.
            let made = registry.stream(key);
            let retire = |known: &std::sync::Arc<Stream>| {
                std::sync::Arc::ptr_eq(known, &made) && registry.retire(known)
            };
            let gone = registry.live.forget(SIGNAL, key, retire);
            assert!(gone.is_none_or(|gone| gone.word.load().is_gone()));
        }
    };
    let mut threads: Vec<_> = (0..ADMITTERS).map(|number| start(admit, number)).collect();
    threads.push(start(forget, 0));
    if is_paused {
        threads.push(start(|registry, _| registry.pause(), 0));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(registry.count.live(), registry.live.len());
    let mut there = registry.settled.lock().unwrap().clone();
    for stream in &*registry.made.lock().unwrap() {
        let entries = stream.entries.lock().unwrap();
        assert_eq!(stream.word.load().bytes(), entries.len() as u64);
        let is_live = KEYS.iter().any(|key| {
            registry.live.find(SIGNAL, key).is_some_and(|live| std::sync::Arc::ptr_eq(&live, stream))
        });
        assert!(is_live || entries.is_empty(), "nothing is in one that is forgotten");
        assert_ne!(is_live, stream.word.load().is_gone());
        there.extend(&*entries);
    }
    there.sort_unstable();
    assert_eq!(there, (0..ADMITTERS * ENTRIES).collect::<Vec<_>>(), "each entry is there once");
    while registry.settled.lock().unwrap().len() < there.len() {
        for key in KEYS {
            registry.settle(key);
        }
    }
    registry.sweep();
    assert_eq!((registry.count.live(), registry.live.len()), (0, 0));
}

#[test]
fn no_entry_is_lost_or_in_a_forgotten_stream_and_streams_are_counted_exactly() {
    check(|| streams_come_and_go(false));
}

#[test]
fn streams_are_counted_exactly_while_their_exporter_is_removed_and_put_back() {
    check(|| streams_come_and_go(true));
}
