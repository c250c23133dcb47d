//! An exit stack with exits that stay on their thread.

use crate::identity::TaskId;
use crate::reason::Leaving;
use crate::region::{Exit, ExitWork, LocalExit};
use crate::released::{Handover, Released, sealed};
use crate::stack::{Close, Deferred, ExitOutput, ExitStack as Stack, Loan, LocalLater, StackRun};
use crate::sync::Arc;
use crate::wrong_task::{Rejected, accepted, admitted};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

/// A value that an exit stack gives back, and that stays on its thread; see [`Held`](crate::Held).
pub type Held<T> = crate::stack::Held<T, LocalLater<T>>;

/// An [`ExitStack`](crate::ExitStack) with exits that need not be `Send`: neither is the stack, nor its `run`.
///
/// The docs of that type apply. It has no `enter`, because a [`Resource`](crate::Resource) is `Send`: a value that stays
/// on its thread is opened, and then [held](ExitStack::hold). An exit that is adopted by a region polled on another thread cannot
/// run there: it is recorded as failed, and its work is dropped on its own thread when that thread ends.
///
/// # Task affinity
///
/// As [`ExitStack`](crate::ExitStack). The stack cannot be sent either, so it is
/// [released](ExitStack::release) to tasks of its thread only.
///
/// # On drop
///
/// As [`ExitStack`](crate::ExitStack).
///
/// # Examples
///
/// ```
/// use moored::local::ExitStack;
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// # futures::executor::block_on(async {
/// let left = Rc::new(Cell::new(false));
/// let stack = ExitStack::new();
/// stack.defer({
///     let left = Rc::clone(&left);
///     async move { left.set(true) }
/// });
/// stack.close().await.unwrap();
/// assert!(left.get());
/// # });
/// ```
pub struct ExitStack {
    stack: Stack,
    here: PhantomData<Rc<()>>,
}

impl ExitStack {
    /// A stack without exits. It is entered by its first use, not by this (R1).
    pub fn new() -> Self {
        let stack = Stack::new();
        // Its exits name its node.
        let _ = stack.node();
        ExitStack::of(stack)
    }

    fn of(stack: Stack) -> Self {
        ExitStack { stack, here: PhantomData }
    }

    /// Sets the name of the stack, for texts.
    pub fn named(self, name: impl Into<String>) -> Self {
        ExitStack::of(self.stack.named(name))
    }

    /// Bounds every exit; see [`ExitStack::grace`](crate::ExitStack::grace).
    pub fn grace(self, grace: Duration) -> Self {
        ExitStack::of(self.stack.grace(grace))
    }

    /// Bounds the record; see [`ExitStack::max_causes`](crate::ExitStack::max_causes).
    pub fn max_causes(self, n: usize) -> Self {
        ExitStack::of(self.stack.max_causes(n))
    }

    /// Registers `exit`; see [`ExitStack::defer`](crate::ExitStack::defer).
    ///
    /// # Panics
    ///
    /// From a task that does not own the stack, and when the stack was left; see
    /// [`try_defer`](ExitStack::try_defer).
    #[track_caller]
    pub fn defer<F>(&self, exit: F)
    where
        F: Future + 'static,
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
        F: Future + 'static,
        F::Output: ExitOutput,
    {
        self.register("defer", Location::caller(), exit, Deferred::future)
    }

    /// As [`defer`](ExitStack::defer), with an exit that gets the reason why it runs.
    ///
    /// # Panics
    ///
    /// As [`defer`](ExitStack::defer).
    #[track_caller]
    pub fn defer_with<C, F>(&self, exit: C)
    where
        C: FnOnce(Leaving) -> F + 'static,
        F: Future + 'static,
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
        C: FnOnce(Leaving) -> F + 'static,
        F: Future + 'static,
        F::Output: ExitOutput,
    {
        self.register("defer", Location::caller(), exit, |exit| {
            Deferred::closure(move |why: &Leaving| Ok(exit(why.clone())))
        })
    }

    /// Lends `value` until its exit gets it back; see [`ExitStack::hold`](crate::ExitStack::hold).
    ///
    /// # Panics
    ///
    /// As [`defer`](ExitStack::defer).
    #[track_caller]
    pub fn hold<T, C, F>(&self, value: T, give_back: C) -> Held<T>
    where
        T: 'static,
        C: FnOnce(T) -> F + 'static,
        F: Future + 'static,
        F::Output: ExitOutput,
    {
        accepted(self.try_hold(value, give_back))
    }

    /// As [`hold`](ExitStack::hold), with an exit that gets the reason why it runs; see
    /// [`ExitStack::hold_with`](crate::ExitStack::hold_with).
    ///
    /// # Panics
    ///
    /// As [`defer`](ExitStack::defer).
    #[track_caller]
    pub fn hold_with<T, C, F>(&self, value: T, give_back: C) -> Held<T>
    where
        T: 'static,
        C: FnOnce(T, Leaving) -> F + 'static,
        F: Future + 'static,
        F::Output: ExitOutput,
    {
        let call = |give_back: C, value, why| give_back(value, why);
        accepted(self.hold_at(value, give_back, call, Location::caller()))
    }

    /// As [`hold`](ExitStack::hold).
    ///
    /// # Errors
    ///
    /// Hands both back, from a task that does not own the stack, and when the stack was left.
    #[track_caller]
    pub fn try_hold<T, C, F>(&self, value: T, give_back: C) -> Result<Held<T>, Rejected<(T, C)>>
    where
        T: 'static,
        C: FnOnce(T) -> F + 'static,
        F: Future + 'static,
        F::Output: ExitOutput,
    {
        let call = |give_back: C, value, _| give_back(value);
        self.hold_at(value, give_back, call, Location::caller())
    }

    /// `call` is the way in which the exit calls `give_back`. If the registration is refused, `give_back` is handed back
    /// unchanged.
    fn hold_at<T, C, F>(
        &self,
        value: T,
        give_back: C,
        call: impl FnOnce(C, T, Leaving) -> F + 'static,
        at: &'static Location<'static>,
    ) -> Result<Held<T>, Rejected<(T, C)>>
    where
        T: 'static,
        C: 'static,
        F: Future + 'static,
        F::Output: ExitOutput,
    {
        let loan = Loan::new();
        let (back, home) = (Arc::clone(&loan), Arc::downgrade(self.stack.node()));
        let registered = self.register("hold", at, give_back, |give_back| {
            let number = self.stack.exits().number();
            back.exit(number, (give_back, call), move |give_back, call, why| {
                LocalLater(Box::new(move |value| {
                    let work =
                        Deferred::closure(move |_: &Leaving| Ok(call(give_back, value, why)));
                    Exit::new(LocalExit::new(work, at, home), at)
                }))
            })
        });
        loan.held(value, registered)
    }

    /// As that of the stack inside, for work that stays on this thread.
    fn register<V, W: ExitWork + 'static>(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
        value: V,
        make: impl FnOnce(V) -> W,
    ) -> Result<(), Rejected<V>> {
        let stack = self.stack.node();
        self.stack.register(operation, at, value, |value| {
            LocalExit::new(make(value), at, Arc::downgrade(stack))
        })
    }

    /// Enters the stack, runs `body` and the exits, and leaves; see
    /// [`ExitStack::run`](crate::ExitStack::run).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body first; then the exits go to the nearest enclosing live region (R8).
    ///
    /// # Task affinity
    ///
    /// The task that entered the stack. If another task polls this first, the body is not started and the cause is
    /// [`Cause::Rejected`](crate::Cause::Rejected). If the future is moved between polls, the body is dropped (R2).
    ///
    /// # Errors
    ///
    /// A [`Failure`](crate::Failure) with the body's error first, then those of the exits.
    ///
    /// # Panics
    ///
    /// With the body's panic, or an exit's, after all exits have run. When it is polled, if the stack was run before or
    /// was left.
    #[track_caller]
    pub fn run<F, T, E>(&self, body: F) -> StackRun<'_, F, ExitStack>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.stack.run_as(body, Location::caller())
    }

    /// Leaves the stack; see [`ExitStack::close`](crate::ExitStack::close).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future sends the exits that have not run to the nearest enclosing live region (R8).
    ///
    /// # Errors
    ///
    /// [`CloseError`](crate::CloseError), from a task that does not own the stack, or with the failures
    /// of exits.
    ///
    /// # Panics
    ///
    /// With an exit's panic, after all exits have run.
    #[track_caller]
    pub fn close(self) -> Close<ExitStack> {
        self.stack.close_as(Location::caller(), ExitStack::of, |stack| stack.stack.exits())
    }

    /// Releases the stack, so that another task of this thread can adopt it (R4).
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the stack unchanged, from a task that does not own it.
    #[track_caller]
    pub fn release(self) -> Result<Released<ExitStack>, Rejected<ExitStack>> {
        admitted(self.stack.admit("release", Location::caller()), self).map(Released::new)
    }

    /// Moves all exits to a new stack; see [`ExitStack::pop_all`](crate::ExitStack::pop_all).
    ///
    /// # Panics
    ///
    /// As [`defer`](ExitStack::defer).
    #[track_caller]
    pub fn pop_all(&self) -> ExitStack {
        ExitStack::of(self.stack.pop_all())
    }

    /// The task that entered the stack: `None` before its first use, and if no task was known.
    pub fn owner(&self) -> Option<TaskId> {
        self.stack.owner()
    }

    /// The number of exits that are registered and have not begun.
    pub fn len(&self) -> usize {
        self.stack.len()
    }

    /// Whether no exit is registered.
    pub fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }
}

impl sealed::TakeOver for ExitStack {
    fn take_over(&self, dropped: bool) {
        self.stack.take_over(dropped);
    }
}

impl Handover for ExitStack {}

impl Default for ExitStack {
    fn default() -> Self {
        ExitStack::new()
    }
}

impl fmt::Debug for ExitStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stack.fmt(f)
    }
}
