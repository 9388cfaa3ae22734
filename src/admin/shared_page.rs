//! A page that is made once for all requests that ask for it at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::yield_now;

/// A page that takes time to make. However many requests ask for it, one page is made at a time, and no request gets a page that was
/// begun before it came.
#[derive(Debug, Default)]
pub(super) struct SharedPage {
    /// How many pages were begun, whether they were finished or not.
    begun: AtomicU64,
    /// The last page that was finished, and its number among those that were begun.
    last: Mutex<(u64, Bytes)>,
}

impl SharedPage {
    /// The page, which `make` makes unless one was begun after this call.
    pub(super) async fn get(&self, make: impl Future<Output = String>) -> Bytes {
        let begun_before = self.begun.load(Ordering::SeqCst);
        // Other requests that are ready come first, and share the page.
        yield_now().await;
        let mut last = self.last.lock().await;
        if last.0 > begun_before {
            return last.1.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        // Pages between the two were not finished: `make` may panic, which ends that connection alone.
        debug_assert!(number > last.0, "one is made at a time");
        *last = (number, Bytes::from(make.await));
        last.1.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_page_is_made_once_for_all_who_asked_before_and_anew_for_who_asks_later() {
        let (page, made) = (SharedPage::default(), Cell::new(0));
        let ask = || page.get(async { format!("{}", made.replace(made.get() + 1)) });
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!([a, b, c], ["0"; 3]);
        assert_eq!(ask().await, "1");
        assert_eq!(ask().await, "2");
        assert_eq!(made.get(), 3);
    }

    #[tokio::test]
    async fn a_page_is_made_for_the_next_who_asks_after_making_one_has_panicked() {
        let page = Arc::new(SharedPage::default());
        assert_eq!(page.get(async { "first".into() }).await, "first");
        for _ in 0..2 {
            let page = Arc::clone(&page);
            let failed =
                tokio::spawn(async move { page.get(async { panic!("this page can't be made") }).await });
            assert!(failed.await.unwrap_err().is_panic());
        }
        assert_eq!(page.get(async { "second".into() }).await, "second");
        assert_eq!(page.get(async { "third".into() }).await, "third");
    }
}
