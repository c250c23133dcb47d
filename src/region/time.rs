//! The times of a region: its deadline, the grace after a stop, the grace of a shield (R11, R12, R13).
//!
//! # Invariants
//!
//! 1. A time is an instant in the node. [`next_due`] returns the next one, and
//!    [`come_due`] acts on those that have come; no other code compares
//!    instants.
//! 2. A timer belongs to a future that is polled, not to the node: a pending run holds one for the next time of its
//!    region. A wait for a cancellation holds one for the next time of its region and the regions around, because their
//!    runs may not be polled. A timer uses the clock of the place where it is polled.
//! 3. `UNWATCHED` is set on a region that was entered by a call and has times. No run watches them, so the questions
//!    that depend on them do. Neither such a region nor a region inside it is quiet, so that every question reaches it.
//! 4. `TIMED` is set on every region that has, or ever had, a time, and on every region inside it that is quiet: the look
//!    around that finds a region quiet sets it there. A region that gets its first time after it was entered begins a new
//!    epoch, in which no region inside it is quiet yet. So a wait in a region that is quiet and not `TIMED` depends on no
//!    time.
//! 5. A region has no deadline and no grace after a stop any more once its body has ended and the last child of a group has
//!    left (`TIMELESS`). A region that was left has no times.

pub(super) mod around;
pub(crate) mod clock;
pub(super) mod limits;
mod settings;
mod unwatched;
mod waits;

pub(super) use limits::Times;
pub(crate) use settings::{add_deadline, change_deadline, set_deadline, set_grace, set_timeout};
pub(super) use settings::{note_time, start_timeout, tell_times};
pub(crate) use unwatched::{
    ask_clock, ask_clock_around_child, ask_clock_of_group, is_cancelled_by_now, reason_by_now,
};
pub(super) use unwatched::{begin_graces, begin_unwatched};
pub(super) use waits::{WaitTimers, poll_times_around};

use super::flags::{CANCELLED, ENTERED, LEFT, SHELTERED, SHIELD, STOP, TIMELESS};
use super::look;
use super::node::Node;
use super::request;
use super::shields;
use super::walk;
use crate::reason::{Reason, ReasonKind};
use crate::sync::Arc;
use std::time::Instant;

/// The next of this region's times. The grace after a stop or a cancellation that has just
/// happened begins now.
pub(super) fn next_due(node: &Arc<Node>, times: Times) -> Option<Instant> {
    // Invariant 5.
    if node.has(LEFT) {
        return None;
    }
    let of_body = match times {
        Times::All => [deadline_due(node), stop_due(node)],
        Times::OfCancelled => [clock::deadline(node), stop_due(node)],
        Times::OfShield => [None; 2],
    };
    of_body.into_iter().chain([shield_due(node)]).flatten().min()
}

/// Acts on the times that have come by `now` (invariant 1).
pub(super) fn come_due(node: &Arc<Node>, now: Instant, times: Times) {
    if times == Times::All {
        if let Some(reason) = reason_due(node, now) {
            expire(node, reason, now);
        }
    }
    if shield_due(node).is_some_and(|due| due <= now) {
        shields::give_way(node);
    }
}

/// As [`come_due`], for a wait inside `node`. The times of a stay are those of its scope, so a stay stands for its scope.
fn come_due_here(node: &Arc<Node>, now: Instant) {
    let timed = walk::scope_of(node);
    if !timed.has(LEFT) {
        come_due(&timed, now, Times::All);
        give_way_as_scope(node);
    }
}

/// The shield of a stay gives way when that of its scope has given way, because the stay has no other.
pub(super) fn give_way_as_scope(node: &Arc<Node>) {
    if node.is_stay() && node.has(SHIELD) && !walk::scope_of(node).has(SHIELD) {
        shields::give_way(node);
    }
}

/// The reason for which the region is to be cancelled at `now`: of its deadline and the end of its grace after a
/// stop, the earlier one decides (R10).
fn reason_due(node: &Node, now: Instant) -> Option<Reason> {
    let has_come = |due: Option<Instant>| due.filter(|due| *due <= now);
    match (has_come(deadline_due(node)), has_come(stop_due(node))) {
        (Some(deadline), stop) if stop.is_none_or(|stop| deadline <= stop) => {
            Some(deadline_reason(node))
        }
        (_, Some(_)) => reason_after_grace(node),
        _ => None,
    }
}

/// The reason of the stop, and the length of its grace.
fn reason_after_grace(node: &Node) -> Option<Reason> {
    let inner = node.inner.lock();
    let rest = inner.rest_seen()?;
    rest.stop.as_ref().map(|reason| reason.after(rest.times.begun_grace))
}

fn deadline_reason(node: &Node) -> Reason {
    Reason::new(ReasonKind::Deadline, None, None, node.entered_at())
}

/// Cancels the region for `reason`, because one of its times, no earlier than `now`, has come. Before that it
/// cancels every region around it of which a time has come too: of two times at one instant the outer one counts,
/// and this region may have been polled first (R9).
fn expire(region: &Node, reason: Reason, now: Instant) {
    if !region.has(SHELTERED | SHIELD | LEFT) {
        let now = now.max(clock::now(region));
        // Most often none has come, and in a chain not each region walks along all the others to see that (R19).
        if around::has_come_around(region, now) {
            expire_around(region, now);
        }
    }
    request::cancel(region, reason);
}

fn expire_around(region: &Node, now: Instant) {
    let mut overdue = Vec::new();
    for node in walk::around(region) {
        let foreign = node.given_clock().is_some();
        overdue.extend(reason_due(&node, now).map(|reason| (Arc::clone(&node), reason)));
        // Regions farther out use another clock.
        if foreign {
            break;
        }
    }
    for (node, reason) in overdue.into_iter().rev() {
        request::cancel(&node, reason);
    }
}

fn deadline_due(node: &Node) -> Option<Instant> {
    if node.has(CANCELLED) { None } else { clock::deadline(node) }
}

/// The time at which a stop becomes a cancellation, for the same reason (R13): the earliest end of the region's own
/// grace, which begins once, even if several runs watch it, and of the graces that came with requests. A grace that
/// has not begun begins now. There is none if it is beyond the last instant that a clock can represent.
pub(in crate::region) fn stop_due(node: &Node) -> Option<Instant> {
    if node.flags() & (STOP | CANCELLED | TIMELESS) != STOP {
        return None;
    }
    let (begun, grace) = {
        let inner = node.inner.lock();
        let rest = inner.rest_seen()?;
        (rest.times.stop_due, rest.times.grace_to_begin())
    };
    let Some(grace) = grace else { return begun };
    // The clock of a region is known once it is entered.
    if !node.has(ENTERED) {
        return begun;
    }
    let due = clock::now(node).checked_add(grace);
    node.inner.lock().rest().times.begin_grace(grace, due)
}

/// The time at which a shield gives way to a cancellation around it (R12): one grace for each cancellation, even if
/// several runs meet it.
fn shield_due(region: &Arc<Node>) -> Option<Instant> {
    if !region.has(SHIELD) {
        return None;
    }
    let grace = clock::grace(region)?;
    // There is none any more if the cancelled region has left, and this one was only lent
    // to it.
    let reason = look::reason_around(region)?;
    let begun = {
        let inner = region.inner.lock();
        inner.rest_seen().and_then(|rest| rest.times.shield_due.clone())
    };
    if let Some((by, due)) = begun {
        // The grace began with the first cancellation, which need not be the nearest one, and goes on as long as
        // that lasts.
        if by.is_of(&reason) || walk::around(region).any(|node| look::is_cancelled_for(&node, &by))
        {
            return Some(due);
        }
    }
    let due = clock::now(region).checked_add(grace)?;
    let old = region.inner.lock().rest().times.shield_due.replace((reason, due));
    drop(old);
    Some(due)
}

/// The instant at which this region or one around it, up to a shield, is cancelled at the latest: the earliest of
/// their deadlines and running graces (R11, R13). The grace of a shield counts too, because the shield gives way at
/// its end (R12).
pub(crate) fn effective_deadline(region: &Arc<Node>) -> Option<Instant> {
    // The deadline of a region that is cancelled already counts here.
    let times = if look::is_cancelled(region) { Times::OfCancelled } else { Times::All };
    if region.flags() & (ENTERED | LEFT) == ENTERED {
        return around::earliest(region, times).map(|(due, _)| due).min();
    }
    // Nothing is around it. It is the region of an exit that runs elsewhere, or is not entered yet.
    let ends = [clock::deadline(region), stop_due(region), shield_due(region)];
    ends.into_iter().flatten().min()
}
