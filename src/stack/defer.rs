//! The registration of exits.

use super::{Deferred, ExitOutput, ExitStack, Held, Loan, SendLater};
use crate::reason::Leaving;
use crate::region::Exit;
use crate::region::owner;
use crate::sync::Arc;
use crate::wrong_task::{Misuse, Rejected, accepted};
use std::future::Future;
use std::panic::Location;

impl ExitStack {
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
    pub(super) fn hold_at<T, C, F>(
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
        let loan = Loan::new();
        let back = Arc::clone(&loan);
        // The value stays in the `Held`: the exit finds it in the loan when its turn comes.
        let registered = self.register("hold", at, give_back, |give_back| {
            back.exit(self.exits.number(), (give_back, call), move |give_back, call, why| {
                SendLater(Box::new(move |value| {
                    let work =
                        Deferred::closure(move |_: &Leaving| Ok(call(give_back, value, why)));
                    Exit::new(work, at)
                }))
            })
        });
        loan.held(value, registered)
    }

    pub(crate) fn admit(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<(), Misuse> {
        if !self.exits.is_current_tasks() {
            self.admit_other(operation, at)?;
        }
        if self.draft.has_left() {
            return Err(self.left(operation, at));
        }
        Ok(())
    }

    /// For a first use, and for a task that is not known to be the owner.
    #[cold]
    fn admit_other(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<(), Misuse> {
        // Entered before the check, so that of two tasks that use it for the first time at once one
        // finds the other as its owner.
        self.enter_at(at);
        owner::check(&self.described(), operation, at)
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
        if !self.exits.is_current_tasks() {
            if let Err(misuse) = self.admit_other(operation, at) {
                return Err(Rejected::new(misuse, value));
            }
        }
        let made = |value| Exit::new(make(value), at);
        match self.exits.push(self.draft.made(), value, made) {
            Ok(()) => Ok(()),
            Err(value) => Err(Rejected::new(self.left(operation, at), value)),
        }
    }

    /// The error of an operation on a stack that was left.
    #[cold]
    fn left(&self, operation: &'static str, at: &'static Location<'static>) -> Misuse {
        owner::left_misuse(&self.described(), operation, at)
    }
}
