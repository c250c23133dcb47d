//! A value that is lent until its exit gives it back.

use super::{Deferred, ExitOutput};
use crate::opaque::opaque;
use crate::reason::Leaving;
use crate::region::inbox;
use crate::region::{Exit, ExitError, ExitWork, Node, ambient};
use crate::sync::{Arc, Mutex};
use crate::wrong_task::Rejected;
use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::{Deref, DerefMut};

/// A value that an [`ExitStack`](crate::ExitStack) gives back when it is left; made by
/// [`hold`](crate::ExitStack::hold).
///
/// It derefs to the value, and cannot be cloned: at any time either the holder or the exit has the
/// value.
///
/// # On drop
///
/// The value is given back to its exit. If the exit's turn has passed, the exit goes, with the value, to
/// the nearest live region around the stack, which runs it (R8).
#[must_use = "dropping it puts the value back for its exit"]
pub struct Held<T, M: Later<T> = SendLater<T>> {
    // `None` only while it is dropped.
    value: Option<T>,
    loan: Arc<Loan<T, M>>,
}

/// The place for the value that is given back; or for its exit, if the exit's turn came first.
pub(crate) struct Loan<T, M>(Mutex<State<T, M>>);

enum State<T, M> {
    /// The `Held` has the value.
    Out,
    /// The value was given back for the exit.
    Back(T),
    /// The exit's turn came before the value was back: the function that makes the exit for it, and the number of the stack, by
    /// which its exits are sorted.
    Awaited { later: M, home: Option<Arc<Node>>, number: u64 },
    /// The exit has taken the value; or the `Held` has taken the function of the exit.
    Gone,
}

/// The function that makes an exit for a value that comes late: `Send`, or staying on its thread.
///
/// Sealed: [`SendLater`] and [`LocalLater`] are the only ones.
pub trait Later<T>: sealed::Later<T> {}

mod sealed {
    use crate::region::Exit;

    pub trait Later<T> {
        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn exit(self, value: T) -> Exit;
    }
}

/// For a value that may be sent to any thread.
pub struct SendLater<T>(pub(crate) Box<dyn FnOnce(T) -> Exit + Send>);

/// For a value that stays on its thread: [`local::Held`](crate::local::Held).
pub struct LocalLater<T>(pub(crate) Box<dyn FnOnce(T) -> Exit>);

impl<T> Later<T> for SendLater<T> {}
impl<T> Later<T> for LocalLater<T> {}

#[allow(private_interfaces)]
impl<T> sealed::Later<T> for SendLater<T> {
    fn exit(self, value: T) -> Exit {
        (self.0)(value)
    }
}

#[allow(private_interfaces)]
impl<T> sealed::Later<T> for LocalLater<T> {
    fn exit(self, value: T) -> Exit {
        (self.0)(value)
    }
}

impl<T, M> Loan<T, M> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Loan(Mutex::new(State::Out)))
    }
}

impl<T, M: Later<T>> Loan<T, M> {
    /// The `Held` of `value`, if the exit was registered.
    pub(crate) fn held<C>(
        self: Arc<Self>,
        value: T,
        registered: Result<(), Rejected<C>>,
    ) -> Result<Held<T, M>, Rejected<(T, C)>> {
        match registered {
            Ok(()) => Ok(Held { value: Some(value), loan: self }),
            Err(rejected) => Err(rejected.map(|give_back| (value, give_back))),
        }
    }

    /// The work of the exit: calls `give_back` by `call`, if the value is back when the exit's turn comes. Otherwise the exit has
    /// failed, and the function that `later` makes of both waits here for the value. `number` is the stack's.
    pub(crate) fn exit<C, K, F>(
        self: Arc<Self>,
        number: u64,
        (give_back, call): (C, K),
        later: impl FnOnce(C, K, Leaving) -> M,
    ) -> impl ExitWork
    where
        K: FnOnce(C, T, Leaving) -> F,
        F: Future,
        F::Output: ExitOutput,
    {
        Deferred::closure(move |why: &Leaving| {
            let why = why.clone();
            let mut state = self.0.lock();
            match mem::replace(&mut *state, State::Gone) {
                State::Back(value) => {
                    drop(state);
                    Ok(call(give_back, value, why))
                }
                before => {
                    let home = ambient::current().map(|(node, _)| node);
                    let later = later(give_back, call, why);
                    *state = State::Awaited { later, home, number };
                    drop(state);
                    drop(before);
                    Err(ExitError::StillHeld)
                }
            }
        })
    }
}

impl<T, M: Later<T>> Deref for Held<T, M> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("the value is there until the drop")
    }
}

impl<T, M: Later<T>> DerefMut for Held<T, M> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("the value is there until the drop")
    }
}

impl<T, M: Later<T>> Drop for Held<T, M> {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else { return };
        let mut state = self.loan.0.lock();
        match mem::replace(&mut *state, State::Gone) {
            State::Awaited { later, home, number } => {
                drop(state);
                let exit = later.exit(value);
                if let Some(home) = home {
                    inbox::hand_in(&home, inbox::wave_of(&home, exit, number, Leaving::Abandoned));
                }
            }
            before => {
                *state = State::Back(value);
                drop(state);
                drop(before);
            }
        }
    }
}

impl<T: fmt::Debug, M: Later<T>> fmt::Debug for Held<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.value).finish()
    }
}

opaque!({T} SendLater<T>);

opaque!({T} LocalLater<T>);
