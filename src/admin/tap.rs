//! `GET /api/v1/tap`: records that match a query, as they pass, by server-sent events.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::json;

use super::server::{json as answer_json, problem};
use super::{follow, query};
use crate::query::QueryError;
use crate::receive::HttpResponse;
use crate::run::Router;
use crate::tap::{TapEvent, TapReader};

/// Records in a second if the query of the URL does not say how many.
const RECORDS: usize = 100;

/// The most of them.
const MOST: usize = 1000;

/// Opens a tap, or says what is wrong.
pub(super) fn open(router: &Router, text: &str) -> HttpResponse {
    let (mut wanted, mut limit) = (String::new(), RECORDS);
    for (name, value) in query::parameters(text) {
        match name {
            "query" => wanted = value,
            "limit" => match query::number("limit", &value) {
                Ok(number) => limit = number.clamp(1, MOST),
                Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
            },
            _ => {
                let error = format!("unknown parameter `{name}`: there are query and limit");
                return problem(StatusCode::BAD_REQUEST, &error);
            }
        }
    }
    let observer = &router.intake().observer;
    let tap = match observer.read_query(&wanted) {
        Ok(query) => TapReader::open(observer, &query, limit as u32),
        Err(error) => return wrong_query(&error),
    };
    match tap {
        Ok(reader) => events(reader),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// What is said of a query that can't be read.
pub(super) fn wrong_query(error: &QueryError) -> HttpResponse {
    let QueryError { column, message } = error;
    answer_json(StatusCode::BAD_REQUEST, &json!({ "error": message, "column": column }))
}

/// The events of a tap for as long as somebody reads them.
fn events(reader: TapReader) -> HttpResponse {
    let events = stream::unfold((reader, false), async |(mut reader, begun)| {
        // The first bytes say at once that the tap is open.
        let bytes = if begun { event(reader.next().await?) } else { Bytes::from_static(b": open\n\n") };
        Some((Ok::<_, Infallible>(Frame::data(bytes)), (reader, true)))
    });
    follow::events(StreamBody::new(events))
}

fn event(event: TapEvent) -> Bytes {
    let (name, data) = match event {
        TapEvent::Record(record) => ("record", record),
        TapEvent::LeftOut(count) => ("left_out", json!({ "count": count })),
        TapEvent::Quiet => return follow::STILL_HERE,
    };
    follow::event(name, data.to_string().as_bytes()).into()
}
