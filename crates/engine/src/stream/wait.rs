//! A request that was refused waits for another try.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::Budget;
use super::admission::{Admission, Obstacle};
use super::group::Group;
use super::line::{InLine, Patience};

/// What came of waiting in a line.
enum Looked {
    /// There is room everywhere.
    Free,
    /// There is room here, but not there.
    Elsewhere(Obstacle),
    /// There was none in time, or is no place in the line.
    InVain,
}

impl Obstacle {
    /// A place in its line, if it is worth waiting there and not too many do.
    fn join<'o>(&'o self, budget: &'o Budget) -> Option<InLine<'o>> {
        match self {
            Self::Memory => Some(budget.line().join_many()),
            Self::Stream(stream) => stream.line.join().filter(|_| stream.moves()),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory, Self::Memory) => true,
            (Self::Stream(one), Self::Stream(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Admission<'_> {
    /// Whether it was refused for want of room that there may be soon.
    pub fn may_wait(&self) -> bool {
        match &self.obstacle {
            None => false,
            Some(Obstacle::Memory) => true,
            Some(Obstacle::Stream(stream)) => stream.moves(),
        }
    }

    /// Waits until another try is worth while, for as long as there is `patience`, and if not too many wait already.
    /// False: it has to be refused.
    pub async fn room(&mut self, patience: &mut Patience) -> bool {
        self.pass_on();
        let budget = self.reservation.budget().clone();
        let Some(mut obstacle) = self.obstacle.take() else { return false };
        let Some(_place) = budget.place(self.reservation.bytes(), 0) else { return false };
        // Others need their places more, and they are easily had again.
        self.abandon_streams();
        loop {
            let looked = self.until_room(&obstacle, &budget, patience.end()).await;
            let wanted = self.wanted_of(&obstacle);
            match looked {
                Looked::InVain => return false,
                Looked::Free => {
                    self.turn = Some((obstacle, wanted));
                    return true;
                }
                Looked::Elsewhere(ahead) => {
                    self.turn = Some((obstacle, wanted));
                    self.pass_on();
                    obstacle = ahead;
                }
            }
        }
    }

    /// Waits in one line for as long as there is no room behind it.
    async fn until_room(&self, obstacle: &Obstacle, budget: &Budget, end: Instant) -> Looked {
        let Some(in_line) = obstacle.join(budget) else { return Looked::InVain };
        loop {
            let turn = in_line.turn();
            match self.obstacle_now(budget) {
                None => return Looked::Free,
                Some(ahead) if !ahead.is(obstacle) => return Looked::Elsewhere(ahead),
                Some(_) => {}
            }
            if timeout_at(end, turn).await.is_err() {
                return Looked::InVain;
            }
        }
    }

    /// What there is no room in now.
    fn obstacle_now(&self, budget: &Budget) -> Option<Obstacle> {
        let full = |group: &&Group<'_>| !group.sheds() && !group.has_room(&self.bound);
        if let Some(group) = self.groups.iter().find(full) {
            return Some(Obstacle::Stream(group.stream.clone()));
        }
        (!budget.has_room(self.least_missing())).then_some(Obstacle::Memory)
    }

    /// How many bytes it needs there.
    fn wanted_of(&self, obstacle: &Obstacle) -> u64 {
        match obstacle {
            Obstacle::Memory => self.least_missing(),
            Obstacle::Stream(stream) => {
                let of_stream = self.groups.iter().find(|group| Arc::ptr_eq(&group.stream, stream));
                of_stream.map_or(0, |group| group.bytes)
            }
        }
    }

    /// Where this one was let look for room, the next in line may, if there is room for another like this.
    pub(super) fn pass_on(&mut self) {
        match self.turn.take() {
            Some((Obstacle::Stream(stream), bytes))
                if stream.has_room(bytes, &stream.registry().settings(), &self.bound) =>
            {
                stream.line.freed();
            }
            Some((Obstacle::Memory, bytes)) if self.budget().has_room(bytes) => self.budget().line().freed(),
            _ => {}
        }
    }

    /// Forgets streams that were made for this request.
    pub(super) fn abandon_streams(&self) {
        for group in &self.groups {
            group.registry.abandon(&group.stream);
        }
    }
}
