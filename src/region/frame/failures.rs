//! The failures of a frame's region, until its result or a record further out takes them (R15).

use super::{Extras, Frame};
use crate::failure::{ExitFailure, Failures};
use crate::reason::Leaving;
use crate::region::body::Body;
use crate::region::look;
use crate::region::owner;
use crate::region::record;
use crate::region::tally::Caught;
use crate::sync::Arc;
use crate::unwind::{self, Payload};

impl Frame {
    /// The panic to resume when everything has left: the first one, of the body, of an exit, or `other`. A later one
    /// becomes a failure (R15). So does the panic of an exit while the thread unwinds already, because a second panic
    /// would end the process.
    pub(crate) fn take_panic(&mut self, other: Option<Caught>) -> Option<Payload> {
        let Some(Extras { tally, why, .. }) = self.extras.as_deref_mut() else {
            return other.map(Caught::into_payload);
        };
        let of_exits = other.is_none() && !matches!(why, Some(Leaving::Panicked));
        if of_exits && std::thread::panicking() {
            tally.panic_as_failure();
        }
        tally.take_panic(other).map(Caught::into_payload)
    }

    /// Records an error of the body that no caller receives, because a panic takes its place, or its run was dropped
    /// (R15).
    pub(crate) fn unclaimed(&mut self) {
        let owner = owner::id(self.node());
        let error = owner.map(|task| ExitFailure::Unclaimed { registered_at: self.at, task });
        self.extras().tally.failures.first.extend(error);
    }

    /// Whether the body has returned an error, which its run returns when the exits have run.
    pub(in crate::region) fn has_error_to_tell(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| matches!(extras.why, Some(Leaving::Failed)))
    }

    /// Resumes `panic` in place of a result; the failures that no result will contain go outwards.
    pub(crate) fn resume_now(&mut self, panic: Payload) -> ! {
        if let Some(extras) = self.extras_seen() {
            extras.tally.panic_as_failure();
        }
        self.send_failures();
        unwind::resume(panic);
    }

    /// Drops a value that is not returned because of a failure. A panic of the drop is resumed in place of both, and
    /// hides neither (R15).
    pub(crate) fn drop_value<R>(&mut self, value: R) {
        self.keep_panic_of(unwind::catch(|| drop(value)));
    }

    /// As [`drop_value`](Frame::drop_value), for the value that the body has ended with.
    pub(in crate::region) fn drop_value_of(&mut self, body: &mut dyn Body) {
        self.keep_panic_of(unwind::catch(|| body.drop_value()));
    }

    /// Whether no failure, no panic and nothing else was ever noted.
    #[inline]
    pub(crate) fn is_clean(&self) -> bool {
        self.extras.is_none()
    }

    /// Whether there are failures for a record.
    pub(crate) fn has_failures(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| !extras.tally.failures.is_empty())
    }

    /// Sends the failures so far to the nearest record outwards (R15).
    #[inline]
    pub(crate) fn send_failures(&mut self) {
        if let Some(extras) = self.extras_seen() {
            let failures = extras.tally.take_failures();
            let reported = std::mem::take(&mut extras.reported);
            unwind::drop_each_quietly(reported.first);
            record::send(self.node(), failures);
        }
    }

    /// Bounds the failures of a record. Failures of a region without a record are passed on when they happen, not when
    /// it is left (R15, R19).
    pub(super) fn tell_failures(&mut self) {
        match self.extras_seen() {
            Some(extras) if !extras.tally.failures.is_empty() => {}
            _ => return,
        }
        let node = Arc::clone(self.node());
        let Extras { tally, reported, .. } = self.extras();
        let over = if record::is_record(&node) || look::is_cancelled_itself(&node) {
            tally.failures.trim(record::cap(&node))
        } else if !record::may_take_failures(&node) {
            return record::send(&node, tally.take_failures());
        } else if record::has_record_around(&node) {
            // The failures go to that record, or into a later `Cancelled`.
            tally.failures.trim(record::cap(&node))
        } else {
            reported.append(record::report_all(&node, tally.take_failures()));
            reported.trim(record::cap(&node))
        };
        over.into_iter().for_each(|failure| self.drop_value(failure));
    }

    /// Keeps the panic of user code that was run, if it panicked.
    #[inline]
    pub(in crate::region) fn keep_panic_of(&mut self, user_code: Result<(), Payload>) {
        if let Err(payload) = user_code {
            self.keep_panic(payload);
        }
    }

    pub(in crate::region) fn keep_panic(&mut self, payload: Payload) {
        let task = self.node.as_ref().and_then(|node| owner::id(node));
        let caught = Caught::of(task, payload, self.at);
        self.extras().tally.caught(caught);
    }

    pub(crate) fn add_failures(&mut self, failures: Failures) {
        if !failures.is_empty() {
            self.extras().tally.failures.append(failures);
        }
    }

    /// The failures so far, for a record.
    pub(crate) fn take_failures(&mut self) -> Failures {
        let Some(extras) = self.extras_seen() else { return Failures::default() };
        let mut failures = std::mem::take(&mut extras.reported);
        failures.append(extras.tally.take_failures());
        failures
    }
}
