//! The times of a region: its deadline, the grace after a stop, the grace of a shield (R11, R12, R13).
//!
//! # Invariants
//!
//! 1. A time is an instant in the node. [`next_due`](Node::next_due) returns the next one, and
//!    [`come_due`](Node::come_due) acts on those that have come; no other code compares
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
//! 5. A region that was left has no times.

pub(super) mod clock;
mod settings;
mod unwatched;
mod waits;

pub(super) use waits::WaitTimers;

use super::flags::{CANCELLED, ENTERED, LEFT, SHELTERED, SHIELD, STOP};
use super::kind::Kind;
use super::node::Node;
use crate::reason::{Reason, ReasonKind};
use crate::sync::Arc;
use std::time::Instant;

/// The times of a region that count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    All,
    /// Only the shield's grace, for a region after the end of its body.
    OfShield,
}

impl Node {
    /// The next of this region's times. The grace after a stop or a cancellation that has just
    /// happened begins now.
    pub(super) fn next_due(self: &Arc<Self>, times: Times) -> Option<Instant> {
        if self.has(LEFT) {
            return None;
        }
        let of_body = match times {
            Times::All => [self.deadline_due(), self.stop_due()],
            Times::OfShield => [None; 2],
        };
        of_body.into_iter().chain([self.shield_due()]).flatten().min()
    }

    /// Acts on the times that have come by `now`.
    pub(super) fn come_due(self: &Arc<Self>, now: Instant, times: Times) {
        if times == Times::All {
            if let Some(reason) = self.reason_due(now) {
                self.expire(reason, now);
            }
        }
        if self.shield_due().is_some_and(|due| due <= now) {
            self.give_way();
        }
    }

    /// As [`come_due`](Node::come_due), for a wait: for the region with the times that this region's run
    /// [watches](Node::timed), unless it has left.
    fn come_due_here(self: &Arc<Self>, now: Instant) {
        let timed = self.timed();
        if !timed.has(LEFT) {
            timed.come_due(now, Times::All);
            self.give_way_as_scope();
        }
    }

    /// The shield of a stay gives way when that of its scope has given way, because the stay has no other.
    pub(super) fn give_way_as_scope(self: &Arc<Self>) {
        if self.kind() == Kind::Stay && self.has(SHIELD) && !self.timed().has(SHIELD) {
            self.give_way();
        }
    }

    /// The reason for which the region is to be cancelled at `now`: of its deadline and the end of its grace after a
    /// stop, the earlier one decides (R10).
    fn reason_due(&self, now: Instant) -> Option<Reason> {
        let has_come = |due: Option<Instant>| due.filter(|due| *due <= now);
        match (has_come(self.deadline_due()), has_come(self.stop_due())) {
            (Some(deadline), stop) if stop.is_none_or(|stop| deadline <= stop) => {
                Some(self.deadline_reason())
            }
            (_, Some(_)) => self.stop_reason(),
            _ => None,
        }
    }

    fn deadline_reason(&self) -> Reason {
        Reason::new(ReasonKind::Deadline, None, None, self.entered_at())
    }

    /// Cancels the region for `reason`, because one of its times, no earlier than `now`, has come. Before that it
    /// cancels every region around it of which a time has come too: of two times at one instant the outer one counts,
    /// and this region may have been polled first (R9).
    fn expire(&self, reason: Reason, now: Instant) {
        if !self.has(SHELTERED | SHIELD | LEFT) {
            let now = now.max(self.now());
            let mut overdue = Vec::new();
            for node in self.around() {
                let foreign = node.given_clock().is_some();
                overdue.extend(node.reason_due(now).map(|reason| (Arc::clone(&node), reason)));
                // Regions farther out use another clock.
                if foreign {
                    break;
                }
            }
            for (node, reason) in overdue.into_iter().rev() {
                node.cancel(reason);
            }
        }
        self.cancel(reason);
    }

    fn deadline_due(&self) -> Option<Instant> {
        if self.has(CANCELLED) { None } else { self.deadline() }
    }

    /// The time at which a stop becomes a cancellation, for the same reason (R13): the earliest end of the region's own
    /// grace, which begins once, even if several runs watch it, and of the graces that came with requests. A grace that
    /// has not begun begins now. There is none if it is beyond the last instant that a clock can represent.
    pub(in crate::region) fn stop_due(&self) -> Option<Instant> {
        if !self.has(STOP) || self.has(CANCELLED) {
            return None;
        }
        let (begun, grace) = {
            let inner = self.inner.lock();
            let rest = inner.rest_seen()?;
            let own = rest.times.grace.filter(|_| rest.times.stop_due.is_none());
            (rest.times.stop_due, own.into_iter().chain(rest.times.asked_grace).min())
        };
        let Some(grace) = grace else { return begun };
        // The clock of a region is known once it is entered.
        if !self.has(ENTERED) {
            return begun;
        }
        let due = self.now().checked_add(grace);
        let mut inner = self.inner.lock();
        let rest = inner.rest();
        // A request with a shorter grace that came meanwhile stays, and begins with the next look.
        rest.times.asked_grace.take_if(|asked| *asked >= grace);
        rest.times.stop_due = rest.times.stop_due.into_iter().chain(due).min();
        rest.times.stop_due
    }

    /// The time at which a shield gives way to a cancellation around it (R12): one grace for each cancellation, even if
    /// several runs meet it.
    fn shield_due(self: &Arc<Self>) -> Option<Instant> {
        if !self.has(SHIELD) {
            return None;
        }
        let grace = self.grace()?;
        // There is none any more if the cancelled region has left, and this one was only lent
        // to it.
        let reason = self.reason_around()?;
        let begun = {
            let inner = self.inner.lock();
            inner.rest_seen().and_then(|rest| rest.times.shield_due.clone())
        };
        if let Some((by, due)) = begun {
            // The grace began with the first cancellation, which need not be the nearest one, and goes on as long as
            // that lasts.
            if by.is_of(&reason) || self.around().any(|node| node.is_cancelled_for(&by)) {
                return Some(due);
            }
        }
        let due = self.now().checked_add(grace)?;
        let old = self.inner.lock().rest().times.shield_due.replace((reason, due));
        drop(old);
        Some(due)
    }

    /// The region with the times that this region's run watches: for a stay, its scope.
    pub(super) fn timed(self: &Arc<Self>) -> Arc<Node> {
        match self.kind() {
            Kind::Stay => self.parent().unwrap_or_else(|| Arc::clone(self)),
            _ => Arc::clone(self),
        }
    }

    /// The instant at which this region or one around it, up to a shield, is cancelled at the latest: the earliest of
    /// their deadlines and running graces (R11, R13). The grace of a shield counts too, because the shield gives way at
    /// its end (R12).
    pub(crate) fn effective_deadline(self: &Arc<Self>) -> Option<Instant> {
        let mut earliest = None;
        self.each_around(|node| {
            // A stay is its scope.
            let node = node.timed();
            let ends = [earliest, node.deadline(), node.stop_due(), node.shield_due()];
            earliest = ends.into_iter().flatten().min();
        });
        earliest
    }
}
