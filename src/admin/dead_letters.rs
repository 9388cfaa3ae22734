//! `/api/v1/dead-letters`: the dead letters, newest first, a page at a time; the records of one letter; and the replay and the deletion of
//! letters, each of which is logged with its author.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tracing::info;

use super::answers::{self, JSON};
use super::change_author::ChangeAuthor;
use super::{body, query};
use crate::access::AdminCredential;
use crate::dead_letters::{
    ConditionError, DeadLetterContents, DeadLetterFilter, DeadLetterSelection, DeadLetters, ListedDeadLetter,
    StoredDeadLetter,
};
use crate::encoding::Encoding;
use crate::otlp::Redaction;
use crate::receive::HttpResponse;
use crate::route::Values as _;
use crate::run::{DeadLetterTally, DeadLetterWork, DeadLetterWorkError, Router};

/// Letters listed if the query does not say how many.
const LETTERS: usize = 100;

/// The most letters that are listed in one answer; each is a file to be opened.
const MOST: usize = 1000;

/// The most letters that can be named for a replay or a deletion.
const MOST_NAMED: usize = 10_000;

/// Bytes of a request that names letters.
const LARGEST_REQUEST: usize = 1 << 20;

/// The pages about dead letters. Names of files are percent-encoded, as in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeadLettersPage<'p> {
    All,
    One(&'p str),
    Change(DeadLettersAction),
}

/// What can be done with letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeadLettersAction {
    Replay,
    Delete,
}

impl<'p> DeadLettersPage<'p> {
    pub(super) fn at(path: &'p str) -> Option<Self> {
        let rest = path.strip_prefix("/api/v1/dead-letters")?;
        match rest.strip_prefix('/') {
            None => rest.is_empty().then_some(Self::All),
            Some("replay") => Some(Self::Change(DeadLettersAction::Replay)),
            Some("delete") => Some(Self::Change(DeadLettersAction::Delete)),
            Some(file) => (!file.is_empty() && !file.contains('/')).then_some(Self::One(file)),
        }
    }
}

/// The letters that are to be listed.
#[derive(Debug)]
struct WantedDeadLetters {
    limit: usize,
    after: Option<String>,
    /// Letters between the newest, or what `after` says, and the page.
    skip: usize,
    filter: DeadLetterFilter,
}

/// Answers a request that only reads.
pub(super) async fn show(router: &Router, page: DeadLettersPage<'_>, query: &str) -> HttpResponse {
    let directory = router.intake().dead_letters.load_full();
    match page {
        DeadLettersPage::All => match wanted(query) {
            Ok(wanted) => list(directory.as_deref(), wanted).await,
            Err(error) => answers::problem(StatusCode::BAD_REQUEST, &error),
        },
        DeadLettersPage::One(file) => {
            let file = percent_decode_str(file).decode_utf8_lossy().into_owned();
            look_inside(directory.as_deref(), file, router.intake().observer.redaction()).await
        }
        DeadLettersPage::Change(_) => answers::not_allowed("POST"),
    }
}

fn wanted(text: &str) -> Result<WantedDeadLetters, String> {
    let filter = DeadLetterFilter::default();
    let mut wanted = WantedDeadLetters { limit: LETTERS, after: None, skip: 0, filter };
    for (name, value) in query::parameters(text) {
        match name {
            "limit" => wanted.limit = query::number("limit", &value)?.clamp(1, MOST),
            "after" => wanted.after = Some(value),
            "skip" => wanted.skip = query::number("skip", &value)?,
            _ => wanted.filter.set(name, &value).map_err(|error| match error {
                ConditionError::Unknown(name) => format!(
                    "unknown parameter `{name}`: there are limit, after, skip, exporter, tenant, key, reason, signal, from and to"
                ),
                error => error.to_string(),
            })?,
        }
    }
    Ok(wanted)
}

async fn list(directory: Option<&DeadLetters>, wanted: WantedDeadLetters) -> HttpResponse {
    let Some(directory) = directory else {
        let nothing = json!({
            "directory": null, "bytes": 0, "max_size": null, "full": false, "total": 0, "matching": 0, "matching_is_exact": true,
            "letters": [], "next": null,
        });
        return answers::json(StatusCode::OK, &nothing);
    };
    let WantedDeadLetters { limit, after, skip, filter } = wanted;
    match directory.page(after, skip, limit, filter).await {
        Ok(page) => answers::json(
            StatusCode::OK,
            &json!({
                "directory": directory.directory().display().to_string(),
                "bytes": directory.bytes(),
                "max_size": directory.max_size(),
                "full": directory.is_full(),
                "total": page.total,
                "matching": page.matching,
                "matching_is_exact": page.matching_is_exact,
                "letters": page.letters.iter().map(listed_json).collect::<Vec<_>>(),
                "next": page.next,
            }),
        ),
        Err(error) => unreadable(directory, &error),
    }
}

fn unreadable(directory: &DeadLetters, error: &std::io::Error) -> HttpResponse {
    let path = directory.directory().display();
    answers::problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("can't read `{path}`: {error}"))
}

fn listed_json(listed: &ListedDeadLetter) -> Value {
    match &listed.letter {
        Ok(letter) => letter_json(&listed.file, letter),
        Err(problem) => json!({ "file": listed.file, "problem": problem }),
    }
}

fn letter_json(file: &str, letter: &StoredDeadLetter) -> Value {
    json!({
        "file": file,
        "time": letter.time(),
        "exporter": letter.exporter(),
        "signal": letter.signal().name(),
        "key": letter.key().map(ToString::to_string),
        "tenant": letter.tenant(),
        "origin": letter.origin(),
        "reason": letter.reason(),
        "records": letter.records(),
        "bytes": letter.len(),
    })
}

/// A letter with its records, without the attributes that `redaction` hides.
async fn look_inside(
    directory: Option<&DeadLetters>,
    file: String,
    redaction: Arc<Redaction>,
) -> HttpResponse {
    let none = || answers::problem(StatusCode::NOT_FOUND, "there is no dead letter of this name");
    let Some(directory) = directory else { return none() };
    let letter = match directory.letter(file).await {
        Ok(Some(ListedDeadLetter { file, letter: Ok(letter) })) => (file, letter),
        Ok(Some(damaged)) => return answers::json(StatusCode::OK, &listed_json(&damaged)),
        Ok(None) => return none(),
        Err(error) => return unreadable(directory, &error),
    };
    let (file, letter) = letter;
    match directory.contents(letter.clone(), redaction).await {
        Ok(contents) => answers::json(StatusCode::OK, &contents_json(&file, &letter, contents)),
        // It may have been replayed in between.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => none(),
        Err(error) => {
            let damaged = ListedDeadLetter { file, letter: Err(format!("its bytes can't be read: {error}")) };
            answers::json(StatusCode::OK, &listed_json(&damaged))
        }
    }
}

fn contents_json(file: &str, letter: &StoredDeadLetter, contents: DeadLetterContents) -> Value {
    let mut shown = letter_json(file, letter);
    let DeadLetterContents { entries, offending, faults, truncated } = contents;
    shown["encoding"] = match letter.encoding() {
        Encoding::Proto => "proto".into(),
        Encoding::Json => "json".into(),
    };
    shown["record_count"] = letter.records().into();
    shown["records"] = entries.into();
    shown["offending"] = offending.into();
    let fault =
        |fault: crate::dead_letters::DeadLetterFault| json!({ "path": fault.path, "reason": fault.reason });
    shown["faults"] = faults.into_iter().map(fault).collect();
    shown["truncated"] = truncated.into();
    shown
}

/// Replays or deletes letters, as the body of a request says which.
pub(super) async fn change(
    router: &Arc<Router>,
    action: DeadLettersAction,
    head: &Parts,
    body: Incoming,
    credential: AdminCredential,
) -> HttpResponse {
    let fields = match body::object(head, body, &[JSON], false, LARGEST_REQUEST).await {
        Ok(fields) => fields,
        Err(problem) => return problem.answer(),
    };
    let DeadLettersRequest { selection, removed_tenants } = match DeadLettersRequest::of(action, fields) {
        Ok(request) => request,
        Err(error) => return answers::problem(StatusCode::UNPROCESSABLE_ENTITY, &error),
    };
    let author = ChangeAuthor::of(head, credential);
    let (by, certificate, peer) = author.fields();
    let which = selection_text(&selection);
    let router = router.clone();
    // In a task of its own: a client that disconnects must not end the work half way, without a line in the log.
    let changing = tokio::spawn(async move {
        let work = DeadLetterWork::begin(&router, selection).await?;
        match action {
            DeadLettersAction::Replay => work.replay(removed_tenants).await,
            DeadLettersAction::Delete => work.delete().await,
        }
    });
    match changing.await.expect("neither a replay nor a deletion panics") {
        Ok(tally) => {
            let DeadLetterTally { letters, records, dead_lettered, rejected, dropped, left, .. } = tally;
            info!(
                which,
                by,
                certificate,
                peer,
                letters,
                records,
                dead_lettered,
                rejected,
                dropped,
                left,
                "dead letters {}",
                action.done()
            );
            answers::json(StatusCode::OK, &tally_json(action, &tally))
        }
        Err(error) => {
            info!(which, by, certificate, peer, "dead letters not {}: {error}", action.done());
            let status = match error {
                DeadLetterWorkError::NoDirectory
                | DeadLetterWorkError::Busy
                | DeadLetterWorkError::Stopping => StatusCode::CONFLICT,
                DeadLetterWorkError::Directory { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            };
            answers::problem(status, &error.to_string())
        }
    }
}

impl DeadLettersAction {
    /// The action as a past participle, for the log and the answer.
    const fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Delete => "deleted",
        }
    }
}

fn tally_json(action: DeadLettersAction, tally: &DeadLetterTally) -> Value {
    let problems: Vec<Value> =
        tally.problems.iter().map(|(file, error)| json!({ "file": file, "error": error })).collect();
    let mut answer = Map::new();
    answer.insert(action.done().to_owned(), tally.letters.into());
    answer.insert("records".to_owned(), tally.records.into());
    if action == DeadLettersAction::Replay {
        answer.insert("dead_lettered".to_owned(), tally.dead_lettered.into());
        answer.insert("rejected".to_owned(), tally.rejected.into());
        answer.insert("dropped".to_owned(), tally.dropped.into());
    }
    answer.insert("left".to_owned(), tally.left.into());
    answer.insert("problems".to_owned(), problems.into());
    answer.into()
}

/// The selection of letters for the log: their filter, or the number of names and the first one.
fn selection_text(selection: &DeadLetterSelection) -> String {
    match selection {
        DeadLetterSelection::Files(names) => {
            let first = names.first().map(|name| format!(": {name:?}")).unwrap_or_default();
            format!("{} named{first}", names.len())
        }
        DeadLetterSelection::Matching(filter) if filter.is_empty() => "all".to_owned(),
        DeadLetterSelection::Matching(filter) => filter.to_string(),
    }
}

/// What the body of a request asks for.
#[derive(Debug)]
struct DeadLettersRequest {
    selection: DeadLetterSelection,
    removed_tenants: bool,
}

impl DeadLettersRequest {
    fn of(action: DeadLettersAction, fields: Map<String, Value>) -> Result<Self, String> {
        let (mut selections, mut removed_tenants) = (Vec::new(), false);
        for (name, value) in fields {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("files", Value::Array(files)) => selections.push(named(files)?),
                ("files", _) => return Err("`files` is a list of names".to_owned()),
                ("filter", Value::Object(conditions)) => selections.push(matching(conditions)?),
                ("filter", _) => return Err("`filter` is an object of conditions".to_owned()),
                ("all", Value::Bool(true)) => {
                    selections.push(DeadLetterSelection::Matching(DeadLetterFilter::default()));
                }
                ("all", _) => return Err("`all` is true or not there".to_owned()),
                ("removed_tenants", Value::Bool(also)) if action == DeadLettersAction::Replay => {
                    removed_tenants = also;
                }
                ("removed_tenants", _) if action == DeadLettersAction::Replay => {
                    return Err("`removed_tenants` is true or false".to_owned());
                }
                _ if action == DeadLettersAction::Replay => {
                    return Err("there are `files`, `filter`, `all` and `removed_tenants`, and no other key"
                        .to_owned());
                }
                _ => return Err("there are `files`, `filter` and `all`, and no other key".to_owned()),
            }
        }
        match (selections.pop(), selections.is_empty()) {
            (Some(selection), true) => Ok(Self { selection, removed_tenants }),
            _ => Err("say which letters: by `files`, by `filter`, or by `all: true`, and by one of these"
                .to_owned()),
        }
    }
}

fn named(files: Vec<Value>) -> Result<DeadLetterSelection, String> {
    if files.len() > MOST_NAMED {
        return Err(format!("`files` has at most {MOST_NAMED} names; a `filter` can mean more"));
    }
    let name = |file| match file {
        Value::String(name) => Ok(name),
        _ => Err("`files` is a list of names".to_owned()),
    };
    files.into_iter().map(name).collect::<Result<_, _>>().map(DeadLetterSelection::Files)
}

fn matching(conditions: Map<String, Value>) -> Result<DeadLetterSelection, String> {
    let mut filter = DeadLetterFilter::default();
    for (name, value) in conditions {
        match value {
            Value::Null => {}
            Value::String(value) => filter.set(&name, &value).map_err(|error| error.to_string())?,
            _ => return Err(format!("the condition `{name}` is a text")),
        }
    }
    if filter.is_empty() {
        return Err("the `filter` has no condition: `all: true` means every letter".to_owned());
    }
    Ok(DeadLetterSelection::Matching(filter))
}
