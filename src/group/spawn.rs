//! The spawns of a group.

use super::{BoxChild, Handshake, Ready, Start, TaskGroup, TaskHandle, started};
use crate::spawn::Spawn;
use crate::sync::Arc;
use crate::wrong_task::{Rejected, accepted};
use std::future::Future;
use std::panic::Location;

impl<'env, E> TaskGroup<'env, E> {
    /// Spawns a child in this task. It may borrow values that live longer than the group.
    ///
    /// It starts at the next poll of `run`. In a cancelled group it still runs to its first await, so that its own
    /// exits are in place (R16). A child that is not `Send`, for example because it holds an `Rc`, goes into a
    /// [`local::TaskGroup`](crate::local::TaskGroup).
    ///
    /// # Task affinity
    ///
    /// The task that owns the group, and any task before the group is entered. Other tasks use a
    /// [`spawner`](TaskGroup::spawner).
    ///
    /// # Panics
    ///
    /// When the group was left, and from a task that does not own it; see
    /// [`try_spawn`](TaskGroup::try_spawn).
    #[track_caller]
    pub fn spawn<F, T>(&self, future: F) -> TaskHandle<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
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
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
    {
        let at = Location::caller();
        let future = self.shared.of_owner(future, at)?;
        self.shared.spawn(future, at, None, BoxChild::new)
    }

    /// Spawns a child on an executor.
    ///
    /// If the executor refuses the child, or drops it before its end, the child counts as cancelled,
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

    /// Spawns a child in this task without a handle: for a child whose value is not needed, and that is not cancelled alone.
    ///
    /// In all else it is a child as [`spawn`](TaskGroup::spawn) makes it: the group cancels it, waits for it (R16), and has
    /// its error (R17) and its panic (R15). Its value is dropped when it ends. It costs less than a child with a handle
    /// that is dropped at once, because it has no place for a result.
    ///
    /// ```
    /// use moored::TaskGroup;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// # futures::executor::block_on(async {
    /// let sent = AtomicUsize::new(0);
    /// let group: TaskGroup<'_, std::io::Error> = TaskGroup::new();
    /// group
    ///     .run(async {
    ///         for _ in 0..3 {
    ///             group.spawn_detached(async {
    ///                 sent.fetch_add(1, Ordering::Relaxed);
    ///                 Ok(())
    ///             });
    ///         }
    ///         Ok(())
    ///     })
    ///     .await
    ///     .unwrap();
    /// assert_eq!(sent.load(Ordering::Relaxed), 3);
    /// # });
    /// ```
    ///
    /// # Task affinity
    ///
    /// As [`spawn`](TaskGroup::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](TaskGroup::spawn); see [`try_spawn_detached`](TaskGroup::try_spawn_detached).
    #[track_caller]
    #[doc(alias = "start_soon")]
    pub fn spawn_detached<F, T>(&self, future: F)
    where
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
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
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
    {
        let at = Location::caller();
        let future = self.shared.of_owner(future, at)?;
        self.shared.spawn_detached(future, at, BoxChild::new)
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

    /// As [`spawn`](TaskGroup::spawn), with a name, which [`TaskHandle::id`] and every text about the child contain.
    ///
    /// ```
    /// use moored::TaskGroup;
    ///
    /// # futures::executor::block_on(async {
    /// let group: TaskGroup<'_, &str> = TaskGroup::new();
    /// let failure = group
    ///     .run(async {
    ///         group.spawn_named("index", async { Err::<(), _>("disk is full") });
    ///         Ok(())
    ///     })
    ///     .await
    ///     .unwrap_err();
    /// assert!(failure.to_string().ends_with("(index): disk is full"));
    /// # });
    /// ```
    ///
    /// # Task affinity
    ///
    /// As [`spawn`](TaskGroup::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](TaskGroup::spawn).
    #[track_caller]
    pub fn spawn_named<F, T>(&self, name: impl Into<String>, future: F) -> TaskHandle<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
    {
        let (at, name) = (Location::caller(), Some(Arc::from(name.into())));
        let future = accepted(self.shared.of_owner(future, at));
        accepted(self.shared.spawn(future, at, name, BoxChild::new))
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

    /// Spawns a child in this task and waits until the child reports that it is ready, by calling
    /// `ready(value)`.
    ///
    /// Until then its errors go to the caller and not to the group. After Trio's
    /// `nursery.start`.
    ///
    /// ```
    /// use moored::TaskGroup;
    ///
    /// # futures::executor::block_on(async {
    /// let group: TaskGroup<'_, std::io::Error> = TaskGroup::new();
    /// let port = group
    ///     .run(async {
    ///         let port = group.start(|ready| async move {
    ///             ready(8080);
    ///             Ok(()) // or serve until it is cancelled
    ///         });
    ///         Ok(port.await.unwrap())
    ///     })
    ///     .await;
    /// assert_eq!(port.unwrap(), 8080);
    /// # });
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the child is ready cancels the child; the group waits for it. An error that came
    /// before the drop, and was not taken, goes to the group.
    ///
    /// # Errors
    ///
    /// The child's own error as [`Cause::Child`](crate::Cause::Child);
    /// [`Cause::Cancelled`](crate::Cause::Cancelled); or
    /// [`Cause::NotReady`](crate::Cause::NotReady) if it ended without calling `ready`.
    ///
    /// # Panics
    ///
    /// As [`spawn`](TaskGroup::spawn).
    #[track_caller]
    pub fn start<C, F, R>(&self, child: C) -> Start<R, E>
    where
        C: FnOnce(Ready<'env, R>) -> F,
        F: Future<Output = Result<(), E>> + Send + 'env,
        R: Send + 'env,
        E: Send + 'env,
    {
        let handshake = Handshake::new();
        let ready: Ready<'env, R> = Box::new(handshake.reporter());
        let child = self.spawn(started(child(ready), Arc::clone(&handshake)));
        Start::new(handshake, self.shared.sent(), child)
    }
}
