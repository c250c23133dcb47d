//! The place that a child has beside its future: with a handle the slot that both share, without one only its identity.

use super::gate::ChildWaker;
use super::slot::Slot;
use crate::failure::ChildError;
use crate::reason::Reason;
use crate::region::ambient::Home;
use crate::region::{Newborn, Node};
use crate::sync::Arc;

/// The handle's side of a child.
pub(crate) trait Place<T> {
    fn newborn(&self) -> &Newborn;

    /// Whether a handle exists that can still receive the child's result.
    fn has_handle(&self) -> bool;

    /// Whether the child has got no request through a handle before it had a node.
    fn is_untouched(&self) -> bool;

    /// The request that reached the child through a handle before it had a node, with its number.
    fn asked(&self) -> Option<(Reason, u64)>;

    /// The child has its node: a later request goes there.
    fn store_node(&self, node: &Arc<Node>);

    /// As [`store_node`](Place::store_node), for a child with a name, of which nobody can have asked anything yet.
    fn store_named_node(&self, node: &Arc<Node>, name: &Arc<str>);

    /// The child has left.
    fn fill(&self, result: Result<T, ChildError>);
}

/// The place of an in-task child, which may be pending without a node.
pub(crate) trait Seated {
    /// Notes that the child is pending without a node: a request through its handle wakes `seat`. `false` if there was
    /// such a request already.
    fn park(&self, seat: &Arc<ChildWaker>) -> bool;

    /// Whether the child was pending without a node before, and has a handle.
    fn has_parked(&self) -> bool;
}

/// The place of an executor child, which other threads may look for during its first poll.
pub(crate) trait Posted {
    fn home(&self) -> Option<Arc<dyn Home>>;
}

impl<T> Place<T> for Arc<Slot<T>> {
    #[inline]
    fn newborn(&self) -> &Newborn {
        &self.newborn
    }

    #[inline]
    fn has_handle(&self) -> bool {
        Arc::strong_count(self) > 1
    }

    #[inline]
    fn is_untouched(&self) -> bool {
        Slot::is_untouched(self)
    }

    fn asked(&self) -> Option<(Reason, u64)> {
        Slot::asked(self)
    }

    fn store_node(&self, node: &Arc<Node>) {
        Slot::store_node(self, node);
    }

    fn store_named_node(&self, node: &Arc<Node>, name: &Arc<str>) {
        Slot::store_named_node(self, node, Arc::clone(name));
    }

    #[inline(always)]
    fn fill(&self, result: Result<T, ChildError>) {
        Slot::fill(self, result);
    }
}

impl<T> Seated for Arc<Slot<T>> {
    #[inline]
    fn park(&self, seat: &Arc<ChildWaker>) -> bool {
        Slot::park(self, seat)
    }

    #[inline]
    fn has_parked(&self) -> bool {
        Slot::has_parked(self)
    }
}

impl<T: Send + 'static> Posted for Arc<Slot<T>> {
    #[inline]
    fn home(&self) -> Option<Arc<dyn Home>> {
        Some(Arc::clone(self) as _)
    }
}

/// The place of a child without a handle. A request comes to it from its group alone.
pub(crate) struct Detached(pub(super) Newborn);

impl<T> Place<T> for Detached {
    #[inline]
    fn newborn(&self) -> &Newborn {
        &self.0
    }

    #[inline]
    fn has_handle(&self) -> bool {
        false
    }

    #[inline]
    fn is_untouched(&self) -> bool {
        true
    }

    #[inline]
    fn asked(&self) -> Option<(Reason, u64)> {
        None
    }

    #[inline]
    fn store_node(&self, _: &Arc<Node>) {}

    #[inline]
    fn store_named_node(&self, _: &Arc<Node>, _: &Arc<str>) {}

    #[inline]
    fn fill(&self, result: Result<T, ChildError>) {
        drop(result);
    }
}

impl Seated for Detached {
    #[inline]
    fn park(&self, _: &Arc<ChildWaker>) -> bool {
        true
    }

    #[inline]
    fn has_parked(&self) -> bool {
        false
    }
}

impl Posted for Detached {
    #[inline]
    fn home(&self) -> Option<Arc<dyn Home>> {
        None
    }
}
