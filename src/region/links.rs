//! The links through which a cancellation reaches other regions (R7, invariant 5).

use super::{Kind, LEFT, LINKED, Node, SHELTERED};
use crate::sync::{Arc, Weak};

type Link = (Weak<Node>, usize);

impl Node {
    /// Makes every cancellation around this region reach it, so that one can wait for it (invariant 5).
    pub(crate) fn link_up(self: &Arc<Self>) {
        let mut node = Arc::clone(self);
        let mut linked = false;
        while !node.has(SHELTERED | LEFT) {
            let Some(parent) = node.live_parent() else { break };
            if node.has(LINKED) {
                if !matches!(node.kind(), Kind::Child | Kind::Stay) {
                    // It was linked by this loop, and so was everything above it.
                    break;
                }
                // Linked from the start, when nobody waited for what is above.
                node = parent;
                continue;
            }
            // Where the parent was left meanwhile, the next live one is tried.
            if parent.link(&node) {
                linked = true;
                node = parent;
            }
        }
        if linked {
            self.look();
        }
    }

    /// Puts `child` among what a cancellation or a stop of this region reaches; `false` where it was left.
    pub(super) fn link(self: &Arc<Self>, child: &Arc<Node>) -> bool {
        let key = {
            let mut inner = self.inner.lock();
            if self.has(LEFT) {
                return false;
            }
            inner.more().links.insert(Arc::downgrade(child))
        };
        let linked = {
            let mut inner = child.inner.lock();
            // Between the two locks this region may have left and looked after its links: then nobody
            // would take the child over any more.
            let left = self.has(LEFT);
            let ours = !left && !child.has(LINKED | LEFT);
            if ours {
                inner.more().link = Some((Arc::downgrade(self), key));
                child.raise(LINKED);
            }
            if left { None } else { Some(ours) }
        };
        if linked != Some(true) {
            // Somebody else linked it, or it has left; or we have.
            self.forget_link(key);
        }
        linked.is_some()
    }

    fn forget_link(&self, key: usize) {
        let link = self.inner.lock().more.as_mut().and_then(|more| more.links.try_remove(key));
        drop(link);
    }

    /// Takes a region out of what it is linked in.
    pub(super) fn drop_link(link: Option<Link>) {
        if let Some((linked_in, key)) = link {
            if let Some(linked_in) = linked_in.upgrade() {
                linked_in.forget_link(key);
            }
        }
    }

    /// Takes a region that was left out of its parent, and gives what was linked below it to the nearest
    /// live ancestor.
    pub(super) fn unlink(self: &Arc<Self>) {
        let (link, links) = {
            let mut inner = self.inner.lock();
            let Some(more) = &mut inner.more else { return };
            (more.link.take(), std::mem::take(&mut more.links))
        };
        Node::drop_link(link);
        if links.is_empty() {
            return;
        }
        for child in links.into_iter().filter_map(|(_, child)| child.upgrade()) {
            {
                let mut inner = child.inner.lock();
                if let Some(more) = &mut inner.more {
                    more.link = None;
                }
                child.lower(LINKED);
            }
            child.link_up();
        }
    }
}
