//! The way of failures that their own region cannot return: to the nearest record outwards, else to the hook (R15). A
//! record keeps the first ones and counts the others, from every source (R19).
//!
//! # Invariants
//!
//! 1. Every failure goes into a record, or to the hook, when it happens. A scope that is not cancelled yet and has no record
//!    around it does both: it keeps the failure for a later `Cancelled`.
//! 2. A failure that was sent is stored under the lock, after `LEFT` was read (invariant 2 of the room).
//! 3. Failures over the cap are counted, and dropped outside the lock, because their drop is user code (R18).

use super::flags::{ATTENDED, INBOX, LEFT, REWAKE};
use super::kind::Kind;
use super::local_exit;
use super::node::{Inner, Node};
use crate::failure::Failures;
use crate::report::{Report, report, report_failure};
use crate::unwind;
use crate::wakers::wake_all;

/// The number of failures that a record keeps by default.
const CAP: usize = 1024;

impl Node {
    /// Whether the result of its run may contain failures: that of a stack or a group does, that of a scope if it is
    /// cancelled.
    pub(super) fn may_take_failures(&self) -> bool {
        self.is_record() || !self.is_task()
    }

    /// Whether the result of its run contains every failure.
    pub(super) fn is_record(&self) -> bool {
        matches!(self.kind, Kind::Stack | Kind::Group)
    }

    /// Whether a run attends it, or will: a group has executor children before it is run, and will be run or
    /// dropped.
    fn is_open(&self) -> bool {
        self.has(ATTENDED) || self.kind == Kind::Group
    }

    /// Whether there is a record around that takes the failures which this region cannot
    /// return.
    pub(super) fn has_record_around(&self) -> bool {
        self.outwards(|node| (node.is_record() && node.is_open()).then_some(())).is_some()
    }

    /// Sends failures to the nearest region outwards that may return them, else to the hook (R15).
    pub(crate) fn send_failures(&self, failures: Failures) {
        if failures.is_empty() {
            return;
        }
        let taken = self.offer_outwards(failures, |node, failures| {
            if node.may_take_failures() { node.take_record(failures) } else { Err(failures) }
        });
        if let Err(failures) = taken {
            unwind::drop_each_quietly(self.report_failures(failures).first);
        }
    }

    /// Puts failures into this region's own record, or sends them outwards if the region has left.
    pub(crate) fn record_failures(&self, failures: Failures) {
        if let Err(back) = self.take_record(failures) {
            self.send_failures(back);
        }
    }

    /// Stores failures that were sent here, unless the region has left or no run attends it.
    fn take_record(&self, failures: Failures) -> Result<(), Failures> {
        let (waker, over) = {
            let mut inner = self.inner.lock();
            if self.has(LEFT) || !self.is_open() {
                return Err(failures);
            }
            let cap = self.cap_in(&inner);
            let records = &mut inner.rest().records;
            records.append(failures);
            let over = records.trim(cap);
            // The run of a scope may have to report them at once.
            let waker = if self.is_record() { None } else { inner.waker.take() };
            self.raise(&inner, INBOX | if waker.is_some() { REWAKE } else { 0 });
            (waker, over)
        };
        unwind::drop_each_quietly(over);
        wake_all(waker);
        Ok(())
    }

    /// Reports failures to the hook that no record will contain, and returns them.
    pub(super) fn report_failures(&self, failures: Failures) -> Failures {
        let Failures { first, omitted } = failures;
        let region = self.describe();
        let tell = |failure| match local_exit::was_reported(&failure) {
            true => failure,
            false => report_failure(region.clone(), failure),
        };
        let first = first.into_iter().map(tell).collect();
        if omitted > 0 {
            report(Report::Omitted { region: region.clone(), failures: omitted });
        }
        Failures { first, omitted }
    }

    /// Sets the number of failures that its record keeps (R15).
    pub(crate) fn set_cap(&self, cap: usize) {
        self.inner.lock().rest().cap = Some(cap.max(1));
    }

    /// The number of failures that its record keeps.
    pub(crate) fn cap(&self) -> usize {
        self.cap_in(&self.inner.lock())
    }

    fn cap_in(&self, inner: &Inner) -> usize {
        inner.rest_seen().and_then(|rest| rest.cap).unwrap_or(CAP)
    }
}
