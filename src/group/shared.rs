//! The state that a group, its `run` and its spawners share: how a child arrives.
//!
//! # Invariants
//!
//! 1. A child is counted in by the gate before it is made, so `run` waits for each child that arrives (R16).
//! 2. A child is stored among the arrivals before its spawn reads whether the group was abandoned; an abandoned group drops
//!    the arrivals after it has set that mark. So one of the two threads drops the child.

use super::child::Child;
use super::guard::GroupGuard;
use super::handle::TaskHandle;
use super::ledger::Ledger;
use super::list::List;
use super::member::Kept;
use super::members;
use super::results::Results;
use super::sent;
use super::side::Detached;
use super::slot::Slot;
use crate::region::owner;
use crate::region::{ChildId, Node};
use crate::spawn::Spawn;
use crate::sync::{Arc, Mutex, Once, Weak};
use crate::wrong_task::{Misuse, Rejected};
use std::future::Future;
use std::panic::Location;

/// `M` is the type in which in-task children are kept, with `Send` or without. They are here only
/// until `run` takes them up.
pub(crate) struct Shared<E, M: Kept<E>> {
    pub(crate) ledger: Ledger<E>,
    /// For children on executors, and for what may outlive the group; made with the first of them.
    sent: Once<Arc<Ledger<E>>>,
    pub(super) arrivals: Mutex<List<M>>,
}

impl<E, M: Kept<E>> Shared<E, M> {
    pub(super) fn new(ledger: Ledger<E>) -> Self {
        Shared { ledger, sent: Once::new(), arrivals: Mutex::new(List::new()) }
    }

    pub(crate) fn sent(&self) -> &Arc<Ledger<E>> {
        match self.sent.get() {
            Some(sent) => sent,
            None => self.sent.fill(Arc::new(self.ledger.share())),
        }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.ledger.node
    }

    pub(crate) fn results(&self) -> Results {
        Results::new(self.ledger.open_channel(), Arc::clone(&self.ledger.gate))
    }

    /// Spawns an in-task child with a handle, or hands the future back if the group has closed.
    pub(crate) fn spawn<F, T>(
        &self,
        future: F,
        at: &'static Location<'static>,
        name: Option<Arc<str>>,
        keep: impl FnOnce(Child<F, Arc<Slot<T>>>) -> M,
    ) -> Result<TaskHandle<T>, Rejected<F>>
    where
        F: Future<Output = Result<T, E>>,
    {
        // Before there is a child (invariant 1).
        if !self.ledger.admit() {
            return Err(self.closed(future, at));
        }
        let slot = Slot::new();
        let side = Arc::clone(&slot);
        let child = Child::new(&self.ledger, future, side, at, name.as_ref(), false);
        self.arrive(keep(child));
        Ok(TaskHandle::new(slot, name))
    }

    /// As [`spawn`](Shared::spawn), without a handle.
    pub(crate) fn spawn_detached<F, T>(
        &self,
        future: F,
        at: &'static Location<'static>,
        keep: impl FnOnce(Child<F, Detached>) -> M,
    ) -> Result<(), Rejected<F>>
    where
        F: Future<Output = Result<T, E>>,
    {
        if !self.ledger.admit() {
            return Err(self.closed(future, at));
        }
        let side = Detached(ChildId::new());
        self.arrive(keep(Child::new(&self.ledger, future, side, at, None, false)));
        Ok(())
    }

    /// Leaves an in-task child where `run` takes it up.
    fn arrive(&self, child: M) {
        let first = {
            let mut arrivals = self.arrivals.lock();
            let first = arrivals.is_empty();
            arrivals.push(child);
            first
        };
        if self.ledger.gate.is_abandoned() {
            // No later poll of `run` will take it up (invariant 2).
            self.drop_arrivals();
        }
        if first {
            // If there were others, the spawn of the first of them has told `run`.
            let gate = &self.ledger.gate;
            if gate.is_in_poll() && owner::is_current_tasks(self.node()) {
                gate.note_arrival();
            } else {
                gate.notify();
            }
        }
    }

    /// Spawns an executor child with a handle, or hands the future back if the group has closed.
    #[track_caller]
    pub(crate) fn spawn_on<F, T>(
        &self,
        spawner: &impl Spawn,
        future: F,
        name: Option<Arc<str>>,
    ) -> Result<TaskHandle<T>, Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        if !self.ledger.admit() {
            return Err(self.closed(future, Location::caller()));
        }
        let slot = Slot::sent(&self.ledger.gate);
        sent::send(self.sent(), spawner, future, Arc::clone(&slot), name.as_ref());
        Ok(TaskHandle::new(slot, name))
    }

    /// As [`spawn_on`](Shared::spawn_on), without a handle.
    #[track_caller]
    pub(crate) fn spawn_detached_on<F, T>(
        &self,
        spawner: &impl Spawn,
        future: F,
    ) -> Result<(), Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        if !self.ledger.admit() {
            return Err(self.closed(future, Location::caller()));
        }
        sent::send(self.sent(), spawner, future, Detached(ChildId::new()), None);
        Ok(())
    }

    /// The error of a spawn that found the group closed.
    #[cold]
    fn closed<F>(&self, future: F, at: &'static Location<'static>) -> Rejected<F> {
        let (region, entered_at) = owner::describe_with_place(self.node(), at);
        let closed = Misuse::Closed { region, entered_at, attempted_at: at };
        Rejected::new(closed, future)
    }

    /// Drops the children that `run` did not take up.
    pub(super) fn drop_arrivals(&self) {
        let arrivals = self.arrivals.lock().drain();
        for payload in members::drop_each(arrivals.reversed(List::new()), &self.ledger) {
            let at = self.ledger.node.entered_at().unwrap_or_else(|| Location::caller());
            self.ledger.dropped_loudly(payload, at);
        }
    }
}

/// The group of a spawner, and the future that is to be spawned in it.
type Opened<E, M, F> = (Arc<Shared<E, M>>, F);

/// A group that may be gone, as its spawners know it.
pub(crate) struct WeakShared<E, M: Kept<E>> {
    shared: Weak<Shared<E, M>>,
    made_at: &'static Location<'static>,
}

impl<E, M: Kept<E>> WeakShared<E, M> {
    pub(super) fn new(shared: &Arc<Shared<E, M>>, made_at: &'static Location<'static>) -> Self {
        WeakShared { shared: Arc::downgrade(shared), made_at }
    }

    /// The group, to spawn `future` in it; or the future back if the group is gone.
    pub(crate) fn open<F>(
        &self,
        future: F,
        at: &'static Location<'static>,
    ) -> Result<Opened<E, M, F>, Rejected<F>> {
        match self.shared.upgrade() {
            Some(shared) => Ok((shared, future)),
            None => {
                let (region, entered_at) = self.gone();
                Err(Rejected::new(Misuse::Closed { region, entered_at, attempted_at: at }, future))
            }
        }
    }

    /// A guard, unless the group has closed or is gone.
    pub(crate) fn guard(&self, at: &'static Location<'static>) -> Result<GroupGuard, Rejected<()>> {
        let misuse = match self.shared.upgrade() {
            Some(shared) => match GroupGuard::new(&shared.ledger) {
                Some(guard) => return Ok(guard),
                None => owner::left_misuse(shared.node(), "guard", at),
            },
            None => {
                let (region, entered_at) = self.gone();
                Misuse::Left { operation: "guard", region, entered_at, attempted_at: at }
            }
        };
        Err(Rejected::new(misuse, ()))
    }

    /// The text and the place of a group that is gone. Only the place where its spawner was made is known.
    fn gone(&self) -> (String, &'static Location<'static>) {
        ("task group".to_owned(), self.made_at)
    }
}

impl<E, M: Kept<E>> Clone for WeakShared<E, M> {
    fn clone(&self) -> Self {
        WeakShared { shared: Weak::clone(&self.shared), made_at: self.made_at }
    }
}
