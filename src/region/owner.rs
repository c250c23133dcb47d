//! The owner of a region, and its description in texts (R1, R2, R5).
//!
//! # Invariants
//!
//! 1. The wrong task is found before every other misuse (R2). An identity that is not known is admitted (R5).
//! 2. A description locks one node at a time. It walks outwards only for the name of the owner's task.

use super::ambient;
use super::flags::ROOT;
use super::node::Node;
use super::walk;
use crate::identity::{Identity, TaskId};
use crate::names::described;
use crate::report::{Report, report};
use crate::rt;
use crate::sync::Arc;
use crate::wrong_task::{Misuse, WrongTask};
use std::panic::Location;

/// The owner of a region that is entered in `parent`, or where no region is current.
pub(super) fn in_parent(parent: Option<&Arc<Node>>) -> Identity {
    match parent {
        Some(parent) => parent.owner.get(),
        None => Identity { task: 0, runtime: rt::task_number() },
    }
}

/// Whether the current task may do an operation that only the owner may do. The wrong-task check
/// comes before every other (R2).
#[inline]
pub(crate) fn check(
    node: &Node,
    operation: &'static str,
    at: &'static Location<'static>,
) -> Result<(), Misuse> {
    check_task(node, operation, at).map_err(Misuse::WrongTask)
}

#[inline]
pub(super) fn check_task(
    node: &Node,
    operation: &'static str,
    at: &'static Location<'static>,
) -> Result<(), Box<WrongTask>> {
    if is_current_tasks(node) { Ok(()) } else { check_identity(node, operation, at) }
}

/// Whether the current task is known to be the owner.
#[inline]
pub(crate) fn is_current_tasks(node: &Node) -> bool {
    let task = node.owner.task();
    task != 0 && task == ambient::task()
}

/// Whether a region that no live region is around belongs to no task but the current one, as far as is known. A region that
/// is its own root moves with its future, so the task that drops it has it.
pub(super) fn is_of_no_other_task(node: &Node) -> bool {
    let owner = node.owner.get();
    if owner.runtime != 0 {
        return owner.runtime == current().runtime;
    }
    owner.task == 0 || (node.has(ROOT) && !node.is_task())
}

/// The identity of the current task, as far as it is known.
fn current() -> Identity {
    match ambient::owner() {
        // Inside a task of this crate the runtime's id is hidden; a root of its own shows it
        // (R5).
        Some((0, _)) => Identity { task: ambient::task(), runtime: 0 },
        Some(_) => Identity { task: ambient::task(), runtime: rt::task_number() },
        None => Identity { task: 0, runtime: rt::task_number() },
    }
}

#[cold]
fn check_identity(
    node: &Node,
    operation: &'static str,
    at: &'static Location<'static>,
) -> Result<(), Box<WrongTask>> {
    let owner = node.owner.get();
    // Invariant 1.
    if owner.is_unknown() {
        return Ok(());
    }
    let current = current();
    if owner.admits(current) {
        return Ok(());
    }
    // A run inside a scope that was entered by a call was made, not entered, at its own place.
    let scope = if node.is_stay() { node.parent() } else { None };
    let entered_at = scope.as_deref().unwrap_or(node).entered_at().unwrap_or(at);
    Err(Box::new(WrongTask {
        operation,
        region: describe(node),
        owner: id(node).unwrap_or_else(|| TaskId::moored(owner.task, None)),
        entered_at,
        current: current_task().unwrap_or_else(|| TaskId::moored(current.task, None)),
        attempted_at: at,
    }))
}

/// The owner, as it stands in the node.
pub(crate) fn of(node: &Node) -> Identity {
    node.owner.get()
}

/// The owner's id with its name, which the task region around this one has.
pub(crate) fn id(node: &Node) -> Option<TaskId> {
    id_past(node, |_| {})
}

/// As [`id`]; `walked_past` gets the regions on the way to that task (invariant 2).
pub(super) fn id_past(region: &Node, mut walked_past: impl FnMut(&Arc<Node>)) -> Option<TaskId> {
    let owner = region.owner.get();
    if owner.task == 0 {
        return (owner.runtime != 0).then(|| TaskId::runtime(owner.runtime));
    }
    if region.is_task() {
        return Some(TaskId::moored(owner.task, region.inner.lock().name()));
    }
    let name = walk::past_all(region).find_map(|node| {
        if node.owner.task() != owner.task {
            return Some(None);
        }
        walked_past(&node);
        node.is_task().then(|| node.inner.lock().name())
    });
    Some(TaskId::moored(owner.task, name.flatten()))
}

pub(crate) fn describe(node: &Node) -> String {
    let name = node.inner.lock().name();
    described(node.kind.noun(), name.as_deref())
}

/// As [`describe`], with the task that owns it, by its number.
pub(super) fn describe_with_owner(node: &Node) -> String {
    match id(node) {
        Some(owner) if !node.is_task() => format!("{} of {owner}", describe(node)),
        _ => describe(node),
    }
}

/// As [`describe_with_owner`], for the stack of an exit, which may be gone.
pub(super) fn describe_stack(stack: Option<&Node>) -> String {
    stack.map_or_else(|| "an exit stack".into(), describe_with_owner)
}

/// As [`describe`], with the place where it was entered; `at` if it was not.
pub(crate) fn describe_with_place(
    node: &Node,
    at: &'static Location<'static>,
) -> (String, &'static Location<'static>) {
    let (name, entered_at) = {
        let inner = node.inner.lock();
        (inner.name(), inner.entered_at)
    };
    (described(node.kind.noun(), name.as_deref()), entered_at.unwrap_or(at))
}

/// The error of an operation on a region that was left.
#[cold]
pub(crate) fn left_misuse(
    node: &Node,
    operation: &'static str,
    at: &'static Location<'static>,
) -> Misuse {
    let (region, entered_at) = describe_with_place(node, at);
    Misuse::Left { operation, region, entered_at, attempted_at: at }
}

/// Reports a drop of the region by a task that does not own it (R2).
pub(crate) fn report_foreign_drop(node: &Node) {
    if is_current_tasks(node) {
        return;
    }
    let at = node.entered_at().unwrap_or_else(|| Location::caller());
    if let Err(wrong) = check_task(node, "drop", at) {
        report(Report::ForeignDrop(*wrong));
    }
}

/// The current task, if it is known; see [`task::current`](crate::task::current).
pub(crate) fn current_task() -> Option<TaskId> {
    let known = match ambient::owner() {
        Some((_, Some(node))) => id(&node),
        // Its node has not been made.
        Some((_, None)) if ambient::task() != 0 => Some(TaskId::moored(ambient::task(), None)),
        _ => None,
    };
    known.or_else(|| match rt::task_number() {
        0 => None,
        number => Some(TaskId::runtime(number)),
    })
}
