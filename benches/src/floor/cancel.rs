//! A cancellation that reaches waiters and regions below. The first waiter of a region stands in the region.

use parking_lot::Mutex;
use slab::Slab;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

/// A region that others reach: a flag, its waiters, and the regions that were entered inside it.
#[derive(Debug, Default)]
pub struct Node {
    is_set: AtomicBool,
    inside: Mutex<Inside>,
    /// Where it stands in the list of its parent.
    link: Option<(Arc<Node>, usize)>,
}

#[derive(Debug, Default)]
struct Inside {
    first: Option<Waker>,
    rest: Option<Box<Slab<Waker>>>,
    children: Slab<Weak<Node>>,
}

impl Node {
    /// A region inside `parent`, which finds it until it is dropped (R19).
    pub fn child(parent: &Arc<Node>) -> Arc<Node> {
        Arc::new_cyclic(|me| {
            let at = parent.inside.lock().children.insert(Weak::clone(me));
            let mut node = Node::default();
            node.link = Some((Arc::clone(parent), at));
            node
        })
    }

    /// Registers a waiter.
    #[inline]
    pub fn register(&self, waker: &Waker) -> usize {
        let waker = waker.clone();
        let mut inside = self.inside.lock();
        if inside.first.is_none() {
            inside.first = Some(waker);
            return 0;
        }
        1 + inside.rest.get_or_insert_default().insert(waker)
    }

    /// Whether it was cancelled: asked after registering, or a wake-up is lost.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Gives a waiter's place back.
    #[inline]
    pub fn forget(&self, key: usize) {
        let mut inside = self.inside.lock();
        let waker = match key.checked_sub(1) {
            None => inside.first.take(),
            Some(key) => inside.rest.as_mut().and_then(|rest| rest.try_remove(key)),
        };
        drop(inside);
        drop(waker);
    }

    /// Sets the flag here and everywhere below, in one walk, without recursion (R14), and wakes outside every lock
    /// (R18), after each 64 wakers, while they are in the cache.
    pub fn cancel(self: &Arc<Self>) {
        let (mut left, mut wakers) = (vec![Arc::clone(self)], Vec::with_capacity(64));
        while let Some(node) = left.pop() {
            let mut inside = node.inside.lock();
            node.is_set.store(true, Ordering::Release);
            wakers.extend(inside.first.take());
            let rest = inside.rest.take();
            left.extend(inside.children.iter().filter_map(|(_, child)| child.upgrade()));
            drop(inside);
            if let Some(rest) = rest {
                wake_all(&mut rest.into_iter().map(|(_, waker)| waker));
            }
            if wakers.len() >= 64 {
                wake_all(&mut wakers.drain(..));
            }
        }
        wake_all(&mut wakers.drain(..));
    }
}

/// A waker that panics does not starve the others (R18).
fn wake_all(wakers: &mut dyn Iterator<Item = Waker>) {
    let mut is_done = false;
    while !is_done {
        drop(catch_unwind(AssertUnwindSafe(|| {
            wakers.for_each(Waker::wake);
            is_done = true;
        })));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some((parent, at)) = self.link.take() {
            let gone = parent.inside.lock().children.try_remove(at);
            drop(gone);
        }
    }
}
