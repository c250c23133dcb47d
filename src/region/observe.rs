//! Events for `tracing` and `inspect`, each behind its feature; without them these functions do nothing.
//!
//! # Invariants
//!
//! 1. A function that tells a subscriber is called outside every lock, because a subscriber is user code (R18). [`exits`] tells
//!    none, and is called under the lock of a stack's cell.
//! 2. A panic of a subscriber ends here, after the panic hook has reported it, because it must not interrupt the
//!    caller.

#![cfg_attr(
    not(all(feature = "inspect", feature = "tracing")),
    allow(unused_variables, reason = "each argument is for one of the features")
)]

pub(super) mod begun;

#[cfg(feature = "tracing")]
use super::flags::{CANCELLED, STOP};
use super::node::Node;
#[cfg(feature = "tracing")]
use super::owner;
use super::phase::Phase;
#[cfg(feature = "inspect")]
use super::register;
#[cfg(feature = "tracing")]
use super::time::clock;
use super::wave::Wave;
#[cfg(feature = "tracing")]
use crate::lasting::Lasting;
use crate::reason::{Leaving, Reason};
use crate::sync::Arc;
#[cfg(feature = "tracing")]
use crate::unwind::quietly;
use begun::Begun;
#[cfg(feature = "tracing")]
use begun::InSpan;
use std::panic::Location;
use std::time::Instant;

/// With `inspect` or `tracing` every region has a node from the start, which observers see.
pub(super) const OBSERVED: bool = cfg!(any(feature = "inspect", feature = "tracing"));

/// The span around a region's body.
#[cfg(feature = "tracing")]
#[derive(Default)]
pub(super) struct Span {
    span: Option<tracing::Span>,
    /// The requests that the span has in its fields: `STOP`, `CANCELLED`.
    told: u32,
}

#[cfg(feature = "tracing")]
impl Span {
    /// Enters the span, which is made at the first poll. A poll after a request adds the request's reason to it.
    pub(super) fn enter(&mut self, node: &Node) -> InSpan {
        let mut entered = None;
        quietly(|| {
            let span = self.span.get_or_insert_with(|| span_of(node));
            let requests = node.flags() & (STOP | CANCELLED) & !self.told;
            if requests != 0 && !span.is_disabled() {
                self.told |= requests;
                record_request(span, node);
            }
            entered = Some(span.clone().entered());
        });
        InSpan(entered)
    }
}

#[cfg(feature = "tracing")]
fn span_of(node: &Node) -> tracing::Span {
    let span = tracing::debug_span!(
        target: "moored",
        "region",
        region = owner::describe(node),
        owner = owner::id(node).map(|task| task.to_string()),
        entered_at = node.entered_at().map(|at| at.to_string()),
        shielded = node.is_shielded(),
        deadline_left = tracing::field::Empty,
        grace_left = tracing::field::Empty,
        reason = tracing::field::Empty,
    );
    if !span.is_disabled() {
        record_time(&span, node, "deadline_left", clock::deadline(node));
    }
    span
}

/// The time until `due`, by the clock of the region.
#[cfg(feature = "tracing")]
fn record_time(span: &tracing::Span, node: &Node, field: &str, due: Option<Instant>) {
    let Some(due) = due else { return };
    // A clock is user code. If it panics, the span goes without the time (invariant 2).
    quietly(|| {
        let left = due.saturating_duration_since(clock::now(node));
        span.record(field, format!("{:.1}", Lasting(left)));
    });
}

/// The reason of a cancellation, else that of a stop, with the rest of its grace. The node is unlocked when the span gets them
/// (invariant 1).
#[cfg(feature = "tracing")]
fn record_request(span: &tracing::Span, node: &Node) {
    let (cancelled, stopped, due, to_begin) = {
        let inner = node.inner.lock();
        let rest = inner.rest_seen();
        let times = rest.map(|rest| (rest.times.stop_due, rest.times.grace_to_begin()));
        let (due, to_begin) = times.unwrap_or_default();
        (inner.reason().cloned(), rest.and_then(|rest| rest.stop.clone()), due, to_begin)
    };
    if let Some(reason) = cancelled {
        span.record("reason", reason.to_string());
        return;
    }
    let Some(reason) = stopped else { return };
    span.record("reason", format!("asked to wind down{}", reason.requested_by()));
    match to_begin {
        // The run begins the grace after this poll of the body.
        Some(grace) => drop(span.record("grace_left", Lasting(grace).to_string())),
        None => record_time(span, node, "grace_left", due),
    }
}

/// Whether a subscriber is interested in the level `DEBUG`.
#[cfg(feature = "tracing")]
fn is_debugged() -> bool {
    let mut debugged = false;
    quietly(|| debugged = tracing::enabled!(target: "moored", tracing::Level::DEBUG));
    debugged
}

/// The exits of one region, as they begin one after the other.
pub(super) struct Beginnings {
    #[cfg(feature = "tracing")]
    home: Option<Arc<Node>>,
    #[cfg(feature = "inspect")]
    begun: usize,
}

impl Beginnings {
    #[inline]
    pub(super) fn of(home: Option<&Arc<Node>>) -> Self {
        Beginnings {
            #[cfg(feature = "tracing")]
            home: home.filter(|_| is_debugged()).cloned(),
            #[cfg(feature = "inspect")]
            begun: 0,
        }
    }

    /// The next exit begins.
    #[inline]
    pub(super) fn next(
        &mut self,
        registered_at: &'static Location<'static>,
        why: &Leaving,
    ) -> Begun {
        #[cfg(feature = "inspect")]
        {
            self.begun += 1;
        }
        #[allow(unused_mut, reason = "changed with the feature `tracing`")]
        let mut begun = Begun::default();
        #[cfg(feature = "tracing")]
        quietly(|| {
            begun.span = self.home.as_ref().map(|home| {
                tracing::debug_span!(
                    target: "moored",
                    "exit",
                    stack = owner::describe(home),
                    owner = owner::id(home).map(|task| task.to_string()),
                    registered_at = registered_at.to_string(),
                    entered_at = home.entered_at().map(|at| at.to_string()),
                    why = why.to_text(),
                    grace = clock::exit_grace(home).map(|grace| Lasting(grace).to_string()),
                    number = tracing::field::Empty,
                )
            });
        });
        begun
    }

    /// All exits that have begun have ended, except `last`, if there is one. `last` has the place of its registration
    /// and the reason why it runs.
    #[inline]
    pub(super) fn end(
        self,
        home: Option<&Arc<Node>>,
        last: Option<(&mut Begun, &'static Location<'static>, &Leaving)>,
    ) {
        #[cfg(feature = "inspect")]
        if let Some(home) = home {
            let number = register::count_begun(home, self.begun);
            if let Some((begun, at, why)) = last {
                #[cfg(feature = "tracing")]
                quietly(|| {
                    begun.span.as_ref().map(|span| span.record("number", number));
                });
                begun.shown = Some(register::show_exit(home, at, why, number));
            }
        }
    }
}

/// `exits` exits of the same region come after `begun`; the region has given them away.
#[inline]
pub(super) fn comes_before(begun: &Begun, exits: usize) {
    #[cfg(feature = "inspect")]
    if let Some(shown) = &begun.shown {
        register::comes_before(shown, exits);
    }
}

/// The exit is cut off at `due`.
#[inline]
pub(super) fn bounded(begun: &Begun, due: Instant) {
    #[cfg(feature = "inspect")]
    if let Some(shown) = &begun.shown {
        register::note_due(shown, due);
    }
}

pub(super) fn entered(node: &Arc<Node>) {
    #[cfg(feature = "inspect")]
    register::enter(node);
    #[cfg(feature = "tracing")]
    quietly(|| {
        let at = node.entered_at().map(|at| at.to_string());
        tracing::trace!(target: "moored", region = owner::describe(node), entered_at = at, "entered");
    });
}

pub(super) fn left(node: &Node) {
    #[cfg(feature = "inspect")]
    register::leave(node);
    #[cfg(feature = "tracing")]
    quietly(|| tracing::trace!(target: "moored", region = owner::describe(node), "left"));
}

pub(crate) fn phase(node: &Node, phase: Phase) {
    #[cfg(feature = "inspect")]
    register::note(node, phase);
    #[cfg(feature = "tracing")]
    quietly(|| tracing::trace!(target: "moored", region = owner::describe(node), "{phase}"));
}

/// The region has so many exits that have not begun.
#[inline]
pub(super) fn exits(node: &Node, exits: usize) {
    #[cfg(feature = "inspect")]
    register::count_exits(node, exits);
}

pub(super) fn cancelled(node: &Node, reason: &Reason) {
    #[cfg(feature = "tracing")]
    quietly(
        || tracing::debug!(target: "moored", region = owner::describe(node), %reason, "cancelled"),
    );
}

pub(super) fn stopped(node: &Node, reason: &Reason) {
    #[cfg(feature = "tracing")]
    quietly(|| {
        let asked = reason.requested_by();
        tracing::debug!(target: "moored", region = owner::describe(node), "asked to wind down{asked}");
    });
}

/// The group's `run` was dropped, and executor children have not left.
pub(crate) fn children_remain(node: &Node) {
    #[cfg(feature = "inspect")]
    register::keep(node);
}

/// The last of those children has left, or no region waits for them any more.
pub(crate) fn children_gone(node: &Node) {
    #[cfg(feature = "inspect")]
    register::let_go_of_group(node);
}

/// Returns the function that reports the adoption of `wave`, which this region has abandoned.
pub(super) fn adopted(node: &Node, wave: &Wave) -> impl FnOnce(&Node) + use<> {
    #[cfg(feature = "tracing")]
    let exits = { is_debugged().then(|| (owner::describe_with_owner(node), wave.len())) };
    move |by| {
        #[cfg(feature = "tracing")]
        if let Some((from, exits)) = exits {
            let exits = crate::failure::counted(exits, "exit");
            quietly(
                || tracing::debug!(target: "moored", region = owner::describe(by), "adopted {exits} from {from}"),
            );
        }
    }
}
