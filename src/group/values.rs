//! The values of children, as they complete.

use super::handle::{Join, TaskHandle};
use crate::failure::ChildError;
use crate::identity::TaskId;
use crate::wakers::Roster;
use futures_core::Stream;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The values of children, in the order in which the children end: a stream of `(TaskId, Result<T, ChildError>)`.
///
/// Made of [handles](TaskHandle), of any group and of any kind of child; more can be [pushed](Values::push) meanwhile.
/// It yields `None` when it has no handle left, and may yield more after another handle was pushed. A child that fails
/// yields its [`ChildError`] here, and its error goes to its group.
///
/// # Cancel safety
///
/// Dropping a pending [`next`](Values::next) loses nothing.
///
/// # On drop
///
/// The handles are dropped: the children go on, their groups wait for them, and their values are dropped.
///
/// # Comparison
///
/// tokio's `JoinSet` owns its tasks and aborts them on drop; here the group owns the children, and this stream only
/// reads their values. A `FuturesUnordered` of [`join`](TaskHandle::join)s is the same without ids. If only the kind of
/// end is needed, and of all children, use [`TaskGroup::results`](crate::TaskGroup::results).
///
/// # Examples
///
/// ```
/// use moored::{TaskGroup, Values};
///
/// # futures::executor::block_on(async {
/// let group: TaskGroup<'_, std::io::Error> = TaskGroup::new();
/// let sum = group
///     .run(async {
///         let mut squares: Values<u32> =
///             (1..=3).map(|n| group.spawn(async move { Ok(n * n) })).collect();
///         let mut sum = 0;
///         while let Some((_task, square)) = squares.next().await {
///             sum += square.unwrap();
///         }
///         Ok(sum)
///     })
///     .await;
/// assert_eq!(sum.unwrap(), 14);
/// # });
/// ```
#[doc(alias = "JoinSet")]
#[doc(alias = "join_next")]
#[doc(alias = "FuturesUnordered")]
#[must_use = "streams do nothing unless polled"]
pub struct Values<T> {
    joins: Roster<Join<T>>,
}

impl<T> Values<T> {
    /// A stream without handles.
    pub fn new() -> Self {
        Values { joins: Roster::default() }
    }

    /// Adds a child.
    pub fn push(&mut self, child: TaskHandle<T>) {
        let (row, seat) = self.joins.vacancy();
        // It has to be polled. A task that has polled this stream before may be parked, and is woken.
        seat.waker.wake_by_ref();
        self.joins.fill(row, child.join());
    }

    /// The number of children that have not been yielded.
    pub fn len(&self) -> usize {
        self.joins.len()
    }

    /// Whether all children have been yielded.
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty()
    }

    /// The next child that ends, with its value; `None` if no handle is left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(TaskId, Result<T, ChildError>)> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<T> Unpin for Values<T> {}

impl<T> Stream for Values<T> {
    type Item = (TaskId, Result<T, ChildError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // Registered before the queue is read, so that a later wake-up wakes the task.
        this.joins.take_woken(cx.waker());
        while let Some(row) = this.joins.next_woken() {
            let Some((join, seat)) = this.joins.at(row) else { continue };
            let Poll::Ready(value) =
                Pin::new(&mut *join).poll(&mut Context::from_waker(seat.waker))
            else {
                continue;
            };
            let task = join.id();
            drop(this.joins.remove(row));
            return Poll::Ready(Some((task, value)));
        }
        if this.joins.is_empty() {
            // The waker is dropped, because the task may own this stream.
            this.joins.forget_run();
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.joins.len(), Some(self.joins.len()))
    }
}

impl<T> Extend<TaskHandle<T>> for Values<T> {
    fn extend<I: IntoIterator<Item = TaskHandle<T>>>(&mut self, children: I) {
        children.into_iter().for_each(|child| self.push(child));
    }
}

impl<T> FromIterator<TaskHandle<T>> for Values<T> {
    fn from_iter<I: IntoIterator<Item = TaskHandle<T>>>(children: I) -> Self {
        let mut values = Values::new();
        values.extend(children);
        values
    }
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Values::new()
    }
}

impl<T> fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").field("children", &self.joins.len()).finish_non_exhaustive()
    }
}
