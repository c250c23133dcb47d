//! Shields, as the regions around them see them (R12).
//!
//! # Invariants
//!
//! 1. A shield is linked when it is entered, so that a cancelled region around it can wake it to see whether it is polled.
//! 2. `HELD` is set while a cancelled region keeps its body for a shield: the children of the groups inside are cancelled by
//!    then, and a group that is linked later finds `HELD` by its look.
//! 3. When a shield gives way, the regions around it are no longer held until a poll shows that another shield holds them.

use super::flags::{ATTENDED, HELD, LEFT, ON_EXECUTOR, REWAKE, SHELTERED, SHIELD};
use super::kind::Kind;
use super::node::Node;
use super::quiet;
use super::request;
use super::request::{Delivery, Signal};
use super::shortcut;
use super::shortcut::Sought;
use super::walk;
use crate::reason::{Reason, ReasonKind};
use crate::sync::{Arc, Weak};
use crate::wakers::{Taken, wake_all};
use std::time::Duration;

/// The links of each region that the first round of a search for a shield looks at.
const AT_FIRST: usize = 8;

/// The default of the time that a cancelled region waits for a shield that it has woken.
const SHIELD_PATIENCE: Duration = Duration::from_millis(100);

pub(crate) fn set_shielded(node: &Node) {
    node.lock_and_raise(SHIELD);
}

pub(crate) fn set_shield_patience(node: &Node, patience: Duration) {
    node.inner.lock().rest().times.patience = Some(patience);
}

/// The patience of the nearest region around for which one was set.
pub(super) fn shield_patience(region: &Node) -> Duration {
    let set = |node: &Node| node.inner.lock().rest_seen().and_then(|rest| rest.times.patience);
    shortcut::setting(region, Sought::Patience, set).unwrap_or(SHIELD_PATIENCE)
}

/// Records that the body of this cancelled region waits for a shield inside. Only the body waits for the shield, so
/// the children of the groups inside are cancelled now (R12, invariant 2).
pub(super) fn hold(node: &Node) {
    let mut below = Delivery::default();
    {
        let inner = node.inner.lock();
        node.raise(&inner, HELD);
        request::note_tidings(&inner);
        if let Some(reason) = inner.reason() {
            below.add(&inner, &Signal::Shielded(reason.seen_as(ReasonKind::Parent)));
        }
    }
    request::deliver(Taken::default(), below);
}

/// Whether there is a shield below that a poll of this region may reach.
///
/// The search looks at a few links of each region first, and at eight times as many in each further round: a region with 10,000
/// scopes inside, each with a shield, looks into the first few of them in each poll (R19).
pub(super) fn has_shield_below(node: &Node) -> bool {
    let mut rounds = std::iter::successors(Some(AT_FIRST), |most| Some(most.saturating_mul(8)));
    rounds.find_map(|most| search_below(node, most, is_polled, |_| ())).unwrap_or(false)
}

/// Wakes the shields below, to find out which of them are polled.
pub(super) fn wake_shields_below(node: &Node) {
    let mut wakers = Vec::new();
    let take_waker = |node: &Node| {
        let mut inner = node.inner.lock();
        let Some(waker) = inner.waker.take_if(|_| is_polled(node)) else { return };
        node.raise(&inner, REWAKE);
        wakers.push(waker);
    };
    search_below(node, usize::MAX, |_| false, take_waker);
    wake_all(wakers);
}

/// Whether it is a shield that a poll may reach. An entered scope shields nothing itself: its stays do.
fn is_polled(node: &Node) -> bool {
    node.has(SHIELD) && node.has(ATTENDED)
}

/// Calls `visit` for the regions below until one is found for which `is_it` returns `true`; returns whether one was found, or
/// `None` if a region has more than `most` links. The region's own children and the regions inside an executor child are left
/// out, because a poll of the body does not reach them.
fn search_below(
    region: &Node,
    most: usize,
    is_it: impl Fn(&Node) -> bool,
    mut visit: impl FnMut(&Node),
) -> Option<bool> {
    let mut below = Vec::new();
    let is_no_child = |node: &Node| node.kind != Kind::Child && is_it(node);
    let mut found = list_below(region, most, &mut below, is_no_child);
    below.retain(|node| node.kind != Kind::Child);
    while let (Some(false) | None, Some(node)) = (found, below.pop()) {
        if node.has(ON_EXECUTOR) {
            continue;
        }
        visit(&node);
        let is_reached = |node: &Node| !node.has(ON_EXECUTOR) && is_it(node);
        match list_below(&node, most, &mut below, is_reached) {
            Some(false) => {}
            other => found = other,
        }
    }
    found
}

/// Adds the first `most` regions that are linked directly below to `below`, as far as the first for which `is_it` returns
/// `true`; returns whether there is one, or `None` if more regions are linked. `is_it` runs under the lock.
fn list_below(
    region: &Node,
    most: usize,
    below: &mut Vec<Arc<Node>>,
    is_it: impl Fn(&Node) -> bool,
) -> Option<bool> {
    let inner = region.inner.lock();
    let mut links = inner.links();
    let found = links.by_ref().take(most).filter_map(Weak::upgrade).any(|node| {
        walk::step();
        let found = is_it(&node);
        // Kept until the lock is released, because the reference may be the last one.
        below.push(node);
        found
    });
    if found || links.next().is_none() { Some(found) } else { None }
}

/// The reason of the nearest region around, up to a shield, that is cancelled and keeps its body for another
/// shield.
pub(super) fn held_around(region: &Node) -> Option<Reason> {
    if region.has(SHELTERED | SHIELD | LEFT) {
        return None;
    }
    let held = shortcut::nearest(region, Sought::Held, request::moment()).ok()?;
    let inner = held.inner.lock();
    inner.reason().map(|reason| reason.seen_as(ReasonKind::Parent))
}

/// The grace of a shield is over: a cancellation around it counts inside from now on (R12).
pub(super) fn give_way(region: &Arc<Node>) {
    region.lock_and_lower(SHIELD);
    quiet::begin_epoch();
    // `HELD` is cleared on the regions around (invariant 3). If another shield holds one of them, its next poll sets the flag
    // again, and the signal then reaches the regions inside this shield as well.
    for node in walk::around(region).filter(|node| node.has(HELD)) {
        node.lock_and_lower(HELD);
    }
    request::look_again_unless_quiet(region);
}
