//! Shields, as the regions around them see them (R12).
//!
//! # Invariants
//!
//! 1. A shield is linked when it is entered, so that a cancelled region around it can wake it to see whether it is polled.
//! 2. `HELD` is set while a cancelled region keeps its body for a shield: the children of the groups inside are cancelled by
//!    then, and a group that is linked later finds `HELD` by its look.
//! 3. When a shield gives way, the regions around it are no longer held until a poll shows that another shield holds them.

use super::flags::{AFAR, ATTENDED, HELD, LEFT, REWAKE, SHELTERED, SHIELD};
use super::kind::Kind;
use super::node::{Inner, Node};
use super::quiet;
use super::request;
use super::request::{Delivery, Signal};
use super::walk;
use crate::reason::{Reason, ReasonKind};
use crate::sync::{Arc, Weak};
use crate::wakers::{Taken, wake_all};
use std::time::Duration;

/// The default of the time that a cancelled region waits for a shield that it has woken.
const SHIELD_PATIENCE: Duration = Duration::from_millis(100);

pub(crate) fn set_shielded(node: &Node) {
    let inner = node.inner.lock();
    node.raise(&inner, SHIELD);
}

pub(crate) fn set_shield_patience(node: &Node, patience: Duration) {
    node.inner.lock().rest().times.patience = Some(patience);
}

/// The patience of the nearest region around for which one was set.
pub(super) fn shield_patience(region: &Node) -> Duration {
    let set = |node: &Node| node.inner.lock().rest_seen().and_then(|rest| rest.times.patience);
    walk::find(region, set).unwrap_or(SHIELD_PATIENCE)
}

/// Records that the body of this cancelled region waits for a shield inside. Only the body waits for the shield, so
/// the children of the groups inside are cancelled now (R12).
pub(super) fn hold(node: &Node) {
    let mut below = Delivery::default();
    {
        let inner = node.inner.lock();
        node.raise(&inner, HELD);
        if let Some(reason) = inner.reason() {
            below.add(&inner, &Signal::Held(reason.seen_as(ReasonKind::Parent)));
        }
    }
    request::deliver(Taken::default(), below);
}

/// Whether there is a shield below that a poll of this region may reach.
pub(super) fn has_shield_below(node: &Node) -> bool {
    any_shield_below(node, |_, _| true)
}

/// Wakes the shields below, to find out which of them are polled.
pub(super) fn wake_shields_below(node: &Node) {
    let mut wakers = Vec::new();
    any_shield_below(node, |shield, inner| {
        if let Some(waker) = inner.waker.take() {
            shield.raise(inner, REWAKE);
            wakers.push(waker);
        }
        false
    });
    wake_all(wakers);
}

/// Searches for a shield for which `is_it` returns `true`; `is_it` runs under the shield's lock. The region's own
/// children and the regions inside an executor child are left out, because a poll of the body does not reach them.
/// An entered scope is left out as well, because it shields nothing itself: its stays do.
fn any_shield_below(region: &Node, mut is_it: impl FnMut(&Node, &mut Inner) -> bool) -> bool {
    let mut below: Vec<_> = region.inner.lock().links().filter_map(Weak::upgrade).collect();
    below.retain(|node| node.kind != Kind::Child);
    while let Some(node) = below.pop() {
        if node.has(AFAR) {
            continue;
        }
        let mut inner = node.inner.lock();
        if node.has(SHIELD) && node.has(ATTENDED) && is_it(&node, &mut inner) {
            return true;
        }
        below.extend(inner.links().filter_map(Weak::upgrade));
    }
    false
}

/// The reason of the nearest region around, up to a shield, that is cancelled and keeps its body for another
/// shield.
pub(super) fn held_around(region: &Node) -> Option<Reason> {
    if region.has(SHELTERED | SHIELD | LEFT) {
        return None;
    }
    let held = walk::around(region).find(|node| node.has(HELD))?;
    let inner = held.inner.lock();
    inner.reason().map(|reason| reason.seen_as(ReasonKind::Parent))
}

/// The grace of a shield is over: a cancellation around it counts inside from now on (R12).
pub(super) fn give_way(region: &Arc<Node>) {
    // The shield of a stay is that of its scope.
    for node in [region, &walk::scope_of(region)] {
        let inner = node.inner.lock();
        node.lower(&inner, SHIELD);
    }
    quiet::begin_epoch();
    // `HELD` is cleared on the regions around. If another shield holds one of them, its next poll sets the flag
    // again, and the signal then reaches the regions inside this shield as well.
    for node in walk::around(region).filter(|node| node.has(HELD)) {
        let inner = node.inner.lock();
        node.lower(&inner, HELD);
    }
    request::look(region);
}
