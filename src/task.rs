//! Tasks: futures with an identity of their own.
//!
//! This module is also the function [`task`].

pub use crate::identity::TaskId;

use crate::clock::Clock;
use crate::reason::Leaving;
use crate::region::{self, Draft, Ended, Kind, Run};
use crate::spawn::Spawn;
use crate::sync::Arc;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Gives a future an identity and a root region, and nothing else.
///
/// The output is the future's own. Regions entered inside belong to this task, and only it leaves them
/// (R2). Exits that are abandoned inside, where no region nearer is live, run before the task ends (R8).
///
/// The task is entered at its first poll. It may move between threads and executors' tasks with its
/// future: who polls it does not matter, because the identity is its own. It hides the runtime's task id
/// from what runs inside (R5).
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
/// With the future's panic, after what was abandoned inside has run.
///
/// # Comparison
///
/// `tokio::task::Id` names a task of one runtime, and is not there in `block_on` or on another executor. A
/// `tokio::task_local!` scope carries a value and knows nothing of who leaves. Where nothing inside uses
/// regions, neither is this one of use.
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
    Task { run: Run::draft(Draft::new(Kind::Task), future, Location::caller()) }
}

/// The task that runs now: the innermost one of `moored` that is being polled or dropped on this thread,
/// else with the feature `tokio` the tokio task's, else `None` (R5).
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
        run: Run<F, Draft>,
    }
}

impl<F: Future> Task<F> {
    /// Names the task, for [`TaskId`]'s texts.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.run.origin().node().set_name(name.into());
        self
    }

    /// Where the task is dropped before its end and no region around it is live, what it leaves behind runs
    /// on `spawner` (R8). What that drops unfinished is [reported](crate::set_report_hook) lost.
    pub fn on_abandon(mut self, spawner: impl Spawn + Send + Sync + 'static) -> Self {
        self.run.origin().node().set_spawner(Arc::new(spawner));
        self
    }

    /// How long a cancelled region inside waits for a shield that is polled no more; 100 ms where it is not set. Inherited
    /// by everything inside and by what it spawns.
    ///
    /// A region that is cancelled keeps its body while a [`shield`](crate::shield()) inside is polled (R12). Where a poll of
    /// the body did not reach the shield, because `FuturesUnordered` and the like poll only what was woken, the region wakes
    /// the shield to see. If it has not been polled by the time given here after that, the body has let go of it, and is
    /// dropped. Set more where a task that was woken may have to wait longer than that for its turn, and
    /// [`Duration::MAX`] where a body that keeps such a shield is never to be dropped.
    ///
    /// It is measured by the task's clock. Where there is no timer at all, see [`Clock`], the time is looked at whenever the
    /// region is polled.
    pub fn shield_patience(mut self, time: Duration) -> Self {
        self.run.origin().node().set_shield_patience(time);
        self
    }

    /// Gives the task a clock, inherited by everything inside it and by what it spawns (R11).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.run.origin().node().set_clock(Arc::new(clock));
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
        let ended = ready!(run.as_mut().poll_run(cx, |_| Leaving::Completed));
        let frame = run.frame();
        let value = match ended {
            Ok(Ended::Value(value)) => Some(value),
            // Its node is in nobody's hands who could cancel it, run it twice, or own it otherwise.
            Ok(Ended::Panicked | Ended::Cancelled(_) | Ended::Misplaced(..)) | Err(_) => None,
        };
        match (frame.take_panic(None), value) {
            (Some(panic), value) => frame.resume(panic, value),
            (None, Some(value)) => {
                frame.send_failures();
                Poll::Ready(value)
            }
            (None, None) => Poll::Pending,
        }
    }
}

impl<F: Future> futures_core::FusedFuture for Task<F> {
    fn is_terminated(&self) -> bool {
        self.run.has_left()
    }
}

impl<F: Future> fmt::Debug for Task<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}
