//! The side of a child that its handle reaches: with a handle the slot that both share, without one only the identity.

use super::gate::ChildWaker;
use super::unseen::Unseen;
use crate::failure::ChildError;
use crate::region::ambient::Home;
use crate::region::{Newborn, Node};
use crate::sync::Arc;

/// The handle's side of a child. The defaults are those of a child without a handle.
pub(crate) trait HandleSide<T> {
    fn newborn(&self) -> &Newborn;

    /// Whether no request came through a handle before the child had a node.
    #[inline]
    fn is_untouched(&self) -> bool {
        true
    }

    /// The child has its node: the request that came through a handle before, if there was one, and later ones go there.
    #[inline]
    fn store_node(&self, _: &Arc<Node>) {}

    /// As [`store_node`](HandleSide::store_node), for a child with a name, to which no request can have come yet.
    #[inline]
    fn store_named_node(&self, _: &Arc<Node>, _: &Arc<str>) {}

    /// The child has left.
    #[inline]
    fn fill(&self, result: Result<T, ChildError>) {
        drop(result);
    }

    /// As [`fill`](HandleSide::fill), for a child that panicked, with its panic if its group isolates panics.
    fn fill_panic(&self, isolated: Option<Unseen>) {
        drop(isolated);
    }
}

/// The side of an in-task child, which may be pending without a node.
pub(crate) trait Seated {
    /// Notes that the child is pending without a node: a request through its handle wakes `seat`. `false` if there was
    /// such a request already.
    fn park(&self, seat: &Arc<ChildWaker>) -> bool;

    /// Whether the child was pending without a node before, and has a handle.
    fn has_parked(&self) -> bool;
}

/// The side of an executor child, which other threads may look for during its first poll.
pub(crate) trait Posted {
    fn home(&self) -> Option<Arc<dyn Home>>;
}

/// The side of a child without a handle. A request comes to it from its group alone.
pub(crate) struct Detached(pub(super) Newborn);

impl<T> HandleSide<T> for Detached {
    #[inline]
    fn newborn(&self) -> &Newborn {
        &self.0
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
