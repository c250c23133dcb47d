//! How a cancellation is asked for, kept, and told (R3, R6, R7, R9, R10).

use super::{
    CANCELLED, DEADLINE, ENTERED, Kind, LEFT, LINKED, Node, REWAKE, SHELTERED, SHIELD, STOP,
};
use crate::reason::{Reason, ReasonKind};
use crate::sync::{Arc, Weak};
use crate::unwind::Payload;
use crate::wakers::wake_all;
use std::task::Waker;
use std::time::Instant;

/// What travels down the links when a region is cancelled.
#[derive(Clone)]
enum Signal {
    /// The region itself is cancelled.
    Cancel(Reason),
    /// The region itself is asked to wind down.
    Stop(Reason),
    /// Something around it was told so: whoever waits looks again, and a shield has to be polled to hold.
    Look,
}

type Told = (Weak<Node>, Signal);

impl Node {
    /// Cancels this region for `reason`, unless it is cancelled already or was left. Reaches what is
    /// linked below it in a loop, not by recursion (R14).
    ///
    /// Returns the first panic of a waker, for whoever asked for the cancellation.
    pub(crate) fn cancel(&self, reason: Reason) -> Option<Payload> {
        let (mut own, mut below) = (Vec::new(), Vec::new());
        self.hear(Signal::Cancel(reason.clone()), &mut own, &mut below);
        self.tell_cancelled(&reason);
        Node::tell(own, below)
    }

    /// Cancels the children, those that are still to come as well, but not the region itself.
    pub(crate) fn cancel_below(&self, reason: Reason) {
        let below = {
            let mut inner = self.inner.lock();
            let signal = Signal::Cancel(reason.clone());
            let below = inner.links.iter().map(|(_, node)| (Weak::clone(node), signal.clone()));
            let below = below.collect();
            inner.below.get_or_insert(reason);
            below
        };
        Node::tell(Vec::new(), below);
    }

    /// Wakes `own`, after everything below has been told and woken: a shield has been woken when what is
    /// around it is polled (R12).
    fn tell(own: Vec<Waker>, mut below: Vec<Told>) -> Option<Payload> {
        let mut wakers = Vec::new();
        while let Some((node, signal)) = below.pop() {
            if let Some(node) = node.upgrade() {
                let signal = node.takes(signal);
                node.hear(signal, &mut wakers, &mut below);
            }
        }
        wake_all(wakers.into_iter().chain(own))
    }

    /// A child is cancelled with its group, a stay with its scope and as it; anything else is dropped with
    /// what is around it, or survives it, and only looks.
    fn takes(&self, signal: Signal) -> Signal {
        match (self.kind, signal) {
            (Kind::Child, Signal::Cancel(reason)) => Signal::Cancel(reason.seen_below()),
            (Kind::Stay, Signal::Cancel(reason)) => Signal::Cancel(reason),
            (Kind::Child | Kind::Stay, Signal::Stop(reason)) => Signal::Stop(reason),
            _ => Signal::Look,
        }
    }

    fn hear(&self, signal: Signal, wakers: &mut Vec<Waker>, below: &mut Vec<Told>) {
        let mut inner = self.inner.lock();
        let wakes_run = match &signal {
            Signal::Cancel(_) if self.has(LEFT | CANCELLED) => return,
            Signal::Stop(_) if self.has(LEFT | STOP) => return,
            Signal::Cancel(reason) => {
                inner.reason = Some(reason.clone());
                self.raise(CANCELLED);
                true
            }
            Signal::Stop(reason) => {
                inner.stop = Some(reason.clone());
                self.raise(STOP);
                // The run has to see that its grace begins.
                inner.grace.is_some()
            }
            Signal::Look => self.has(SHIELD),
        };
        inner.waiters.take_into(wakers);
        inner.stop_waiters.take_into(wakers);
        if wakes_run {
            if let Some(waker) = inner.waker.take() {
                self.raise(REWAKE);
                wakers.push(waker);
            }
        }
        below.extend(inner.links.iter().map(|(_, node)| (Weak::clone(node), signal.clone())));
    }

    /// Wakes every shield below that has a run; `false` where there is none.
    pub(super) fn wake_shields_below(self: &Arc<Self>) -> bool {
        let mut wakers = Vec::new();
        let mut below = vec![Arc::downgrade(self)];
        while let Some(node) = below.pop() {
            let Some(node) = node.upgrade() else { continue };
            let mut inner = node.inner.lock();
            below.extend(inner.links.iter().map(|(_, node)| Weak::clone(node)));
            if node.has(SHIELD) && !Arc::ptr_eq(&node, self) {
                if let Some(waker) = inner.waker.take() {
                    node.raise(REWAKE);
                    wakers.push(waker);
                }
            }
        }
        let any = !wakers.is_empty();
        wake_all(wakers);
        any
    }

    /// Tells whoever waits here or below to look again, where a link came after the cancellation.
    fn look(self: &Arc<Self>) {
        if self.is_stopped() || self.effective_reason().is_some() {
            Node::tell(Vec::new(), vec![(Arc::downgrade(self), Signal::Look)]);
        }
    }

    /// Asks this region and everything inside it to wind down (R13).
    pub(crate) fn stop(&self, reason: Reason) -> Option<Payload> {
        let (mut own, mut below) = (Vec::new(), Vec::new());
        self.hear(Signal::Stop(reason), &mut own, &mut below);
        Node::tell(own, below)
    }

    pub(super) fn stop_reason(&self) -> Option<Reason> {
        self.inner.lock().stop.clone()
    }

    /// Whether this region or one around it, through shields too, was asked to wind down.
    pub(crate) fn is_stopped(&self) -> bool {
        if self.has(STOP) {
            return true;
        }
        let mut last = self.has(SHELTERED | LEFT);
        let mut at = self.live_parent();
        while let (Some(node), false) = (at, last) {
            if node.has(STOP) {
                return true;
            }
            last = node.has(SHELTERED);
            at = node.live_parent();
        }
        false
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
            if let Some(reason) = inner.reason.as_ref().or(inner.dropped_for.as_ref()) {
                return Some(reason.clone());
            }
        }
        if self.has(SHELTERED | SHIELD | LEFT) { None } else { self.reason_around() }
    }

    /// The reason of the nearest cancelled region around this one, up to the next shield.
    pub(super) fn reason_around(&self) -> Option<Reason> {
        let mut at = self.live_parent();
        while let Some(node) = at {
            if let Some(reason) = &node.inner.lock().reason {
                return Some(reason.seen_as(ReasonKind::Parent));
            }
            if node.has(SHELTERED | SHIELD) {
                return None;
            }
            at = node.live_parent();
        }
        None
    }

    /// Whether this region or one around it, up to a shield, is cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.has(CANCELLED) || self.effective_reason().is_some()
    }

    /// Registers a waiter, or returns `true` where the region is cancelled.
    ///
    /// It looks after it has registered: a cancellation first sets its flag and then empties the slots, so
    /// either the look finds the flag or the slot is found. The other order loses a wake-up: look, flag,
    /// empty, register.
    pub(crate) fn wait_cancelled(self: &Arc<Self>, key: &mut Option<usize>, waker: &Waker) -> bool {
        if self.has(CANCELLED) {
            return true;
        }
        let waker = waker.clone();
        let old = {
            let mut inner = self.inner.lock();
            if self.has(LEFT) { Some(waker) } else { inner.waiters.register(key, waker) }
        };
        drop(old);
        if self.has(ENTERED) {
            // From here on, what is cancelled around the region reaches it. One that is not entered yet
            // links itself when it is, because somebody waits.
            self.link_up();
        }
        self.is_cancelled()
    }

    pub(crate) fn forget_waiter(&self, key: usize) {
        let old = self.inner.lock().waiters.remove(key);
        drop(old);
    }

    /// Waits for [`stop`](Node::stop), as [`wait_cancelled`](Node::wait_cancelled) for a cancellation.
    pub(crate) fn wait_stopped(self: &Arc<Self>, key: &mut Option<usize>, waker: &Waker) -> bool {
        if self.has(STOP) {
            return true;
        }
        let waker = waker.clone();
        let old = {
            let mut inner = self.inner.lock();
            if self.has(LEFT) { Some(waker) } else { inner.stop_waiters.register(key, waker) }
        };
        drop(old);
        if self.has(ENTERED) {
            self.link_up();
        }
        self.is_stopped()
    }

    pub(crate) fn forget_stop_waiter(&self, key: usize) {
        let old = self.inner.lock().stop_waiters.remove(key);
        drop(old);
    }

    pub(crate) fn set_deadline(&self, at: Instant) {
        let (waker, stays) = {
            let mut inner = self.inner.lock();
            inner.deadline = Some(at);
            self.raise(DEADLINE | REWAKE);
            let stays: Vec<_> = inner.links.iter().filter_map(|(_, node)| node.upgrade()).collect();
            (inner.waker.take(), stays)
        };
        wake_all(waker);
        for stay in stays.iter().filter(|node| node.kind == Kind::Stay) {
            let waker = {
                let mut inner = stay.inner.lock();
                stay.raise(DEADLINE | REWAKE);
                inner.waker.take()
            };
            wake_all(waker);
        }
    }

    /// How many runs are inside this scope.
    pub(super) fn stays(&self) -> usize {
        let below: Vec<_> = {
            let inner = self.inner.lock();
            inner.links.iter().filter_map(|(_, node)| node.upgrade()).collect()
        };
        below.iter().filter(|node| node.kind == Kind::Stay).count()
    }

    /// The region whose deadline this one's run watches.
    pub(super) fn timed(self: &Arc<Self>) -> Arc<Node> {
        match self.kind {
            Kind::Stay => self.parent().unwrap_or_else(|| Arc::clone(self)),
            _ => Arc::clone(self),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.inner.lock().deadline
    }

    /// The earliest deadline of this region and those around it, up to a shield (R11).
    pub(crate) fn effective_deadline(&self) -> Option<Instant> {
        let mut earliest = self.deadline();
        let mut last = self.has(SHELTERED | SHIELD | LEFT);
        let mut at = self.live_parent();
        while let (Some(node), false) = (at, last) {
            earliest = [earliest, node.deadline()].into_iter().flatten().min();
            last = node.has(SHELTERED | SHIELD);
            at = node.live_parent();
        }
        earliest
    }

    /// Makes every cancellation around this region reach it, so that one can wait for it (invariant 5).
    pub(crate) fn link_up(self: &Arc<Self>) {
        let mut node = Arc::clone(self);
        let mut linked = false;
        while !node.has(SHELTERED | LEFT) {
            let Some(parent) = node.live_parent() else { break };
            if node.has(LINKED) {
                if !matches!(node.kind, Kind::Child | Kind::Stay) {
                    // It was linked by this loop, and so was everything above it.
                    break;
                }
                // Linked from the start, when nobody waited for what is above.
                node = parent;
                continue;
            }
            // Where the parent was left meanwhile, the next live one is tried.
            if parent.link(&node) {
                linked = true;
                node = parent;
            }
        }
        if linked {
            self.look();
        }
    }

    /// Puts `child` among what a cancellation or a stop of this region reaches; `false` where it was left.
    pub(super) fn link(self: &Arc<Self>, child: &Arc<Node>) -> bool {
        let key = {
            let mut inner = self.inner.lock();
            if self.has(LEFT) {
                return false;
            }
            inner.links.insert(Arc::downgrade(child))
        };
        let linked = {
            let mut inner = child.inner.lock();
            // Between the two locks this region may have left and looked after its links: then nobody
            // would take the child over any more.
            let left = self.has(LEFT);
            let ours = !left && !child.has(LINKED | LEFT);
            if ours {
                inner.link = Some((Arc::downgrade(self), key));
                child.raise(LINKED);
            }
            if left { None } else { Some(ours) }
        };
        if linked != Some(true) {
            // Somebody else linked it, or it has left; or we have.
            self.inner.lock().links.try_remove(key);
        }
        linked.is_some()
    }

    /// For a child or a stay: what its region was told before it came.
    pub(super) fn catch_up(self: &Arc<Self>, child: &Arc<Node>) {
        let (reason, stop) = {
            let inner = self.inner.lock();
            (inner.reason.clone().or_else(|| inner.below.clone()), inner.stop.clone())
        };
        let signals = [reason.map(Signal::Cancel), stop.map(Signal::Stop)];
        let signals = signals.into_iter().flatten();
        Node::tell(Vec::new(), signals.map(|signal| (Arc::downgrade(child), signal)).collect());
    }

    /// Takes a region that was left out of its parent, and gives what was linked below it to the nearest
    /// live ancestor.
    pub(super) fn unlink(self: &Arc<Self>) {
        let (link, links) = {
            let mut inner = self.inner.lock();
            (inner.link.take(), std::mem::take(&mut inner.links))
        };
        if let Some((parent, key)) = link {
            if let Some(parent) = parent.upgrade() {
                parent.inner.lock().links.try_remove(key);
            }
        }
        for child in links.into_iter().filter_map(|(_, child)| child.upgrade()) {
            {
                let mut inner = child.inner.lock();
                inner.link = None;
                child.lower(LINKED);
            }
            child.link_up();
        }
    }
}
