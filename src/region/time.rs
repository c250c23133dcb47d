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

use super::{CANCELLED, DEADLINE, ENTERED, Kind, LEFT, Node, SHELTERED, SHIELD, STOP, UNWATCHED};
use crate::clock::{Clock, Timer};
use crate::reason::{Reason, ReasonKind};
use crate::rt;
use crate::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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

    /// The time at which a stop becomes a cancellation, for the same reason (R13): one grace for the region, even if
    /// several runs watch it. There is none if it is beyond the last instant that a clock can represent.
    fn stop_due(&self) -> Option<Instant> {
        if !self.has(STOP) || self.has(CANCELLED) {
            return None;
        }
        let grace = {
            let inner = self.inner.lock();
            let rest = inner.rest_seen()?;
            if rest.stop_due.is_some() {
                return rest.stop_due;
            }
            rest.grace?
        };
        let due = self.now().checked_add(grace)?;
        Some(*self.inner.lock().rest().stop_due.get_or_insert(due))
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
            inner.rest_seen().and_then(|rest| rest.shield_due.clone())
        };
        if let Some((by, due)) = begun {
            // The grace began with the first cancellation, which need not be the nearest one, and goes on as long as
            // that lasts.
            if by.is_of(&reason) || self.around().any(|node| node.is_cancelled_for(&by)) {
                return Some(due);
            }
        }
        let due = self.now().checked_add(grace)?;
        let old = self.inner.lock().rest().shield_due.replace((reason, due));
        drop(old);
        Some(due)
    }

    /// Leaves the deadline to a timer that does not belong to the region's frame.
    pub(super) fn watches_itself(&self) {
        let inner = self.inner.lock();
        self.lower(&inner, DEADLINE);
    }

    /// Leaves the times of the region to its frame, which looks at them in its next poll.
    pub(super) fn has_new_times(&self) {
        let inner = self.inner.lock();
        self.raise(&inner, DEADLINE);
    }

    /// The region with the times that this region's run watches: for a stay, its scope.
    pub(super) fn timed(self: &Arc<Self>) -> Arc<Node> {
        match self.kind() {
            Kind::Stay => self.parent().unwrap_or_else(|| Arc::clone(self)),
            _ => Arc::clone(self),
        }
    }

    /// A relative deadline starts when the region is entered (R11).
    pub(super) fn start_timeout(&self) {
        let timeout = self.inner.lock().rest_mut().and_then(|rest| rest.timeout.take());
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

    /// Sets a deadline, unless an earlier one is set.
    pub(crate) fn add_deadline(&self, at: Instant) {
        self.set_deadline(self.deadline().map_or(at, |before| before.min(at)));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.inner.lock().more.as_ref()?.deadline
    }

    pub(super) fn grace(&self) -> Option<Duration> {
        self.inner.lock().rest_seen()?.grace
    }

    /// The time that each exit of the region may take, from its first poll (R14). A group's grace is no such bound: its
    /// only exit is the wait for the children that its dropped `run` left, and no child outlives the group (R16).
    pub(super) fn exit_grace(&self) -> Option<Duration> {
        if self.kind == Kind::Stack { self.grace() } else { None }
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

    /// Calls `look_at` for this region and for those around it whose cancellation counts here,
    /// innermost first.
    fn each_around(self: &Arc<Self>, mut look_at: impl FnMut(&Arc<Node>)) {
        let mut at = Some(Arc::clone(self));
        while let Some(node) = at {
            look_at(&node);
            if node.has(SHELTERED | SHIELD) || (node.has(LEFT) && Arc::ptr_eq(&node, self)) {
                return;
            }
            at = node.live_parent();
        }
    }
}

/// Times that no run watches (invariant 3).
impl Node {
    /// For a region that is being entered by a call, with no region inside it yet. `known` tells whether there are
    /// other references to it.
    pub(super) fn begin_unwatched(self: &Arc<Self>, known: bool) {
        {
            let inner = self.inner.lock();
            let grace = inner.rest_seen().is_some_and(|rest| rest.grace.is_some());
            let deadline = inner.more.as_ref().is_some_and(|more| more.deadline.is_some());
            let timed = deadline || (grace && self.has(STOP | SHIELD));
            if !timed {
                return;
            }
            self.raise(&inner, UNWATCHED);
        }
        self.begin_graces();
        if known {
            // An earlier look may have found it quiet.
            self.unsettle_for_good();
        }
    }

    /// Begins the graces of an event that has just happened, for a region without a run that
    /// would begin them.
    pub(super) fn begin_graces(self: &Arc<Self>) {
        if self.has(UNWATCHED) {
            self.stop_due();
            self.shield_due();
        }
    }

    /// For a question from outside: acts on the times that have come, here and around, and that no run watches.
    #[cold]
    pub(crate) fn look_at_clocks(self: &Arc<Self>) {
        self.each_around(Node::look_at_clock);
    }

    /// As [`look_at_clocks`](Node::look_at_clocks), for this region alone.
    pub(crate) fn look_at_clock(self: &Arc<Self>) {
        if !self.has(UNWATCHED) {
            return;
        }
        if let Some(due) = self.next_due(Times::All) {
            let now = self.now();
            if due <= now {
                self.come_due(now, Times::All);
            }
        }
    }
}

/// Times that a wait depends on.
impl Node {
    /// Polls the timers of a wait for the next times, here and around, even if a run watches those; returns whether a time
    /// has come that cancels this region.
    pub(super) fn poll_times_around(
        self: &Arc<Self>,
        timers: &mut Option<WaitTimers>,
        cx: &mut Context<'_>,
    ) -> bool {
        loop {
            if timers.is_none() {
                *timers = self.arm_around();
            }
            let Some(armed) = timers else { return false };
            let rings = |(timer, node): &mut (Timer, Arc<Node>)| match timer.poll_if_told(cx) {
                Some(Poll::Ready(())) => Some((timer.at(), Arc::clone(node))),
                // Without a clock where this wait is polled, the time is left to the region's run.
                Some(Poll::Pending) | None => None,
            };
            let rung: Vec<_> = armed.get_mut().iter_mut().filter_map(rings).collect();
            if rung.is_empty() {
                return false;
            }
            *timers = None;
            for (now, node) in rung {
                node.come_due_here(now);
            }
            if self.is_cancelled() {
                return true;
            }
        }
    }

    /// Timers for the next time, here and around: one for each clock, because times of two clocks cannot be compared.
    fn arm_around(self: &Arc<Self>) -> Option<WaitTimers> {
        let mut next: Vec<(Instant, Arc<Node>)> = Vec::new();
        let mut by_same_clock = false;
        self.each_around(|node| {
            let due = if node.has(ENTERED) { node.timed().next_due(Times::All) } else { None };
            if let Some(due) = due {
                match next.last_mut().filter(|_| by_same_clock) {
                    Some(last) if last.0 <= due => {}
                    Some(last) => *last = (due, Arc::clone(node)),
                    None => next.push((due, Arc::clone(node))),
                }
                by_same_clock = true;
            }
            // The regions farther out have another clock.
            by_same_clock &= node.given_clock().is_none();
        });
        let armed = next.into_iter().map(|(due, node)| (node.timed().timer(due), node));
        let armed: Vec<_> = armed.collect();
        if armed.is_empty() { None } else { Some(Box::new(Mutex::new(armed))) }
    }
}

/// The timers of a wait, each with the region that has the time. The lock is never taken: it makes the wait `Sync`,
/// which a timer is not.
pub(super) type WaitTimers = Box<Mutex<Vec<(Timer, Arc<Node>)>>>;

/// The clock of a region.
impl Node {
    /// The present instant, by the clock of the nearest region around that was given one, else by that of the current
    /// runtime.
    pub(super) fn now(&self) -> Instant {
        self.own_clock().map_or_else(rt::now, |clock| clock.now())
    }

    /// A timer of that clock.
    pub(super) fn timer(&self, at: Instant) -> Timer {
        Timer::new(at, self.own_clock())
    }

    fn own_clock(&self) -> Option<Arc<dyn Clock>> {
        if !self.is_clocked() {
            return None;
        }
        if let Some(clock) = self.given_clock() {
            return Some(clock);
        }
        let mut at = self.parent();
        while let Some(node) = at {
            if let Some(clock) = node.given_clock() {
                return Some(clock);
            }
            at = node.parent();
        }
        None
    }

    pub(super) fn given_clock(&self) -> Option<Arc<dyn Clock>> {
        self.inner.lock().rest_seen().and_then(|rest| rest.clock.clone())
    }
}
