//! How the times of a region are set, and read.

use crate::region::flags::{DEADLINE, ENTERED, STOP, TIMED, UNWATCHED};
use crate::region::node::{Inner, Node};
use crate::region::quiet;
use crate::region::request;
use crate::region::request::{Delivery, Signal};
use crate::region::time;
use crate::region::time::clock;
use crate::unwind::{self, Payload};
use crate::wakers::Taken;
use std::time::{Duration, Instant};

/// Sets the deadline. The run reads it again, and so do the waits, here and inside, for which the change is news. A timeout
/// that has not begun stays.
pub(crate) fn set_deadline(node: &Node, at: Instant) {
    let panic = change_times(node, |inner| {
        let before = inner.deadline.replace(at);
        !inner.is_awaited() || inner.rest().times.is_news(before, at)
    });
    unwind::discard(panic);
}

/// As [`set_deadline`], in place of a timeout that has not begun as well: after the entry it could not be told from a deadline.
pub(crate) fn change_deadline(node: &Node, at: Instant) {
    if let Some(rest) = node.inner.lock().rest_mut() {
        rest.times.timeout = None;
    }
    set_deadline(node, at);
}

/// The region has got a time with a request: its run and the waits, here and inside, read the times. A scope that was
/// entered by a call has no run, so its times are marked as unwatched.
#[must_use = "a payload must not be dropped where its drop could panic"]
pub(in crate::region) fn tell_times(node: &Node) -> Option<Payload> {
    change_times(node, |inner| {
        node.raise(inner, if node.is_entered_by_call() { UNWATCHED } else { 0 });
        true
    })
}

/// Changes the times of the region by `change`, which returns whether the waits that depend on them have to read them again.
/// Returns the first panic of a waker.
#[must_use = "a payload must not be dropped where its drop could panic"]
fn change_times(node: &Node, change: impl FnOnce(&mut Inner) -> bool) -> Option<Payload> {
    let (mut own, mut below) = (Taken::default(), Delivery::default());
    {
        let mut inner = node.inner.lock();
        let news = change(&mut inner);
        note_time(node, &inner);
        if news {
            request::note_tidings(&inner);
            below.add(&inner, &Signal::Time);
            request::take_waiters(node, &mut inner, &mut own);
        }
        request::take_run(node, &mut inner, &mut own);
    }
    request::deliver_all(own, below)
}

/// Sets a deadline, unless an earlier one is set.
pub(crate) fn add_deadline(node: &Node, at: Instant) {
    set_deadline(node, clock::deadline(node).map_or(at, |before| before.min(at)));
}

pub(crate) fn set_timeout(node: &Node, timeout: Duration) {
    let mut inner = node.inner.lock();
    inner.rest().times.timeout = Some(timeout);
    node.raise(&inner, TIMED);
}

pub(crate) fn set_grace(node: &Node, grace: Duration) {
    let mut inner = node.inner.lock();
    inner.rest().times.grace = Some(grace);
    node.raise(&inner, TIMED | if node.has(STOP) { DEADLINE } else { 0 });
}

/// A relative deadline starts when the region is entered (R11).
pub(in crate::region) fn start_timeout(node: &Node) {
    let timeout = node.inner.lock().rest_mut().and_then(|rest| rest.times.timeout.take());
    let Some(timeout) = timeout else { return };
    if timeout.is_zero() {
        // The deadline has passed at once: the body is polled once, as a body that is entered under
        // cancellation (R6).
        time::expire(node, time::deadline_reason(node), clock::now(node));
        return;
    }
    let Some(due) = clock::now(node).checked_add(timeout) else { return };
    let mut inner = node.inner.lock();
    inner.deadline = Some(inner.deadline.map_or(due, |deadline| deadline.min(due)));
    node.raise(&inner, DEADLINE);
    // A group may have children before it is entered.
    if node.encloses.is_known() {
        request::note_tidings(&inner);
    }
}

/// Notes that the region's times have changed.
pub(in crate::region) fn note_time(node: &Node, inner: &Inner) {
    let first = node.flags() & (TIMED | ENTERED) == ENTERED;
    node.raise(inner, DEADLINE | TIMED);
    if first {
        // The regions inside may be quiet, and not `TIMED`. Under the lock: T1 reads the links, and unlocks; T2 links
        // its region, finds it quiet, and waits for no time; T1 begins the epoch, and T2 sleeps.
        quiet::begin_epoch();
    }
}
