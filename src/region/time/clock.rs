//! The clock of a region.

use crate::clock::{Clock, Timer};
use crate::region::flags::{CLOCKED, ENTERED, TIMELESS};
use crate::region::kind::Kind;
use crate::region::node::Node;
use crate::region::shortcut;
use crate::region::shortcut::Sought;
#[cfg(doc)]
use crate::region::time::limits::Limits;
use crate::rt;
use crate::sync::Arc;
use std::time::{Duration, Instant};

/// The present instant, by the clock of the nearest region around that was given one, else by that of the current
/// runtime.
pub(in crate::region) fn now(node: &Node) -> Instant {
    own_clock(node).map_or_else(rt::now, |clock| clock.now())
}

/// A timer of that clock.
pub(in crate::region) fn timer(node: &Node, at: Instant) -> Timer {
    Timer::new(at, own_clock(node))
}

fn own_clock(node: &Node) -> Option<Arc<dyn Clock>> {
    if !node.is_clocked() {
        return None;
    }
    shortcut::setting(node, Sought::Clock, Node::given_clock)
}

/// The flag `CLOCKED` for a region that is entered in `parent`, if a clock may have been given there.
pub(in crate::region) fn flag_within(parent: Option<&Arc<Node>>) -> u32 {
    // A group that has children before it is entered may later be entered in a task with a
    // clock.
    let clocks = |parent: &Arc<Node>| parent.flags() & (CLOCKED | ENTERED) != ENTERED;
    if parent.is_some_and(clocks) { CLOCKED } else { 0 }
}

pub(crate) fn set(node: &Node, clock: Arc<dyn Clock>) {
    let old = {
        let mut inner = node.inner.lock();
        node.raise(&inner, CLOCKED);
        inner.rest().times.clock.replace(clock)
    };
    drop(old);
}

/// The deadline, if it still counts, for a timer that is armed for it. A change from now on may be news; see
/// [`Limits::is_news`].
///
/// Deadline and `unread` are read and changed under one lock. T1, a wait that has just registered, reads the deadline; T2
/// brings it forward, and tells nobody, because all waits were told before; T1 notes that it has read, and sleeps too long.
pub(in crate::region) fn deadline(node: &Node) -> Option<Instant> {
    let mut inner = node.inner.lock();
    if let Some(rest) = inner.rest_mut() {
        rest.times.unread = None;
    }
    inner.deadline.filter(|_| !node.has(TIMELESS))
}

pub(in crate::region) fn grace(node: &Node) -> Option<Duration> {
    node.inner.lock().rest_seen()?.times.grace
}

/// The time that each exit of the region may take, from its first poll (R14). A group's grace is no such bound: its
/// only exit is the wait for the children that its dropped `run` left, and no child outlives the group (R16).
pub(in crate::region) fn exit_grace(node: &Node) -> Option<Duration> {
    if node.kind == Kind::Stack { grace(node) } else { None }
}
