//! How the times of a region are set, and read.

use crate::region::flags::{DEADLINE, ENTERED, STOP, TIMED};
use crate::region::node::{Inner, Node};
use crate::region::request::{Delivery, Signal};
use crate::unwind::{self, Payload};
use crate::wakers::Taken;
use std::time::{Duration, Instant};

impl Node {
    /// Changes the deadline; all that watch it, here and inside, look at it again.
    pub(crate) fn set_deadline(&self, at: Instant) {
        let panic = self.change_times(|inner| {
            inner.more().deadline = Some(at);
            0
        });
        if let Some(payload) = panic {
            unwind::discard(payload);
        }
    }

    /// Changes the times of the region by `change`, which returns flags to raise; all that watch the times, here and
    /// inside, look at them again. Returns the first panic of a waker.
    #[must_use = "a payload must not be dropped where its drop could panic"]
    pub(in crate::region) fn change_times(
        &self,
        change: impl FnOnce(&mut Inner) -> u32,
    ) -> Option<Payload> {
        let (mut own, mut below) = (Taken::default(), Delivery::default());
        {
            let mut inner = self.inner.lock();
            let flags = change(&mut inner);
            self.raise(&inner, flags);
            self.note_time(&inner);
            below.add(&inner, &Signal::Time);
            self.take_waiters(&mut inner, &mut own);
            self.take_run(&mut inner, &mut own);
        }
        Node::tell_all(own, below)
    }

    /// Sets a deadline, unless an earlier one is set.
    pub(crate) fn add_deadline(&self, at: Instant) {
        self.set_deadline(self.deadline().map_or(at, |before| before.min(at)));
    }

    pub(crate) fn set_timeout(&self, timeout: Duration) {
        let mut inner = self.inner.lock();
        inner.rest().times.timeout = Some(timeout);
        self.raise(&inner, TIMED);
    }

    pub(crate) fn set_grace(&self, grace: Duration) {
        let mut inner = self.inner.lock();
        inner.rest().times.grace = Some(grace);
        self.raise(&inner, TIMED | if self.has(STOP) { DEADLINE } else { 0 });
    }

    /// A relative deadline starts when the region is entered (R11).
    pub(in crate::region) fn start_timeout(&self) {
        let timeout = self.inner.lock().rest_mut().and_then(|rest| rest.times.timeout.take());
        let Some(timeout) = timeout else { return };
        if timeout.is_zero() {
            // The deadline has passed at once: the body is polled once, as a body that is entered under
            // cancellation (R6).
            self.expire(self.deadline_reason(), self.now());
            return;
        }
        let Some(due) = self.now().checked_add(timeout) else { return };
        let mut inner = self.inner.lock();
        let more = inner.more();
        more.deadline = Some(more.deadline.map_or(due, |deadline| deadline.min(due)));
        self.raise(&inner, DEADLINE);
    }

    /// Leaves the deadline to a timer that does not belong to the region's frame.
    pub(in crate::region) fn watches_itself(&self) {
        let inner = self.inner.lock();
        self.lower(&inner, DEADLINE);
    }

    /// Leaves the times of the region to its frame, which looks at them in its next poll.
    pub(in crate::region) fn has_new_times(&self) {
        let inner = self.inner.lock();
        self.raise(&inner, DEADLINE);
    }

    /// Notes that the region's times have changed.
    pub(in crate::region) fn note_time(&self, inner: &Inner) {
        let first = self.flags() & (TIMED | ENTERED) == ENTERED;
        self.raise(inner, DEADLINE | TIMED);
        if first {
            // The regions inside may be quiet, and not `TIMED`. Under the lock: T1 reads the links, and unlocks; T2 links
            // its region, finds it quiet, and waits for no time; T1 begins the epoch, and T2 sleeps.
            self.unsettle();
        }
    }
}
