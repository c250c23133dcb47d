//! tokio: a spawner for its runtime, its timer, and its tasks' ids (feature `tokio`).

use crate::clock::Sleep;
use crate::spawn::{BoxTask, Refused, Spawn};
use crate::sync::{Arc, ambient};
use crate::unwind;
use ::tokio::runtime::{Handle, Id};
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
pub struct Tokio(Arc<Kept>);

/// The spawner that all children share and keep.
#[derive(Debug)]
struct Kept(Handle);

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
        Tokio(Arc::new(Kept(handle)))
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

impl Spawn for Kept {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        drop(self.0.spawn(task));
        Ok(())
    }
}

/// The place of one of tokio's timers.
pub(super) trait Place {
    /// Polls the timer, which is made for `at` if the place is empty.
    fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()>;

    fn empty(&mut self);
}

/// In a box of its own.
impl Place for Option<Sleep> {
    fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let tokios = || -> Sleep { Box::pin(::tokio::time::sleep_until(at.into())) };
        self.get_or_insert_with(tokios).as_mut().poll(cx)
    }

    fn empty(&mut self) {
        *self = None;
    }
}

/// In a future that is pinned.
impl Place for Pin<&mut Option<::tokio::time::Sleep>> {
    fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_none() {
            self.set(Some(::tokio::time::sleep_until(at.into())));
        }
        self.as_mut().as_pin_mut().map_or(Poll::Pending, |sleep| sleep.poll(cx))
    }

    fn empty(&mut self) {
        self.set(None);
    }
}

pin_project! {
    /// One of tokio's timers in a future that is pinned, and the runtime in which it was made.
    #[derive(Default)]
    pub(super) struct Native {
        #[pin]
        sleep: Option<::tokio::time::Sleep>,
        made_in: MadeIn,
    }
}

impl Native {
    /// As [`MadeIn::poll`].
    pub(super) fn poll(
        self: Pin<&mut Self>,
        at: Instant,
        cx: &mut Context<'_>,
    ) -> Option<Poll<()>> {
        let mut this = self.project();
        this.made_in.poll(at, &mut this.sleep, cx)
    }
}

/// The runtime in which the timer of a [`Delay`](super::Delay) was made.
#[derive(Default)]
pub(super) struct MadeIn {
    /// `None` outside a runtime, and in a runtime without a timer.
    runtime: Option<Id>,
    /// The task that polled it last; 0 if none was known. A task stays in its runtime, so most polls need not look up
    /// the runtime.
    task: u64,
}

impl MadeIn {
    /// Polls a timer of the current runtime, which is in `sleep` or is made for `at`. `None` if there is no such
    /// runtime, or it has no timer: then `sleep` holds no timer of tokio.
    pub(super) fn poll(
        &mut self,
        at: Instant,
        sleep: &mut impl Place,
        cx: &mut Context<'_>,
    ) -> Option<Poll<()>> {
        let runtime = self.come_here(sleep)?;
        // tokio panics if a runtime was built without a timer, or has shut down, and offers no way to ask.
        let polled = unwind::catch(|| sleep.poll(at, cx));
        match polled {
            Ok(Poll::Pending) => return Some(Poll::Pending),
            Ok(Poll::Ready(())) if now() >= at => return Some(Poll::Ready(())),
            // A runtime that shuts down makes all its timers ready.
            Ok(Poll::Ready(())) => {}
            Err(payload) => unwind::discard(payload),
        }
        WITHOUT_TIMER.with(|without| without.set(Some(runtime)));
        sleep.empty();
        *self = MadeIn::default();
        None
    }

    /// The current runtime, if it has a timer; the timer of another runtime is released.
    fn come_here(&mut self, sleep: &mut impl Place) -> Option<Id> {
        let task = task_number();
        if task != 0 && task == self.task {
            return self.runtime;
        }
        let current = Handle::try_current().ok().map(|handle| handle.id());
        let without = WITHOUT_TIMER.with(Cell::get);
        let runtime = current.filter(|current| without != Some(*current));
        if runtime != self.runtime {
            sleep.empty();
        }
        *self = MadeIn { runtime, task };
        runtime
    }
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
