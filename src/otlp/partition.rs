//! An entry whose records differ in attributes that routes look at, as one entry for each combination of their values.

use std::collections::HashMap;
use std::ops::ControlFlow;

use smallvec::SmallVec;

use super::Signal;
use super::piece::{Child, Header, Parts, Piece};
use super::records::{RecordAttributes, Values, Visit};
use super::schema::Message;
use super::split::{Entry, rewritten};

/// Memory that it takes to tell where a part belongs, the sorting of them included.
const PART_OVERHEAD: usize = size_of::<Whole<'_>>() * 3 / 2;

/// Memory that a combination takes beside the bytes of its entry, here and on the way to its streams.
const COMBINATION_OVERHEAD: usize = 768;

/// There is no memory for the entries that one becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Divides an entry: one entry for each combination of what records have of the attributes, in the order in which the
/// combinations appear. Each has copies of the messages around its records (resource, scope, the metric's name and unit, unknown
/// fields), and its records byte for byte in their order. A part without records goes with the record before it.
///
/// `None` if all records have the same, so that the entry stays as it is. `room` is asked before memory is taken, for so many
/// bytes more; if it says no, that is the end. The work is proportional to the bytes of the entry and of what it becomes.
pub fn partition(
    signal: Signal,
    entry: &Entry<'_>,
    attributes: &RecordAttributes<'_>,
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Vec<Entry<'static>>>, NoRoom> {
    let mut agreement = Agreement { attributes, first: None };
    if attributes.visit(signal, &entry.bytes, &mut agreement).is_continue() {
        return Ok(None);
    }
    let records = entry.records as usize;
    if !room(records * PART_OVERHEAD) {
        return Err(NoRoom);
    }
    let root = Parts::of(Message::entry(signal), &entry.bytes).expect("a valid entry can be taken apart");
    let mut sorting = Sorting {
        attributes,
        room,
        combinations: HashMap::new(),
        containers: vec![Container { above: 0, number: 0, header: root.header }],
        open: vec![0],
        parts: Vec::with_capacity(records),
    };
    if attributes.visit(signal, &entry.bytes, &mut sorting).is_break() {
        return Err(NoRoom);
    }
    let Sorting { containers, mut parts, .. } = sorting;
    parts.sort_by_key(|part| part.combination);
    if !room(size(&containers, &parts)) {
        return Err(NoRoom);
    }
    Ok(Some(write(&containers, &parts, entry.index)))
}

/// Sees whether all records have the same.
struct Agreement<'a, 'n> {
    attributes: &'n RecordAttributes<'n>,
    first: Option<Values<'a>>,
}

impl<'a> Visit<'a> for Agreement<'a, '_> {
    fn part(&mut self, _: &Child<'a>, values: Option<Values<'a>>) -> ControlFlow<()> {
        let Some(values) = values.map(|values| self.attributes.counted(values)) else {
            return ControlFlow::Continue(());
        };
        if *self.first.get_or_insert_with(|| values.clone()) == values {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// A message in which there are records: the entry itself, a scope, a metric, or its data.
struct Container {
    /// The position of the container around it; of no meaning in the entry.
    above: usize,
    /// Its field number there.
    number: u32,
    header: Header,
}

/// A part that stays whole.
struct Whole<'a> {
    /// The number of its combination, in the order in which they appear.
    combination: u32,
    /// The position of the container that it stands in.
    container: u32,
    records: u64,
    raw: &'a [u8],
}

/// Finds out the combination of each part, and takes down where it stands.
struct Sorting<'a, 'n> {
    attributes: &'n RecordAttributes<'n>,
    room: &'n mut dyn FnMut(usize) -> bool,
    /// Numbered in the order in which they appear. What they are made of comes from senders, so the hash can't be foreseen.
    combinations: HashMap<Values<'a>, u32>,
    containers: Vec<Container>,
    /// The positions of those that are open.
    open: Vec<usize>,
    parts: Vec<Whole<'a>>,
}

impl<'a> Visit<'a> for Sorting<'a, '_> {
    fn enter(&mut self, message: &Child<'a>) -> ControlFlow<()> {
        let parts = Parts::of(message.message(), message.bytes).expect("only what is divisible is entered");
        let (above, number, header) = (self.innermost(), message.field.number, parts.header);
        self.ask(size_of::<Container>() + header.len())?;
        self.open.push(self.containers.len());
        self.containers.push(Container { above, number, header });
        ControlFlow::Continue(())
    }

    fn leave(&mut self) {
        self.open.pop();
    }

    fn part(&mut self, part: &Child<'a>, values: Option<Values<'a>>) -> ControlFlow<()> {
        let combination = match values.map(|values| self.attributes.counted(values)) {
            Some(values) => self.combination(values)?,
            None => {
                self.ask(PART_OVERHEAD)?;
                self.parts.last().map_or(0, |before| before.combination)
            }
        };
        let (container, records) = (self.innermost() as u32, part.records().unwrap_or_default());
        self.parts.push(Whole { combination, container, records, raw: part.raw });
        ControlFlow::Continue(())
    }
}

impl<'a> Sorting<'a, '_> {
    fn ask(&mut self, bytes: usize) -> ControlFlow<()> {
        if (self.room)(bytes) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn innermost(&self) -> usize {
        *self.open.last().expect("the entry is never left")
    }

    /// The number of a combination.
    fn combination(&mut self, values: Values<'a>) -> ControlFlow<(), u32> {
        if let Some(known) = self.combinations.get(&values) {
            return ControlFlow::Continue(*known);
        }
        self.ask(COMBINATION_OVERHEAD)?;
        let next = self.combinations.len() as u32;
        self.combinations.insert(values, next);
        ControlFlow::Continue(next)
    }
}

/// The containers that are open while parts are written one after the other.
struct OpenContainers<'c> {
    all: &'c [Container],
    /// The positions of those that are open.
    open: SmallVec<[usize; 4]>,
}

/// A step from one part to the next.
enum Step<'c> {
    Leave,
    Enter(&'c Container),
}

impl<'c> OpenContainers<'c> {
    fn new(all: &'c [Container]) -> Self {
        Self { all, open: SmallVec::new() }
    }

    /// Goes to where a part stands.
    fn go_to(&mut self, part: &Whole<'_>, mut step: impl FnMut(Step<'c>)) {
        let mut at = part.container as usize;
        if self.open.last() == Some(&at) {
            return;
        }
        let mut path = SmallVec::from_slice(&[at]);
        while at > 0 {
            at = self.all[at].above;
            path.push(at);
        }
        path.reverse();
        let common = self.open.iter().zip(&path).take_while(|(open, wanted)| open == wanted).count();
        self.open[common..].iter().for_each(|_| step(Step::Leave));
        path[common..].iter().for_each(|at| step(Step::Enter(&self.all[*at])));
        self.open = path;
    }
}

/// The parts of one combination after the other.
fn by_combination<'p, 'a>(parts: &'p [Whole<'a>]) -> impl Iterator<Item = &'p [Whole<'a>]> {
    parts.chunk_by(|one, next| one.combination == next.combination)
}

/// Bytes of all entries, at most.
fn size(containers: &[Container], parts: &[Whole<'_>]) -> usize {
    /// Key and length in front of a container.
    const FRAME: usize = 15;
    let mut size: usize = 0;
    for parts in by_combination(parts) {
        let mut open = OpenContainers::new(containers);
        for part in parts {
            open.go_to(part, |step| {
                if let Step::Enter(container) = step {
                    size = size.saturating_add(FRAME + container.header.len());
                }
            });
            size = size.saturating_add(part.raw.len());
        }
    }
    size
}

fn write(containers: &[Container], parts: &[Whole<'_>], index: usize) -> Vec<Entry<'static>> {
    let entry = |parts: &[Whole<'_>]| {
        let mut open = OpenContainers::new(containers);
        let mut piece = Piece::default();
        for part in parts {
            open.go_to(part, |step| match step {
                Step::Leave => piece.leave(),
                Step::Enter(container) => piece.enter(container.number, container.header.clone()),
            });
            piece.put(part.raw, part.records);
        }
        let (bytes, records) = piece.take().expect("a combination has a record");
        rewritten(bytes, index, records)
    };
    by_combination(parts).map(entry).collect()
}

#[cfg(test)]
mod tests;
