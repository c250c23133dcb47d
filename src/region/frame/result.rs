//! The one result of a region that returns a record: a stack or a group (R15).

use super::Frame;
use crate::failure::{Cause, ExitFailure, Failure, Failures};
use crate::region::node::Node;
use crate::region::owner;
use crate::region::record;
use crate::region::tally::Caught;
use crate::unwind::Payload;
use std::panic::Location;
use std::task::Poll;

/// The errors of a body and of its children, in the order in which they happened, and the first panic of a child.
pub(crate) struct Errors<E> {
    causes: Vec<(Cause<E>, &'static Location<'static>)>,
    pub(crate) omitted: usize,
    pub(crate) panic: Option<Caught>,
}

impl<E> Errors<E> {
    pub(crate) fn new() -> Self {
        Errors { causes: Vec::new(), omitted: 0, panic: None }
    }

    /// `at` is the place of the body or child, for an error that no caller receives.
    pub(crate) fn push(&mut self, cause: Cause<E>, at: &'static Location<'static>) {
        self.causes.push((cause, at));
    }

    pub(crate) fn len(&self) -> usize {
        self.causes.len()
    }

    pub(crate) fn causes(&self) -> impl Iterator<Item = &Cause<E>> {
        self.causes.iter().map(|(cause, _)| cause)
    }

    /// Takes the errors of children out.
    pub(crate) fn take_of_children(&mut self) -> Self {
        let of_children = |(cause, _): &(Cause<E>, _)| matches!(cause, Cause::Child { .. });
        let (children, rest) = std::mem::take(&mut self.causes).into_iter().partition(of_children);
        self.causes = rest;
        Errors { causes: children, omitted: std::mem::take(&mut self.omitted), panic: None }
    }

    /// The errors as failures for the next record outwards, because this record is not returned.
    pub(crate) fn unclaimed(&self, node: &Node) -> Failures {
        let unclaimed = self.causes.iter().filter_map(|(cause, at)| {
            let task = match cause {
                Cause::Child { task, .. } => task.clone(),
                Cause::Body(_) => owner::id(node)?,
                _ => return None,
            };
            Some(ExitFailure::Unclaimed { registered_at: at, task })
        });
        Failures { first: unclaimed.collect(), omitted: self.omitted }
    }

    /// Each one by itself, because the drop of an error may panic.
    pub(crate) fn drop_each(self, mut dropped: impl FnMut(Cause<E>, &'static Location<'static>)) {
        self.causes.into_iter().for_each(|(cause, at)| dropped(cause, at));
    }
}

/// The record of a region that has left: its errors, then the failures of its exits; or a panic that is resumed in its place.
pub(crate) struct Record<E> {
    errors: Errors<E>,
    failures: Failures,
    panic: Option<Payload>,
}

impl<E> Record<E> {
    /// The record, or `value` if nothing went wrong.
    #[track_caller]
    pub(crate) fn or<V>(self, value: V, frame: &mut Frame) -> Result<V, Failure<E>> {
        let Record { errors, mut failures, panic } = self;
        if let Some(panic) = panic {
            frame.drop_value(value);
            frame.add_failures(failures);
            frame.add_failures(errors.unclaimed(frame.node()));
            errors.drop_each(|cause, _| frame.drop_value(cause));
            frame.resume_now(panic);
        }
        failures.omitted += errors.omitted;
        let causes = errors.causes.into_iter().map(|(cause, _)| cause).collect();
        Failure::record(causes, failures).map_or(Ok(value), Err)
    }
}

impl Frame {
    /// The record so far: first `errors`, then the failures of the exits. The record counts those over its cap, which are
    /// dropped here; a panic of such a drop is a panic of the region (R15).
    pub(crate) fn take_record<E>(&mut self, mut errors: Errors<E>) -> Record<E> {
        if self.has_failures() || errors.len() > 1 {
            let cap = record::cap(self.node());
            let over = errors.causes.split_off(errors.len().min(cap));
            errors.omitted += over.len();
            over.into_iter().for_each(|(cause, _)| self.drop_value(cause));
            let over = self.extras().tally.failures.trim(cap - errors.len());
            over.into_iter().for_each(|failure| self.drop_value(failure));
        }
        let panic = self.take_panic(errors.panic.take());
        Record { errors, failures: self.take_failures(), panic }
    }

    /// The result of a region that has left. The value of its body is dropped if there is a record. Pending without either,
    /// as after a panic.
    #[track_caller]
    pub(crate) fn result<T, E>(
        &mut self,
        mut value: Option<T>,
        errors: Errors<E>,
    ) -> Poll<Result<T, Failure<E>>> {
        if self.has_failures() || errors.len() > 0 {
            self.drop_value(value.take());
        }
        match self.take_record(errors).or(value, self) {
            Ok(Some(value)) => Poll::Ready(Ok(value)),
            Ok(None) => Poll::Pending,
            Err(failure) => Poll::Ready(Err(failure)),
        }
    }
}
