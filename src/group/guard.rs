//! Guards: a group waits for work that runs in tasks of others.

use super::gate::{Core, GUARD};
use super::ledger::Ledger;
use crate::region::Node;
use crate::scope::CancelHandle;
use crate::sync::Arc;
use std::fmt;

/// Keeps a group from ending, for work that runs in a task which the group did not spawn: the handler of a server, a
/// callback, a request that a caller polls. Made by [`GroupSpawner::guard`](crate::GroupSpawner::guard).
///
/// The group's `run` returns when its body, its children and its guards are gone, and children can be spawned until then.
/// A guard is no child: the group does not poll the work, so it can neither drop it nor learn its result. Therefore a
/// guard holds up a group that ends by itself or was [stopped](crate::TaskGroup::stop), and not one that is cancelled, by
/// a request, a deadline, a failure or the drop of its `run` (R7, R13). The work learns of both through
/// [`handle`](GroupGuard::handle).
///
/// A task that waits for the end of a group while it keeps a guard of it waits for itself.
///
/// # On drop
///
/// The group goes on without it. A guard that is leaked keeps its group until the group is cancelled.
///
/// # Comparison
///
/// Like the token of a `tokio_util::task::TaskTracker`, together with a `CancellationToken`. The group closes when the
/// last guard is gone, in one step, so no work begins after its end.
///
/// # Examples
///
/// ```
/// use moored::TaskGroup;
///
/// # futures::executor::block_on(async {
/// let requests: TaskGroup<'_, ()> = TaskGroup::new().named("requests");
/// let spawner = requests.spawner();
/// let guard = spawner.guard().expect("the group is open");
/// let handler = std::thread::spawn(move || {
///     futures::executor::block_on(guard.handle().stop_requested()); // answers, and then
///     drop(guard);
/// });
/// requests.stop();
/// requests.run(async { Ok(()) }).await.unwrap();
/// assert!(spawner.guard().is_err());
/// # handler.join().unwrap();
/// # });
/// ```
#[doc(alias = "TaskTracker")]
#[must_use = "dropping it lets the group end"]
pub struct GroupGuard {
    gate: Arc<Core>,
    node: Arc<Node>,
}

impl GroupGuard {
    /// A guard of the group, unless it has closed.
    pub(crate) fn new<E>(ledger: &Ledger<E>) -> Option<Self> {
        let guard =
            || GroupGuard { gate: Arc::clone(&ledger.gate), node: Arc::clone(&ledger.node) };
        ledger.gate.admit(GUARD).then(guard)
    }

    /// The handle of the group, to wait for its stop or its cancellation.
    pub fn handle(&self) -> CancelHandle {
        CancelHandle::new(Arc::clone(&self.node))
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        self.gate.count_out(GUARD);
    }
}

impl fmt::Debug for GroupGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupGuard").field(&self.node).finish()
    }
}
