//! The floor: the least work that the rules ask for, written by hand and measured beside ours and
//! the peer.
//!
//! Each function does one job of the crate and nothing else, in safe code: no parent, no reason, no check of the task,
//! no adoption of exits. It does not keep all rules; it shows the cost of the part of them that cannot be had for
//! less.

use crate::caught;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use slab::Slab;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// A task's number: the identity that a region compares (R1).
pub fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A region around `body`: its task is current while it is polled, and put back on unwind (R5); a panic is caught, so that
/// everything else can be left first (R15).
pub async fn guarded<F: Future>(task: u64, body: F) -> F::Output {
    let mut body = pin!(body);
    poll_fn(|cx| {
        let before = CURRENT.replace(task);
        let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx)));
        CURRENT.set(before);
        polled.unwrap_or_else(|panic| resume_unwind(panic))
    })
    .await
}

/// Exits, each in a box of its own, registered and taken under a lock. The lock is needed because a drop of the stack
/// half-way has to find all exits that are left (R8), and an exit that is registered meanwhile is the next (R14).
#[derive(Default)]
pub struct Exits(Mutex<Vec<BoxFuture<'static, ()>>>);

impl Exits {
    /// Registers an exit.
    pub fn defer(&self, exit: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().push(Box::pin(exit));
    }

    /// Runs them, newest first, each under its own panic catch.
    pub async fn unwind(&self) {
        loop {
            let next = self.0.lock().pop();
            let Some(exit) = next else { return };
            caught(exit).await.unwrap();
        }
    }
}

impl fmt::Debug for Exits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exits")
    }
}

/// The waiters for an event: a flag, and the wakers under a lock (R6).
#[derive(Debug, Default)]
pub struct Waiters {
    flag: AtomicBool,
    wakers: Mutex<Slab<Waker>>,
}

impl Waiters {
    /// Registers a waiter.
    pub fn register(&self, waker: &Waker) -> usize {
        let waker = waker.clone();
        self.wakers.lock().insert(waker)
    }

    /// Whether it has happened: asked after registering, or a wake-up is lost.
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Gives a place back.
    pub fn forget(&self, key: usize) {
        let waker = self.wakers.lock().try_remove(key);
        drop(waker);
    }

    /// Sets the flag of each that still lives, and wakes everybody after: one lock each, because they are regions of
    /// tasks of their own.
    pub fn set_all(all: &[Weak<Waiters>]) {
        let mut taken = Vec::with_capacity(all.len());
        for waiters in all.iter().filter_map(Weak::upgrade) {
            let mut wakers = waiters.wakers.lock();
            waiters.flag.store(true, Ordering::Release);
            taken.extend(wakers.drain());
        }
        taken.into_iter().for_each(|waker| drop(catch_unwind(AssertUnwindSafe(|| waker.wake()))));
    }
}

/// Where a child leaves its value for a handle that may be on another thread.
#[derive(Debug, Default)]
pub struct Place<T>(Mutex<Option<T>>);

impl<T> Place<T> {
    /// The child's and the handle's.
    pub fn new() -> (Arc<Self>, Arc<Self>) {
        let place = Arc::new(Place(Mutex::new(None)));
        (Arc::clone(&place), place)
    }

    /// Stores the value, unless the handle has been dropped.
    pub fn fill(self: &Arc<Self>, value: T) {
        if Arc::strong_count(self) > 1 {
            *self.0.lock() = Some(value);
        }
    }
}

/// The number of children inside, and the waker of the wait for zero (R16).
#[derive(Debug, Default)]
pub struct Inside {
    count: AtomicU64,
    waits: Mutex<Option<Waker>>,
}

impl Inside {
    /// One more.
    pub fn enter(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// One less.
    pub fn leave(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waker = self.waits.lock().take();
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Ready when no child is inside.
    pub async fn empty(&self) {
        poll_fn(|cx: &mut Context<'_>| {
            let old = self.waits.lock().replace(cx.waker().clone());
            drop(old);
            if self.count.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
