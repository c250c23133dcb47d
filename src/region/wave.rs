//! Abandoned exits on their way to a region that runs them: exits that have begun, batches, waves (R7, R8).
//!
//! A node holds the waves that it has to run, and an exit holds the node of its region. So this file and `node` name each
//! other.
//!
//! # Invariants
//!
//! 1. The batches of a wave are sorted by the number of their region: the newest region's is last, and runs first
//!    (R7).
//! 2. No batch is empty.
//! 3. The timers of a wave that moves are disarmed, because another runtime may poll it.

use super::crowd::Crowd;
use super::exits::{Exit, Exits};
use super::node::Node;
use super::observe::begun::Begun;
use crate::clock::Timer;
use crate::reason::Leaving;
use crate::sync::Arc;
use crate::unwind;
use std::panic::Location;
use std::time::Duration;

/// An exit that has begun. Any region may poll it; it goes on from where it is.
pub(crate) struct Running {
    /// Stands before `home`, so that it is dropped first: its drop names that region in a timeline.
    pub(super) begun: Begun,
    /// `None` once it has ended.
    pub(super) exit: Option<Exit>,
    pub(super) registered_at: &'static Location<'static>,
    pub(super) why: Leaving,
    /// The region that registered it. It is current while the exit runs, so that the exit has the
    /// identity of the task that registered it (R8).
    pub(super) home: Option<Arc<Node>>,
    /// Set at the first poll that is pending; abandonment never extends it.
    pub(super) bound: Option<(Duration, Timer)>,
}

impl Running {
    /// The exit will be polled elsewhere, or not at all: its deadline stays, and its timer is made anew there (invariant 3).
    pub(super) fn disarm(&mut self) {
        if let Some((_, timer)) = &mut self.bound {
            timer.disarm();
        }
    }
}

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
    pub(super) task: u64,
    /// Exits that have begun: they go on before any other begins.
    pub(super) running: Crowd<Running>,
    /// Waves that other tasks abandoned inside this one's region: they run side by side, before
    /// this wave's own batches.
    pub(super) abreast: Crowd<Wave>,
    /// Sorted by number (invariant 1): the last batch is the next to run.
    pub(super) waiting: Vec<Batch>,
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
    pub(super) fn merge(&mut self, others: impl IntoIterator<Item = Wave>) {
        for mut other in others {
            if other.task == self.task && self.is_empty() {
                *self = other;
            } else if other.task == self.task {
                self.running.add(other.running.take());
                self.abreast.add(other.abreast.take());
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
}
