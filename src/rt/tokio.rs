//! tokio: a spawner for its runtime, its timer, and its tasks' ids (feature `tokio`).

use crate::spawn::{BoxTask, Refused, Spawn};
use crate::sync::{Arc, ambient};
use crate::unwind;
use crate::wakers::Mark;
use ::tokio::runtime::{Handle, Id};
use ::tokio::time::Sleep;
use pin_project_lite::pin_project;
use std::cell::Cell;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// Spawns a group's children on a tokio runtime.
///
/// A runtime that shuts down drops its tasks: the children then count as cancelled, with
/// [`ReasonKind::Shutdown`](crate::ReasonKind::Shutdown).
#[derive(Clone, Debug)]
pub struct Tokio(Arc<Spawner>);

/// The spawner that all children share and keep.
#[derive(Debug)]
struct Spawner(Handle);

impl Tokio {
    /// The runtime in which this is called.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn current() -> Self {
        Tokio::new(Handle::current())
    }

    /// The runtime of `handle`, from anywhere.
    pub fn new(handle: Handle) -> Self {
        Tokio(Arc::new(Spawner(handle)))
    }
}

impl Spawn for Tokio {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.0.spawn(task)
    }

    /// tokio-console shows the place of the spawn into the group.
    #[track_caller]
    fn spawn_unboxed<F>(&self, task: F) -> Result<(), Refused>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Dropping the join handle does not abort the task: the child ends by itself, and its
        // group is woken then.
        drop(self.0.0.spawn(task));
        Ok(())
    }

    /// tokio-console shows the name if tokio accepts one: with `--cfg tokio_unstable` and the feature `tracing`.
    #[cfg(all(tokio_unstable, feature = "tracing"))]
    #[track_caller]
    fn spawn_named<F>(&self, name: Option<&str>, task: F) -> Result<(), Refused>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(name) = name else { return self.spawn_unboxed(task) };
        // It fails only where a thread is needed and cannot be started.
        let spawned = ::tokio::task::Builder::new().name(name).spawn_on(task, &self.0.0);
        drop(spawned.expect("a task that does not block needs no thread"));
        Ok(())
    }

    fn keep(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
        Some(Arc::clone(&self.0) as _)
    }
}

impl Spawn for Spawner {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        drop(self.0.spawn(task));
        Ok(())
    }
}

pin_project! {
    /// One of tokio's timers, and the place where it was made.
    #[derive(Default)]
    pub(super) struct Native {
        #[pin]
        sleep: Option<Sleep>,
        made_in: Option<MadeIn>,
        // The waker that tokio has since the last poll.
        waker: Mark,
    }
}

/// The place where a timer was made. It is the task that polls the timer: a task stays in its runtime, so the runtime need not be
/// looked up. It is the runtime if no task is known, or if a runtime of this thread has no timer.
#[derive(PartialEq, Eq)]
enum MadeIn {
    Task(u64),
    Runtime(Id),
}

impl MadeIn {
    /// `None` outside a runtime, and in a runtime that was found to have no timer.
    fn here() -> Option<MadeIn> {
        let without = WITHOUT_TIMER.with(Cell::get);
        match task_number() {
            task if task != 0 && without.is_none() => Some(MadeIn::Task(task)),
            _ => current_runtime().filter(|current| without != Some(*current)).map(MadeIn::Runtime),
        }
    }
}

impl Native {
    /// Polls a timer of the current runtime, which is made for `at` if there is none. `None` if there is no such runtime, or it
    /// has no timer: then no timer of tokio is left.
    pub(super) fn poll(
        mut self: Pin<&mut Self>,
        at: Instant,
        cx: &mut Context<'_>,
    ) -> Option<Poll<()>> {
        let here = MadeIn::here();
        if here != self.made_in {
            self.set(Native { made_in: here, ..Native::default() });
        }
        self.made_in.as_ref()?;
        let waker = Mark::of(cx.waker());
        let waits = |sleep: &Sleep| !sleep.is_elapsed() && self.waker == waker;
        if self.sleep.as_ref().is_some_and(waits) {
            return Some(Poll::Pending);
        }
        // tokio panics if a runtime was built without a timer, or has shut down, and offers no way to ask.
        let polled = unwind::catch(|| {
            let mut sleep = self.as_mut().project().sleep;
            if sleep.is_none() {
                sleep.set(Some(::tokio::time::sleep_until(at.into())));
            }
            sleep.as_pin_mut().map_or(Poll::Pending, |sleep| sleep.poll(cx))
        });
        match polled {
            Ok(Poll::Pending) => {
                *self.project().waker = waker;
                return Some(Poll::Pending);
            }
            Ok(Poll::Ready(())) if now() >= at => return Some(Poll::Ready(())),
            // A runtime that shuts down makes all its timers ready.
            Ok(Poll::Ready(())) => {}
            Err(payload) => unwind::discard(payload),
        }
        WITHOUT_TIMER.with(|without| without.set(current_runtime()));
        self.set(Native::default());
        None
    }
}

fn current_runtime() -> Option<Id> {
    Handle::try_current().ok().map(|handle| handle.id())
}

ambient! {
    /// The runtime that was last found to have no timer: each thread finds out once, because the panic hook prints the
    /// panic.
    static WITHOUT_TIMER: Cell<Option<Id>> = Cell::new(None);
}

/// The instant of tokio's clock, which tests can pause.
pub(super) fn now() -> Instant {
    // It panics at a thread's end, once its own thread-local is gone, if its clock has ever been paused.
    let now = unwind::catch(|| ::tokio::time::Instant::now().into_std());
    now.unwrap_or_else(|payload| {
        unwind::discard(payload);
        Instant::now()
    })
}

/// The running tokio task's id as a number, 0 outside one.
pub(crate) fn task_number() -> u64 {
    ::tokio::task::try_id().map_or(0, |id| {
        let mut number = NumberOf(0);
        id.hash(&mut number);
        number.0
    })
}

/// Reads the number of an id through its `Hash`, which is the only public way to it.
struct NumberOf(u64);

impl Hasher for NumberOf {
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
