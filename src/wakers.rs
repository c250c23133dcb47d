//! Places for wakers: filled and drained under a lock, woken outside it (R18).

mod queue;
mod roster;

pub(crate) use queue::{Asked, MemberWaker, WakeQueue};
pub(crate) use roster::{Roster, Seat};

use crate::unwind::{self, Payload};
use slab::Slab;
use std::task::Waker;

/// Identifies the waker that was registered somewhere, without keeping it. A wait that kept a waker of its own would
/// keep alive the task that owns the wait (R19).
///
/// The mark says nothing once the waker was taken from its place, because another waker may be in the same place
/// by then. The code that registers knows when that happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    data: usize,
    vtable: usize,
}

impl Mark {
    #[inline]
    pub(crate) fn of(waker: &Waker) -> Self {
        Mark { data: waker.data().addr(), vtable: std::ptr::from_ref(waker.vtable()).addr() }
    }
}

/// The wakers of all waiters for one event. The owner keeps it under a lock, and counts how often all were taken:
/// a key from before the last take is void.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    /// The waker at key 0. Most waiters are alone, and need no allocation.
    first: Option<Waker>,
    /// The waker at key `n + 1` is at `n`.
    rest: Option<Box<Slab<Waker>>>,
}

impl Wakers {
    /// Registers a waiter at its first poll, or refreshes it; returns the waker that is to be dropped
    /// outside the lock.
    #[inline(always)]
    #[must_use = "the old waker must be dropped outside the lock"]
    pub(crate) fn register(&mut self, key: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        if let Some(before) = key.and_then(|at| self.get_mut(at)) {
            return Some(std::mem::replace(before, waker));
        }
        *key = Some(match &self.first {
            None => {
                self.first = Some(waker);
                0
            }
            Some(_) => self.rest.get_or_insert_default().insert(waker) + 1,
        });
        None
    }

    fn get_mut(&mut self, key: usize) -> Option<&mut Waker> {
        match key.checked_sub(1) {
            None => self.first.as_mut(),
            Some(key) => self.rest.as_mut()?.get_mut(key),
        }
    }

    #[must_use = "the waker must be dropped outside the lock"]
    pub(crate) fn remove(&mut self, key: usize) -> Option<Waker> {
        match key.checked_sub(1) {
            None => self.first.take(),
            Some(key) => self.rest.as_mut()?.try_remove(key),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.as_ref().is_none_or(|rest| rest.is_empty())
    }
}

/// Wakers that were taken out of their places, to be woken or dropped outside the lock.
#[derive(Default)]
pub(crate) struct Taken {
    one_by_one: Vec<Waker>,
    /// Whole lists, because moving a hundred thousand wakers would take longer than waking
    /// them.
    whole: Vec<Slab<Waker>>,
}

impl Taken {
    pub(crate) fn take(&mut self, wakers: &mut Wakers) {
        if let Some(first) = wakers.first.take() {
            self.one_by_one.push(first);
        }
        if let Some(rest) = wakers.rest.take() {
            self.whole.push(*rest);
        }
    }

    pub(crate) fn into_wakers(self) -> impl Iterator<Item = Waker> {
        let whole = self.whole.into_iter().flatten().map(|(_, waker)| waker);
        self.one_by_one.into_iter().chain(whole)
    }
}

impl Extend<Waker> for Taken {
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        self.one_by_one.extend(wakers);
    }
}

/// Wakes all, even if some of them panic. A waker's panic ends here, after the panic hook has reported it, because it
/// must not interrupt the caller, such as the drop that hands exits over (R8, R18).
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    unwind::discard(wake_all_of(wakers));
}

/// As [`wake_all`]; returns the first panic of a waker. Such a panic is a fault of the executor, and is resumed in the
/// user code that made the request.
#[must_use = "a payload must not be dropped where its drop could panic"]
pub(crate) fn wake_all_of(wakers: impl IntoIterator<Item = Waker>) -> Option<Payload> {
    let mut first = None;
    // Not a `for` loop: `for_each` is faster on chained and flattened iterators.
    wakers.into_iter().for_each(|waker| {
        if let Err(payload) = unwind::catch(|| waker.wake()) {
            match first {
                None => first = Some(payload),
                Some(_) => unwind::discard(payload),
            }
        }
    });
    first
}
