//! An entry whose records go different ways, as one entry for each way.

use std::collections::HashMap;
use std::ops::ControlFlow;

use smallvec::SmallVec;

use super::piece::{self, Child, EntryPiece, Header, Parts};
use super::records::{RecordAttributes, RecordValues, Visit};
use super::schema::Message;
use super::split::{Entry, frames, rewritten};
use super::{Found, Signal};

/// Memory that it takes to tell where a part belongs, the sorting of them included.
const PART_OVERHEAD: usize = size_of::<Whole<'_>>() * 3 / 2;

/// Memory that a combination takes beside the bytes of its entry, here and on the way to its streams.
const COMBINATION_OVERHEAD: usize = 768;

/// There is no memory for the entries that one becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Asked before memory is taken, for so many bytes more; if it returns false, partitioning stops with [`NoRoom`].
pub type RoomCheck<'r> = dyn FnMut(usize) -> bool + 'r;

/// Tells which way the records of an entry go.
pub trait RecordWays {
    /// The way of records that have these values of the attributes: a number, which counts up from 0. Asked once about each
    /// combination of values; `None` if there is no memory to find out.
    fn way_of(&mut self, found: &[Found<'_>], room: &mut RoomCheck<'_>) -> Option<u32>;

    /// Whether two of the ways that were told lead to one stream, so that all records have to keep their order.
    fn meet(&self) -> bool;
}

/// Divides an entry into one for each way that its records go. If ways meet, it is divided wherever the way changes instead, so that
/// streams to which several ways lead get all records in their order.
///
/// The entries are in the order in which their first records were. Each has copies of the messages around its records (resource,
/// scope, the metric's name and unit, unknown fields), and its records byte for byte in their order. A part without records goes
/// with the record before it.
///
/// `None` if all records go one way, so that the entry stays as it is. The work is proportional to the bytes of the entry and of
/// what it becomes.
pub fn partition(
    signal: Signal,
    entry: &Entry<'_>,
    attributes: &RecordAttributes<'_>,
    ways: &mut dyn RecordWays,
    room: &mut RoomCheck<'_>,
) -> Result<Option<Vec<Entry<'static>>>, NoRoom> {
    let ways = KnownWays { ways, known: HashMap::new(), room, is_out_of_room: false };
    let mut agreement = Agreement { ways, first: None };
    if attributes.visit(signal, &entry.bytes, &mut agreement).is_continue() {
        return Ok(None);
    }
    let mut ways = agreement.ways;
    let records = entry.records as usize;
    if ways.is_out_of_room || ways.ask(records * PART_OVERHEAD).is_break() {
        return Err(NoRoom);
    }
    let root = Parts::of(Message::entry(signal), &entry.bytes).expect("a valid entry can be taken apart");
    let containers = vec![Container { above: 0, number: 0, header: root.header }];
    let mut sorting = Sorting { ways, containers, open: vec![0], parts: Vec::with_capacity(records) };
    if attributes.visit(signal, &entry.bytes, &mut sorting).is_break() {
        return Err(NoRoom);
    }
    let Sorting { mut ways, containers, mut parts, .. } = sorting;
    if ways.ways.meet() {
        let changes = number_by_changes(&mut parts);
        if ways.ask(changes * COMBINATION_OVERHEAD).is_break() {
            return Err(NoRoom);
        }
    } else {
        parts.sort_by_key(|part| part.way);
    }
    if ways.ask(size(&containers, &parts)).is_break() {
        return Err(NoRoom);
    }
    Ok(Some(write(&containers, &parts, entry.index)))
}

/// Gives parts another number wherever the way changes, and returns how often it does.
fn number_by_changes(parts: &mut [Whole<'_>]) -> usize {
    let (mut changes, mut before) = (0, parts.first().map_or(0, |part| part.way));
    for part in parts {
        let way = std::mem::replace(&mut part.way, changes);
        if way != before {
            (changes, before) = (changes + 1, way);
            part.way = changes;
        }
    }
    changes as usize
}

/// Bytes that the entries of a request come to at most, however they are partitioned. Cheap: it looks at no attribute, and the request
/// need not be valid.
pub fn most_partitioned(signal: Signal, request: &[u8]) -> usize {
    let message = Message::entry(signal);
    let most = |(_, entry): (&[u8], &[u8])| {
        let (records, bytes) = contents(message, entry);
        entry.len().saturating_add(records.saturating_mul(entry.len() - bytes))
    };
    frames(request).map(most).fold(0, usize::saturating_add)
}

/// How many records a message has, and how many bytes they take.
fn contents(message: &'static Message, bytes: &[u8]) -> (usize, usize) {
    let of_child = |child: Child<'_>| {
        if child.field.record { (1, child.raw.len()) } else { contents(child.message(), child.bytes) }
    };
    piece::children(message, bytes).map(of_child).fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1))
}

/// The ways of the combinations that have been seen.
struct KnownWays<'a, 'n> {
    ways: &'n mut dyn RecordWays,
    /// What combinations are made of comes from senders, so the hash is one that can't be foreseen.
    known: HashMap<RecordValues<'a>, u32>,
    room: &'n mut RoomCheck<'n>,
    is_out_of_room: bool,
}

impl<'a> KnownWays<'a, '_> {
    /// The way of records that have these values; [`ControlFlow::Break`] if there is no memory to find out.
    fn of(&mut self, values: RecordValues<'a>) -> ControlFlow<(), u32> {
        if let Some(known) = self.known.get(&values) {
            return ControlFlow::Continue(*known);
        }
        self.ask(COMBINATION_OVERHEAD)?;
        let Some(way) = self.ways.way_of(&values, self.room) else {
            self.is_out_of_room = true;
            return ControlFlow::Break(());
        };
        self.known.insert(values, way);
        ControlFlow::Continue(way)
    }

    fn ask(&mut self, bytes: usize) -> ControlFlow<()> {
        self.is_out_of_room = !(self.room)(bytes);
        if self.is_out_of_room { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Sees whether all records go one way.
struct Agreement<'a, 'n> {
    ways: KnownWays<'a, 'n>,
    /// The values that the first record has.
    first: Option<RecordValues<'a>>,
}

impl<'a> Visit<'a> for Agreement<'a, '_> {
    fn part(&mut self, _: &Child<'a>, values: Option<RecordValues<'a>>) -> ControlFlow<()> {
        let Some(values) = values else { return ControlFlow::Continue(()) };
        let first = self.first.get_or_insert_with(|| values.clone());
        // Mostly they all have the same, and nobody needs to know which way that is.
        if *first == values || self.ways.of(first.clone())? == self.ways.of(values)? {
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
    /// Its field number in that container.
    number: u32,
    header: Header,
}

/// A part that stays whole.
struct Whole<'a> {
    /// The number of the way that its records go.
    way: u32,
    /// The position of the container that it stands in.
    container: u32,
    records: u64,
    raw: &'a [u8],
}

/// Finds out the way of each part, and takes down where it stands.
struct Sorting<'a, 'n> {
    ways: KnownWays<'a, 'n>,
    containers: Vec<Container>,
    /// The positions of those that are open.
    open: Vec<usize>,
    parts: Vec<Whole<'a>>,
}

impl<'a> Visit<'a> for Sorting<'a, '_> {
    fn enter(&mut self, message: &Child<'a>) -> ControlFlow<()> {
        let parts = Parts::of(message.message(), message.bytes).expect("only what is divisible is entered");
        let (above, number, header) = (self.innermost(), message.field.number, parts.header);
        self.ways.ask(size_of::<Container>() + header.len())?;
        self.open.push(self.containers.len());
        self.containers.push(Container { above, number, header });
        ControlFlow::Continue(())
    }

    fn leave(&mut self) {
        self.open.pop();
    }

    fn part(&mut self, part: &Child<'a>, values: Option<RecordValues<'a>>) -> ControlFlow<()> {
        let way = if let Some(values) = values {
            self.ways.of(values)?
        } else {
            self.ways.ask(PART_OVERHEAD)?;
            self.parts.last().map_or(0, |before| before.way)
        };
        let (container, records) = (self.innermost() as u32, part.records().unwrap_or_default());
        self.parts.push(Whole { way, container, records, raw: part.raw });
        ControlFlow::Continue(())
    }
}

impl Sorting<'_, '_> {
    fn innermost(&self) -> usize {
        *self.open.last().expect("the entry is never left")
    }
}

/// The containers that are open while parts are written one after the other.
struct OpenContainers<'c> {
    all: &'c [Container],
    /// The positions of those that are open.
    open: SmallVec<[usize; 4]>,
}

/// A step from one part to the next.
enum ContainerStep<'c> {
    Leave,
    Enter(&'c Container),
}

impl<'c> OpenContainers<'c> {
    fn new(all: &'c [Container]) -> Self {
        Self { all, open: SmallVec::new() }
    }

    /// Goes to where a part stands.
    fn go_to(&mut self, part: &Whole<'_>, mut step: impl FnMut(ContainerStep<'c>)) {
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
        self.open[common..].iter().for_each(|_| step(ContainerStep::Leave));
        path[common..].iter().for_each(|at| step(ContainerStep::Enter(&self.all[*at])));
        self.open = path;
    }
}

/// The parts that go one way after those that go another.
fn by_way<'p, 'a>(parts: &'p [Whole<'a>]) -> impl Iterator<Item = &'p [Whole<'a>]> {
    parts.chunk_by(|one, next| one.way == next.way)
}

/// Bytes of all entries, at most.
fn size(containers: &[Container], parts: &[Whole<'_>]) -> usize {
    /// Key and length in front of a container.
    const FRAME: usize = 15;
    let mut size: usize = 0;
    for parts in by_way(parts) {
        let mut open = OpenContainers::new(containers);
        for part in parts {
            open.go_to(part, |step| {
                if let ContainerStep::Enter(container) = step {
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
        let mut piece = EntryPiece::default();
        for part in parts {
            open.go_to(part, |step| match step {
                ContainerStep::Leave => piece.leave(),
                ContainerStep::Enter(container) => piece.enter(container.number, container.header.clone()),
            });
            piece.put(part.raw, part.records);
        }
        let (bytes, records) = piece.take().expect("each way has a record");
        rewritten(bytes, index, records)
    };
    by_way(parts).map(entry).collect()
}

/// Ways of which no two meet.
#[cfg(any(test, feature = "oracle"))]
impl<F: FnMut(&[Found<'_>], &mut RoomCheck<'_>) -> Option<u32>> RecordWays for F {
    fn way_of(&mut self, found: &[Found<'_>], room: &mut RoomCheck<'_>) -> Option<u32> {
        self(found, room)
    }

    fn meet(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
