//! Requests: a cancellation or a stop, and the way of its signal down the links (R3, R10, R13).
//!
//! # Invariants
//!
//! 1. A request is recorded under the region's lock before a waiter is taken, and a waiter registers before it looks: a
//!    waiter either finds the request or is woken by it.
//! 2. The first reason stays (R10); a region that was left takes none.
//! 3. A signal reaches each region that is linked below in a loop, not by recursion (R14).
//! 4. The *moment* counts the events for which the regions inside another one may have to look: those that begin an epoch,
//!    and the [tidings](crate::sync::tidings), which are changes of times and shields that begin to hold. It is raised before
//!    the links are read under the same lock. So a region that is linked, and was told to look in the moment that is read after
//!    that, has missed nothing.
//! 5. Wakers are woken after the last lock, those from below before the region's own, because a shield has to be woken before
//!    the region around it is polled (R12).

use super::flags::{
    ATTENDED, BELOW, CANCEL_TOLD, CANCELLED, DEADLINE, LEFT, REWAKE, SHELTERED, SHIELD, STOP,
    STOP_TOLD, TIMED, UNWATCHED,
};
use super::kind::Kind;
use super::look;
use super::node::{Inner, Node};
use super::observe;
use super::quiet;
use super::shields;
use super::shortcut::FEW;
use super::time;
use super::walk;
use crate::reason::Reason;
use crate::sync::{Arc, Ordering, Weak, epoch, tidings};
use crate::unwind::{self, Payload};
use crate::wakers::{Taken, wake_all_of};
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
    Held(Reason),
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

/// The regions that a signal has not reached yet, each with its signal.
#[derive(Default)]
pub(super) struct Delivery {
    pub(super) nodes: Vec<(Arc<Node>, usize)>,
    /// Each signal is stored once for all regions that get it.
    pub(super) signals: Vec<Signal>,
    /// Of a delivery that only tells regions to look: the moment in which it began.
    moment: u64,
}

/// See invariant 4.
fn moment() -> u64 {
    epoch().load(Ordering::Acquire) + tidings().load(Ordering::Acquire)
}

/// Something has changed for the regions inside one that is locked, and no epoch begins.
pub(super) fn note_tidings(_locked: &Inner) {
    tidings().fetch_add(1, Ordering::Release);
}

impl Delivery {
    pub(super) fn add(&mut self, to: &Inner, signal: &Signal) {
        let links = to.link_count();
        if links == 0 {
            return;
        }
        // Most signals only tell regions to look, and are stored once for all levels.
        let same = match (signal, self.signals.last()) {
            (Signal::Look(event), Some(Signal::Look(last))) => event == last,
            _ => false,
        };
        if !same {
            self.signals.push(match signal {
                Signal::Children(reason) => Signal::Cancel(reason.clone()),
                signal => signal.clone(),
            });
        }
        let at = self.signals.len() - 1;
        self.nodes.reserve(links);
        self.nodes.extend(to.links().filter_map(Weak::upgrade).map(|node| (node, at)));
    }
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
    let (mut own, mut below) = (Taken::default(), Delivery::default());
    hear(node, Signal::Cancel(reason.clone()), &mut own, &mut below);
    observe::cancelled(node, &reason);
    deliver_request(node, CANCELLED, own, below)
}

/// Cancels the children, including later ones, but not the region itself.
pub(crate) fn cancel_below(node: &Node, reason: Reason) {
    let (mut own, mut below) = (Taken::default(), Delivery::default());
    hear(node, Signal::Children(reason), &mut own, &mut below);
    deliver(own, below);
}

/// Asks this region and every region inside it to wind down (R13).
#[must_use = "a payload must not be dropped where its drop could panic"]
pub(crate) fn stop(node: &Arc<Node>, reason: Reason) -> Option<Payload> {
    let (mut own, mut below) = (Taken::default(), Delivery::default());
    hear(node, Signal::Stop(reason.clone()), &mut own, &mut below);
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
    // A scope that was entered by a call has no run that would watch the time.
    let told = time::change_times(node, |_| if node.is_entered_by_call() { UNWATCHED } else { 0 });
    unwind::first_of([stopped, begun.err(), told].into_iter().flatten())
}

/// Wakes `own` after every region below has got its signal and was woken (invariant 5).
pub(super) fn deliver(own: Taken, below: Delivery) {
    unwind::discard(deliver_all(own, below));
}

/// As [`deliver`]; returns the first panic of a waker.
pub(super) fn deliver_all(own: Taken, below: Delivery) -> Option<Payload> {
    let wakers = reach(below, |_| false);
    wake_all_of(wakers.into_wakers().chain(own.into_wakers()))
}

/// As [`deliver_all`], for a request to `region`: `CANCELLED` or `STOP`.
///
/// In a chain in which each scope gets a request, not each request tells all regions inside (R19). A request that has told
/// more than a few leaves a mark, at which later ones from farther out end. And for each region beyond a few it takes a step
/// outwards: if a region there has got the request too, that request tells the regions inside, because there is no mark here.
fn deliver_request(region: &Node, request: u32, own: Taken, below: Delivery) -> Option<Payload> {
    let (mark, last) = match request {
        CANCELLED => (CANCEL_TOLD, SHIELD | SHELTERED),
        _ => (STOP_TOLD, SHELTERED),
    };
    let mut around = asked_around(region, request, last);
    let (mut reached, mut told) = (0, false);
    let wakers = reach(below, |signal| {
        reached += 1;
        told = told || (reached > FEW && around());
        told && matches!(signal, Signal::Look(Event::Cancelled | Event::Stopped))
    });
    if reached > FEW && !told {
        let inner = region.inner.lock();
        region.raise(&inner, mark);
    }
    wake_all_of(wakers.into_wakers().chain(own.into_wakers()))
}

/// Tells the regions below, without those whose signal is left out; returns the wakers to be woken.
fn reach(mut below: Delivery, mut is_left_out: impl FnMut(&Signal) -> bool) -> Taken {
    let mut wakers = Taken::default();
    while let Some((node, signal)) = below.nodes.pop() {
        walk::step();
        let Some(signal) = takes(&node, &below.signals[signal]) else { continue };
        if is_left_out(&signal) {
            continue;
        }
        if hear(&node, signal, &mut wakers, &mut below) & UNWATCHED != 0 {
            // A panic of its clock must not keep the signal from the other regions.
            unwind::quietly(|| time::begin_graces(&node));
        }
    }
    wakers
}

/// Takes a step outwards from `region` with each call, as far as a region with one of the flags `last`, and returns whether
/// the region there has got `request` and lives.
fn asked_around(region: &Node, request: u32, last: u32) -> impl FnMut() -> bool + '_ {
    let around =
        move |node: &Node, last| if node.has(last) { None } else { walk::live_parent(node) };
    let first = std::iter::once_with(move || around(region, last | LEFT)).flatten();
    let mut all = first
        .flat_map(move |first| std::iter::successors(Some(first), move |node| around(node, last)));
    move || {
        all.next().is_some_and(|node| {
            // Under the lock: a thread that leaves the region after this links the regions inside anew, and then finds this
            // request.
            let _locked = node.inner.lock();
            node.flags() & (request | LEFT) == request
        })
    }
}

/// The signal that a region below takes from `signal`. A child is cancelled with its group; a stay with its scope and for the
/// same reason. Any other region is dropped with the region around it, or survives it, and only looks. `Held` does not pass a
/// shield.
fn takes(node: &Node, signal: &Signal) -> Option<Signal> {
    Some(match (node.kind(), signal) {
        (_, Signal::Held(_)) if node.has(SHIELD | SHELTERED) => return None,
        (Kind::Child, Signal::Cancel(reason) | Signal::Held(reason)) => {
            Signal::Cancel(reason.seen_below())
        }
        (_, Signal::Held(_)) => signal.clone(),
        (Kind::Stay, Signal::Cancel(_) | Signal::Time) => signal.clone(),
        (Kind::Child | Kind::Stay, Signal::Stop(_)) => signal.clone(),
        (_, Signal::Cancel(_) | Signal::Children(_)) => Signal::Look(Event::Cancelled),
        (_, Signal::Stop(_)) => Signal::Look(Event::Stopped),
        (_, Signal::Time) => Signal::Look(Event::Other),
        (_, Signal::Look(event)) => Signal::Look(*event),
    })
}

/// The requests that count for children without a node. If there are more than before, the group's `run` polls
/// those children.
pub(crate) fn told_below(node: &Node) -> u32 {
    node.flags() & (CANCELLED | BELOW)
}

/// The number of the first request that cancelled its children, from [`next_number`](crate::sync::next_number).
pub(super) fn told_at(node: &Node) -> Option<u64> {
    node.inner.lock().more.as_ref().map(|more| more.told).filter(|told| *told != 0)
}

/// The region acts on `signal`, under its lock: it records the request, adds the regions that are linked below to `below`, and
/// moves the wakers that have to be woken to `wakers`. Returns its flags afterwards. A request that it has got before, or that
/// comes after it was left, changes nothing (invariant 2).
pub(super) fn hear(node: &Node, signal: Signal, wakers: &mut Taken, below: &mut Delivery) -> u32 {
    let mut inner = node.inner.lock();
    let heard = match signal {
        Signal::Cancel(_) => LEFT | CANCELLED,
        Signal::Stop(_) => LEFT | STOP,
        Signal::Children(_) | Signal::Held(_) | Signal::Time | Signal::Look(_) => 0,
    };
    if node.has(heard) {
        return node.flags();
    }
    if passes(node, &signal) {
        below.add(&inner, &signal);
    }
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
            // The epoch is raised before the waiters are taken, so that a waiter that
            // registers later sees it, and looks.
            quiet::end_quiet(node);
            true
        }
        Signal::Stop(reason) => {
            let rest = inner.rest();
            rest.stop = Some(reason);
            let grace = rest.times.grace.is_some();
            // The run has to see that its grace begins. A scope that was entered by a call has no
            // run.
            let times = match grace {
                true if node.is_entered_by_call() => UNWATCHED,
                true => DEADLINE,
                false => 0,
            };
            node.raise(&inner, STOP | times);
            quiet::end_quiet(node);
            if grace {
                // Waits inside depend on the end of the grace, even in a region that was stopped before.
                note_tidings(&inner);
                below.add(&inner, &Signal::Look(Event::Other));
            }
            grace
        }
        Signal::Held(_) if node.kind != Kind::Group => return node.flags(),
        Signal::Children(reason) | Signal::Held(reason) => {
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
            if node.flags() & (SHIELD | TIMED) == SHIELD | TIMED {
                // The grace of the shield may begin.
                note_tidings(&inner);
            }
            node.has(SHIELD) || (node.kind != Kind::Child && node.has(CANCELLED))
        }
    };
    take_waiters(node, &mut inner, wakers);
    if wakes_run {
        take_run(node, &mut inner, wakers);
    }
    node.flags()
}

/// Whether the regions below a region that hears `signal` get it as well. In a region with a mark they were told of a request
/// to that region itself; and a shield keeps a cancellation out, as long as it has no grace. A scope that was entered by a call has runs
/// inside that shield.
fn passes(node: &Node, signal: &Signal) -> bool {
    let shield = SHIELD | ATTENDED;
    match signal {
        Signal::Look(Event::Cancelled) => {
            !node.has(CANCEL_TOLD) && node.flags() & (shield | TIMED) != shield
        }
        Signal::Look(Event::Stopped) => !node.has(STOP_TOLD),
        _ => true,
    }
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
    let mut told = Delivery::default();
    for signal in signals.into_iter().flatten() {
        told.nodes.push((Arc::clone(child), told.signals.len()));
        told.signals.push(signal);
    }
    deliver(Taken::default(), told);
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
        wake_to_look(node, held.map(Signal::Held));
    }
}

/// Wakes the waiters here and below, so that they look again, because the regions around have changed, or the clock
/// or the times of this region. For example, a cancelled region around was left, so that a cancellation here counts
/// now; or there is a deadline now.
pub(super) fn look_again(node: &Arc<Node>) {
    wake_to_look(node, None);
}

fn wake_to_look(node: &Arc<Node>, held: Option<Signal>) {
    let moment = moment();
    let signals: Vec<_> = held.into_iter().chain([Signal::Look(Event::Other)]).collect();
    let nodes = (0..signals.len()).map(|at| (Arc::clone(node), at)).collect();
    deliver(Taken::default(), Delivery { nodes, signals, moment });
}
