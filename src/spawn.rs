//! The trait through which an executor runs a group's children.

use crate::opaque::opaque;
use crate::sync::Arc;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A child, ready to be polled by an executor.
pub type BoxTask = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// An executor that runs tasks to their end, on any thread.
///
/// An executor may drop a task before its end, as a runtime does when it shuts down; the group then sees
/// the child as cancelled and takes over its exits (R8, R16).
#[diagnostic::on_unimplemented(
    message = "`{Self}` runs no children",
    label = "not an executor",
    note = "use `rt::tokio::Tokio::current()` (feature `tokio`) or `rt::smol::Smol` (feature `smol`), or implement `Spawn`"
)]
pub trait Spawn {
    /// Runs `task`, or hands it back if the executor takes no more.
    fn spawn(&self, task: BoxTask) -> Result<(), Refused>;

    /// As [`spawn`](Spawn::spawn), for an executor that allocates a task itself and needs no box around it.
    fn spawn_unboxed<F>(&self, task: F) -> Result<(), Refused>
    where
        Self: Sized,
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn(Box::pin(task))
    }

    /// As [`spawn_unboxed`](Spawn::spawn_unboxed), for a child that may have a name, which an executor may show. A group
    /// spawns its children with this. With `#[track_caller]`, an implementation sees the place of the spawn into the group.
    #[track_caller]
    fn spawn_named<F>(&self, name: Option<&str>, task: F) -> Result<(), Refused>
    where
        Self: Sized,
        F: Future<Output = ()> + Send + 'static,
    {
        let _ = name;
        self.spawn_unboxed(task)
    }

    /// The executor itself, to be kept by each child. If it drops a child before its end, the exits that the child
    /// abandons run on it in a task of their own, and the group waits. With `None` the group runs them. The returned
    /// value must not keep an executor alive that owns its tasks, because the child that keeps it is such a task.
    /// [`Task::on_abandon`](crate::Task::on_abandon) keeps it too, and with `None` the spawner as it was given.
    fn keep(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
        None
    }
}

/// A task that an executor did not take.
pub struct Refused(
    /// The task, as it was passed in.
    pub BoxTask,
);

opaque!(Refused);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the executor takes no more tasks")
    }
}

impl std::error::Error for Refused {}
