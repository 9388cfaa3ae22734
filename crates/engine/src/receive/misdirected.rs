//! Requests in whose bodies no OTLP is looked for, by what their heads say.

use ::http::header::{CONTENT_TYPE, HeaderMap};
use tracing::warn;

use super::caller::{Caller, written};
use super::counters::Misdirection;
use crate::coding::Coding;
use crate::notice;

/// A request whose body is not worth reading, and what to do instead.
pub(super) struct Misdirected {
    pub(super) how: Misdirection,
    pub(super) message: String,
}

impl Misdirected {
    /// Logs the request, since its sender may not say how it was answered, and loses all its data.
    pub(super) fn log(&self, code: &'static str, caller: &Caller) {
        if let Some(suppressed) = notice::due(caller.receiver(), code) {
            let (receiver, peer, user_agent) = (&**caller.receiver(), caller.peer(), caller.user_agent());
            warn!(receiver, peer, user_agent, code, suppressed, "request not taken: {}", self.message);
        }
    }
}

/// The coding that the header `name` names; without that header the body is not compressed.
pub(super) fn coding(headers: &HeaderMap, name: &str) -> Result<Coding, Misdirected> {
    let mut codings = headers.get_all(name).iter();
    let coding = match (codings.next(), codings.next()) {
        (None, _) => Some(Coding::Identity),
        (Some(coding), None) => coding.to_str().ok().and_then(Coding::of),
        (Some(_), Some(_)) => None,
    };
    coding.ok_or_else(|| {
        let instead = Coding::names(&Coding::OF_REQUESTS);
        unsupported(headers, name, &format!("send {instead}, or no such header"))
    })
}

/// The fault of a request whose header `name` is missing, or has a value that is not taken.
pub(super) fn unsupported(headers: &HeaderMap, name: &str, instead: &str) -> Misdirected {
    let message = match written(headers, name) {
        Some(value) => format!("`{name}: {value}` is not taken: {instead}"),
        None => format!("there is no `{name}`: {instead}"),
    };
    Misdirected { how: Misdirection::Format, message }
}

/// The media types that `Content-Type` names, without their parameters. There should be one; but some that forward requests
/// add another, in a line of its own or after a comma, which is the same (RFC 9110, sections 5.3 and 8.3).
pub(super) fn media_types(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(CONTENT_TYPE)
        .iter()
        .flat_map(|line| {
            // A parameter may have commas between quotes.
            let (mut quoted, mut escaped) = (false, false);
            line.as_bytes().split(move |byte| {
                quoted ^= *byte == b'"' && !escaped;
                escaped = quoted && *byte == b'\\' && !escaped;
                *byte == b',' && !quoted
            })
        })
        .map(|member| member.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
        .filter(|media_type| !media_type.is_empty())
}
