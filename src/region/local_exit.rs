//! Exits that stay on their thread.
//!
//! Work that is not `Send` cannot be stored in a node, which handles reach from any thread. It stays in a table of its
//! thread, under a number. The node has a [`LocalExit`] with that number, which moves like any exit.
//!
//! On another thread a `LocalExit` cannot run its work: the exit has failed there, or is lost. The thread of the exit drops
//! the work when the thread ends. The first of the two threads reports the exit, and the other does not.
//!
//! # Invariants
//!
//! 1. Work is polled and dropped by its own thread alone.
//! 2. An exit is reported once: by its thread, or by the thread that holds its number, whichever claims it first.
//! 3. No user code runs while the table is borrowed.

use super::exits::ExitWork;
use super::node::Node;
use super::owner;
use super::tally::ExitError;
use crate::failure::ExitFailure;
use crate::reason::Leaving;
use crate::report::{Report, report};
use crate::sync::{Arc, Mutex, Weak, ambient};
use crate::unwind;
use slab::Slab;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The local exits of a thread.
#[derive(Default)]
struct Table {
    stored: Slab<Stored>,
    claims: Arc<Claims>,
}

struct Stored {
    /// `None` while it is polled.
    work: Option<Pin<Box<dyn ExitWork>>>,
    registered_at: &'static Location<'static>,
    stack: Weak<Node>,
}

/// The exits of a thread that other threads have reported.
#[derive(Default)]
struct Claims(Mutex<Claimed>);

#[derive(Default)]
struct Claimed {
    by_others: BTreeSet<usize>,
    /// The thread has ended, and has reported all exits that are not in `by_others`.
    thread_ended: bool,
}

impl Claims {
    /// Whether the exit was not reported yet, so that the caller has to report it (invariant 2).
    fn claim(&self, key: usize) -> bool {
        let mut claimed = self.0.lock();
        !claimed.thread_ended && claimed.by_others.insert(key)
    }
}

ambient! {
    /// Made with the first local exit of a thread.
    static TABLE: RefCell<Option<Table>> = RefCell::new(None);
}

/// `None` if the thread is exiting. `access` must not run user code, because that may register exits itself (invariant 3).
fn table<R>(access: impl FnOnce(&mut Table) -> R) -> Option<R> {
    TABLE.try_with(|table| access(table.borrow_mut().get_or_insert_default())).ok()
}

/// A claim on work that stays on its thread. `None` if it was registered while its thread was exiting: the work is
/// leaked then, because there is no table to keep it, and it must not be dropped under the lock.
pub(crate) struct LocalExit(Option<(Arc<Claims>, usize)>);

impl LocalExit {
    /// Called under the lock of `stack`, so it only moves.
    pub(crate) fn new(
        work: impl ExitWork + 'static,
        registered_at: &'static Location<'static>,
        stack: Weak<Node>,
    ) -> Self {
        let mut stored = Some(Stored { work: Some(Box::pin(work)), registered_at, stack });
        let entry = table(|table| {
            let key = stored.take().map(|stored| table.stored.insert(stored))?;
            Some((Arc::clone(&table.claims), key))
        });
        std::mem::forget(stored);
        LocalExit(entry.flatten())
    }
}

/// The number, if the current thread has the work (invariant 1).
fn key_here(claims: &Arc<Claims>, key: usize) -> Option<usize> {
    let is_here = |table: &Table| Arc::ptr_eq(&table.claims, claims);
    let here = TABLE.try_with(|table| table.borrow().as_ref().is_some_and(is_here));
    here.unwrap_or(false).then_some(key)
}

impl ExitWork for LocalExit {
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        why: &Leaving,
    ) -> Poll<Result<(), ExitError>> {
        let failed = |why, reported| {
            Poll::Ready(Err(ExitError::Failed(Box::new(CannotRun { why, reported }))))
        };
        let Some((claims, key)) = &self.0 else { return failed(THREAD_ENDED, false) };
        let Some(key) = key_here(claims, *key) else {
            return failed(WRONG_THREAD, !claims.claim(*key));
        };
        let work = table(|table| table.stored.get_mut(key)?.work.take());
        let Some(mut work) = work.flatten() else { return Poll::Ready(Ok(())) };
        let polled = work.as_mut().poll(cx, why);
        if polled.is_pending() {
            table(|table| table.stored.get_mut(key).map(|stored| stored.work = Some(work)));
        }
        polled
    }

    fn claim(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|(claims, key)| key_here(claims, *key).is_some() || claims.claim(*key))
    }
}

impl Drop for LocalExit {
    fn drop(&mut self) {
        let Some((claims, key)) = &self.0 else { return };
        match key_here(claims, *key) {
            Some(key) => drop(table(|table| table.stored.try_remove(key))),
            // The thread that had the `LocalExit` has reported the exit: as failed, or as lost.
            None => drop(claims.claim(*key)),
        }
    }
}

impl Drop for Table {
    /// Each piece of user code is caught: a panic in a thread-local's drop ends the process (R18).
    fn drop(&mut self) {
        let told = {
            let mut claimed = self.claims.0.lock();
            claimed.thread_ended = true;
            std::mem::take(&mut claimed.by_others)
        };
        let stored: Vec<_> = std::mem::take(&mut self.stored).into_iter().collect();
        let lost = stored.iter().rev().filter(|(key, _)| !told.contains(key));
        let (registered_at, stacks): (Vec<_>, Vec<_>) = lost
            .map(|(_, stored)| {
                (stored.registered_at, owner::describe_stack(stored.stack.upgrade().as_deref()))
            })
            .unzip();
        if !registered_at.is_empty() {
            let region = "local exit stacks of a thread that has ended".to_owned();
            report(Report::LostExits { region, registered_at, stacks });
        }
        unwind::drop_each_quietly(stored);
    }
}

/// The error of a local exit that cannot run.
#[derive(Debug)]
struct CannotRun {
    why: &'static str,
    /// Whether the exit's own thread has reported it lost.
    reported: bool,
}

const WRONG_THREAD: &str = "a local exit cannot run on another thread than it was registered on; keep the region on its \
    thread, or use an `ExitStack` whose exits are `Send`";
const THREAD_ENDED: &str = "a local exit cannot be kept by a thread that is ending; register it before the thread's \
    thread-locals are dropped";

/// Whether the exit was reported to the hook before.
pub(super) fn was_reported(failure: &ExitFailure) -> bool {
    let ExitFailure::Failed { error, .. } = failure else { return false };
    error.downcast_ref::<CannotRun>().is_some_and(|error| error.reported)
}

impl fmt::Display for CannotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

impl std::error::Error for CannotRun {}
