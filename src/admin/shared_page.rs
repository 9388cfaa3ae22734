//! A page that is made once for all who ask for it at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::yield_now;

/// A page that takes time to make. However many ask for it, one is made at a time, and shows whatever was true when any of
/// those asked who get it.
#[derive(Debug, Default)]
pub(super) struct SharedPage {
    /// How many have begun to be made.
    begun: AtomicU64,
    /// The last that was made, and how many had begun with it.
    last: Mutex<(u64, Bytes)>,
}

impl SharedPage {
    /// The page, which `make` makes unless one was begun after this call.
    pub(super) async fn get(&self, make: impl FnOnce() -> String) -> Bytes {
        let begun_before = self.begun.load(Ordering::SeqCst);
        // Others ask meanwhile, and whoever asks for one page after the other lets them.
        yield_now().await;
        let mut last = self.last.lock().await;
        if last.0 > begun_before {
            return last.1.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        debug_assert_eq!(number, last.0 + 1, "one is made at a time");
        *last = (number, Bytes::from(make()));
        last.1.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_page_is_made_once_for_all_who_asked_before_and_anew_for_who_asks_later() {
        let (page, made) = (SharedPage::default(), Cell::new(0));
        let ask = || page.get(|| format!("{}", made.replace(made.get() + 1)));
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!([a, b, c], ["0"; 3]);
        assert_eq!(ask().await, "1");
        assert_eq!(ask().await, "2");
        assert_eq!(made.get(), 3);
    }
}
