//! The way of a signal down the links.

use super::hear;
use super::{Event, Signal};
use crate::region::flags::{
    ATTENDED, CANCEL_TOLD, CANCELLED, LEFT, SHELTERED, SHIELD, STOP_TOLD, TIMED, UNWATCHED,
};
use crate::region::kind::Kind;
use crate::region::node::{Inner, Node};
use crate::region::shortcut;
use crate::region::time;
use crate::region::walk;
use crate::sync::{Arc, EXPLORED, Weak};
use crate::unwind::{self, Payload};
use crate::wakers::{Taken, wake_all_of};

/// The number of regions that a request tells before it looks for marks, and leaves one. The explorers of threads, which try
/// every order of locks, take the locks for that only in models of three regions.
const UNMARKED: usize = if EXPLORED { 1 } else { shortcut::FEW };

/// The regions that a signal has not reached yet, each with its signal.
#[derive(Default)]
pub(in crate::region) struct Delivery {
    pub(in crate::region) nodes: Vec<(Arc<Node>, usize)>,
    /// Each signal is stored once for all regions that get it.
    pub(in crate::region) signals: Vec<Signal>,
    /// Of a delivery that only tells regions to look: the moment in which it began.
    pub(super) moment: u64,
}

impl Delivery {
    pub(in crate::region) fn add(&mut self, to: &Inner, signal: &Signal) {
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
        if let Some(link) = to.only_link() {
            if let Some(node) = link.upgrade() {
                self.nodes.push((node, at));
            }
            return;
        }
        self.nodes.reserve(links);
        self.nodes.extend(to.links().filter_map(Weak::upgrade).map(|node| (node, at)));
    }
}

/// Wakes `own` after every region below has got its signal and was woken (invariant 5 of `request`).
pub(in crate::region) fn deliver(own: Taken, below: Delivery) {
    unwind::discard(deliver_all(own, below));
}

/// As [`deliver`]; returns the first panic of a waker.
pub(in crate::region) fn deliver_all(own: Taken, below: Delivery) -> Option<Payload> {
    wake_inside_out(own, reach(below, |_| false))
}

/// Wakes `below` before `own` (invariant 5 of `request`).
fn wake_inside_out(own: Taken, below: Taken) -> Option<Payload> {
    wake_all_of(below.into_wakers().chain(own.into_wakers()))
}

/// As [`deliver_all`], for a request to `region`: `CANCELLED` or `STOP`.
///
/// In a chain in which each scope gets a request, not each request tells all regions inside (R19). A request that has told
/// more than a few regions leaves a mark, at which later requests from farther out end. And for each region beyond a few it takes
/// a step outwards: if a region there has got a request too, that request tells the regions inside, because there is no mark
/// here.
pub(super) fn deliver_request(
    region: &Node,
    request: u32,
    own: Taken,
    below: Delivery,
) -> Option<Payload> {
    let (mark, last) = match request {
        CANCELLED => (CANCEL_TOLD, SHIELD | SHELTERED),
        _ => (STOP_TOLD, SHELTERED),
    };
    let (mut reached, mut told) = (0, false);
    let mut around = None;
    let wakers = reach(below, |signal| {
        reached += 1;
        if reached > UNMARKED && !told {
            let around = around.get_or_insert_with(|| Outwards::from(region, request, last));
            told = around.finds_request();
        }
        told && matches!(signal, Signal::Look(Event::Cancelled | Event::Stopped))
    });
    if reached > UNMARKED && !told {
        region.lock_and_raise(mark);
    }
    wake_inside_out(own, wakers)
}

/// Tells the regions below, without those whose signal is left out, in a loop (invariant 3 of `request`); returns the wakers to
/// be woken.
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

/// A walk outwards from a region, a step at a time, as far as a region with one of the flags `last`.
struct Outwards {
    request: u32,
    last: u32,
    /// The region of the next step; `None` at the end.
    at: Option<Arc<Node>>,
}

impl Outwards {
    fn from(region: &Node, request: u32, last: u32) -> Self {
        let at = if region.has(last | LEFT) { None } else { walk::parent_in_exit(region) };
        Outwards { request, last, at }
    }

    /// Whether the region of this step has got the request and lives.
    #[inline]
    fn finds_request(&mut self) -> bool {
        self.at.take().is_some_and(|node| self.step(&node))
    }

    #[inline(never)]
    fn step(&mut self, node: &Node) -> bool {
        let found = {
            // Under the lock: a thread that leaves the region after this links the regions inside anew, and then finds this
            // request.
            let _locked = node.inner.lock();
            node.flags() & (self.request | LEFT) == self.request
        };
        self.at = if node.has(self.last) { None } else { walk::parent_in_exit(node) };
        found
    }
}

/// The signal that a region below takes from `signal`. A child is cancelled with its group; a stay with its scope and for the
/// same reason. Any other region is dropped with the region around it, or survives it, and only looks. `Shielded` does not pass a
/// shield.
#[inline(always)]
fn takes(node: &Node, signal: &Signal) -> Option<Signal> {
    match signal {
        // Most regions are reached in this way.
        Signal::Look(event) => Some(Signal::Look(*event)),
        _ if node.kind == Kind::Child || node.is_stay() => takes_itself(node, signal),
        Signal::Shielded(_) => takes_itself(node, signal),
        Signal::Cancel(_) | Signal::Children(_) => Some(Signal::Look(Event::Cancelled)),
        Signal::Stop(_) => Some(Signal::Look(Event::Stopped)),
        Signal::Time => Some(Signal::Look(Event::Other)),
    }
}

#[inline(never)]
fn takes_itself(node: &Node, signal: &Signal) -> Option<Signal> {
    Some(match (node.kind, signal) {
        (_, Signal::Shielded(_)) if node.has(SHIELD | SHELTERED) => return None,
        (Kind::Child, Signal::Cancel(reason) | Signal::Shielded(reason)) => {
            Signal::Cancel(reason.seen_below())
        }
        (Kind::Child, Signal::Time) => Signal::Look(Event::Other),
        _ => signal.clone(),
    })
}

/// Whether the regions below a region that hears `signal` get it as well. If the region has a mark, the regions below were told
/// of a request to it. A shield without a grace keeps a cancellation out. The runs of a scope that was entered by a call are
/// inside the shield of that scope, so its runs are told.
pub(super) fn passes(node: &Node, signal: &Signal) -> bool {
    let shield = SHIELD | ATTENDED;
    match signal {
        Signal::Look(Event::Cancelled) => {
            !node.has(CANCEL_TOLD) && node.flags() & (shield | TIMED) != shield
        }
        Signal::Look(Event::Stopped) => !node.has(STOP_TOLD),
        _ => true,
    }
}
