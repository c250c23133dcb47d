//! The earliest time around a region.
//!
//! A wait depends on the time around it that comes first. 10,000 regions inside each other may each have a deadline and a
//! wait, so a walk past more than a few regions leaves in each one farther out the time that comes first from there outwards
//! (R19).
//!
//! # Invariants
//!
//! 1. Such a time counts as long as the number of [tidings](crate::sync::tidings) is that of the walk. Each event that may
//!    add a time around a region, or a region that has one, raises the number after it has happened. A change of a deadline
//!    that is no news for the waits raises nothing: either no walk has read the deadline since the last change that was news, or
//!    the deadline is put off, which is the case of invariant 2.
//! 2. An event that only takes a time away, such as the end of a region or a cancellation, raises nothing. So the time that a
//!    walk has left does not count if its region has another time by now: then the later walk goes on outwards.
//! 3. The regions up to the next one that was given a clock are one *stretch*, because times of two clocks cannot be compared.
//! 4. A time is left only in a region with another one inside it, so that the move of that region raises the number.

use crate::region::flags::{ENTERED, LEFT, SHELTERED, SHIELD, SHORTCUT};
use crate::region::node::{First, Node};
use crate::region::shortcut::FEW;
use crate::region::time::{Times, next_due};
use crate::region::walk;
use crate::sync::{Arc, Ordering, Weak, tidings};
use std::time::Instant;

/// The earliest time of a stretch, from one of its regions outwards, with its region; and the region with the clock, if the walk
/// outwards goes on there.
#[derive(Clone, Default)]
struct Stretch {
    first: Option<(Instant, Arc<Node>)>,
    clocked: Option<Arc<Node>>,
}

impl Stretch {
    /// A region nearer than those so far has the time `due`, if it has one. Of two times at one instant the nearer one counts.
    fn begins_with(&mut self, due: Option<Instant>, node: &Arc<Node>) {
        let is_first = |due: &Instant| self.first.as_ref().is_none_or(|(first, _)| due <= first);
        if let Some(due) = due.filter(is_first) {
            self.first = Some((due, Arc::clone(node)));
        }
    }
}

/// The earliest of these times of each stretch, the nearest first: of `region` and the regions around it, up to a shield.
pub(in crate::region) fn earliest(
    region: &Arc<Node>,
    times: Times,
) -> impl Iterator<Item = (Instant, Arc<Node>)> {
    let mut at = (!region.has(LEFT)).then(|| Arc::clone(region));
    let stretches = std::iter::from_fn(move || {
        let Stretch { first, clocked } = stretch(&at.take()?, times);
        at = clocked.filter(|node| !node.has(SHELTERED | SHIELD));
        at = at.take().and_then(|node| walk::parent_in_exit(&node));
        Some(first)
    });
    stretches.flatten()
}

/// Whether a time around `region`, by the clock that is nearest there, has come by `now`.
pub(super) fn has_come_around(region: &Node, now: Instant) -> bool {
    let first = walk::parent_in_exit(region).and_then(|around| stretch(&around, Times::All).first);
    first.is_some_and(|(due, _)| due <= now)
}

fn stretch(from: &Arc<Node>, times: Times) -> Stretch {
    let number = tidings().load(Ordering::Acquire);
    let (mut found, mut passed) = (Stretch::default(), Vec::new());
    let mut at = Some(Arc::clone(from));
    while let Some(node) = at.take() {
        if let Some(known) = known(&node, number, times) {
            found = known;
            break;
        }
        // The stretch ends here (invariant 3).
        if node.is_clocked() && node.given_clock().is_some() {
            found.clocked = Some(Arc::clone(&node));
        } else if !node.has(SHELTERED | SHIELD) {
            at = walk::parent_in_exit(&node);
        }
        let due = due(&node, times);
        passed.push((node, due));
    }
    for (place, (node, due)) in passed.into_iter().enumerate().rev() {
        found.begins_with(due, &node);
        // The first few regions, and `from` itself, get none (invariant 4).
        if place > FEW.saturating_sub(1) {
            remember(&node, number, times, &found);
        }
    }
    found
}

/// The next time of a region. A stay has those of its scope.
fn due(node: &Arc<Node>, times: Times) -> Option<Instant> {
    // The times of a region begin with its entry.
    if node.has(ENTERED) { next_due(&walk::scope_of(node), times) } else { None }
}

/// The end of an earlier walk from this region, if it still counts.
fn known(node: &Node, number: u64, times: Times) -> Option<Stretch> {
    if node.flags() & (SHORTCUT | LEFT) != SHORTCUT {
        return None;
    }
    let (first, clocked) = {
        let inner = node.inner.lock();
        let known = inner.rest_seen()?.shortcuts.as_ref()?.first.as_ref()?;
        // Invariant 1.
        if known.number != number || known.times != times {
            return None;
        }
        let first = known.first.as_ref().map(|(due, node)| (*due, node.upgrade()));
        (first, known.clocked.as_ref().map(Weak::upgrade))
    };
    // References are dropped after the lock, because each may be the last one.
    let first = match first {
        Some((due, node)) => Some((due, node?)),
        None => None,
    };
    let clocked = match clocked {
        Some(node) => Some(node?),
        None => None,
    };
    walk::step();
    // Invariant 2.
    let as_it_was = first.as_ref().is_none_or(|(first, node)| due(node, times) == Some(*first));
    let counts = as_it_was && clocked.as_ref().is_none_or(|node| !node.has(LEFT));
    counts.then_some(Stretch { first, clocked })
}

fn remember(node: &Arc<Node>, number: u64, times: Times, found: &Stretch) {
    let first = found.first.as_ref().map(|(due, node)| (*due, Arc::downgrade(node)));
    let clocked = found.clocked.as_ref().map(Arc::downgrade);
    let old = {
        let mut inner = node.inner.lock();
        node.raise(&inner, SHORTCUT);
        inner.shortcuts().first.replace(First { number, times, first, clocked })
    };
    drop(old);
}
