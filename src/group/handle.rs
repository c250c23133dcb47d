//! The handle of a child: its result, its cancellation, its id.

use super::side::Ending;
use super::slot::Slot;
use crate::failure::ChildError;
use crate::fused::fused;
use crate::identity::TaskId;
use crate::opaque::opaque;
use crate::sync::Arc;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A child of a [`TaskGroup`](crate::TaskGroup): its value, its cancellation, its id.
///
/// # On drop
///
/// Nothing happens to the child: its group waits for it. Its value is dropped when it ends.
///
/// # Comparison
///
/// tokio's `JoinHandle` returns the child's panic and detaches the child on drop; here the panic and the
/// error go to the group, and no child is detached. If the value is not needed, neither is the handle.
///
/// # Examples
///
/// ```
/// use moored::{ChildError, TaskGroup};
///
/// # futures::executor::block_on(async {
/// let group: TaskGroup<'_, ()> = TaskGroup::new();
/// let joined = group
///     .run(async {
///         let child = group.spawn(std::future::pending::<Result<(), ()>>());
///         child.cancel();
///         Ok(child.join().await)
///     })
///     .await;
/// assert!(matches!(joined.unwrap(), Err(ChildError::Cancelled(_))));
/// # });
/// ```
pub struct TaskHandle<T> {
    slot: Arc<Slot<T>>,
    name: Option<Arc<str>>,
}

impl<T> TaskHandle<T> {
    pub(super) fn new(slot: Arc<Slot<T>>, name: Option<Arc<str>>) -> Self {
        TaskHandle { slot, name }
    }

    /// Ready when the child has left, once.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Ending<T>> {
        self.slot.poll(cx)
    }

    /// Waits for the child's value.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handle; the child goes on. Poll it by reference in a `select!` loop.
    ///
    /// # Errors
    ///
    /// [`ChildError`]: the child failed, was cancelled, or panicked. The error itself goes to the group's
    /// failure.
    pub fn join(self) -> Join<T> {
        Join { child: self, done: false }
    }

    /// Asks for the cancellation of this child alone, from any task or thread (R3). It is not a failure of
    /// the group.
    ///
    /// If a deadline of the group, or the end of its grace, has passed, the child is cancelled with its group, although the
    /// group may not have been polled since (R11).
    #[track_caller]
    pub fn cancel(&self) {
        self.slot.cancel(Location::caller());
    }

    /// The child's identity.
    pub fn id(&self) -> TaskId {
        TaskId::moored(self.slot.child_id.task(), self.name.clone())
    }

    /// Whether the child has left.
    pub fn is_finished(&self) -> bool {
        self.slot.is_filled()
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id())
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// The future of [`TaskHandle::join`].
#[must_use = "futures do nothing unless polled"]
pub struct Join<T> {
    child: TaskHandle<T>,
    done: bool,
}

impl<T> Join<T> {
    pub(super) fn id(&self) -> TaskId {
        self.child.id()
    }
}

impl<T> Future for Join<T> {
    type Output = Result<T, ChildError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ending = ready!(self.child.poll(cx));
        self.done = true;
        Poll::Ready(match ending {
            Ending::Value(value) => Ok(value),
            Ending::Failed => Err(ChildError::Failed(self.id())),
            Ending::Cancelled(reason) => Err(ChildError::Cancelled(reason)),
            Ending::Panicked(isolated) => {
                if let Some(isolated) = isolated {
                    isolated.show();
                }
                Err(ChildError::Panicked)
            }
        })
    }
}

fused!({T} Join<T>: |join| join.done);

opaque!({T} Join<T>);
