//! Looks: whether a region is cancelled or stopped, by a request to itself or to a region around it (R6, R9).
//!
//! # Invariants
//!
//! 1. No state is copied inwards: a look walks over the live regions around, so a region that was only lent to a cancelled
//!    one is not cancelled any more once that one has left (R7).
//! 2. A look for a cancellation ends at the first shield, or at the exit inside which a region was entered. A look for a stop
//!    passes shields (R13).
//! 3. A look ends at a region that is quiet, and marks the regions on its way, so that a chain is walked once (R19).

use super::flags::{ATTENDED, CANCELLED, DOOMED, LEFT, SHELTERED, SHIELD, STOP, TIMED, UNWATCHED};
use super::node::Node;
use super::quiet;
use super::shortcut;
use super::shortcut::{Absent, Sought};
use super::walk;
use crate::reason::{Reason, ReasonKind};
use crate::sync::{Arc, Ordering, epoch};

/// Whether this region or one around it, up to a shield, is cancelled.
#[inline]
pub(crate) fn is_cancelled(node: &Node) -> bool {
    !quiet::is_quiet(node) && (node.has(CANCELLED) || is_cancelled_from_outside(node))
}

/// Whether this region itself was cancelled.
#[inline]
pub(crate) fn is_cancelled_itself(node: &Node) -> bool {
    node.has(CANCELLED)
}

#[cold]
fn is_cancelled_from_outside(node: &Node) -> bool {
    let now = epoch().load(Ordering::Acquire);
    let (before, flags) = (node.quiet.seen(), node.flags());
    {
        let inner = node.inner.lock();
        if inner.reason().is_some() || inner.dropped_for().is_some() {
            return true;
        }
    }
    let absent = if flags & (SHELTERED | SHIELD | LEFT) != 0 {
        Absent { seen: flags, ..Absent::default() }
    } else {
        match shortcut::nearest(node, Sought::Cancelled, now) {
            Ok(_) => return true,
            Err(absent) => absent,
        }
    };
    let mut seen = absent.seen;
    // Of the regions outside a shield, only a stop counts (invariant 2).
    if seen & SHIELD != 0 && is_stopped(absent.last.as_deref().unwrap_or(node)) {
        seen |= STOP;
    }
    // If an earlier walk has found nothing, it has seen a flag because of which no region here is quiet.
    if !absent.known && seen & (UNWATCHED | STOP) == 0 {
        quiet::quieten(node, before, now, seen & TIMED);
    }
    false
}

/// Whether the region itself was cancelled, by the request behind `reason`.
pub(super) fn is_cancelled_for(node: &Node, reason: &Reason) -> bool {
    node.has(CANCELLED) && node.inner.lock().reason().is_some_and(|own| own.is_of(reason))
}

/// Whether a region around this one, up to a shield, is cancelled as well: the outermost of them catches, and drops
/// this one (R9). An entered scope is not counted, because it has no body that it could drop; the runs inside it
/// have.
pub(super) fn is_caught_outside(node: &Node) -> bool {
    let both = CANCELLED | ATTENDED;
    let drops = |node: Arc<Node>| node.flags() & both == both;
    !node.has(SHELTERED | SHIELD | LEFT) && walk::around(node).any(drops)
}

/// Whether this region or one around it, through shields too, got a stop request.
pub(crate) fn is_stopped(region: &Node) -> bool {
    if region.has(STOP) {
        return true;
    }
    let now = epoch().load(Ordering::Acquire);
    if quiet::is_quiet_in(region, now) || region.has(SHELTERED | LEFT) {
        return false;
    }
    shortcut::nearest(region, Sought::Stopped, now).is_ok()
}

/// Whether a region around this one, up to a shield, is cancelled or has times. To be asked after `LEFT` was set: this region has
/// held that off, and the regions inside look again if it finds any.
///
/// If it finds none, no epoch begins. T1 sets `LEFT` and asks here; T2 cancels a region farther out and raises the epoch; T3
/// looks from inside in that epoch, and must see `LEFT`. So T1 changes the epoch's word too: either it then finds the
/// cancellation, or T2 and T3 have acquired `LEFT`.
pub(super) fn finds_event(region: &Node) -> bool {
    let now = epoch().fetch_add(0, Ordering::AcqRel);
    shortcut::nearest(region, Sought::Event, now).is_ok()
}

/// This region's own reason, else that of the nearest cancelled region around it, as seen from
/// here.
pub(crate) fn effective_reason(node: &Node) -> Option<Reason> {
    if quiet::is_quiet(node) {
        return None;
    }
    {
        let inner = node.inner.lock();
        let own = inner.reason().or_else(|| inner.dropped_for());
        if let Some(reason) = own {
            return Some(reason.clone());
        }
    }
    // A look that finds nothing marks the regions on its way (invariant 3), so that the regions of a chain that is dropped do not
    // each walk along all of it (R19).
    let ends_here = node.has(SHELTERED | SHIELD | LEFT) || is_found_quiet(node);
    if ends_here { None } else { reason_around(node) }
}

/// The reason of the nearest cancelled region around this one, up to the next shield. It is read where it is, and not kept here
/// (invariant 1).
pub(super) fn reason_around(region: &Node) -> Option<Reason> {
    let now = epoch().load(Ordering::Acquire);
    let cancelled = shortcut::nearest(region, Sought::Cancelled, now).ok()?;
    let inner = cancelled.inner.lock();
    let reason = inner.reason().or_else(|| inner.dropped_for());
    reason.map(|reason| reason.seen_as(ReasonKind::Parent))
}

/// The body of this region is about to be dropped by the code around it. If that is a cancellation, its reason is kept
/// here, where the regions inside find it at their first step outwards. Without that, each region of a chain that is
/// dropped would walk to the cancelled one (R19).
pub(super) fn doom(node: &Node) {
    let Some(reason) = effective_reason(node) else { return };
    let mut inner = node.inner.lock();
    inner.more().dropped_for.get_or_insert(reason);
    node.raise(&inner, DOOMED);
}

/// Whether nothing is cancelled or stopped here or around, and no region there has times that no run
/// watches.
pub(super) fn is_found_quiet(node: &Node) -> bool {
    quiet::is_quiet(node) || (!is_cancelled(node) && quiet::is_quiet(node))
}

/// The region has been entered. A look of before, from here or from a region inside, found nothing around
/// it; if there was none, no region has to look again.
pub(super) fn begin_epoch_if_seen(node: &Node) {
    if node.quiet.enter() || node.encloses.is_known() {
        begin_epoch_if_asked(node.parent().as_ref());
    }
}

/// The region has moved into `parent`.
pub(super) fn begin_epoch_if_asked(parent: Option<&Arc<Node>>) {
    if parent.is_some_and(|parent| is_cancelled(parent) || is_stopped(parent)) {
        quiet::begin_epoch();
    }
}
