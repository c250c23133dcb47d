//! The walk outwards: the regions around a region (R1).
//!
//! # Invariants
//!
//! 1. A walk locks one node at a time, and holds a reference to the node that it stands on.
//! 2. The effective parent is the nearest ancestor that was not left (invariant 3 of the room). Regions that were left are walked
//!    past once, and then the parent is set past them (R19).
//! 3. No region is inside itself: a region that is handed over is moved out of the way first.

use super::flags::{LEFT, SHELTERED, SHIELD};
use super::node::Node;
use crate::sync::Arc;

#[cfg(test)]
crate::sync::ambient! {
    /// The number of steps that walks on this thread have taken, for the tests of how the work grows.
    static STEPS: std::cell::Cell<usize> = std::cell::Cell::new(0);
}

/// The steps that `work` takes.
#[cfg(test)]
pub(crate) fn steps_of(work: impl FnOnce()) -> usize {
    let before = STEPS.with(std::cell::Cell::get);
    work();
    STEPS.with(std::cell::Cell::get) - before
}

/// Counts a step, in tests.
#[inline]
pub(super) fn step() {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + 1));
}

/// The nearest live ancestor: the effective parent (R1).
///
/// Regions that were left are walked past once: the parent is set past them (invariant 2), so that a chain of them costs
/// nothing the next time, and is freed (R19). A region keeps its own task that was left, for its name; a task
/// keeps a task that was left only for a clock.
#[inline]
pub(super) fn live_parent(region: &Node) -> Option<Arc<Node>> {
    step();
    let first = region.parent()?;
    if !first.has(LEFT) {
        return Some(first);
    }
    past_left(region, first).0
}

/// As [`live_parent`], for questions about cancellations, stops and times: `None` if the region was entered inside one that was
/// entered in an exit, and that one was left. The exit's home still does not count then (R14).
#[inline]
pub(super) fn parent_in_exit(region: &Node) -> Option<Arc<Node>> {
    step();
    let first = region.parent()?;
    if !first.has(LEFT) {
        return Some(first);
    }
    match past_left(region, first) {
        (_, true) => None,
        (parent, false) => parent,
    }
}

/// The effective parent of a region whose parent `first` was left, and whether it is outside an exit in which the region was
/// entered. A region of which that is true is marked as sheltered, because nothing else tells it when the parent is set past the
/// region that was entered in the exit.
fn past_left(region: &Node, first: Arc<Node>) -> (Option<Arc<Node>>, bool) {
    let keeps = |task: &Node| {
        !region.is_task() || (task.given_clock().is_some() && region.given_clock().is_none())
    };
    let skips = |node: &mut Arc<Node>| node.has(LEFT) && !(node.is_task() && keeps(node));
    let mut next = Some(Arc::clone(&first));
    let mut leaves_exit = false;
    while let Some(node) = next.take_if(skips) {
        step();
        leaves_exit |= node.has(SHELTERED);
        next = node.parent();
    }
    let skipped = {
        let mut inner = region.inner.lock();
        // If the region was handed over meanwhile, its new parent stays.
        let same = inner.parent.as_ref().is_some_and(|parent| Arc::ptr_eq(parent, &first));
        if same && leaves_exit {
            region.raise(&inner, SHELTERED);
        }
        if same { std::mem::replace(&mut inner.parent, next.clone()) } else { None }
    };
    drop((skipped, first));
    while let Some(node) = next.take_if(|node| node.has(LEFT)) {
        leaves_exit |= node.has(SHELTERED);
        next = node.parent();
    }
    (next, leaves_exit)
}

/// The nearest live region around this one that can be cancelled itself, as far as the exit inside which a region was
/// entered.
pub(super) fn cancellable_around(region: &Node) -> Option<Arc<Node>> {
    let mut at = parent_in_exit(region);
    while let Some(node) = at.take_if(|node| !node.kind.can_be_cancelled()) {
        at = if node.has(SHELTERED) { None } else { parent_in_exit(&node) };
    }
    at
}

/// As [`cancellable_around`], beginning with this region itself.
pub(super) fn cancellable_from(region: &Arc<Node>) -> Option<Arc<Node>> {
    match region.kind.can_be_cancelled() && !region.has(LEFT) {
        true => Some(Arc::clone(region)),
        false if region.has(SHELTERED) => None,
        false => cancellable_around(region),
    }
}

/// The regions to which `next` leads from `region`, nearest first.
///
/// A region that is left meanwhile is passed: the next one is looked for only after the caller has seen the one before, which is
/// kept so long (invariant 1).
#[inline]
fn each(
    region: &Node,
    next: impl Fn(&Node) -> Option<Arc<Node>>,
) -> impl Iterator<Item = Arc<Node>> {
    let mut before = None::<Arc<Node>>;
    std::iter::from_fn(move || {
        let node = next(before.as_deref().unwrap_or(region))?;
        before = Some(Arc::clone(&node));
        Some(node)
    })
}

/// The live regions around this one.
#[inline]
pub(super) fn outwards(region: &Node) -> impl Iterator<Item = Arc<Node>> {
    each(region, live_parent)
}

/// As [`outwards`], also regions that were left.
pub(super) fn past_all(region: &Node) -> impl Iterator<Item = Arc<Node>> {
    each(region, |node| {
        step();
        node.parent()
    })
}

/// The live regions around this one, as far as the next shield, which is the last.
pub(super) fn around(region: &Node) -> impl Iterator<Item = Arc<Node>> {
    std::iter::successors(parent_in_exit(region), |node| {
        if node.has(SHELTERED | SHIELD) { None } else { parent_in_exit(node) }
    })
}

/// The region that `node` is to the regions inside: for a stay, its scope.
pub(super) fn scope_of(node: &Arc<Node>) -> Arc<Node> {
    let scope = if node.is_stay() { node.parent() } else { None };
    scope.unwrap_or_else(|| Arc::clone(node))
}
