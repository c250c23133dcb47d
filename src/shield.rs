//! Shields: a cancelled region waits for the shields inside it (R12).

use crate::fused::fused;
use crate::opaque::opaque;
use crate::reason::Leaving;
use crate::region::shields;
use crate::region::{Ended, Kind, Node, Run};
use crate::report::{Report, report};
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Runs `future` to its end, even if a region around it is cancelled: while this is polled, the body of a
/// cancelled region around it is not dropped (R12).
///
/// It protects `future`, and nothing else. The children of every [`TaskGroup`](crate::TaskGroup) inside the
/// cancelled region are cancelled at once, in the task and on executors. But other parts of the same body, such as
/// the other arms of a `join!`, live on until this has ended, because the body has to be polled for it.
///
/// It has to be polled. Inside a combinator that polls only futures that were woken, such as `FuturesUnordered` or
/// `join_all`, it is woken by the cancelled region, and holds beside any number of siblings that are always ready. A
/// shield that is kept but no longer polled, such as the loser of a `select!` by reference, holds for 100 ms after
/// it was woken; see [`Task::shield_patience`](crate::Task::shield_patience).
///
/// The region around waits for as long as `future` takes; bound it with
/// [`fail_after`](crate::fail_after) inside, or use a [shielded](crate::CancelScope::shielded) scope
/// with a grace. After Trio's `CancelScope(shield=True)`.
///
/// # Cancel safety
///
/// A shield that is dropped by other code, such as `select!`, does not protect: `future` is
/// dropped.
///
/// # Task affinity
///
/// The task that polls it first owns it (R2). Polled by another task it panics. If `future` had ended, and only
/// exits that it abandoned were still running, its value is returned all the same and the attempt is
/// [reported](crate::set_report_hook).
///
/// # Panics
///
/// With the panic of `future`. When it is polled by another task than before, and `future` has not ended,
/// because a shield then has no value to return.
///
/// # Examples
///
/// ```
/// # futures::executor::block_on(async {
/// let scope = moored::CancelScope::new();
/// scope.cancel();
/// let two_steps = async {
///     moored::checkpoint().await;
///     "done"
/// };
/// assert_eq!(scope.run(moored::shield(two_steps)).await.unwrap(), "done");
/// # });
/// ```
#[track_caller]
pub fn shield<F: Future>(future: F) -> Shield<F> {
    let node = Node::new(Kind::Shield);
    shields::set_shielded(&node);
    Shield { run: Run::new(node, future, Location::caller()) }
}

pin_project! {
    /// The future of [`shield`].
    #[must_use = "futures do nothing unless polled; a shield that is not polled protects from nothing"]
    pub struct Shield<F: Future> {
        #[pin]
        run: Run<F>,
    }
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut run = self.project().run;
        let ended = ready!(run.as_mut().poll_run(cx, |_| Leaving::Completed));
        let value = run.as_mut().value();
        match ended {
            Ok(Ended::Misplaced(wrong)) if value.is_some() => report(Report::ForeignPoll(*wrong)),
            Ok(Ended::Misplaced(wrong)) => panic!("{wrong}"),
            // Unreachable: no other code has its node.
            Ok(Ended::Value | Ended::Panicked | Ended::Cancelled(_)) | Err(_) => {}
        }
        let frame = run.frame();
        if let Some(panic) = frame.take_panic(None) {
            frame.drop_value(value);
            frame.resume_now(panic);
        }
        frame.send_failures();
        value.map_or(Poll::Pending, Poll::Ready)
    }
}

fused!({F: Future} Shield<F>: |shield| shield.run.has_left());

opaque!({F: Future} Shield<F>);
