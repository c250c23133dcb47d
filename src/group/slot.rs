//! The state that a child and its handle share: the child's region, and its ending.
//!
//! # Invariants
//!
//! 1. A request through the handle is in `state` until the child has its node, and goes to the node from then on. Both
//!    change `state` under the lock, so no request is lost in between.
//! 2. The ending is stored before the group counts the child out (R16), and is taken once.
//! 3. In `NodeState::Parked` is the waker of the child's own row among the members. The child leaves that row after its ending
//!    is stored, and `NodeState::Parked` ends with the store.

use super::gate::{ChildWaker, Core, Gate};
use super::side::{Ending, HandleSide, Posted};
use crate::reason::Reason;
use crate::region::{ChildId, Node, ambient, ambient::NodeStore};
use crate::scope::{request, requested, resume_panic};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, next_number};
use crate::wakers::{Seat, wake_all, wake_all_of};
use std::panic::Location;
use std::task::{Context, Poll, Waker};

pub(crate) struct Slot<T> {
    pub(super) child_id: ChildId,
    /// Set when the child is cancelled before it has a node, so that its polls can check it without the
    /// lock.
    cancelled: AtomicBool,
    /// Set when the child is pending without a node for the first time. Only the child's polls use it.
    parked: AtomicBool,
    inside: Mutex<Inside<T>>,
}

struct Inside<T> {
    state: NodeState,
    /// `None` until the child has left, and after its handle has taken it.
    ending: Option<Ending<T>>,
    waiting: Option<Waker>,
}

/// A child has no node until one is needed.
enum NodeState {
    None,
    /// Sent to an executor, and not polled yet: with the gate of its group.
    Sent(Arc<Core>),
    /// Pending without a node. A request wakes the child.
    Parked(ChildWaker),
    /// Cancelled before it had a node. The number gives the time of the request.
    Cancelled(Box<(Reason, u64)>),
    Node(Arc<Node>),
}

impl NodeState {
    fn node(&self) -> Option<&Arc<Node>> {
        if let NodeState::Node(node) = self { Some(node) } else { None }
    }
}

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Self> {
        Slot::of(NodeState::None)
    }

    /// For an executor child, of the group with this gate.
    pub(super) fn sent(gate: &Arc<Core>) -> Arc<Self> {
        Slot::of(NodeState::Sent(Arc::clone(gate)))
    }

    fn of(state: NodeState) -> Arc<Self> {
        let inside = Inside { state, ending: None, waiting: None };
        Arc::new(Slot {
            child_id: ChildId::new(),
            cancelled: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            inside: Mutex::new(inside),
        })
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.inside.lock().state.node().cloned()
    }

    /// Whether no request can reach the child any more, and none has: then it may be pending without a node.
    fn is_let_go(self: &Arc<Self>) -> bool {
        // The handle may have made a request before it was dropped. Both sides change the word `cancelled`, so changes
        // are ordered: either this read sees the request, or it came first, and then the handle still counted as a
        // reference.
        Arc::strong_count(self) == 1 && !self.cancelled.fetch_or(false, Ordering::AcqRel)
    }

    /// Stores the child's node, which gets the request that came before; a later one goes to the node (invariant 1).
    pub(super) fn store_node(&self, node: &Arc<Node>) {
        let before = {
            let mut inside = self.inside.lock();
            std::mem::replace(&mut inside.state, NodeState::Node(Arc::clone(node)))
        };
        if let NodeState::Cancelled(request) = before {
            ChildId::pass_request(node, *request);
        }
    }

    /// Cancels the child, which may have no node yet.
    pub(super) fn cancel(&self, at: &'static Location<'static>) {
        // The child may be polled on this very thread. Then the request goes to the node that
        // its poll makes or has made.
        let node = self.node().or_else(|| ambient::node_of(self.child_id.id()));
        if let Some(node) = node {
            return request(&node, None, at);
        }
        if let Some(gate) = self.gate() {
            gate.ask_clock();
        }
        let reason = requested(None, at);
        let (node, before) = {
            let mut inside = self.inside.lock();
            match &inside.state {
                NodeState::None | NodeState::Sent(_) | NodeState::Parked(_)
                    if inside.ending.is_none() =>
                {
                    self.cancelled.swap(true, Ordering::AcqRel);
                    if let NodeState::Parked(seat) = &inside.state {
                        // Under the lock, because the row may be another child's after the ending is stored
                        // (invariant 3).
                        seat.ask();
                    }
                    let cancelled = NodeState::Cancelled(Box::new((reason, next_number())));
                    (None, std::mem::replace(&mut inside.state, cancelled))
                }
                state => (state.node().cloned(), NodeState::None),
            }
        };
        if let NodeState::Parked(seat) = before {
            resume_panic(wake_all_of(Some(Waker::from(seat))));
        }
        if let Some(node) = node {
            request(&node, None, at);
        }
    }

    /// The gate of the child's group, while the child has no node. An in-task child that was not polled yet does not know
    /// it, because it is ready at its first poll more often than not.
    fn gate(&self) -> Option<Arc<Core>> {
        match &self.inside.lock().state {
            NodeState::Sent(gate) => Some(Arc::clone(gate)),
            NodeState::Parked(seat) => Some(Arc::clone(seat.ready())),
            NodeState::None | NodeState::Cancelled(_) | NodeState::Node(_) => None,
        }
    }

    pub(super) fn is_filled(&self) -> bool {
        self.inside.lock().ending.is_some()
    }

    /// Ready when the child has left, once.
    pub(super) fn poll(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Ending<T>> {
        // A child that is gone has stored its ending under the lock before, so its handle needs no waker.
        let waker = (Arc::strong_count(self) > 1).then(|| cx.waker().clone());
        let (ending, old) = {
            let mut inside = self.inside.lock();
            match inside.ending.take() {
                None => (None, std::mem::replace(&mut inside.waiting, waker)),
                ending => (ending, waker),
            }
        };
        drop(old);
        ending.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> HandleSide<T> for Arc<Slot<T>> {
    #[inline]
    fn child_id(&self) -> &ChildId {
        &self.child_id
    }

    #[inline]
    fn is_untouched(&self) -> bool {
        !self.cancelled.load(Ordering::Acquire)
    }

    fn store_node(&self, node: &Arc<Node>) {
        Slot::store_node(self, node);
    }

    fn park(&self, seat: &Seat<'_, Gate>) -> bool {
        // A request that came since the child was parked has woken it: the next poll finds the request.
        if self.parked.load(Ordering::Relaxed) || self.is_let_go() {
            return true;
        }
        let mut inside = self.inside.lock();
        if !matches!(inside.state, NodeState::None) {
            return false;
        }
        inside.state = NodeState::Parked(seat.keep());
        self.parked.store(true, Ordering::Relaxed);
        true
    }

    #[inline]
    fn has_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed) && Arc::strong_count(self) > 1
    }

    #[inline(always)]
    fn fill(&self, ending: Ending<T>) {
        if Arc::strong_count(self) == 1 {
            // The handle is gone, and no new one can be made.
            return;
        }
        let (waiting, state) = {
            let mut inside = self.inside.lock();
            inside.ending = Some(ending);
            (inside.waiting.take(), std::mem::replace(&mut inside.state, NodeState::None))
        };
        self.child_id.give_up_live_entry();
        drop(state);
        wake_all(waiting);
    }
}

impl<T: Send + 'static> Posted for Arc<Slot<T>> {
    #[inline]
    fn node_store(&self) -> Option<Arc<dyn NodeStore>> {
        Some(Arc::clone(self) as _)
    }
}

impl<T> NodeStore for Slot<T> {
    fn make_node(&self, group: &Arc<Node>, at: &'static Location<'static>) -> Arc<Node> {
        let node = self.child_id.node(group, at, true, None);
        self.store_node(&node);
        node
    }
}
