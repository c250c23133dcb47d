//! Spawning into a group from anywhere.

use super::guard::GroupGuard;
use super::handle::TaskHandle;
use super::in_task::in_task_from_anywhere;
use super::member::BoxChild;
use super::shared::WeakShared;
use crate::opaque::opaque;
use crate::spawn::{BoxTask, Refused, Spawn};
use crate::sync::Arc;
use crate::wrong_task::Rejected;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A handle that may spawn into a [`TaskGroup`](crate::TaskGroup), and nothing else, from any task or
/// thread. A child that spawns children takes a spawner with it.
///
/// Weak: it keeps neither the group nor a child alive. A child that is spawned while the group is failing
/// or cancelled is waited for as well (R16).
///
/// # Examples
///
/// ```
/// use moored::TaskGroup;
///
/// # futures::executor::block_on(async {
/// let group: TaskGroup<'_, ()> = TaskGroup::new();
/// let spawner = group.spawner();
/// group.spawn({
///     let spawner = spawner.clone();
///     async move {
///         spawner.spawn(async { Ok(()) }).expect("the group is open: this child is in it");
///         Ok(())
///     }
/// });
/// group.run(async { Ok(()) }).await.unwrap();
/// assert!(spawner.spawn(async { Ok(()) }).is_err());
/// # });
/// ```
pub struct GroupSpawner<'env, E> {
    pub(super) group: WeakShared<E, BoxChild<'env, E>>,
}

in_task_from_anywhere!(GroupSpawner, BoxChild, Future + Send);

impl<'env, E> GroupSpawner<'env, E> {
    /// Spawns a child on an executor; see [`TaskGroup::spawn_on`](crate::TaskGroup::spawn_on).
    ///
    /// # Errors
    ///
    /// Hands the future back if the group has closed.
    #[track_caller]
    pub fn spawn_on<F, T>(
        &self,
        spawner: &impl Spawn,
        future: F,
    ) -> Result<TaskHandle<T>, Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let at = Location::caller();
        let (shared, future) = self.group.open(future, at)?;
        shared.spawn_on(spawner, future, None)
    }

    /// Spawns a child on an executor without a handle; see
    /// [`TaskGroup::spawn_detached`](crate::TaskGroup::spawn_detached).
    ///
    /// # Errors
    ///
    /// Hands the future back if the group has closed.
    #[track_caller]
    pub fn spawn_detached_on<F, T>(
        &self,
        spawner: &impl Spawn,
        future: F,
    ) -> Result<(), Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (shared, future) = self.group.open(future, Location::caller())?;
        shared.spawn_detached_on(spawner, future)
    }

    /// As [`spawn_on`](GroupSpawner::spawn_on), with a name for texts.
    ///
    /// # Errors
    ///
    /// Hands the future back where the group has closed.
    #[track_caller]
    pub fn spawn_named_on<F, T>(
        &self,
        name: impl Into<String>,
        spawner: &impl Spawn,
        future: F,
    ) -> Result<TaskHandle<T>, Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (shared, future) = self.group.open(future, Location::caller())?;
        shared.spawn_on(spawner, future, Some(Arc::from(name.into())))
    }
}

/// A group runs a task that is spawned on it as an in-task child that does not fail. So
/// `task(..).on_abandon(group.spawner())` sends the exits of a dropped task to a group, which waits for them.
impl<E: Send + 'static> Spawn for GroupSpawner<'static, E> {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        let child = Plain { task, error: PhantomData };
        self.spawn_detached(child).map_err(|rejected| Refused(rejected.into_inner().task))
    }
}

/// A task as a child that does not fail.
struct Plain<E> {
    task: BoxTask,
    error: PhantomData<fn() -> E>,
}

impl<E> Future for Plain<E> {
    type Output = Result<(), E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.task.as_mut().poll(cx).map(Ok)
    }
}

opaque!({E} GroupSpawner<'_, E>);
