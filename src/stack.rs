//! Exit stacks: regions that own async exits.

mod close;
mod defer;
mod held;
mod resource;
mod run;
mod work;

pub use close::{Close, CloseError};
pub(crate) use held::Loan;
pub use held::{Held, Later, LocalLater, SendLater};
pub use resource::{Enter, Resource};
pub use run::StackRun;
pub(crate) use work::Deferred;
pub use work::ExitOutput;

use crate::identity::TaskId;
use crate::region::enter;
use crate::region::frame;
use crate::region::owner;
use crate::region::record;
use crate::region::time;
use crate::region::{Draft, Node, OfStack, OwnExits};
use crate::released::{Handover, Released, sealed};
use crate::sync::Arc;
use crate::wrong_task::{Rejected, admitted};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

/// A region that owns async exits, run last in, first out, when the task that entered it leaves it.
///
/// There are two forms. [`run`](ExitStack::run) enters the stack, runs a body, and leaves. The dynamic form
/// keeps the stack in a struct: its first use enters it, [`close`](ExitStack::close) leaves it. In both,
/// exits run once, shielded from every cancellation, one after the other. An exit that fails or panics does
/// not stop the rest (R14), and all failures are in one [`Failure`](crate::Failure) (R15).
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
/// [reported](crate::set_report_hook) lost if there is none (R8). A stack that was used first where no task is known has none
/// around it: its exits, and those of its [`Held`](crate::Held) values, go to the region that is current at the drop.
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
    draft: Draft<OfStack>,
    exits: OwnExits,
}

impl ExitStack {
    /// A stack without exits. It is entered by its first use, not by this (R1).
    pub fn new() -> Self {
        ExitStack { draft: Draft::of_stack(), exits: OwnExits::new() }
    }

    /// Sets the name of the stack, for texts.
    pub fn named(self, name: impl Into<String>) -> Self {
        self.draft.node().set_name(name.into());
        self
    }

    /// Bounds every exit: an exit that has not ended this long after its first poll is dropped, and
    /// recorded as [`ExitFailure::TimedOut`](crate::ExitFailure::TimedOut). Abandonment never extends the
    /// bound (R14).
    pub fn grace(self, grace: Duration) -> Self {
        time::set_grace(self.draft.node(), grace);
        self
    }

    /// Keeps at most `n` failures, at least one, and counts the rest (R15). The default is 1024.
    pub fn max_causes(self, n: usize) -> Self {
        record::set_cap(self.draft.node(), n);
        self
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
    /// cause is [`Cause::Rejected`](crate::Cause::Rejected). If the future is moved between polls, the body is dropped and the
    /// cause is [`Cause::Cancelled`](crate::Cause::Cancelled) with the wrong task as its reason (R2).
    ///
    /// # Errors
    ///
    /// A [`Failure`](crate::Failure) with the body's error first, then those of the exits in the order in which they ran.
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

    /// Leaves the stack: runs its exits, last in first out, with [`Leaving::Completed`](crate::Leaving::Completed).
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
        self.close_as(Location::caller(), |stack| stack, |stack| &stack.exits)
    }

    pub(crate) fn close_as<S>(
        self,
        at: &'static Location<'static>,
        wrap: impl FnOnce(ExitStack) -> S,
        exits: fn(&S) -> &OwnExits,
    ) -> Close<S> {
        let node = Arc::clone(self.entered_node());
        Close::new(wrap(self), exits, node, at)
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

    /// Moves all exits to a new stack, entered here and now; the old stack goes on without them. The new stack has the
    /// old name, and each exit keeps its [grace](ExitStack::grace). After Python's `ExitStack.pop_all`.
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
        stack.enter_at(at);
        self.exits.move_to(&stack.exits, self.draft.made(), stack.draft.node());
        stack
    }

    /// Releases the stack, so that another task can adopt it (R4).
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the stack unchanged, from a task that does not own it.
    #[track_caller]
    pub fn release(self) -> Result<Released<ExitStack>, Rejected<ExitStack>> {
        admitted(self.admit("release", Location::caller()), self).map(Released::new)
    }

    /// The task that entered the stack: `None` before its first use, and if no task was known.
    pub fn owner(&self) -> Option<TaskId> {
        owner::id(&self.described())
    }

    /// The number of exits that are registered and have not begun.
    pub fn len(&self) -> usize {
        self.exits.len()
    }

    /// Whether no exit is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node of a stack that is not entered yet, or has its node.
    pub(crate) fn node(&self) -> &Arc<Node> {
        self.draft.node()
    }

    /// The node of a stack that no run borrows.
    fn entered_node(&self) -> &Arc<Node> {
        self.draft.entered_node(self.exits.owner())
    }

    /// The node, or one like it.
    fn described(&self) -> Arc<Node> {
        self.draft.described(self.exits.owner())
    }

    pub(crate) fn exits(&self) -> &OwnExits {
        &self.exits
    }

    /// Enters the stack, unless its first use did.
    #[cold]
    fn enter_at(&self, at: &'static Location<'static>) {
        if self.draft.may_enter_node() {
            let node = self.draft.node();
            enter::enter(node, at);
            self.exits.enter(owner::of(node));
        }
    }
}

impl sealed::TakeOver for ExitStack {
    fn take_over(&self, dropped: bool) {
        let node = self.entered_node();
        if enter::take_over(node, dropped) {
            // For the order of exits it is entered anew.
            self.exits.enter_anew(owner::of(node));
        }
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
        // A stack without a node has nothing to leave, unless its run was leaked.
        if self.draft.made().is_some() || !self.exits.is_empty_now() {
            frame::abandon_unattended(self.entered_node(), &self.exits);
        }
    }
}

impl fmt::Debug for ExitStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.described().show(f, self.exits.len_now())
    }
}
