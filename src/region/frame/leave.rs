//! Leaving a frame's region: its adopted exits, its own exits, and their outcomes; or, when the frame is dropped, the
//! hand-over of all of them.

use super::{Extras, Frame, Stage};
use crate::reason::Leaving;
use crate::region::exit;
use crate::region::exits::{Exit, Exits};
use crate::region::flags::{ATTENDED, ENTERED, INBOX, LEFT, ROOT, SHIELD};
use crate::region::inbox;
use crate::region::kind::Kind;
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
use crate::region::wave::Batch;
use crate::sync::Arc;
use crate::unwind;
use std::panic::Location;
use std::task::{Context, Poll};

impl Frame {
    /// Runs the exits that were abandoned inside, beside the other work of the region.
    #[inline]
    pub(crate) fn poll_adopted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.extras.is_none() && !self.has(INBOX) {
            return Poll::Ready(());
        }
        self.poll_lane(cx)
    }

    #[inline(never)]
    fn poll_lane(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.has(INBOX) {
                let (waves, records) = inbox::take_inbox(self.node());
                self.extras().lane.take_in(waves);
                self.add_failures(records);
            }
            let Extras { lane, tally, .. } = self.extras();
            let polled = lane.poll(cx, tally);
            self.tell_failures();
            // An exit may itself have abandoned other exits.
            if !self.has(INBOX) {
                return polled;
            }
        }
    }

    /// For a region that waits for something beside its body: its adopted exits go on.
    pub(crate) fn poll_meanwhile(&mut self, cx: &mut Context<'_>) {
        self.register(cx.waker());
        let _ = self.poll_adopted(cx);
    }

    /// Whether the cancelled region, after its body was dropped, must not be left yet: a region around it is
    /// cancelled too, catches, and drops it (R9). Meanwhile its adopted exits go on.
    pub(crate) fn waits_for_outer(&mut self, cx: &mut Context<'_>) -> bool {
        // A child ends for its group, even if a region around the group is cancelled.
        if self.node().kind() == Kind::Child || !look::is_caught_outside(self.node()) {
            return false;
        }
        // If it was only lent to the cancelled region, it is woken when that region has left.
        links::link_up(self.node());
        self.register(cx.waker());
        // T1 looks; T2 leaves the region around and wakes nothing here; T1 registers, and
        // sleeps. So T1 looks again.
        if !look::is_caught_outside(self.node()) {
            return false;
        }
        let pending = self.poll_adopted(cx).is_pending();
        pending || self.extras_seen().is_none_or(|extras| !extras.tally.has_panicked())
    }

    /// Leaves the region: adopted exits first, then its own exits, last in first out, then it closes.
    /// `why` is the reason for the exits, unless the body's end decided it already.
    pub(crate) fn poll_leave(
        &mut self,
        cx: &mut Context<'_>,
        why: Leaving,
        own: Option<&OwnExits>,
    ) -> Poll<()> {
        if self.stage == Stage::Left {
            return Poll::Ready(());
        }
        let polled = self.poll_exits(cx, why, own);
        if polled.is_pending() && self.has(SHIELD) {
            if let Err(payload) = self.poll_timers(Times::OfShield, cx) {
                self.keep_panic(payload);
            }
            self.hold_own_shield();
        }
        polled
    }

    fn poll_exits(
        &mut self,
        cx: &mut Context<'_>,
        why: Leaving,
        own: Option<&OwnExits>,
    ) -> Poll<()> {
        let decided = self.extras_seen().and_then(|extras| extras.why.clone());
        let why = decided.unwrap_or(why);
        loop {
            let adopted = self.poll_adopted(cx);
            let waits = match self.extras_seen() {
                Some(Extras { exit: Some(exit), tally, .. }) => {
                    if exit.poll(cx, tally).is_ready() {
                        self.extras().exit = None;
                        self.tell_failures();
                        continue;
                    }
                    true
                }
                _ if adopted.is_pending() => {
                    observe::phase(self.node(), Phase::Adopted);
                    true
                }
                _ => match self.run_exits(&why, own, cx) {
                    Poll::Pending => true,
                    Poll::Ready(Next::Left(records)) => {
                        self.add_failures(records);
                        self.stage = Stage::Left;
                        return Poll::Ready(());
                    }
                    Poll::Ready(_) => false,
                },
            };
            if waits {
                self.register(cx.waker());
                // An exit that was handed over before the registration did not wake this run.
                if !self.has(INBOX) {
                    self.extras().why = Some(why);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Runs the region's own exits as long as they end at once, as most do. Ready with the next step.
    fn run_exits(
        &mut self,
        why: &Leaving,
        own: Option<&OwnExits>,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        let mut tally = match self.extras_seen() {
            Some(extras) => std::mem::take(&mut extras.tally),
            None => Tally::default(),
        };
        let next = loop {
            let (first, more) = match self.node().next_to_do(own) {
                Next::Exit(exit, more) => (exit, more),
                next => break Poll::Ready(next),
            };
            observe::phase(self.node(), Phase::Exit(first.registered_at()));
            // Further exits are taken while the region is current, which needs a second reference. A single exit needs
            // none.
            let node = more.then(|| Arc::clone(self.node()));
            let next = || {
                let (node, own) = (node.as_ref()?, own?);
                let exit = own.pop(node)?;
                observe::phase(node, Phase::Exit(exit.registered_at()));
                Some(exit)
            };
            let running = exit::run(first, next, &mut self.node, why, cx, &mut tally);
            if running.is_some() {
                self.extras().exit = running;
                break Poll::Pending;
            }
        };
        if !tally.is_empty() {
            self.extras().tally = tally;
            self.tell_failures();
        }
        next
    }

    /// Leaves before the end: all remaining exits go to the nearest live region around (R8). The body
    /// must have been dropped (invariant 3).
    pub(crate) fn abandon(&mut self, own: Option<&OwnExits>) {
        if self.stage == Stage::Inside {
            self.abandon_with(own, Exits::default());
        }
    }

    /// As [`abandon`](Frame::abandon), with an exit that the region gets at its end. If it was left before, the exit
    /// goes outwards alone.
    pub(crate) fn abandon_to(&mut self, last: Option<Exit>) {
        match last {
            Some(exit) if self.stage != Stage::Inside => {
                let (node, number) = (self.node(), self.node().number());
                inbox::hand_over(node, inbox::wave_of(node, exit, number, Leaving::Abandoned));
            }
            Some(exit) => self.abandon_with(None, exit.into()),
            None => self.abandon(None),
        }
    }

    fn abandon_with(&mut self, own: Option<&OwnExits>, last: Exits) {
        self.abandon_keeping(own, last);
        if let Some(extras) = self.extras_seen() {
            extras.tally.panic_as_failure();
            self.send_failures();
        }
    }

    /// As [`abandon`](Frame::abandon), for a run that returns all the same: its result has the failures so far.
    pub(crate) fn abandon_keeping(&mut self, own: Option<&OwnExits>, last: Exits) {
        self.stage = Stage::Left;
        let node = Arc::clone(self.node());
        let around = look::effective_reason(&node);
        let mut extras = self.extras.take();
        let why = extras.as_mut().and_then(|extras| extras.why.take());
        let why = why.unwrap_or(match &around {
            Some(reason) => Leaving::Cancelled(reason.clone()),
            None => Leaving::Abandoned,
        });
        let Abandoned { waves, exits, records, number } = node.leave_now(around, own);
        let exits = if own.is_some() { exits } else { last };
        if extras.is_none() && waves.is_empty() && exits.is_empty() && records.is_empty() {
            return;
        }
        let mut extras = extras.unwrap_or_default();
        extras.lane.take_in(waves);
        let mut wave = extras.lane.collapse(node.owner.task());
        if let Some(exit) = extras.exit.take() {
            exit.comes_before(exits.len());
            wave.add_running(exit);
        }
        if !exits.is_empty() {
            wave.add_batch(Batch { number, why, home: Some(Arc::clone(&node)), exits });
        }
        inbox::hand_over(&node, wave);
        let mut tally = std::mem::take(&mut extras.tally);
        tally.failures.append(records);
        let reported = std::mem::take(&mut extras.reported);
        // Drops of user code come after all work of the crate.
        if let Err(payload) = unwind::catch(|| drop(extras)) {
            tally.caught(Caught::of(owner::id(&node), payload, self.at));
        }
        if !(tally.is_empty() && reported.is_empty()) {
            let extras = self.extras();
            (extras.tally, extras.reported) = (tally, reported);
        }
    }

    /// Hands the region back, so that its owner can still leave it (R2): a half-run exit is the next
    /// one again.
    pub(crate) fn detach(&mut self) {
        if self.stage != Stage::Inside {
            return;
        }
        self.stage = Stage::Left;
        let node = Arc::clone(self.node());
        let Extras { mut lane, exit, mut tally, .. } =
            self.extras.take().map(|extras| *extras).unwrap_or_default();
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
                rest.sent.keep(failures);
                rest.panic = panic;
            }
            node.lower(&inner, ATTENDED);
            inner.waker.take()
        };
        drop(waker);
    }

    /// Reports a drop of the region by a task that does not own it (R2).
    pub(crate) fn report_foreign_drop(&self) {
        if self.stage == Stage::Inside && !self.has(ROOT) {
            owner::report_foreign_drop(self.node());
        }
    }
}

impl Node {
    /// Hands over the exits of a region that no frame attends: a stack that is dropped without having
    /// been run or closed.
    pub(crate) fn abandon_unattended(self: &Arc<Self>, own: &OwnExits) {
        if self.has(LEFT) || !self.has(ENTERED) {
            return;
        }
        owner::report_foreign_drop(self);
        let at = self.entered_at().unwrap_or_else(|| Location::caller());
        let mut frame = Frame::entered(Arc::clone(self), at);
        // The panic of an exit that ran before the stack was handed back half closed.
        let kept = self.inner.lock().rest_mut().and_then(|rest| rest.panic.take());
        if let Some(panic) = kept {
            frame.keep_caught(panic);
        }
        frame.abandon(Some(own));
    }
}
