//! The links through which a cancellation reaches other regions (R7, invariant 5 of the room).
//!
//! # Invariants
//!
//! 1. A link is weak, and has a key in the region around. Keys are reused, so code that removes a key checks
//!    that it still holds the same region.
//! 2. `LINKED` and the key change together, under the lock of the inner region. The region around is locked before, for the
//!    key, and not at the same time; if it was left in between, the link is taken back.
//! 3. A region that is left passes its links on: each region below is linked in the nearest live ancestor.

use super::flags::{ATTENDED, BELOW, CANCELLED, LEFT, LINKED, ROOT, SHELTERED, STAY, STOP};
use super::kind::Kind;
use super::node::{Inner, NO_KEY, Node};
use super::request;
use super::walk;
use crate::sync::{Arc, Ordering, Weak};
use slab::Slab;

/// The region in which a region is linked, and its key there.
type Link = (Arc<Node>, usize);

/// The links of a region that is left: its own outwards, and those of the regions below it.
pub(super) struct Links {
    up: Option<Link>,
    first_down: Option<Weak<Node>>,
    rest_down: Option<Box<Slab<Weak<Node>>>>,
}

/// Links the region outwards, so that every cancellation around it reaches it (invariant 5 of
/// the room).
pub(crate) fn link_up(region: &Arc<Node>) {
    let mut node = Arc::clone(region);
    let mut linked = None;
    loop {
        let flags = node.flags();
        if flags & (SHELTERED | LEFT) != 0 || is_linked_up_by(&node, flags) {
            break;
        }
        let Some(parent) = walk::live_parent(&node) else { break };
        if flags & LINKED != 0 {
            // A child or a stay is linked from the start, before there was a waiter for
            // events above it.
            node = parent;
            continue;
        }
        // If the parent was left meanwhile, the next live ancestor is tried.
        if link(&parent, &node) {
            linked = Some(std::mem::replace(&mut node, parent));
        }
    }
    if let Some(outermost) = linked {
        // Look from the outermost link down, not from `region`: a waiter on a region in between saw `LINKED` and
        // relies on this call.
        request::look_again_unless_quiet(&outermost);
    }
}

/// Whether it was linked by [`link_up`]. Then every region above it is linked too, or
/// is being linked.
pub(super) fn is_linked_up(node: &Node) -> bool {
    is_linked_up_by(node, node.flags())
}

fn is_linked_up_by(node: &Node, flags: u32) -> bool {
    flags & (LINKED | STAY) == LINKED && !matches!(node.kind, Kind::Child | Kind::Stay)
}

/// Links `child` below this region, so that a cancellation or a stop reaches it; `false` if this
/// region was left.
pub(super) fn link(node: &Arc<Node>, child: &Arc<Node>) -> bool {
    let key = {
        let mut inner = node.inner.lock();
        if node.has(LEFT) {
            return false;
        }
        inner.add_link(Arc::downgrade(child))
    };
    let linked = {
        let mut inner = child.inner.lock();
        // Between the two locks this region may have been left, and have passed its links on:
        // then no thread would move this link any more.
        let left = node.has(LEFT);
        let ours = !left && !child.has(LINKED | LEFT);
        if ours {
            let in_parent = inner.parent.as_ref().is_some_and(|parent| Arc::ptr_eq(parent, node));
            match u32::try_from(key) {
                Ok(key) if in_parent && key != NO_KEY => {
                    child.link_key.store(key, Ordering::Relaxed);
                }
                _ => inner.rest().link = Some((Arc::downgrade(node), key)),
            }
            child.raise(&inner, LINKED);
        }
        if left { None } else { Some(ours) }
    };
    if linked != Some(true) {
        // Another thread has linked the child first, or the child or this region was left.
        forget_link(node, key, child);
    }
    linked.is_some()
}

pub(super) fn put_into(node: Arc<Node>, parent: &Arc<Node>) -> Arc<Node> {
    link(parent, &node);
    // Also if the parent has left, because a group that was abandoned has a reason for a child
    // that comes late.
    if parent.has(CANCELLED | STOP | BELOW) {
        request::catch_up(parent, &node);
    }
    node
}

/// Removes the link at `key`, if it is still that of `child`: after this region was left, the key may
/// belong to another region.
fn forget_link(node: &Node, key: usize, child: &Arc<Node>) {
    let link = node.inner.lock().remove_link(key, child);
    drop(link);
}

/// Takes the region's link out of its node. The caller has to pass it to
/// [`drop_link`], outside the lock.
pub(super) fn take_link(node: &Node, inner: &mut Inner) -> Option<Link> {
    let key = node.link_key.load(Ordering::Relaxed);
    if key != NO_KEY {
        node.link_key.store(NO_KEY, Ordering::Relaxed);
        return inner.parent.clone().map(|parent| (parent, key as usize));
    }
    let (linked_in, key) = inner.rest_mut()?.link.take()?;
    Some((linked_in.upgrade()?, key))
}

/// Removes the region from the links of the region in which it is linked.
pub(super) fn drop_link(node: &Arc<Node>, link: Option<Link>) {
    if let Some((linked_in, key)) = link {
        forget_link(&linked_in, key, node);
    }
}

/// Whether a cancellation of this region reaches other regions.
pub(super) fn has_links(node: &Node) -> bool {
    node.inner.lock().link_count() > 0
}

/// Whether there is a region around it in which it may be linked and is not. A root has none around it, and a
/// region that is entered in an exit is sheltered.
#[inline]
pub(crate) fn may_link_up(node: &Node) -> bool {
    !node.has(LINKED | ROOT | SHELTERED)
}

/// Takes all links of a region that was left, which gets no others.
pub(super) fn take_links(node: &Node, inner: &mut Inner) -> Links {
    let up = take_link(node, inner);
    let rest_down = inner.more.as_mut().and_then(|more| more.links.take());
    Links { up, first_down: inner.first_link.take(), rest_down }
}

/// Removes a region that was left from its parent's links, and links the regions below it in the
/// nearest live ancestor.
pub(super) fn unlink(node: &Arc<Node>, Links { up, first_down, rest_down }: Links) {
    drop_link(node, up);
    if first_down.is_none() && rest_down.is_none() {
        return;
    }
    // A region without a run catches no cancellation (R9), so nothing changes for those inside it.
    let both = CANCELLED | ATTENDED;
    let caught = node.flags() & both == both;
    let rest = rest_down.into_iter().flat_map(|rest| *rest).map(|(_, child)| child);
    for child in first_down.into_iter().chain(rest).filter_map(|child| child.upgrade()) {
        let link = {
            let mut inner = child.inner.lock();
            child.lower(&inner, LINKED);
            take_link(&child, &mut inner)
        };
        // The link is not always to this region: a thread that was linking the child may
        // have gone on to another region.
        drop_link(&child, link);
        link_up(&child);
        if caught {
            request::look_again(&child);
        }
    }
}
