//! The remarks about a request that is taken only in part, for its answer and the log.

use std::fmt::{self, Write as _};
use std::mem::discriminant;

use tracing::warn;

use super::caller::Caller;
use super::verdict::Verdict;
use crate::notice;
use otlp::{Ignored, Reason, Signal};

/// Problems of one kind that are named; more are only counted.
const NAMED: usize = 3;

/// Why records are not taken, or not by every exporter of their route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RemarkCause {
    /// No route takes the entry.
    Unrouted,
    /// The routes or an exporter can't make a stream of it, or it is no tenant's of the table.
    Unfit,
    /// The entry names a tenant that its sender may not send for.
    Foreign,
    /// `when_full: shed` cut the entry out.
    Shed,
    /// The upstream refused the entry, or answered with a warning about it.
    Undelivered,
    /// The part is not valid OTLP.
    Invalid(Reason),
    /// Something unknown stands where records are missing.
    Ignored,
}

impl RemarkCause {
    /// The cause by which log lines are rate-limited. Requests with the same fault mostly have it in the same kind of place.
    const fn cause(self) -> &'static str {
        match self {
            Self::Unrouted => "unrouted",
            Self::Unfit => "unfit",
            Self::Foreign => "foreign tenant",
            Self::Shed => "shed",
            Self::Undelivered => "refused by the upstream",
            Self::Invalid(reason) => reason.text(),
            Self::Ignored => "ignored",
        }
    }
}

/// The remarks about one request.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    kinds: Vec<RemarkGroup>,
}

/// The remarks of one kind.
#[derive(Debug)]
struct RemarkGroup {
    /// The cause of the first remark.
    why: RemarkCause,
    records: u64,
    count: usize,
    /// The text of the remarks that are named.
    text: String,
}

impl Remarks {
    /// Adds a problem with so many records: none, if it is only a warning.
    pub(super) fn add(&mut self, why: RemarkCause, records: u64, remark: impl fmt::Display) {
        self.add_with(why, records, |text| write!(text, "{remark}").expect("writing to a String can't fail"));
    }

    /// As [`Remarks::add`], with a remark that is written only if it is named. Of [`RemarkCause::Unrouted`] it names no more than the entry.
    pub(super) fn add_with(&mut self, why: RemarkCause, records: u64, remark: impl FnOnce(&mut String)) {
        let known = self.kinds.iter().position(|kind| discriminant(&kind.why) == discriminant(&why));
        let at = known.unwrap_or_else(|| {
            self.kinds.push(RemarkGroup { why, records: 0, count: 0, text: String::new() });
            self.kinds.len() - 1
        });
        let kind = &mut self.kinds[at];
        kind.records += records;
        kind.count += 1;
        if kind.count <= kind.named() {
            if kind.count > 1 {
                kind.text.push_str("; ");
            }
            remark(&mut kind.text);
        }
    }

    /// Adds parts of which nothing was taken and nothing is known but that they hold something else than OTLP.
    pub(super) fn add_ignored(&mut self, ignored: &Ignored) {
        for sentence in ignored.sentences() {
            self.add(RemarkCause::Ignored, 0, sentence);
        }
        if let Some(kind) = self.kinds.iter_mut().find(|kind| kind.why == RemarkCause::Ignored) {
            kind.count = ignored.count();
        }
    }

    /// Whether there is nothing to say yet.
    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Parts in which something was passed over where records are missing.
    pub(super) fn ignored(&self) -> usize {
        self.kinds.iter().find(|kind| kind.why == RemarkCause::Ignored).map_or(0, |kind| kind.count)
    }

    /// Records that no route takes.
    pub(super) fn unrouted(&self) -> u64 {
        self.kinds.iter().find(|kind| kind.why == RemarkCause::Unrouted).map_or(0, |kind| kind.records)
    }

    /// Records that are invalid or that nobody can take: all but the shed ones.
    pub(super) fn rejected(&self) -> u64 {
        self.kinds.iter().filter(|kind| kind.why != RemarkCause::Shed).map(|kind| kind.records).sum()
    }

    /// A line for each kind of problem, unless there was one just now. `missing` is what routes look at: said once, about
    /// everything that none takes.
    pub(super) fn log(&self, signal: Signal, missing: &str, caller: &Caller) {
        for kind in &self.kinds {
            let tenant = caller.identity().map(|identity| &*identity.tenant.id);
            let cause = kind.why.cause();
            let due = match tenant {
                Some(tenant) => notice::due_for_one_of_many(&(signal.name(), tenant), cause),
                None if kind.why == RemarkCause::Unrouted => due_about_unrouted(signal, caller, cause),
                None => notice::due(signal.name(), cause),
            };
            if let Some(suppressed) = due {
                let text = kind.text(missing);
                let (peer, user_agent, service) = (caller.peer(), caller.user_agent(), caller.service());
                let what =
                    if kind.records > 0 { "records not taken" } else { "request taken, with a warning" };
                warn!(%signal, tenant, peer, user_agent, service, records = kind.records, suppressed, "{what}: {text}");
            }
        }
    }

    /// The verdict that the sender is told; `missing` as in [`Remarks::log`].
    pub(super) fn verdict(&self, missing: &str) -> Verdict {
        if self.kinds.is_empty() {
            return Verdict::Accepted;
        }
        let texts: Vec<String> = self.kinds.iter().map(|kind| kind.text(missing)).collect();
        let rejected = self.kinds.iter().map(|kind| kind.records).sum();
        Verdict::Partly { rejected, message: texts.join("; ") }
    }
}

impl RemarkGroup {
    /// How many remarks are named. Of unrouted entries, one shows what is wrong with the others.
    fn named(&self) -> usize {
        if self.why == RemarkCause::Unrouted { 1 } else { NAMED }
    }

    fn text(&self, missing: &str) -> String {
        let mut text = self.text.clone();
        let more = self.count.saturating_sub(self.named());
        let unrouted = self.why == RemarkCause::Unrouted;
        if more > 0 {
            write!(text, "{} and {more} more", if unrouted { "" } else { ";" })
                .expect("writing to a String can't fail");
        }
        if unrouted {
            write!(text, ": {missing}").expect("writing to a String can't fail");
        }
        text
    }
}

/// Whether a line about data without a route may be logged now. Each that sends such data has to be named: most of them say nothing
/// of partial success.
pub(super) fn due_about_unrouted(signal: Signal, caller: &Caller, cause: &str) -> Option<u64> {
    let from = caller.address().map(|address| address.ip());
    notice::due_for_one_of_many(&(signal.name(), from, caller.service()), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(remarks: &Remarks, missing: &str) -> (u64, String) {
        match remarks.verdict(missing) {
            Verdict::Partly { rejected, message } => (rejected, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_no_route_takes_is_one_sentence_however_much_it_is() {
        let (mut remarks, missing) = (Remarks::default(), "no route takes these logs");
        assert!(matches!(remarks.verdict(missing), Verdict::Accepted));
        remarks
            .add_with(RemarkCause::Unrouted, 2, |text| text.push_str("resource_logs[2] (s2.stream=`other`)"));
        let alone = "resource_logs[2] (s2.stream=`other`): no route takes these logs";
        assert_eq!(message(&remarks, missing), (2, alone.to_owned()));
        for _ in 0..9 {
            remarks.add_with(RemarkCause::Unrouted, 1, |_| panic!("the first is enough"));
        }
        let all = "resource_logs[2] (s2.stream=`other`) and 9 more: no route takes these logs";
        assert_eq!(message(&remarks, missing), (11, all.to_owned()));
    }

    #[test]
    fn every_kind_of_problem_is_named() {
        let mut remarks = Remarks::default();
        for index in 0..5 {
            remarks.add_with(RemarkCause::Unfit, 1, |text| write!(text, "unfit {index}").unwrap());
        }
        remarks.add_with(RemarkCause::Invalid(Reason::Utf8), 1, |text| text.push_str("invalid"));
        remarks.add_with(RemarkCause::Invalid(Reason::Hex), 1, |text| text.push_str("too"));
        remarks.add_with(RemarkCause::Shed, 10, |text| text.push_str("shed"));
        let expected = "unfit 0; unfit 1; unfit 2; and 2 more; invalid; too; shed";
        assert_eq!(message(&remarks, "no route"), (17, expected.to_owned()));
        assert_eq!(remarks.rejected(), 7, "what is shed counts as dropped");
    }
}
