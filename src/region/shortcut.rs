//! Shortcuts: a walk outwards past more than a few regions leaves its end in every sixteenth region, for later walks (R19).
//!
//! There may be 10,000 regions inside each other. If each of them hands its exits over, or looks for the cancellation of the
//! outermost one, and each walks along all the others, the whole is quadratic.
//!
//! # Invariants
//!
//! 1. A shortcut counts only in the epoch in which it was left; a shortcut to a region that is held, in the
//!    [moment](super::request); a shortcut to a setting, as long as the number of tidings is the same. The end of a walk may be
//!    that there is no such region.
//!
//!    A new epoch begins with each event that may put another region between the two ends, or change which region is the
//!    nearest. The events are: a region that has regions inside it is moved, cancelled or stopped; a region gets its first time;
//!    a shield gives way, or is left and a cancellation or a time outside it counts inside from then on. The end of any other
//!    region changes nothing, unless the shortcut leads to that region.
//! 2. A shortcut does not count if the region at its end was left, or is not of the kind that the walk seeks any more: then the
//!    walk goes on from the region with the shortcut.
//! 3. A shortcut stands only in a region with another one inside it, so that the move of that region begins an epoch.

use super::flags::{
    CANCELLED, DOOMED, HELD, LEFT, SHELTERED, SHIELD, SHORTCUT, STOP, TIMED, UNWATCHED,
};
use super::node::Node;
use super::quiet;
use super::walk;
use super::walk::{live_parent, parent_in_exit};
use crate::sync::{Arc, EXPLORED, Ordering, epoch, tidings};
use std::cell::Cell;

/// The number of regions past which a walk leaves shortcuts. The explorers of threads try chains of two regions.
pub(super) const FEW: usize = if EXPLORED { 0 } else { 8 };

/// One of so many regions gets a shortcut, because the first look after a cancellation would otherwise allocate in each region of
/// a chain.
const APART: usize = if EXPLORED { 1 } else { 16 };

/// The kind of region that a walk seeks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// A region that may have a run.
    Host,
    /// A region that is cancelled, up to a shield.
    Cancelled,
    /// A region that was asked to stop.
    Stopped,
    /// A region that is cancelled or has times, up to a shield.
    Event,
    /// A region that keeps its body for a shield.
    Held,
    /// A region that was given a clock.
    Clock,
    /// A task that was given a patience with shields.
    Patience,
}

impl Sought {
    /// The flags of a region that is sought, and those of a region at which a walk ends without one.
    fn flags(self) -> (u32, u32) {
        match self {
            Sought::Cancelled => (CANCELLED | DOOMED, SHELTERED | SHIELD),
            Sought::Stopped => (STOP, SHELTERED),
            Sought::Event => (CANCELLED | DOOMED | TIMED, SHELTERED | SHIELD),
            Sought::Held => (HELD, SHELTERED | SHIELD),
            Sought::Host | Sought::Clock | Sought::Patience => (0, 0),
        }
    }

    /// Whether the end of an earlier walk is still such a region (invariant 2). A setting stays where it is.
    fn is_found_in(self, node: &Node) -> bool {
        match self {
            Sought::Clock | Sought::Patience => true,
            Sought::Host => !node.has(LEFT),
            _ => !node.has(LEFT) && node.has(self.flags().0),
        }
    }
}

/// The end of a walk that has found no such region.
#[derive(Default)]
pub(super) struct Absent {
    /// Whether that was known from an earlier walk.
    pub(super) known: bool,
    /// The flags of this region and of those on the way.
    pub(super) seen: u32,
    /// The region at which the walk has ended, if it was not the outermost one.
    pub(super) last: Option<Arc<Node>>,
}

/// The nearest region around this one with the flags that are sought. `now` is the number of events that counts for `sought`.
pub(super) fn nearest(region: &Node, sought: Sought, now: u64) -> Result<Arc<Node>, Absent> {
    let (is_it, ends) = sought.flags();
    let (seen, mut last) = (Cell::new(region.flags()), None);
    // A look for a cancellation that finds none marks the regions as quiet instead, unless one of these flags forbids it.
    let leaves_none =
        || sought != Sought::Cancelled || seen.get() & (UNWATCHED | STOP | SHIELD) != 0;
    let found = seek(region, sought, now, parent_in_exit, leaves_none, |node| {
        // Read before the flags, because a quiet region is marked `TIMED` before it is marked quiet.
        let quiet = quiet::is_quiet_in(node, now);
        let flags = node.flags();
        if flags & is_it != 0 {
            return Some(true);
        }
        seen.set(seen.get() | flags);
        let is_last = quiet || flags & ends != 0;
        is_last.then(|| {
            last = Some(Arc::clone(node));
            false
        })
    });
    found.map_err(|known| Absent { known, seen: seen.get(), last })
}

/// Walks outwards from `region` by `next` until `visit` has an answer: whether it is the region that is sought, or the walk ends
/// without one. If it ends without one, the error tells whether an earlier walk had found that already.
///
/// The end of the walk is left in every sixteenth region beyond the first few. A walk that has found no such region leaves that
/// only if an earlier walk had found it, or if `leaves_none` returns `true`.
fn seek(
    region: &Node,
    sought: Sought,
    now: u64,
    next: impl Fn(&Node) -> Option<Arc<Node>>,
    leaves_none: impl FnOnce() -> bool,
    mut visit: impl FnMut(&Arc<Node>) -> Option<bool>,
) -> Result<Arc<Node>, bool> {
    let (mut passed, mut until_next) = (Vec::new(), FEW);
    let (mut at, mut known) = (next(region), false);
    let end = loop {
        let Some(node) = at else { break None };
        if let Some(is_it) = visit(&node) {
            break is_it.then_some(node);
        }
        match stored(&node, sought, now) {
            Some(Some(end)) => {
                walk::step();
                if sought.is_found_in(&end) {
                    break Some(end);
                }
            }
            Some(None) => {
                known = true;
                break None;
            }
            None => {}
        }
        at = next(&node);
        if until_next == 0 {
            passed.push(node);
            until_next = APART;
        }
        until_next -= 1;
    };
    if end.is_none() && !known && !leaves_none() {
        return Err(known);
    }
    // Each of them is around the region before it on the walk (invariant 3).
    for node in passed {
        let old = {
            let mut inner = node.inner.lock();
            node.raise(&inner, SHORTCUT);
            inner.shortcuts().ends[sought as usize].replace((now, end.as_ref().map(Arc::downgrade)))
        };
        drop(old);
    }
    end.ok_or(known)
}

/// The setting of the nearest region that has it: `region`, or a region around it, even if that was left.
pub(super) fn setting<A>(
    region: &Node,
    sought: Sought,
    read: impl Fn(&Node) -> Option<A>,
) -> Option<A> {
    read(region).or_else(|| {
        // The regions around change with an event of this number, and a setting does not change after the entry.
        let now = tidings().load(Ordering::Acquire);
        let parent = |node: &Node| {
            walk::step();
            node.parent()
        };
        let has_it = |node: &Arc<Node>| read(node).is_some().then_some(true);
        seek(region, sought, now, parent, || true, has_it).ok().and_then(|node| read(&node))
    })
}

/// Offers `value` to the live regions around this one, nearest first, until one takes it. `give` hands it back if
/// the region does not.
pub(super) fn offer<T>(
    region: &Node,
    mut value: T,
    mut give: impl FnMut(&Node, T) -> Result<(), T>,
) -> Result<Arc<Node>, T> {
    let mut at = host_around(region);
    while let Some(node) = at {
        match give(&node, value) {
            Ok(()) => return Ok(node),
            Err(back) => value = back,
        }
        at = host_around(&node);
    }
    Err(value)
}

/// The nearest live region around this one that may have a run: it is not a scope that was entered by a call.
fn host_around(region: &Node) -> Option<Arc<Node>> {
    let now = epoch().load(Ordering::Acquire);
    let may_have_run = |node: &Arc<Node>| (!node.is_entered_by_call()).then_some(true);
    seek(region, Sought::Host, now, live_parent, || true, may_have_run).ok()
}

/// The end of the last walk from this region in the epoch `now`: that there was no such region, or the region. `None` if there
/// was no walk, or its end is gone.
fn stored(node: &Node, sought: Sought, now: u64) -> Option<Option<Arc<Node>>> {
    if !node.has(SHORTCUT) {
        return None;
    }
    let inner = node.inner.lock();
    let (epoch, end) = inner.rest_seen()?.shortcuts.as_ref()?.ends[sought as usize].as_ref()?;
    // Invariant 1.
    if *epoch != now {
        return None;
    }
    match end {
        Some(end) => Some(Some(end.upgrade()?)),
        None => Some(None),
    }
}
