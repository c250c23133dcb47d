//! Times that no run watches (invariant 3).

use crate::region::flags::{SHIELD, STOP, UNWATCHED};
use crate::region::node::Node;
use crate::region::time::Times;
use crate::sync::Arc;

impl Node {
    /// For a region that is being entered by a call, with no region inside it yet. `known` tells whether there are
    /// other references to it.
    pub(in crate::region) fn begin_unwatched(self: &Arc<Self>, known: bool) {
        {
            let inner = self.inner.lock();
            let rest = inner.rest_seen();
            let grace = rest.is_some_and(|rest| rest.times.grace.is_some());
            let asked = rest.is_some_and(|rest| rest.times.asked_grace.is_some());
            let deadline = inner.more.as_ref().is_some_and(|more| more.deadline.is_some());
            let timed = deadline || asked || (grace && self.has(STOP | SHIELD));
            if !timed {
                return;
            }
            self.raise(&inner, UNWATCHED);
        }
        self.begin_graces();
        if known {
            // An earlier look may have found it quiet.
            self.unsettle_for_good();
        }
    }

    /// Begins the graces of an event that has just happened, for a region without a run that
    /// would begin them.
    pub(in crate::region) fn begin_graces(self: &Arc<Self>) {
        if self.has(UNWATCHED) {
            self.stop_due();
            self.shield_due();
        }
    }

    /// For a question from outside: acts on the times that have come, here and around, and that no run watches.
    #[cold]
    pub(crate) fn look_at_clocks(self: &Arc<Self>) {
        self.each_around(Node::look_at_clock);
    }

    /// As [`look_at_clocks`](Node::look_at_clocks), for this region alone.
    pub(crate) fn look_at_clock(self: &Arc<Self>) {
        if !self.has(UNWATCHED) {
            return;
        }
        if let Some(due) = self.next_due(Times::All) {
            let now = self.now();
            if due <= now {
                self.come_due(now, Times::All);
            }
        }
    }
}
