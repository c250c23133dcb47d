//! What a child and its handle share: the child's region, and its result.

use crate::failure::ChildError;
use crate::reason::{Reason, ReasonKind};
use crate::region::{Newborn, Node, ambient, current_task};
use crate::scope::request;
use crate::sync::{Arc, Mutex};
use std::panic::Location;
use std::task::{Context, Poll, Waker};

pub(super) struct Slot<T> {
    pub(super) newborn: Newborn,
    inside: Mutex<Inside<T>>,
}

struct Inside<T> {
    region: Region,
    result: Option<Result<T, ChildError>>,
    filled: bool,
    waiting: Option<Waker>,
}

/// A child has no node until something needs one: it is pending, or asked for.
enum Region {
    None,
    /// Cancelled before it had a node, which will be told.
    Cancelled(Reason),
    Node(Arc<Node>),
}

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Self> {
        let inside = Inside { region: Region::None, result: None, filled: false, waiting: None };
        Arc::new(Slot { newborn: Newborn::new(), inside: Mutex::new(inside) })
    }

    pub(super) fn node(&self) -> Option<Arc<Node>> {
        match &self.inside.lock().region {
            Region::Node(node) => Some(Arc::clone(node)),
            Region::None | Region::Cancelled(_) => None,
        }
    }

    /// Whether nothing has been asked of the child, and nothing was told it.
    pub(super) fn is_untouched(&self) -> bool {
        matches!(self.inside.lock().region, Region::None)
    }

    /// Puts the child's node here: whoever asks for something from now on asks the node.
    pub(super) fn settle(&self, node: &Arc<Node>) {
        let before = {
            let mut inside = self.inside.lock();
            std::mem::replace(&mut inside.region, Region::Node(Arc::clone(node)))
        };
        if let Region::Cancelled(reason) = before {
            drop(node.cancel(reason));
        }
    }

    /// Cancels the child, which may have no node yet.
    pub(super) fn cancel(&self, at: &'static Location<'static>) {
        // It may be in its first poll on this very thread: then it hears of it at once.
        let node = self.node().or_else(|| ambient::node_of(self.newborn.id()));
        if let Some(node) = node {
            return request(&node, None, at);
        }
        let reason = Reason::new(ReasonKind::Requested, None, current_task(), Some(at));
        let settled = {
            let mut inside = self.inside.lock();
            match &inside.region {
                Region::Node(node) => Some(Arc::clone(node)),
                Region::None if !inside.filled => {
                    inside.region = Region::Cancelled(reason);
                    None
                }
                Region::None | Region::Cancelled(_) => None,
            }
        };
        if let Some(node) = settled {
            request(&node, None, at);
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
        crate::wakers::wake_all(waiting);
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
