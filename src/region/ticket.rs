//! Exits that stay on their thread.
//!
//! What is not `Send` cannot sit in a node, which handles reach from anywhere. It sits in a thread-local,
//! and the node has a ticket for it, which travels like any exit and is good on that thread only.

use super::{ExitError, ExitWork};
use crate::reason::Leaving;
use crate::report::{Report, report};
use crate::sync::{ambient, next_number};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

struct Cloakroom {
    coats: Slab<Coat>,
}

struct Coat {
    /// `None` while it is polled.
    work: Option<Pin<Box<dyn ExitWork>>>,
    registered_at: &'static Location<'static>,
}

ambient! {
    static COATS: RefCell<Cloakroom> = RefCell::new(Cloakroom { coats: Slab::new() });
}

ambient! {
    static THREAD: Cell<u64> = Cell::new(0);
}

fn thread() -> u64 {
    let number = |thread: &Cell<u64>| {
        if thread.get() == 0 {
            thread.set(next_number());
        }
        thread.get()
    };
    THREAD.try_with(number).unwrap_or(0)
}

/// A claim on work that stays on its thread.
pub(crate) struct Ticket {
    thread: u64,
    key: usize,
}

impl Ticket {
    pub(crate) fn new(
        work: impl ExitWork + 'static,
        registered_at: &'static Location<'static>,
    ) -> Self {
        let coat = Coat { work: Some(Box::pin(work)), registered_at };
        let key = COATS.with(|room| room.borrow_mut().coats.insert(coat));
        Ticket { thread: thread(), key }
    }

    fn take(&self) -> Option<Pin<Box<dyn ExitWork>>> {
        let take = |room: &RefCell<Cloakroom>| {
            room.borrow_mut().coats.get_mut(self.key).and_then(|coat| coat.work.take())
        };
        COATS.try_with(take).ok().flatten()
    }
}

impl ExitWork for Ticket {
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        why: &Leaving,
    ) -> Poll<Result<(), ExitError>> {
        if self.thread != thread() {
            return Poll::Ready(Err(ExitError::Failed(Box::new(WrongThread))));
        }
        let Some(mut work) = self.take() else { return Poll::Ready(Ok(())) };
        // Out of the thread-local while user code runs: it may register exits itself.
        let polled = work.as_mut().poll(cx, why);
        if polled.is_pending() {
            let _ = COATS.try_with(|room| {
                if let Some(coat) = room.borrow_mut().coats.get_mut(self.key) {
                    coat.work = Some(work);
                }
            });
        }
        polled
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // On another thread the work cannot be dropped: it stays until its own thread ends.
        if self.thread == thread() {
            let coat = COATS.try_with(|room| room.borrow_mut().coats.try_remove(self.key));
            drop(coat);
        }
    }
}

impl Drop for Cloakroom {
    fn drop(&mut self) {
        let left: Vec<_> = self.coats.drain().collect();
        if !left.is_empty() {
            report(&Report::LostExits {
                region: "local exit stacks of a thread that has ended".to_owned(),
                registered_at: left.iter().rev().map(|coat| coat.registered_at).collect(),
            });
        }
    }
}

#[derive(Debug)]
struct WrongThread;

impl fmt::Display for WrongThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a local exit cannot run on another thread than it was registered on; keep the region on its \
             thread, or use an `ExitStack` whose exits are `Send`",
        )
    }
}

impl std::error::Error for WrongThread {}
