//! How a cancellation is asked for, kept, and told (R3, R6, R7, R9, R10).

use super::{CANCELLED, DEADLINE, INHERITED, Kind, LEFT, LINKED, Node, REWAKE, SHELTERED};
use crate::reason::{Reason, ReasonKind};
use crate::sync::{Arc, Weak};
use crate::wakers::wake_all;
use std::task::Waker;
use std::time::Instant;

impl Node {
    /// Cancels this region for `reason`, unless it is cancelled already or was left. Reaches what is
    /// linked below it in a loop, not by recursion (R14).
    pub(crate) fn cancel(&self, reason: Reason) -> bool {
        let mut wakers = Vec::new();
        let mut below = Vec::new();
        if !self.mark(reason, CANCELLED, &mut wakers, &mut below) {
            return false;
        }
        Node::spread(&mut wakers, below);
        wake_all(wakers);
        true
    }

    pub(super) fn spread(wakers: &mut Vec<Waker>, mut below: Vec<(Weak<Node>, Reason)>) {
        while let Some((node, reason)) = below.pop() {
            if let Some(node) = node.upgrade() {
                node.mark(reason, node.inherits_as(), wakers, &mut below);
            }
        }
    }

    /// A child task is cancelled by its group itself; anything else is dropped with what is around it.
    pub(super) fn inherits_as(&self) -> u32 {
        if self.kind == Kind::Child { CANCELLED } else { INHERITED }
    }

    pub(super) fn mark(
        &self,
        reason: Reason,
        bit: u32,
        wakers: &mut Vec<Waker>,
        below: &mut Vec<(Weak<Node>, Reason)>,
    ) -> bool {
        let mut inner = self.inner.lock();
        if self.has(LEFT | bit) {
            return false;
        }
        let told_before = self.has(CANCELLED | INHERITED);
        if !told_before {
            wakers.extend(inner.waiters.take());
            let links = inner.links.iter();
            below.extend(links.map(|(_, node)| (Weak::clone(node), reason.seen_below())));
        }
        if bit == CANCELLED {
            inner.reason = Some(reason);
            if let Some(waker) = inner.waker.take() {
                self.raise(REWAKE);
                wakers.push(waker);
            }
        } else {
            inner.inherited = Some(reason);
        }
        self.raise(bit);
        true
    }

    /// Whether this region itself was cancelled.
    pub(crate) fn is_cancelled_itself(&self) -> bool {
        self.has(CANCELLED)
    }

    /// This region's own reason, else the one of the nearest cancelled region around it, as seen from
    /// here.
    pub(crate) fn effective_reason(&self) -> Option<Reason> {
        {
            let inner = self.inner.lock();
            if let Some(reason) = inner.reason.as_ref().or(inner.inherited.as_ref()) {
                return Some(reason.clone());
            }
        }
        if self.has(SHELTERED | LEFT) {
            return None;
        }
        let mut at = self.live_parent();
        while let Some(node) = at {
            if let Some(reason) = &node.inner.lock().reason {
                return Some(reason.seen_as(ReasonKind::Parent));
            }
            if node.has(SHELTERED) {
                return None;
            }
            at = node.live_parent();
        }
        None
    }

    /// Whether this region or one around it, up to a shield, is cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.has(CANCELLED | INHERITED) || self.effective_reason().is_some()
    }

    /// Registers a waiter, or returns `true` where the region is cancelled. The flag is looked at again
    /// under the lock: one that is set between the look and the insert would be missed otherwise.
    pub(crate) fn wait_cancelled(&self, key: &mut Option<usize>, waker: &Waker) -> bool {
        if self.has(CANCELLED | INHERITED) {
            return true;
        }
        let waker = waker.clone();
        let old = {
            let mut inner = self.inner.lock();
            if self.has(CANCELLED | INHERITED) {
                return true;
            }
            inner.waiters.register(key, waker)
        };
        drop(old);
        false
    }

    pub(crate) fn forget_waiter(&self, key: usize) {
        let old = {
            let mut inner = self.inner.lock();
            // Once cancelled the slots were emptied, and the key means nothing.
            if self.has(CANCELLED | INHERITED) { None } else { inner.waiters.remove(key) }
        };
        drop(old);
    }

    pub(crate) fn set_deadline(&self, at: Instant) {
        let waker = {
            let mut inner = self.inner.lock();
            inner.deadline = Some(at);
            self.raise(DEADLINE | REWAKE);
            inner.waker.take()
        };
        wake_all(waker);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.inner.lock().deadline
    }

    /// Makes every cancellation around this region reach it, so that one can wait for it (invariant 5).
    pub(crate) fn link_up(self: &Arc<Self>) {
        let mut node = Arc::clone(self);
        while !node.has(LINKED | SHELTERED | LEFT) {
            let Some(parent) = node.live_parent() else { return };
            parent.link(&node);
            node = parent;
        }
    }

    pub(super) fn link(self: &Arc<Self>, child: &Arc<Node>) {
        let (key, reason) = {
            let mut inner = self.inner.lock();
            // A group that was abandoned has a reason for the child that slipped in, and no use for a link.
            let key = (!self.has(LEFT)).then(|| inner.links.insert(Arc::downgrade(child)));
            (key, inner.reason.clone().or_else(|| inner.inherited.clone()))
        };
        if let Some(key) = key {
            let second = {
                let mut inner = child.inner.lock();
                // Two threads may ask for the same link at once: one of them takes its own back.
                let second = child.has(LINKED | LEFT);
                if !second {
                    inner.link = Some((Arc::downgrade(self), key));
                    child.raise(LINKED);
                }
                second
            };
            if second {
                self.inner.lock().links.try_remove(key);
                return;
            }
        }
        if let Some(reason) = reason {
            let mut wakers = Vec::new();
            Node::spread(&mut wakers, vec![(Arc::downgrade(child), reason.seen_below())]);
            wake_all(wakers);
        }
    }

    /// Takes a region that was left out of its parent, and gives what was linked below it to the nearest
    /// live ancestor.
    pub(super) fn unlink(self: &Arc<Self>) {
        // What is not linked has nothing above it that could be told.
        if !self.has(LINKED) {
            return;
        }
        let (link, links) = {
            let mut inner = self.inner.lock();
            (inner.link.take(), std::mem::take(&mut inner.links))
        };
        if let Some((parent, key)) = link {
            if let Some(parent) = parent.upgrade() {
                parent.inner.lock().links.try_remove(key);
            }
        }
        if links.is_empty() {
            return;
        }
        let Some(parent) = self.live_parent() else { return };
        for child in links.into_iter().filter_map(|(_, child)| child.upgrade()) {
            child.inner.lock().link = None;
            child.lower(LINKED);
            parent.link(&child);
        }
        parent.link_up();
    }
}
