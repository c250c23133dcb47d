//! Entering a region: its owner, its parent and its place are recorded, once (R1, R4, R5).
//!
//! # Invariants
//!
//! 1. A region is entered once. Owner, place and parent are recorded under one hold of the lock, together with
//!    `ENTERED` (R1).
//! 2. The region around notes that a region is inside it before that region looks outwards. So a request there either
//!    raises the epoch or is found by the look.
//! 3. A region is not moved inside itself when it is handed over (R4).

use super::ambient;
use super::flags::{ATTENDED, CLOCKED, ENTERED, LEFT, LINKED, ROOT, SHELTERED, SHIELD, TIMED, TOP};
use super::kind::Kind;
use super::links;
use super::look;
use super::node::{Inner, Node};
use super::observe;
use super::owner;
use super::quiet;
use super::request;
use super::tally::Caught;
use super::time;
use super::time::clock;
use super::walk;
use crate::identity::Identity;
use crate::rt;
use crate::sync::{Arc, next_number};
use crate::wrong_task::Misuse;
use std::panic::Location;
use std::task::Waker;
use std::time::Instant;

/// A region that is entered and attended from the start; `waker` is that of its run, if the run is pending.
pub(super) fn entered(
    kind: Kind,
    owner: Identity,
    flags: u32,
    parent: Option<Arc<Node>>,
    at: &'static Location<'static>,
    deadline: Option<Instant>,
    waker: Option<Waker>,
) -> Arc<Node> {
    let timed = if deadline.is_some() { TIMED } else { 0 };
    let inherited = inherited(kind, parent.as_ref());
    quiet::note_enclosed(parent.as_ref());
    let inner = Inner { parent, entered_at: Some(at), waker, deadline, ..Inner::default() };
    Node::with(kind, owner, flags | timed | inherited, inner)
}

/// Records the owner, the parent and the place, unless they are recorded already (R1).
#[inline]
pub(crate) fn enter(node: &Arc<Node>, at: &'static Location<'static>) {
    if !node.has(ENTERED) {
        enter_around(node, at, 0);
    }
}

/// As [`enter`]; `None` if the region was entered before. `attended` is raised if the region is inside another region
/// and belongs to that region's owner. Returns whether it was raised, and whether the region is awaited.
fn enter_around(
    node: &Arc<Node>,
    at: &'static Location<'static>,
    attended: u32,
) -> Option<(bool, bool)> {
    let (parent, sheltered) = around_here();
    let owner = owner::in_parent(parent.as_ref());
    let attended = if owner.task != 0 && node.kind != Kind::Task { attended } else { 0 };
    // Before this region looks outwards, below (invariant 2).
    quiet::note_enclosed(parent.as_ref());
    let awaited = {
        let mut inner = node.inner.lock();
        // Another thread may have entered it meanwhile (invariant 1).
        if node.has(ENTERED) {
            return None;
        }
        node.owner.set(owner);
        inner.entered_at = Some(at);
        let inherited = inherited(node.kind, parent.as_ref());
        node.raise(&inner, ENTERED | attended | sheltered | inherited);
        inner.parent = parent;
        inner.is_awaited()
    };
    // A stack has no handle, so no look before can have found it quiet.
    if node.kind != Kind::Stack {
        look::begin_epoch_if_seen(node);
    }
    observe::entered(node);
    Some((attended != 0, awaited))
}

/// The region that is current here, and `SHELTERED` if an exit of it runs.
fn around_here() -> (Option<Arc<Node>>, u32) {
    let (parent, in_exit) = ambient::current().unzip();
    (parent, if in_exit == Some(true) { SHELTERED } else { 0 })
}

/// The flags that a region of this kind inherits from its parent.
fn inherited(kind: Kind, parent: Option<&Arc<Node>>) -> u32 {
    clock::flag_within(parent) | flag_of_top(kind, parent)
}

/// Whether nothing but tasks is around a region in `parent`, as a flag. A task is not handed over, so that stays true for the
/// regions inside it. Another region without a parent may get one later.
fn flag_of_top(kind: Kind, parent: Option<&Arc<Node>>) -> u32 {
    match parent {
        Some(parent) if parent.kind == Kind::Task => parent.flags() & TOP,
        None if kind == Kind::Task => TOP,
        _ => 0,
    }
}

/// Attends the region for a run, once: it is entered unless it was, and can adopt from now
/// on.
///
/// A region that no region of this crate encloses becomes its own root task here (R5); a
/// [`Kind::Task`] is always one. Returns the panic that was kept when the region was handed back half
/// closed.
pub(super) fn attend(
    node: &Arc<Node>,
    operation: &'static str,
    at: &'static Location<'static>,
) -> Result<Option<Caught>, Misuse> {
    let entered = if node.has(ENTERED) { None } else { enter_around(node, at, ATTENDED) };
    if entered.is_none() {
        owner::check(node, operation, at)?;
    }
    if node.has(TIMED) {
        time::start_timeout(node);
    }
    if let Some((true, awaited)) = entered {
        link_up_if(node, awaited);
        return Ok(None);
    }
    let (awaited, panic) = {
        let mut inner = node.inner.lock();
        if node.has(LEFT) && operation != "run" {
            drop(inner);
            return Err(owner::left_misuse(node, operation, at));
        }
        if node.has(LEFT | ATTENDED) {
            drop(inner);
            return Err(twice(node, at));
        }
        if node.kind == Kind::Task {
            node.owner.set(Identity { task: next_number(), runtime: 0 });
            node.raise(&inner, ROOT);
        } else if node.owner.get().task == 0 {
            // Entered by its first use outside every known task: now it belongs to the task that runs it,
            // and its parent is the region current here. If there is none, it is its own task. It is a
            // root, which may move with its future, unless a task of the runtime has entered it (R5).
            drop(inner);
            let around = ambient::current().map(|(around, _)| around);
            quiet::note_enclosed(around.as_ref());
            inner = node.inner.lock();
            match &around {
                Some(around) => {
                    node.owner.set_task(around.owner.get().task);
                    // An existing parent stays, because replacing it would drop it under the lock.
                    inner.parent.get_or_insert_with(|| Arc::clone(around));
                    quiet::begin_epoch();
                }
                None => {
                    let moves = entered.is_some() || node.owner.get().runtime == 0;
                    node.owner.set_task(next_number());
                    node.raise(&inner, if moves { ROOT } else { 0 });
                }
            }
        }
        node.raise(&inner, ATTENDED);
        (inner.is_awaited(), inner.rest_mut().and_then(|rest| rest.panic.take()))
    };
    link_up_if(node, awaited);
    Ok(panic)
}

/// Links a region that is entered now, if a waiter registered before there was a region around it; or if it is a
/// shield, because a shield has to be woken by a cancellation outside: it holds only while it is polled (invariant 1 of
/// `shields`).
fn link_up_if(node: &Arc<Node>, awaited: bool) {
    if awaited || node.has(SHIELD) {
        links::link_up_and_look(node);
    }
    if awaited && node.has(TIMED) {
        // Waits from before the entry arm no timer: its times begin now, or go by another clock.
        request::look_again(node);
    }
}

/// Enters a scope by a call: no run attends it, its stays are polled instead.
pub(crate) fn enter_dynamic(
    node: &Arc<Node>,
    at: &'static Location<'static>,
) -> Result<(), Misuse> {
    if node.has(ENTERED) {
        return Err(twice(node, at));
    }
    // Whether there are references beside the draft's own.
    let known = Arc::strong_count(node) > 1;
    enter(node, at);
    time::start_timeout(node);
    time::begin_unwatched(node, known);
    let awaited = node.inner.lock().is_awaited();
    link_up_if(node, awaited);
    Ok(())
}

/// Makes the current task the owner, and the region current here the parent (R4). Returns `false` if the former owner stays.
///
/// A region that is `dropped` after its owner has released it is taken over inside a task only. Outside every task its exits go
/// where they would have gone without the release, and its former owner stays the owner.
pub(crate) fn take_over(node: &Arc<Node>, dropped: bool) -> bool {
    if dropped && ambient::is_empty() != Some(false) {
        // The current runtime task becomes an owner, so that the drop is not reported as a foreign one.
        node.owner.set_runtime(rt::task_number());
        return false;
    }
    if node.has(LEFT) || !node.has(ENTERED) {
        return true;
    }
    let (parent, sheltered) = around_here();
    let owner = owner::in_parent(parent.as_ref());
    // A region in which none was ever entered is around no other one.
    if let Some(parent) = parent.as_ref().filter(|_| node.encloses.is_known()) {
        move_out_of_the_way_to(node, parent);
    }
    {
        let inner = node.inner.lock();
        node.owner.set(owner);
        // Invariant 3 of `flags`.
        node.lower(&inner, SHELTERED | CLOCKED | TOP);
        node.raise(&inner, sheltered | inherited(node.kind, parent.as_ref()));
    }
    move_into(node, parent);
    true
}

/// Makes `parent` the region around this one (invariant 3 of the room).
fn move_into(node: &Arc<Node>, parent: Option<Arc<Node>>) {
    quiet::note_enclosed(parent.as_ref());
    let (former, key, links_up) = {
        let mut inner = node.inner.lock();
        let links_up = inner.is_awaited() || node.has(LINKED);
        node.lower(&inner, LINKED);
        let key = links::take_link(node, &inner);
        (std::mem::replace(&mut inner.parent, parent.clone()), key, links_up)
    };
    // The shortcuts inside it lead past the region that was around it.
    if parent.is_some_and(|parent| !look::is_found_quiet(&parent) || parent.has(TIMED))
        || node.encloses.is_so()
    {
        quiet::begin_epoch();
    }
    // The regions inside a region that cannot be cancelled are linked past it.
    let passed = !node.kind.can_be_cancelled() && node.encloses.is_known();
    let linked_in = former.as_ref().filter(|_| passed || key.is_some());
    let linked_in = linked_in.and_then(walk::cancellable_from);
    links::drop_link(node, linked_in.as_ref(), key);
    link_up_if(node, links_up);
    if let Some(linked_in) = linked_in.filter(|_| passed) {
        links::link_below_anew(&linked_in);
    }
    drop(former);
}

/// Prepares for this region to be moved into `parent`. If this region is around `parent`, it would then be inside
/// itself, and a walk outwards would not end (invariant 3, and invariant 3 of `walk`). So the region directly inside this one, on
/// the way to `parent`, is moved to the region around this one first.
fn move_out_of_the_way_to(node: &Arc<Node>, parent: &Arc<Node>) {
    let mut directly_inside = Arc::clone(parent);
    for around in walk::outwards(parent) {
        if Arc::ptr_eq(&around, node) {
            return move_into(&directly_inside, walk::live_parent(node));
        }
        directly_inside = around;
    }
}

/// The error of a second run.
pub(super) fn twice(node: &Node, at: &'static Location<'static>) -> Misuse {
    let (region, entered_at) = owner::describe_with_place(node, at);
    Misuse::EnteredTwice { region, entered_at, attempted_at: at }
}
