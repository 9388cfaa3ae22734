//! What an upstream's success says of the batch: all of it taken, or how much was not (OTLP rules 10 to 14).
//!
//! Upstreams and the proxies before them mislabel what they say, so both encodings are tried, the likelier one first.

use memchr::memmem;
use prost::Message;
use serde_json::Value;

use super::answer_body::{AnswerError, Excerpt, UpstreamAnswerBody};
use super::sanitizer::Sanitizer;
use crate::byte_order_mark;
use crate::export::AttemptOutcome;

/// `Export<Signal>ServiceResponse`: the three differ in names only.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `Export<Signal>PartialSuccess`.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// Records.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    /// Why; or a warning, if none was rejected.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// The partial success in a response, in whatever form that comes: decompressed by its label, which is done in `labelled`,
/// else by what its bytes look like, else as it is.
pub(in crate::export) fn partial_success(
    response: &UpstreamAnswerBody,
    labelled: Option<Result<UpstreamAnswerBody, AnswerError>>,
    labelled_json: bool,
) -> Result<Option<PartialSuccess>, AnswerError> {
    if response.len() == 0 {
        return Ok(None);
    }
    let of = |plain: Result<UpstreamAnswerBody, AnswerError>| of_plain(&plain?, labelled_json);
    // Why it can't be read is what is wrong with the first form that it has.
    let first = match labelled.map(of) {
        Some(Err(error)) => Some(error),
        Some(read) => return read,
        None => None,
    };
    let second = match response.guessed().map(of) {
        Some(Err(error)) => Some(error),
        Some(read) => return read,
        None => None,
    };
    of_plain(response, labelled_json).map_err(|third| first.or(second).unwrap_or(third))
}

/// The partial success in a response that is not compressed, and labelled as JSON or not. Of one that is not known as a
/// whole, what can be found.
fn of_plain(
    response: &UpstreamAnswerBody,
    labelled_json: bool,
) -> Result<Option<PartialSuccess>, AnswerError> {
    match response.whole() {
        Some(whole) => of_whole(&whole, labelled_json),
        None => of_excerpt(response.excerpt()),
    }
}

fn of_whole(response: &[u8], labelled_json: bool) -> Result<Option<PartialSuccess>, AnswerError> {
    let text = byte_order_mark::strip_bytes(response);
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let proto = || ExportResponse::decode(response).map(|response| response.partial_success);
    // No message begins like an object in JSON: that is a field 15 of a type that nobody uses.
    if !labelled_json && text.trim_ascii_start().first() != Some(&b'{') {
        return proto().or_else(|_| of_json(text).ok_or(AnswerError::Format)?);
    }
    of_json(text).unwrap_or_else(|| proto().map_err(|_| AnswerError::Format))
}

/// The partial success in a response of JSON, or what is wrong with it; `None` if it is not JSON.
fn of_json(text: &[u8]) -> Option<Result<Option<PartialSuccess>, AnswerError>> {
    let document = serde_json::from_slice(text).ok()?;
    Some(of_document(&document))
}

fn of_document(document: &Value) -> Result<Option<PartialSuccess>, AnswerError> {
    let Value::Object(response) = document else { return Err(AnswerError::Format) };
    let partial = match response.get("partialSuccess").or_else(|| response.get("partial_success")) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(partial)) => partial,
        Some(_) => return Err(AnswerError::Format),
    };
    let mut found = PartialSuccess::default();
    for (name, value) in partial {
        match (name.as_str(), value) {
            ("errorMessage" | "error_message", Value::String(message)) => {
                found.error_message.clone_from(message);
            }
            (name, Value::Number(number)) if name.starts_with("rejected") => {
                found.rejected = number.as_i64().ok_or(AnswerError::Format)?;
            }
            (name, Value::String(digits)) if name.starts_with("rejected") => {
                found.rejected = digits.parse().map_err(|_| AnswerError::Format)?;
            }
            _ => {}
        }
    }
    Ok(Some(found))
}

/// What start and end of a long response tell: the message is what makes it long, so that the count stands before or
/// behind it.
fn of_excerpt(response: Excerpt<'_>) -> Result<Option<PartialSuccess>, AnswerError> {
    let text = byte_order_mark::strip_bytes(response.start);
    let found = if text.trim_ascii_start().first() == Some(&b'{') {
        of_json_excerpt(response)
    } else {
        of_proto_excerpt(response)
    };
    found.map(Some).ok_or(AnswerError::Format)
}

fn of_proto_excerpt(response: Excerpt<'_>) -> Option<PartialSuccess> {
    let mut at = 0;
    while at < response.len() {
        let tag = varint(response, &mut at)?;
        if tag == 0x0a {
            let end = varint(response, &mut at)?.try_into().ok().and_then(|len| at.checked_add(len))?;
            return Some(of_proto_fields(response, at, end));
        }
        skip(response, tag, &mut at)?;
    }
    None
}

/// The fields of a `PartialSuccess`, as far as they can be reached over the bytes that are not known.
fn of_proto_fields(response: Excerpt<'_>, mut at: usize, end: usize) -> PartialSuccess {
    let mut found = PartialSuccess::default();
    while at < end {
        let Some(tag) = varint(response, &mut at) else { break };
        let value = at;
        if skip(response, tag, &mut at).is_none() {
            break;
        }
        match tag {
            0x08 => {
                let mut value = value;
                found.rejected = varint(response, &mut value).unwrap_or_default().cast_signed();
            }
            0x12 => {
                let mut value = value;
                // It has been skipped, so that its length is known.
                let _ = varint(response, &mut value);
                let known = response.start.get(value..at.min(response.start.len())).unwrap_or_default();
                found.error_message = String::from_utf8_lossy(known).into_owned();
            }
            _ => {}
        }
    }
    found
}

/// Reads a varint, if all of it is known.
fn varint(response: Excerpt<'_>, at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = response.byte(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Goes on behind the value of a field.
fn skip(response: Excerpt<'_>, tag: u64, at: &mut usize) -> Option<()> {
    let len = match tag & 7 {
        0 => return varint(response, at).map(drop),
        1 => 8,
        2 => varint(response, at)?,
        5 => 4,
        _ => return None,
    };
    *at = at.checked_add(usize::try_from(len).ok()?)?;
    Some(())
}

/// The members are found by their names: a name with its quotes and a colon can't stand in a string, where quotes are
/// escaped.
fn of_json_excerpt(response: Excerpt<'_>) -> Option<PartialSuccess> {
    let (start, (_, end)) = (response.start, response.end);
    let message = ["\"errorMessage\"", "\"error_message\""]
        .iter()
        .find_map(|name| memmem::find(start, name.as_bytes()).map(|at| &start[at + name.len()..]))
        .and_then(behind_colon)
        .and_then(begun_string);
    let rejected = rejected_of(end).or_else(|| rejected_of(start));
    if message.is_none() && rejected.is_none() {
        return None;
    }
    Some(PartialSuccess {
        rejected: rejected.unwrap_or_default(),
        error_message: message.unwrap_or_default(),
    })
}

/// The last count among these bytes whose end is among them, too.
fn rejected_of(bytes: &[u8]) -> Option<i64> {
    const NAME: &[u8] = b"\"rejected";
    memmem::rfind_iter(bytes, NAME).find_map(|at| {
        let rest = &bytes[at + NAME.len()..];
        let name = rest.iter().position(|byte| !byte.is_ascii_alphabetic() && *byte != b'_')?;
        let value = behind_colon(rest[name..].strip_prefix(b"\"")?)?;
        let digits = value.strip_prefix(b"\"").unwrap_or(value);
        let len = digits.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'-')?;
        std::str::from_utf8(&digits[..len]).ok()?.parse().ok()
    })
}

/// What a member's value begins with.
fn behind_colon(bytes: &[u8]) -> Option<&[u8]> {
    Some(bytes.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}

/// A string whose end may not be known.
fn begun_string(bytes: &[u8]) -> Option<String> {
    let text = bytes.strip_prefix(b"\"")?;
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    let text = &text[..end.unwrap_or(text.len())];
    // It may have been cut within an escape, of twelve characters at most, or within a character.
    (0..12.min(text.len() + 1)).find_map(|cut| {
        let quoted = [b"\"", &text[..text.len() - cut], b"\""].concat();
        serde_json::from_slice(&quoted).ok()
    })
}

/// What a success means for a batch of so many records. What can't be read of it was still delivered; `status` is how
/// it was called. An empty partial success is full success (rule 14).
pub(in crate::export) fn delivered(
    partial: Result<Option<PartialSuccess>, AnswerError>,
    status: &str,
    records: u64,
    sanitizer: &Sanitizer<'_>,
) -> (AttemptOutcome, String) {
    match partial.map(|partial| partial.filter(|partial| *partial != PartialSuccess::default())) {
        Ok(None) => (AttemptOutcome::Delivered { rejected: 0, warning: false }, String::new()),
        Ok(Some(PartialSuccess { rejected: 0, error_message })) => {
            (AttemptOutcome::Delivered { rejected: 0, warning: true }, sanitizer.clean("", &error_message))
        }
        Ok(Some(partial)) => {
            let rejected = partial.rejected.max(0).unsigned_abs();
            let lie = rejected > records || partial.rejected < 0;
            let own = format!("{} of {records} records rejected", partial.rejected);
            let outcome = AttemptOutcome::Delivered { rejected: rejected.min(records), warning: lie };
            (outcome, sanitizer.clean(&own, &partial.error_message))
        }
        Err(error) => {
            (AttemptOutcome::Delivered { rejected: 0, warning: true }, format!("{status}, but {error}"))
        }
    }
}
