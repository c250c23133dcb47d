//! Cutting a future at each of its awaits.

use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Polls `future` at most `polls` times. If it is pending then, it is dropped, and this resolves to
/// `None`.
///
/// If a story is run with `polls` = 0, 1, 2, … until it ends, it has been cancelled at each of its awaits,
/// under any executor.
///
/// # Examples
///
/// ```
/// use moored::testing::cut;
/// use moored::{ExitStack, checkpoint, task};
///
/// # futures::executor::block_on(async {
/// let mut polls = 0;
/// loop {
///     let story = async {
///         let stack = ExitStack::new();
///         let body = async {
///             stack.defer(async { println!("left") });
///             checkpoint().await;
///             Ok::<_, ()>(())
///         };
///         stack.run(body).await
///     };
///     // The task runs the exits that the cut story abandons.
///     if task(cut(polls, story)).await.is_some() {
///         break;
///     }
///     polls += 1;
/// }
/// assert_eq!(polls, 2);
/// # });
/// ```
pub fn cut<F: Future>(polls: usize, future: F) -> Cut<F> {
    Cut { future: Some(future), polls }
}

pin_project! {
    /// The future of [`cut`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Cut<F> {
        #[pin]
        future: Option<F>,
        polls: usize,
    }
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let (Some(left), Some(future)) =
            (this.polls.checked_sub(1), this.future.as_mut().as_pin_mut())
        {
            *this.polls = left;
            if let Poll::Ready(output) = future.poll(cx) {
                return Poll::Ready(Some(output));
            }
            if left > 0 {
                return Poll::Pending;
            }
        }
        this.future.set(None);
        Poll::Ready(None)
    }
}

impl<F> fmt::Debug for Cut<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cut").field("polls", &self.polls).finish_non_exhaustive()
    }
}
