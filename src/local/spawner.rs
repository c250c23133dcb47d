//! The handle that may spawn into a local group.

use crate::group::{GroupGuard, Link, LocalBoxChild, Shared, TaskHandle};
use crate::opaque::opaque;
use crate::sync::{Arc, Weak};
use crate::wrong_task::{Misuse, Rejected};
use std::future::Future;
use std::panic::Location;

/// A handle that may spawn into a local [`TaskGroup`](super::TaskGroup); see [`GroupSpawner`](crate::GroupSpawner).
pub struct GroupSpawner<'env, E> {
    pub(super) shared: Weak<Shared<E, LocalBoxChild<'env, E>>>,
    pub(super) made_at: &'static Location<'static>,
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
        match self.shared.upgrade() {
            Some(shared) => shared.spawn(future, at, None, |child| LocalBoxChild(Link::pin(child))),
            None => Err(self.gone(future, at)),
        }
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
        match self.shared.upgrade() {
            Some(shared) => {
                shared.spawn_detached(future, at, |child| LocalBoxChild(Link::pin(child)))
            }
            None => Err(self.gone(future, at)),
        }
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
        match self.shared.upgrade() {
            Some(shared) => shared.spawn(future, at, name, |child| LocalBoxChild(Link::pin(child))),
            None => Err(self.gone(future, at)),
        }
    }

    /// A guard for work that runs in a task of others: the group does not end by itself while it lives; see
    /// [`GroupGuard`](crate::GroupGuard).
    ///
    /// # Errors
    ///
    /// The group has closed.
    #[track_caller]
    pub fn guard(&self) -> Result<GroupGuard, Rejected<()>> {
        let at = Location::caller();
        match self.shared.upgrade() {
            Some(shared) => shared.guard(at),
            None => {
                let gone = Misuse::unguarded("task group".to_owned(), self.made_at, at);
                Err(Rejected::new(gone, ()))
            }
        }
    }

    fn gone<F>(&self, future: F, at: &'static Location<'static>) -> Rejected<F> {
        Rejected::new(Misuse::group_gone(self.made_at, at), future)
    }
}

impl<E> Clone for GroupSpawner<'_, E> {
    fn clone(&self) -> Self {
        GroupSpawner { shared: Weak::clone(&self.shared), made_at: self.made_at }
    }
}

opaque!({E} GroupSpawner<'_, E>);
