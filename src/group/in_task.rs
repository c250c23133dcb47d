//! The spawns of a group in its own task: through the group, and through a spawner.
//!
//! [`TaskGroup`](crate::TaskGroup) and [`local::TaskGroup`](crate::local::TaskGroup) differ in them by `Send` alone, and so do
//! their spawners. So macros define them for both. A call passes the bound of the children as `Future + Send` or `Future`. The
//! macro takes it as a token, because the compiler then points at that call alone in the error for a child that does not meet
//! the bound.

use super::{BoxChild, Handshake, Ready, Start, TaskGroup, TaskHandle, started};
use crate::sync::Arc;
use crate::wrong_task::{Rejected, accepted};
use std::future::Future;
use std::panic::Location;

macro_rules! in_task {
    ($(#[$about:meta])* $group:ident, $child:ident, $ready:ident, Future $(+ $send:tt)?) => {
        impl<'env, E> $group<'env, E> {
            /// Spawns a child in this task. It may borrow values that live longer than the group.
            ///
            /// It starts at the next poll of `run`. In a cancelled group it still runs to its first await, so that its own
            /// exits are in place (R16).
            $(#[$about])*
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
                F: Future<Output = Result<T, E>> $(+ $send)? + 'env,
                T: $($send +)? 'env,
                E: $($send +)? 'env,
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
                F: Future<Output = Result<T, E>> $(+ $send)? + 'env,
                T: $($send +)? 'env,
                E: $($send +)? 'env,
            {
                let at = Location::caller();
                let future = self.shared.of_owner(future, at)?;
                self.shared.spawn(future, at, None, $child::new)
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
                F: Future<Output = Result<T, E>> $(+ $send)? + 'env,
                T: $($send +)? 'env,
                E: $($send +)? 'env,
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
                F: Future<Output = Result<T, E>> $(+ $send)? + 'env,
                T: $($send +)? 'env,
                E: $($send +)? 'env,
            {
                let at = Location::caller();
                let future = self.shared.of_owner(future, at)?;
                self.shared.spawn_detached(future, at, $child::new)
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
                F: Future<Output = Result<T, E>> $(+ $send)? + 'env,
                T: $($send +)? 'env,
                E: $($send +)? 'env,
            {
                let (at, name) = (Location::caller(), Some(Arc::from(name.into())));
                let future = accepted(self.shared.of_owner(future, at));
                accepted(self.shared.spawn(future, at, name, $child::new))
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
                C: FnOnce($ready<'env, R>) -> F,
                F: Future<Output = Result<(), E>> $(+ $send)? + 'env,
                R: $($send +)? 'env,
                E: $($send +)? 'env,
            {
                let handshake = Handshake::new();
                let ready: $ready<'env, R> = Box::new(handshake.reporter());
                let child = self.spawn(started(child(ready), Arc::clone(&handshake)));
                Start::new(handshake, self.shared.sent(), child)
            }
        }
    };
}
pub(crate) use in_task;

in_task! {
    /// A child that is not `Send`, for example because it holds an `Rc`, goes into a
    /// [`local::TaskGroup`](crate::local::TaskGroup).
    TaskGroup, BoxChild, Ready, Future + Send
}

macro_rules! in_task_from_anywhere {
    ($spawner:ident, $child:ident, Future $(+ $send:tt)?) => {
        impl<'env, E> $spawner<'env, E> {
            /// Spawns a child in the group's task; see [`TaskGroup::spawn`](crate::TaskGroup::spawn).
            ///
            /// # Errors
            ///
            /// Hands the future back if the group has closed.
            #[track_caller]
            pub fn spawn<F, T>(&self, future: F) -> Result<TaskHandle<T>, Rejected<F>>
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + 'env,
                T: $($send +)? 'env,
                E: $($send +)? 'env,
            {
                let at = Location::caller();
                let (shared, future) = self.group.open(future, at)?;
                shared.spawn(future, at, None, $child::new)
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
                F: Future<Output = Result<T, E>> $(+ $send)? + 'env,
                T: $($send +)? 'env,
                E: $($send +)? 'env,
            {
                let at = Location::caller();
                let (shared, future) = self.group.open(future, at)?;
                shared.spawn_detached(future, at, $child::new)
            }

            /// As [`spawn`](GroupSpawner::spawn), with a name for texts; see
            /// [`TaskGroup::spawn_named`](crate::TaskGroup::spawn_named).
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
                F: Future<Output = Result<T, E>> $(+ $send)? + 'env,
                T: $($send +)? 'env,
                E: $($send +)? 'env,
            {
                let (at, name) = (Location::caller(), Some(Arc::from(name.into())));
                let (shared, future) = self.group.open(future, at)?;
                shared.spawn(future, at, name, $child::new)
            }

            /// A guard for work that runs in a task of others: the group does not end by itself while it lives; see
            /// [`GroupGuard`].
            ///
            /// # Errors
            ///
            /// The group has closed.
            #[track_caller]
            pub fn guard(&self) -> Result<GroupGuard, Rejected<()>> {
                self.group.guard(Location::caller())
            }
        }

        impl<E> Clone for $spawner<'_, E> {
            fn clone(&self) -> Self {
                $spawner { group: self.group.clone() }
            }
        }
    };
}
pub(crate) use in_task_from_anywhere;
