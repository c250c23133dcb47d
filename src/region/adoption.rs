//! The lane in which a region runs the exits that it has adopted (R7, R8).
//!
//! The exits that one region abandons are a *wave*: the exits that were half-way first, then a *batch*
//! for each region, newest region first, last in first out within it. Waves that reached a region at
//! different times, or from different tasks, are unrelated and run side by side, so that an exit that
//! waits for another one, such as for a permit of a pool, finds it running.
//!
//! # Invariants
//!
//! 1. No exit of a wave begins while an exit of the same wave is pending (R7).
//! 2. Waves of other tasks inside a wave end before its own batches begin.

use super::crowd::{Abreast, Crowd};
use super::exit;
use super::node::Node;
use super::owner;
use super::tally::Tally;
use super::wave::{Batch, Wave};
use crate::sync::Arc;
use std::panic::Location;
use std::task::{Context, Poll};

impl Wave {
    /// The place and the stack of each exit, in the order in which they would have run, without exits that were
    /// reported already. The caller has to report them now.
    pub(crate) fn exits(&self) -> impl Iterator<Item = (&'static Location<'static>, String)> {
        let mut exits = Vec::new();
        self.list(&mut exits);
        exits.into_iter()
    }

    fn list(&self, exits: &mut Vec<(&'static Location<'static>, String)>) {
        let name = |home: &Option<Arc<Node>>| owner::describe_stack(home.as_deref());
        let running = self.running.iter().filter(|exit| exit.claim());
        exits.extend(running.map(|exit| (exit.registered_at, name(&exit.home))));
        self.abreast.iter().for_each(|wave| wave.list(exits));
        for batch in self.waiting.iter().rev() {
            let stack = name(&batch.home);
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
            // Nothing in the wave is pending (invariants 1 and 2).
            let Some(batch) = self.waiting.last_mut() else { return Poll::Ready(()) };
            let Batch { why, home, exits, .. } = batch;
            match exit::run(|| exits.pop(), home, why, cx, tally) {
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

/// The waves that a region runs beside its body: its lane.
impl Crowd<Wave> {
    /// Takes the waves that have reached the region since its last poll: one wave for each task
    /// of origin.
    pub(super) fn take_in(&mut self, mut arrived: Vec<Wave>) {
        if arrived.len() <= 1 {
            self.add(arrived);
            return;
        }
        arrived.sort_by_key(|wave| wave.task);
        let mut arrived = arrived.into_iter().peekable();
        while let Some(mut wave) = arrived.next() {
            let task = wave.task;
            wave.merge(std::iter::from_fn(|| arrived.next_if(|next| next.task == task)));
            self.push(wave);
        }
    }

    /// All its exits as one wave of `task`, for the region that adopts it next.
    pub(super) fn collapse(&mut self, task: u64) -> Wave {
        let mut whole = Wave::new(task);
        whole.merge(self.take());
        whole
    }
}
