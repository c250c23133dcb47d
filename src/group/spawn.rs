//! The spawns of a group on an executor.

use super::{TaskGroup, TaskHandle};
use crate::spawn::Spawn;
use crate::sync::Arc;
use crate::wrong_task::{Rejected, accepted};
use std::future::Future;
use std::panic::Location;

impl<'env, E> TaskGroup<'env, E> {
    /// Spawns a child on an executor.
    ///
    /// If the executor refuses the child, or drops it before its body has ended, the child counts as cancelled,
    /// with [`ReasonKind::Shutdown`](crate::ReasonKind::Shutdown); the group runs its exits (R8).
    ///
    /// # Task affinity
    ///
    /// As [`spawn`](TaskGroup::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](TaskGroup::spawn); see [`try_spawn_on`](TaskGroup::try_spawn_on).
    #[track_caller]
    pub fn spawn_on<F, T>(&self, spawner: &impl Spawn, future: F) -> TaskHandle<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        accepted(self.try_spawn_on(spawner, future))
    }

    /// As [`spawn_on`](TaskGroup::spawn_on).
    ///
    /// # Errors
    ///
    /// As [`try_spawn`](TaskGroup::try_spawn).
    #[track_caller]
    pub fn try_spawn_on<F, T>(
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
        let future = self.shared.of_owner(future, at)?;
        self.shared.spawn_on(spawner, future, None)
    }

    /// As [`spawn_on`](TaskGroup::spawn_on), without a handle; see [`spawn_detached`](TaskGroup::spawn_detached).
    ///
    /// # Task affinity
    ///
    /// As [`spawn`](TaskGroup::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](TaskGroup::spawn); see [`try_spawn_detached_on`](TaskGroup::try_spawn_detached_on).
    #[track_caller]
    pub fn spawn_detached_on<F, T>(&self, spawner: &impl Spawn, future: F)
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        accepted(self.try_spawn_detached_on(spawner, future));
    }

    /// As [`spawn_detached_on`](TaskGroup::spawn_detached_on).
    ///
    /// # Errors
    ///
    /// As [`try_spawn`](TaskGroup::try_spawn).
    #[track_caller]
    pub fn try_spawn_detached_on<F, T>(
        &self,
        spawner: &impl Spawn,
        future: F,
    ) -> Result<(), Rejected<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let future = self.shared.of_owner(future, Location::caller())?;
        self.shared.spawn_detached_on(spawner, future)
    }

    /// As [`spawn_on`](TaskGroup::spawn_on), with a name; see [`spawn_named`](TaskGroup::spawn_named). An executor that shows
    /// its tasks may show it too.
    ///
    /// # Task affinity
    ///
    /// As [`spawn`](TaskGroup::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](TaskGroup::spawn).
    #[track_caller]
    pub fn spawn_named_on<F, T>(
        &self,
        name: impl Into<String>,
        spawner: &impl Spawn,
        future: F,
    ) -> TaskHandle<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let name = Some(Arc::from(name.into()));
        let future = accepted(self.shared.of_owner(future, Location::caller()));
        accepted(self.shared.spawn_on(spawner, future, name))
    }
}
