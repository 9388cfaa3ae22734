//! `/api/v1/dead-letters`: what is in the dead-letter directory, newest first, a page at a time; what is in one letter; and the
//! replay and the deletion of letters, each of which is logged with who has asked for it.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tracing::info;

use super::change_author::ChangeAuthor;
use super::server::{self, JSON};
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
use crate::run::{LetterTally, LettersError, Router};

/// Letters listed if the query does not say how many.
const LETTERS: usize = 100;

/// The most that are listed in one answer; each is a file to be opened.
const MOST: usize = 1000;

/// The most that can be named for a replay or a deletion.
const MOST_NAMED: usize = 10_000;

/// Bytes of a request that names letters.
const LARGEST_REQUEST: usize = 1 << 20;

/// The pages about dead letters. Files stand as in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LettersPage<'p> {
    All,
    One(&'p str),
    Change(LettersAction),
}

/// What can be done with letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LettersAction {
    Replay,
    Delete,
}

impl<'p> LettersPage<'p> {
    pub(super) fn at(path: &'p str) -> Option<Self> {
        let rest = path.strip_prefix("/api/v1/dead-letters")?;
        match rest.strip_prefix('/') {
            None => rest.is_empty().then_some(Self::All),
            Some("replay") => Some(Self::Change(LettersAction::Replay)),
            Some("delete") => Some(Self::Change(LettersAction::Delete)),
            Some(file) => (!file.is_empty() && !file.contains('/')).then_some(Self::One(file)),
        }
    }
}

/// What is listed.
#[derive(Debug)]
struct Wanted {
    limit: usize,
    after: Option<String>,
    filter: DeadLetterFilter,
}

/// Answers a request that only reads.
pub(super) async fn show(router: &Router, page: LettersPage<'_>, query: &str) -> HttpResponse {
    let directory = router.intake().dead_letters.load_full();
    match page {
        LettersPage::All => match wanted(query) {
            Ok(wanted) => list(directory.as_deref(), wanted).await,
            Err(error) => server::problem(StatusCode::BAD_REQUEST, &error),
        },
        LettersPage::One(file) => {
            let file = percent_decode_str(file).decode_utf8_lossy().into_owned();
            look_inside(directory.as_deref(), file, router.intake().observer.redaction()).await
        }
        LettersPage::Change(_) => server::not_allowed("POST"),
    }
}

fn wanted(text: &str) -> Result<Wanted, String> {
    let mut wanted = Wanted { limit: LETTERS, after: None, filter: DeadLetterFilter::default() };
    for (name, value) in query::parameters(text) {
        match name {
            "limit" => wanted.limit = query::number("limit", &value)?.clamp(1, MOST),
            "after" => wanted.after = Some(value),
            _ => wanted.filter.set(name, &value).map_err(|error| match error {
                ConditionError::Unknown(name) => format!(
                    "unknown parameter `{name}`: there are limit, after, exporter, tenant, key, reason, signal, from and to"
                ),
                error => error.to_string(),
            })?,
        }
    }
    Ok(wanted)
}

async fn list(directory: Option<&DeadLetters>, wanted: Wanted) -> HttpResponse {
    let Some(directory) = directory else {
        let nothing = json!({
            "directory": null, "bytes": 0, "max_size": null, "full": false, "total": 0, "letters": [], "next": null,
        });
        return server::json(StatusCode::OK, &nothing);
    };
    let Wanted { limit, after, filter } = wanted;
    match directory.page(after, limit, filter).await {
        Ok(page) => server::json(
            StatusCode::OK,
            &json!({
                "directory": directory.directory().display().to_string(),
                "bytes": directory.bytes(),
                "max_size": directory.max_size(),
                "full": directory.is_full(),
                "total": page.total,
                "letters": page.letters.iter().map(listed_json).collect::<Vec<_>>(),
                "next": page.next,
            }),
        ),
        Err(error) => unreadable(directory, &error),
    }
}

fn unreadable(directory: &DeadLetters, error: &std::io::Error) -> HttpResponse {
    let path = directory.directory().display();
    server::problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("can't read `{path}`: {error}"))
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

/// A letter with what is in it, but for what `redaction` hides.
async fn look_inside(
    directory: Option<&DeadLetters>,
    file: String,
    redaction: Arc<Redaction>,
) -> HttpResponse {
    let none = || server::problem(StatusCode::NOT_FOUND, "there is no dead letter of this name");
    let Some(directory) = directory else { return none() };
    let letter = match directory.letter(file).await {
        Ok(Some(ListedDeadLetter { file, letter: Ok(letter) })) => (file, letter),
        Ok(Some(damaged)) => return server::json(StatusCode::OK, &listed_json(&damaged)),
        Ok(None) => return none(),
        Err(error) => return unreadable(directory, &error),
    };
    let (file, letter) = letter;
    match directory.contents(letter.clone(), redaction).await {
        Ok(contents) => server::json(StatusCode::OK, &contents_json(&file, &letter, contents)),
        // It may have been replayed in between.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => none(),
        Err(error) => {
            let damaged = ListedDeadLetter { file, letter: Err(format!("its bytes can't be read: {error}")) };
            server::json(StatusCode::OK, &listed_json(&damaged))
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
    action: LettersAction,
    head: &Parts,
    body: Incoming,
    credential: AdminCredential,
) -> HttpResponse {
    let fields = match body::object(head, body, &[JSON], false, LARGEST_REQUEST).await {
        Ok(fields) => fields,
        Err(problem) => return problem.answer(),
    };
    let LettersRequest { selection, removed_tenants } = match LettersRequest::of(action, fields) {
        Ok(request) => request,
        Err(error) => return server::problem(StatusCode::UNPROCESSABLE_ENTITY, &error),
    };
    let author = ChangeAuthor::of(head, credential);
    let (by, certificate, peer) = author.fields();
    let which = selection_text(&selection);
    let router = router.clone();
    // In a task of its own: an impatient client must not have it end half way, without a word in the log.
    let changing = tokio::spawn(async move {
        match action {
            LettersAction::Replay => router.replay_letters(selection, removed_tenants).await,
            LettersAction::Delete => router.delete_letters(selection).await,
        }
    });
    match changing.await.expect("neither a replay nor a deletion panics") {
        Ok(tally) => {
            let LetterTally { letters, records, dead_lettered, rejected, left, .. } = tally;
            info!(
                which,
                by,
                certificate,
                peer,
                letters,
                records,
                dead_lettered,
                rejected,
                left,
                "dead letters {}",
                action.done()
            );
            server::json(StatusCode::OK, &tally_json(action, &tally))
        }
        Err(error) => {
            info!(which, by, certificate, peer, "dead letters not {}: {error}", action.done());
            let status = match error {
                LettersError::NoDirectory | LettersError::Busy | LettersError::Stopping => {
                    StatusCode::CONFLICT
                }
                LettersError::Directory { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            };
            server::problem(status, &error.to_string())
        }
    }
}

impl LettersAction {
    /// In the past, for the log and the answer.
    const fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Delete => "deleted",
        }
    }
}

fn tally_json(action: LettersAction, tally: &LetterTally) -> Value {
    let problems: Vec<Value> =
        tally.problems.iter().map(|(file, error)| json!({ "file": file, "error": error })).collect();
    let mut answer = Map::new();
    answer.insert(action.done().to_owned(), tally.letters.into());
    answer.insert("records".to_owned(), tally.records.into());
    if action == LettersAction::Replay {
        answer.insert("dead_lettered".to_owned(), tally.dead_lettered.into());
        answer.insert("rejected".to_owned(), tally.rejected.into());
    }
    answer.insert("left".to_owned(), tally.left.into());
    answer.insert("problems".to_owned(), problems.into());
    answer.into()
}

/// Which letters are meant, for the log: of names how many, and the first.
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
struct LettersRequest {
    selection: DeadLetterSelection,
    removed_tenants: bool,
}

impl LettersRequest {
    fn of(action: LettersAction, fields: Map<String, Value>) -> Result<Self, String> {
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
                ("removed_tenants", Value::Bool(also)) if action == LettersAction::Replay => {
                    removed_tenants = also;
                }
                ("removed_tenants", _) if action == LettersAction::Replay => {
                    return Err("`removed_tenants` is true or false".to_owned());
                }
                _ if action == LettersAction::Replay => {
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
