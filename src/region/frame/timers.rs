//! The timer of a frame: none is armed until a pending poll needs it (R11).

use super::Frame;
use crate::clock::Timer;
use crate::region::flags::{DEADLINE, SHIELD};
use crate::region::time;
use crate::region::time::Times;
use crate::region::time::clock;
use crate::region::walk;
use crate::unwind::{self, Payload};
use std::task::Context;

#[derive(Default)]
pub(super) struct Timers {
    /// For the next of the region's times.
    pub(super) next: Option<Timer>,
    /// The clock has panicked: the region ends with that panic, and has no timer any more.
    broken: bool,
}

/// Whether a timer is armed that has to be polled before the body is.
pub(crate) fn is_timed(frame: &mut Frame) -> bool {
    frame.extras_seen().is_some_and(|extras| extras.timers.next.is_some())
}

/// For a region that waits for something beside its body: acts on its times that have come, and arms the timer for
/// the next one.
pub(crate) fn poll_times(frame: &mut Frame, cx: &mut Context<'_>) -> Result<(), Payload> {
    poll_timers(frame, Times::All, cx)
}

/// Acts on the region's times that have come, and arms the timer for the next one. A panic of the clock is
/// returned, once.
pub(super) fn poll_timers(
    frame: &mut Frame,
    times: Times,
    cx: &mut Context<'_>,
) -> Result<(), Payload> {
    // Read once: a mark that is set after this stays, and the thread that sets it has woken
    // this run.
    let flags = frame.node().flags();
    let marked = flags & DEADLINE != 0;
    // The cancellation on which a shield's grace depends may change without a wake-up.
    let shields = flags & SHIELD != 0 && clock::grace(frame.node()).is_some();
    let changed = marked || shields;
    if !changed && !is_timed(frame) {
        return Ok(());
    }
    if frame.extras_seen().is_some_and(|extras| extras.timers.broken) {
        return Ok(());
    }
    if marked {
        frame.node().lock_and_lower(DEADLINE);
    }
    let polled = unwind::catch(|| poll_next_timer(frame, changed, times, cx));
    if polled.is_err() {
        let timers = &mut frame.extras().timers;
        timers.broken = true;
        unwind::drop_quietly(timers.next.take());
    }
    polled
}

fn poll_next_timer(frame: &mut Frame, mut changed: bool, times: Times, cx: &mut Context<'_>) {
    let timed = walk::scope_of(frame.node());
    loop {
        if changed {
            let due = time::next_due(&timed, times);
            let extras = frame.extras_seen();
            let armed = extras.and_then(|extras| extras.timers.next.as_ref()).map(Timer::at);
            if due != armed {
                frame.extras().timers.next = due.map(|at| clock::timer(&timed, at));
            }
        }
        let extras = frame.extras_seen();
        let Some(timer) = extras.and_then(|extras| extras.timers.next.as_mut()) else { break };
        if timer.poll(cx).is_pending() {
            break;
        }
        let now = timer.at();
        frame.extras().timers.next = None;
        time::come_due(&timed, now, times);
        changed = true;
    }
    time::give_way_as_scope(frame.node());
}
