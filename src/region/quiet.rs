//! The word in which a node keeps that no cancellation was found around it: most questions end there (R19).
//!
//! A process-wide *epoch* counts the events that may turn an answer from "not cancelled" to "cancelled". The word of a node
//! is the epoch in which a look found nothing; a node is *quiet* while that is the current epoch.
//!
//! # Invariants
//!
//! 1. A node that is quiet is neither cancelled nor stopped. No region around it is stopped, and none up to a shield is
//!    cancelled.
//! 2. The epoch is raised after such an event has happened, so a thread that reads the new epoch finds the event.
//! 3. Every change of the word is a read-modify-write, so changes are totally ordered: a look that came before a request
//!    cannot overwrite the request's mark.
//! 4. The end of being quiet is final. It has come for a region that was cancelled or stopped itself, or has times that no run
//!    watches.
//! 5. A region that was never entered by another one changes no answer but its own, so its request raises no epoch (R19).

pub(super) mod word;

use super::flags::{CANCELLED, LEFT, SHELTERED, SHIELD, STOP, TIMED};
use super::node::Node;
use super::walk;
use crate::sync::{Arc, Ordering, epoch, tidings};

/// Whether nothing can have been cancelled or stopped here or around since no cancellation was found there (invariant 1).
///
/// The answer can change by a request to this region, which marks it as never quiet; by a request to a region around
/// it; or by a change of the regions around. The last two raise the epoch (invariant 2). A thread that reads the old
/// epoch came before them.
#[inline]
pub(crate) fn is_quiet(node: &Node) -> bool {
    is_quiet_in(node, epoch().load(Ordering::Acquire))
}

#[inline]
pub(super) fn is_quiet_in(node: &Node, epoch: u64) -> bool {
    node.quiet.is_in(epoch)
}

/// Records that no cancellation was found, here and on the way, by a look that began in the epoch `now`, when the region's word
/// was `before`. A later look stops at a region on the way, so in a chain each region is walked past once. `timed` is `TIMED`
/// if a region with times was found.
pub(super) fn quieten(region: &Node, before: u64, now: u64, timed: u32) {
    found_quiet(region, before, now, timed);
    if region.has(SHELTERED | SHIELD | LEFT) {
        return;
    }
    let mut at = walk::parent_in_exit(region);
    while let Some(node) = at {
        let last = is_quiet_in(&node, now) || node.has(SHELTERED | SHIELD);
        // A region that is entered while others are inside it begins an epoch.
        found_quiet(&node, node.quiet.seen(), now, timed);
        at = if last { None } else { walk::parent_in_exit(&node) };
    }
}

fn found_quiet(node: &Node, before: u64, now: u64, timed: u32) {
    if timed != 0 && !node.has(TIMED) {
        node.lock_and_raise(timed);
    }
    node.quiet.mark(before, now, || node.has(CANCELLED | STOP));
}

/// The regions around a region have changed, or its shield no longer holds, or it has got its first time: that region and the
/// regions inside it look again, for times as well.
pub(super) fn begin_epoch() {
    tidings().fetch_add(1, Ordering::Release);
    raise_epoch();
}

fn raise_epoch() {
    epoch().fetch_add(1, Ordering::Release);
}

/// This region was cancelled or stopped, or has times that no run watches: it is never quiet again, and the regions
/// inside it look again (invariants 4 and 5).
///
/// By invariant 3, a mark of a look comes before this one or fails.
pub(super) fn end_quiet(node: &Node) {
    node.quiet.end();
    if node.encloses.is_so() {
        // The tidings stay, because a request adds no time around the regions inside.
        raise_epoch();
    }
}

/// Notes in `parent` that a region is entered in it. To be called before that region looks outwards.
pub(super) fn note_enclosed(parent: Option<&Arc<Node>>) {
    if let Some(parent) = parent {
        parent.encloses.note();
    }
}
