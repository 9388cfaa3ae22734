//! `GET /api/v1/logs`: what is kept of the newest log records, a page at a time.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::query;
use super::server::{json as answer_json, problem};
use super::tap::wrong_query;
use crate::query::{Query, read_time};
use crate::receive::Answer;
use crate::run::Router;
use crate::tap::{RecentSearch, RecordOrder};

/// Records of a page if the query of the URL does not say how many.
const RECORDS: usize = 100;

/// The most of them.
const MOST: usize = 1000;

const PARAMETERS: &str = "there are query, tenant, from, to, batch_size, order and after";

/// The page that is asked for. One at a time is looked for, since that takes a whole core.
pub(super) async fn page(router: &Arc<Router>, looking: &Arc<Mutex<()>>, text: &str) -> Answer {
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
    let alone = looking.clone().lock_owned().await;
    let found = spawn_blocking(move || {
        // Also if whoever asked has gone.
        let _alone = alone;
        observer.recent().search(&search, &observer.redaction())
    });
    let page = found.await.expect("a search doesn't panic");
    let next = page.next.map(|(number, at)| format!("{number}.{at}"));
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
        time.map(Some).ok_or_else(|| format!("`{name}` is a time such as 2026-03-27T08:30:00Z"))
    };
    for (name, value) in query::parameters(text) {
        match name {
            "query" => *wanted = value,
            "tenant" => search.tenant = Some(value).filter(|tenant| !tenant.is_empty()),
            "from" => search.from = time(name, &value)?,
            "to" => search.to = time(name, &value)?,
            "batch_size" => search.batch_size = query::number(name, &value)?.clamp(1, MOST),
            "order" => {
                search.order = match &*value {
                    "newest_first" => RecordOrder::NewestFirst,
                    "oldest_first" => RecordOrder::OldestFirst,
                    _ => return Err("`order` is newest_first or oldest_first".to_owned()),
                }
            }
            "after" => {
                let cursor = value
                    .split_once('.')
                    .and_then(|(number, at)| Some((number.parse().ok()?, at.parse().ok()?)));
                search.after = Some(cursor.ok_or("`after` is what `next` of the page before says")?);
            }
            _ => return Err(format!("unknown parameter `{name}`: {PARAMETERS}")),
        }
    }
    Ok(search)
}
