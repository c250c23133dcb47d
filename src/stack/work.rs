//! The kinds of work that can be registered as an exit, in one allocation each.

use crate::failure::BoxError;
use crate::reason::Leaving;
use crate::region::{ExitError, ExitWork};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The types that an exit may return: `()`, or a `Result` with an error that can be boxed.
///
/// Sealed: there are no other such types.
#[diagnostic::on_unimplemented(
    message = "an exit cannot return `{Self}`",
    label = "an exit returns `()`, or a `Result<(), E>` whose `E` can be boxed",
    note = "end the exit with `;` or `Ok(())`, and turn its error into a `BoxError` with `map_err`"
)]
pub trait ExitOutput: sealed::Sealed {
    #[doc(hidden)]
    fn into_result(self) -> Result<(), BoxError>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}

impl ExitOutput for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> ExitOutput for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

pin_project! {
    /// A closure that makes the exit's future at the first poll; then that future.
    #[project = DeferredProjected]
    pub(crate) enum Deferred<C, F> {
        Closure { make: Option<C> },
        Future { #[pin] future: F },
    }
}

/// The closure type of an exit that was registered as a future.
pub(crate) type NoClosure<F> = fn(&Leaving) -> Result<F, ExitError>;

impl<F> Deferred<NoClosure<F>, F> {
    pub(crate) fn future(future: F) -> Self {
        Deferred::Future { future }
    }
}

impl<C, F> Deferred<C, F>
where
    C: FnOnce(&Leaving) -> Result<F, ExitError>,
{
    pub(crate) fn closure(make: C) -> Self {
        Deferred::Closure { make: Some(make) }
    }
}

impl<C, F> ExitWork for Deferred<C, F>
where
    C: FnOnce(&Leaving) -> Result<F, ExitError>,
    F: Future,
    F::Output: ExitOutput,
{
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        why: &Leaving,
    ) -> Poll<Result<(), ExitError>> {
        loop {
            match self.as_mut().project() {
                DeferredProjected::Future { future } => {
                    return future
                        .poll(cx)
                        .map(|output| output.into_result().map_err(ExitError::Failed));
                }
                DeferredProjected::Closure { make } => {
                    // Taken out, so that a closure that panicked is not called again.
                    let Some(make) = make.take() else { return Poll::Ready(Ok(())) };
                    match make(why) {
                        Ok(future) => self.set(Deferred::Future { future }),
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
        }
    }
}
