//! Task groups: cancel scopes with children.

mod child;
mod common;
mod gate;
mod guard;
mod handle;
mod hub;
mod in_task;
mod ledger;
mod list;
mod member;
mod members;
mod results;
mod run;
mod sent;
mod shared;
mod side;
mod slot;
mod spawn;
mod spawner;
mod start;
mod turns;
mod values;

pub use guard::GroupGuard;
pub use handle::{Join, TaskHandle};
pub use member::{BoxChild, LocalBoxChild};
pub use results::{Outcome, Results};
pub use run::GroupRun;
pub use spawner::GroupSpawner;
pub use start::{LocalReady, Ready, Start};
pub use values::Values;

pub(crate) use common::common;
pub(crate) use hub::Hub;
pub(crate) use in_task::{in_task, in_task_from_anywhere};
pub(crate) use ledger::Policy;
pub(crate) use shared::WeakShared;
pub(crate) use start::{Handshake, started};

use crate::region::{Kind, Node};
use std::future::Future;
use std::panic::Location;

/// A cancel scope with children: its [`run`](TaskGroup::run) returns when the last child has left,
/// in every case (R16).
///
/// A child is a task of its own. In-task children ([`spawn`](TaskGroup::spawn)) run concurrently inside
/// the task that polls `run` and may borrow values that live longer than the group; executor children
/// ([`spawn_on`](TaskGroup::spawn_on)) run in parallel and are `'static`. There is no parallel borrowing.
///
/// A cancellation of a region around the group drops the group with its body. If a [`shield`](crate::shield())
/// elsewhere in that body delays this, the children are cancelled at once all the same, and each is held only by
/// shields of its own (R12).
///
/// The first failure cancels the other children and the body, and all failures are in one
/// [`Failure`](crate::Failure) (R15, R17). After Trio's nursery.
///
/// `'env` is the lifetime of the values that in-task children may borrow; `E` is the error of the
/// body and of every child.
///
/// # Task affinity
///
/// The task that polls `run` first owns the group: only this task spawns through the group and leaves it
/// (R2). Any task or thread may cancel it (R3), and spawn through a [`spawner`](TaskGroup::spawner).
///
/// # On drop
///
/// Dropping `run` drops the body and the in-task children, cancels the executor children, and leaves the
/// wait for them to the nearest enclosing live region (R8, R16). A group that is dropped without having
/// been run does the same with its children.
///
/// # Comparison
///
/// `JoinSet` aborts its tasks and forgets their errors when it is dropped; `TaskTracker` waits and does not
/// cancel; `FuturesUnordered` and moro stop polling when they are dropped, and run nothing asynchronous on
/// the way out. For a plain stream of results without errors or clean-up, use `FuturesUnordered`. Like
/// `FuturesUnordered`, a group polls its in-task children only while its `run` is polled: a `run` that a
/// `select!` left pending keeps everything that its children hold.
///
/// # Examples
///
/// ```
/// use moored::TaskGroup;
///
/// # futures::executor::block_on(async {
/// let words = ["task", "affine"];
/// let group: TaskGroup<'_, std::io::Error> = TaskGroup::new();
/// let lengths = group
///     .run(async {
///         let first = group.spawn(async { Ok(words[0].len()) });
///         let second = group.spawn(async { Ok(words[1].len()) });
///         Ok(first.join().await.unwrap() + second.join().await.unwrap())
///     })
///     .await;
/// assert_eq!(lengths.unwrap(), 10);
/// # });
/// ```
///
/// A child cannot borrow the group it belongs to, because the group would have to outlive itself; it takes
/// a [`spawner`](TaskGroup::spawner) instead:
///
/// ```compile_fail,E0597
/// # async fn outer() {
/// let group: moored::TaskGroup<'_, ()> = moored::TaskGroup::new();
/// group.spawn(async { group.cancel(); Ok(()) }); // `group` does not live long enough
/// # }
/// ```
#[doc(alias = "nursery")]
#[doc(alias = "JoinSet")]
#[doc(alias = "TaskTracker")]
pub struct TaskGroup<'env, E> {
    shared: Hub<E, BoxChild<'env, E>>,
}

impl<'env, E> TaskGroup<'env, E> {
    /// A group without children. It is entered by [`run`](TaskGroup::run); children that are spawned
    /// before that start with it.
    pub fn new() -> Self {
        TaskGroup { shared: Hub::new(Node::new(Kind::Group)) }
    }

    /// The outcomes of children, in the order in which they end, from now on. They are buffered
    /// only while the stream exists. For the *values* of children as they complete, put their handles into
    /// [`Values`](crate::Values).
    ///
    /// ```
    /// use futures::StreamExt;
    /// use moored::{Outcome, TaskGroup};
    ///
    /// # futures::executor::block_on(async {
    /// let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going();
    /// let failed = group.run(async {
    ///     let mut results = group.results();
    ///     let broken = group.spawn(async { Err::<(), _>("broken") });
    ///     let (task, outcome) = results.next().await.unwrap();
    ///     assert!(task == broken.id() && matches!(outcome, Outcome::Failed));
    ///     Ok(())
    /// });
    /// assert_eq!(failed.await.unwrap_err().causes().count(), 1);
    /// # });
    /// ```
    #[doc(alias = "join_next")]
    pub fn results(&self) -> Results {
        self.shared.results()
    }

    /// A handle that may spawn into this group, and nothing else, from anywhere; see [`GroupSpawner`].
    #[track_caller]
    pub fn spawner(&self) -> GroupSpawner<'env, E> {
        GroupSpawner { group: self.shared.outside(Location::caller()) }
    }

    /// Enters the group at the first poll, runs `body` beside the children, and leaves when the last child
    /// has left. A body without a value ends with `Ok(())`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body and the in-task children; executor children are cancelled, and
    /// the wait for them goes to the nearest enclosing live region (R16).
    ///
    /// # Task affinity
    ///
    /// The task that polls it first owns the group; see [`CancelScope::run`](crate::CancelScope::run).
    ///
    /// # Errors
    ///
    /// A [`Failure`](crate::Failure): the first real error to complete, the body counting as one more child, then the
    /// others, then the exits that failed. The body's value is dropped then.
    /// [`Cause::Cancelled`](crate::Cause::Cancelled) if a cancellation dropped the body and no real error occurred. If
    /// the body ended by itself, and the children leave cleanly, the group is `Ok` although it was cancelled (R15). If
    /// a region around the group, up to a shield, is cancelled as well and no real error occurred, the outer region
    /// catches: `run` stays pending until it is dropped (R9).
    ///
    /// # Panics
    ///
    /// With the first panic of the body or of a child, after everything has left. When it is polled, if
    /// the group was run before.
    #[track_caller]
    pub fn run<F, T>(&self, body: F) -> GroupRun<'_, F, BoxChild<'env>>
    where
        F: Future<Output = Result<T, E>>,
    {
        GroupRun::new(&self.shared, body, Location::caller())
    }
}
