//! Looks: whether a region is cancelled or stopped, by a request to itself or to a region around it (R6, R9).
//!
//! # Invariants
//!
//! 1. No state is copied inwards: a look walks over the live regions around, so a region that was only lent to a cancelled
//!    one is not cancelled any more once that one has left (R7).
//! 2. A look for a cancellation ends at the first shield, or at the exit inside which a region was entered. A look for a stop
//!    passes shields (R13).
//! 3. A look ends at a region that is quiet, and marks the regions on its way, so that a chain is walked once (R19).

use super::flags::{ATTENDED, CANCELLED, LEFT, SHELTERED, SHIELD, STOP, TIMED, UNWATCHED};
use super::node::Node;
use crate::reason::{Reason, ReasonKind};
use crate::sync::{Arc, Ordering, epoch};

impl Node {
    /// Whether this region or one around it, up to a shield, is cancelled.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        !self.is_quiet() && (self.has(CANCELLED) || self.is_cancelled_from_outside())
    }

    /// Whether this region itself was cancelled.
    #[inline]
    pub(crate) fn is_cancelled_itself(&self) -> bool {
        self.has(CANCELLED)
    }

    /// As [`is_cancelled`](Node::is_cancelled), for a question from outside: the clock is read for times that no run
    /// watches.
    #[inline]
    pub(crate) fn is_cancelled_by_now(self: &Arc<Self>) -> bool {
        !self.is_quiet() && self.is_cancelled_by_clock()
    }

    /// A region that is found quiet has no such times around it, so no clock is read.
    #[cold]
    fn is_cancelled_by_clock(self: &Arc<Self>) -> bool {
        !self.is_found_quiet() && {
            self.look_at_clocks();
            self.is_cancelled()
        }
    }

    #[cold]
    fn is_cancelled_from_outside(&self) -> bool {
        let now = epoch().load(Ordering::Acquire);
        let mut seen = 0;
        let cancelled = self.is_cancelled_in(now, &mut seen);
        if !cancelled && seen & (UNWATCHED | STOP) == 0 {
            self.quieten(now, seen & TIMED);
        }
        cancelled
    }

    /// As [`effective_reason`](Node::effective_reason), without the reason, and as far as the next region that is
    /// quiet. Returns in `seen` the flags of the regions on the way; of those outside a shield, only `STOP` (R13).
    fn is_cancelled_in(&self, now: u64, seen: &mut u32) -> bool {
        *seen = self.flags();
        {
            let inner = self.inner.lock();
            if inner.reason().is_some() || inner.dropped_for().is_some() {
                return true;
            }
        }
        if *seen & (SHELTERED | LEFT) != 0 {
            return false;
        }
        let mut counts = if *seen & SHIELD == 0 { u32::MAX } else { STOP };
        let cancelled = self.outwards(|node| {
            // Read before the flags, because a quiet region is marked `TIMED` before it is marked quiet.
            let quiet = node.is_quiet_in(now);
            let flags = node.flags();
            if flags & counts & CANCELLED != 0 {
                return Some(true);
            }
            *seen |= flags & counts;
            if flags & SHIELD != 0 {
                counts = STOP;
            }
            (quiet || flags & SHELTERED != 0).then_some(false)
        });
        cancelled == Some(true)
    }

    /// Whether the region itself was cancelled, by the request behind `reason`.
    pub(super) fn is_cancelled_for(&self, reason: &Reason) -> bool {
        self.has(CANCELLED) && self.inner.lock().reason().is_some_and(|own| own.is_of(reason))
    }

    /// Whether a region around this one, up to a shield, is cancelled as well: the outermost of them catches, and drops
    /// this one (R9). An entered scope is not counted, because it has no body that it could drop; the runs inside it
    /// have.
    pub(super) fn is_caught_outside(self: &Arc<Self>) -> bool {
        // A stay stands for its scope.
        let node = self.timed();
        let both = CANCELLED | ATTENDED;
        let drops = |node: Arc<Node>| node.flags() & both == both;
        !node.has(SHELTERED | SHIELD | LEFT) && node.around().any(drops)
    }

    /// Whether this region or one around it, through shields too, got a stop request.
    pub(crate) fn is_stopped(&self) -> bool {
        if self.has(STOP) {
            return true;
        }
        let now = epoch().load(Ordering::Acquire);
        if self.is_quiet_in(now) {
            return false;
        }
        if self.has(SHELTERED | LEFT) {
            return false;
        }
        let stopped = self.outwards(|node| {
            let stopped = node.has(STOP);
            (stopped || node.is_quiet_in(now) || node.has(SHELTERED)).then_some(stopped)
        });
        stopped == Some(true)
    }

    pub(super) fn stop_reason(&self) -> Option<Reason> {
        self.inner.lock().rest_seen()?.stop.clone()
    }

    /// This region's own reason, else that of the nearest cancelled region around it, as seen from
    /// here.
    pub(crate) fn effective_reason(&self) -> Option<Reason> {
        {
            let inner = self.inner.lock();
            let own = inner.reason().or_else(|| inner.dropped_for());
            if let Some(reason) = own {
                return Some(reason.clone());
            }
        }
        if self.has(SHELTERED | SHIELD | LEFT) { None } else { self.reason_around() }
    }

    /// The reason of the nearest cancelled region around this one, up to the next shield.
    pub(super) fn reason_around(&self) -> Option<Reason> {
        let cancelled = self.around().find(|node| node.has(CANCELLED))?;
        let inner = cancelled.inner.lock();
        inner.reason().map(|reason| reason.seen_as(ReasonKind::Parent))
    }
}
