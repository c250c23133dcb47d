//! The failures of a region, until a result or a record further out takes them (R15).
//!
//! # Invariants
//!
//! 1. The first panic is kept to be resumed. Each other one is a failure, and none is dropped (R15).
//! 2. Failures are in the order in which they happened, also after a panic became one of them.

use crate::failure::{BoxError, ExitFailure, Failures};
use crate::identity::TaskId;
use crate::sync::next_number;
use crate::unwind::{self, Payload};
use std::panic::Location;
use std::time::Duration;

/// A panic that was caught, to be resumed when everything has left.
pub(crate) struct Caught {
    payload: Payload,
    registered_at: &'static Location<'static>,
    /// The task that panicked, if it was not an exit.
    task: Option<TaskId>,
    /// Panics that were caught later have a larger one.
    number: u64,
}

impl Caught {
    /// Takes a number, which is cheap enough because only panics need one.
    pub(crate) fn new(payload: Payload, registered_at: &'static Location<'static>) -> Self {
        Caught { payload, registered_at, task: None, number: next_number() }
    }

    /// As [`new`](Caught::new), for the panic of a child or a body of `task`.
    pub(crate) fn of(
        task: Option<TaskId>,
        payload: Payload,
        registered_at: &'static Location<'static>,
    ) -> Self {
        Caught { task, ..Caught::new(payload, registered_at) }
    }

    pub(crate) fn into_failure(self) -> ExitFailure {
        let Caught { payload, registered_at, task, .. } = self;
        ExitFailure::Panicked { registered_at, task, message: unwind::into_message(payload) }
    }

    pub(crate) fn into_payload(self) -> Payload {
        self.payload
    }
}

/// How an exit ended that did not end well.
pub(crate) enum ExitError {
    Failed(BoxError),
    /// The exit waited for children or exits that panicked.
    Panicked(Caught),
    /// The value that the exit gives back is still lent.
    StillHeld,
    /// The exit was cut off after this time.
    TimedOut(Duration),
}

/// The failures and the panic of a region's body and exits.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) failures: Failures,
    /// The first panic, and the number of `failures` before it.
    panic: Option<(Caught, usize)>,
}

impl Tally {
    /// Whether there is a panic to resume.
    pub(super) fn has_panicked(&self) -> bool {
        self.panic.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.failures.is_empty() && self.panic.is_none()
    }

    /// Keeps the first panic; a second one is a failure (invariant 1).
    pub(crate) fn panicked(&mut self, payload: Payload, registered_at: &'static Location<'static>) {
        self.caught(Caught::new(payload, registered_at));
    }

    /// As [`panicked`](Tally::panicked), for a panic that was caught elsewhere.
    pub(super) fn caught(&mut self, caught: Caught) {
        if self.panic.is_none() {
            self.panic = Some((caught, self.failures.first.len()));
        } else {
            self.failures.push(caught.into_failure());
        }
    }

    pub(super) fn exit_ended(
        &mut self,
        registered_at: &'static Location<'static>,
        outcome: Result<Result<(), ExitError>, Payload>,
    ) {
        self.failures.push(match outcome {
            Ok(Ok(())) => return,
            Ok(Err(ExitError::Failed(error))) => ExitFailure::Failed { registered_at, error },
            Ok(Err(ExitError::TimedOut(grace))) => ExitFailure::TimedOut { registered_at, grace },
            Ok(Err(ExitError::Panicked(caught))) => return self.caught(caught),
            Ok(Err(ExitError::StillHeld)) => ExitFailure::StillHeld { registered_at },
            Err(payload) => return self.panicked(payload, registered_at),
        });
    }

    /// The panic to resume: this one, or `other` if that came first. The later one becomes a failure, in its place.
    pub(super) fn take_panic(&mut self, other: Option<Caught>) -> Option<Caught> {
        match (self.panic.take(), other) {
            (Some((own, before)), Some(other)) if own.number < other.number => {
                self.failures.first.insert(before, other.into_failure());
                Some(own)
            }
            (Some(own), Some(other)) => {
                self.panic = Some(own);
                self.panic_as_failure();
                Some(other)
            }
            (own, other) => own.map(|(own, _)| own).or(other),
        }
    }

    /// Makes the panic one of the failures, in its place (invariant 2), because it cannot be resumed.
    pub(super) fn panic_as_failure(&mut self) {
        if let Some((caught, before)) = self.panic.take() {
            // Some of the failures before it may have been passed on meanwhile.
            let at = before.min(self.failures.first.len());
            self.failures.first.insert(at, caught.into_failure());
        }
    }

    /// The failures so far. A panic stays.
    pub(crate) fn take_failures(&mut self) -> Failures {
        if let Some((_, before)) = &mut self.panic {
            *before = 0;
        }
        std::mem::take(&mut self.failures)
    }
}
