//! Leaving a stack that was entered by its first use.

use super::ExitStack;
use crate::failure::Failure;
use crate::fused::fused;
use crate::reason::Leaving;
use crate::region::frame;
use crate::region::owner;
use crate::region::{Errors, Frame, Node, OwnExits};
use crate::sync::Arc;
use crate::wrong_task::{Misuse, Rejected};
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The future of [`ExitStack::close`].
#[must_use = "futures do nothing unless polled; dropping it sends the exits to the enclosing region"]
pub struct Close<S = ExitStack> {
    // `None` once it has resolved.
    stack: Option<S>,
    exits: fn(&S) -> &OwnExits,
    frame: Frame,
}

impl<S> Close<S> {
    pub(super) fn new(
        stack: S,
        exits: fn(&S) -> &OwnExits,
        node: Arc<Node>,
        at: &'static Location<'static>,
    ) -> Self {
        Close { stack: Some(stack), exits, frame: Frame::new(node, at) }
    }

    /// Hands the stack back unchanged.
    fn reject(&mut self, misuse: Misuse) -> Poll<Result<(), CloseError<S>>> {
        frame::detach(&mut self.frame);
        match self.stack.take() {
            Some(stack) => {
                Poll::Ready(Err(CloseError(CloseErrorKind::Rejected(Rejected::new(misuse, stack)))))
            }
            None => Poll::Pending,
        }
    }
}

impl<S> Unpin for Close<S> {}

impl<S> Future for Close<S> {
    type Output = Result<(), CloseError<S>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(exits) = this.stack.as_ref().map(this.exits) else { return Poll::Pending };
        if let Err(misuse) = frame::begin_close(&mut this.frame) {
            return this.reject(*misuse);
        }
        exits.enter(owner::of(this.frame.node()));
        ready!(frame::poll_leave(&mut this.frame, cx, Leaving::Completed, false, Some(exits)));
        this.stack = None;
        let failed = |failure| CloseError(CloseErrorKind::Failed(failure));
        this.frame.result(Some(()), Errors::new()).map_err(failed)
    }
}

fused!({S} Close<S>: |close| close.stack.is_none());

impl<S> Drop for Close<S> {
    fn drop(&mut self) {
        frame::report_foreign_drop(&self.frame);
        frame::abandon(&mut self.frame, self.stack.as_ref().map(self.exits), None);
    }
}

impl<S: fmt::Debug> fmt::Debug for Close<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Close").field(&self.stack).finish()
    }
}

/// The reason why [`ExitStack::close`] did not leave cleanly.
pub struct CloseError<S = ExitStack>(CloseErrorKind<S>);

enum CloseErrorKind<S> {
    Rejected(Rejected<S>),
    Failed(Failure<Infallible>),
}

impl<S> CloseError<S> {
    /// The refusal, if the stack was not left: its owner still can leave it.
    pub fn rejected(&self) -> Option<&Misuse> {
        match &self.0 {
            CloseErrorKind::Rejected(rejected) => Some(rejected.error()),
            CloseErrorKind::Failed(_) => None,
        }
    }

    /// The failures, if the stack was left.
    pub fn failure(&self) -> Option<&Failure<Infallible>> {
        match &self.0 {
            CloseErrorKind::Rejected(_) => None,
            CloseErrorKind::Failed(failure) => Some(failure),
        }
    }

    /// The stack, unchanged, if closing it was rejected.
    ///
    /// # Errors
    ///
    /// The error itself, if the stack was left.
    pub fn into_inner(self) -> Result<S, CloseError<S>> {
        match self.0 {
            CloseErrorKind::Rejected(rejected) => Ok(rejected.into_inner()),
            failed @ CloseErrorKind::Failed(_) => Err(CloseError(failed)),
        }
    }
}

impl<S> fmt::Display for CloseError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            CloseErrorKind::Rejected(rejected) => fmt::Display::fmt(rejected, f),
            CloseErrorKind::Failed(failure) => fmt::Display::fmt(failure, f),
        }
    }
}

impl<S> fmt::Debug for CloseError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            CloseErrorKind::Rejected(rejected) => {
                f.debug_tuple("Rejected").field(rejected.error()).finish()
            }
            CloseErrorKind::Failed(failure) => fmt::Debug::fmt(failure, f),
        }
    }
}

impl<S> Error for CloseError<S> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            CloseErrorKind::Rejected(rejected) => rejected.source(),
            CloseErrorKind::Failed(failure) => failure.source(),
        }
    }
}
