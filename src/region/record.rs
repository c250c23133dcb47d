//! The way of failures that their own region cannot return: to the nearest record outwards, else to the hook (R15). A
//! record keeps the first ones and counts the others, from every source (R19).
//!
//! # Invariants
//!
//! 1. Every failure goes into a record, or to the hook, when it happens. A scope that is not cancelled yet and has no record
//!    around it does both: it keeps the failure for a later `Cancelled`.
//! 2. A failure that was sent is stored under the lock, after `LEFT` was read (invariant 2 of the room).
//! 3. Failures over the cap are counted, and dropped outside the lock, because their drop is user code (R18).

use super::flags::{INBOX, LEFT, REWAKE};
use super::kind::Kind;
use super::local_exit;
use super::node::Node;
use super::owner;
use super::shortcut;
use super::tally::Caught;
use super::walk;
use crate::failure::Failures;
use crate::report::{Report, report, report_failure};
use crate::unwind;
use crate::wakers::wake_all;

/// The number of failures that a record keeps by default.
const CAP: usize = 1024;

/// Whether the result of its run may contain failures: that of a stack or a group does, that of a scope if it is
/// cancelled.
pub(super) fn may_take_failures(node: &Node) -> bool {
    !node.is_task()
}

/// Whether the result of its run contains every failure.
pub(super) fn is_record(node: &Node) -> bool {
    matches!(node.kind, Kind::Stack | Kind::Group)
}

/// Whether there is a record around that takes the failures which this region cannot
/// return.
pub(super) fn has_record_around(region: &Node) -> bool {
    walk::outwards(region).any(|node| is_record(&node) && node.is_open())
}

/// Sends failures to the nearest region outwards that may return them, else to the hook (R15, invariant 1).
pub(crate) fn send(region: &Node, failures: Failures) {
    if failures.is_empty() {
        return;
    }
    let taken = shortcut::offer(region, failures, |node, failures| {
        if may_take_failures(node) { take_in(node, failures) } else { Err(failures) }
    });
    if let Err(failures) = taken {
        unwind::drop_each_quietly(report_all(region, failures).first);
    }
}

/// Sends a panic that no caller receives outwards, as a failure.
pub(crate) fn send_panic(region: &Node, panic: impl Into<Option<Caught>>) {
    if let Some(panic) = panic.into() {
        send(region, panic.into_failure().into());
    }
}

/// Puts failures into this region's own record, or sends them outwards if the region has left.
pub(crate) fn put(node: &Node, failures: Failures) {
    if let Err(back) = take_in(node, failures) {
        send(node, back);
    }
}

/// Stores failures that were sent here, unless the region has left or no run attends it.
fn take_in(node: &Node, failures: Failures) -> Result<(), Failures> {
    let (waker, over) = {
        let mut inner = node.inner.lock();
        // Under the lock (invariant 2).
        if node.has(LEFT) || !node.is_open() {
            return Err(failures);
        }
        let rest = inner.rest();
        rest.sent.append(failures);
        // Dropped below, outside the lock (invariant 3).
        let over = rest.sent.trim(rest.cap.unwrap_or(CAP));
        // The run of a scope may have to report them at once.
        let waker = if is_record(node) { None } else { inner.waker.take() };
        node.raise(&inner, INBOX | if waker.is_some() { REWAKE } else { 0 });
        (waker, over)
    };
    unwind::drop_each_quietly(over);
    wake_all(waker);
    Ok(())
}

/// Reports failures to the hook that no record will contain, and returns them.
pub(super) fn report_all(node: &Node, failures: Failures) -> Failures {
    let Failures { first, omitted } = failures;
    let region = owner::describe(node);
    let tell = |failure| match local_exit::was_reported(&failure) {
        true => failure,
        false => report_failure(region.clone(), failure),
    };
    let first = first.into_iter().map(tell).collect();
    if omitted > 0 {
        report(Report::Omitted { region: region.clone(), failures: omitted });
    }
    Failures { first, omitted }
}

/// Sets the number of failures that its record keeps (R15).
pub(crate) fn set_cap(node: &Node, cap: usize) {
    node.inner.lock().rest().cap = Some(cap.max(1));
}

/// The number of failures that its record keeps.
pub(crate) fn cap(node: &Node) -> usize {
    node.inner.lock().rest_seen().and_then(|rest| rest.cap).unwrap_or(CAP)
}
