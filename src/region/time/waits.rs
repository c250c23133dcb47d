//! Times that a wait depends on.

use crate::clock::Timer;
use crate::region::look;
use crate::region::node::Node;
use crate::region::time;
use crate::region::time::Times;
use crate::region::time::around;
use crate::region::time::clock;
use crate::region::walk;
use crate::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// The timers of a wait, each with the region that has the time. The lock is never taken: it makes the wait `Sync`,
/// which a timer is not.
pub(in crate::region) type WaitTimers = Box<Mutex<Vec<(Timer, Arc<Node>)>>>;

/// Polls the timers of a wait for the next times, here and around, even if a run watches those (invariant 2 of `time`); returns
/// whether a time has come that cancels this region.
pub(in crate::region) fn poll_times_around(
    region: &Arc<Node>,
    timers: &mut Option<WaitTimers>,
    cx: &mut Context<'_>,
) -> bool {
    loop {
        if timers.is_none() {
            *timers = arm_around(region);
        }
        let Some(armed) = timers else { return false };
        let rings = |(timer, node): &mut (Timer, Arc<Node>)| match timer.try_poll(cx) {
            Some(Poll::Ready(())) => Some((timer.at(), Arc::clone(node))),
            // Without a clock where this wait is polled, the time is left to the region's run.
            Some(Poll::Pending) | None => None,
        };
        let rung: Vec<_> = armed.get_mut().iter_mut().filter_map(rings).collect();
        if rung.is_empty() {
            return false;
        }
        *timers = None;
        for (now, node) in rung {
            time::come_due_here(&node, now);
        }
        if look::is_cancelled(region) {
            return true;
        }
    }
}

/// Timers for the next time, here and around: one for each clock, because times of two clocks cannot be compared.
fn arm_around(region: &Arc<Node>) -> Option<WaitTimers> {
    let next = around::earliest(region, Times::All);
    let armed: Vec<_> =
        next.map(|(due, node)| (clock::timer(&walk::scope_of(&node), due), node)).collect();
    if armed.is_empty() { None } else { Some(Box::new(Mutex::new(armed))) }
}
