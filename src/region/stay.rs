//! Stays: the runs inside a scope that was entered by a call.
//!
//! A scope that was entered by a call has no run of its own. Each run inside it is a *stay*: a node of its own that to the
//! regions inside is the scope. It is linked in the scope from the start and is cancelled with it, for the same reason.

use super::flags::{
    ATTENDED, CLOCKED, DEADLINE, ENTERED, LINKED, ROOT, SHELTERED, SHIELD, STAY, TIMED,
};
use super::kind::Kind;
use super::node::Node;
use crate::sync::{Arc, Weak};
use std::panic::Location;

impl Node {
    /// One run inside the entered scope `parent`: it belongs to that scope's owner and is cancelled with it.
    pub(crate) fn stay(parent: &Arc<Node>, at: &'static Location<'static>) -> Arc<Self> {
        let flags = ENTERED | ATTENDED | DEADLINE | (parent.flags() & (SHIELD | TIMED));
        let around = Some(Arc::clone(parent));
        let node = Node::entered(Kind::Stay, parent.owner(), flags, around, at, None);
        node.take_after(parent);
        node.tell_entered();
        node.put_into(parent)
    }

    /// The name and the grace of the scope, because to the regions inside it a stay is the
    /// scope, and its run watches the scope's times.
    fn take_after(&self, scope: &Node) {
        let (name, grace) = {
            let inner = scope.inner.lock();
            (inner.name(), inner.rest_seen().and_then(|rest| rest.times.grace))
        };
        if name.is_some() || grace.is_some() {
            let mut inner = self.inner.lock();
            let rest = inner.rest();
            (rest.name, rest.times.grace) = (name, grace);
        }
    }

    /// Makes this region one run inside `scope`. It was entered with a node of its own, made inside, before
    /// `scope` was made from outside by another thread: for their owner both are the same region.
    pub(super) fn stay_in(self: &Arc<Self>, scope: &Arc<Node>) {
        let (parent, entered_at, link) = {
            let mut inner = self.inner.lock();
            self.lower(&inner, LINKED);
            let link = self.take_link(&mut inner);
            (inner.parent.replace(Arc::clone(scope)), inner.entered_at, link)
        };
        self.drop_link(link);
        Node::note_held(Some(scope));
        {
            let mut inner = scope.inner.lock();
            (inner.parent, inner.entered_at) = (parent.clone(), entered_at);
            scope.record_owner(self.owner());
            scope.raise(&inner, ENTERED | (self.flags() & (ROOT | SHELTERED | CLOCKED)));
        }
        self.take_after(scope);
        {
            let inner = self.inner.lock();
            self.raise(&inner, STAY | DEADLINE | (scope.flags() & (SHIELD | TIMED)));
            self.lower(&inner, SHELTERED);
        }
        scope.unsettle_inside(parent.as_ref());
        scope.tell_entered();
        scope.link(self);
        scope.catch_up(self);
        if scope.inner.lock().is_awaited() {
            scope.link_up();
        }
    }

    /// The number of runs inside this scope.
    pub(super) fn stays(&self) -> usize {
        let below: Vec<_> = {
            let inner = self.inner.lock();
            inner.links().filter_map(Weak::upgrade).collect()
        };
        below.iter().filter(|node| node.kind() == Kind::Stay).count()
    }
}
