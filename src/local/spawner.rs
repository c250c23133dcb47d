//! The handle that may spawn into a local group.

use crate::group::{GroupGuard, LocalBoxChild, TaskHandle, WeakShared};
use crate::opaque::opaque;
use crate::sync::Arc;
use crate::wrong_task::Rejected;
use std::future::Future;
use std::panic::Location;

/// A handle that may spawn into a local [`TaskGroup`](super::TaskGroup); see [`GroupSpawner`](crate::GroupSpawner).
pub struct GroupSpawner<'env, E> {
    pub(super) group: WeakShared<E, LocalBoxChild<'env, E>>,
}

impl<'env, E> GroupSpawner<'env, E> {
    /// Spawns a child in the group's task.
    ///
    /// # Errors
    ///
    /// Hands the future back if the group has closed.
    #[track_caller]
    pub fn spawn<F, T>(&self, future: F) -> Result<TaskHandle<T>, Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
        E: 'env,
    {
        let at = Location::caller();
        let (shared, future) = self.group.open(future, at)?;
        shared.spawn(future, at, None, LocalBoxChild::new)
    }

    /// Spawns a child in the group's task without a handle; see
    /// [`TaskGroup::spawn_detached`](crate::TaskGroup::spawn_detached).
    ///
    /// # Errors
    ///
    /// Hands the future back if the group has closed.
    #[track_caller]
    pub fn spawn_detached<F, T>(&self, future: F) -> Result<(), Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
        E: 'env,
    {
        let at = Location::caller();
        let (shared, future) = self.group.open(future, at)?;
        shared.spawn_detached(future, at, LocalBoxChild::new)
    }

    /// As [`spawn`](GroupSpawner::spawn), with a name for texts.
    ///
    /// # Errors
    ///
    /// Hands the future back where the group has closed.
    #[track_caller]
    pub fn spawn_named<F, T>(
        &self,
        name: impl Into<String>,
        future: F,
    ) -> Result<TaskHandle<T>, Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
        E: 'env,
    {
        let (at, name) = (Location::caller(), Some(Arc::from(name.into())));
        let (shared, future) = self.group.open(future, at)?;
        shared.spawn(future, at, name, LocalBoxChild::new)
    }

    /// A guard for work that runs in a task of others: the group does not end by itself while it lives; see
    /// [`GroupGuard`](crate::GroupGuard).
    ///
    /// # Errors
    ///
    /// The group has closed.
    #[track_caller]
    pub fn guard(&self) -> Result<GroupGuard, Rejected<()>> {
        self.group.guard(Location::caller())
    }
}

impl<E> Clone for GroupSpawner<'_, E> {
    fn clone(&self) -> Self {
        GroupSpawner { group: self.group.clone() }
    }
}

opaque!({E} GroupSpawner<'_, E>);
