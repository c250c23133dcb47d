//! An exit: its registered work, and its single run (R14).
//!
//! # Invariants
//!
//! 1. An exit is polled and dropped with its region current, under a panic catch of its own (R8, R14).
//! 2. An exit ends once. Its outcome is in a tally before it is dropped, or with the panic of that drop.
//! 3. The time of an exit begins with its first poll that is pending, and no later region extends it (R14).

use super::ambient;
use super::exits::Exit;
use super::node::Node;
use super::observe::{self, Beginnings};
use super::tally::{ExitError, Tally};
use super::time::clock;
use super::wave::Running;
use crate::reason::Leaving;
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use std::error::Error;
use std::fmt;
use std::task::{Context, Poll, ready};
use std::time::Duration;

impl Running {
    /// `exits` exits of the same region come after it; the region has given them away.
    pub(super) fn comes_before(&self, exits: usize) {
        observe::comes_before(&self.begun, exits);
    }

    /// As that of [`ExitWork`].
    pub(super) fn claim(&self) -> bool {
        self.exit.as_ref().is_some_and(Exit::claim)
    }

    /// Polls it once; ready when it has ended, well or not, and its outcome is in `tally`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()> {
        if self.exit.is_none() {
            return Poll::Ready(());
        }
        let (exit, why) = (&mut self.exit, &self.why);
        let poll = || {
            let _in_span = self.begun.enter();
            poll_once(exit, why, cx, tally)
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
                observe::is_bounded(&self.begun, due);
                Some((grace, clock::timer(home, due)))
            });
        }
        match &mut self.bound {
            Some((grace, timer)) => timer.poll(cx).map(|()| *grace),
            None => Poll::Pending,
        }
    }
}

fn clock_panicked(payload: Payload) -> ExitError {
    ExitError::Failed(Box::new(ClockPanicked(unwind::into_message(payload))))
}

#[derive(Debug)]
struct ClockPanicked(String);

impl fmt::Display for ClockPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the clock of its stack's grace panicked: {}; give its task a clock that works where the exit runs",
            self.0
        )
    }
}

impl Error for ClockPanicked {}

/// Runs `first` and the exits that `next` takes from the region in `home`, each under its own panic catch, as long as
/// they end at once, as most do. Returns the exit that does not.
///
/// Their region is current, so that they have the identity of the task that registered them (R8).
#[inline]
pub(super) fn run(
    first: Exit,
    mut next: impl FnMut() -> Option<Exit>,
    home: &mut Option<Arc<Node>>,
    why: &Leaving,
    cx: &mut Context<'_>,
    tally: &mut Tally,
) -> Option<Running> {
    let mut beginnings = Beginnings::of(home.as_ref());
    let parked = ambient::within_caught(home, true, || {
        let mut exit = Some(first);
        while let Some(registered_at) = exit.as_ref().map(Exit::registered_at) {
            let begun = beginnings.next(registered_at, why);
            let polled = {
                let _in_span = begun.enter();
                poll_once(&mut exit, why, cx, tally)
            };
            if polled.is_pending() {
                return Some((exit, registered_at, begun));
            }
            exit = next();
        }
        None
    });
    let Some((exit, registered_at, mut begun)) = parked else {
        beginnings.end(home.as_ref(), None);
        return None;
    };
    let is_shown = exit.as_ref().is_some_and(|exit| !exit.only_waits());
    let shown = is_shown.then_some((&mut begun, registered_at, why));
    beginnings.end(home.as_ref(), shown);
    let mut running =
        Running { exit, registered_at, why: why.clone(), home: home.clone(), bound: None, begun };
    running.check_bound(cx, tally).is_pending().then_some(running)
}

/// Polls the exit, and drops it when it has ended, with its region current.
fn poll_once(
    exit: &mut Option<Exit>,
    why: &Leaving,
    cx: &mut Context<'_>,
    tally: &mut Tally,
) -> Poll<()> {
    let Some(registered_at) = exit.as_ref().map(Exit::registered_at) else {
        return Poll::Ready(());
    };
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
            // The panic may be that of the drop of an exit that has ended.
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
