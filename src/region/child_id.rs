//! A child before it has a node: from its spawn on it has an identity, and it gets its node when the node is needed.
//!
//! Unlike a [draft](super::Draft), it knows its parent, and may stay pending without a node.
//!
//! # Invariants
//!
//! 1. A child with a name, or an executor child that is observed, gets its node at its spawn. Otherwise only a poll or the drop
//!    of the child makes its node: a request through its handle is stored in the slot, and the child finds it there when it gets
//!    its node; for a request to its group, the group's `run` polls the child.
//! 2. Of the child's own request and the first one of its group, the one with the lower number is its reason (R10).
//! 3. A child is polled without a node only as long as its group has got no request.

use super::ambient;
use super::ambient::Light;
use super::enter;
use super::flags::{ATTENDED, BELOW, CANCELLED, ENTERED, LEFT, ON_EXECUTOR, ROOT, STOP};
use super::kind::Kind;
use super::links;
use super::node::Node;
use super::observe;
use super::request;
use crate::identity::Identity;
use crate::reason::{Reason, ReasonKind};
use crate::sync::{Arc, next_number};
use std::panic::Location;

/// The identity of a child, from its spawn on.
pub(crate) struct ChildId {
    task: u64,
    #[cfg(feature = "testing")]
    live: super::live::LiveEntry,
}

impl ChildId {
    pub(crate) fn new() -> Self {
        ChildId {
            task: next_number(),
            #[cfg(feature = "testing")]
            live: super::live::LiveEntry::new(),
        }
    }

    /// The id by which it is found while it is polled without a node.
    pub(crate) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The number of its task; a child that is spawned later has a larger one.
    pub(crate) fn task(&self) -> u64 {
        self.task
    }

    /// Whether every child has a node from the start.
    pub(crate) const OBSERVED: bool = observe::OBSERVED;

    /// The state for a poll without a node inside `parent`. `None` if the child needs its node, because `parent` has got a
    /// request (invariant 3). A cancellation farther out is found as in any region. The group of an executor child is not
    /// current yet, but will be for the poll.
    pub(crate) fn light(
        &self,
        parent: &Arc<Node>,
        at: &'static Location<'static>,
        on_executor: bool,
    ) -> Option<Light> {
        let told = parent.has(CANCELLED | STOP | BELOW | LEFT);
        if ChildId::OBSERVED || told || !(on_executor || ambient::is_innermost(parent)) {
            return None;
        }
        Some(Light {
            id: self.id(),
            kind: Kind::Child,
            at,
            task: self.task,
            root: Some(0),
            deadline: None,
            in_exit: false,
        })
    }

    /// Makes its node, at one of the times of invariant 1. The node gets the requests that `parent` got before. A request of the
    /// child's own comes with [`pass_request`](ChildId::pass_request).
    pub(crate) fn node(
        &self,
        parent: &Arc<Node>,
        at: &'static Location<'static>,
        on_executor: bool,
        name: Option<Arc<str>>,
    ) -> Arc<Node> {
        self.give_up_live_entry();
        make_node(parent, (self.task, name), at, on_executor)
    }

    /// Cancels the child's new `node` for a request that the child got before, at that number. The request overrules a
    /// later one of the group, although that has reached the node before (invariant 2).
    pub(crate) fn pass_request(node: &Node, (reason, number): (Reason, u64)) {
        let told = node.parent().and_then(|group| request::children_cancelled_at(&group));
        let overruled = if told.is_some_and(|told| number < told) {
            let mut inner = node.inner.lock();
            let heard = inner.more.as_mut().and_then(|more| more.reason.as_mut());
            heard
                .filter(|heard| heard.kind() != ReasonKind::Requested)
                .map(|heard| std::mem::replace(heard, reason.clone()))
        } else {
            None
        };
        drop(overruled);
        // No effect if the node is cancelled already.
        request::cancel(node, reason);
    }

    /// `node` was made during a poll without one.
    pub(crate) fn has_node(&self, node: &Node) {
        self.give_up_live_entry();
        #[cfg(feature = "testing")]
        node.live.take_up();
        let _ = node;
    }

    /// The child has a node, which counts in its place, or has left.
    pub(crate) fn give_up_live_entry(&self) {
        #[cfg(feature = "testing")]
        self.live.give_up();
    }
}

/// A child of `parent`, a task of its own, entered and attended from the start and linked. `on_executor` tells whether it is
/// an executor child.
pub(super) fn make_node(
    parent: &Arc<Node>,
    (task, name): (u64, Option<Arc<str>>),
    at: &'static Location<'static>,
    on_executor: bool,
) -> Arc<Node> {
    let owner = Identity { task, runtime: 0 };
    let flags = ENTERED | ATTENDED | ROOT | if on_executor { ON_EXECUTOR } else { 0 };
    let around = Some(Arc::clone(parent));
    let node = enter::entered(Kind::Child, owner, flags, around, at, None, None);
    if let Some(name) = name {
        node.set_name(name);
    }
    observe::entered(&node);
    links::put_into(node, parent)
}
