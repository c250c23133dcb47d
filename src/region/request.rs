//! Requests: a cancellation or a stop, and the way of its signal down the links (R3, R10, R13).
//!
//! # Invariants
//!
//! 1. A request is recorded under the region's lock before a waiter is taken, and a waiter registers before it looks: a
//!    waiter either finds the request or is woken by it.
//! 2. The first reason stays (R10); a region that was left takes none.
//! 3. A signal reaches each region that is linked below in a loop, not by recursion (R14).
//! 4. The *moment* counts the events for which the regions inside another one may have to look: it is the sum of the epoch and
//!    the [tidings](crate::sync::tidings), which also count changes of times and shields that begin to hold. It is raised before
//!    the links are read under the same lock. So a region that is linked, and was told to look in the moment that is read after
//!    that, has missed nothing.
//! 5. Wakers are woken after the last lock, those from below before the region's own, because a shield has to be woken before
//!    the region around it is polled (R12).

mod delivery;

pub(super) use delivery::{Delivery, deliver, deliver_all};

use super::flags::{BELOW, CANCELLED, DEADLINE, LEFT, REWAKE, SHIELD, STOP, TIMED, UNWATCHED};
use super::kind::Kind;
use super::look;
use super::node::{Inner, More, Node};
use super::observe;
use super::quiet;
use super::shields;
use super::time;
use crate::reason::Reason;
use crate::sync::{Arc, Ordering, epoch, tidings};
use crate::unwind::{self, Payload};
use crate::wakers::Taken;
use delivery::{deliver_request, passes};
use std::time::Duration;

/// The form in which a request travels down the links.
#[derive(Clone)]
pub(super) enum Signal {
    /// The region itself is cancelled.
    Cancel(Reason),
    /// The region itself gets a stop request.
    Stop(Reason),
    /// The children of the region are cancelled, including children that are spawned later; the region itself is
    /// not.
    Children(Reason),
    /// A cancelled region around keeps its body for a shield: the children of every group inside are cancelled.
    Shielded(Reason),
    /// The times of the region have changed.
    Time,
    /// A region around got such a signal: waiters look again, and shields are woken, because a shield has
    /// to be polled to hold.
    Look(Event),
}

/// The event because of which a region looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Cancelled,
    Stopped,
    Other,
}

/// See invariant 4.
pub(super) fn moment() -> u64 {
    epoch().load(Ordering::Acquire) + tidings().load(Ordering::Acquire)
}

/// A time or a hold has changed in the region that is locked, for the regions inside it. No epoch begins.
pub(super) fn note_tidings(_locked: &Inner) {
    tidings().fetch_add(1, Ordering::Release);
}

/// Cancels this region for `reason`, unless it is cancelled already or was left. The regions
/// that are linked below are reached in a loop, not by recursion (R14).
pub(crate) fn cancel(node: &Node, reason: Reason) {
    unwind::discard(cancel_for_user(node, reason));
}

/// As [`cancel`]; returns the first panic of a waker, to be resumed in the user code that made
/// the request.
#[must_use = "a payload must not be dropped where its drop could panic"]
pub(crate) fn cancel_for_user(node: &Node, reason: Reason) -> Option<Payload> {
    let (own, below) = hear_first(node, Signal::Cancel(reason.clone()));
    observe::cancelled(node, &reason);
    deliver_request(node, CANCELLED, own, below)
}

/// Cancels the children, including later ones, but not the region itself.
pub(crate) fn cancel_below(node: &Node, reason: Reason) {
    let (own, below) = hear_first(node, Signal::Children(reason));
    deliver(own, below);
}

/// The region to which a request is made hears it; returns its own wakers, and the delivery to the regions below.
fn hear_first(node: &Node, signal: Signal) -> (Taken, Delivery) {
    let (mut own, mut below) = (Taken::default(), Delivery::default());
    hear(node, signal, &mut own, &mut below);
    (own, below)
}

/// Asks this region and every region inside it to wind down (R13).
#[must_use = "a payload must not be dropped where its drop could panic"]
pub(crate) fn stop(node: &Arc<Node>, reason: Reason) -> Option<Payload> {
    let (own, below) = hear_first(node, Signal::Stop(reason.clone()));
    observe::stopped(node, &reason);
    // A panic of its clock is resumed after the signal has reached every region.
    let begun = unwind::catch(|| time::begin_graces(node));
    unwind::first_of(deliver_request(node, STOP, own, below).into_iter().chain(begun.err()))
}

/// As [`stop`], with a grace that belongs to this request. Of several graces the one that is over
/// first counts.
#[must_use = "a payload must not be dropped where its drop could panic"]
pub(crate) fn stop_within(node: &Arc<Node>, grace: Duration, reason: Reason) -> Option<Payload> {
    if node.has(LEFT) {
        return None;
    }
    {
        let mut inner = node.inner.lock();
        inner.rest().times.ask_grace(grace);
    }
    let stopped = stop(node, reason);
    // The grace begins now, and not when a future looks at the region.
    let begun = unwind::catch(|| time::stop_due(node));
    let told = time::tell_times(node);
    unwind::first_of([stopped, begun.err(), told].into_iter().flatten())
}

/// The requests that count for children without a node. If there are more than before, the group's `run` polls
/// those children.
pub(crate) fn requests_to_children(node: &Node) -> u32 {
    node.flags() & (CANCELLED | BELOW)
}

/// The number of the first request that cancelled its children, from [`next_number`](crate::sync::next_number).
pub(super) fn children_cancelled_at(node: &Node) -> Option<u64> {
    let at = |more: &More| more.children_cancelled_at;
    node.inner.lock().more.as_deref().map(at).filter(|at| *at != 0)
}

/// The region acts on `signal`, under its lock: it records the request, adds the regions that are linked below to `below`, and
/// moves the wakers that have to be woken to `wakers`. Returns its flags afterwards. A request that it has got before, or that
/// comes after it was left, changes nothing (invariant 2).
pub(super) fn hear(node: &Node, signal: Signal, wakers: &mut Taken, below: &mut Delivery) -> u32 {
    let mut inner = node.inner.lock();
    let heard = match signal {
        Signal::Cancel(_) => LEFT | CANCELLED,
        Signal::Stop(_) => LEFT | STOP,
        Signal::Children(_) | Signal::Shielded(_) | Signal::Time | Signal::Look(_) => 0,
    };
    if node.has(heard) {
        return node.flags();
    }
    if inner.link_count() != 0 && passes(node, &signal) {
        below.add(&inner, &signal);
    }
    // Only a delivery that does nothing but tell regions to look has a moment, and no moment is 0, because epochs begin at 1.
    if let (Signal::Look(_), 1..) = (&signal, below.moment) {
        inner.rest().told_to_look = below.moment;
    }
    let wakes_run = match signal {
        Signal::Cancel(reason) => {
            inner.more().reason = Some(reason);
            if node.kind == Kind::Group {
                inner.tell_children();
            }
            node.raise(&inner, CANCELLED);
            // The epoch is raised before the waiters are taken, so that a waiter that registers later sees it, and looks
            // (invariant 1).
            quiet::end_quiet(node);
            true
        }
        Signal::Stop(reason) => hear_stop(node, &mut inner, reason, below),
        Signal::Shielded(_) if node.kind != Kind::Group => return node.flags(),
        Signal::Children(reason) | Signal::Shielded(reason) => {
            if !node.has(CANCELLED) {
                inner.rest().below.get_or_insert(reason);
            }
            inner.tell_children();
            node.raise(&inner, BELOW);
            // The group's run is woken, because it polls the children that have no node and
            // are not linked.
            true
        }
        Signal::Time => {
            time::note_time(node, &inner);
            true
        }
        // A shield is woken, because it has to be polled to hold. A cancelled region is woken, to check whether
        // an outer region still has to catch (R9); a child ends in either case.
        Signal::Look(_) => {
            let flags = node.flags();
            if flags & SHIELD != 0 && flags & TIMED != 0 {
                // The grace of the shield may begin.
                note_tidings(&inner);
            }
            flags & SHIELD != 0 || (flags & CANCELLED != 0 && node.kind != Kind::Child)
        }
    };
    take_waiters(node, &mut inner, wakers);
    if wakes_run {
        take_run(node, &mut inner, wakers);
    }
    node.flags()
}

/// The part of [`hear`] that records a stop; returns whether the run has to see that its grace begins.
fn hear_stop(node: &Node, inner: &mut Inner, reason: Reason, below: &mut Delivery) -> bool {
    let rest = inner.rest();
    rest.stop = Some(reason);
    let grace = rest.times.grace.is_some();
    // A scope that was entered by a call has no run that could see it.
    let times = match grace {
        true if node.is_entered_by_call() => UNWATCHED,
        true => DEADLINE,
        false => 0,
    };
    node.raise(inner, STOP | times);
    quiet::end_quiet(node);
    if grace {
        // Waits inside depend on the end of the grace, even in a region that was stopped before.
        note_tidings(inner);
        below.add(inner, &Signal::Look(Event::Other));
    }
    grace
}

/// Takes the waker of the run that attends the region, to be woken (invariant 4 of the room).
pub(super) fn take_run(node: &Node, inner: &mut Inner, wakers: &mut Taken) {
    if let Some(waker) = inner.waker.take() {
        node.raise(inner, REWAKE);
        wakers.extend([waker]);
    }
}

pub(super) fn take_waiters(node: &Node, inner: &mut Inner, wakers: &mut Taken) {
    if !inner.has_waiters() {
        return;
    }
    let more = inner.more();
    wakers.take(&mut more.waiters);
    if let Some(rest) = &mut more.rest {
        wakers.take(&mut rest.stop_waiters);
    }
    // Changed under the lock, as the flags are, so no read-modify-write is needed.
    node.calls.store(node.calls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
}

/// For a new child or stay: passes on the requests that its region got before.
pub(super) fn catch_up(node: &Arc<Node>, child: &Arc<Node>) {
    let (reason, stop) = {
        let inner = node.inner.lock();
        let rest = inner.rest_seen();
        // A cancellation of the children alone was recorded before one of the region.
        let reason = rest.and_then(|rest| rest.below.as_ref()).or_else(|| inner.reason());
        (reason.cloned(), rest.and_then(|rest| rest.stop.clone()))
    };
    let signals = [reason.map(Signal::Cancel), stop.map(Signal::Stop)];
    deliver_to(child, signals.into_iter().flatten().collect(), 0);
}

/// Wakes the waiters here and below, so that they look again, if the link came after a cancellation, or after a change
/// of times.
///
/// In a chain of regions that is left from outside in, each is linked anew, and all that are inside it were told already
/// (R19).
pub(super) fn look_again_unless_quiet(node: &Arc<Node>) {
    if node.inner.lock().rest_seen().is_some_and(|rest| rest.told_to_look == moment()) {
        return;
    }
    let cancelled = look::is_cancelled(node);
    if cancelled || !quiet::is_quiet(node) || node.has(TIMED) {
        // A region that holds is cancelled.
        let held = if cancelled { shields::held_around(node) } else { None };
        wake_to_look(node, held.map(Signal::Shielded));
    }
}

/// Wakes the waiters here and below, so that they look again, because the regions around have changed, or the clock
/// or the times of this region. For example, a cancelled region around was left, so that a cancellation here counts
/// now; or there is a deadline now.
pub(super) fn look_again(node: &Arc<Node>) {
    wake_to_look(node, None);
}

fn wake_to_look(node: &Arc<Node>, held: Option<Signal>) {
    deliver_to(node, held.into_iter().chain([Signal::Look(Event::Other)]).collect(), moment());
}

fn deliver_to(node: &Arc<Node>, signals: Vec<Signal>, moment: u64) {
    let nodes = (0..signals.len()).map(|at| (Arc::clone(node), at)).collect();
    deliver(Taken::default(), Delivery { nodes, signals, moment });
}
