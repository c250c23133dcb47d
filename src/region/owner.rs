//! The owner of a region, and its description in texts (R1, R2, R5).

use super::ambient;
use super::kind::Kind;
use super::node::Node;
use crate::identity::{Identity, TaskId};
use crate::names::Shown;
use crate::report::{Report, report};
use crate::rt;
use crate::sync::{Arc, Ordering};
use crate::wrong_task::{Misuse, WrongTask};
use std::panic::Location;

impl Node {
    #[inline]
    pub(super) fn owner(&self) -> Identity {
        Identity { task: self.owner_task(), runtime: self.owner_runtime.load(Ordering::Relaxed) }
    }

    #[inline]
    pub(super) fn owner_task(&self) -> u64 {
        self.owner_task.load(Ordering::Relaxed)
    }

    /// The owner of a region that is entered in `parent`, or where no region is current.
    pub(super) fn owner_in(parent: Option<&Arc<Node>>) -> Identity {
        match parent {
            Some(parent) => parent.owner(),
            None => Identity { task: 0, runtime: rt::task_number() },
        }
    }

    /// Whether the current task may do an operation that only the owner may do. The wrong-task check
    /// comes before every other (R2).
    #[inline]
    pub(crate) fn check(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<(), Misuse> {
        self.check_owner(operation, at).map_err(Misuse::WrongTask)
    }

    #[inline]
    pub(super) fn check_owner(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<(), Box<WrongTask>> {
        if self.is_current_tasks() { Ok(()) } else { self.check_identity(operation, at) }
    }

    /// Whether the current task is known to be the owner.
    #[inline]
    pub(super) fn is_current_tasks(&self) -> bool {
        let task = self.owner_task();
        task != 0 && task == ambient::task()
    }

    #[cold]
    fn check_identity(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Result<(), Box<WrongTask>> {
        let owner = self.owner();
        if owner.is_unknown() {
            return Ok(());
        }
        let current = match ambient::owner() {
            // Inside a task of this crate the runtime's id is hidden; a root of its own shows it
            // (R5).
            Some((0, _)) => Identity { task: ambient::task(), runtime: 0 },
            Some(_) => Identity { task: ambient::task(), runtime: rt::task_number() },
            None => Identity { task: 0, runtime: rt::task_number() },
        };
        if owner.admits(current) {
            return Ok(());
        }
        let entered_at = self.inner.lock().entered_at.unwrap_or(at);
        Err(Box::new(WrongTask {
            operation,
            region: self.describe(),
            owner: self.owner_id().unwrap_or_else(|| TaskId::moored(owner.task, None)),
            entered_at,
            current: current_task().unwrap_or_else(|| TaskId::moored(current.task, None)),
            attempted_at: at,
        }))
    }

    /// The owner's id with its name, which the task region around this one has.
    pub(crate) fn owner_id(&self) -> Option<TaskId> {
        self.owner_id_past(drop)
    }

    /// As [`owner_id`](Node::owner_id); `walked_past` gets the regions on the way to that task.
    pub(super) fn owner_id_past(&self, mut walked_past: impl FnMut(Arc<Node>)) -> Option<TaskId> {
        let owner = self.owner();
        if owner.task == 0 {
            return (owner.runtime != 0).then(|| TaskId::runtime(owner.runtime));
        }
        if self.is_task() {
            return Some(TaskId::moored(owner.task, self.inner.lock().name()));
        }
        let mut at = self.parent();
        while let Some(node) = at {
            if node.owner_task() != owner.task {
                break;
            }
            if node.is_task() {
                let name = node.inner.lock().name();
                walked_past(node);
                return Some(TaskId::moored(owner.task, name));
            }
            at = node.parent();
            walked_past(node);
        }
        Some(TaskId::moored(owner.task, None))
    }

    pub(crate) fn entered_at(&self) -> Option<&'static Location<'static>> {
        self.inner.lock().entered_at
    }

    pub(crate) fn set_name(&self, name: impl Into<Arc<str>>) {
        self.inner.lock().rest().name = Some(name.into());
    }

    pub(crate) fn describe(&self) -> String {
        let name = self.inner.lock().name();
        self.describe_as(name)
    }

    /// As [`describe`](Node::describe), with the task that owns it, by its number.
    pub(super) fn describe_with_owner(&self) -> String {
        match self.owner_id() {
            Some(owner) if !self.is_task() => format!("{} of {owner}", self.describe()),
            _ => self.describe(),
        }
    }

    pub(super) fn describe_as(&self, name: Option<Arc<str>>) -> String {
        let noun = self.kind().noun();
        match name {
            Some(name) => format!("{noun} `{}`", Shown(&name)),
            None => noun.to_owned(),
        }
    }

    pub(crate) fn left_misuse(
        &self,
        operation: &'static str,
        at: &'static Location<'static>,
    ) -> Misuse {
        let inner = self.inner.lock();
        Misuse::Left {
            operation,
            region: self.describe_as(inner.name()),
            entered_at: inner.entered_at.unwrap_or(at),
            attempted_at: at,
        }
    }

    pub(super) fn is_task(&self) -> bool {
        matches!(self.kind, Kind::Task | Kind::Child)
    }

    /// Reports a drop of the region by a task that does not own it (R2).
    pub(crate) fn report_foreign_drop(&self) {
        if self.is_current_tasks() {
            return;
        }
        let at = self.entered_at().unwrap_or_else(|| Location::caller());
        if let Err(wrong) = self.check_owner("drop", at) {
            report(Report::ForeignDrop(*wrong));
        }
    }
}

/// The current task, if it is known; see [`task::current`](crate::task::current).
pub(crate) fn current_task() -> Option<TaskId> {
    let known = match ambient::owner() {
        Some((_, Some(node))) => node.owner_id(),
        // Its node has not been made.
        Some((_, None)) if ambient::task() != 0 => Some(TaskId::moored(ambient::task(), None)),
        _ => None,
    };
    known.or_else(|| match rt::task_number() {
        0 => None,
        number => Some(TaskId::runtime(number)),
    })
}
