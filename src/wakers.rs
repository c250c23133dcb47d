//! Waker slots: filled and drained under a lock, woken outside it (R18).

use crate::unwind::{self, Payload};
use slab::Slab;
use std::task::Waker;

/// Which waker was registered somewhere, without keeping it: a wait that kept a waker of its own would keep the task
/// alive that keeps the wait (R19).
///
/// It tells nothing once the waker was taken from where it was registered, because another one may be in the same
/// place by then; who registers knows when that happens.
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

/// The wakers of all who wait for one event. The owner keeps it under a lock.
///
/// A slot outlives its waker: whoever was woken registers anew in its own slot, or gives it back.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Slab<Option<Waker>>);

impl Wakers {
    /// Registers a waiter at its first poll, or refreshes it; returns the waker that is to be dropped
    /// outside the lock.
    #[must_use = "the old waker must be dropped outside the lock"]
    pub(crate) fn register(&mut self, key: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        match *key {
            Some(at) => self.0[at].replace(waker),
            None => {
                *key = Some(self.0.insert(Some(waker)));
                None
            }
        }
    }

    #[must_use = "the waker must be dropped outside the lock"]
    pub(crate) fn remove(&mut self, key: usize) -> Option<Waker> {
        self.0.try_remove(key).flatten()
    }

    /// Takes all wakers, to be woken or dropped outside the lock.
    pub(crate) fn take_into(&mut self, wakers: &mut Vec<Waker>) {
        // At once: a filter does not know how many it lets through.
        wakers.reserve(self.0.len());
        wakers.extend(self.0.iter_mut().filter_map(|(_, slot)| slot.take()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Wakes all, whatever any of them does.
///
/// A panic of a waker, an executor's fault, is returned. Where a user asked for what wakes, it goes on there;
/// elsewhere it ends, after the panic hook has told of it: it must not break off what wakes, such as the drop
/// that hands exits over (R8, R18).
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) -> Option<Payload> {
    let mut first = None;
    for waker in wakers {
        if let Err(payload) = unwind::catch(|| waker.wake()) {
            first.get_or_insert(payload);
        }
    }
    first
}
