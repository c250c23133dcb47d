//! Leaving a frame's region: its adopted exits, its own exits, and their outcomes; or, when the frame is dropped, the
//! hand-over of all of them.

use super::{Extras, Frame, Quick, Stage};
use crate::reason::Leaving;
use crate::region::crowd::Abreast;
use crate::region::exit;
use crate::region::exits::Exit;
use crate::region::flags::{ATTENDED, ENTERED, INBOX, LEFT, ROOT, SHIELD, TIMELESS};
use crate::region::frame;
use crate::region::inbox;
use crate::region::kind::Kind;
use crate::region::leave;
use crate::region::leave::{Abandoned, Next};
use crate::region::links;
use crate::region::look;
use crate::region::node::Node;
use crate::region::observe;
use crate::region::own_exits::OwnExits;
use crate::region::owner;
use crate::region::phase::Phase;
use crate::region::tally::{Caught, Tally};
use crate::region::time::Times;
use crate::region::wave::{Batch, Running};
use crate::sync::Arc;
use crate::unwind;
use std::panic::Location;
use std::task::{Context, Poll};

/// Runs the exits that were abandoned inside, beside the other work of the region.
#[inline]
pub(crate) fn poll_adopted(frame: &mut Frame, cx: &mut Context<'_>) -> Poll<()> {
    // Invariant 4 of `frame`.
    if frame.extras.is_none() && !frame.has(INBOX) {
        return Poll::Ready(());
    }
    poll_lane(frame, cx)
}

#[inline(never)]
fn poll_lane(frame: &mut Frame, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if frame.has(INBOX) {
            let (waves, records) = inbox::take_inbox(frame.node());
            frame.extras().lane.take_in(waves);
            frame.add_failures(records);
        }
        let Extras { lane, tally, .. } = frame.extras();
        let polled = lane.poll(cx, tally);
        frame.tell_failures();
        // An exit may itself have abandoned other exits.
        if !frame.has(INBOX) {
            return polled;
        }
    }
}

/// For a region that waits for something beside its body: its adopted exits go on.
pub(crate) fn poll_meanwhile(frame: &mut Frame, cx: &mut Context<'_>) {
    frame.register(cx.waker());
    let _ = poll_adopted(frame, cx);
}

/// Whether the cancelled region, after its adopted exits have ended, must not be left yet: a region around it is
/// cancelled too, catches, and drops it (R9). One of the exits may have cancelled it.
fn waits_for_outer(frame: &mut Frame, cx: &mut Context<'_>) -> bool {
    // A child ends for its group, even if a region around the group is cancelled.
    if frame.node().kind == Kind::Child || !look::is_caught_outside(frame.node()) {
        return false;
    }
    // If it was only lent to the cancelled region, it is woken when that region has left.
    links::link_up(frame.node());
    frame.register(cx.waker());
    // T1 looks; T2 leaves the region around and wakes nothing here; T1 registers, and
    // sleeps. So T1 looks again.
    look::is_caught_outside(frame.node())
        && frame.extras_seen().is_none_or(|extras| !extras.tally.has_panicked())
}

/// Leaves the region: adopted exits first, then its own exits, last in first out, then it closes.
/// `why` is the reason for the exits, unless the body's end decided it already. `catches`: a cancellation of the region is
/// its result.
pub(crate) fn poll_leave(
    frame: &mut Frame,
    cx: &mut Context<'_>,
    why: Leaving,
    catches: bool,
    own: Option<&OwnExits>,
) -> Poll<()> {
    if frame.stage == Stage::Left {
        return Poll::Ready(());
    }
    if !frame.has(TIMELESS) {
        // Before the exits run, which may ask for the region's times.
        frame.node().lock_and_raise(TIMELESS);
    }
    let polled = poll_exits(frame, cx, why, catches, own);
    if polled.is_pending() && frame.has(SHIELD) {
        let timed = frame::poll_timers(frame, Times::OfShield, cx);
        frame.keep_panic_of(timed);
        frame::hold_own_shield(frame);
    }
    polled
}

fn poll_exits(
    frame: &mut Frame,
    cx: &mut Context<'_>,
    why: Leaving,
    catches: bool,
    own: Option<&OwnExits>,
) -> Poll<()> {
    let decided = frame.extras_seen().and_then(|extras| extras.why.clone());
    let why = decided.unwrap_or(why);
    loop {
        let adopted = poll_adopted(frame, cx);
        let waits = match frame.extras_seen() {
            Some(Extras { exit: Some(exit), tally, .. }) => {
                if exit.poll(cx, tally).is_ready() {
                    frame.extras().exit = None;
                    frame.tell_failures();
                    continue;
                }
                true
            }
            _ if adopted.is_pending() => {
                observe::phase(frame.node(), Phase::Adopted);
                true
            }
            _ => {
                let outer = catches && waits_for_outer(frame, cx);
                let next = if outer { Poll::Pending } else { run_exits(frame, &why, own, cx) };
                if let Poll::Ready(Next::Left(records)) = next {
                    frame.add_failures(records);
                    frame.stage = Stage::Left;
                    return Poll::Ready(());
                }
                next.is_pending()
            }
        };
        if waits {
            frame.register(cx.waker());
            // An exit that was handed over before the registration did not wake this run.
            if !frame.has(INBOX) {
                frame.extras().why = Some(why);
                return Poll::Pending;
            }
        }
    }
}

/// Runs the region's own exits as long as they end at once, as most do. Ready with the next step.
fn run_exits(
    frame: &mut Frame,
    why: &Leaving,
    own: Option<&OwnExits>,
    cx: &mut Context<'_>,
) -> Poll<Next> {
    let mut tally = match frame.extras_seen() {
        Some(extras) => std::mem::take(&mut extras.tally),
        None => Tally::default(),
    };
    let next = loop {
        let running = own.and_then(|own| {
            let node = Arc::clone(frame.node());
            let mut take = own.take_each(Some(&node));
            let next = || {
                let exit = take()?;
                observe::phase(&node, Phase::Exit(exit.registered_at()));
                Some(exit)
            };
            exit::run(next, &mut frame.node, why, cx, &mut tally)
        });
        if running.is_some() {
            frame.extras().exit = running;
            break Poll::Pending;
        }
        match leave::next_step(frame.node(), own) {
            Next::Exit => {}
            next => break Poll::Ready(next),
        }
    };
    if !tally.is_empty() {
        frame.extras().tally = tally;
        frame.tell_failures();
    }
    next
}

/// Goes on with a stack whose exits have begun without a node, as far as that is all of the poll: `running` has not ended.
pub(in crate::region) fn go_on_with(
    frame: &mut Frame,
    running: Option<Running>,
    why: Leaving,
    tally: Tally,
    cx: &mut Context<'_>,
) -> Quick {
    if !tally.is_empty() {
        frame.extras().tally = tally;
        frame.tell_failures();
    }
    if running.is_none() {
        return Quick::GoOn;
    }
    (frame.extras().exit, frame.extras().why) = (running, Some(why));
    frame.register(cx.waker());
    // An exit that was handed over before the registration did not wake this run.
    if frame.has(INBOX) { Quick::GoOn } else { Quick::Pending }
}

/// Leaves before the end: all remaining exits go to the nearest live region around (R8). The body
/// must have been dropped (invariant 3 of `frame`).
///
/// `last` is an exit that the region gets at its end, with the number by which the exit is sorted. If the region was left before,
/// the exit goes outwards alone.
pub(crate) fn abandon(frame: &mut Frame, own: Option<&OwnExits>, last: Option<(u64, Exit)>) {
    if frame.stage == Stage::Inside {
        abandon_keeping(frame, own, last);
        if let Some(extras) = frame.extras_seen() {
            extras.tally.panic_as_failure();
            frame.send_failures();
        }
    } else if let Some((number, exit)) = last {
        let node = frame.node();
        inbox::hand_over(node, inbox::wave_of(node, exit, number, Leaving::Abandoned));
    }
}

/// As [`abandon`], for a run that returns all the same: its result has the failures so far.
pub(crate) fn abandon_keeping(
    frame: &mut Frame,
    own: Option<&OwnExits>,
    last: Option<(u64, Exit)>,
) {
    frame.stage = Stage::Left;
    let node = Arc::clone(frame.node());
    let around = look::effective_reason(&node);
    let mut extras = frame.extras.take();
    let why = extras.as_mut().and_then(|extras| extras.why.take());
    let why = why.unwrap_or(match &around {
        Some(reason) => Leaving::Cancelled(reason.clone()),
        None => Leaving::Abandoned,
    });
    let Abandoned { waves, exits, records } = leave::close_now(&node, around, own);
    // Only a stack has exits of its own, and only a group gets one at its end.
    let (number, exits) = match (own, last) {
        (None, Some((number, exit))) => (number, exit.into()),
        (own, _) => (own.map_or(0, OwnExits::number), exits),
    };
    if extras.is_none() && waves.is_empty() && exits.is_empty() && records.is_empty() {
        return;
    }
    // Most regions that are dropped here have none: nothing was adopted, and no exit has begun.
    let taken =
        extras.as_deref_mut().map(|extras| (std::mem::take(&mut extras.lane), extras.exit.take()));
    let (mut lane, begun) = taken.unwrap_or_default();
    lane.take_in(waves);
    let mut wave = lane.collapse(node.owner.task());
    if let Some(exit) = begun {
        exit.comes_before(exits.len());
        wave.add_running(exit);
    }
    if !exits.is_empty() {
        // No batch is empty (invariant 2 of `wave`).
        wave.add_batch(Batch { number, why, home: Some(Arc::clone(&node)), exits });
    }
    inbox::hand_over(&node, wave);
    let (mut tally, reported) = match extras.as_deref_mut() {
        Some(extras) => (std::mem::take(&mut extras.tally), std::mem::take(&mut extras.reported)),
        None => Default::default(),
    };
    tally.failures.append(records);
    // Drops of user code come after all work of the crate.
    if let Err(payload) = unwind::catch(|| drop(extras)) {
        tally.caught(Caught::of(owner::id(&node), payload, frame.at));
    }
    if !(tally.is_empty() && reported.is_empty()) {
        let extras = frame.extras();
        (extras.tally, extras.reported) = (tally, reported);
    }
}

/// Hands the region back, so that its owner can still leave it (R2): a half-run exit is the next
/// one again.
pub(crate) fn detach(frame: &mut Frame) {
    if frame.stage != Stage::Inside {
        return;
    }
    frame.stage = Stage::Left;
    let node = Arc::clone(frame.node());
    let Extras { mut lane, exit, mut tally, .. } =
        frame.extras.take().map(|extras| *extras).unwrap_or_default();
    let mut wave = lane.collapse(node.owner.get().task);
    if let Some(exit) = exit {
        wave.add_running(exit);
    }
    let (panic, failures) = (tally.take_panic(None), tally.take_failures());
    let waker = {
        let mut inner = node.inner.lock();
        if !wave.is_empty() {
            inner.more().adopted.push(wave);
            node.raise(&inner, INBOX);
        }
        if panic.is_some() || !failures.is_empty() {
            let rest = inner.rest();
            rest.sent.append(failures);
            rest.panic = panic;
        }
        node.lower(&inner, ATTENDED);
        inner.waker.take()
    };
    drop(waker);
}

/// Reports a drop of the region by a task that does not own it (R2).
pub(crate) fn report_foreign_drop(frame: &Frame) {
    if frame.stage == Stage::Inside && !frame.has(ROOT) {
        owner::report_foreign_drop(frame.node());
    }
}

/// Hands over the exits of a region that no frame attends: a stack that is dropped without having
/// been run or closed.
pub(crate) fn abandon_unattended(node: &Arc<Node>, own: &OwnExits) {
    if node.has(LEFT) || !node.has(ENTERED) {
        return;
    }
    owner::report_foreign_drop(node);
    let at = node.entered_at().unwrap_or_else(|| Location::caller());
    let mut frame = Frame::entered(Arc::clone(node), at);
    // The panic of an exit that ran before the stack was handed back half closed.
    let kept = node.inner.lock().rest_mut().and_then(|rest| rest.panic.take());
    if let Some(panic) = kept {
        frame.extras().tally.caught(panic);
    }
    abandon(&mut frame, Some(own), None);
}
