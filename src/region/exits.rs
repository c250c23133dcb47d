//! The exits that a region owns and has not begun (R14).
//!
//! # Invariants
//!
//! 1. The exits are a list through the exits themselves, the last one first, so that a stack allocates nothing beside them.
//! 2. The list is dropped in a loop, and each exit in it alone, because a stack may have 10,000 of them.

use super::tally::ExitError;
use crate::reason::Leaving;
use pin_project_lite::pin_project;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The work of an exit: one allocation holds the registered future, or the closure and the
/// future it becomes.
pub(crate) trait ExitWork {
    /// `why` is used at the first poll only, as the argument of a closure.
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        why: &Leaving,
    ) -> Poll<Result<(), ExitError>>;

    /// Whether this exit was not reported yet, so that the caller, which will not run it, has to
    /// report it.
    fn claim(&self) -> bool {
        true
    }

    /// Whether it only waits for children, or for exits that an executor runs. Observers see those elsewhere.
    fn only_waits(&self) -> bool {
        false
    }
}

pin_project! {
    /// The one allocation of an exit.
    struct Registered<W: ?Sized> {
        at: &'static Location<'static>,
        // The exit that its region registered before, as long as both are in the list.
        before: Option<Exit>,
        #[pin]
        work: W,
    }
}

/// A registered exit.
pub(crate) struct Exit(Pin<Box<Registered<dyn ExitWork + Send>>>);

impl Exit {
    pub(crate) fn new(
        work: impl ExitWork + Send + 'static,
        at: &'static Location<'static>,
    ) -> Self {
        Exit(Box::pin(Registered { at, before: None, work }))
    }

    #[inline]
    pub(super) fn registered_at(&self) -> &'static Location<'static> {
        self.0.at
    }

    /// See [`ExitWork::poll`]; the next two functions are those of [`ExitWork`], too.
    #[inline]
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        why: &Leaving,
    ) -> Poll<Result<(), ExitError>> {
        self.0.as_mut().project().work.poll(cx, why)
    }

    pub(super) fn claim(&self) -> bool {
        self.0.work.claim()
    }

    pub(super) fn only_waits(&self) -> bool {
        self.0.work.only_waits()
    }

    #[inline]
    fn before(&mut self) -> &mut Option<Exit> {
        self.0.as_mut().project().before
    }
}

/// Exits of one region; the one that was registered last is taken first (invariant 1).
#[derive(Default)]
pub(crate) struct Exits {
    last: Option<Exit>,
    len: usize,
}

impl Exits {
    #[inline]
    pub(super) fn push(&mut self, mut exit: Exit) {
        *exit.before() = self.last.take();
        self.last = Some(exit);
        self.len += 1;
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Exit> {
        let mut exit = self.last.take()?;
        self.last = exit.before().take();
        self.len -= 1;
        Some(exit)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// In the order in which they would run.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Exit> {
        std::iter::successors(self.last.as_ref(), |exit| exit.0.before.as_ref())
    }

    /// As [`iter`](Exits::iter), taken out.
    pub(super) fn take_each(mut self) -> impl Iterator<Item = Exit> {
        std::iter::from_fn(move || self.pop())
    }
}

impl From<Exit> for Exits {
    fn from(exit: Exit) -> Self {
        Exits { last: Some(exit), len: 1 }
    }
}

impl Drop for Exits {
    /// In a loop and not by recursion (R14, invariant 2).
    #[inline]
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}
