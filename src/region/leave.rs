//! Leaving a region: it closes under its lock, when it is empty, or with its remaining exits
//! handed over (R8).
//!
//! # Invariants
//!
//! 1. `LEFT` is set under the lock under which the region was found empty, or under which its content was taken.
//! 2. Wakers, waiters and links are taken under that lock and dropped after it (R18).
//! 3. After `LEFT`, the regions that were linked below are linked in the nearest live ancestor, and look again.

use super::ambient;
use super::exits::Exits;
use super::flags::{ENTERED, INBOX, LEFT, SHELTERED, SHIELD};
use super::links;
use super::links::Links;
use super::look;
use super::node::{Inner, More, Node};
use super::observe;
use super::own_exits::OwnExits;
use super::owner;
use super::quiet;
use super::request;
use super::stay;
use super::walk;
use super::wave::Wave;
use crate::failure::Failures;
use crate::identity::Identity;
use crate::reason::{Reason, ReasonKind};
use crate::report::{Report, report};
use crate::sync::Arc;
use crate::unwind;
use crate::wakers::{Taken, wake_all};
use std::panic::Location;
use std::task::Waker;

/// The next step of a region that is leaving.
pub(super) enum Next {
    /// The region has exits.
    Exit,
    /// Exits were handed over meanwhile, which come first.
    Inbox,
    /// The region is left; with the failures that were sent here.
    Left(Failures),
}

/// The content of a region that was closed before it was empty.
#[derive(Default)]
pub(super) struct Abandoned {
    pub(super) waves: Vec<Wave>,
    pub(super) exits: Exits,
    pub(super) records: Failures,
}

/// The waker and the ties that a region drops outside its lock when it is left.
struct Leave {
    waker: Option<Waker>,
    /// `None` for a region that no other one was linked with and that nobody waits for, as most.
    ties: Option<Ties>,
}

/// The ties of a region that is left to other regions and to its waiters.
struct Ties {
    waiters: Option<Taken>,
    links: Links,
    /// Whether the region around it was left before it was.
    outlives_parent: bool,
}

/// Leaves a scope that was entered by a call; returns its reason if it was cancelled.
pub(crate) fn close_entered(node: &Arc<Node>) -> Option<Reason> {
    let reason = node.inner.lock().reason().cloned();
    let stays = stay::stays(node);
    if stays > 0 {
        report(Report::StillInUse { region: owner::describe(node), runs: stays });
        // A stay that was leaked does not outlive the scope.
        request::cancel_below(
            node,
            Reason::new(ReasonKind::OwnerGone, None, None, node.entered_at()),
        );
    }
    drop(close_now(node, None, None));
    reason
}

/// Leaves the scope in which `stay`, which has left, was the only run: later questions to either get the
/// same answer.
pub(super) fn close_as(node: &Arc<Node>, stay: &Arc<Node>) {
    let dropped_for = stay.inner.lock().dropped_for().cloned();
    drop(close_now(node, dropped_for, None));
}

/// Marks a region as entered that was entered before it had a node, unless the node is marked already.
pub(super) fn mark_entered(
    node: &Arc<Node>,
    entered_at: &'static Location<'static>,
    owner: Identity,
) {
    // The parent gives the owner's name, if that task is around. It is looked up before the lock, because the
    // look-up takes the locks of other nodes.
    let parent = ambient::node_of_task(owner.task);
    let mut inner = node.inner.lock();
    if !node.has(ENTERED) {
        inner.entered_at = Some(entered_at);
        inner.parent = parent;
        node.owner.set(owner);
        node.raise(&inner, ENTERED);
    }
}

/// Closes the region if it has no exits to run and no failures to pass on, as most regions after the end of their body;
/// `false` if it has (invariant 1).
pub(super) fn close_if_empty(node: &Arc<Node>, own: Option<&OwnExits>) -> bool {
    let leave = {
        let mut exits = own.map(|own| own.list.lock());
        if exits.as_ref().is_some_and(|exits| !exits.is_empty()) {
            return false;
        }
        let mut inner = node.inner.lock();
        let empty = |more: &More| more.rest.is_none();
        if node.has(INBOX) || !inner.more.as_deref().is_none_or(empty) {
            return false;
        }
        node.raise(&inner, LEFT);
        exits.iter_mut().for_each(|exits| drop(exits.close()));
        take_leave(node, &mut inner)
    };
    after_leaving(node, leave);
    true
}

/// The next step in leaving the region; closes it if there is nothing left to do (invariant 1).
pub(super) fn next_step(node: &Arc<Node>, own: Option<&OwnExits>) -> Next {
    let (records, leave) = {
        let mut exits = own.map(|own| own.list.lock());
        let mut inner = node.inner.lock();
        let mut records = Failures::default();
        if node.has(INBOX) {
            return Next::Inbox;
        }
        if exits.as_ref().is_some_and(|exits| !exits.is_empty()) {
            return Next::Exit;
        }
        if let Some(rest) = inner.rest_mut() {
            records = std::mem::take(&mut rest.sent);
        }
        node.raise(&inner, LEFT);
        exits.iter_mut().for_each(|exits| drop(exits.close()));
        (records, take_leave(node, &mut inner))
    };
    after_leaving(node, leave);
    Next::Left(records)
}

/// Closes the region, and returns its content.
///
/// `dropped_for` is the reason of the cancelled region around it, which later questions
/// get.
pub(super) fn close_now(
    node: &Arc<Node>,
    dropped_for: Option<Reason>,
    own: Option<&OwnExits>,
) -> Abandoned {
    let mut waiters = Taken::default();
    let mut abandoned = Abandoned::default();
    let leave = {
        let mut exits = own.map(|own| own.list.lock());
        let mut inner = node.inner.lock();
        if dropped_for.is_some() {
            inner.more().dropped_for = dropped_for;
            // A canceller further out may have set its flag and not yet walked its links. It will not find
            // this region any more, so its waiters are woken here, and later questions have to look.
            request::take_waiters(node, &mut inner, &mut waiters);
            quiet::end_quiet(node);
        }
        node.raise(&inner, LEFT);
        if let Some(more) = &mut inner.more {
            abandoned.waves = std::mem::take(&mut more.adopted);
        }
        if let Some(exits) = exits.as_deref_mut() {
            abandoned.exits = exits.close();
        }
        if let Some(rest) = inner.rest_mut() {
            abandoned.records = std::mem::take(&mut rest.sent);
        }
        take_leave(node, &mut inner)
    };
    wake_all(waiters.into_wakers());
    after_leaving(node, leave);
    abandoned
}

/// Takes everything that a region which is left has to drop outside its lock (invariant 2). Its wakers are among them,
/// because they may hold the task that holds the node (R19).
#[inline]
fn take_leave(node: &Node, inner: &mut Inner) -> Leave {
    let outlives_parent = inner.parent.as_ref().is_some_and(|parent| parent.has(LEFT));
    let tied = outlives_parent
        || links::has_link(node)
        || node.has(SHIELD | SHELTERED)
        || inner.is_awaited();
    let ties = if tied { Some(take_ties(node, inner, outlives_parent)) } else { None };
    Leave { waker: inner.waker.take(), ties }
}

#[cold]
fn take_ties(node: &Node, inner: &mut Inner, outlives_parent: bool) -> Ties {
    let waiters = inner.has_waiters().then(|| {
        let mut waiters = Taken::default();
        request::take_waiters(node, inner, &mut waiters);
        waiters
    });
    Ties { waiters, links: links::take_links(node, inner), outlives_parent }
}

#[inline]
fn after_leaving(node: &Arc<Node>, Leave { waker, ties }: Leave) {
    // A panic of these drops has no caller to go to; the panic hook has reported it.
    if let Some(waker) = waker {
        unwind::drop_quietly(waker);
    }
    if let Some(ties) = ties {
        cut(node, ties);
    }
    observe::left(node);
}

#[cold]
fn cut(node: &Arc<Node>, Ties { waiters, links, outlives_parent }: Ties) {
    if let Some(waiters) = waiters {
        // The waits that were lent to this region go on with the region around (invariant 4 of `wait`).
        wake_all(waiters.into_wakers());
    }
    if has_held_off(node) {
        // Before the regions inside are linked farther out, because they look then (invariant 3).
        quiet::begin_epoch();
    }
    links::unlink(node, links);
    if outlives_parent {
        // Later regions may be inside this one, and keep it. In a chain of regions, each entered inside the one
        // before, the last would keep all earlier ones (R19).
        drop(walk::live_parent(node));
    }
}

/// Whether this region, which was left, has held off a cancellation or a time that counts for the regions inside from now on.
fn has_held_off(node: &Arc<Node>) -> bool {
    node.has(SHIELD | SHELTERED) && node.encloses.is_so() && look::finds_event(node)
}
