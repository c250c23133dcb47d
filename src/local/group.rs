//! A task group with children that stay on their thread.

use super::spawner::GroupSpawner;
use crate::group::{
    GroupRun, Handshake, Hub, LocalBoxChild, LocalReady, Results, Start, TaskHandle, common,
    started,
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

impl<'env, E> TaskGroup<'env, E> {
    /// A group without children; see [`TaskGroup::new`](crate::TaskGroup::new).
    pub fn new() -> Self {
        TaskGroup { shared: Hub::new(Node::new(Kind::Group)) }
    }

    /// Spawns a child in this task; see [`TaskGroup::spawn`](crate::TaskGroup::spawn).
    ///
    /// # Task affinity
    ///
    /// The task that owns the group, and any task on its thread before the group is entered. Other tasks use
    /// a [`spawner`](TaskGroup::spawner).
    ///
    /// # Panics
    ///
    /// When the group was left, and from a task that does not own it; see [`try_spawn`](TaskGroup::try_spawn).
    #[track_caller]
    pub fn spawn<F, T>(&self, future: F) -> TaskHandle<T>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
        E: 'env,
    {
        accepted(self.try_spawn(future))
    }

    /// As [`spawn`](TaskGroup::spawn).
    ///
    /// # Errors
    ///
    /// Hands the future back when the group was left, and from a task that does not own it.
    #[track_caller]
    pub fn try_spawn<F, T>(&self, future: F) -> Result<TaskHandle<T>, Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
        E: 'env,
    {
        let at = Location::caller();
        let future = self.shared.of_owner(future, at)?;
        self.shared.spawn(future, at, None, LocalBoxChild::new)
    }

    /// Spawns a child without a handle; see [`TaskGroup::spawn_detached`](crate::TaskGroup::spawn_detached).
    ///
    /// # Task affinity
    ///
    /// As [`spawn`](TaskGroup::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](TaskGroup::spawn); see [`try_spawn_detached`](TaskGroup::try_spawn_detached).
    #[track_caller]
    pub fn spawn_detached<F, T>(&self, future: F)
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
        E: 'env,
    {
        accepted(self.try_spawn_detached(future));
    }

    /// As [`spawn_detached`](TaskGroup::spawn_detached).
    ///
    /// # Errors
    ///
    /// As [`try_spawn`](TaskGroup::try_spawn).
    #[track_caller]
    pub fn try_spawn_detached<F, T>(&self, future: F) -> Result<(), Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
        E: 'env,
    {
        let at = Location::caller();
        let future = self.shared.of_owner(future, at)?;
        self.shared.spawn_detached(future, at, LocalBoxChild::new)
    }

    /// Spawns a child with a name; see [`TaskGroup::spawn_named`](crate::TaskGroup::spawn_named).
    ///
    /// # Panics
    ///
    /// As [`spawn`](TaskGroup::spawn).
    #[track_caller]
    pub fn spawn_named<F, T>(&self, name: impl Into<String>, future: F) -> TaskHandle<T>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
        E: 'env,
    {
        let (at, name) = (Location::caller(), Some(Arc::from(name.into())));
        let future = accepted(self.shared.of_owner(future, at));
        accepted(self.shared.spawn(future, at, name, LocalBoxChild::new))
    }

    /// Spawns a child and waits until it is ready; see [`TaskGroup::start`](crate::TaskGroup::start).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the child is ready cancels the child; the group waits for it.
    ///
    /// # Errors
    ///
    /// The child's own error, a cancellation, or that the child ended without having reported that it is
    /// ready.
    ///
    /// # Panics
    ///
    /// As [`spawn`](TaskGroup::spawn).
    #[track_caller]
    pub fn start<C, F, R>(&self, child: C) -> Start<R, E>
    where
        C: FnOnce(LocalReady<'env, R>) -> F,
        F: Future<Output = Result<(), E>> + 'env,
        R: 'env,
        E: 'env,
    {
        let handshake = Handshake::new();
        let ready: LocalReady<'env, R> = Box::new(handshake.reporter());
        let child = self.spawn(started(child(ready), Arc::clone(&handshake)));
        Start::new(handshake, self.shared.sent(), child)
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
