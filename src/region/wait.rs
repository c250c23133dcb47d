//! Waits for a cancellation or a stop.
//!
//! # Invariants
//!
//! 1. A waiter registers, and then looks; a request sets its flag, and then takes the waiters. In the other order a wake-up is
//!    lost: T1 looks; T2 sets the flag and takes nobody; T1 registers, and sleeps.
//! 2. A waiter's key is its own until the waiters are taken: `calls` counts the takes, and a wait with an older number has no
//!    key.
//! 3. A region with a waiter is linked outwards, so that a cancellation around it reaches it (invariant 5 of the room).
//! 4. A region that is left wakes its waiters: a wait that was lent to it goes on with the region around.

use super::flags::{CANCELLED, ENTERED, LEFT, SHELTERED, STOP, TIMED};
use super::links;
use super::look;
use super::node::Node;
use super::quiet;
use super::time;
use super::time::WaitTimers;
use super::walk;
use crate::sync::{Arc, Ordering};
use crate::wakers::Mark;
use std::fmt;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A wait for an event of a region: its key among the waiters, and the mark of its waker.
#[derive(Default)]
pub(crate) struct Wait {
    key: Option<usize>,
    /// The waker that was registered under the key, and the number of takes at that time.
    mark: Mark,
    calls: u32,
    /// Whether the key is one among the waiters for a stop, and not among those for a cancellation.
    for_stop: bool,
    timers: Option<WaitTimers>,
}

/// The wait of a future. It gives its key up when the event has come, and when it is dropped.
pub(crate) struct Waiting {
    node: Arc<Node>,
    wait: Wait,
    done: bool,
}

impl Waiting {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Waiting { node, wait: Wait::default(), done: false }
    }

    /// Ready when `happened` returns `true`: one of the functions below.
    pub(crate) fn poll(
        &mut self,
        happened: impl FnOnce(&Arc<Node>, &mut Wait) -> bool,
    ) -> Poll<()> {
        if !happened(&self.node, &mut self.wait) {
            return Poll::Pending;
        }
        forget(&self.node, &mut self.wait);
        self.done = true;
        Poll::Ready(())
    }

    /// As [`poll_cancelled`] with [`poll`](Waiting::poll); after the region was left, for the nearest live region around it.
    #[inline]
    pub(crate) fn poll_cancelled_around(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match rests(&self.node, &self.wait, cx) {
            true => Poll::Pending,
            false => self.poll_around(&mut |node, wait| poll_anew(node, wait, cx)),
        }
    }

    /// As [`poll_cancelled_around`](Waiting::poll_cancelled_around), for a stop.
    pub(crate) fn poll_stopped_around(&mut self, waker: &Waker) -> Poll<()> {
        self.poll_around(&mut |node, wait| poll_stopped(node, wait, waker))
    }

    #[inline(never)]
    fn poll_around(&mut self, happened: &mut dyn FnMut(&Arc<Node>, &mut Wait) -> bool) -> Poll<()> {
        loop {
            if self.poll(&mut *happened).is_ready() {
                return Poll::Ready(());
            }
            if !self.goes_outwards() {
                return Poll::Pending;
            }
        }
    }

    /// If the region was left, the wait is one for the nearest live region around it from now on, as a region inside is
    /// (R1). A region that was entered in an exit has none that counts.
    fn goes_outwards(&mut self) -> bool {
        if self.node.flags() & (LEFT | SHELTERED) != LEFT {
            return false;
        }
        let Some(around) = walk::parent_in_exit(&self.node) else { return false };
        forget(&self.node, &mut self.wait);
        (self.node, self.wait) = (around, Wait::default());
        true
    }

    /// Waits in a region that is cancelled until it is left, or the cancelled region around it; returns whether it is still
    /// cancelled after the waker was registered (invariant 1).
    pub(crate) fn wait_for_end(&mut self, cx: &mut Context<'_>) -> bool {
        if !waits(&self.node, &self.wait, cx.waker()) {
            register(&self.node, &mut self.wait, cx.waker(), false);
        }
        look::is_cancelled(&self.node)
    }

    pub(crate) fn is_at(&self, node: &Arc<Node>) -> bool {
        Arc::ptr_eq(&self.node, node)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        forget(&self.node, &mut self.wait);
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

/// Registers a waiter, or returns `true` if the region is cancelled.
#[inline]
pub(crate) fn poll_cancelled(node: &Arc<Node>, wait: &mut Wait, cx: &mut Context<'_>) -> bool {
    !rests(node, wait, cx) && poll_anew(node, wait, cx)
}

/// Whether nothing has happened since the last poll. A region that was left has taken its waiters (invariant 4).
#[inline]
fn rests(node: &Node, wait: &Wait, cx: &Context<'_>) -> bool {
    !node.has(CANCELLED) && waits(node, wait, cx.waker()) && quiet::is_quiet(node)
}

/// Looks after it has registered (invariant 1).
#[inline(never)]
fn poll_anew(node: &Arc<Node>, wait: &mut Wait, cx: &mut Context<'_>) -> bool {
    if node.has(CANCELLED) {
        return true;
    }
    if !waits(node, wait, cx.waker()) {
        let calls = wait.calls;
        register(node, wait, cx.waker(), false);
        if wait.calls != calls {
            // The waiter was woken to look, so the deadlines may have changed.
            wait.timers = None;
        }
    }
    if look::is_cancelled(node) {
        return true;
    }
    if quiet::is_quiet(node) && !node.has(TIMED) {
        return false;
    }
    let cancelled = time::poll_times_around(node, &mut wait.timers, cx);
    if wait.timers.is_some() {
        // The mark is cleared, so that every later poll comes here and polls the timers.
        wait.mark = Mark::default();
    }
    cancelled
}

/// Waits until the region is cancelled, or is to be cancelled before `seen`; see
/// `time::effective_deadline`.
pub(crate) fn poll_tightened(
    node: &Arc<Node>,
    seen: Option<Instant>,
    wait: &mut Wait,
    cx: &mut Context<'_>,
) -> bool {
    // Registers first, so that a change after the look wakes the wait.
    poll_cancelled(node, wait, cx)
        || (!node.has(LEFT)
            && time::effective_deadline(node).is_some_and(|due| seen.is_none_or(|seen| due < seen)))
}

/// Waits for `request::stop`, as [`poll_cancelled`] for a cancellation.
pub(crate) fn poll_stopped(node: &Arc<Node>, wait: &mut Wait, waker: &Waker) -> bool {
    if node.has(STOP) {
        return true;
    }
    if !waits(node, wait, waker) {
        register(node, wait, waker, true);
    }
    look::is_stopped(node)
}

/// Whether `waker`, or an equal one, is still registered.
#[inline]
fn waits(node: &Node, wait: &Wait, waker: &Waker) -> bool {
    wait.mark == Mark::of(waker) && wait.calls == node.calls.load(Ordering::Acquire)
}

// A part of the first poll of each wait.
#[inline(always)]
fn register(node: &Arc<Node>, wait: &mut Wait, waker: &Waker, for_stop: bool) {
    let (mark, waker) = (Mark::of(waker), waker.clone());
    (wait.mark, wait.for_stop) = (mark, for_stop);
    let mut inner = node.inner.lock();
    // From here on a cancellation around the region reaches it (invariant 3). A region that is not inside another one yet links
    // itself when it is entered, because it is awaited.
    if !links::is_linked_up(node) && node.has(ENTERED) && inner.parent.is_some() {
        drop(inner);
        // Before this waiter registers, because a link wakes the waiters to look again.
        links::link_up(node);
        inner = node.inner.lock();
    }
    if is_void(node, wait) {
        wait.key = None;
    }
    wait.calls = node.calls.load(Ordering::Relaxed);
    let old = if node.has(LEFT) {
        Some(waker)
    } else {
        let waiters =
            if for_stop { &mut inner.rest().stop_waiters } else { &mut inner.more().waiters };
        waiters.register(&mut wait.key, waker)
    };
    drop(inner);
    drop(old);
}

/// Whether the key of `wait` is no longer its own (invariant 2). Exact under the lock; without the lock, a key
/// that was void stays void.
fn is_void(node: &Node, wait: &Wait) -> bool {
    wait.calls != node.calls.load(Ordering::Relaxed)
}

/// Gives up the key of `wait`, and drops its waker and its timers.
fn forget(node: &Node, wait: &mut Wait) {
    wait.timers = None;
    drop(take_waiter(node, wait));
}

fn take_waiter(node: &Node, wait: &mut Wait) -> Option<Waker> {
    let key = wait.key.take()?;
    if is_void(node, wait) {
        return None;
    }
    let mut inner = node.inner.lock();
    if is_void(node, wait) {
        return None;
    }
    let more = inner.more.as_mut()?;
    let waiters = match wait.for_stop {
        true => &mut more.rest.as_mut()?.stop_waiters,
        false => &mut more.waiters,
    };
    waiters.remove(key)
}
