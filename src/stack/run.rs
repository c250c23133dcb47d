//! The run of a stack.

use super::ExitStack;
use crate::failure::{Cause, Failure};
use crate::opaque::opaque;
use crate::reason::Leaving;
use crate::region::record;
use crate::region::{Draft, Ended, Frame, Lone, OfStack, OwnExits, Run};
use crate::wrong_task::Misuse;
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
        let why = |result: &Result<T, E>| match result {
            Ok(_) => Leaving::Completed,
            Err(_) => Leaving::Failed,
        };
        if let Some(polled) = run.as_mut().poll_quick_as(why, cx) {
            return polled.map_err(|error| Failure::only(Cause::Body(error)));
        }
        let ended = match ready!(run.as_mut().poll_run(cx, why)) {
            Ok(ended) => ended,
            Err(misuse) => match *misuse {
                Misuse::WrongTask(wrong) => {
                    return Poll::Ready(Err(Failure::only(Cause::Rejected(*wrong))));
                }
                misuse => misuse.panic(),
            },
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
    let (mut value, mut causes) = (None, Vec::new());
    match result {
        Some(Ok(returned)) => value = Some(returned),
        Some(Err(error)) => causes.push(Cause::Body(error)),
        None => {}
    }
    causes.extend(ended.into_reason().map(Cause::Cancelled));
    if frame.has_failures() || !causes.is_empty() {
        frame.drop_value(value.take());
    }
    if let Some(panic) = frame.take_panic(None) {
        if causes.iter().any(|cause| matches!(cause, Cause::Body(_))) {
            frame.unclaimed();
        }
        frame.resume(panic, (value, causes));
    }
    let failures = frame.take_failures();
    Poll::Ready(match (Failure::record(causes, failures, || record::cap(frame.node())), value) {
        (Some(failure), _) => Err(failure),
        (None, Some(value)) => Ok(value),
        (None, None) => return Poll::Pending,
    })
}

impl<F, T, E, S> futures_core::FusedFuture for StackRun<'_, F, S>
where
    F: Future<Output = Result<T, E>>,
{
    fn is_terminated(&self) -> bool {
        self.run.has_left()
    }
}

opaque!({F: Future, S} StackRun<'_, F, S>);
