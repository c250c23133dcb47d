//! The identity of tasks, and the comparison of two identities (R1, R5).

use crate::names::Shown;
use crate::sync::{Arc, AtomicU64, Ordering};
use std::fmt;
use std::hash::{Hash, Hasher};

/// The identity of a task, which a region records as its owner.
///
/// Given by [`task`](crate::task()), by a group for each child, by a region that no region of `moored`
/// encloses, or, with the feature `tokio`, by tokio. Two ids are equal when they name the same task;
/// the name is for people and is not compared.
///
/// `Display` is `task 7`, with a name `task 7 (session github)`, and `tokio task 12` for an id that is
/// tokio's own.
///
/// # Examples
///
/// ```
/// # futures::executor::block_on(async {
/// let id = moored::task(async { moored::task::current().unwrap() }).named("session github").await;
/// assert!(id.to_string().ends_with(" (session github)"));
/// # });
/// ```
#[derive(Clone)]
pub struct TaskId {
    source: Source,
    number: u64,
    name: Option<Arc<str>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Source {
    Moored,
    Runtime,
}

impl TaskId {
    pub(crate) fn moored(number: u64, name: Option<Arc<str>>) -> Self {
        TaskId { source: Source::Moored, number, name }
    }

    pub(crate) fn runtime(number: u64) -> Self {
        TaskId { source: Source::Runtime, number, name: None }
    }

    /// The name given with [`Task::named`](crate::Task::named), if any.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl PartialEq for TaskId {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.number == other.number
    }
}

impl Eq for TaskId {}

impl Hash for TaskId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
        self.number.hash(state);
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Moored => write!(f, "task {}", self.number)?,
            Source::Runtime => write!(f, "tokio task {}", self.number)?,
        }
        match &self.name {
            Some(name) => write!(f, " ({})", Shown(name)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

/// The known identity of the running code: this crate's task number and the runtime's; 0 if
/// unknown.
///
/// A region that is its own root task has both, because it does not hide the runtime's id; inside a task
/// of this crate's only the first is known (R5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) task: u64,
    pub(crate) runtime: u64,
}

impl Identity {
    pub(crate) const UNKNOWN: Identity = Identity { task: 0, runtime: 0 };

    pub(crate) fn is_unknown(self) -> bool {
        self == Identity::UNKNOWN
    }

    /// Whether `current` may do everything that `self`, the owner, may do: one match is enough, and
    /// an unknown identity is not rejected.
    pub(crate) fn admits(self, current: Identity) -> bool {
        self.is_unknown()
            || current.is_unknown()
            || (self.task != 0 && self.task == current.task)
            || (self.runtime != 0 && self.runtime == current.runtime)
    }
}

/// An identity that several threads read. It is written under a lock, before the flag that tells other threads to read it, so
/// `Relaxed` is enough.
pub(crate) struct SharedIdentity {
    task: AtomicU64,
    runtime: AtomicU64,
}

impl SharedIdentity {
    pub(crate) fn new(identity: Identity) -> Self {
        SharedIdentity {
            task: AtomicU64::new(identity.task),
            runtime: AtomicU64::new(identity.runtime),
        }
    }

    #[inline]
    pub(crate) fn get(&self) -> Identity {
        Identity { task: self.task(), runtime: self.runtime.load(Ordering::Relaxed) }
    }

    #[inline]
    pub(crate) fn task(&self) -> u64 {
        self.task.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, identity: Identity) {
        self.set_task(identity.task);
        self.set_runtime(identity.runtime);
    }

    pub(crate) fn set_task(&self, task: u64) {
        self.task.store(task, Ordering::Relaxed);
    }

    pub(crate) fn set_runtime(&self, runtime: u64) {
        self.runtime.store(runtime, Ordering::Relaxed);
    }
}
