//! The times of a region as they were set, without its deadline, and the graces that have begun. They know no region.
//!
//! Few regions have any, so they stand in the node's last box; the deadline is more frequent, and stands in the node.

use crate::clock::Clock;
use crate::reason::Reason;
use crate::sync::Arc;
use std::time::{Duration, Instant};

/// The times of a region that count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::region) enum Times {
    /// The deadline of a region that is not cancelled, the end of a stop's grace, the end of a shield's grace.
    All,
    /// All times, with the deadline of a region that is cancelled, which counts no longer for the region itself.
    OfCancelled,
    /// Only the shield's grace, for a region after the end of its body.
    OfShield,
}

#[derive(Default)]
pub(in crate::region) struct Limits {
    pub(in crate::region) clock: Option<Arc<dyn Clock>>,
    pub(in crate::region) timeout: Option<Duration>,
    pub(in crate::region) grace: Option<Duration>,
    /// The shortest grace that came with a stop and has not begun.
    pub(super) asked_grace: Option<Duration>,
    /// The end of the grace after a stop, once that grace has begun.
    pub(in crate::region) stop_due: Option<Instant>,
    /// The length of that grace.
    pub(super) begun_grace: Duration,
    /// The cancellation around a shield for which its grace has begun, and the end of that
    /// grace.
    pub(in crate::region) shield_due: Option<(Reason, Instant)>,
    /// The time that the regions inside wait for a shield that they have woken.
    pub(in crate::region) patience: Option<Duration>,
    /// `None` if the deadline has not changed since a wait has read it.
    pub(super) unread: Option<Unread>,
}

/// The deadline has changed since a wait has read it.
pub(in crate::region) enum Unread {
    /// All waits were told of a change.
    Told,
    /// The deadline was put off, and the waits have timers for this instant at the latest.
    PutOff(Instant),
}

impl Limits {
    /// The deadline changes to `at`. Whether the waits, here and inside, have to be told: not if their timers ring before that,
    /// because they read the times then, and not if they were told before and have not read the times since. So n changes do not
    /// tell n waits each (R19).
    pub(super) fn is_news(&mut self, before: Option<Instant>, at: Instant) -> bool {
        let known = match self.unread {
            Some(Unread::Told) => return false,
            Some(Unread::PutOff(known)) => Some(known),
            None => before,
        };
        let put_off = known.filter(|known| *known <= at);
        self.unread = Some(put_off.map_or(Unread::Told, Unread::PutOff));
        put_off.is_none()
    }

    /// A grace came with a stop. Of several the shortest counts.
    pub(in crate::region) fn ask_grace(&mut self, grace: Duration) {
        self.asked_grace = Some(self.asked_grace.map_or(grace, |before| before.min(grace)));
    }

    /// The grace after a stop that has not begun: the region's own, which begins once, or a shorter one that came with a
    /// request.
    pub(in crate::region) fn grace_to_begin(&self) -> Option<Duration> {
        let own = self.grace.filter(|_| self.stop_due.is_none());
        own.into_iter().chain(self.asked_grace).min()
    }

    /// Begins `grace`, which ends at `due`; returns the earliest end of the graces that have begun.
    pub(super) fn begin_grace(&mut self, grace: Duration, due: Option<Instant>) -> Option<Instant> {
        // A request with a shorter grace that came meanwhile stays, and begins when the times are next read.
        self.asked_grace.take_if(|asked| *asked >= grace);
        if let Some(due) = due.filter(|due| self.stop_due.is_none_or(|before| *due < before)) {
            (self.stop_due, self.begun_grace) = (Some(due), grace);
        }
        self.stop_due
    }
}
