//! Stays: the runs inside a scope that was entered by a call.
//!
//! A scope that was entered by a call has no run of its own. Each run inside it is a *stay*: a node of its own that to the
//! regions inside is the scope.
//!
//! # Invariants
//!
//! 1. A stay is linked in its scope from the start, and is cancelled with it for the same reason.
//! 2. A stay has the name and the grace of its scope, and is a shield if the scope was one at the entry of the stay. It has no
//!    times of its own: its run watches those of the scope (`walk::scope_of`).

use super::enter;
use super::flags::{
    ATTENDED, CLOCKED, DEADLINE, ENTERED, LINKED, ROOT, SHELTERED, SHIELD, STAY, TIMED, TOP,
};
use super::kind::Kind;
use super::links;
use super::look;
use super::node::Node;
use super::observe;
use super::quiet;
use super::request;
use super::walk;
use crate::sync::{Arc, Weak};
use std::panic::Location;

/// One run inside the entered scope `parent`: it belongs to that scope's owner and is cancelled with it.
pub(crate) fn stay(parent: &Arc<Node>, at: &'static Location<'static>) -> Arc<Node> {
    let flags = STAY | ENTERED | ATTENDED | DEADLINE | (parent.flags() & (SHIELD | TIMED));
    let around = Some(Arc::clone(parent));
    let node = enter::entered(Kind::Scope, parent.owner.get(), flags, around, at, None, None);
    // To the regions inside it a stay is the scope, and its run watches the scope's times (invariant 2).
    parent.lend_settings(&node);
    observe::entered(&node);
    // Invariant 1.
    links::put_into(node, parent)
}

/// Makes this region one run inside `scope`. It was entered with a node of its own, made inside, before
/// `scope` was made from outside by another thread: for their owner both are the same region.
pub(super) fn stay_in(node: &Arc<Node>, scope: &Arc<Node>) {
    let (parent, entered_at, key) = {
        let mut inner = node.inner.lock();
        node.lower(&inner, LINKED);
        let key = links::take_link(node, &inner);
        (inner.parent.replace(Arc::clone(scope)), inner.entered_at, key)
    };
    links::drop_link(node, parent.as_ref().and_then(walk::cancellable_from).as_ref(), key);
    quiet::note_enclosed(Some(scope));
    {
        let mut inner = scope.inner.lock();
        (inner.parent, inner.entered_at) = (parent.clone(), entered_at);
        scope.owner.set(node.owner.get());
        scope.raise(&inner, ENTERED | (node.flags() & (ROOT | SHELTERED | CLOCKED | TOP)));
    }
    scope.lend_settings(node);
    {
        let inner = node.inner.lock();
        node.raise(&inner, STAY | DEADLINE | (scope.flags() & (SHIELD | TIMED)));
        node.lower(&inner, SHELTERED | TOP);
    }
    if scope.has(TIMED) {
        // Its times are around the regions inside the stay from now on.
        quiet::begin_epoch();
    } else {
        look::begin_epoch_if_asked(parent.as_ref());
    }
    observe::entered(scope);
    links::link(scope, node);
    request::catch_up(scope, node);
    if scope.inner.lock().is_awaited() {
        links::link_up_and_look(scope);
    }
}

/// The number of runs inside this scope.
pub(super) fn stays(region: &Node) -> usize {
    let below: Vec<_> = {
        let inner = region.inner.lock();
        inner.links().filter_map(Weak::upgrade).collect()
    };
    below.iter().filter(|node| node.is_stay()).count()
}
