//! Times that no run watches (invariant 3 of `time`).

use crate::reason::Reason;
use crate::region::flags::{CANCELLED, ENTERED, LEFT, SHELTERED, SHIELD, STOP, TIMED, UNWATCHED};
use crate::region::kind::Kind;
use crate::region::look;
use crate::region::node::Node;
use crate::region::quiet;
use crate::region::time;
use crate::region::time::Times;
use crate::region::time::around;
use crate::region::time::clock;
use crate::region::walk;
use crate::sync::Arc;
use std::time::Instant;

/// For a region that is being entered by a call, with no region inside it yet. `known` tells whether there are
/// other references to it.
pub(in crate::region) fn begin_unwatched(node: &Arc<Node>, known: bool) {
    {
        let inner = node.inner.lock();
        let rest = inner.rest_seen();
        let grace = rest.is_some_and(|rest| rest.times.grace.is_some());
        let asked = rest.is_some_and(|rest| rest.times.asked_grace.is_some());
        let timed = inner.deadline.is_some() || asked || (grace && node.has(STOP | SHIELD));
        if !timed {
            return;
        }
        node.raise(&inner, UNWATCHED);
    }
    begin_graces(node);
    if known {
        // An earlier look may have found it quiet.
        quiet::end_quiet(node);
    }
}

/// Begins the graces of an event that has just happened, for a region without a run that
/// would begin them.
pub(in crate::region) fn begin_graces(node: &Arc<Node>) {
    if node.has(UNWATCHED) {
        time::stop_due(node);
        time::shield_due(node);
    }
}

/// For a question from outside: acts on the times that have come, here and around, and that no run watches.
#[cold]
fn ask_clocks(node: &Arc<Node>) {
    let has_come = |(due, node): (Instant, Arc<Node>)| due <= clock::now(&node);
    if around::earliest(node, Times::All).any(has_come) {
        ask_clock(node);
        if !node.has(SHELTERED | SHIELD | LEFT) {
            walk::around(node).for_each(|around| ask_clock(&around));
        }
    }
}

/// As [`ask_clocks`], for this region alone.
pub(crate) fn ask_clock(node: &Arc<Node>) {
    if node.has(UNWATCHED) {
        act_on_clock(node);
    }
}

/// For a request to the child `node` alone: acts on the times of its group that have come. No other region is asked.
pub(crate) fn ask_clock_around_child(node: &Node) {
    let group = if node.kind == Kind::Child { node.parent() } else { None };
    if let Some(group) = group {
        ask_clock_of_group(&group);
    }
}

/// For a request to a child of `group` alone: acts on the times of the group that have come, although the run of the group
/// watches them. It may not have seen them yet, and the child was cancelled with its group first (R10, R11).
pub(crate) fn ask_clock_of_group(group: &Arc<Node>) {
    if group.flags() & (TIMED | ENTERED | CANCELLED) == TIMED | ENTERED {
        act_on_clock(group);
    }
}

fn act_on_clock(node: &Arc<Node>) {
    if let Some(due) = time::next_due(node, Times::All) {
        let now = clock::now(node);
        if due <= now {
            time::come_due(node, now, Times::All);
        }
    }
}

/// As [`look::is_cancelled`], for a question from outside: the clock is read for times that no run
/// watches.
#[inline]
pub(crate) fn is_cancelled_by_now(node: &Arc<Node>) -> bool {
    !quiet::is_quiet(node) && is_cancelled_by_clock(node)
}

/// A region that is found quiet has no such times around it, so no clock is read.
#[cold]
fn is_cancelled_by_clock(node: &Arc<Node>) -> bool {
    let by_clocks = || {
        ask_clocks(node);
        look::is_cancelled(node)
    };
    look::is_cancelled(node) || (!quiet::is_quiet(node) && by_clocks())
}

/// As [`look::effective_reason`], for a question from outside. Of times that no run watches, those farther out are asked only
/// if there is no cancellation yet.
pub(crate) fn reason_by_now(node: &Arc<Node>) -> Option<Reason> {
    ask_clock(node);
    let known = look::effective_reason(node);
    if known.is_some() || quiet::is_quiet(node) {
        return known;
    }
    ask_clocks(node);
    look::effective_reason(node)
}
