//! `GET /api/v1/logs`: what is kept of the newest log records, a page at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::server::{json as answer_json, problem};
use super::tap::wrong_query;
use super::{look, query};
use crate::query::{Query, read_time};
use crate::receive::HttpResponse;
use crate::run::Router;
use crate::tap::{RecentSearch, RecordOrder, SearchCursor, SearchEnd};

/// Records of a page if the query of the URL does not say how many.
const RECORDS: usize = 100;

/// The most of them.
const MOST: usize = 1000;

/// Searches at a time, each of which takes a core.
const MOST_SEARCHES: usize = 2;

/// After so long a page ends with what was found, and the next one goes on from there.
const LONGEST_SEARCH: Duration = Duration::from_secs(2);

const PARAMETERS: &str = "there are query, tenant, from, to, batch_size, order and after";

/// The searches that go on at a time.
#[derive(Debug)]
pub(super) struct SearchTurns(Arc<Semaphore>);

impl SearchTurns {
    /// A turn for one more, or what to say if as many go on as may.
    fn take(&self) -> Result<OwnedSemaphorePermit, String> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            format!("{MOST_SEARCHES} searches go on, which is as many as may at a time: try again")
        })
    }
}

impl Default for SearchTurns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_SEARCHES)))
    }
}

/// A search for whose page somebody waits. It is told that nobody does once this is dropped.
struct AwaitedSearch(Arc<AtomicBool>);

impl Drop for AwaitedSearch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The page that is asked for.
pub(super) async fn page(router: &Arc<Router>, turns: &SearchTurns, text: &str) -> HttpResponse {
    let observer = router.intake().observer.clone();
    if !observer.recent().is_on() {
        let error = "recent records are not kept: write `tap: { recent: 64MiB }`";
        return problem(StatusCode::NOT_FOUND, error);
    }
    let mut wanted = String::new();
    let mut search = match read(text, &mut wanted) {
        Ok(search) => search,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
    };
    match observer.read_query(&wanted) {
        Ok(query) => search.query = query,
        Err(error) => return wrong_query(&error),
    }
    let turn = match turns.take() {
        Ok(turn) => turn,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error),
    };
    let is_left = Arc::new(AtomicBool::new(false));
    let _awaited = AwaitedSearch(is_left.clone());
    let page = look::on_a_thread(move || {
        // Until it has ended, also if whoever asked has gone.
        let _turn = turn;
        let end = SearchEnd {
            deadline: Instant::now() + LONGEST_SEARCH,
            is_wanted: &|| !is_left.load(Ordering::Relaxed),
        };
        observer.recent().search(&search, &observer.redaction(), &end)
    })
    .await;
    let next = page.next.map(|next| next.to_string());
    answer_json(StatusCode::OK, &json!({ "data": page.records, "next": next }))
}

/// Reads all but the query, of which `wanted` is the text.
fn read(text: &str, wanted: &mut String) -> Result<RecentSearch, String> {
    let mut search = RecentSearch {
        query: Query::default(),
        tenant: None,
        from: None,
        to: None,
        batch_size: RECORDS,
        order: RecordOrder::NewestFirst,
        after: None,
    };
    let time = |name: &str, value: &str| {
        let time = read_time(value);
        time.map(Some).ok_or_else(|| {
            format!("`{name}` is a time such as 2026-03-27T08:30:00Z; a plus in it is written as %2B")
        })
    };
    for (name, value) in query::parameters(text) {
        match name {
            "query" => *wanted = value,
            "tenant" => search.tenant = Some(value).filter(|tenant| !tenant.is_empty()),
            "from" => search.from = time(name, &value)?,
            "to" => search.to = time(name, &value)?,
            "batch_size" => {
                let size = query::number(name, &value)?;
                if !(1..=MOST).contains(&size) {
                    return Err(format!("`batch_size` is from 1 to {MOST}, not {size}"));
                }
                search.batch_size = size;
            }
            "order" => {
                search.order = match &*value {
                    "newest_first" => RecordOrder::NewestFirst,
                    "oldest_first" => RecordOrder::OldestFirst,
                    _ => return Err("`order` is newest_first or oldest_first".to_owned()),
                }
            }
            "after" => {
                let cursor = SearchCursor::read(&value);
                search.after = Some(cursor.ok_or("`after` is what `next` of the page before says")?);
            }
            _ => return Err(format!("unknown parameter `{name}`: {PARAMETERS}")),
        }
    }
    Ok(search)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_searches_as_may_go_on_at_a_time() {
        let turns = SearchTurns::default();
        let first = turns.take().unwrap();
        let _second = turns.take().unwrap();
        assert!(turns.take().unwrap_err().contains("try again"));
        drop(first);
        assert!(turns.take().is_ok());
    }

    #[test]
    fn a_search_is_told_that_nobody_waits_for_it() {
        let is_left = Arc::new(AtomicBool::new(false));
        drop(AwaitedSearch(is_left.clone()));
        assert!(is_left.load(Ordering::Relaxed));
    }
}
