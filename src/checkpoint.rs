//! Questions of a body to the region in which it runs (R6, R11, R13).

use crate::fused::fused;
use crate::opaque::opaque;
use crate::region::Waiting;
use crate::region::ambient::{self, InChild};
use crate::region::look;
use crate::region::quiet;
use crate::region::request;
use crate::region::time;
#[cfg(debug_assertions)]
use crate::report::{Report, report};
#[cfg(debug_assertions)]
use crate::sync::Global;
use std::future::Future;
#[cfg(debug_assertions)]
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// Yields once to the executor. If the current region, or one around it, is cancelled, it stays
/// pending, and the body is dropped there.
///
/// It makes a loop cancellable that never waits for a cancellable future. After Trio's
/// `checkpoint`.
///
/// Not for a nested `block_on` inside a cancelled region: the region cannot drop a body that it is still
/// polling, so the wait there does not end.
///
/// # Cancel safety
///
/// Dropping the future loses nothing.
///
/// # Examples
///
/// ```
/// # futures::executor::block_on(async {
/// let scope = moored::CancelScope::new();
/// let handle = scope.handle();
/// let mut rounds = 0;
/// scope
///     .run(async {
///         loop {
///             rounds += 1;
///             if rounds == 3 {
///                 handle.cancel();
///             }
///             moored::checkpoint().await;
///         }
///     })
///     .await
///     .unwrap_err();
/// assert_eq!(rounds, 3);
/// # });
/// ```
pub fn checkpoint() -> Checkpoint {
    Checkpoint { state: Step::New, held_up: None }
}

/// Whether the current region, or one around it up to a shield, is cancelled. `false` if no region of
/// `moored` is current.
pub fn is_cancelled() -> bool {
    // An exit that runs is shielded from the cancellation of its region (R14).
    let (disquiet, told) = ambient::ask_innermost(|node, _, in_child| {
        let told = match in_child {
            InChild::No => false,
            InChild::Yes => node.is_some_and(|node| request::requests_to_children(node) != 0),
            InChild::Asked => true,
        };
        (node.filter(|node| !quiet::is_quiet(node)).cloned(), told)
    });
    told || disquiet.is_some_and(|node| look::is_cancelled(&node))
}

/// Whether the current region, or one around it, was asked to wind down with `stop`, through shields too (R13). `false` in an
/// exit, which winds down already, and if no region of `moored` is current.
pub fn is_stop_requested() -> bool {
    let current = ambient::current().filter(|(_, in_exit)| !in_exit);
    current.is_some_and(|(node, _)| look::is_stopped(&node))
}

/// Waits until the current region, or one around it up to a shield, is cancelled.
///
/// A cancelled body is polled once more and then dropped where it is parked (R6): the code after this wait runs
/// until the next await. The current region is the one in which it is polled first; after that one has been left, the nearest
/// live region around it counts. The wait never resolves in an exit, which is shielded. It waits for the deadlines and graces
/// that it depends on itself, because the runs that have them may not be polled (R11).
///
/// If no region of `moored` is current at its first poll, as in a task that another library has spawned, it never
/// resolves. Wait with [`CancelHandle::cancelled`](crate::CancelHandle::cancelled) there, or put
/// [`task`](crate::task()) around the future. In a build with debug assertions, the first such wait of a process is
/// [reported](crate::Report::NothingCurrent).
///
/// # Cancel safety
///
/// Dropping the future loses nothing.
#[track_caller]
pub fn cancelled() -> CurrentCancelled {
    CurrentCancelled(CurrentWait::new("cancelled"))
}

/// Waits until the current region, or one around it, is asked to wind down with `stop` (R13). Shields do
/// not keep that out. The current region is the one in which it is polled first; after that one has been left, the nearest live
/// region around it counts.
///
/// An exit does not get the request, because it winds down already, and has to finish. In an exit this never resolves.
/// In a region that is entered inside an exit it resolves only for the stop of a region that is inside the exit too.
/// It waits for no deadline, because no time is a request to stop: a deadline cancels, and so does the grace after a stop.
///
/// If no region of `moored` is current at its first poll, as in the shutdown signal that a server polls in its own
/// task, it never resolves. Wait with [`CancelHandle::stop_requested`](crate::CancelHandle::stop_requested) there. In a
/// build with debug assertions, the first such wait of a process is [reported](crate::Report::NothingCurrent).
///
/// # Cancel safety
///
/// Dropping the future loses nothing.
///
/// # Examples
///
/// ```
/// use futures::future::{Either, select};
/// use std::pin::pin;
///
/// # async fn next_request() { std::future::pending().await }
/// # futures::executor::block_on(async {
/// let scope = moored::CancelScope::new();
/// scope.stop();
/// let served = scope.run(async {
///     let mut served = 0;
///     loop {
///         match select(pin!(moored::stop_requested()), pin!(next_request())).await {
///             Either::Left(_) => return served,
///             Either::Right(_) => served += 1,
///         }
///     }
/// });
/// assert_eq!(served.await.unwrap(), 0);
/// # });
/// ```
#[track_caller]
pub fn stop_requested() -> StopRequested {
    StopRequested(CurrentWait::new("stop_requested"))
}

/// The instant at which the current region is cancelled at the latest: the earliest deadline of it and of the regions around
/// it, up to a shield (R11). While a `stop` with a grace runs, the end of the grace counts as a deadline (R13); so does the
/// end of a shield's grace, while a region around the shield is cancelled (R12). `None` if there is none.
///
/// In an exit, only the deadlines of regions that were entered in that exit count. The grace of the exit's stack cuts the exit
/// off and cancels nothing, so it is no deadline (R14).
///
/// ```
/// use moored::{CancelScope, current_deadline};
/// use std::time::{Duration, Instant};
///
/// # futures::executor::block_on(async {
/// let scope = CancelScope::new().grace(Duration::from_secs(10));
/// let left = scope.run(async {
///     assert_eq!(current_deadline(), None);
///     scope.stop();
///     current_deadline().unwrap() - Instant::now()
/// });
/// assert!(left.await.unwrap() <= Duration::from_secs(10));
/// # });
/// ```
pub fn current_deadline() -> Option<Instant> {
    let (node, deadline) = ambient::ask_innermost(|node, deadline, _| (node.cloned(), deadline));
    let around = node.and_then(|node| time::effective_deadline(&node));
    [deadline, around].into_iter().flatten().min()
}

/// The future of [`checkpoint`].
#[must_use = "futures do nothing unless polled"]
pub struct Checkpoint {
    state: Step,
    /// The wait in a cancelled region. Most checkpoints are polled in no such region.
    held_up: Option<Box<Waiting>>,
}

/// The progress of a checkpoint.
#[derive(PartialEq, Eq)]
enum Step {
    New,
    Yielded,
    Done,
}

impl Checkpoint {
    /// Waits in a cancelled region until that region is left, or the cancelled region around it: `false` if the region is not
    /// cancelled any more.
    ///
    /// The cancelled region drops its pending body. But a checkpoint in a collection that was only lent to that body lives on
    /// (R7), and the collection polls it again only if it is woken.
    #[cold]
    fn is_held_up(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((node, _)) = ambient::current() else { return false };
        let held_up = self.held_up.take().filter(|waiting| waiting.is_at(&node));
        let held_up = held_up.unwrap_or_else(|| Box::new(Waiting::new(node)));
        self.held_up.insert(held_up).wait_for_end(cx)
    }
}

impl Future for Checkpoint {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.state == Step::Done || (is_cancelled() && self.is_held_up(cx)) {
            return Poll::Pending;
        }
        self.held_up = None;
        if self.state == Step::Yielded {
            self.state = Step::Done;
            return Poll::Ready(());
        }
        self.state = Step::Yielded;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fused!(Checkpoint: |checkpoint| checkpoint.state == Step::Done);

opaque!(Checkpoint);

/// A wait for an event of the region in which it is first polled, and after that one was left, of the next around it.
struct CurrentWait {
    /// `None` before the first poll, and if no region is current then.
    waiting: Option<Waiting>,
    polled: bool,
    /// The function that was called, and the place of the call.
    #[cfg(debug_assertions)]
    call: (&'static str, &'static Location<'static>),
}

impl CurrentWait {
    #[track_caller]
    fn new(_operation: &'static str) -> Self {
        CurrentWait {
            waiting: None,
            polled: false,
            #[cfg(debug_assertions)]
            call: (_operation, Location::caller()),
        }
    }

    fn poll(&mut self, happened: impl FnOnce(&mut Waiting) -> Poll<()>) -> Poll<()> {
        if !self.polled {
            self.polled = true;
            let current = ambient::current();
            #[cfg(debug_assertions)]
            if current.is_none() {
                report_endless(self.call);
            }
            let current = current.filter(|(_, in_exit)| !in_exit).map(|(node, _)| node);
            self.waiting = current.map(Waiting::new);
        }
        self.waiting.as_mut().map_or(Poll::Pending, happened)
    }

    fn is_done(&self) -> bool {
        self.waiting.as_ref().is_some_and(Waiting::is_done)
    }
}

/// Reports that a wait outside every region never ends. Only the first such wait in a process is reported, because a loop may
/// make any number of them.
#[cold]
#[cfg(debug_assertions)]
fn report_endless((operation, asked_at): (&'static str, &'static Location<'static>)) {
    static TOLD: Global<bool> = Global::new(false);
    let told = std::mem::replace(&mut *TOLD.write(), true);
    if !told {
        report(Report::NothingCurrent { operation, asked_at });
    }
}

/// The future of [`cancelled`].
#[must_use = "futures do nothing unless polled"]
pub struct CurrentCancelled(CurrentWait);

impl Future for CurrentCancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(|waiting| waiting.poll_cancelled_around(cx))
    }
}

fused!(CurrentCancelled: |wait| wait.0.is_done());

opaque!(CurrentCancelled);

/// The future of [`stop_requested`].
#[must_use = "futures do nothing unless polled"]
pub struct StopRequested(CurrentWait);

impl Future for StopRequested {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(|waiting| waiting.poll_stopped_around(cx.waker()))
    }
}

fused!(StopRequested: |wait| wait.0.is_done());

opaque!(StopRequested);
