//! OTLP/HTTP: from a request's head to its answer.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, EXPECT, HeaderMap, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use ::http::request::Parts;
use ::http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use bytes::Bytes;
use hyper::body::Incoming;
use tracing::warn;

use super::answer::{compress, takes_gzip};
use super::auth::authenticate;
use super::body::{self, BodyError, Limits};
use super::caller::{printable, written};
use super::cors;
use super::head::{Holding, wrong_host};
use super::intake::{Intake, Verdict};
use super::listener::Answer;
use super::otlp::{DRAIN, RETRY_AFTER_SECONDS, UNAUTHORIZED};
use super::status::Encoding;
use super::{
    AnswerBody, AuthFailure, Authenticator, Caller, ListenerSettings, Misdirection, SenderIdentity, Transport,
};
use crate::coding::Coding;
use crate::notice;
use crate::panics::spawn_contained;
use crate::rpc::Code;
use crate::stream::Budget;
use crate::tenants::RateExceeded;
use otlp::Signal;

/// A request whose body is not worth reading, and what to do instead.
pub(super) struct Misdirected {
    pub(super) how: Misdirection,
    pub(super) message: String,
}

/// Answers a request.
pub(super) async fn answer(
    intake: &Arc<Intake>,
    settings: &ListenerSettings,
    budget: &Arc<Budget>,
    request: Request<Incoming>,
) -> Answer {
    let (mut head, body) = request.into_parts();
    let origin = settings.cors.as_ref().and_then(|cors| cors::allowed(cors, &head.headers));
    if let (Some(cors), Some(origin)) = (&settings.cors, &origin)
        && head.method == Method::OPTIONS
    {
        return cors::preflight(cors, origin, &head.headers);
    }
    let mut answer = match authenticate(intake, settings, &mut head).await {
        Ok(identity) => take(intake, settings, budget, &head, identity, body).await,
        Err(failure) => {
            leave_unread(&head, body);
            let encoding = encoding(&head.headers).unwrap_or(Encoding::Protobuf);
            unauthenticated(encoding, failure, settings.auth.as_deref())
        }
    };
    if let Some(origin) = origin {
        origin.allow(answer.headers_mut());
    }
    if takes_gzip(&head.headers, &ACCEPT_ENCODING) {
        compress(&mut answer);
    }
    answer
}

/// Takes a request whose sender may send.
async fn take(
    intake: &Arc<Intake>,
    settings: &ListenerSettings,
    budget: &Arc<Budget>,
    head: &Parts,
    identity: Option<SenderIdentity>,
    mut body: Incoming,
) -> Answer {
    let (signal, coding, encoding) = match accept(settings, head) {
        Ok(accepted) => accepted,
        Err(misdirected) => {
            intake.counters.of(Transport::Http).count_misdirected(misdirected.how);
            let caller = Caller::of(settings, head, identity);
            misdirected.log(misdirected.how.code(), settings, &caller);
            leave_unread(head, body);
            return misdirected.answer(encoding(&head.headers).unwrap_or(Encoding::Protobuf));
        }
    };
    let limits = Limits {
        size: settings.max_request_body_size,
        timeout: settings.read_timeout,
        budget: budget.clone(),
        arrives: head.version >= Version::HTTP_2,
    };
    let caller = Caller::of(settings, head, identity).with_headers(&intake.snapshot.load().routes, head);
    if let Some(exceeded) = intake.refuse_unread(signal, Transport::Http, &caller) {
        leave_unread(head, body);
        return over_rate(encoding, &exceeded);
    }
    let read = body::read(&mut body, coding, &limits).await;
    match read {
        Ok(received) => {
            let taken = match encoding {
                Encoding::Protobuf => intake.take(signal, Transport::Http, caller, received, None).await,
                Encoding::Json => intake.take_json(signal, caller, received).await,
            };
            verdict(signal, encoding, taken)
        }
        Err(error) => {
            intake.unread(signal, Transport::Http, &caller, &error);
            if error.is_worth_draining() {
                leave_unread(head, body);
            }
            unread(encoding, &error, head.headers.contains_key(EXPECT))
        }
    }
}

/// Forgets a body that is not worth reading. A sender that waits for `100 Continue` has not begun and needs no draining.
fn leave_unread(head: &Parts, body: Incoming) {
    if !head.headers.contains_key(EXPECT) {
        spawn_contained(body::drain(body, Holding::of(head), DRAIN));
    }
}

/// Answers a request for which there is no memory now.
pub(super) fn no_memory(intake: &Intake, settings: &ListenerSettings, head: &Parts) -> Answer {
    let error = BodyError::NoMemory;
    if let Some(signal) = signal(settings, head.uri.path()) {
        intake.unread(signal, Transport::Http, &Caller::of(settings, head, None), &error);
    }
    let mut answer = unread(encoding(&head.headers).unwrap_or(Encoding::Protobuf), &error, false);
    if let Some(origin) = settings.cors.as_ref().and_then(|cors| cors::allowed(cors, &head.headers)) {
        origin.allow(answer.headers_mut());
    }
    answer
}

/// Looks at the head alone.
fn accept(settings: &ListenerSettings, head: &Parts) -> Result<(Signal, Coding, Encoding), Misdirected> {
    if let Some(message) = wrong_host(head) {
        return Err(Misdirected { how: Misdirection::Host, message: message.to_owned() });
    }
    let encoding = encoding(&head.headers);
    let path = head.uri.path();
    let Some(signal) = signal(settings, path) else {
        let message = if path.ends_with("/v1development/profiles") || path.ends_with("/v1/profiles") {
            "profiles are not supported; the signals are traces, metrics and logs".to_owned()
        } else {
            format!(
                "there is no `{}` here: send to `/v1/traces`, `/v1/metrics` or `/v1/logs` (also below `/otlp`)",
                printable(path)
            )
        };
        return Err(Misdirected { how: Misdirection::Path, message });
    };
    if head.method != Method::POST {
        let origin = head.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let message = match origin.filter(|_| head.method == Method::OPTIONS) {
            Some(origin) => {
                format!("pages of `{}` may not send: name it in `cors.allowed_origins`", printable(origin))
            }
            None => {
                format!("`{}` is not allowed here: OTLP is sent by POST", printable(head.method.as_str()))
            }
        };
        return Err(Misdirected { how: Misdirection::Method, message });
    }
    let Some(encoding) = encoding else {
        let instead =
            "send `Content-Type: application/x-protobuf`, `application/protobuf` or `application/json`";
        return Err(unsupported(&head.headers, "Content-Type", instead));
    };
    Ok((signal, coding(&head.headers, "Content-Encoding")?, encoding))
}

impl Misdirected {
    fn answer(&self, encoding: Encoding) -> Answer {
        let (status, code) = match self.how {
            Misdirection::Host => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Misdirection::Path => (StatusCode::NOT_FOUND, Code::NotFound),
            Misdirection::Method => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
            Misdirection::Format => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
        };
        let mut answer = refuse(encoding, status, code, &self.message);
        if self.how == Misdirection::Method {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        answer
    }

    /// Whoever sent it may not say what it was answered, and loses everything that it sends.
    pub(super) fn log(&self, code: &'static str, settings: &ListenerSettings, caller: &Caller) {
        if let Some(suppressed) = notice::due(&settings.name, code) {
            let (receiver, peer, user_agent) = (&*settings.name, caller.peer(), caller.user_agent());
            warn!(receiver, peer, user_agent, code, suppressed, "request not taken: {}", self.message);
        }
    }
}

/// How the header `name` says that a body is compressed: by one coding that is known, if there is such a header.
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

/// A request whose header `name` is missing or says something else than what is taken.
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

/// How the body is encoded, if all that `Content-Type` says of it is the same: which of two readers would follow which of two
/// contradicting types can't be known.
fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut encodings = media_types(headers).map(|media_type| {
        let is = |known: &str| media_type.eq_ignore_ascii_case(known.as_bytes());
        if is("application/x-protobuf") || is("application/protobuf") {
            Some(Encoding::Protobuf)
        } else if is("application/json") {
            Some(Encoding::Json)
        } else {
            None
        }
    });
    let first = encodings.next()??;
    encodings.all(|encoding| encoding == Some(first)).then_some(first)
}

/// The signal that is received on a path.
pub(super) fn signal(settings: &ListenerSettings, path: &str) -> Option<Signal> {
    let known = path.strip_prefix("/otlp").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    Signal::ALL
        .into_iter()
        .find(|signal| signal.path() == known || settings.url_paths[signal.index()].as_deref() == Some(path))
}

fn verdict(signal: Signal, encoding: Encoding, verdict: Verdict) -> Answer {
    match verdict {
        Verdict::Accepted => respond(encoding, StatusCode::OK, encoding.success(signal, None)),
        Verdict::Partly { rejected, message } => {
            respond(encoding, StatusCode::OK, encoding.success(signal, Some((rejected, &message))))
        }
        Verdict::Refused(full) => later(encoding, &full.to_string()),
        Verdict::Undelivered(why) => later(encoding, &why.to_string()),
        Verdict::Unavailable(why) => later(encoding, &why),
        Verdict::Forbidden(why) => refuse(encoding, StatusCode::FORBIDDEN, Code::PermissionDenied, &why),
        Verdict::Unrouted(why) => refuse(encoding, StatusCode::BAD_REQUEST, Code::InvalidArgument, &why),
        Verdict::OverRate(exceeded) => over_rate(encoding, &exceeded),
        Verdict::TooLarge(why) => too_large(encoding, why),
        Verdict::Malformed { field, message } => {
            let body = encoding.status(Code::InvalidArgument, &message, Some(&field));
            respond(encoding, StatusCode::BAD_REQUEST, body)
        }
    }
}

/// The answer to a request whose sender may not send, or not now.
fn unauthenticated(
    encoding: Encoding,
    failure: AuthFailure,
    authenticator: Option<&Authenticator>,
) -> Answer {
    if let Some(message) = failure.passes() {
        return later(encoding, message);
    }
    let mut answer = refuse(encoding, StatusCode::UNAUTHORIZED, Code::Unauthenticated, UNAUTHORIZED);
    for challenge in authenticator.into_iter().flat_map(Authenticator::challenges) {
        answer.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
    answer
}

fn unread(encoding: Encoding, error: &BodyError, expected: bool) -> Answer {
    let message = error.to_string();
    let mut answer = match error {
        BodyError::TooLarge(..) | BodyError::NeverFits(_) => too_large(encoding, &message),
        BodyError::NoMemory => later(encoding, &message),
        BodyError::TimedOut(_) => {
            refuse(encoding, StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, &message)
        }
        BodyError::Aborted | BodyError::Corrupt(..) | BodyError::Framing(_) => {
            refuse(encoding, StatusCode::BAD_REQUEST, Code::InvalidArgument, &message)
        }
    };
    if !expected {
        answer.headers_mut().insert(::http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn too_large(encoding: Encoding, message: &str) -> Answer {
    refuse(encoding, StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, message)
}

/// A refusal that passes at a time that is known. `Retry-After` has whole seconds (RFC 9110, section 10.2.3).
fn over_rate(encoding: Encoding, exceeded: &RateExceeded) -> Answer {
    let (status, code) = (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted);
    let mut answer = refuse(encoding, status, code, &exceeded.to_string());
    let seconds = exceeded.retry_after.as_nanos().div_ceil(Duration::from_secs(1).as_nanos());
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// A refusal that passes: 503, not 429, on which older Python exporters drop (rules 41, 42).
fn later(encoding: Encoding, message: &str) -> Answer {
    let mut answer = refuse(encoding, StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message);
    let seconds = rand::random_range(RETRY_AFTER_SECONDS);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

fn refuse(encoding: Encoding, status: StatusCode, code: Code, message: &str) -> Answer {
    respond(encoding, status, encoding.status(code, message, None))
}

fn respond(encoding: Encoding, status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(AnswerBody::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    answer
}
