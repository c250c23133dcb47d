//! Tasks: futures with an identity of their own.
//!
//! This module is also the function [`task`].

pub use crate::identity::TaskId;

use crate::clock::Clock;
use crate::fused::fused;
use crate::opaque::opaque;
use crate::region::inbox;
use crate::region::shields;
use crate::region::time::clock;
use crate::region::{self, Draft, Kind, Lone, Run};
use crate::spawn::Spawn;
use crate::sync::Arc;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Gives a future an identity and a root region, and nothing else.
///
/// The output is the future's own. Regions entered inside belong to this task, and only this task leaves
/// them (R2). Exits that are abandoned inside run before the task ends, if no nearer region is live
/// (R8).
///
/// The task is entered at its first poll. It may move between threads and executors' tasks with its
/// future, because the identity is its own and does not depend on the task that polls it. It hides the
/// runtime's task id from the regions inside (R5).
///
/// # Cancel safety
///
/// As that of the future inside.
///
/// # On drop
///
/// The future is dropped. Exits that were abandoned inside go to the region in which the task was first
/// polled, if it is live, else to the spawner given with [`on_abandon`](Task::on_abandon), else they are
/// [reported](crate::set_report_hook) lost.
///
/// # Panics
///
/// With the future's panic, after the exits that were abandoned inside have run.
///
/// # Comparison
///
/// `tokio::task::Id` names a task of one runtime, and does not exist in `block_on` or on another executor.
/// A `tokio::task_local!` scope carries a value and does not check which task leaves it. A future that
/// enters no regions has no use for a task.
///
/// # Examples
///
/// ```
/// # futures::executor::block_on(async {
/// let name = moored::task(async {
///     moored::task::current().and_then(|id| id.name().map(str::to_owned))
/// });
/// assert_eq!(name.named("session github").await.as_deref(), Some("session github"));
/// # });
/// ```
#[track_caller]
pub fn task<F: Future>(future: F) -> Task<F> {
    Task { run: Run::draft(Lone::new(Draft::new(Kind::Task)), future, Location::caller()) }
}

/// The current task: the innermost task of `moored` that is being polled or dropped on this thread, else
/// with the feature `tokio` the tokio task, else `None` (R5).
///
/// # Examples
///
/// ```
/// assert_eq!(moored::task::current(), None);
/// ```
pub fn current() -> Option<TaskId> {
    region::current_task()
}

pin_project! {
    /// A future with an identity; made by [`task`].
    #[must_use = "futures do nothing unless polled; a task that is dropped abandons the exits inside it"]
    pub struct Task<F: Future> {
        #[pin]
        run: Run<F, Lone<Draft, ()>>,
    }
}

impl<F: Future> Task<F> {
    /// Sets the name of the task, for the texts of [`TaskId`].
    pub fn named(self, name: impl Into<String>) -> Self {
        self.run.set_up().node().set_name(name.into());
        self
    }

    /// If the task is dropped before its end and no region around it is live, the exits that it abandons
    /// run on `spawner` (R8). Exits that `spawner` drops unfinished are [reported](crate::set_report_hook)
    /// lost.
    ///
    /// The task keeps the spawner that [`Spawn::keep`] returns, if it returns one, and not `spawner`: a task that runs on the
    /// executor of `spawner` does not keep that executor alive.
    pub fn on_abandon(self, spawner: impl Spawn + Send + Sync + 'static) -> Self {
        let kept = spawner.keep().unwrap_or_else(|| Arc::new(spawner));
        inbox::set_spawner(self.run.set_up().node(), kept);
        self
    }

    /// The time that a cancelled region inside waits for a shield that is no longer polled; 100 ms by default.
    /// Inherited by every region inside and by the children it spawns.
    ///
    /// A cancelled region keeps its body while a [`shield`](crate::shield()) inside is polled (R12). A poll of the body
    /// may not reach the shield, because `FuturesUnordered` and similar combinators poll only futures that were woken.
    /// Then the region wakes the shield. If the shield has not been polled within this time, the body is considered to
    /// have let go of it, and is dropped. Set a longer time if a woken task may have to wait longer for its turn, and
    /// [`Duration::MAX`] if a body that keeps such a shield must never be dropped.
    ///
    /// The time is measured by the task's clock. Without any timer, see [`Clock`], the clock is read whenever the
    /// region is polled.
    pub fn shield_patience(self, time: Duration) -> Self {
        shields::set_shield_patience(self.run.set_up().node(), time);
        self
    }

    /// Gives the task a clock, inherited by every region inside it and by the children it
    /// spawns (R11).
    pub fn clock(self, clock: impl Clock) -> Self {
        clock::set(self.run.set_up().node(), Arc::new(clock));
        self
    }
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut run = self.project().run;
        if let Some(polled) = run.as_mut().poll_quick(cx) {
            return polled;
        }
        // No other code has its node, so it cannot be cancelled, run twice, or owned by another task.
        let Ok(Some(Ok(value))) = ready!(run.as_mut().poll_scope(cx)) else {
            return Poll::Pending;
        };
        run.frame().send_failures();
        Poll::Ready(value)
    }
}

fused!({F: Future} Task<F>: |task| task.run.has_left());

opaque!({F: Future} Task<F>);
