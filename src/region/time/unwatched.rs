//! Times that no run watches (invariant 3).

use crate::region::flags::{SHIELD, STOP, UNWATCHED};
use crate::region::look;
use crate::region::node::Node;
use crate::region::quiet;
use crate::region::time;
use crate::region::time::Times;
use crate::region::time::clock;
use crate::region::walk;
use crate::sync::Arc;

/// For a region that is being entered by a call, with no region inside it yet. `known` tells whether there are
/// other references to it.
pub(in crate::region) fn begin_unwatched(node: &Arc<Node>, known: bool) {
    {
        let inner = node.inner.lock();
        let rest = inner.rest_seen();
        let grace = rest.is_some_and(|rest| rest.times.grace.is_some());
        let asked = rest.is_some_and(|rest| rest.times.is_grace_asked());
        let deadline = inner.more.as_ref().is_some_and(|more| more.deadline.is_some());
        let timed = deadline || asked || (grace && node.has(STOP | SHIELD));
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
pub(crate) fn look_at_clocks(node: &Arc<Node>) {
    walk::each_around(node, look_at_clock);
}

/// As [`look_at_clocks`], for this region alone.
pub(crate) fn look_at_clock(node: &Arc<Node>) {
    if !node.has(UNWATCHED) {
        return;
    }
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
    !look::is_found_quiet(node) && {
        look_at_clocks(node);
        look::is_cancelled(node)
    }
}
