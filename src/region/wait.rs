//! Waits for a cancellation or a stop.
//!
//! # Invariants
//!
//! 1. A waiter registers, and then looks; a request sets its flag, and then takes the waiters. In the other order a wake-up is
//!    lost: T1 looks; T2 sets the flag and takes nobody; T1 registers, and sleeps.
//! 2. A waiter's place is its own until the waiters are taken: `calls` counts the takes, and a wait with an older number has no
//!    place.
//! 3. A region with a waiter is linked outwards, so that a cancellation around it reaches it (invariant 5 of the room).

use super::flags::{CANCELLED, ENTERED, LEFT, STOP, TIMED};
use super::node::{More, Node};
use super::time::WaitTimers;
use crate::sync::{Arc, Ordering};
use crate::wakers::{Mark, Wakers};
use std::task::{Context, Waker};
use std::time::Instant;

/// A wait for an event of a region: a place among its waiters, and the mark of its waker.
#[derive(Default)]
pub(crate) struct Wait {
    key: Option<usize>,
    /// The waker that was registered in the place, and the number of takes at that time.
    mark: Mark,
    calls: u32,
    timers: Option<WaitTimers>,
}

impl Node {
    /// Registers a waiter, or returns `true` if the region is cancelled.
    #[inline]
    pub(crate) fn wait_cancelled(self: &Arc<Self>, wait: &mut Wait, cx: &mut Context<'_>) -> bool {
        let as_it_was = !self.has(CANCELLED) && self.waits(wait, cx.waker()) && self.is_quiet();
        !as_it_was && self.wait_anew(wait, cx)
    }

    /// Looks after it has registered (invariant 1).
    #[inline(never)]
    fn wait_anew(self: &Arc<Self>, wait: &mut Wait, cx: &mut Context<'_>) -> bool {
        if self.has(CANCELLED) {
            return true;
        }
        if !self.waits(wait, cx.waker()) {
            let calls = wait.calls;
            self.register_wait(wait, cx.waker(), false);
            if wait.calls != calls {
                // The waiter was woken to look, so the deadlines may have changed.
                wait.timers = None;
            }
        }
        if self.is_cancelled() {
            return true;
        }
        if self.is_quiet() && !self.has(TIMED) {
            return false;
        }
        let cancelled = self.poll_times_around(&mut wait.timers, cx);
        if wait.timers.is_some() {
            // The mark is cleared, so that every later poll comes here and polls the timers.
            wait.mark = Mark::default();
        }
        cancelled
    }

    /// Waits until the region is cancelled, or is to be cancelled before `seen`; see
    /// [`effective_deadline`](Node::effective_deadline).
    pub(crate) fn wait_tightened(
        self: &Arc<Self>,
        seen: Option<Instant>,
        wait: &mut Wait,
        cx: &mut Context<'_>,
    ) -> bool {
        // Registers first, so that a change after the look wakes the wait.
        self.wait_cancelled(wait, cx)
            || (!self.has(LEFT)
                && self.effective_deadline().is_some_and(|due| seen.is_none_or(|seen| due < seen)))
    }

    /// Waits for [`stop`](Node::stop), as [`wait_cancelled`](Node::wait_cancelled) for a cancellation.
    pub(crate) fn wait_stopped(self: &Arc<Self>, wait: &mut Wait, waker: &Waker) -> bool {
        if self.has(STOP) {
            return true;
        }
        if !self.waits(wait, waker) {
            self.register_wait(wait, waker, true);
        }
        self.is_stopped()
    }

    /// Whether `waker`, or an equal one, is still registered.
    #[inline]
    fn waits(&self, wait: &Wait, waker: &Waker) -> bool {
        wait.mark == Mark::of(waker) && wait.calls == self.calls.load(Ordering::Acquire)
    }

    fn register_wait(self: &Arc<Self>, wait: &mut Wait, waker: &Waker, for_stop: bool) {
        let (mark, waker) = (Mark::of(waker), waker.clone());
        wait.mark = mark;
        let mut inner = self.inner.lock();
        // From here on a cancellation around the region reaches it. A region that is not inside another one yet links
        // itself when it is entered, because it is awaited.
        if self.has(ENTERED) && inner.parent.is_some() && !self.is_linked_up() {
            drop(inner);
            // Before this waiter registers, because a link wakes the waiters to look again.
            self.link_up();
            inner = self.inner.lock();
        }
        if self.is_void(wait) {
            wait.key = None;
        }
        wait.calls = self.calls.load(Ordering::Relaxed);
        let old = if self.has(LEFT) {
            Some(waker)
        } else {
            let waiters =
                if for_stop { &mut inner.rest().stop_waiters } else { &mut inner.more().waiters };
            waiters.register(&mut wait.key, waker)
        };
        drop(inner);
        drop(old);
    }

    /// Whether the place of `wait` is no longer its own (invariant 2). Exact under the lock; without the lock, a place
    /// that was void stays void.
    fn is_void(&self, wait: &Wait) -> bool {
        wait.calls != self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn forget_waiter(&self, wait: &mut Wait) {
        wait.timers = None;
        drop(self.take_place(wait, |more| Some(&mut more.waiters)));
    }

    pub(crate) fn forget_stop_waiter(&self, wait: &mut Wait) {
        drop(self.take_place(wait, |more| Some(&mut more.rest.as_mut()?.stop_waiters)));
    }

    fn take_place(
        &self,
        wait: &mut Wait,
        among: impl FnOnce(&mut More) -> Option<&mut Wakers>,
    ) -> Option<Waker> {
        let key = wait.key.take()?;
        if self.is_void(wait) {
            return None;
        }
        let mut inner = self.inner.lock();
        if self.is_void(wait) {
            return None;
        }
        among(inner.more.as_mut()?)?.remove(key)
    }
}
