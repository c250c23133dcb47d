//! Exit stacks: regions that own async exits.

mod close;
mod held;
mod resource;
mod work;

pub use close::{Close, CloseError};
pub use held::{Held, Later, LocalLater, SendLater};
pub(crate) use held::{Slot, reclaim};
pub use resource::{Enter, Resource};
pub(crate) use work::Deferred;
pub use work::ExitOutput;

use crate::failure::{Cause, Failure};
use crate::identity::TaskId;
use crate::reason::{Leaving, Reason};
use crate::region::{Ended, Exit, Kind, Node, Run};
use crate::released::{Handover, Released, sealed};
use crate::sync::Arc;
use crate::wrong_task::{Misuse, Rejected, accepted};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A region that owns async exits, run last in, first out, when the task that entered it leaves it.
///
/// There are two forms. [`run`](ExitStack::run) enters the stack, runs a body, and leaves. The dynamic form
/// keeps the stack in a struct: its first use enters it, [`close`](ExitStack::close) leaves it. In both,
/// exits run once, shielded from every cancellation, one after the other. An exit that fails or panics does
/// not stop the rest (R14), and all failures are in one [`Failure`] (R15).
///
/// **An exit may outlast every deadline around it.** Exits are `'static`, because a stack that is dropped
/// before they have run, by `select!`, a timeout, an abort or a cancelled body, hands them to the nearest
/// enclosing live region, which runs them before it is left (R8). They run *beside* that region's body, so
/// the body's next steps may come before them. A resource that an exit gives back must therefore be guarded
/// by something that waits, such as the permit of a pool that the exit itself returns.
///
/// A stack adopts exits only while it is run or closed: exits that are abandoned beside a stack in its dynamic
/// form go to the region around both.
///
/// # Task affinity
///
/// The first use records the task; only that task registers exits and leaves (R2). From another task
/// `defer` and `hold` panic and their `try_` twins hand back their argument; `close` and `run` resolve to
/// an error, and the owner can still leave the stack.
///
/// The check can only compare tasks that are known (R5). So a stack that is kept in a struct, first used in one task and closed
/// in another, may pass without the feature `tokio` and be refused with it:
///
/// | first used in | closed in | without `tokio` | with `tokio` |
/// |---|---|---|---|
/// | a tokio task | another tokio task | passes | refused |
/// | a tokio task | a [`task()`](crate::task()) or a child of a group | passes | refused |
/// | a [`task()`](crate::task()) or a child of a group | any other task that is known | refused | refused |
/// | `main`, `block_on`, a plain thread | any task | passes | passes |
/// | any task, which [releases](ExitStack::release) it | any task, which [adopts](crate::Released::adopt) it | passes | passes |
///
/// A library does not know its user's features, so a value that any task may close takes the last row: the crate's guide has
/// such a client on its page for libraries.
///
/// # On drop
///
/// Exits that have not run go to the nearest enclosing live region, or are
/// [reported](crate::set_report_hook) lost if there is none (R8).
///
/// # Comparison
///
/// A `Drop` guard is right for clean-up that does not wait. `JoinSet` and `TaskTracker` own tasks, not
/// the exits that tasks abandon.
///
/// # Examples
///
/// ```
/// use moored::ExitStack;
///
/// # futures::executor::block_on(async {
/// let stack = ExitStack::new();
/// let result: Result<u32, moored::Failure<std::io::Error>> = stack
///     .run(async {
///         stack.defer(async { println!("last") });
///         stack.defer(async { println!("first") });
///         Ok(7)
///     })
///     .await;
/// assert_eq!(result.unwrap(), 7);
/// # });
/// ```
#[doc(alias = "AsyncExitStack")]
#[doc(alias = "AsyncDrop")]
pub struct ExitStack {
    node: Arc<Node>,
}

impl ExitStack {
    /// A stack without exits. It is entered by its first use, not by this (R1).
    pub fn new() -> Self {
        ExitStack { node: Node::new(Kind::Stack) }
    }

    /// Sets the name of the stack, for texts.
    pub fn named(self, name: impl Into<String>) -> Self {
        self.node.set_name(name.into());
        self
    }

    /// Bounds every exit: an exit that has not ended this long after its first poll is dropped, and
    /// recorded as [`ExitFailure::TimedOut`](crate::ExitFailure::TimedOut). Abandonment never extends the
    /// bound (R14).
    pub fn grace(self, grace: Duration) -> Self {
        self.node.set_grace(grace);
        self
    }

    /// Keeps at most `n` failures, at least one, and counts the rest (R15). The default is 1024.
    pub fn max_causes(self, n: usize) -> Self {
        self.node.set_cap(n);
        self
    }

    /// Registers `exit`: a future that returns nothing, or a `Result` whose error is recorded.
    ///
    /// If it is registered while the stack unwinds, it runs next (R14).
    ///
    /// # Panics
    ///
    /// From a task that does not own the stack, and when the stack was left; see
    /// [`try_defer`](ExitStack::try_defer).
    #[track_caller]
    pub fn defer<F>(&self, exit: F)
    where
        F: Future + Send + 'static,
        F::Output: ExitOutput,
    {
        accepted(self.try_defer(exit));
    }

    /// As [`defer`](ExitStack::defer).
    ///
    /// # Errors
    ///
    /// Hands `exit` back, from a task that does not own the stack, and when the stack was left.
    #[track_caller]
    pub fn try_defer<F>(&self, exit: F) -> Result<(), Rejected<F>>
    where
        F: Future + Send + 'static,
        F::Output: ExitOutput,
    {
        self.register("defer", Location::caller(), exit, Deferred::future)
    }

    /// As [`defer`](ExitStack::defer), with an exit that gets the reason why it runs.
    ///
    /// ```
    /// use moored::{ExitStack, Leaving};
    ///
    /// # futures::executor::block_on(async {
    /// let stack = ExitStack::new();
    /// stack.defer_with(|why| async move {
    ///     println!("{}", if matches!(why, Leaving::Completed) { "commit" } else { "roll back" });
    /// });
    /// stack.close().await.unwrap();
    /// # });
    /// ```
    ///
    /// # Panics
    ///
    /// As [`defer`](ExitStack::defer).
    #[track_caller]
    pub fn defer_with<C, F>(&self, exit: C)
    where
        C: FnOnce(Leaving) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: ExitOutput,
    {
        accepted(self.try_defer_with(exit));
    }

    /// As [`defer_with`](ExitStack::defer_with).
    ///
    /// # Errors
    ///
    /// As [`try_defer`](ExitStack::try_defer).
    #[track_caller]
    pub fn try_defer_with<C, F>(&self, exit: C) -> Result<(), Rejected<C>>
    where
        C: FnOnce(Leaving) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: ExitOutput,
    {
        self.register("defer", Location::caller(), exit, |exit| {
            Deferred::closure(move |why: &Leaving| Ok(exit(why.clone())))
        })
    }

    /// Lends `value`, and registers `give_back`, which gets it by value when its turn comes.
    ///
    /// The [`Held`] owns the value meanwhile, and its drop gives it back. If the value is still lent when
    /// the exit's turn comes, [`ExitFailure::StillHeld`](crate::ExitFailure::StillHeld) is recorded,
    /// unwinding goes on, and the last drop hands the exit to the nearest live region (R8).
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let stack = moored::ExitStack::new();
    /// let mut buffer = stack.hold(Vec::new(), |buffer: Vec<u8>| async move {
    ///     assert_eq!(buffer, b"written");
    /// });
    /// buffer.extend_from_slice(b"written");
    /// drop(buffer);
    /// stack.close().await.unwrap();
    /// # });
    /// ```
    ///
    /// # Panics
    ///
    /// As [`defer`](ExitStack::defer).
    #[track_caller]
    pub fn hold<T, C, F>(&self, value: T, give_back: C) -> Held<T>
    where
        T: Send + 'static,
        C: FnOnce(T) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: ExitOutput,
    {
        accepted(self.try_hold(value, give_back))
    }

    /// As [`hold`](ExitStack::hold), with an exit that gets the reason why it runs, as for a
    /// transaction.
    ///
    /// ```
    /// use moored::{ExitStack, Leaving};
    ///
    /// # futures::executor::block_on(async {
    /// let stack = ExitStack::new();
    /// let transaction = stack.hold_with(vec!["begin"], |mut log, why| async move {
    ///     log.push(if matches!(why, Leaving::Completed) { "commit" } else { "roll back" });
    ///     assert_eq!(log, ["begin", "commit"]);
    /// });
    /// drop(transaction);
    /// stack.close().await.unwrap();
    /// # });
    /// ```
    ///
    /// # Panics
    ///
    /// As [`defer`](ExitStack::defer).
    #[track_caller]
    pub fn hold_with<T, C, F>(&self, value: T, give_back: C) -> Held<T>
    where
        T: Send + 'static,
        C: FnOnce(T, Leaving) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: ExitOutput,
    {
        let call = |give_back: C, value, why| give_back(value, why);
        accepted(self.hold_at(value, give_back, call, Location::caller()))
    }

    /// As [`hold`](ExitStack::hold).
    ///
    /// # Errors
    ///
    /// Hands `value` and `give_back` back, from a task that does not own the stack, and when the stack was
    /// left.
    #[track_caller]
    pub fn try_hold<T, C, F>(&self, value: T, give_back: C) -> Result<Held<T>, Rejected<(T, C)>>
    where
        T: Send + 'static,
        C: FnOnce(T) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: ExitOutput,
    {
        let call = |give_back: C, value, _| give_back(value);
        self.hold_at(value, give_back, call, Location::caller())
    }

    /// `call` is the way in which the exit calls `give_back`. If the registration is refused,
    /// `give_back` is handed back unchanged.
    fn hold_at<T, C, F>(
        &self,
        value: T,
        give_back: C,
        call: impl FnOnce(C, T, Leaving) -> F + Send + 'static,
        at: &'static Location<'static>,
    ) -> Result<Held<T>, Rejected<(T, C)>>
    where
        T: Send + 'static,
        C: Send + 'static,
        F: Future + Send + 'static,
        F::Output: ExitOutput,
    {
        let slot = Slot::new();
        let back = Arc::clone(&slot);
        // The value stays in the `Held`: the exit finds it in the slot when its turn comes.
        let registered = self.register("hold", at, give_back, |give_back| {
            Deferred::closure(move |why: &Leaving| {
                let why = why.clone();
                let give_back = move |value| call(give_back, value, why);
                held::reclaim(&back, give_back, |give_back| {
                    SendLater::new(move |value| {
                        let work = Deferred::closure(move |_: &Leaving| Ok(give_back(value)));
                        Exit { work: Box::pin(work), registered_at: at }
                    })
                })
            })
        });
        match registered {
            Ok(()) => Ok(Held::new(value, slot)),
            Err(rejected) => Err(rejected.map(|give_back| (value, give_back))),
        }
    }

    /// Enters the stack unless its first use did, runs `body`, runs the exits, and leaves.
    ///
    /// The body is dropped before the first exit runs, however it ends, so that values it held are back by then. A body
    /// that cannot fail ends with `Ok::<_, Infallible>(())`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body first; then the exits, the half-run one included, go to the
    /// nearest enclosing live region (R8).
    ///
    /// # Task affinity
    ///
    /// The task that entered the stack. If another task polls this first, the body is not started and the
    /// cause is [`Cause::Rejected`]. If the future is moved between polls, the body is dropped and the
    /// cause is [`Cause::Cancelled`] with the wrong task as its reason (R2).
    ///
    /// # Errors
    ///
    /// A [`Failure`] with the body's error first, then those of the exits in the order in which they ran.
    /// If only exits failed, the body's value is dropped.
    ///
    /// # Panics
    ///
    /// With the body's panic, or an exit's, after all exits have run. When it is polled, if the stack was
    /// run before or was left.
    #[track_caller]
    pub fn run<F, T, E>(&self, body: F) -> StackRun<'_, F>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.run_as(body, Location::caller())
    }

    pub(crate) fn run_as<F: Future, S>(
        &self,
        body: F,
        at: &'static Location<'static>,
    ) -> StackRun<'_, F, S> {
        StackRun { run: Run::new(Arc::clone(&self.node), body, at), stack: PhantomData }
    }

    /// Leaves the stack: runs its exits, last in first out, with [`Leaving::Completed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the exits that have not run, the half-run one included: they go to the
    /// nearest enclosing live region (R8).
    ///
    /// # Errors
    ///
    /// [`CloseError`]: from a task that does not own the stack, with the stack in it, unchanged; or with
    /// the failures of the exits.
    ///
    /// # Panics
    ///
    /// With an exit's panic, after all exits have run.
    #[track_caller]
    pub fn close(self) -> Close {
        self.close_as(Location::caller(), |stack| stack)
    }

    pub(crate) fn close_as<S>(
        self,
        at: &'static Location<'static>,
        wrap: impl FnOnce(ExitStack) -> S,
    ) -> Close<S> {
        let node = Arc::clone(&self.node);
        Close::new(wrap(self), node, at)
    }

    /// Enters `resource`, and registers its exit once entering has succeeded.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the resource's `enter` where it is parked; nothing is registered.
    ///
    /// # Errors
    ///
    /// The error of the resource's `enter`.
    ///
    /// # Panics
    ///
    /// As [`defer`](ExitStack::defer), when it is polled; before the resource is entered.
    #[track_caller]
    pub fn enter<R: Resource>(&self, resource: R) -> Enter<'_, R> {
        Enter::new(self, resource, Location::caller())
    }

    /// Moves all exits to a new stack, entered here and now; the old stack goes on without them. After
    /// Python's `ExitStack.pop_all`.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let stack = moored::ExitStack::new();
    /// stack.defer(async {});
    /// let kept = stack.pop_all(); // everything worked: these exits belong to somebody else now
    /// stack.close().await.unwrap();
    /// assert_eq!(kept.len(), 1);
    /// # kept.close().await.unwrap();
    /// # });
    /// ```
    ///
    /// # Panics
    ///
    /// As [`defer`](ExitStack::defer).
    #[track_caller]
    pub fn pop_all(&self) -> ExitStack {
        let at = Location::caller();
        if let Err(misuse) = self.admit("pop_all", at) {
            misuse.panic();
        }
        let stack = ExitStack::new();
        stack.node.enter(at);
        self.node.move_exits_to(&stack.node);
        stack
    }

    /// Releases the stack, so that another task can adopt it (R4).
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the stack unchanged, from a task that does not own it.
    #[track_caller]
    pub fn release(self) -> Result<Released<ExitStack>, Rejected<ExitStack>> {
        match self.admit("release", Location::caller()) {
            Ok(()) => Ok(Released::new(self)),
            Err(misuse) => Err(Rejected::new(misuse, self)),
        }
    }

    /// The task that entered the stack: `None` before its first use, and if no task was known.
    pub fn owner(&self) -> Option<TaskId> {
        self.node.owner_id()
    }

    /// The number of exits that are registered and have not begun.
    pub fn len(&self) -> usize {
        self.node.exits()
    }

    /// Whether no exit is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(crate) fn admit(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<(), Misuse> {
        // Entered before the check, so that of two tasks that use it for the first time at once one
        // finds the other as its owner.
        self.node.enter(at);
        self.node.check(operation, at)?;
        if self.node.has_left() {
            return Err(self.node.left_misuse(operation, at));
        }
        Ok(())
    }

    pub(crate) fn register<V, W>(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
        value: V,
        make: impl FnOnce(V) -> W,
    ) -> Result<(), Rejected<V>>
    where
        W: crate::region::ExitWork + Send + 'static,
    {
        if let Err(misuse) = self.admit(operation, at) {
            return Err(Rejected::new(misuse, value));
        }
        let made = |value| Exit { work: Box::pin(make(value)), registered_at: at };
        self.node
            .push_exit(value, made)
            .map_err(|value| Rejected::new(self.node.left_misuse(operation, at), value))
    }
}

impl sealed::TakeOver for ExitStack {
    fn take_over(&self) {
        self.node.take_over();
    }

    fn take_over_if_inside(&self) {
        self.node.take_over_if_inside();
    }
}

impl Handover for ExitStack {}

impl Default for ExitStack {
    fn default() -> Self {
        ExitStack::new()
    }
}

impl Drop for ExitStack {
    fn drop(&mut self) {
        self.node.abandon_unattended();
    }
}

impl fmt::Debug for ExitStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

pin_project! {
    /// The future of [`ExitStack::run`].
    #[must_use = "futures do nothing unless polled; dropping it sends the exits to the enclosing region"]
    pub struct StackRun<'a, F: Future, S = ExitStack> {
        #[pin]
        run: Run<F>,
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
        if let Some(polled) = run.as_mut().poll_quick(cx) {
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
        let (mut value, mut causes) = (None, Vec::new());
        match run.as_mut().value() {
            Some(Ok(returned)) => value = Some(returned),
            Some(Err(error)) => causes.push(Cause::Body(error)),
            None => {}
        }
        match ended {
            Ended::Cancelled(reason) => causes.push(Cause::Cancelled(reason)),
            Ended::Misplaced(wrong) => causes.push(Cause::Cancelled(Reason::misplaced(wrong))),
            Ended::Value | Ended::Panicked => {}
        }
        let frame = run.frame();
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
        Poll::Ready(match (Failure::record(causes, failures, || frame.node().cap()), value) {
            (Some(failure), _) => Err(failure),
            (None, Some(value)) => Ok(value),
            (None, None) => return Poll::Pending,
        })
    }
}

impl<F, T, E, S> futures_core::FusedFuture for StackRun<'_, F, S>
where
    F: Future<Output = Result<T, E>>,
{
    fn is_terminated(&self) -> bool {
        self.run.has_left()
    }
}

impl<F: Future, S> fmt::Debug for StackRun<'_, F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StackRun")
    }
}
