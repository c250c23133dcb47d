//! The run of a stack.

use super::ExitStack;
use crate::failure::{Cause, Failure};
use crate::fused::fused;
use crate::opaque::opaque;
use crate::reason::Leaving;
use crate::region::{Draft, Ended, Errors, Frame, Lone, OfStack, OwnExits, Run};
use pin_project_lite::pin_project;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

impl ExitStack {
    pub(crate) fn run_as<F: Future, S>(
        &self,
        body: F,
        at: &'static Location<'static>,
    ) -> StackRun<'_, F, S> {
        let run = Run::draft(Lone::new((&self.draft, &self.exits)), body, at);
        StackRun { run, stack: PhantomData }
    }
}

pin_project! {
    /// The future of [`ExitStack::run`].
    #[must_use = "futures do nothing unless polled; dropping it sends the exits to the enclosing region"]
    pub struct StackRun<'a, F: Future, S = ExitStack> {
        #[pin]
        run: Run<F, Lone<(&'a Draft<OfStack>, &'a OwnExits), ()>>,
        stack: PhantomData<&'a S>,
    }
}

impl<F, T, E, S> Future for StackRun<'_, F, S>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Failure<E>>;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut run = self.project().run;
        if let Some(polled) = run.as_mut().poll_quick_as(Leaving::of, cx) {
            return polled.map_err(|error| Failure::only(Cause::Body(error)));
        }
        let ended = match ready!(run.as_mut().poll_run(cx, Leaving::of)) {
            Ok(ended) => ended,
            Err(misuse) => return Poll::Ready(Err(Failure::rejected(*misuse))),
        };
        let result = run.as_mut().value();
        let frame = run.frame();
        match (ended, result) {
            (Ended::Value, Some(Ok(value))) if frame.is_clean() => Poll::Ready(Ok(value)),
            (ended, result) => tell(frame, ended, result),
        }
    }
}

/// The outcome of a stack after a failure, a panic or a cancellation of its body or exits.
#[cold]
#[track_caller]
fn tell<T, E>(
    frame: &mut Frame,
    ended: Ended,
    result: Option<Result<T, E>>,
) -> Poll<Result<T, Failure<E>>> {
    let (mut value, mut errors) = (None, Errors::new());
    match result {
        Some(Ok(returned)) => value = Some(returned),
        Some(Err(error)) => errors.push(Cause::Body(error), frame.at()),
        None => {}
    }
    if let Some(reason) = ended.into_reason() {
        errors.push(Cause::Cancelled(reason), frame.at());
    }
    frame.result(value, errors)
}

fused!({F: Future<Output = Result<T, E>>, T, E, S} StackRun<'_, F, S>: |run| run.run.has_left());

opaque!({F: Future, S} StackRun<'_, F, S>);
