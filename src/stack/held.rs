//! A value that is lent out until its exit wants it back.

use super::work::{Deferred, ExitOutput};
use crate::reason::Leaving;
use crate::region::{Exit, ExitError, Node, ambient};
use crate::sync::{Arc, Mutex};
use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

/// A value that an [`ExitStack`](crate::ExitStack) gives back when it is left; made by
/// [`hold`](crate::ExitStack::hold).
///
/// It derefs to the value, and cannot be cloned: at any time either the holder has the value or the exit
/// does.
///
/// # On drop
///
/// The value is put back for its exit. Where the exit's turn has come and gone, it is sent to the nearest
/// live region around the stack, which runs it (R8).
#[must_use = "dropping it puts the value back for its exit"]
pub struct Held<T: Send + 'static> {
    // `None` only while it is dropped.
    value: Option<T>,
    slot: Arc<Slot<T>>,
}

/// Where the value is put back, and what its exit left there if it came too early.
pub(super) struct Slot<T>(Mutex<State<T>>);

enum State<T> {
    Out,
    Back(T),
    /// The exit came before the value: how to make it, and the region it belongs to.
    Awaited(Box<dyn FnOnce(T) -> Exit + Send>, Option<Arc<Node>>),
    Gone,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Slot(Mutex::new(State::Out)))
    }
}

/// The exit's side: its future, or `StillHeld` with everything needed to go on later.
pub(super) fn reclaim<T, C, F>(
    slot: &Slot<T>,
    give_back: C,
    at: &'static Location<'static>,
) -> Result<F, ExitError>
where
    T: Send + 'static,
    C: FnOnce(T) -> F + Send + 'static,
    F: Future + Send + 'static,
    F::Output: ExitOutput,
{
    let mut state = slot.0.lock();
    match mem::replace(&mut *state, State::Gone) {
        State::Back(value) => {
            drop(state);
            Ok(give_back(value))
        }
        _ => {
            let later = move |value: T| {
                let work = Deferred::closure(move |_: &Leaving| Ok(give_back(value)));
                Exit { work: Box::pin(work), registered_at: at }
            };
            let home = ambient::with_current(|node, _| node.cloned());
            *state = State::Awaited(Box::new(later), home);
            Err(ExitError::StillHeld)
        }
    }
}

impl<T: Send + 'static> Held<T> {
    pub(super) fn new(value: T, slot: Arc<Slot<T>>) -> Self {
        Held { value: Some(value), slot }
    }
}

impl<T: Send + 'static> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("the value is there until the drop")
    }
}

impl<T: Send + 'static> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("the value is there until the drop")
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else { return };
        let mut state = self.slot.0.lock();
        match mem::replace(&mut *state, State::Gone) {
            State::Awaited(make, home) => {
                drop(state);
                let exit = make(value);
                if let Some(home) = home {
                    home.hand_in(home.wave_of(exit, Leaving::Abandoned));
                }
            }
            _ => *state = State::Back(value),
        }
    }
}

impl<T: Send + fmt::Debug + 'static> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.value).finish()
    }
}
