//! Exporters and streams that can't deliver their data, and what to do about it.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::rows::Findings;
use super::words::{counted, size, time};
use super::{Attention, AttentionSubject, LISTED, PASSING, Urgency};
use crate::admin::troubled::{RefusedStreams, TroubledStreams, refused_streams};
use crate::export::Exporter;
use crate::route::TemplateValue;
use crate::run::Router;

/// The code of an attempt that is under way.
const UNANSWERED: &str = "unanswered";

/// Streams that have failed for longer than this are reported as an error, others as a warning.
const LASTING: Duration = Duration::from_secs(300);

/// The findings, at most as many as may be listed, and the number of further ones.
pub(super) fn found(
    router: &Router,
    troubled: &[TroubledStreams],
    findings: &Findings,
) -> (Vec<Attention>, usize) {
    let mut all = Vec::new();
    // A finding about an exporter is not repeated for each of its tenants.
    let (mut held, mut away) = (HashSet::new(), HashSet::new());
    for exporter in router.exporters().iter() {
        if exporter.holds().by_operator().is_some() {
            held.insert(exporter.name().clone());
        } else if let Some(attention) = of_held(exporter) {
            held.insert(exporter.name().clone());
            all.push(attention);
        } else if let Some(attention) = of_upstream(exporter) {
            away.insert(exporter.name().clone());
            all.push(attention);
        }
    }
    let is_told = |streams: &&TroubledStreams| {
        let exporter = streams.exporter.name();
        let is_by_row = streams.tenant.as_ref().is_some_and(|tenant| findings.are_held(tenant));
        let is_of_exporter = held.contains(exporter) || (away.contains(exporter) && streams.held == 0);
        let is_passing = streams.held == 0 && streams.oldest.elapsed() < PASSING;
        !is_by_row && !is_of_exporter && !is_passing && !streams.is_by_operators()
    };
    let mut told: Vec<_> = troubled.iter().filter(is_told).collect();
    told.sort_by_key(|streams| (urgency(streams), Reverse(streams.pending_bytes)));
    all.extend(told.iter().copied().take(LISTED).map(of_troubled));
    let refused = refused_streams(router);
    all.extend(refused.iter().take(LISTED).map(of_refused));
    (all, told.len().saturating_sub(LISTED) + refused.len().saturating_sub(LISTED))
}

/// An exporter whose streams are all held, for an answer to one of them.
fn of_held(exporter: &Exporter) -> Option<Attention> {
    let hold = exporter.holds().of_exporter()?;
    let (name, waits, code) = (exporter.name(), exporter.registry().pending_bytes(), &hold.answer.code);
    let text = format!(
        "{name}: all its streams are held since an upstream has answered {code} to one of them, {} wait: {}.",
        size(waits),
        reason(code, Whose::Exporter, AnswerLimits::of(exporter))
    );
    let subject = AttentionSubject::Exporter(name.to_string());
    let attention = Attention::new(Urgency::Error, "exporter_held", subject, text);
    Some(attention.since(Some(hold.since)).with_pending(waits))
}

/// An exporter one of whose upstreams is unreachable.
fn of_upstream(exporter: &Exporter) -> Option<Attention> {
    let circuits = exporter.active().transport.circuits();
    let open: Vec<_> = circuits
        .iter()
        .filter_map(|(origin, circuit)| Some((origin, circuit.open_since?, circuit.failure.as_deref()?)))
        .collect();
    let (origin, since, code) = open.iter().min_by_key(|(_, since, _)| *since)?;
    let (name, away, waits) = (exporter.name(), since.elapsed(), exporter.registry().pending_bytes());
    let others = match open.len() - 1 {
        0 => String::new(),
        others => format!(" (and {} more)", counted(others as u64, "upstream", "upstreams")),
    };
    let text = format!(
        "{name}: {origin}{others} takes nothing for {}, {} wait: {}.",
        time(away),
        size(waits),
        reason(code, Whose::Exporter, AnswerLimits::of(exporter))
    );
    let attention =
        Attention::new(Urgency::Error, "upstream_away", AttentionSubject::Exporter(name.to_string()), text);
    Some(attention.since(SystemTime::now().checked_sub(away)).with_pending(waits))
}

fn urgency(streams: &TroubledStreams) -> Urgency {
    let is_error = streams.held > 0 || streams.oldest.elapsed() > LASTING;
    if is_error { Urgency::Error } else { Urgency::Warning }
}

/// Whose fault a reason is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The tenant's row may be the reason, since the exporter sends by its values.
    Tenant {
        by_row: bool,
    },
    Exporter,
}

/// Whether an exporter sends by values of tenants' rows, such as their tokens.
fn reads_rows(exporter: &Exporter) -> bool {
    let active = exporter.active();
    active.settings.reads().any(|value| matches!(value, TemplateValue::Tenant(_)))
}

fn of_troubled(streams: &TroubledStreams) -> Attention {
    let exporter = streams.exporter.name();
    let error = streams.last_error();
    // The last error is older than the attempt under way, and need not be what is wrong now.
    let is_unanswered = streams.held + streams.failing == 0;
    let code = error.as_ref().filter(|_| !is_unanswered).map_or(UNANSWERED, |error| &*error.code);
    let (subject, whose, who) = if let Some(tenant) = &streams.tenant {
        let who = match without_answer(code) {
            Some(failure) => format!("{tenant}: {failure} `{exporter}`"),
            None => format!("{tenant}: {code} from `{exporter}`"),
        };
        let whose = Whose::Tenant { by_row: reads_rows(&streams.exporter) };
        (AttentionSubject::Tenant(tenant.to_string()), whose, who)
    } else {
        let count = (streams.held + streams.failing + streams.unanswered) as u64;
        let what = without_answer(code).map_or_else(|| code.to_owned(), |failure| format!("{failure} it"));
        let who = format!("{exporter}, {}: {what}", counted(count, "stream", "streams"));
        (AttentionSubject::Exporter(exporter.to_string()), Whose::Exporter, who)
    };
    let (waited, waits) = (streams.oldest.elapsed(), streams.pending_bytes);
    let mut text = format!(
        "{who} for {}, {} wait: {}.",
        time(waited),
        size(waits),
        reason(code, whose, AnswerLimits::of(&streams.exporter))
    );
    if let Some(since) = streams.unanswered_since.filter(|_| !is_unanswered) {
        write!(text, " The attempt under way has not been answered for {}.", time(since.elapsed()))
            .expect("writing to a String can't fail");
    }
    let kind = if streams.held > 0 {
        "held"
    } else if is_unanswered {
        "unanswered"
    } else {
        "failing"
    };
    let attention = Attention::new(urgency(streams), kind, subject, text);
    attention.since(SystemTime::now().checked_sub(waited)).with_pending(waits)
}

/// Streams whose last data was refused, so that nothing is pending, and data is lost or in a dead letter.
fn of_refused(refused: &RefusedStreams) -> Attention {
    let exporter = refused.exporter.name();
    let error = refused.last_error();
    let code = error.as_ref().map_or("an answer", |error| match &*error.code {
        "200" | "OK" => "partial success",
        code => code,
    });
    let streams = counted(refused.streams as u64, "stream", "streams");
    let (subject, who) = match &refused.tenant {
        Some(tenant) => {
            (AttentionSubject::Tenant(tenant.to_string()), format!("{tenant}: {code} from `{exporter}`"))
        }
        None => (AttentionSubject::Exporter(exporter.to_string()), format!("{exporter}: {code}")),
    };
    let text = format!(
        "{who}: all that {streams} sent last was refused for good, and nothing waits. See what the upstream says, and the dead letters."
    );
    Attention::new(Urgency::Error, "refused", subject, text).since(error.map(|error| error.at))
}

/// What went wrong with a destination that has not answered, in words that stand before its name.
pub(super) fn without_answer(code: &str) -> Option<&'static str> {
    Some(match code {
        "connect" => "can't connect to",
        "tls" => "no TLS with",
        "reset" => "the connection broke to",
        "protocol" => "another protocol at",
        "timeout" | "DEADLINE_EXCEEDED" | UNANSWERED => "no answer from",
        "token" | "token_refused" => "no token for",
        "descriptors" => "no open file for a connection to",
        "no_destination" => "no destination at",
        "no_row" => "no row for",
        "io" => "can't write to",
        _ => return None,
    })
}

/// How long an exporter waits for its upstreams.
#[derive(Clone, Copy, Debug, Default)]
struct AnswerLimits {
    /// The exporter's `timeout` for an answer, if it has that option; zero means no limit.
    timeout: Option<Duration>,
    /// The time in which a new connection has to begin with the protocol, where that has a limit of its own.
    greeting: Option<Duration>,
}

impl AnswerLimits {
    fn of(exporter: &Exporter) -> Self {
        let settings = &exporter.active().settings;
        Self { timeout: settings.timeout(), greeting: settings.greeting() }
    }

    /// The sentence about an answer that did not come in time, and what to do about it.
    fn exhausted(self) -> String {
        let timeout = self.timeout.filter(|timeout| !timeout.is_zero());
        let of_answers = timeout
            .map(|timeout| format!("no answer before the exporter's `timeout` of {timeout:?} was over"));
        // A limit that is longer than `timeout` is never reached.
        let greeting = self.greeting.filter(|greeting| timeout.is_none_or(|timeout| *greeting < timeout));
        let of_greeting = greeting.map(|greeting| format!("no HTTP/2 on a new connection for {greeting:?}"));
        let told: Vec<_> = [of_greeting, of_answers].into_iter().flatten().collect();
        let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join(", or ")) };
        let raise = if timeout.is_some() { "; if its answers only take longer, raise `timeout`" } else { "" };
        format!(
            "the upstream takes connections and does not answer in time{told}; see what keeps it from that{raise}; Sluice goes on trying"
        )
    }

    /// The sentence about an answer that has not come yet, and how long Sluice waits for it.
    fn lasting(self) -> String {
        match self.timeout {
            None => "the upstream has not answered yet, and is waited for".to_owned(),
            Some(Duration::ZERO) => {
                "the upstream has not answered yet, and is waited for without an end, as the exporter's `timeout` is 0".to_owned()
            }
            Some(timeout) => {
                format!("the upstream has not answered yet; the attempt ends at the latest when the exporter's `timeout` of {timeout:?} is over")
            }
        }
    }
}

/// The meaning of a failed attempt's code, and what to do about it.
fn reason(code: &str, whose: Whose, limits: AnswerLimits) -> String {
    let its = if whose == Whose::Exporter { "the credential" } else { "its token" };
    let row_or_exporter = if whose == (Whose::Tenant { by_row: true }) {
        "its row of the table of tenants"
    } else {
        "the exporter's `headers` or `auth`"
    };
    match code {
        "401" | "UNAUTHENTICATED" => format!("{its} is refused; put a valid one into {row_or_exporter}"),
        "403" | "PERMISSION_DENIED" => {
            format!(
                "{its} may not write there; have the upstream allow it, or put another one into {row_or_exporter}"
            )
        }
        "402" => "the upstream demands payment first".to_owned(),
        "404" | "NOT_FOUND" => {
            "there is nothing at its URL; check the exporter's `endpoint`, and what templates make of it"
                .to_owned()
        }
        "429" | "RESOURCE_EXHAUSTED" => {
            "the upstream limits the rate; Sluice sends the rest as the limit allows".to_owned()
        }
        "407" => "the proxy demands authentication; put a user and a password into its URL".to_owned(),
        "405" | "415" | "501" | "UNIMPLEMENTED" => {
            "the server there does not take OTLP; check the exporter's `endpoint` and type".to_owned()
        }
        "connect" => {
            "there is no connection to the upstream; see that it runs and that the exporter's `endpoint` is its address; Sluice goes on trying"
                .to_owned()
        }
        "reset" => {
            "the upstream, or a proxy before it, ends connections without an answer; see its log; Sluice goes on trying"
                .to_owned()
        }
        "timeout" => limits.exhausted(),
        UNANSWERED => limits.lasting(),
        "DEADLINE_EXCEEDED" => {
            "the upstream says that it was too slow; see what it does; Sluice goes on trying".to_owned()
        }
        "500" | "502" | "503" | "504" | "UNAVAILABLE" | "INTERNAL" => {
            "the upstream is in trouble; Sluice goes on trying".to_owned()
        }
        "tls" => {
            "there is no TLS with the upstream; check its certificate, and the exporter's `tls`".to_owned()
        }
        "protocol" => {
            "the server there does not speak the exporter's protocol; check the exporter's `endpoint` and type"
                .to_owned()
        }
        "token" | "token_refused" => {
            "there is no token to send with; check the authenticator of type `oauth2client`".to_owned()
        }
        "descriptors" => "there are no more open files for connections; raise `ulimit -n`".to_owned(),
        "no_destination" => {
            "templates of the exporter make no destination of its values; check `endpoint` and `headers`"
                .to_owned()
        }
        "no_row" => "there is no row of this tenant, which the exporter reads; add one, or delete the tenant"
            .to_owned(),
        "io" => "its file can't be written; check the disk".to_owned(),
        code if code.starts_with("52") && code.len() == 3 => {
            "the proxy before the upstream gets no answer from it; Sluice goes on trying".to_owned()
        }
        code if code.starts_with('3') && code.len() == 3 => {
            "the upstream has moved; write the new URL into the exporter's `endpoint`".to_owned()
        }
        _ => "the upstream does not take the data; the page of the stream has its answer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_of_attempts_that_hold_or_fail_has_a_reason_of_its_own() {
        let unknown = reason("whatever", Whose::Exporter, AnswerLimits::default());
        for code in [
            "301",
            "401",
            "402",
            "403",
            "404",
            "405",
            "407",
            "415",
            "429",
            "500",
            "501",
            "502",
            "503",
            "504",
            "connect",
            "tls",
            "protocol",
            "timeout",
            "reset",
            "token",
            "token_refused",
            "descriptors",
            "io",
            "no_destination",
            "no_row",
            "UNAUTHENTICATED",
            "PERMISSION_DENIED",
            "UNIMPLEMENTED",
            "UNAVAILABLE",
            "RESOURCE_EXHAUSTED",
            "DEADLINE_EXCEEDED",
            "522",
            UNANSWERED,
        ] {
            assert_ne!(reason(code, Whose::Exporter, AnswerLimits::default()), unknown, "{code}");
        }
        for (by_row, place) in
            [(true, "its row of the table of tenants"), (false, "the exporter's `headers` or `auth`")]
        {
            let told = reason("401", Whose::Tenant { by_row }, AnswerLimits::default());
            assert_eq!(told, format!("its token is refused; put a valid one into {place}"));
        }
        assert_eq!((without_answer("connect"), without_answer("401")), (Some("can't connect to"), None));
    }

    #[test]
    fn of_an_upstream_that_does_not_answer_the_limits_are_told_that_the_exporter_has() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let told =
            |code, timeout, greeting| reason(code, Whose::Exporter, AnswerLimits { timeout, greeting });
        for (timeout, greeting, words) in [
            (seconds(30), None, " (no answer before the exporter's `timeout` of 30s was over); see"),
            (seconds(5), seconds(10), " (no answer before the exporter's `timeout` of 5s was over); see"),
            (
                seconds(30),
                seconds(10),
                " (no HTTP/2 on a new connection for 10s, or no answer before the exporter's `timeout` of 30s was over); see",
            ),
            (
                seconds(0),
                seconds(10),
                " in time (no HTTP/2 on a new connection for 10s); see what keeps it from that; Sluice",
            ),
            (None, None, " does not answer in time; see what keeps it from that; Sluice"),
        ] {
            let told = told("timeout", timeout, greeting);
            assert!(told.contains(words), "{told}");
        }
        for (timeout, words) in [
            (seconds(30), "the attempt ends at the latest when the exporter's `timeout` of 30s is over"),
            (seconds(0), "without an end, as the exporter's `timeout` is 0"),
        ] {
            let told = told(UNANSWERED, timeout, None);
            assert!(told.ends_with(words), "{told}");
        }
    }
}
