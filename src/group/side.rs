//! The side of a child that its handle reaches: with a handle the slot that both share, without one only the identity; and
//! the end of a child, as it comes there.

use super::gate::Gate;
use crate::failure::ExitFailure;
use crate::reason::Reason;
use crate::region::ambient::NodeStore;
use crate::region::{ChildId, Node, record};
use crate::sync::Arc;
use crate::wakers::Seat;

/// The end of a child, as its handle gets it. It is kept small, because it is a part of the slot, and glibc's allocator has fast
/// bins for small allocations.
pub(crate) enum Ending<T> {
    Value(T),
    /// The error goes to the group. The handle knows the id that its own error names.
    Failed,
    Cancelled(Reason),
    /// With the panic if the group isolates panics: a handle that is dropped before it has taken the panic leaves it to the group.
    Panicked(Option<Box<Unseen>>),
}

/// A panic that nothing has shown yet. If it is dropped before its handle shows it, it goes to the group's record, because
/// the handle was its only one; if the group has ended, to the next record outwards (R15).
pub(crate) struct Unseen {
    group: Arc<Node>,
    /// `None` once it was shown.
    panic: Option<ExitFailure>,
}

impl Unseen {
    pub(super) fn new(group: &Arc<Node>, panic: ExitFailure) -> Self {
        Unseen { group: Arc::clone(group), panic: Some(panic) }
    }

    /// The handle returns it.
    pub(super) fn show(mut self) {
        self.panic = None;
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(panic) = self.panic.take() {
            record::put(&self.group, panic.into());
        }
    }
}

/// The handle's side of a child. The defaults are those of a child without a handle.
pub(crate) trait HandleSide<T> {
    fn child_id(&self) -> &ChildId;

    /// Whether no request came through a handle before the child had a node.
    #[inline]
    fn is_untouched(&self) -> bool {
        true
    }

    /// The child has its node: the request that came through a handle before, if there was one, and later ones go there.
    #[inline]
    fn store_node(&self, _: &Arc<Node>) {}

    /// For an in-task child that is pending without a node: a request through its handle wakes `seat`. `false` if there was
    /// such a request already.
    #[inline]
    fn park(&self, _seat: &Seat<'_, Gate>) -> bool {
        true
    }

    /// Whether the child was pending without a node before, and has a handle.
    #[inline]
    fn has_parked(&self) -> bool {
        false
    }

    /// The child has left.
    #[inline]
    fn fill(&self, ending: Ending<T>) {
        drop(ending);
    }
}

/// The side of an executor child, which other threads may look for during its first poll.
pub(crate) trait Posted {
    fn node_store(&self) -> Option<Arc<dyn NodeStore>>;
}

/// The side of a child without a handle. A request comes to it from its group alone.
pub(crate) struct Detached(pub(super) ChildId);

impl<T> HandleSide<T> for Detached {
    #[inline]
    fn child_id(&self) -> &ChildId {
        &self.0
    }
}

impl Posted for Detached {
    #[inline]
    fn node_store(&self) -> Option<Arc<dyn NodeStore>> {
        None
    }
}
