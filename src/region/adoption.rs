//! Abandoned exits: batches, waves, and the lane in which a region runs the exits that it adopted (R7,
//! R8).
//!
//! The exits that one region abandons are a *wave*: the exits that were half-way first, then a *batch*
//! for each region, newest region first, last in first out within it. Waves that reached a region at
//! different times, or from different tasks, are unrelated and run side by side, so that an exit that
//! waits for another one, such as for a permit of a pool, finds it running.

use super::crowd::{Abreast, Crowd};
use super::exit;
use super::exit::Running;
use super::exits::Exits;
use super::node::Node;
use super::owner;
use super::tally::Tally;
use crate::reason::Leaving;
use crate::sync::Arc;
use crate::unwind;
use std::panic::Location;
use std::task::{Context, Poll};

/// The exits of one region that were not begun.
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) why: Leaving,
    /// The region in which they were registered; it is current while they run.
    pub(crate) home: Option<Arc<Node>>,
    pub(crate) exits: Exits,
}

/// The exits that one task abandoned at once, in the order in which they run.
pub(crate) struct Wave {
    task: u64,
    /// Exits that have begun: they go on before any other begins.
    running: Crowd<Running>,
    /// Waves that other tasks abandoned inside this one's region: they run side by side, before
    /// this wave's own batches.
    abreast: Crowd<Wave>,
    /// Sorted by number: the next one is the last.
    waiting: Vec<Batch>,
}

impl Wave {
    pub(crate) fn new(task: u64) -> Self {
        Wave { task, running: Crowd::default(), abreast: Crowd::default(), waiting: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.abreast.is_empty() && self.waiting.is_empty()
    }

    pub(crate) fn add_running(&mut self, running: Running) {
        self.running.push(running);
    }

    pub(crate) fn add_batch(&mut self, batch: Batch) {
        if batch.exits.is_empty() {
            return;
        }
        let at = self.waiting.partition_point(|other| other.number < batch.number);
        // Most waves have the exits of one region.
        self.waiting.reserve_exact(usize::from(self.waiting.is_empty()));
        self.waiting.insert(at, batch);
    }

    /// The number of exits in it.
    #[cfg(feature = "tracing")]
    pub(super) fn len(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|batch| batch.exits.len()).sum();
        let abreast: usize = self.abreast.iter().map(Wave::len).sum();
        self.running.len() + abreast + waiting
    }

    /// For a wave that moves to a place where another runtime may poll it.
    pub(super) fn disarm(&mut self) {
        self.running.iter_mut().for_each(Running::disarm);
        self.abreast.iter_mut().for_each(Wave::disarm);
    }

    /// Merges waves that were abandoned at once: those of this task into one order, those of other tasks
    /// side by side.
    fn merge(&mut self, others: impl IntoIterator<Item = Wave>) {
        for mut other in others {
            if other.task == self.task && self.is_empty() {
                *self = other;
            } else if other.task == self.task {
                self.running.append(&mut other.running);
                self.abreast.append(&mut other.abreast);
                self.waiting.append(&mut other.waiting);
            } else {
                self.abreast.push(other);
            }
        }
        // Sorted once for all of them, because thousands may be dropped at once (R19).
        self.waiting.sort_by_key(|batch| batch.number);
    }

    /// Drops the exits without running them. Their drops are user code: a panic of one does not
    /// keep the others from being dropped.
    pub(super) fn discard(mut self) {
        let running = unwind::drop_each(self.running.take());
        self.abreast.take().into_iter().for_each(Wave::discard);
        let exits = self.waiting.into_iter().flat_map(|batch| batch.exits.take_each());
        running.into_iter().chain(unwind::drop_each(exits)).for_each(unwind::discard);
    }

    /// The place and the stack of each exit, in the order in which they would have run, without exits that were
    /// reported already. The caller has to report them now.
    pub(crate) fn exits(&self) -> impl Iterator<Item = (&'static Location<'static>, String)> {
        let mut exits = Vec::new();
        self.list(&mut exits);
        exits.into_iter()
    }

    fn list(&self, exits: &mut Vec<(&'static Location<'static>, String)>) {
        let name = |home: Option<&Arc<Node>>| {
            home.map_or_else(|| "an exit stack".into(), |home| owner::describe_with_owner(home))
        };
        let running = self.running.iter().filter(|exit| exit.claim());
        exits.extend(running.map(|exit| (exit.registered_at(), name(exit.home()))));
        self.abreast.iter().for_each(|wave| wave.list(exits));
        for batch in self.waiting.iter().rev() {
            let stack = name(batch.home.as_ref());
            let unbegun = batch.exits.iter().filter(|exit| exit.claim());
            exits.extend(unbegun.map(|exit| (exit.registered_at(), stack.clone())));
        }
    }
}

impl Abreast for Wave {
    fn poll(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()> {
        loop {
            let running = self.running.poll(cx, tally);
            if self.abreast.poll(cx, tally).is_pending() || running.is_pending() {
                return Poll::Pending;
            }
            let Some(batch) = self.waiting.last_mut() else { return Poll::Ready(()) };
            let Batch { why, home, exits, .. } = batch;
            let first = exits.pop();
            match first.and_then(|first| exit::run(first, || exits.pop(), home, why, cx, tally)) {
                Some(running) => {
                    running.comes_before(exits.len());
                    self.running.push(running);
                    return Poll::Pending;
                }
                None => drop(self.waiting.pop()),
            }
        }
    }
}

impl Abreast for Running {
    fn poll(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()> {
        Running::poll(self, cx, tally)
    }
}

/// The waves that a region runs beside its body.
#[derive(Default)]
pub(crate) struct Lane(Crowd<Wave>);

impl Lane {
    /// Takes the waves that have reached the region since the last look: one wave for each task
    /// of origin.
    pub(crate) fn take_in(&mut self, mut arrived: Vec<Wave>) {
        if arrived.len() <= 1 {
            arrived.into_iter().for_each(|wave| self.0.push(wave));
            return;
        }
        arrived.sort_by_key(|wave| wave.task);
        let mut arrived = arrived.into_iter().peekable();
        while let Some(mut wave) = arrived.next() {
            let task = wave.task;
            wave.merge(std::iter::from_fn(|| arrived.next_if(|next| next.task == task)));
            self.0.push(wave);
        }
    }

    /// Polls every wave; ready when none is left.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()> {
        self.0.poll(cx, tally)
    }

    /// All its exits as one wave of `task`, for the region that adopts it next.
    pub(crate) fn collapse(&mut self, task: u64) -> Wave {
        let mut whole = Wave::new(task);
        whole.merge(self.0.take());
        whole
    }
}
