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

use super::auth::{AuthFailure, Authenticator, UNAUTHORIZED};
use super::body::{self, BodyLimits, BodyReadError};
use super::caller::{Caller, printable};
use super::cors;
use super::counters::{Misdirection, RequestTransport};
use super::drain::drain;
use super::head::wrong_host;
use super::intake::Intake;
use super::misdirected::{Misdirected, coding, media_types, unsupported};
use super::refusals;
use super::response::{HttpResponse, ResponseBody, compress, takes_gzip};
use super::sender::SenderIdentity;
use super::settings::ListenerSettings;
use super::status::ResponseEncoding;
use super::verdict::{RETRY_AFTER_SECONDS, Verdict};
use crate::coding::Coding;
use crate::rpc::Code;
use crate::stream::Budget;
use crate::tenants::RateExceeded;
use otlp::Signal;

/// Answers a request.
pub(super) async fn answer(
    intake: &Arc<Intake>,
    settings: &ListenerSettings,
    budget: &Arc<Budget>,
    request: Request<Incoming>,
) -> HttpResponse {
    let (mut head, body) = request.into_parts();
    let origin = settings.cors.as_ref().and_then(|cors| cors::allowed(cors, &head.headers));
    if let (Some(cors), Some(origin)) = (&settings.cors, &origin)
        && head.method == Method::OPTIONS
    {
        return cors::preflight(cors, origin, &head.headers);
    }
    let mut answer = match intake.authenticate(settings, &mut head).await {
        Ok(identity) => take(intake, settings, budget, &head, identity, body).await,
        Err(failure) => {
            leave_unread(&head, body);
            let encoding = encoding(&head.headers).unwrap_or(ResponseEncoding::Protobuf);
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
) -> HttpResponse {
    let (signal, coding, encoding) = match accept(settings, head) {
        Ok(accepted) => accepted,
        Err(misdirected) => {
            intake.counters.of(RequestTransport::Http).count_misdirected(misdirected.how);
            let caller = Caller::of(&settings.name, head, identity);
            misdirected.log(misdirected.how.code(), &caller);
            leave_unread(head, body);
            return self::misdirected(
                encoding(&head.headers).unwrap_or(ResponseEncoding::Protobuf),
                &misdirected,
            );
        }
    };
    let limits = BodyLimits {
        size: settings.max_request_body_size,
        timeout: settings.read_timeout,
        budget: budget.clone(),
        arrives: head.version >= Version::HTTP_2,
    };
    let caller =
        Caller::of(&settings.name, head, identity).with_headers(&intake.snapshot.load().routes, head);
    if let Some(exceeded) = intake.refuse_unread(signal, RequestTransport::Http, &caller) {
        leave_unread(head, body);
        return over_rate(encoding, &exceeded);
    }
    let read = body::read(&mut body, coding, &limits).await;
    match read {
        Ok(received) => {
            let taken = match encoding {
                ResponseEncoding::Protobuf => {
                    intake.take(signal, RequestTransport::Http, caller, received, None).await
                }
                ResponseEncoding::Json => intake.take_json(signal, caller, received).await,
            };
            verdict(signal, encoding, taken)
        }
        Err(error) => {
            refusals::unread(intake.counters.of(RequestTransport::Http), signal, &caller, &error);
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
        drain(head, body);
    }
}

/// Answers a request for which there is no memory now.
pub(super) fn no_memory(intake: &Intake, settings: &ListenerSettings, head: &Parts) -> HttpResponse {
    let error = BodyReadError::NoMemory;
    if let Some(signal) = settings.signal_of(head.uri.path()) {
        let caller = Caller::of(&settings.name, head, None);
        refusals::unread(intake.counters.of(RequestTransport::Http), signal, &caller, &error);
    }
    let mut answer = unread(encoding(&head.headers).unwrap_or(ResponseEncoding::Protobuf), &error, false);
    if let Some(origin) = settings.cors.as_ref().and_then(|cors| cors::allowed(cors, &head.headers)) {
        origin.allow(answer.headers_mut());
    }
    answer
}

/// Looks at the head alone.
fn accept(
    settings: &ListenerSettings,
    head: &Parts,
) -> Result<(Signal, Coding, ResponseEncoding), Misdirected> {
    if let Some(message) = wrong_host(head) {
        return Err(Misdirected { how: Misdirection::Host, message: message.to_owned() });
    }
    let encoding = encoding(&head.headers);
    let path = head.uri.path();
    let Some(signal) = settings.signal_of(path) else {
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

/// How the body is encoded, if all that `Content-Type` says of it is the same: which of two readers would follow which of two
/// contradicting types can't be known.
fn encoding(headers: &HeaderMap) -> Option<ResponseEncoding> {
    let mut encodings = media_types(headers).map(|media_type| {
        let is = |known: &str| media_type.eq_ignore_ascii_case(known.as_bytes());
        if is("application/x-protobuf") || is("application/protobuf") {
            Some(ResponseEncoding::Protobuf)
        } else if is("application/json") {
            Some(ResponseEncoding::Json)
        } else {
            None
        }
    });
    let first = encodings.next()??;
    encodings.all(|encoding| encoding == Some(first)).then_some(first)
}

/// The answer to a request in whose body no OTLP is looked for.
fn misdirected(encoding: ResponseEncoding, Misdirected { how, message }: &Misdirected) -> HttpResponse {
    let (status, code) = match how {
        Misdirection::Host => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        Misdirection::Path => (StatusCode::NOT_FOUND, Code::NotFound),
        Misdirection::Method => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
        Misdirection::Format => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
    };
    let mut answer = refuse(encoding, status, code, message);
    if *how == Misdirection::Method {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    answer
}

fn verdict(signal: Signal, encoding: ResponseEncoding, verdict: Verdict) -> HttpResponse {
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
    encoding: ResponseEncoding,
    failure: AuthFailure,
    authenticator: Option<&Authenticator>,
) -> HttpResponse {
    if let Some(message) = failure.passes() {
        return later(encoding, message);
    }
    let mut answer = refuse(encoding, StatusCode::UNAUTHORIZED, Code::Unauthenticated, UNAUTHORIZED);
    for challenge in authenticator.into_iter().flat_map(Authenticator::challenges) {
        answer.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
    answer
}

fn unread(encoding: ResponseEncoding, error: &BodyReadError, expected: bool) -> HttpResponse {
    let message = error.to_string();
    let mut answer = match error {
        BodyReadError::TooLarge(..) | BodyReadError::NeverFits(_) => too_large(encoding, &message),
        BodyReadError::NoMemory => later(encoding, &message),
        BodyReadError::TimedOut(_) => {
            refuse(encoding, StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, &message)
        }
        BodyReadError::Aborted | BodyReadError::Corrupt(..) | BodyReadError::Framing(_) => {
            refuse(encoding, StatusCode::BAD_REQUEST, Code::InvalidArgument, &message)
        }
    };
    if !expected {
        answer.headers_mut().insert(::http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn too_large(encoding: ResponseEncoding, message: &str) -> HttpResponse {
    refuse(encoding, StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, message)
}

/// A refusal that passes at a time that is known. `Retry-After` has whole seconds (RFC 9110, section 10.2.3).
fn over_rate(encoding: ResponseEncoding, exceeded: &RateExceeded) -> HttpResponse {
    let (status, code) = (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted);
    let mut answer = refuse(encoding, status, code, &exceeded.to_string());
    let seconds = exceeded.retry_after.as_nanos().div_ceil(Duration::from_secs(1).as_nanos());
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// A refusal that passes: 503, not 429, on which older Python exporters drop (rules 41, 42).
fn later(encoding: ResponseEncoding, message: &str) -> HttpResponse {
    let mut answer = refuse(encoding, StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message);
    let seconds = rand::random_range(RETRY_AFTER_SECONDS);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

fn refuse(encoding: ResponseEncoding, status: StatusCode, code: Code, message: &str) -> HttpResponse {
    respond(encoding, status, encoding.status(code, message, None))
}

fn respond(encoding: ResponseEncoding, status: StatusCode, body: Bytes) -> HttpResponse {
    let mut answer = Response::new(ResponseBody::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    answer
}
