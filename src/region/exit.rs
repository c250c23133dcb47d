//! An exit: its registered work, and its single run (R14).
//!
//! # Invariants
//!
//! 1. An exit is polled and dropped with its region current, under a panic catch of its own (R8, R14).
//! 2. An exit ends once. Its outcome is in a tally before it is dropped, or with the panic of that drop.
//! 3. The time of an exit begins with its first poll that is pending, and no later region extends it (R14).

use super::ambient::{self, Light};
use super::crowd::Abreast;
use super::exits::Exit;
use super::node::Node;
use super::observe::begun::Begun;
use super::observe::{self, Beginnings};
use super::tally::{ExitError, Tally};
use super::time::clock;
use super::wave::Running;
use crate::reason::Leaving;
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use std::panic::Location;
use std::task::{Context, Poll, ready};
use std::time::Duration;

impl Running {
    /// `exits` exits of the same region come after it; the region has given them away.
    pub(super) fn comes_before(&self, exits: usize) {
        observe::comes_before(&self.begun, exits);
    }

    /// See [`ExitWork::claim`](super::ExitWork::claim).
    pub(super) fn claim(&self) -> bool {
        self.exit.as_ref().is_some_and(Exit::claim)
    }

    /// Cuts the exit off if its time is over (invariant 3).
    fn check_bound(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()> {
        // A panic of the clock is a failure of this exit alone.
        let cut_off = match unwind::catch(|| self.poll_bound(cx)) {
            Ok(polled) => ExitError::TimedOut(ready!(polled)),
            Err(payload) => clock_panicked(payload),
        };
        tally.exit_ended(self.registered_at, Ok(Err(cut_off)));
        let exit = self.exit.take();
        if let Err(payload) = ambient::within(&mut self.home, true, || drop(exit)) {
            tally.exit_ended(self.registered_at, Err(payload));
        }
        Poll::Ready(())
    }

    /// Ready when the exit has used up the grace of the stack that registered it (R14).
    fn poll_bound(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        if self.bound.is_none() {
            let home = self.home.as_ref();
            self.bound = home.and_then(|home| {
                let grace = clock::exit_grace(home)?;
                let due = clock::now(home).checked_add(grace)?;
                observe::bounded(&self.begun, due);
                Some((grace, clock::timer(home, due)))
            });
        }
        match &mut self.bound {
            Some((grace, timer)) => timer.poll(cx).map(|()| *grace),
            None => Poll::Pending,
        }
    }
}

impl Abreast for Running {
    fn poll(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()> {
        if self.exit.is_none() {
            return Poll::Ready(());
        }
        let (exit, why) = (&mut self.exit, &self.why);
        let poll = || {
            let _in_span = self.begun.enter();
            poll_once(exit, self.registered_at, why, cx, tally)
        };
        if ambient::within_caught(&mut self.home, true, poll).is_pending() {
            ready!(self.check_bound(cx, tally));
        }
        if let Some(bound) = self.bound.take() {
            if let Err(payload) = unwind::catch(|| drop(bound)) {
                tally.exit_ended(self.registered_at, Ok(Err(clock_panicked(payload))));
            }
        }
        Poll::Ready(())
    }
}

fn clock_panicked(payload: Payload) -> ExitError {
    let text = unwind::into_message(payload);
    let advice = "give its task a clock that works where the exit runs";
    ExitError::Failed(format!("the clock of its stack's grace panicked: {text}; {advice}").into())
}

/// Runs the exits that `next` takes from the region in `home`, each under its own panic catch, as long as
/// they end at once, as most do. Returns the exit that does not.
///
/// Their region is current, so that they have the identity of the task that registered them (R8).
#[inline]
pub(super) fn run(
    next: impl FnMut() -> Option<Exit>,
    home: &mut Option<Arc<Node>>,
    why: &Leaving,
    cx: &mut Context<'_>,
    tally: &mut Tally,
) -> Option<Running> {
    let mut beginnings = Beginnings::of(home.as_ref());
    let begun = &mut beginnings;
    let parked = ambient::within_caught(home, true, || run_each(next, begun, why, cx, tally));
    let Some(mut parked) = parked else {
        beginnings.end(home.as_ref(), None);
        return None;
    };
    let is_shown = parked.exit.as_ref().is_some_and(|exit| !exit.only_waits());
    let shown = is_shown.then_some((&mut parked.begun, parked.registered_at, why));
    beginnings.end(home.as_ref(), shown);
    parked.running(home.clone(), why, cx, tally)
}

/// An exit that has not ended at its first poll.
pub(super) struct Parked {
    exit: Option<Exit>,
    registered_at: &'static Location<'static>,
    begun: Begun,
}

impl Parked {
    /// The exit goes on as a [`Running`] of its region `home`. `None` if its time is over already.
    pub(super) fn running(
        self,
        home: Option<Arc<Node>>,
        why: &Leaving,
        cx: &mut Context<'_>,
        tally: &mut Tally,
    ) -> Option<Running> {
        let Parked { exit, registered_at, begun } = self;
        let mut running =
            Running { exit, registered_at, why: why.clone(), home, bound: None, begun };
        running.check_bound(cx, tally).is_pending().then_some(running)
    }
}

#[inline]
fn run_each(
    mut next: impl FnMut() -> Option<Exit>,
    beginnings: &mut Beginnings,
    why: &Leaving,
    cx: &mut Context<'_>,
    tally: &mut Tally,
) -> Option<Parked> {
    loop {
        let mut exit = next();
        let registered_at = exit.as_ref()?.registered_at();
        let begun = beginnings.next(registered_at, why);
        let polled = {
            let _in_span = begun.enter();
            poll_once(&mut exit, registered_at, why, cx, tally)
        };
        if polled.is_pending() {
            return Some(Parked { exit, registered_at, begun });
        }
    }
}

/// As [`run`], for a region without a node, as long as it gets none; returns the exit that does not end at once, and the node,
/// if one was made. `None` if no region can become current, because the thread is exiting.
///
/// A region without a node is not observed.
#[inline]
pub(super) fn run_light(
    region: &Light,
    mut next: impl FnMut() -> Option<Exit>,
    why: &Leaving,
    cx: &mut Context<'_>,
    tally: &mut Tally,
) -> Option<(Option<Parked>, Option<Arc<Node>>)> {
    let (parked, shielded, node) = ambient::within_light_exits(region, || {
        let next = || if ambient::has_node() { None } else { next() };
        run_each(next, &mut Beginnings::of(None), why, cx, tally)
    })?;
    if shielded {
        ambient::hold_shield();
    }
    Some((parked, node))
}

/// Polls the exit, and drops it when it has ended. The caller has made the region of the exit current (invariant 1).
fn poll_once(
    exit: &mut Option<Exit>,
    registered_at: &'static Location<'static>,
    why: &Leaving,
    cx: &mut Context<'_>,
    tally: &mut Tally,
) -> Poll<()> {
    let mut ended = None;
    let polled = unwind::catch(|| {
        let Some(running) = exit else { return };
        if let Poll::Ready(outcome) = running.poll(cx, why) {
            ended = Some(outcome);
            *exit = None;
        }
    });
    match polled {
        Ok(()) => match ended {
            None => return Poll::Pending,
            Some(Ok(())) => {}
            Some(outcome) => tally.exit_ended(registered_at, Ok(outcome)),
        },
        Err(payload) => {
            // The panic may be that of the drop of an exit that has ended (invariant 2).
            if let Some(outcome) = ended {
                tally.exit_ended(registered_at, Ok(outcome));
            }
            tally.exit_ended(registered_at, Err(payload));
            let exit = exit.take();
            if let Err(payload) = unwind::catch(|| drop(exit)) {
                tally.exit_ended(registered_at, Err(payload));
            }
        }
    }
    Poll::Ready(())
}
