//! A region's exits, and its inbox from other regions: exits to adopt, failures to record (R8, R14,
//! R15).
//!
//! # Invariants
//!
//! 1. Exits and waves are added under the lock, after `LEFT` was read (invariant 2 of the room).
//! 2. An abandoned wave is in one place: an inbox, the lane of a frame, a task on an executor, or with the caller
//!    that hands it over. A region that cannot take it gives it back, and the next one outwards is offered it (R8).
//! 3. `INBOX` is set and the waker of the run is taken in one step, so the run finds the wave.

use super::adoption::{Batch, Wave};
use super::exits::Exit;
use super::flags::{ATTENDED, INBOX, LEFT, REWAKE};
use super::kind::Kind;
use super::node::Node;
use crate::failure::Failures;
use crate::reason::Leaving;
use crate::report::{Report, report};
use crate::spawn::Spawn;
use crate::sync::Arc;
use crate::wakers::wake_all;

impl Node {
    /// Registers the exit that `make` makes of `value`, or hands `value` back if the region was left.
    /// `make` only moves and boxes, so it runs no user code.
    pub(crate) fn push_exit<T>(&self, value: T, make: impl FnOnce(T) -> Exit) -> Result<(), T> {
        let mut inner = self.inner.lock();
        if self.has(LEFT) {
            return Err(value);
        }
        inner.more().exits.push(make(value));
        Ok(())
    }

    /// The exit that was registered last, unless there are exits in the inbox, which come first.
    pub(super) fn take_exit(&self) -> Option<Exit> {
        let mut inner = self.inner.lock();
        if self.has(INBOX) { None } else { inner.more.as_mut()?.exits.pop() }
    }

    /// A wave of one exit of this region.
    pub(crate) fn wave_of(self: &Arc<Self>, exit: Exit, why: Leaving) -> Wave {
        let mut wave = Wave::new(self.owner().task);
        wave.add_batch(Batch {
            number: self.number(),
            why,
            home: Some(Arc::clone(self)),
            exits: exit.into(),
        });
        wave
    }

    /// Moves the exits that have not begun to the new node `other`, with the grace under which they were
    /// registered.
    pub(crate) fn move_exits_to(&self, other: &Node) {
        let (exits, name, grace) = {
            let mut inner = self.inner.lock();
            let Some(more) = &mut inner.more else { return };
            let exits = std::mem::take(&mut more.exits);
            (exits, inner.name(), inner.rest_seen().and_then(|rest| rest.times.grace))
        };
        let mut inner = other.inner.lock();
        inner.more().exits = exits;
        let rest = inner.rest();
        (rest.name, rest.times.grace) = (name, grace);
    }

    pub(crate) fn exits(&self) -> usize {
        self.inner.lock().exits()
    }

    /// Takes the content of the inbox, for the run: adopted waves, and failures that were sent
    /// here.
    pub(super) fn take_inbox(&self) -> (Vec<Wave>, Failures) {
        let mut inner = self.inner.lock();
        self.lower(&inner, INBOX);
        let records = inner.rest_mut().map(|rest| std::mem::take(&mut rest.records));
        let adopted = std::mem::take(&mut inner.more().adopted);
        (adopted, records.unwrap_or_default())
    }

    /// Gives `wave` to the nearest live region around this one, or reports its exits lost (R8).
    pub(crate) fn hand_over(self: &Arc<Self>, mut wave: Wave) {
        if wave.is_empty() {
            return;
        }
        wave.disarm();
        // The exits that an executor child abandons run on its executor, and its group waits for
        // them.
        let spawner = if self.is_task() { self.spawner() } else { None };
        if let (Some(spawner), Kind::Child) = (&spawner, self.kind()) {
            wave = match self.run_on(&**spawner, wave) {
                Ok(wait) => self.wave_of(wait, Leaving::Abandoned),
                Err(refused) => refused,
            };
        }
        let told = self.tell_adopted(&wave);
        wave = match self.offer_outwards(wave, Node::adopt) {
            Ok(node) => return told(&node),
            Err(back) => back,
        };
        if let (Some(spawner), false) = (&spawner, self.kind == Kind::Child) {
            match self.run_on(&**spawner, wave) {
                // No region is left that could wait for it.
                Ok(_) => return,
                Err(refused) => wave = refused,
            }
        }
        self.report_lost(wave);
    }

    /// Reports exits that no region will run.
    pub(super) fn report_lost(&self, wave: Wave) {
        let (registered_at, stacks): (Vec<_>, Vec<_>) = wave.exits().unzip();
        if !registered_at.is_empty() {
            report(Report::LostExits { region: self.describe(), registered_at, stacks });
        }
        wave.discard();
    }

    fn spawner(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
        self.inner.lock().rest_seen().and_then(|rest| rest.spawner.clone())
    }

    pub(crate) fn set_spawner(&self, spawner: Arc<dyn Spawn + Send + Sync>) {
        let old = self.inner.lock().rest().spawner.replace(spawner);
        drop(old);
    }

    /// As [`hand_over`](Node::hand_over), beginning with this region itself.
    pub(crate) fn hand_in(self: &Arc<Self>, wave: Wave) {
        if let Err(wave) = self.adopt(wave) {
            self.hand_over(wave);
        }
    }

    pub(super) fn adopt(&self, wave: Wave) -> Result<(), Wave> {
        let waker = {
            let mut inner = self.inner.lock();
            // A group has children before it is run, and will be run or dropped.
            if self.has(LEFT) || !(self.has(ATTENDED) || self.kind == Kind::Group) {
                return Err(wave);
            }
            let adopted = &mut inner.more().adopted;
            // Most often it is the only wave.
            adopted.reserve_exact(usize::from(adopted.is_empty()));
            adopted.push(wave);
            self.raise(&inner, INBOX | REWAKE);
            inner.waker.take()
        };
        wake_all(waker);
        Ok(())
    }
}
