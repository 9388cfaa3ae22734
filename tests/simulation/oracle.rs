//! Whether what has happened is what was promised.
//!
//! The oracle knows everything: which request was answered how, what each attempt carried, what the router has heard of it,
//! and where its lives begin and end. From these it says, for each copy of each record, what had to happen to it:
//!
//! - *Acknowledgement.* What was answered 200 is taken by the upstream of every exporter, before the answer under
//!   `acknowledge: delivered`. What was refused is never taken, or under `delivered`, not attempted any more, unless the
//!   record that an upstream refuses was being looked for in its batch: that goes on to its end. In memory, what a life had
//!   that did not end in order may be lost.
//! - *Order.* When an attempt begins, everything that was acknowledged in the stream before what it carries was sent has
//!   been taken, or is in front of it in the same attempt.
//! - *Once.* An attempt repeats a copy only if the router has not heard success of those before, or was killed within
//!   the time in which the journal may forget what was settled. An entry that was divided, to find the record in it that
//!   was refused, is repeated whole by the next life if the last one ended before all of it was decided.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::plan::{Plan, TIMEOUT};
use crate::trace::{Attempt, Copy, Event};

/// Until its positions are written, the journal may forget what was settled.
const FORGETS: Duration = Duration::from_millis(500);

/// An attempt that begins on a connection which turns out to be closed goes on with another one, in the same time.
const SLACK: Duration = Duration::from_millis(1_200);

/// How a life of the router has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It hasn't.
    None,
    Killed,
    Stopped {
        lost: bool,
    },
}

#[derive(Debug)]
struct Life {
    began: usize,
    ended: usize,
    ended_at: Duration,
    end: End,
}

/// A request of a sender.
#[derive(Debug)]
struct Sending {
    at: usize,
    copies: Vec<Copy>,
    /// Where in the trace, and its status; none if it was not answered.
    answer: Option<(usize, u16, bool)>,
}

/// An attempt of the router that an upstream took.
#[derive(Debug)]
struct Taking {
    attempt: Attempt,
    /// Where in the trace the router has decided to make it, and begun to write.
    decided: usize,
    began: usize,
    life: usize,
    taken: usize,
    /// Where in the trace the router heard success, in time.
    heard: Option<(usize, Duration)>,
    copies: Vec<Copy>,
}

struct Oracle<'a> {
    plan: &'a Plan,
    lives: Vec<Life>,
    sendings: BTreeMap<u32, Sending>,
    /// By exporter, in the order in which they began.
    takings: BTreeMap<String, Vec<Taking>>,
    /// By exporter, where in the trace a copy was first in what an upstream refused.
    refused: BTreeMap<String, HashMap<Copy, usize>>,
    /// Since where in the trace the disk has had faults; then what was refused may be there after a restart.
    disk_fault: Option<usize>,
    problems: Vec<String>,
}

/// What is wrong with a run; nothing, if all promises were kept.
pub(crate) fn problems(plan: &Plan, events: &[(Duration, Event)]) -> Vec<String> {
    let mut oracle = Oracle::new(plan, events);
    oracle.check_acknowledgements();
    for exporter in plan.exporters.iter().map(ToString::to_string) {
        oracle.check_order(&exporter);
        oracle.check_repetitions(&exporter);
    }
    oracle.problems
}

impl<'a> Oracle<'a> {
    fn new(plan: &'a Plan, events: &[(Duration, Event)]) -> Self {
        let mut oracle = Self {
            plan,
            lives: Vec::new(),
            sendings: BTreeMap::new(),
            takings: plan.exporters.iter().map(|exporter| ((*exporter).to_owned(), Vec::new())).collect(),
            refused: BTreeMap::new(),
            disk_fault: None,
            problems: Vec::new(),
        };
        let mut began: HashMap<Attempt, (usize, Duration, usize)> = HashMap::new();
        let mut heard: HashMap<Attempt, (usize, Duration, u16)> = HashMap::new();
        let mut took: Vec<(usize, &String, Attempt, &Vec<Copy>)> = Vec::new();
        for (index, (at, event)) in events.iter().enumerate() {
            match event {
                Event::Refused { exporter, copies, .. } => {
                    let refused = oracle.refused.entry(exporter.clone()).or_default();
                    for copy in copies {
                        refused.entry(*copy).or_insert(index);
                    }
                }
                Event::Sent { send, copies } => {
                    let sending = Sending { at: index, copies: copies.clone(), answer: None };
                    oracle.sendings.insert(*send, sending);
                }
                Event::Answered { send, status, rejected } => {
                    let sending = oracle.sendings.get_mut(send).expect("what is answered was sent");
                    sending.answer = Some((index, *status, *rejected));
                }
                Event::Began { attempt, since, after } => {
                    began.insert(*attempt, (index, *since, *after));
                }
                Event::Heard { attempt, status } => _ = heard.insert(*attempt, (index, *at, *status)),
                Event::Took { exporter, attempt, copies } => took.push((index, exporter, *attempt, copies)),
                Event::Started { .. } => {
                    let life =
                        Life { began: index, ended: usize::MAX, ended_at: Duration::MAX, end: End::None };
                    oracle.lives.push(life);
                }
                Event::Stopped { lost } => oracle.end_life(index, *at, End::Stopped { lost: *lost }),
                Event::Fault(what) if what == "Kill" || what == "PowerCut" => {
                    oracle.end_life(index, *at, End::Killed);
                }
                Event::Fault(what) if what.starts_with("Disk") => _ = oracle.disk_fault.get_or_insert(index),
                _ => {}
            }
        }
        for (taken, exporter, attempt, copies) in took {
            let Some(&(began, since, decided)) = began.get(&attempt) else {
                oracle.problems.push(format!("attempt {attempt} was taken and never began"));
                continue;
            };
            let in_time = |at: &Duration| *at + SLACK < since + TIMEOUT;
            let heard = heard.get(&attempt).filter(|(_, at, status)| *status == 200 && in_time(at));
            let taking = Taking {
                attempt,
                decided,
                began,
                life: oracle.life_of(began),
                taken,
                heard: heard.map(|(index, at, _)| (*index, *at)),
                copies: copies.clone(),
            };
            oracle.takings.entry(exporter.clone()).or_default().push(taking);
        }
        for takings in oracle.takings.values_mut() {
            takings.sort_by_key(|taking| taking.began);
        }
        oracle
    }

    fn end_life(&mut self, index: usize, at: Duration, end: End) {
        if let Some(life) = self.lives.last_mut().filter(|life| life.end == End::None) {
            (life.ended, life.ended_at, life.end) = (index, at, end);
        }
    }

    fn life_of(&self, index: usize) -> usize {
        self.lives.iter().rposition(|life| life.began <= index).unwrap_or_default()
    }

    /// Whether what was acknowledged there may be lost: it was in memory alone.
    fn may_be_lost(&self, acknowledged: usize) -> bool {
        let life = &self.lives[self.life_of(acknowledged)];
        !self.plan.journal && matches!(life.end, End::Killed | End::Stopped { lost: true })
    }

    fn check_acknowledgements(&mut self) {
        let mut problems = Vec::new();
        for (exporter, takings) in &self.takings {
            let mut first: HashMap<Copy, usize> = HashMap::new();
            let mut last: HashMap<Copy, (usize, Attempt)> = HashMap::new();
            for taking in takings {
                for copy in &taking.copies {
                    let known = first.entry(*copy).or_insert(taking.taken);
                    *known = taking.taken.min(*known);
                    last.insert(*copy, (taking.decided, taking.attempt));
                }
            }
            for (send, sending) in &self.sendings {
                let Some((answered, status, rejected)) = sending.answer else { continue };
                for copy in &sending.copies {
                    let taken = first.get(copy);
                    match (status, taken) {
                        (200, None) if copy.poison || self.may_be_lost(answered) => {}
                        (200, None) => {
                            problems.push(format!("{copy} was acknowledged and never taken ({exporter})"));
                        }
                        (200, Some(taken)) if self.plan.delivered && *taken > answered && !rejected => {
                            problems.push(format!(
                                "{copy} was acknowledged before it was delivered ({exporter})"
                            ));
                        }
                        (200, Some(_)) | (_, None) => {}
                        (_, Some(_)) if self.forgives_refused(answered) => {}
                        (_, Some(taken)) if !self.plan.delivered => problems.push(format!(
                            "{copy} was refused with request {send}, and taken at {taken} ({exporter})"
                        )),
                        (_, Some(_)) => {
                            let (decided, attempt) = last[copy];
                            let is_divided = self.is_divided(exporter, copy, answered);
                            if decided > answered
                                && self.life_of(decided) == self.life_of(answered)
                                && !is_divided
                            {
                                problems.push(format!(
                                    "{copy} was withdrawn with request {send}, and attempted by {attempt} ({exporter})"
                                ));
                            }
                        }
                    }
                }
            }
        }
        self.problems.extend(problems);
    }

    /// Whether a record that is refused is being looked for in a batch with this copy, at this place in the trace.
    fn is_divided(&self, exporter: &str, copy: &Copy, at: usize) -> bool {
        let refused = self.refused.get(exporter).and_then(|refused| refused.get(copy));
        refused.is_some_and(|refused| *refused < at && self.life_of(*refused) == self.life_of(at))
    }

    /// A request that was refused because the disk failed may be there all the same once the process has ended.
    fn forgives_refused(&self, answered: usize) -> bool {
        self.disk_fault.is_some_and(|since| since < answered)
            && self.lives[self.life_of(answered)].end != End::None
    }

    fn check_order(&mut self, exporter: &str) {
        let mut problems = Vec::new();
        // What was acknowledged, by stream, in the order of sending.
        let mut acknowledged: BTreeMap<u32, Vec<(&Sending, usize)>> = BTreeMap::new();
        for sending in self.sendings.values() {
            if let Some((answered, 200, _)) = sending.answer {
                let streams: BTreeSet<u32> = sending.copies.iter().map(|copy| copy.stream).collect();
                for stream in streams {
                    acknowledged.entry(stream).or_default().push((sending, answered));
                }
            }
        }
        let takings = &self.takings[exporter];
        let mut first: HashMap<Copy, usize> = HashMap::new();
        for taking in takings {
            for copy in &taking.copies {
                let known = first.entry(*copy).or_insert(taking.taken);
                *known = taking.taken.min(*known);
            }
        }
        for taking in takings {
            for (place, copy) in taking.copies.iter().enumerate() {
                let before = &taking.copies[..place];
                if let Some(repeated) = before.iter().find(|other| *other == copy) {
                    problems.push(format!("{repeated} is twice in attempt {} ({exporter})", taking.attempt));
                }
                if self.sendings[&copy.send].answer.is_none_or(|(_, status, _)| status != 200) {
                    continue;
                }
                let later = before.iter().find(|other| other.stream == copy.stream && other.send > copy.send);
                if let Some(later) = later {
                    problems.push(format!(
                        "{copy} comes behind {later} in attempt {} ({exporter})",
                        taking.attempt
                    ));
                }
                let sent = self.sendings[&copy.send].at;
                let earlier = acknowledged.get(&copy.stream).into_iter().flatten();
                for (sending, answered) in earlier.filter(|(_, answered)| *answered < sent) {
                    for ahead in sending.copies.iter().filter(|ahead| ahead.stream == copy.stream) {
                        let done = first.get(ahead).is_some_and(|taken| *taken < taking.began);
                        if !done && !ahead.poison && !before.contains(ahead) && !self.may_be_lost(*answered) {
                            problems.push(format!(
                                "attempt {} carries {copy} before {ahead} is taken ({exporter})",
                                taking.attempt
                            ));
                        }
                    }
                }
            }
        }
        problems.truncate(5);
        self.problems.extend(problems);
    }

    fn check_repetitions(&mut self, exporter: &str) {
        let mut problems = Vec::new();
        let mut known: HashMap<Copy, Vec<&Taking>> = HashMap::new();
        for taking in &self.takings[exporter] {
            for copy in &taking.copies {
                for earlier in known.get(copy).into_iter().flatten() {
                    if let Some((heard, at)) = earlier.heard
                        && heard < taking.began
                        && !self.forgets(earlier.life, taking.life, at)
                        && !(earlier.life < taking.life && self.was_divided(copy))
                    {
                        problems.push(format!(
                            "{copy} is repeated by attempt {}, and was settled by {} ({exporter})",
                            taking.attempt, earlier.attempt
                        ));
                    }
                }
                known.entry(*copy).or_default().push(taking);
            }
        }
        problems.truncate(5);
        self.problems.extend(problems);
    }

    /// Whether the copy came in one entry with what upstreams refuse.
    fn was_divided(&self, copy: &Copy) -> bool {
        self.sendings[&copy.send].copies.iter().any(|other| other.stream == copy.stream && other.poison)
    }

    /// Whether what was settled at this time in a life may be pending again in a later one.
    fn forgets(&self, life: usize, later: usize, settled: Duration) -> bool {
        self.lives[life..later].iter().any(|life| {
            let unwritten = self.disk_fault.is_some_and(|since| since < life.ended);
            unwritten || life.end == End::Killed && settled + FORGETS > life.ended_at
        })
    }
}
