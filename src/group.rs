//! Task groups: cancel scopes with children.

mod child;
mod gate;
mod handle;
mod ledger;
mod ready;
mod run;
mod spawner;

pub use handle::{Join, TaskHandle};
pub use run::GroupRun;
pub use spawner::GroupSpawner;

use crate::region::{Kind, Node};
use crate::scope::{CancelHandle, request};
use crate::spawn::Spawn;
use crate::sync::{Arc, Mutex};
use child::{Child, Member};
use ledger::Ledger;
use ready::Ready;
use spawner::Closed;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;

/// A cancel scope with children: its [`run`](TaskGroup::run) returns when the last child has left,
/// whatever happened (R16).
///
/// A child is a task of its own. In-task children ([`spawn`](TaskGroup::spawn)) run concurrently inside
/// the task that polls `run` and may borrow what lives longer than the group; executor children
/// ([`spawn_on`](TaskGroup::spawn_on)) run in parallel and are `'static`. There is no parallel borrowing.
///
/// The first failure cancels the other children and the body, and all that went wrong stands in one
/// [`Failure`](crate::Failure) (R15, R17). After Trio's nursery.
///
/// `'env` is what in-task children may borrow from; `E` is the error of the body and of every child.
///
/// # On drop
///
/// Dropping `run` drops the body and the in-task children, cancels the executor children, and leaves the
/// wait for them to the nearest enclosing live region (R8, R16).
///
/// # Comparison
///
/// `JoinSet` aborts its tasks and forgets their errors when it is dropped; `TaskTracker` waits and does not
/// cancel; `FuturesUnordered` and moro stop polling when they are dropped, and run nothing asynchronous on
/// the way out. For a plain stream of results without errors or clean-up, use `FuturesUnordered`. Like
/// that one, a group polls its in-task children only while its `run` is polled: a `run` that a `select!`
/// left behind and keeps holds whatever its children hold.
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
pub struct TaskGroup<'env, E> {
    shared: Arc<Shared<'env, E>>,
}

/// What a group and its spawners share. The futures of children are here only until `run` takes them up.
pub(crate) struct Shared<'env, E> {
    ledger: Arc<Ledger<E>>,
    ready: Arc<Ready>,
    arrivals: Mutex<Vec<Member<'env>>>,
}

impl<'env, E> TaskGroup<'env, E> {
    /// A group without children. It is entered by [`run`](TaskGroup::run); children that are spawned
    /// before that start with it.
    pub fn new() -> Self {
        let ledger = Ledger::new(Node::new(Kind::Group));
        let ready = Arc::new(Ready::default());
        TaskGroup { shared: Arc::new(Shared { ledger, ready, arrivals: Mutex::new(Vec::new()) }) }
    }

    /// Names the group, for texts.
    pub fn named(self, name: impl Into<String>) -> Self {
        self.node().set_name(name.into());
        self
    }

    /// Lets the others go on where a child or the body fails: `run` collects all errors (R17).
    pub fn keep_going(self) -> Self {
        self.shared.ledger.keep_going();
        self
    }

    /// Spawns a child in this task. It may borrow what lives longer than the group.
    ///
    /// It starts when `run` is polled next. In a group that is cancelled it still runs to its first await,
    /// so that its own exits are in place (R16).
    ///
    /// # Task affinity
    ///
    /// The task that owns the group, and anyone before the group is entered. Everybody else uses a
    /// [`spawner`](TaskGroup::spawner).
    ///
    /// # Panics
    ///
    /// When the group was left, and from a task that does not own it.
    #[track_caller]
    pub fn spawn<F, T>(&self, future: F) -> TaskHandle<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
    {
        let at = Location::caller();
        self.check("spawn", at);
        match self.shared.spawn(future, at) {
            Ok(handle) => handle,
            Err(Closed(_)) => panic!("{}", self.node().left_misuse("spawn", at)),
        }
    }

    /// Spawns a child on an executor.
    ///
    /// An executor that refuses the child, or drops it before its end, makes it a cancelled one, with
    /// [`ReasonKind::Shutdown`](crate::ReasonKind::Shutdown); its exits are run by the group (R8).
    ///
    /// # Task affinity
    ///
    /// As [`spawn`](TaskGroup::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](TaskGroup::spawn).
    #[track_caller]
    pub fn spawn_on<F, T>(&self, spawner: &impl Spawn, future: F) -> TaskHandle<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let at = Location::caller();
        self.check("spawn", at);
        match child::spawn_on(&self.shared.ledger, spawner, future, at) {
            Ok(handle) => handle,
            Err(Closed(_)) => panic!("{}", self.node().left_misuse("spawn", at)),
        }
    }

    /// A handle that may spawn into this group, and nothing else, from anywhere; see [`GroupSpawner`].
    pub fn spawner(&self) -> GroupSpawner<'env, E> {
        GroupSpawner::new(&self.shared)
    }

    /// Enters the group at the first poll, runs `body` beside the children, and leaves when the last child
    /// has left.
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
    /// A [`Failure`](crate::Failure): the first real error to complete, the body counting as one more
    /// child, then the others, then the exits that failed. [`Cause::Cancelled`](crate::Cause::Cancelled)
    /// where the group was cancelled before the body had ended and nothing real went wrong; a group that is
    /// cancelled after that, and whose children leave cleanly, is `Ok` (R15).
    ///
    /// # Panics
    ///
    /// With the first panic of the body or of a child, after everything has left. When it is polled, if
    /// the group was run before.
    #[track_caller]
    pub fn run<F, T>(&self, body: F) -> GroupRun<'_, 'env, F, E>
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

    /// As [`cancel`](TaskGroup::cancel), with a text that every error tells.
    #[track_caller]
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        request(self.node(), Some(message.into()), Location::caller());
    }

    /// A handle that asks for cancellation from anywhere.
    pub fn handle(&self) -> CancelHandle {
        CancelHandle::new(Arc::clone(self.node()))
    }

    /// How many children have not left yet.
    pub fn len(&self) -> usize {
        self.shared.ledger.gate.open()
    }

    /// Whether no child is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn node(&self) -> &Arc<Node> {
        &self.shared.ledger.node
    }

    #[track_caller]
    fn check(&self, operation: &'static str, at: &'static Location<'static>) {
        if let Err(misuse) = self.node().check(operation, at) {
            panic!("{misuse}");
        }
    }
}

impl<'env, E> Shared<'env, E> {
    /// Spawns an in-task child, or hands the future back where the group has closed.
    fn spawn<F, T>(
        &self,
        future: F,
        at: &'static Location<'static>,
    ) -> Result<TaskHandle<T>, Closed<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
    {
        let (child, handle) = Child::new(&self.ledger, future, at)?;
        self.arrivals.lock().push(Box::pin(child));
        if self.ledger.gate.is_abandoned() {
            // Nobody will take it up any more.
            let never_started = std::mem::take(&mut *self.arrivals.lock());
            drop(never_started);
        }
        self.ready.notify();
        Ok(handle)
    }
}

impl<E> Default for TaskGroup<'_, E> {
    fn default() -> Self {
        TaskGroup::new()
    }
}

impl<E> Drop for TaskGroup<'_, E> {
    fn drop(&mut self) {
        // Children that were never taken up are dropped here, and not where the last spawner happens to go.
        self.shared.ledger.gate.abandon();
        let never_started = std::mem::take(&mut *self.shared.arrivals.lock());
        drop(never_started);
    }
}

impl<E> fmt::Debug for TaskGroup<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node().fmt(f)
    }
}
