//! What arrived of every sender in every stream, from which process and when; and whether that may be so.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message as _;
use tokio::time::Instant;

use crate::sender::Acknowledged;
use crate::support::payload::KEY;

/// Positions that moved are written every 200 ms and synced each second: what was settled earlier does not come again.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);

/// The upstream's clock runs ahead of the stream's by the way of the answer; and threads of a busy machine wait, some for
/// seconds, and so do writes behind syncs.
const MARGIN: Duration = Duration::from_secs(4);

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// By SIGKILL, which was sent at this time.
    Killed(Instant),
    /// By SIGTERM, in its own time.
    Terminated,
}

/// Everything that arrived.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By stream and sender, in the order in which the upstream decided.
    arrivals: HashMap<(String, String), Vec<Run>>,
}

/// Records that arrived together, with consecutive numbers.
#[derive(Clone, Debug)]
struct Run {
    numbers: Range<u64>,
    /// The number of the process that sent it.
    process: usize,
    at: Instant,
}

/// What is found to be as it must.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdict {
    /// Records that were acknowledged, and arrived.
    pub(crate) acknowledged: u64,
    /// Records that arrived though their sender got no answer.
    pub(crate) unanswered: u64,
    /// Records that came again from a later process.
    pub(crate) duplicates: u64,
    /// The longest time between the first arrival of one of these and the kill.
    pub(crate) oldest_duplicate: Duration,
}

impl Ledger {
    /// Notes a request that the upstream took.
    pub(crate) fn take(&mut self, process: usize, at: Instant, body: &[u8]) {
        let request = ExportLogsServiceRequest::decode(body).expect("Sluice sends OTLP");
        let mut touched: BTreeMap<(String, String), Vec<Range<u64>>> = BTreeMap::new();
        for entry in request.resource_logs {
            let resource = entry.resource.expect("every entry has a resource");
            let stream = text(&resource.attributes, KEY);
            for record in entry.scope_logs.iter().flat_map(|scope| &scope.log_records) {
                let sender = text(&record.attributes, "sluice.sender");
                let number: u64 = text(&record.attributes, "sluice.sequence").parse().expect("a number");
                let runs = touched.entry((stream.clone(), sender)).or_default();
                match runs.last_mut() {
                    Some(last) if last.end == number => last.end += 1,
                    _ => runs.push(number..number + 1),
                }
            }
        }
        for (sequence, runs) in touched {
            let runs = runs.into_iter().map(|numbers| Run { numbers, process, at });
            self.arrivals.entry(sequence).or_default().extend(runs);
        }
    }

    /// How many of these records have not arrived.
    pub(crate) fn missing(&self, acknowledged: &[Acknowledged]) -> u64 {
        let missing = |sequence: &Acknowledged| {
            let arrived = union(self.of(sequence).iter().map(|run| run.numbers.clone()));
            sequence
                .taken()
                .iter()
                .flat_map(|taken| minus(taken, &arrived))
                .map(|hole| hole.end - hole.start)
                .sum::<u64>()
        };
        acknowledged.iter().map(missing).sum()
    }

    /// Judges everything, once all processes have ended. The errors say of which stream and what.
    pub(crate) fn judge(&self, acknowledged: &[Acknowledged], ends: &[End]) -> Result<Verdict, Vec<String>> {
        let (mut verdict, mut errors) = (Verdict::default(), Vec::new());
        if self.arrivals.len() > acknowledged.len() {
            errors.push(format!(
                "{} sequences arrived, {} were sent",
                self.arrivals.len(),
                acknowledged.len()
            ));
        }
        for sequence in acknowledged {
            let runs = self.of(sequence);
            let judged = conserved(sequence, runs, &mut verdict)
                .and_then(|()| in_order(runs))
                .and_then(|()| repeated_only_what_was_under_way(runs, ends, &mut verdict));
            if let Err(error) = judged {
                errors.push(format!("{} of {}: {error}", sequence.stream, sequence.sender));
            }
        }
        if errors.is_empty() { Ok(verdict) } else { Err(errors) }
    }

    fn of(&self, sequence: &Acknowledged) -> &[Run] {
        let name = (sequence.stream.clone(), sequence.sender.clone());
        self.arrivals.get(&name).map_or(&[], Vec::as_slice)
    }
}

/// All that was acknowledged has arrived, and nothing but that and what got no answer.
fn conserved(sequence: &Acknowledged, runs: &[Run], verdict: &mut Verdict) -> Result<(), String> {
    let arrived = union(runs.iter().map(|run| run.numbers.clone()));
    for taken in sequence.taken() {
        if let Some(lost) = minus(&taken, &arrived).first() {
            return Err(format!("{lost:?} were acknowledged and never arrived"));
        }
        verdict.acknowledged += taken.end - taken.start;
    }
    if let Some(last) = arrived.last()
        && last.end > sequence.records
    {
        return Err(format!("{last:?} arrived, but only {} were sent", sequence.records));
    }
    let all: u64 = arrived.iter().map(|run| run.end - run.start).sum();
    let taken: u64 = sequence.taken().iter().map(|taken| taken.end - taken.start).sum();
    verdict.unanswered += all - taken;
    Ok(())
}

/// First arrivals rise, and each process sends without a gap or a step back: it may begin with what was sent before, but
/// goes on from there as if nothing had been.
fn in_order(runs: &[Run]) -> Result<(), String> {
    let arrived = union(runs.iter().map(|run| run.numbers.clone()));
    let mut highest = 0;
    let mut last_of: HashMap<usize, u64> = HashMap::new();
    for run in runs {
        let Run { numbers, process, .. } = run;
        if numbers.start > highest
            && let Some(late) = overlaps(&(highest..numbers.start), &arrived).first()
        {
            return Err(format!("{late:?} arrived after {numbers:?}"));
        }
        highest = highest.max(numbers.end);
        let last = last_of.insert(*process, numbers.end).unwrap_or(numbers.start);
        if numbers.start < last {
            return Err(format!("process {process} sent {numbers:?} after {}", last - 1));
        }
        if let Some(left) = overlaps(&(last..numbers.start), &arrived).first() {
            return Err(format!("process {process} left out {left:?} before {numbers:?}"));
        }
    }
    Ok(())
}

/// What came from two processes was in flight when the earlier one was killed, or settled within the last second before.
fn repeated_only_what_was_under_way(runs: &[Run], ends: &[End], verdict: &mut Verdict) -> Result<(), String> {
    let mut by_process: BTreeMap<usize, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        by_process.entry(run.process).or_default().push(run);
    }
    // From here on numbers were sent again by a later process: each sends all from its first one on.
    let mut again_from = u64::MAX;
    for (process, runs) in by_process.iter().rev() {
        for run in runs {
            let repeated = run.numbers.end.saturating_sub(run.numbers.start.max(again_from));
            if repeated == 0 {
                continue;
            }
            let numbers = &run.numbers;
            let End::Killed(killed) = ends[*process] else {
                return Err(format!("process {process} ended in its own time, but {numbers:?} came again"));
            };
            let age = killed.saturating_duration_since(run.at);
            if age > SETTLED_WITHIN + MARGIN {
                return Err(format!(
                    "{numbers:?} arrived {age:?} before process {process} was killed, and came again"
                ));
            }
            verdict.duplicates += repeated;
            verdict.oldest_duplicate = verdict.oldest_duplicate.max(age);
        }
        again_from = again_from.min(runs[0].numbers.start);
    }
    Ok(())
}

/// These ranges as rising ones that do not touch.
pub(crate) fn union(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|range| range.start);
    let mut union: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match union.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => union.push(range),
        }
    }
    union
}

/// The parts of `range` that are in `others`, which rise.
fn overlaps(range: &Range<u64>, others: &[Range<u64>]) -> Vec<Range<u64>> {
    let from = others.partition_point(|other| other.end <= range.start);
    let inside = others[from..].iter().take_while(|other| other.start < range.end);
    let cut = inside.map(|other| other.start.max(range.start)..other.end.min(range.end));
    cut.filter(|part| !part.is_empty()).collect()
}

/// The parts of `range` that are not in `others`, which rise.
pub(crate) fn minus(range: &Range<u64>, others: &[Range<u64>]) -> Vec<Range<u64>> {
    let (mut rest, mut from) = (Vec::new(), range.start);
    for overlap in overlaps(range, others) {
        if overlap.start > from {
            rest.push(from..overlap.start);
        }
        from = overlap.end;
    }
    if from < range.end {
        rest.push(from..range.end);
    }
    rest
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let attribute = attributes.iter().find(|attribute| attribute.key == key);
    let value = attribute.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("`{key}` is {other:?}"),
    }
}

#[test]
fn the_ledger_tells_what_may_be_from_what_must_not() {
    let start = Instant::now();
    let second = Duration::from_secs(1);
    let judge = |runs: &[(Range<u64>, usize, u32)], ends: &[End], unknown: &[(u64, u64)]| {
        let runs = runs.iter().map(|(numbers, process, second_of)| Run {
            numbers: numbers.clone(),
            process: *process,
            at: start + second * *second_of,
        });
        let name = ("a".to_owned(), "s".to_owned());
        let ledger = Ledger { arrivals: HashMap::from([(name, runs.collect())]) };
        let sent = Acknowledged {
            stream: "a".to_owned(),
            sender: "s".to_owned(),
            records: 30,
            unknown: unknown.to_vec(),
        };
        ledger.judge(&[sent], ends).map_err(|errors| errors.concat())
    };
    let killed = [End::Killed(start + second * 10), End::Terminated];
    let refused = |runs: &[(Range<u64>, usize, u32)], ends: &[End], why: &str| {
        let error = judge(runs, ends, &[]).expect_err(why);
        assert!(error.contains(why), "{error}");
    };

    let verdict = judge(&[(0..20, 0, 10), (10..30, 1, 12)], &killed, &[]).expect("it was in flight");
    assert_eq!((verdict.acknowledged, verdict.duplicates, verdict.unanswered), (30, 10, 0));
    judge(&[(0..10, 0, 2), (10..20, 0, 10), (10..30, 1, 12)], &killed, &[]).expect("it was in flight");
    let verdict = judge(&[(0..10, 0, 1), (15..30, 1, 12)], &killed, &[(10, 20)]).expect("half of it arrived");
    assert_eq!((verdict.acknowledged, verdict.unanswered), (20, 5));

    refused(&[(0..20, 0, 10)], &killed, "20..30 were acknowledged and never arrived");
    refused(&[(0..5, 0, 10), (6..30, 0, 10)], &killed, "5..6 were acknowledged and never arrived");
    refused(&[(0..40, 0, 10)], &killed, "only 30 were sent");
    refused(&[(0..10, 0, 10), (20..30, 0, 10), (10..20, 1, 11)], &killed, "10..20 arrived after 20..30");
    refused(&[(0..20, 0, 10), (10..30, 0, 10)], &killed, "process 0 sent 10..30 after 19");
    refused(&[(0..20, 0, 10), (5..10, 1, 11), (15..30, 1, 11)], &killed, "process 1 left out 10..15");
    refused(
        &[(0..10, 0, 4), (10..20, 0, 10), (5..30, 1, 12)],
        &killed,
        "arrived 6s before process 0 was killed",
    );
    refused(&[(0..20, 0, 10), (10..30, 1, 12)], &[End::Terminated; 2], "ended in its own time");
}
