//! tokio: a spawner for its runtime, its timer, and its tasks' ids (feature `tokio`).

use crate::clock::{Clock, Sleep};
use crate::spawn::{BoxTask, Refused, Spawn};
use crate::sync::Arc;
use crate::unwind;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::time::Instant;

/// Spawns a group's children on a tokio runtime.
///
/// A runtime that shuts down drops its tasks: the children are then seen as cancelled, with
/// [`ReasonKind::Shutdown`](crate::ReasonKind::Shutdown).
#[derive(Clone, Debug)]
pub struct Tokio(Arc<Kept>);

/// What children keep, one for all of them.
#[derive(Debug)]
struct Kept(::tokio::runtime::Handle);

impl Tokio {
    /// The runtime that this is called in.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn current() -> Self {
        Tokio::new(::tokio::runtime::Handle::current())
    }

    /// The runtime of `handle`, from anywhere.
    pub fn new(handle: ::tokio::runtime::Handle) -> Self {
        Tokio(Arc::new(Kept(handle)))
    }
}

impl Spawn for Tokio {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.0.spawn(task)
    }

    fn spawn_unboxed<F>(&self, task: F) -> Result<(), Refused>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Not aborted on drop: the group knows when the child ends by itself.
        drop(self.0.0.spawn(task));
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

/// tokio's timer, and its paused test clock.
#[derive(Debug)]
pub(crate) struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        // It panics at a thread's end, once its own thread-local is gone, if its clock has ever been paused.
        let now = unwind::catch(|| ::tokio::time::Instant::now().into_std());
        now.unwrap_or_else(|payload| {
            unwind::discard(payload);
            Instant::now()
        })
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(::tokio::time::sleep_until(at.into()))
    }
}

pub(crate) fn inside_a_runtime() -> bool {
    ::tokio::runtime::Handle::try_current().is_ok()
}

/// The running tokio task's id as a number, 0 outside one.
pub(crate) fn task_number() -> u64 {
    ::tokio::task::try_id().map_or(0, |id| {
        let mut number = NumberOf(0);
        id.hash(&mut number);
        number.0
    })
}

/// Reads the number out of an id whose only public use of it is its `Hash`.
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
