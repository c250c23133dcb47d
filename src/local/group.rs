//! A task group with children that stay on their thread.

use super::spawner::GroupSpawner;
use crate::group::{
    GroupRun, Handshake, Hub, LocalBoxChild, LocalReady, Results, Start, TaskHandle, common,
    in_task, started,
};
use crate::region::{Kind, Node};
use crate::sync::Arc;
use crate::wrong_task::{Rejected, accepted};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

/// A [`TaskGroup`](crate::TaskGroup) with children that need not be `Send`. It has in-task children only.
///
/// The docs of that type apply, and the examples of the methods are with that type.
///
/// # Task affinity
///
/// As [`TaskGroup`](crate::TaskGroup). The group and its spawners cannot be sent, so all spawns come from its thread; a
/// [handle](TaskGroup::handle) may be sent to other threads.
///
/// # On drop
///
/// As [`TaskGroup`](crate::TaskGroup).
///
/// # Examples
///
/// ```
/// use moored::local::TaskGroup;
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// # futures::executor::block_on(async {
/// let count = Rc::new(Cell::new(0));
/// let group: TaskGroup<'_, ()> = TaskGroup::new();
/// group
///     .run(async {
///         for _ in 0..3 {
///             let count = Rc::clone(&count);
///             group.spawn(async move {
///                 count.set(count.get() + 1);
///                 Ok(())
///             });
///         }
///         Ok(())
///     })
///     .await
///     .unwrap();
/// assert_eq!(count.get(), 3);
/// # });
/// ```
pub struct TaskGroup<'env, E> {
    shared: Hub<E, LocalBoxChild<'env, E>>,
}

common!(TaskGroup);

in_task!(TaskGroup, LocalBoxChild, LocalReady, Future);

impl<'env, E> TaskGroup<'env, E> {
    /// A group without children; see [`TaskGroup::new`](crate::TaskGroup::new).
    pub fn new() -> Self {
        TaskGroup { shared: Hub::new(Node::new(Kind::Group)) }
    }

    /// The outcomes of children, in the order in which they end; see
    /// [`TaskGroup::results`](crate::TaskGroup::results).
    pub fn results(&self) -> Results {
        self.shared.results()
    }

    /// A handle that may spawn into this group, and nothing else, from any task of this thread.
    #[track_caller]
    pub fn spawner(&self) -> GroupSpawner<'env, E> {
        GroupSpawner { group: self.shared.outside(Location::caller()) }
    }

    /// Enters the group, runs `body` beside the children, and leaves when the last child has left; see
    /// [`TaskGroup::run`](crate::TaskGroup::run).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body and the children; their exits go to the nearest enclosing live region
    /// (R8).
    ///
    /// # Task affinity
    ///
    /// The task that polls it first owns the group. If another task owns the group, the body is not started and the
    /// cause is [`Cause::Rejected`](crate::Cause::Rejected). If the future is moved between polls, the body and the
    /// children are dropped (R2).
    ///
    /// # Errors
    ///
    /// A [`Failure`](crate::Failure), the first real error first.
    ///
    /// # Panics
    ///
    /// With the first panic of the body or of a child, after everything has left. When it is polled, if the group was
    /// run before.
    #[track_caller]
    pub fn run<F, T>(&self, body: F) -> GroupRun<'_, F, LocalBoxChild<'env>>
    where
        F: Future<Output = Result<T, E>>,
    {
        GroupRun::new(&self.shared, body, Location::caller())
    }
}
