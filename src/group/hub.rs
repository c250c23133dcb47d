//! The state of a group, inside the group itself.

use super::gate::WaitForChildren;
use super::ledger::Ledger;
use super::list::List;
use super::member::Kept;
use super::shared::{Shared, WeakShared};
use crate::reason::{Reason, ReasonKind};
use crate::region::enter;
use crate::region::frame;
use crate::region::look;
use crate::region::owner;
use crate::region::request;
use crate::region::{Exit, Frame, Node};
use crate::sync::{Arc, Once, next_number};
use crate::unwind;
use crate::wrong_task::Rejected;
use std::ops::Deref;
use std::panic::Location;

/// The state of a group. Most groups have no spawners: their state is in the group itself, and needs no allocation.
pub(crate) struct Hub<E, M: Kept<E>> {
    own: Shared<E, M>,
    /// Where the spawns of spawners, and those of the group from then on, arrive; made with the first spawner.
    outside: Once<Arc<Shared<E, M>>>,
}

impl<E, M: Kept<E>> Hub<E, M> {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Hub { own: Shared::new(Ledger::new(node)), outside: Once::new() }
    }

    /// `future`, if the current task may spawn it through the group: rejected, if another task owns the group (R2).
    #[inline]
    pub(crate) fn of_owner<F>(
        &self,
        future: F,
        at: &'static Location<'static>,
    ) -> Result<F, Rejected<F>> {
        match owner::check(self.node(), "spawn", at) {
            Ok(()) => Ok(future),
            Err(misuse) => Err(Rejected::new(misuse, future)),
        }
    }

    /// The state for a spawner that is made at `at`.
    pub(crate) fn outside(&self, at: &'static Location<'static>) -> WeakShared<E, M> {
        let shared = match self.outside.get() {
            Some(shared) => shared,
            None => self.outside.fill(Arc::new(Shared::new(self.own.ledger.share()))),
        };
        WeakShared::new(shared, at)
    }

    /// The children that have arrived since the last call, in the order in which they came.
    #[inline]
    pub(super) fn take_arrivals(&self) -> List<M> {
        let own = self.own.arrivals.lock().drain();
        match self.outside.get() {
            None => own.reversed(List::new()),
            Some(outside) => {
                let outside = outside.arrivals.lock().drain();
                own.reversed(outside.reversed(List::new()))
            }
        }
    }

    fn drop_arrivals(&self) {
        self.own.drop_arrivals();
        if let Some(outside) = self.outside.get() {
            outside.drop_arrivals();
        }
    }

    /// The group's last poll is over: `drop_members` drops the in-task children, the executor children are
    /// cancelled, and the wait for them becomes an exit (R16), which is sorted by `number`, the group's entry number. Their
    /// reason is the cancellation of a region around the group, if there is one; else `why`; else that their owner is gone.
    pub(super) fn abandon(
        &self,
        frame: &mut Frame,
        number: u64,
        why: Option<Reason>,
        drop_members: impl FnOnce() -> Vec<unwind::Payload>,
    ) {
        let (Ledger { node, gate, .. }, at) = (&self.own.ledger, frame.at());
        gate.abandon();
        // Before the wait for the executor children begins elsewhere, with a waker of its own.
        gate.forget_run();
        let dropped = frame.within(|| {
            self.drop_arrivals();
            drop_members()
        });
        for payload in dropped.unwrap_or_else(|payload| vec![payload]) {
            self.own.ledger.dropped_loudly(payload, at);
        }
        // The failures so far have no caller that would receive them.
        self.own.ledger.settle_outwards_if(true);
        let children = (gate.open() > 0).then(|| {
            request::cancel(
                node,
                match (look::effective_reason(node), why) {
                    (Some(reason), _) => reason.seen_as(ReasonKind::Parent),
                    (None, Some(why)) => why,
                    (None, None) => Reason::new(ReasonKind::OwnerGone, None, None, Some(at)),
                },
            );
            (number, Exit::new(WaitForChildren::new(Arc::clone(node), Arc::clone(gate)), at))
        });
        frame::abandon(frame, None, children);
        gate.clear();
    }

    /// The group itself is dropped. If it was never run, its children are dropped too.
    pub(crate) fn drop_group(&mut self, at: &'static Location<'static>) {
        let arrived = self.outside.get().is_some() || !self.own.arrivals.get_mut().is_empty();
        let node = &self.own.ledger.node;
        if node.is_entered() {
            // Its run has left, was dropped, or was leaked with everything in it.
            if arrived {
                self.drop_arrivals();
            }
            return;
        }
        // The exits that it abandons go to the region that is current here.
        enter::enter(node, at);
        let mut frame = Frame::entered(Arc::clone(node), at);
        self.abandon(&mut frame, next_number(), None, Vec::new);
    }
}

impl<E, M: Kept<E>> Deref for Hub<E, M> {
    type Target = Shared<E, M>;

    #[inline]
    fn deref(&self) -> &Shared<E, M> {
        self.outside.get().map_or(&self.own, |outside| outside)
    }
}
