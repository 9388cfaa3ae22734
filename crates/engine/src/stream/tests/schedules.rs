//! What several threads do with streams, in the orders of their steps that Shuttle thinks of. What is tried are copies of files of this
//! module that have the locks and atomics of Shuttle, and between them what the rest of the module does with these.

use crate::stream::{full, history};

#[expect(clippy::duplicate_mod, dead_code, unreachable_pub, reason = "this copy has the atomics of Shuttle")]
#[path = "../budget.rs"]
mod budget;
mod forgetting;
mod reading;
#[expect(clippy::duplicate_mod, dead_code, unreachable_pub, reason = "this copy has the atomics of Shuttle")]
#[path = "../stream_count.rs"]
mod stream_count;
#[expect(clippy::duplicate_mod, dead_code, reason = "this copy has the locks of Shuttle")]
#[path = "../stream_map.rs"]
mod stream_map;
#[expect(clippy::duplicate_mod, dead_code, reason = "this copy has the atomics of Shuttle")]
#[path = "../stream_word.rs"]
mod stream_word;
#[expect(clippy::duplicate_mod, dead_code, unreachable_pub, reason = "this copy has the locks of Shuttle")]
#[path = "../wait_queue.rs"]
mod wait_queue;
mod waiting;

/// Tries something in two thousand orders of its threads' steps.
fn check(life: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(life, 1000);
    shuttle::check_pct(life, 1000, 3);
}

/// What the copies use instead of what the original files use.
mod sync {
    use std::borrow::Borrow;
    use std::collections::HashMap;
    use std::hash::Hash;
    use std::ops::Deref;
    use std::pin::pin;
    use std::task::Poll;

    use shuttle::rand::{Rng as _, thread_rng};
    use shuttle::sync::MutexGuard;
    pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    use tokio::time::Instant;

    #[derive(Debug, Default)]
    pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    /// Waits for something. A time that is over already may end that at any time, another one never does.
    pub(super) async fn timeout_at<F: Future>(end: Instant, future: F) -> Result<F::Output, ()> {
        let (may_end, mut future) = (end <= Instant::now(), pin!(future));
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if !may_end => Poll::Pending,
            Poll::Pending if thread_rng().gen_bool(0.3) => Poll::Ready(Err(())),
            Poll::Pending => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await
    }

    /// A map with one lock, as each of several parts of the original has one.
    #[derive(Debug)]
    pub(super) struct DashMap<K, V>(Mutex<HashMap<K, V>>);

    /// A copy of a value. In the original it holds the lock for as long as it lives.
    pub(super) struct Found<V>(V);

    impl<V> Deref for Found<V> {
        type Target = V;

        fn deref(&self) -> &V {
            &self.0
        }
    }

    pub(super) struct Entry<'a, K, V> {
        map: MutexGuard<'a, HashMap<K, V>>,
        key: K,
    }

    impl<K: Clone + Eq + Hash, V: Clone> Entry<'_, K, V> {
        pub(super) fn or_try_insert_with<E>(
            mut self,
            make: impl FnOnce() -> Result<V, E>,
        ) -> Result<Found<V>, E> {
            if let Some(known) = self.map.get(&self.key) {
                return Ok(Found(known.clone()));
            }
            let made = make()?;
            self.map.insert(self.key, made.clone());
            Ok(Found(made))
        }
    }

    impl<K: Clone + Eq + Hash, V: Clone> DashMap<K, V> {
        pub(super) fn new() -> Self {
            Self(Mutex(shuttle::sync::Mutex::new(HashMap::new())))
        }

        pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Found<V>>
        where
            K: Borrow<Q>,
        {
            self.0.lock().get(key).cloned().map(Found)
        }

        pub(super) fn entry(&self, key: K) -> Entry<'_, K, V> {
            Entry { map: self.0.lock(), key }
        }

        pub(super) fn insert(&self, key: K, value: V) -> Option<V> {
            self.0.lock().insert(key, value)
        }

        pub(super) fn remove_if<Q: Eq + Hash + ?Sized>(
            &self,
            key: &Q,
            remove: impl FnOnce(&K, &V) -> bool,
        ) -> Option<(K, V)>
        where
            K: Borrow<Q>,
        {
            let mut map = self.0.lock();
            let (known, value) = map.get_key_value(key)?;
            let is_removed = remove(known, value);
            if is_removed { map.remove_entry(key) } else { None }
        }

        pub(super) fn retain(&self, mut keep: impl FnMut(&K, &mut V) -> bool) {
            self.0.lock().retain(|key, value| keep(key, value));
        }

        pub(super) fn shrink_to_fit(&self) {
            self.0.lock().shrink_to_fit();
        }

        /// Nobody else has the map before the iterator has ended.
        pub(super) fn iter(&self) -> impl Iterator<Item = Found<V>> {
            let map = self.0.lock();
            let values: Vec<V> = map.values().cloned().collect();
            values.into_iter().map(move |value| {
                let _map = &map;
                Found(value)
            })
        }

        pub(super) fn len(&self) -> usize {
            self.0.lock().len()
        }
    }
}
