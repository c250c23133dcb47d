//! The links through which a cancellation reaches other regions (R7, invariant 5).

use super::{CANCELLED, Inner, Kind, LEFT, LINKED, Node, ROOT, SHELTERED};
use crate::sync::{Arc, Ordering, Weak};
use slab::Slab;

/// What a region is linked in, and its place there.
type Link = (Arc<Node>, usize);

/// What a region that is left was linked in, and what was linked below it.
pub(super) struct Links {
    up: Option<Link>,
    down: Option<Slab<Weak<Node>>>,
}

/// A [`Node::place`] that is none.
pub(super) const NOWHERE: u32 = u32::MAX;

impl Node {
    /// Makes every cancellation around this region reach it, so that one can wait for it (invariant 5).
    pub(crate) fn link_up(self: &Arc<Self>) {
        let mut node = Arc::clone(self);
        let mut linked = None;
        while !node.has(SHELTERED | LEFT) {
            if node.is_linked_up() {
                break;
            }
            let Some(parent) = node.live_parent() else { break };
            if node.has(LINKED) {
                // Linked from the start, when nobody waited for what is above.
                node = parent;
                continue;
            }
            // Where the parent was left meanwhile, the next live one is tried.
            if parent.link(&node) {
                linked = Some(std::mem::replace(&mut node, parent));
            }
        }
        if let Some(outermost) = linked {
            // And not from here on only: one who waits in between found its region linked, and left the rest to us.
            outermost.look();
        }
    }

    /// Whether it was linked by [`link_up`](Node::link_up), and so was, or is being, everything above it.
    pub(super) fn is_linked_up(&self) -> bool {
        self.has(LINKED) && !matches!(self.kind(), Kind::Child | Kind::Stay)
    }

    /// Puts `child` among what a cancellation or a stop of this region reaches; `false` where it was left.
    pub(super) fn link(self: &Arc<Self>, child: &Arc<Node>) -> bool {
        let key = {
            let mut inner = self.inner.lock();
            if self.has(LEFT) {
                return false;
            }
            inner.reach().links.insert(Arc::downgrade(child))
        };
        let linked = {
            let mut inner = child.inner.lock();
            // Between the two locks this region may have left and looked after its links: then nobody
            // would take the child over any more.
            let left = self.has(LEFT);
            let ours = !left && !child.has(LINKED | LEFT);
            if ours {
                let in_parent =
                    inner.parent.as_ref().is_some_and(|parent| Arc::ptr_eq(parent, self));
                match u32::try_from(key) {
                    Ok(place) if in_parent && place != NOWHERE => {
                        child.place.store(place, Ordering::Relaxed);
                    }
                    _ => inner.rest().link = Some((Arc::downgrade(self), key)),
                }
                child.raise(&inner, LINKED);
            }
            if left { None } else { Some(ours) }
        };
        if linked != Some(true) {
            // Somebody else linked it, or it has left; or we have.
            self.forget_link(key, child);
        }
        linked.is_some()
    }

    /// Empties the place `key`, if `child` has it: after this region was left it may be another one's.
    fn forget_link(&self, key: usize, child: &Arc<Node>) {
        let link = self.inner.lock().reach.as_mut().and_then(|reach| {
            let has_it = reach.links.get(key)?.as_ptr() == Arc::as_ptr(child);
            has_it.then(|| reach.links.remove(key))
        });
        drop(link);
    }

    /// What the region is linked in, which is to be told so with [`drop_link`](Node::drop_link).
    pub(super) fn take_link(&self, inner: &mut Inner) -> Option<Link> {
        let place = self.place.load(Ordering::Relaxed);
        if place != NOWHERE {
            self.place.store(NOWHERE, Ordering::Relaxed);
            return inner.parent.clone().map(|parent| (parent, place as usize));
        }
        let (linked_in, key) = inner.rest_mut()?.link.take()?;
        Some((linked_in.upgrade()?, key))
    }

    /// Takes the region out of what it was linked in.
    pub(super) fn drop_link(self: &Arc<Self>, link: Option<Link>) {
        if let Some((linked_in, key)) = link {
            linked_in.forget_link(key, self);
        }
    }

    /// Whether a cancellation of this region reaches others.
    pub(super) fn has_links(&self) -> bool {
        self.inner.lock().links().next().is_some()
    }

    /// Whether something is around it that it is not linked in: not around a root, and not for what is entered in an exit,
    /// which is sheltered.
    #[inline]
    pub(crate) fn may_link_up(&self) -> bool {
        !self.has(LINKED | ROOT | SHELTERED)
    }

    /// All links of a region that was left: it gets no others.
    pub(super) fn take_links(&self, inner: &mut Inner) -> Links {
        let up = self.take_link(inner);
        let down = inner.reach.as_mut().filter(|reach| !reach.links.is_empty());
        Links { up, down: down.map(|reach| std::mem::take(&mut reach.links)) }
    }

    /// Takes a region that was left out of its parent, and gives what was linked below it to the nearest
    /// live ancestor.
    pub(super) fn unlink(self: &Arc<Self>, Links { up, down }: Links) {
        self.drop_link(up);
        let Some(down) = down else { return };
        for child in down.into_iter().filter_map(|(_, child)| child.upgrade()) {
            let link = {
                let mut inner = child.inner.lock();
                child.lower(&inner, LINKED);
                child.take_link(&mut inner)
            };
            // Not always this region: who was linking it may have gone on to another one.
            child.drop_link(link);
            child.link_up();
            if self.has(CANCELLED) {
                child.look_after();
            }
        }
    }
}
