//! The state that a child and its handle share: the child's region, and its result.
//!
//! # Invariants
//!
//! 1. A request through the handle is in `region` until the child has its node, and goes to the node from then on. Both
//!    change `region` under the lock, so no request is lost in between.
//! 2. The result is stored before the group counts the child out (R16), and is taken once.
//! 3. In `Region::Parked` is the waker of the child's own row among the members. The child leaves that row after its result
//!    is stored, and `Region::Parked` ends with the store.

use super::gate::{ChildWaker, Core};
use super::side::{HandleSide, Posted, Seated};
use super::unseen::Unseen;
use crate::failure::ChildError;
use crate::identity::TaskId;
use crate::reason::Reason;
use crate::region::{Newborn, Node, ambient, ambient::Home};
use crate::scope::{request, requested, resume_panic};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, next_number};
use crate::wakers::{wake_all, wake_all_of};
use std::panic::Location;
use std::task::{Context, Poll, Waker};

pub(crate) struct Slot<T> {
    pub(super) newborn: Newborn,
    /// Set when the child is cancelled before it has a node, so that its polls can check it without the
    /// lock.
    cancelled: AtomicBool,
    /// Set when the child is pending without a node for the first time. Only the child's polls use it.
    parked: AtomicBool,
    /// Set when the handle is that of a `Start`, which does not return the child's panic.
    started: AtomicBool,
    inside: Mutex<Inside<T>>,
}

struct Inside<T> {
    region: Region,
    result: Outcome<T>,
    waiting: Option<Waker>,
}

/// The child's result. A slot is no larger than it has to be, because small boxes are fast boxes: glibc's allocator keeps
/// fast bins for small ones.
enum Outcome<T> {
    /// The child has not left.
    None,
    Value(T),
    /// The slot knows the id that the error names.
    Failed,
    Cancelled(Reason),
    /// With the panic if the group isolates panics: a handle that is dropped without a look at it leaves it to the group.
    Panicked(Option<Box<Unseen>>),
    /// The handle has it.
    Taken,
}

/// A child has no node until one is needed.
enum Region {
    None,
    /// Sent to an executor, and not polled yet: with the gate of its group.
    Sent(Arc<Core>),
    /// Pending without a node. A request wakes the child.
    Parked(Arc<ChildWaker>),
    /// Cancelled before it had a node. The number gives the time of the request.
    Cancelled(Box<(Reason, u64)>),
    Node(Arc<Node>),
    Named(Box<Named>),
}

/// A child with a name, which has a node from the start.
struct Named {
    /// `None` once it has ended.
    node: Option<Arc<Node>>,
    name: Arc<str>,
}

impl Region {
    fn node(&self) -> Option<&Arc<Node>> {
        match self {
            Region::Node(node) => Some(node),
            Region::Named(named) => named.node.as_ref(),
            Region::None | Region::Sent(_) | Region::Parked(_) | Region::Cancelled(_) => None,
        }
    }
}

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Self> {
        Slot::of(Region::None)
    }

    /// For an executor child, of the group with this gate.
    pub(super) fn sent(gate: &Arc<Core>) -> Arc<Self> {
        Slot::of(Region::Sent(Arc::clone(gate)))
    }

    fn of(region: Region) -> Arc<Self> {
        let inside = Inside { region, result: Outcome::None, waiting: None };
        Arc::new(Slot {
            newborn: Newborn::new(),
            cancelled: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            started: AtomicBool::new(false),
            inside: Mutex::new(inside),
        })
    }

    /// The handle does not return the child's panic, which therefore goes to the group.
    pub(super) fn leave_panic_to_group(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    pub(super) fn node(&self) -> Option<Arc<Node>> {
        self.inside.lock().region.node().cloned()
    }

    /// The child's identity, with its name.
    pub(super) fn task_id(&self) -> TaskId {
        let name = match &self.inside.lock().region {
            Region::Named(named) => Some(Arc::clone(&named.name)),
            _ => None,
        };
        TaskId::moored(self.newborn.task(), name)
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
            std::mem::replace(&mut inside.region, Region::Node(Arc::clone(node)))
        };
        if let Region::Cancelled(asked) = before {
            Newborn::ask(node, *asked);
        }
    }

    /// Cancels the child, which may have no node yet.
    pub(super) fn cancel(&self, at: &'static Location<'static>) {
        // The child may be polled on this very thread. Then the request goes to the node that
        // its poll makes or has made.
        let node = self.node().or_else(|| ambient::node_of(self.newborn.id()));
        if let Some(node) = node {
            return request(&node, None, at);
        }
        if let Some(gate) = self.gate() {
            gate.look_at_clock();
        }
        let reason = requested(None, at);
        let (node, before) = {
            let mut inside = self.inside.lock();
            match &inside.region {
                Region::None | Region::Sent(_) | Region::Parked(_)
                    if matches!(inside.result, Outcome::None) =>
                {
                    self.cancelled.swap(true, Ordering::AcqRel);
                    if let Region::Parked(seat) = &inside.region {
                        // Under the lock, because the row may be another child's after the result is stored
                        // (invariant 3).
                        seat.ask();
                    }
                    let cancelled = Region::Cancelled(Box::new((reason, next_number())));
                    (None, std::mem::replace(&mut inside.region, cancelled))
                }
                region => (region.node().cloned(), Region::None),
            }
        };
        if let Region::Parked(seat) = before {
            resume_panic(wake_all_of(Some(Waker::from(seat))));
        }
        if let Some(node) = node {
            request(&node, None, at);
        }
    }

    /// The gate of the child's group, while the child has no node. An in-task child that was not polled yet does not know
    /// it, because it is ready at its first poll more often than not.
    fn gate(&self) -> Option<Arc<Core>> {
        match &self.inside.lock().region {
            Region::Sent(gate) => Some(Arc::clone(gate)),
            Region::Parked(seat) => Some(Arc::clone(seat.ready())),
            Region::None | Region::Cancelled(_) | Region::Node(_) | Region::Named(_) => None,
        }
    }

    pub(super) fn is_filled(&self) -> bool {
        !matches!(self.inside.lock().result, Outcome::None)
    }

    /// Ready with the result, once.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<T, ChildError>> {
        let waker = cx.waker().clone();
        let (result, old) = {
            let mut inside = self.inside.lock();
            match std::mem::replace(&mut inside.result, Outcome::Taken) {
                left @ (Outcome::None | Outcome::Taken) => {
                    inside.result = left;
                    (None, inside.waiting.replace(waker))
                }
                result => (Some(result), Some(waker)),
            }
        };
        drop(old);
        Poll::Ready(match result {
            Some(Outcome::Value(value)) => Ok(value),
            Some(Outcome::Failed) => Err(ChildError::Failed(self.task_id())),
            Some(Outcome::Cancelled(reason)) => Err(ChildError::Cancelled(reason)),
            Some(Outcome::Panicked(isolated)) => {
                if let Some(isolated) = isolated {
                    isolated.show();
                }
                Err(ChildError::Panicked)
            }
            Some(Outcome::None | Outcome::Taken) | None => return Poll::Pending,
        })
    }
}

impl<T> HandleSide<T> for Arc<Slot<T>> {
    #[inline]
    fn newborn(&self) -> &Newborn {
        &self.newborn
    }

    #[inline]
    fn is_untouched(&self) -> bool {
        !self.cancelled.load(Ordering::Acquire)
    }

    fn store_node(&self, node: &Arc<Node>) {
        Slot::store_node(self, node);
    }

    fn store_named_node(&self, node: &Arc<Node>, name: &Arc<str>) {
        let named = Named { node: Some(Arc::clone(node)), name: Arc::clone(name) };
        self.inside.lock().region = Region::Named(Box::new(named));
    }

    #[inline(always)]
    fn fill(&self, result: Result<T, ChildError>) {
        if self.has_no_handle() {
            return;
        }
        self.store(match result {
            Ok(value) => Outcome::Value(value),
            Err(ChildError::Failed(_)) => Outcome::Failed,
            Err(ChildError::Cancelled(reason)) => Outcome::Cancelled(reason),
            Err(ChildError::Panicked) => Outcome::Panicked(None),
        });
    }

    fn fill_panic(&self, isolated: Option<Unseen>) {
        if self.has_no_handle() {
            return;
        }
        let shown = isolated.filter(|_| !self.started.load(Ordering::Relaxed));
        self.store(Outcome::Panicked(shown.map(Box::new)));
    }
}

impl<T> Slot<T> {
    /// Whether the handle is gone: no new one can be made, so the result is not needed.
    #[inline]
    fn has_no_handle(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }

    #[inline(always)]
    fn store(&self, result: Outcome<T>) {
        let (waiting, region) = {
            let mut inside = self.inside.lock();
            inside.result = result;
            let region = match &mut inside.region {
                Region::Named(named) => named.node.take().map_or(Region::None, Region::Node),
                region => std::mem::replace(region, Region::None),
            };
            (inside.waiting.take(), region)
        };
        self.newborn.give_up_live_entry();
        drop(region);
        wake_all(waiting);
    }
}

impl<T> Seated for Arc<Slot<T>> {
    fn park(&self, seat: &Arc<ChildWaker>) -> bool {
        // A request that came since the child was parked has woken it: the next poll finds the request.
        if self.parked.load(Ordering::Relaxed) || self.is_let_go() {
            return true;
        }
        let mut inside = self.inside.lock();
        if !matches!(inside.region, Region::None) {
            return false;
        }
        inside.region = Region::Parked(Arc::clone(seat));
        self.parked.store(true, Ordering::Relaxed);
        true
    }

    #[inline]
    fn has_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed) && Arc::strong_count(self) > 1
    }
}

impl<T: Send + 'static> Posted for Arc<Slot<T>> {
    #[inline]
    fn home(&self) -> Option<Arc<dyn Home>> {
        Some(Arc::clone(self) as _)
    }
}

impl<T> Home for Slot<T> {
    fn make_node(&self, group: &Arc<Node>, at: &'static Location<'static>) -> Arc<Node> {
        let node = self.newborn.node(group, at, true, None);
        self.store_node(&node);
        node
    }
}
