//! What a child and its handle share: the child's region, and its result.

use crate::failure::ChildError;
use crate::reason::{Reason, ReasonKind};
use crate::region::{Newborn, Node, ambient, current_task};
use crate::scope::{go_on, request};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::wakers::wake_all;
use std::panic::Location;
use std::task::{Context, Poll, Waker};

pub(super) struct Slot<T> {
    pub(super) newborn: Newborn,
    /// Raised when the child is cancelled before it has a node: what its polls look at without the lock.
    cancelled: AtomicBool,
    inside: Mutex<Inside<T>>,
}

struct Inside<T> {
    region: Region,
    result: Option<Result<T, ChildError>>,
    filled: bool,
    waiting: Option<Waker>,
}

/// A child has no node until something needs one.
enum Region {
    None,
    /// It is pending without one, and is to be woken where something is asked of it.
    Pending(Waker),
    /// Cancelled before it had a node, which will be told.
    Cancelled(Reason),
    Node(Arc<Node>),
}

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Self> {
        let inside = Inside { region: Region::None, result: None, filled: false, waiting: None };
        let cancelled = AtomicBool::new(false);
        Arc::new(Slot { newborn: Newborn::new(), cancelled, inside: Mutex::new(inside) })
    }

    pub(super) fn node(&self) -> Option<Arc<Node>> {
        match &self.inside.lock().region {
            Region::Node(node) => Some(Arc::clone(node)),
            _ => None,
        }
    }

    /// Whether nothing was asked of the child before it had a node.
    #[inline]
    pub(super) fn is_untouched(&self) -> bool {
        !self.cancelled.load(Ordering::Acquire)
    }

    /// Lets the child be pending without a node: `waker` is woken where something is asked of it. `false` where that
    /// has been done.
    pub(super) fn watch(self: &Arc<Self>, waker: &Waker) -> bool {
        if Arc::strong_count(self) == 1 {
            // The handle is gone: nobody can ask any more, but somebody may have. Two who change one word: either this
            // finds it, or it came first, and then the handle was still there to be counted.
            return !self.cancelled.fetch_or(false, Ordering::AcqRel);
        }
        let pending = Region::Pending(waker.clone());
        let (untouched, old) = {
            let mut inside = self.inside.lock();
            match &mut inside.region {
                region @ (Region::None | Region::Pending(_)) => {
                    (true, std::mem::replace(region, pending))
                }
                _ => (false, pending),
            }
        };
        drop(old);
        untouched
    }

    /// Puts the child's node here: whoever asks for something from now on asks the node.
    pub(super) fn settle(&self, node: &Arc<Node>) {
        let before = {
            let mut inside = self.inside.lock();
            std::mem::replace(&mut inside.region, Region::Node(Arc::clone(node)))
        };
        match before {
            Region::Cancelled(reason) => drop(node.cancel(reason)),
            before => drop(before),
        }
    }

    /// Cancels the child, which may have no node yet.
    pub(super) fn cancel(&self, at: &'static Location<'static>) {
        // It may be polled on this very thread: then it hears of it at once.
        let node = self.node().or_else(|| ambient::node_of(self.newborn.id()));
        if let Some(node) = node {
            return request(&node, None, at);
        }
        let reason = Reason::new(ReasonKind::Requested, None, current_task(), Some(at));
        let before = {
            let mut inside = self.inside.lock();
            match &inside.region {
                Region::Node(node) => Region::Node(Arc::clone(node)),
                Region::None | Region::Pending(_) if !inside.filled => {
                    self.cancelled.swap(true, Ordering::AcqRel);
                    std::mem::replace(&mut inside.region, Region::Cancelled(reason))
                }
                _ => Region::None,
            }
        };
        match before {
            Region::Node(node) => request(&node, None, at),
            Region::Pending(waker) => go_on(wake_all([waker])),
            Region::None | Region::Cancelled(_) => {}
        }
    }

    pub(super) fn is_filled(&self) -> bool {
        self.inside.lock().filled
    }

    pub(super) fn fill(self: &Arc<Self>, result: Result<T, ChildError>) {
        // Nobody else holds the slot once the handle is gone, and nobody can get it again.
        if Arc::strong_count(self) == 1 {
            return;
        }
        let (waiting, region) = {
            let mut inside = self.inside.lock();
            inside.result = Some(result);
            inside.filled = true;
            (inside.waiting.take(), std::mem::replace(&mut inside.region, Region::None))
        };
        drop(region);
        wake_all(waiting);
    }

    /// Ready with the result, once.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<T, ChildError>> {
        let waker = cx.waker().clone();
        let (result, old) = {
            let mut inside = self.inside.lock();
            match inside.result.take() {
                Some(result) => (Some(result), Some(waker)),
                None => (None, inside.waiting.replace(waker)),
            }
        };
        drop(old);
        result.map_or(Poll::Pending, Poll::Ready)
    }
}
