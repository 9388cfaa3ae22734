//! OTLP/gRPC: from a call's head to its status.
//!
//! A unary call is an HTTP/2 request whose body is one framed message and whose answer ends with trailers, so it takes
//! the way of every other request: the same listeners, the same limits while the body comes and is decompressed, the
//! same intake. What is gRPC's own is the framing ([`framing`](super::framing)) and how a verdict is worded ([`status`]).

mod health;
mod status;

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{HeaderMap, HeaderName};
use ::http::request::Parts;
use ::http::{Method, Request};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::Instant;

use self::status::{GrpcStatus, message};
use super::auth::{AuthFailure, UNAUTHORIZED};
use super::body::{self, BodyLimits, BodyReadError, Received};
use super::caller::{Caller, printable};
use super::counters::{Misdirection, RequestTransport};
use super::drain::drain;
use super::intake::Intake;
use super::misdirected::{Misdirected, coding, media_types, unsupported};
use super::refusals;
use super::response::{HttpResponse, takes_gzip};
use super::settings::ListenerSettings;
use super::status::ResponseEncoding;
use super::verdict::Verdict;
use crate::coding::Coding;
use crate::rpc::{ACCEPT_ENCODING, Code, MEDIA_TYPE, accepting};
use crate::stream::Budget;
use otlp::Signal;

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The method that a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Export(Signal),
    HealthCheck,
    HealthWatch,
}

/// Whether a call of this path asks how Sluice is, and has no telemetry.
pub(super) fn asks_for_health(path: &str) -> bool {
    health::is_its_path(path)
}

/// Answers a call. `ready`: whether telemetry is taken, for those who ask.
pub(super) async fn answer(
    intake: &Arc<Intake>,
    settings: &ListenerSettings,
    budget: &Arc<Budget>,
    ready: &watch::Receiver<bool>,
    request: Request<Incoming>,
) -> HttpResponse {
    let (mut head, mut body) = request.into_parts();
    let identity = if asks_for_health(head.uri.path()) {
        None
    } else {
        match intake.authenticate(settings, &mut head).await {
            Ok(identity) => identity,
            Err(failure) => {
                drain(&head, body);
                return unauthenticated(failure).answer();
            }
        }
    };
    let (call, coding) = match accept(&head) {
        Ok(accepted) => accepted,
        Err(misdirected) => {
            intake.counters.of(RequestTransport::Grpc).count_misdirected(misdirected.how);
            let caller = Caller::of(&settings.name, &head, identity);
            misdirected.log(Code::Unimplemented.name(), &caller);
            drain(&head, body);
            return GrpcStatus::new(Code::Unimplemented, &misdirected.message)
                .with(ACCEPT_ENCODING, accepting(&Coding::OF_REQUESTS))
                .answer();
        }
    };
    let caller =
        Caller::of(&settings.name, &head, identity).with_headers(&intake.snapshot.load().routes, &head);
    if let Call::Export(signal) = call
        && let Some(exceeded) = intake.refuse_unread(signal, RequestTransport::Grpc, &caller)
    {
        drain(&head, body);
        return GrpcStatus::over_rate(&exceeded).answer();
    }
    let patience = timeout(&head.headers);
    let deadline = patience.and_then(|left| Instant::now().checked_add(left));
    let largest = settings.max_request_body_size;
    let limits = BodyLimits {
        size: match call {
            Call::Export(_) => largest,
            Call::HealthCheck | Call::HealthWatch => largest.min(health::LARGEST_REQUEST),
        },
        timeout: patience.map_or(settings.read_timeout, |left| left.min(settings.read_timeout)),
        budget: budget.clone(),
        arrives: true,
    };
    let received = match patience {
        // The sender does not wait for an answer any more.
        Some(Duration::ZERO) => Err(BodyReadError::TimedOut(Duration::ZERO)),
        _ => body::read_message(&mut body, coding, &limits).await,
    };
    // Data taken after the deadline would be sent again by its sender.
    let received = match patience {
        Some(left) if deadline.is_some_and(|at| at <= Instant::now()) => {
            received.and(Err(BodyReadError::TimedOut(left)))
        }
        _ => received,
    };
    if matches!(&received, Err(error) if error.is_worth_draining()) {
        drain(&head, body);
    }
    let gzip = takes_gzip(&head.headers, &ACCEPT_ENCODING);
    match (call, received) {
        (Call::Export(signal), Ok(received)) => {
            export(intake, signal, caller, received, deadline, gzip).await
        }
        (Call::Export(signal), Err(error)) => {
            refusals::unread(intake.counters.of(RequestTransport::Grpc), signal, &caller, &error);
            unread(&error).answer()
        }
        (_, Err(error)) => unread(&error).answer(),
        (Call::HealthCheck, Ok(received)) => health::check(ready, &received.bytes),
        (Call::HealthWatch, Ok(received)) => health::watch(ready.clone(), &received.bytes),
    }
}

/// Answers a call for which there is no memory now.
pub(super) fn no_memory(intake: &Intake, settings: &ListenerSettings, head: &Parts) -> HttpResponse {
    let error = BodyReadError::NoMemory;
    if let Some(signal) = Signal::from_method(head.uri.path()) {
        let caller = Caller::of(&settings.name, head, None);
        refusals::unread(intake.counters.of(RequestTransport::Grpc), signal, &caller, &error);
    }
    unread(&error).answer()
}

async fn export(
    intake: &Arc<Intake>,
    signal: Signal,
    caller: Caller,
    received: Received,
    deadline: Option<Instant>,
    gzip: bool,
) -> HttpResponse {
    let status = match intake.take(signal, RequestTransport::Grpc, caller, received, deadline).await {
        Verdict::Accepted => return message(&ResponseEncoding::Protobuf.success(signal, None), gzip),
        Verdict::Partly { rejected, message: text } => {
            let partial = ResponseEncoding::Protobuf.success(signal, Some((rejected, &text)));
            return message(&partial, gzip);
        }
        Verdict::Refused(full) => GrpcStatus::later(&full.to_string()),
        Verdict::Undelivered(why) => GrpcStatus::later(&why.to_string()),
        Verdict::Unavailable(why) => GrpcStatus::later(&why),
        Verdict::Forbidden(why) => GrpcStatus::new(Code::PermissionDenied, &why),
        Verdict::Unrouted(why) => GrpcStatus::new(Code::InvalidArgument, &why),
        Verdict::OverRate(exceeded) => GrpcStatus::over_rate(&exceeded),
        Verdict::TooLarge(why) => GrpcStatus::new(Code::ResourceExhausted, why),
        Verdict::Malformed { field, message } => GrpcStatus::wrong(&message, &field),
    };
    status.answer()
}

/// The method and the coding that a call's head names.
fn accept(head: &Parts) -> Result<(Call, Coding), Misdirected> {
    let wrong = |how, message: &str| Misdirected { how, message: message.to_owned() };
    let is_protobuf = |media_type: &[u8]| {
        let (start, codec) = media_type.split_at_checked(MEDIA_TYPE.len()).unwrap_or_default();
        let named = codec.strip_prefix(b"+").unwrap_or(b"proto").to_ascii_lowercase();
        start.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes()) && named.starts_with(b"proto")
    };
    if !media_types(&head.headers).all(is_protobuf) {
        let instead = "messages are protobuf, so send `content-type: application/grpc`";
        return Err(unsupported(&head.headers, "content-type", instead));
    }
    if head.method != Method::POST {
        return Err(wrong(Misdirection::Method, "calls are sent by POST"));
    }
    let call = call(head.uri.path()).map_err(|message| wrong(Misdirection::Path, &message))?;
    Ok((call, coding(&head.headers, "grpc-encoding")?))
}

/// The method that a path names, or why it names none.
fn call(path: &str) -> Result<Call, String> {
    if let Some(signal) = Signal::from_method(path) {
        return Ok(Call::Export(signal));
    }
    let (service, method) =
        path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or((path, ""));
    match (service, method) {
        (health::SERVICE, "Check") => Ok(Call::HealthCheck),
        (health::SERVICE, "Watch") => Ok(Call::HealthWatch),
        (service, _) if service.starts_with("opentelemetry.proto.collector.profiles.") => {
            Err("profiles are not supported; the signals are traces, metrics and logs".to_owned())
        }
        _ => Err(format!(
            "there is no `{}` here; there is `Export` of TraceService, MetricsService and LogsService",
            printable(path)
        )),
    }
}

/// The time in `grpc-timeout`: at most eight digits and a unit. A header that can't be read sets no limit.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8 && !digits.starts_with('+'))?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// The status for a sender that may not send, or not now.
fn unauthenticated(failure: AuthFailure) -> GrpcStatus {
    match failure.passes() {
        Some(message) => GrpcStatus::later(message),
        None => GrpcStatus::new(Code::Unauthenticated, UNAUTHORIZED),
    }
}

/// The status for a message that was not read to its end.
fn unread(error: &BodyReadError) -> GrpcStatus {
    let message = error.to_string();
    match error {
        // Never OUT_OF_RANGE, and without RetryInfo: neither is to be tried again (rule 3).
        BodyReadError::TooLarge(..) | BodyReadError::NeverFits(_) => {
            GrpcStatus::new(Code::ResourceExhausted, &message)
        }
        BodyReadError::NoMemory => GrpcStatus::later(&message),
        BodyReadError::TimedOut(_) => GrpcStatus::new(Code::DeadlineExceeded, &message),
        BodyReadError::Aborted => GrpcStatus::new(Code::Cancelled, &message),
        BodyReadError::Corrupt(..) | BodyReadError::Framing(_) => {
            GrpcStatus::new(Code::InvalidArgument, &message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(TIMEOUT, text.parse().unwrap());
            timeout(&headers)
        };
        assert_eq!(read("10S"), Some(Duration::from_secs(10)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(
            (read("2M"), read("3u")),
            (Some(Duration::from_secs(120)), Some(Duration::from_micros(3)))
        );
        assert_eq!(read("7n"), Some(Duration::from_nanos(7)));
        for nothing in ["", "S", "10", "10s", "123456789S", "-1S", "+1S", "1.5S"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn paths_are_services_and_methods() {
        let export = |signal| Ok(Call::Export(signal));
        assert_eq!(
            call("/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
            export(Signal::Traces)
        );
        assert_eq!(call("/opentelemetry.proto.collector.logs.v1.LogsService/Export"), export(Signal::Logs));
        assert_eq!(call("/grpc.health.v1.Health/Check"), Ok(Call::HealthCheck));
        for unknown in
            ["/", "", "/opentelemetry.proto.collector.logs.v1.LogsService/Import", "/v1/logs", "/a/b/c"]
        {
            assert!(call(unknown).unwrap_err().starts_with("there is no"), "{unknown}");
        }
        let profiles = call("/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export");
        assert!(profiles.unwrap_err().contains("profiles are not supported"));
    }
}
