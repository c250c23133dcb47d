//! The links through which a cancellation reaches other regions (R7, invariant 5 of the room).
//!
//! # Invariants
//!
//! 1. A link is weak. A region is linked in the nearest region around that can be cancelled, which a walk finds again when the
//!    link is removed. Keys are reused, so code that removes a key checks that it still holds the same region.
//! 2. `LINKED` and the key change together, under the lock of the region that is linked; a region that is left keeps `LINKED`,
//!    and no other code links it again. The region around is locked before, for the key, and not at the same time; if it was left
//!    in between, the link is taken back.
//! 3. A region that is left passes its links on: each region below is linked in the next region around.
//! 4. `TOP` means that no region around can be cancelled, so that the region need not look for one.

use super::flags::{
    ATTENDED, BELOW, CANCELLED, LEFT, LINKED, ON_EXECUTOR, ROOT, SHELTERED, STAY, STOP, TOP,
};
use super::keyed::Keyed;
use super::node::{Inner, NO_KEY, Node};
use super::request;
use super::walk;
use crate::sync::{Arc, Ordering, Weak};

/// The links of a region that is left: its own key outwards, and the regions below it.
pub(super) struct Links {
    up: Option<u32>,
    down: Below,
}

/// The regions that are linked in another one.
struct Below {
    first: Option<Weak<Node>>,
    further: Option<Box<Keyed<Weak<Node>>>>,
}

impl Below {
    fn take(inner: &mut Inner) -> Self {
        let further = inner.more.as_mut().and_then(|more| more.links.take());
        Below { first: inner.first_link.take(), further }
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.further.is_none()
    }

    fn into_nodes(self) -> impl Iterator<Item = Arc<Node>> {
        let further = self.further.into_iter().flat_map(|further| further.into_values());
        self.first.into_iter().chain(further).filter_map(|below| below.upgrade())
    }
}

/// Links the region outwards, so that every cancellation around it reaches it (invariant 5 of
/// the room). For a region whose waiters look after this call; a group in a cancelled region is told to look.
pub(crate) fn link_up(region: &Arc<Node>) {
    let (farther, finds) = link_each(region);
    // T1, a waiter on a region in between, sees `LINKED` there, registers and looks; T2 cancels a region farther out, and
    // does not find the link that this thread, T3, makes after that. So T3 looks from its outermost link down.
    if finds || farther.is_some() {
        request::look_again_unless_quiet(farther.as_ref().unwrap_or(region));
    }
}

/// As [`link_up`], for a region that may have waiters already: they look again, even if another thread has linked the region
/// meanwhile for a waiter of its own.
pub(super) fn link_up_and_look(region: &Arc<Node>) {
    request::look_again_unless_quiet(link_each(region).0.as_ref().unwrap_or(region));
}

/// Returns the outermost region that was linked, unless that is `region`; and whether one was linked, and a region around may be
/// cancelled.
fn link_each(region: &Arc<Node>) -> (Option<Arc<Node>>, bool) {
    let mut at = None::<Arc<Node>>;
    let (mut farther, mut linked, mut finds) = (None, false, false);
    loop {
        let node = at.as_ref().unwrap_or(region);
        let flags = node.flags();
        if flags & (SHELTERED | TOP | LEFT) != 0 {
            break;
        }
        if is_linked_up_by(flags) {
            finds = true;
            break;
        }
        let Some(around) = walk::cancellable_around(node) else { break };
        if flags & LINKED != 0 {
            // A stay is linked from the start, before there was a waiter for events above it.
            at = Some(around);
            continue;
        }
        // If that region was left meanwhile, the next one is tried.
        if link(&around, node) {
            // Read after the link: a later cancellation finds the link.
            finds |= around.has(CANCELLED);
            farther = at.replace(around);
            linked = true;
        }
    }
    (farther, linked && finds)
}

/// Whether it need not be linked: nothing around it can be cancelled, or it is linked, and every region above it is linked too
/// or is being linked. So it is after [`link_up`], and for a child, because a group with children links itself.
pub(super) fn is_linked_up(node: &Node) -> bool {
    let flags = node.flags();
    flags & TOP != 0 || is_linked_up_by(flags)
}

fn is_linked_up_by(flags: u32) -> bool {
    flags & (LINKED | STAY) == LINKED
}

/// Links the region `below` in this one, so that a cancellation or a stop reaches it; `false` if this
/// region was left.
pub(super) fn link(node: &Arc<Node>, below: &Arc<Node>) -> bool {
    let key = {
        let mut inner = node.inner.lock();
        if node.has(LEFT) {
            return false;
        }
        inner.add_link(Arc::downgrade(below))
    };
    let linked = {
        let inner = below.inner.lock();
        // Between the two locks this region may have been left, and have passed its links on:
        // then no thread would move this link any more (invariant 2).
        let left = node.has(LEFT);
        let ours = !left && !below.has(LINKED | LEFT);
        if ours {
            below.link_key.store(key, Ordering::Relaxed);
            below.raise(&inner, LINKED);
        }
        if left { None } else { Some(ours) }
    };
    if linked != Some(true) {
        // Another thread has linked `below` first, or one of the two regions was left.
        drop_link(below, Some(node), Some(key));
    }
    linked.is_some()
}

/// Links a new child or stay in its region, and gives it the requests that the region got before.
pub(super) fn put_into(node: Arc<Node>, parent: &Arc<Node>) -> Arc<Node> {
    link(parent, &node);
    // A parent that has left is asked too, because a group that was abandoned has a reason for a child that
    // comes late.
    if parent.has(CANCELLED | STOP | BELOW) {
        request::catch_up(parent, &node);
    }
    if node.has(ON_EXECUTOR) && may_link_up(parent) {
        // The run of the group, which links it as well, may not be polled before a cancellation around it (R12).
        link_up(parent);
    }
    node
}

/// Takes the region's key out of its node. The caller has to pass it to [`drop_link`], outside the lock.
pub(super) fn take_link(node: &Node, _locked: &Inner) -> Option<u32> {
    let key = node.link_key.load(Ordering::Relaxed);
    node.link_key.store(NO_KEY, Ordering::Relaxed);
    (key != NO_KEY).then_some(key)
}

/// Removes the region from the links of `around`, the region in which it was linked at `key`. After `around` was left, the key
/// may belong to another region, which stays (invariant 1).
pub(super) fn drop_link(node: &Arc<Node>, around: Option<&Arc<Node>>, key: Option<u32>) {
    if let (Some(around), Some(key)) = (around, key) {
        let link = around.inner.lock().remove_link(key, node);
        drop(link);
    }
}

/// Whether there is a region around it in which it may be linked and is not. A root has none around it, nor has a region with
/// `TOP` (invariant 4), and a region that is entered in an exit is sheltered.
#[inline]
pub(crate) fn may_link_up(node: &Node) -> bool {
    !node.has(LINKED | ROOT | SHELTERED | TOP)
}

/// Whether it is among the links of another region. To be asked under its lock.
pub(super) fn has_link(node: &Node) -> bool {
    node.link_key.load(Ordering::Relaxed) != NO_KEY
}

/// Takes all links of a region that was left, which gets no others.
pub(super) fn take_links(node: &Node, inner: &mut Inner) -> Links {
    Links { up: take_link(node, inner), down: Below::take(inner) }
}

/// Removes a region that was left from the links of the region around, and links the regions below it there (invariant 3).
pub(super) fn unlink(node: &Arc<Node>, Links { up, down }: Links) {
    if up.is_some() {
        drop_link(node, walk::cancellable_around(node).as_ref(), up);
    }
    if down.is_empty() {
        return;
    }
    // A region without a run catches no cancellation (R9), so nothing changes for those inside it.
    let both = CANCELLED | ATTENDED;
    let caught = node.flags() & both == both;
    for below in down.into_nodes() {
        link_anew(&below);
        if caught {
            request::look_again(&below);
        }
    }
}

/// Links the regions below `node` anew, because a region between them and `node` has moved.
pub(super) fn link_below_anew(node: &Node) {
    let down = Below::take(&mut node.inner.lock());
    down.into_nodes().for_each(|below| link_anew(&below));
}

fn link_anew(below: &Arc<Node>) {
    let key = {
        let inner = below.inner.lock();
        below.lower(&inner, LINKED);
        take_link(below, &inner)
    };
    // The link is not always to the former region: a thread that was linking `below` may
    // have gone on to another region.
    drop_link(below, walk::cancellable_around(below).as_ref(), key);
    link_up_and_look(below);
}
