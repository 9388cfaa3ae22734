//! Own telemetry that its endpoint does not take. Whoever relies on it does not see this process meanwhile.

use std::time::SystemTime;

use super::streams::without_answer;
use super::words::{ago, counted};
use super::{Attention, AttentionSubject, PASSING, Urgency};
use crate::otlp::Signal;
use crate::run::Router;
use crate::telemetry::TelemetryTrouble;

/// Signals whose requests have had the same outcome.
#[derive(Debug)]
struct RefusedTelemetry {
    signals: Vec<Signal>,
    trouble: TelemetryTrouble,
}

pub(super) fn found(router: &Router) -> Vec<Attention> {
    let telemetry = &router.shared().telemetry;
    let troubles = Signal::ALL.into_iter().filter_map(|signal| Some((signal, telemetry.trouble(signal)?)));
    told(troubles, SystemTime::now() - PASSING)
}

/// One sentence for each outcome, of signals that have been in trouble since this moment or longer.
fn told(troubles: impl Iterator<Item = (Signal, TelemetryTrouble)>, moment: SystemTime) -> Vec<Attention> {
    let mut all: Vec<RefusedTelemetry> = Vec::new();
    for (signal, trouble) in troubles.filter(|(_, trouble)| trouble.since <= moment) {
        match all.iter_mut().find(|known| known.trouble.code == trouble.code) {
            Some(known) => {
                known.signals.push(signal);
                known.trouble.since = known.trouble.since.min(trouble.since);
                known.trouble.dropped += trouble.dropped;
            }
            None => all.push(RefusedTelemetry { signals: vec![signal], trouble }),
        }
    }
    all.iter().map(RefusedTelemetry::attention).collect()
}

impl RefusedTelemetry {
    fn attention(&self) -> Attention {
        let Self { signals, trouble: TelemetryTrouble { since, code, dropped } } = self;
        let (last, others) = signals.split_last().expect("it is of a signal");
        let others: Vec<_> = others.iter().map(|signal| signal.name()).collect();
        let names = if others.is_empty() {
            last.name().to_owned()
        } else {
            format!("{} and {}", others.join(", "), last.name())
        };
        let what = match without_answer(code) {
            Some(failure) => format!("{failure} the endpoint of `telemetry`"),
            None => format!("{code} from the endpoint of `telemetry`"),
        };
        let text = format!(
            "Sluice's own {names}: {what} for {}, {} dropped so far: {}.",
            ago(*since),
            counted(*dropped, "record is", "records are"),
            remedy(code)
        );
        Attention::new(Urgency::Warning, "telemetry_not_taken", AttentionSubject::Telemetry, text)
            .since(Some(*since))
    }
}

/// What to do about the code of an endpoint's answer.
fn remedy(code: &str) -> &'static str {
    match code {
        "401" | "403" => "it refuses the credential; put a valid one into `telemetry.headers`",
        "404" | "405" | "415" | "501" => {
            "the server there does not take OTLP; check `telemetry.endpoint`, to which `/v1/traces` and the like are added"
        }
        "no_destination" => "check `telemetry.endpoint`",
        "tls" => "check its certificate, and `telemetry.tls`",
        "connect" | "reset" | "timeout" | "429" | "500" | "502" | "503" | "504" => "Sluice goes on trying",
        _ => "the log has the endpoint's answer",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn signals_that_have_come_to_the_same_are_told_in_one_sentence_once_that_lasts() {
        let now = SystemTime::now();
        let trouble = |seconds, code: &'static str, dropped| {
            let since = now - Duration::from_secs(seconds);
            TelemetryTrouble { since, code: code.into(), dropped }
        };
        let all = [
            (Signal::Traces, trouble(180, "404", 0)),
            (Signal::Metrics, trouble(150, "401", 1)),
            (Signal::Logs, trouble(300, "401", 1200)),
        ];
        let told_now = |all: &[(Signal, TelemetryTrouble)]| {
            told(all.iter().cloned(), now - PASSING)
                .into_iter()
                .map(|told| (told.text, told.since))
                .collect::<Vec<_>>()
        };
        let expected = [
            (
                "Sluice's own traces: 404 from the endpoint of `telemetry` for 3 min, 0 records are dropped so far: the server there does not take \
                 OTLP; check `telemetry.endpoint`, to which `/v1/traces` and the like are added.",
                180,
            ),
            (
                "Sluice's own metrics and logs: 401 from the endpoint of `telemetry` for 5 min, 1201 records are dropped so far: it refuses \
                 the credential; put a valid one into `telemetry.headers`.",
                300,
            ),
        ];
        let expected =
            expected.map(|(text, seconds)| (text.to_owned(), Some(now - Duration::from_secs(seconds))));
        assert_eq!(told_now(&all), expected);
        let same = Signal::ALL.map(|signal| (signal, trouble(60, "503", 0)));
        assert!(told_now(&same)[0].0.starts_with("Sluice's own traces, metrics and logs: 503 from"));
        let [(text, _)] = &told_now(&[(Signal::Logs, trouble(11, "connect", 1))])[..] else {
            panic!("it lasts")
        };
        assert!(text.starts_with("Sluice's own logs: can't connect to the endpoint of `telemetry` for 11 s, 1 record is dropped"), "{text}");
        assert!(
            told_now(&[(Signal::Logs, trouble(9, "connect", 1))]).is_empty(),
            "most failures are over with the next request"
        );
    }
}
