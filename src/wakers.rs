//! Waker slots: filled and drained under a lock, woken outside it (R18).

use crate::unwind;
use slab::Slab;
use std::task::Waker;

/// The wakers of all who wait for one event. The owner keeps it under a lock.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Slab<Waker>);

impl Wakers {
    pub(crate) const fn new() -> Self {
        Wakers(Slab::new())
    }

    /// Registers a waiter at its first poll, or refreshes it; returns the waker that is to be dropped
    /// outside the lock.
    #[must_use = "the old waker must be dropped outside the lock"]
    pub(crate) fn register(&mut self, key: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        match *key {
            Some(at) => Some(std::mem::replace(&mut self.0[at], waker)),
            None => {
                *key = Some(self.0.insert(waker));
                None
            }
        }
    }

    #[must_use = "the waker must be dropped outside the lock"]
    pub(crate) fn remove(&mut self, key: usize) -> Option<Waker> {
        self.0.try_remove(key)
    }

    /// Empties the slots, to be woken outside the lock.
    pub(crate) fn take(&mut self) -> Vec<Waker> {
        if self.0.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.0).into_iter().map(|(_, waker)| waker).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Wakes all; a waker that panics does not starve the others.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    unwind::each(wakers, Waker::wake);
}
