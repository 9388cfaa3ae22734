//! Ring buffers of the last values of figures, step by step.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::rounded::rounded;

/// How often the counters are sampled.
pub(super) const STEP: Duration = Duration::from_secs(5);

/// The short steps that are kept: 15 minutes.
pub(super) const FINE: usize = 180;

/// Short steps in one long step, of two minutes.
pub(super) const STEPS_TOGETHER: u64 = 24;

/// The long steps that are kept: 24 hours.
pub(super) const COARSE: usize = 720;

/// How far back a history goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum HistoryRange {
    Minutes,
    Day,
}

/// How the values of several short steps become that of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FigureKind {
    /// A rate a second: the mean.
    Rate,
    /// A level: the maximum.
    Level,
}

/// Figures by their names.
pub(super) type Figures<const N: usize> = [(&'static str, FigureKind); N];

/// The values of some figures.
#[derive(Debug)]
pub(super) struct Rings<const N: usize> {
    figures: &'static Figures<N>,
    fine: Ring<N>,
    coarse: Ring<N>,
    /// The long step that has not ended: sum or maximum, and the number of values in it.
    open: [(f32, u16); N],
}

/// The last values of some figures; NaN where a value is not known.
#[derive(Debug)]
pub(super) struct Ring<const N: usize> {
    steps: Box<[[f32; N]]>,
    /// The index of the oldest step, which the next one replaces.
    next: usize,
}

impl HistoryRange {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Minutes => "15m",
            Self::Day => "24h",
        }
    }

    pub(super) fn step(self) -> Duration {
        match self {
            Self::Minutes => STEP,
            Self::Day => STEP * STEPS_TOGETHER as u32,
        }
    }

    pub(super) fn length(self) -> Duration {
        self.step() * self.steps() as u32
    }

    const fn steps(self) -> usize {
        match self {
            Self::Minutes => FINE,
            Self::Day => COARSE,
        }
    }
}

impl<const N: usize> Rings<N> {
    pub(super) fn new(figures: &'static Figures<N>) -> Self {
        Self { figures, fine: Ring::new(FINE), coarse: Ring::new(COARSE), open: [(0.0, 0); N] }
    }

    /// Adds a short step, which may complete a long one.
    pub(super) fn add(&mut self, values: [f32; N], ends_longer: bool) {
        self.fine.push(values);
        for (((_, figure), value), (open, count)) in self.figures.iter().zip(values).zip(&mut self.open) {
            if value.is_nan() {
                continue;
            }
            *open = if *figure == FigureKind::Rate { *open + value } else { open.max(value) };
            *count += 1;
        }
        if ends_longer {
            let open = std::mem::replace(&mut self.open, [(0.0, 0); N]);
            self.coarse.push(std::array::from_fn(|at| match (open[at], self.figures[at].1) {
                ((_, 0), _) => f32::NAN,
                ((sum, count), FigureKind::Rate) => sum / f32::from(count),
                ((most, _), FigureKind::Level) => most,
            }));
        }
    }

    pub(super) fn shown(&self, range: HistoryRange) -> Value {
        let ring = match range {
            HistoryRange::Minutes => &self.fine,
            HistoryRange::Day => &self.coarse,
        };
        ring.shown(self.figures)
    }
}

impl<const N: usize> Ring<N> {
    pub(super) fn new(steps: usize) -> Self {
        Self { steps: vec![[f32::NAN; N]; steps].into(), next: 0 }
    }

    pub(super) fn push(&mut self, values: [f32; N]) {
        self.steps[self.next] = values;
        self.next = (self.next + 1) % self.steps.len();
    }

    /// The values of each figure, the oldest first.
    pub(super) fn shown(&self, figures: &Figures<N>) -> Value {
        let (newer, older) = self.steps.split_at(self.next);
        let values = |at: usize| -> Value {
            older.iter().chain(newer).map(|values| shown_value(values[at])).collect()
        };
        let names = figures.iter().map(|(name, _)| (*name).to_owned());
        names.zip((0..N).map(values)).collect::<Map<_, _>>().into()
    }
}

/// A value to three places behind the point, or `null`.
fn shown_value(value: f32) -> Value {
    if value.is_nan() { Value::Null } else { json!(rounded(f64::from(value))) }
}
