//! Task groups: cancel scopes with children.

mod child;
mod gate;
mod handle;
mod ledger;
mod members;
mod results;
mod run;
mod shared;
mod slot;
mod spawner;
mod start;
mod values;

pub use handle::{Join, TaskHandle};
pub use results::{Outcome, Results};
pub use run::GroupRun;
pub use shared::{BoxChild, LocalBoxChild};
pub use spawner::GroupSpawner;
pub use start::{LocalReady, Ready, Start};
pub use values::Values;

pub(crate) use ledger::Policy;
pub(crate) use shared::Shared;
pub(crate) use start::{Handshake, started};

use crate::region::{Kind, Node};
use crate::scope::{CancelHandle, request};
use crate::spawn::Spawn;
use crate::sync::Arc;
use crate::wrong_task::{Rejected, accepted};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

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
    shared: Arc<Shared<E, BoxChild<'env>>>,
}

impl<'env, E> TaskGroup<'env, E> {
    /// A group without children. It is entered by [`run`](TaskGroup::run); children that are spawned
    /// before that start with it.
    pub fn new() -> Self {
        TaskGroup { shared: Shared::new(Node::new(Kind::Group)) }
    }

    /// Sets the name of the group, for texts.
    pub fn named(self, name: impl Into<String>) -> Self {
        self.node().set_name(name.into());
        self
    }

    /// Lets the children and the body go on when one of them fails: `run` collects all errors (R17).
    ///
    /// A panic is not such a failure: a child that panics cancels the other children and the body under every policy,
    /// and `run` resumes the panic when they have left (R15), unless the group
    /// [isolates panics](TaskGroup::isolate_panics).
    pub fn keep_going(self) -> Self {
        self.shared.set_policy(Policy::KeepGoing);
        self
    }

    /// When a child or the body fails, asks the body and the other children to wind down instead of cancelling them:
    /// the first failure is a [`stop`](TaskGroup::stop) (R13, R17). With a [grace](TaskGroup::grace) the stop becomes a
    /// cancellation when the grace is over.
    ///
    /// ```
    /// use moored::{TaskGroup, stop_requested};
    ///
    /// # futures::executor::block_on(async {
    /// let group: TaskGroup<'_, &str> = TaskGroup::new().stop_on_failure();
    /// let mut flushed = false;
    /// let run = group.run(async {
    ///     group.spawn(async { Err::<(), _>("disk is full") });
    ///     stop_requested().await;
    ///     flushed = true; // by itself, and not dropped in the middle
    ///     Ok(())
    /// });
    /// assert_eq!(run.await.unwrap_err().causes().count(), 1);
    /// assert!(flushed);
    /// # });
    /// ```
    ///
    /// A panic cancels the group under every policy.
    pub fn stop_on_failure(self) -> Self {
        self.shared.set_policy(Policy::StopFirst);
        self
    }

    /// Makes a child's panic an error of its handle and not of the group: [`join`](TaskHandle::join) returns
    /// [`ChildError::Panicked`](crate::ChildError::Panicked), [`results`](TaskGroup::results) yields
    /// [`Outcome::Panicked`], and the other children go on, as with tokio's `JoinHandle`.
    ///
    /// Nothing is masked (R15): if the child's handle was dropped, the text of the panic is in the group's failure. A
    /// panic of the body is resumed by the group under every policy.
    ///
    /// ```
    /// use moored::{ChildError, TaskGroup};
    ///
    /// # futures::executor::block_on(async {
    /// let group: TaskGroup<'_, ()> = TaskGroup::new().isolate_panics();
    /// let joined = group
    ///     .run(async {
    ///         let broken = group.spawn(async { if true { panic!("a bug") } else { Ok(()) } });
    ///         let sound = group.spawn(async { Ok(7) });
    ///         Ok((broken.join().await, sound.join().await))
    ///     })
    ///     .await;
    /// assert!(matches!(joined.unwrap(), (Err(ChildError::Panicked), Ok(7))));
    /// # });
    /// ```
    pub fn isolate_panics(self) -> Self {
        self.shared.isolate_panics();
        self
    }

    /// Cancels the other children as soon as a child returns `Ok`. Failures of children are reported only
    /// if none succeeds. The value comes through the child's handle; the body goes on.
    ///
    /// An error of the body cancels the children, and is reported whether a child succeeded or not. A child that panics
    /// cancels the other children and the body, and `run` resumes the panic, even if another child succeeded (R15).
    ///
    /// ```
    /// use moored::TaskGroup;
    ///
    /// # futures::executor::block_on(async {
    /// let group: TaskGroup<'_, &str> = TaskGroup::new().first_success();
    /// let winner = group
    ///     .run(async {
    ///         group.spawn(async { Err::<(), _>("this mirror is down") });
    ///         group.spawn(std::future::pending::<Result<(), _>>());
    ///         Ok(group.spawn(async { Ok("from the third mirror") }).join().await)
    ///     })
    ///     .await;
    /// assert_eq!(winner.unwrap().unwrap(), "from the third mirror");
    /// # });
    /// ```
    #[doc(alias = "select")]
    #[doc(alias = "race")]
    pub fn first_success(self) -> Self {
        self.shared.set_policy(Policy::FirstSuccess);
        self
    }

    /// Lets at most `n` children run at once, at least one. The others wait for their turn in the order of their
    /// spawns, in this task and on executors alike: a child that its executor has not polled yet keeps its place.
    ///
    /// A child that is cancelled while it waits does not wait any more, and does not count: it runs to its first await
    /// at once, so that its own exits are in place (R16), beside the `n` that have their turn. In a cancelled group
    /// that is every waiting child. A limit bounds the work of a group, not its clean-up.
    pub fn limit(self, n: usize) -> Self {
        self.shared.set_limit(n);
        self
    }

    /// Keeps at most `n` errors and failures of exits, at least one, and counts the rest (R15). The default is 1024.
    pub fn max_causes(self, n: usize) -> Self {
        self.shared.set_cap(n);
        self
    }

    /// Cancels the group at `at`: the body and every child, also those that are spawned later. Of two deadlines the
    /// earlier one counts.
    ///
    /// It counts until the last child has left. If the body has ended by then and the children leave cleanly, `run` is
    /// `Ok` all the same (R15); the group's [handle](TaskGroup::handle) has the reason.
    pub fn deadline(self, at: Instant) -> Self {
        self.node().add_deadline(at);
        self
    }

    /// Cancels the group when it has been entered for `timeout`; see [`deadline`](TaskGroup::deadline). If the end is
    /// beyond the last instant that a clock can represent, there is no deadline.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.node().set_timeout(timeout);
        self
    }

    /// The time that a request to [stop](TaskGroup::stop) may last before it becomes a cancellation, for the same
    /// reason (R13). For a [shielded](TaskGroup::shielded) group it is also the time that the shield holds against a
    /// cancellation from outside (R12). Errors of the children are in the group's failure in both phases.
    ///
    /// ```
    /// use moored::{Cause, TaskGroup, stop_requested};
    /// use std::time::Duration;
    ///
    /// # futures::executor::block_on(async {
    /// let group: TaskGroup<'_, &str> =
    ///     TaskGroup::new().keep_going().grace(Duration::from_millis(5));
    /// let failure = group
    ///     .run(async {
    ///         group.spawn(async {
    ///             stop_requested().await;
    ///             Err::<(), _>("disk is full")
    ///         });
    ///         group.spawn(std::future::pending::<Result<(), _>>()); // hears of no stop
    ///         group.stop();
    ///         Ok(())
    ///     })
    ///     .await
    ///     .unwrap_err();
    /// assert!(matches!(failure.cause(), Cause::Child { error: "disk is full", .. }));
    /// # });
    /// ```
    pub fn grace(self, grace: Duration) -> Self {
        self.node().set_grace(grace);
        self
    }

    /// Shields the body and the children, in the task and on executors, from cancellation from outside: while this
    /// group is polled, a region around it is not dropped (R12). See
    /// [`CancelScope::shielded`](crate::CancelScope::shielded).
    pub fn shielded(self) -> Self {
        self.node().set_shielded();
        self
    }

    /// Changes the deadline, before the group is entered or while it runs. A group that is cancelled already stays
    /// cancelled (R11).
    pub fn set_deadline(&self, at: Instant) {
        self.node().set_deadline(at);
    }

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
        match self.node().check("spawn", at) {
            Ok(()) => self.shared.spawn(future, at, None, |child| Box::pin(child)),
            Err(misuse) => Err(Rejected::new(misuse, future)),
        }
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
        match self.node().check("spawn", at) {
            Ok(()) => self.shared.spawn_on(spawner, future, None),
            Err(misuse) => Err(Rejected::new(misuse, future)),
        }
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
        accepted(match self.node().check("spawn", at) {
            Ok(()) => self.shared.spawn(future, at, name, |child| Box::pin(child)),
            Err(misuse) => Err(Rejected::new(misuse, future)),
        })
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
        accepted(match self.node().check("spawn", Location::caller()) {
            Ok(()) => self.shared.spawn_on(spawner, future, name),
            Err(misuse) => Err(Rejected::new(misuse, future)),
        })
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
        let ready: Ready<'env, R> = Box::new({
            let handshake = Arc::clone(&handshake);
            move |value| handshake.ready(value)
        });
        let child = self.spawn(started(child(ready), Arc::clone(&handshake)));
        Start::new(handshake, self.shared.ledger(), child)
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
        GroupSpawner::new(&self.shared)
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
    /// others, then the exits that failed. [`Cause::Cancelled`](crate::Cause::Cancelled) if the group was cancelled
    /// before the body had ended and no real error occurred. A group that is cancelled after that, and whose children
    /// leave cleanly, is `Ok` (R15). If a region around the group, up to a shield, is cancelled as well and no real
    /// error occurred, the outer region catches: `run` stays pending until it is dropped (R9).
    ///
    /// # Panics
    ///
    /// With the first panic of the body or of a child, after everything has left. When it is polled, if
    /// the group was run before.
    #[track_caller]
    pub fn run<F, T>(&self, body: F) -> GroupRun<'_, F, E, BoxChild<'env>>
    where
        F: Future<Output = Result<T, E>>,
    {
        GroupRun::new(&self.shared, body, Location::caller())
    }

    /// Asks for the cancellation of the body and of every child, from any task or thread (R3).
    #[track_caller]
    pub fn cancel(&self) {
        request(self.node(), None, Location::caller());
    }

    /// As [`cancel`](TaskGroup::cancel), with a message that every error shows.
    #[track_caller]
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        request(self.node(), Some(message.into()), Location::caller());
    }

    /// Asks the body and every child to wind down: see [`stop_requested`](crate::stop_requested) (R13). With a
    /// [grace](TaskGroup::grace), the request becomes a cancellation when the grace is over.
    #[track_caller]
    pub fn stop(&self) {
        self.handle().stop();
    }

    /// Whether this group, or a region around it, is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.node().is_cancelled()
    }

    /// A handle that asks for cancellation from anywhere.
    pub fn handle(&self) -> CancelHandle {
        CancelHandle::new(Arc::clone(self.node()))
    }

    /// The number of children that have not left yet.
    pub fn len(&self) -> usize {
        self.shared.open()
    }

    /// Whether no child is inside.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn node(&self) -> &Arc<Node> {
        self.shared.node()
    }
}

impl<E> Default for TaskGroup<'_, E> {
    fn default() -> Self {
        TaskGroup::new()
    }
}

impl<E> Drop for TaskGroup<'_, E> {
    #[track_caller]
    fn drop(&mut self) {
        self.shared.drop_group(Location::caller());
    }
}

impl<E> fmt::Debug for TaskGroup<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node().fmt(f)
    }
}
