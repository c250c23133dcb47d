//! Shortcuts: a walk outwards past more than a few regions leaves its end in every sixteenth farther out, for later walks (R19).
//!
//! There may be 10,000 regions inside each other. If each of them hands its exits over, or looks for the cancellation of the
//! outermost one, and each walks along all the others, the whole is quadratic.
//!
//! # Invariants
//!
//! 1. A shortcut counts only in the epoch in which it was left; one to a region that is held, in the moment; one to a setting,
//!    as long as the number of tidings is the same. A new epoch begins with each event that may put another region
//!    between its two ends, or change which region is the nearest: a region with others inside it that is moved, cancelled or
//!    stopped, a first time, and a shield that gives way or is left where that is an event for the regions inside. Another
//!    region that is left changes neither, if it is not the end itself.
//!    The end may be that there is no such region.
//! 2. A shortcut does not count if the region at its end was left, or is not of the kind that the walk seeks: then the walk goes
//!    on from the region with the shortcut.
//! 3. A shortcut stands only in a region with another one inside it, so that the move of that region begins an epoch.

use super::flags::{CANCELLED, DOOMED, HELD, LEFT, SHELTERED, SHIELD, SHORTCUT, STOP, TIMED};
use super::node::Node;
use super::walk;
use super::walk::live_parent;
use crate::sync::{Arc, EXPLORED, Ordering, epoch, tidings};

/// The number of regions past which a walk leaves shortcuts. The explorers of threads try chains of two regions.
pub(super) const FEW: usize = if EXPLORED { 0 } else { 8 };

/// One of so many regions gets a shortcut: the first look after a cancellation would otherwise allocate in each region of a chain.
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
    fn is_found_in(self, node: &Node) -> bool {
        match self {
            Sought::Cancelled => node.has(CANCELLED | DOOMED),
            Sought::Stopped => node.has(STOP),
            Sought::Held => node.has(HELD),
            Sought::Event => node.has(CANCELLED | DOOMED | TIMED),
            Sought::Host | Sought::Clock | Sought::Patience => true,
        }
    }
}

/// The result of a visit of a region by a walk.
pub(super) enum Found {
    /// The region that it seeks.
    It,
    /// The walk ends here without it.
    Nothing,
    /// The region is farther out, if there is one, and a shortcut from here leads to it.
    FartherOut,
}

/// The end of a walk.
pub(super) enum End {
    /// The region that it seeks.
    At(Arc<Node>),
    /// There is none.
    None {
        passed: Passed,
        /// Whether an earlier walk has found that.
        known: bool,
    },
}

/// The regions that a walk has passed. Every sixteenth beyond the first few is kept, to get a shortcut when the end is known.
pub(super) struct Passed {
    until_next: usize,
    kept: Vec<Arc<Node>>,
}

impl Default for Passed {
    fn default() -> Self {
        Passed { until_next: FEW, kept: Vec::new() }
    }
}

impl Passed {
    #[inline]
    fn add(&mut self, node: &Arc<Node>) {
        if self.until_next == 0 {
            self.kept.push(Arc::clone(node));
            self.until_next = APART;
        }
        self.until_next -= 1;
    }

    /// Leaves a shortcut to `end` in the regions that are kept; `None` if the walk has found nothing.
    pub(super) fn leave(self, sought: Sought, now: u64, end: Option<&Arc<Node>>) {
        for node in self.kept {
            let old = {
                let mut inner = node.inner.lock();
                node.raise(&inner, SHORTCUT);
                inner.shortcuts().ends[sought as usize].replace((now, end.map(Arc::downgrade)))
            };
            drop(old);
        }
    }
}

/// Walks outwards from `region` until `visit` finds the region that is sought, or an earlier walk has found it, or that there
/// is none.
pub(super) fn seek(
    region: &Node,
    sought: Sought,
    now: u64,
    mut visit: impl FnMut(&Node) -> Found,
) -> End {
    let (mut at, mut passed) = (live_parent(region), Passed::default());
    let found = loop {
        let Some(node) = at else { return End::None { passed, known: false } };
        match visit(&node) {
            Found::It => break node,
            Found::Nothing => return End::None { passed, known: false },
            Found::FartherOut => {}
        }
        match stored(&node, sought, now) {
            Some(None) => return End::None { passed, known: true },
            Some(Some(end)) => {
                walk::step();
                if !end.has(LEFT) && sought.is_found_in(&end) {
                    break end;
                }
            }
            None => {}
        }
        passed.add(&node);
        at = live_parent(&node);
    };
    passed.leave(sought, now, Some(&found));
    End::At(found)
}

/// The setting of the nearest region that has it: `region`, or a region around it, even if that was left.
pub(super) fn setting<A>(
    region: &Node,
    sought: Sought,
    read: impl Fn(&Node) -> Option<A>,
) -> Option<A> {
    let own = read(region);
    if own.is_some() {
        return own;
    }
    // The regions around change with an event of this number, and a setting does not change after the entry.
    let now = tidings().load(Ordering::Acquire);
    let (mut at, mut passed) = (region.parent(), Passed::default());
    let end = loop {
        let Some(node) = at else { break None };
        walk::step();
        if let Some(end) = stored(&node, sought, now) {
            break end;
        }
        if read(&node).is_some() {
            break Some(node);
        }
        passed.add(&node);
        at = node.parent();
    };
    passed.leave(sought, now, end.as_ref());
    end.and_then(|node| read(&node))
}

/// The nearest region around this one, up to the next shield, that is cancelled.
pub(super) fn nearest_cancelled(region: &Node) -> Option<Arc<Node>> {
    let now = epoch().load(Ordering::Acquire);
    let end = seek(region, Sought::Cancelled, now, |node| match node.flags() {
        flags if flags & (CANCELLED | DOOMED) != 0 => Found::It,
        flags if flags & (SHELTERED | SHIELD) != 0 => Found::Nothing,
        _ => Found::FartherOut,
    });
    match end {
        End::At(node) => Some(node),
        End::None { .. } => None,
    }
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
    let (mut at, mut passed) = (live_parent(region), Passed::default());
    while let Some(node) = at.take_if(|node| node.is_entered_by_call()) {
        walk::step();
        at = match stored(&node, Sought::Host, now) {
            Some(Some(host)) if host.has(LEFT) => live_parent(&host),
            Some(host) => host,
            None => live_parent(&node),
        };
        passed.add(&node);
    }
    passed.leave(Sought::Host, now, at.as_ref());
    at
}

/// The end of the last walk from this region in the epoch `now`: that there was no such region, or the region. `None` if there
/// was no walk, or its end is gone.
fn stored(node: &Node, sought: Sought, now: u64) -> Option<Option<Arc<Node>>> {
    if !node.has(SHORTCUT) {
        return None;
    }
    let inner = node.inner.lock();
    let (epoch, end) = inner.rest_seen()?.shortcuts.as_ref()?.ends[sought as usize].as_ref()?;
    if *epoch != now {
        return None;
    }
    match end {
        Some(end) => Some(Some(end.upgrade()?)),
        None => Some(None),
    }
}
