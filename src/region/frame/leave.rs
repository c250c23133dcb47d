//! How a frame's region is left: what it adopted, its own exits, and what they ended with; or, when it is dropped, all
//! that goes home.

use super::super::exit;
use super::super::leave::Abandoned;
use super::super::observe::Phase;
use super::super::{
    ATTENDED, Batch, ENTERED, INBOX, LEFT, Next, Node, ROOT, SHIELD, Tally, ambient,
};
use super::{Extras, Frame, Stage};
use crate::failure::{Cause, ExitFailure};
use crate::reason::Leaving;
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use std::panic::Location;
use std::task::{Context, Poll};

impl Frame {
    /// Runs what was abandoned inside, beside whatever else the region does.
    pub(crate) fn poll_adopted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.extras.is_none() && !self.has(INBOX) {
            return Poll::Ready(());
        }
        loop {
            if self.has(INBOX) {
                let (waves, records) = self.node().take_inbox();
                self.extras().lane.take_in(waves);
                self.add_failures(records);
            }
            let Extras { lane, tally, .. } = self.extras();
            let polled = lane.poll(cx, tally);
            // An exit may itself have abandoned something.
            if !self.has(INBOX) {
                return polled;
            }
        }
    }

    /// For a region that waits for something beside its body: it goes on with what it adopted.
    pub(crate) fn poll_meanwhile(&mut self, cx: &mut Context<'_>) {
        self.register(cx.waker());
        let _ = self.poll_adopted(cx);
    }

    /// Leaves the region: what it adopted first, then its own exits, last in first out, then it closes.
    /// `why` is what the exits are told, unless the body's end said it already.
    pub(crate) fn poll_leave(&mut self, cx: &mut Context<'_>, why: Leaving) -> Poll<()> {
        if self.stage == Stage::Left {
            return Poll::Ready(());
        }
        let polled = self.poll_exits(cx, why);
        if polled.is_pending() && self.has(SHIELD) {
            self.poll_shield(cx);
            if self.has(SHIELD) {
                ambient::hold_shield();
            }
        }
        polled
    }

    fn poll_exits(&mut self, cx: &mut Context<'_>, why: Leaving) -> Poll<()> {
        let decided = self.extras_seen().and_then(|extras| extras.why.clone());
        let why = decided.unwrap_or(why);
        loop {
            let adopted = self.poll_adopted(cx);
            let waits = match self.extras_seen() {
                Some(Extras { exit: Some(exit), tally, .. }) => {
                    if exit.poll(cx, tally).is_ready() {
                        self.extras().exit = None;
                        continue;
                    }
                    true
                }
                _ if adopted.is_pending() => {
                    self.node().tell_phase(Phase::Adopted);
                    true
                }
                _ => match self.run_exits(&why, cx) {
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
                // What was handed over before that did not wake us.
                if !self.has(INBOX) {
                    self.extras().why = Some(why);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Runs the region's own exits as long as they end at once; most do. Ready with what there is to do then.
    fn run_exits(&mut self, why: &Leaving, cx: &mut Context<'_>) -> Poll<Next> {
        let mut tally = match self.extras_seen() {
            Some(extras) => std::mem::take(&mut extras.tally),
            None => Tally::default(),
        };
        let next = loop {
            let (first, more) = match self.node().next_to_do() {
                Next::Exit(exit, more) => (exit, more),
                next => break Poll::Ready(next),
            };
            self.node().tell_phase(Phase::Exit(first.registered_at));
            // Those that follow are taken while the region is current. One that is alone needs no count of references.
            let node = more.then(|| Arc::clone(self.node()));
            let next = || {
                let node = node.as_ref()?;
                let exit = node.take_exit()?;
                node.tell_phase(Phase::Exit(exit.registered_at));
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
        }
        next
    }

    /// Leaves without having finished: everything that is left goes to the nearest live region around
    /// (R8). The body must have been dropped.
    pub(crate) fn abandon(&mut self) {
        if self.stage != Stage::Inside {
            return;
        }
        self.stage = Stage::Left;
        let node = Arc::clone(self.node());
        let around = node.effective_reason();
        let mut extras = self.extras.take();
        let why = extras.as_mut().and_then(|extras| extras.why.take());
        let why = why.unwrap_or(match &around {
            Some(reason) => Leaving::Cancelled(reason.clone()),
            None => Leaving::Abandoned,
        });
        let Abandoned { waves, exits, records, number } = node.leave_now(around);
        if extras.is_none() && waves.is_empty() && exits.is_empty() && records.is_empty() {
            return;
        }
        let mut extras = extras.unwrap_or_default();
        extras.lane.take_in(waves);
        let mut wave = extras.lane.collapse(node.owner_task());
        if let Some(exit) = extras.exit.take() {
            wave.add_running(exit);
        }
        if !exits.is_empty() {
            wave.add_batch(Batch { number, why, home: Some(Arc::clone(&node)), exits });
        }
        node.hand_over(wave);
        let mut failures = std::mem::take(&mut extras.tally.failures);
        failures.extend(records);
        failures.extend(extras.tally.panic.take().map(|payload| self.panicked(&payload)));
        node.send_failures(failures);
        // Others' drops, after everything of ours is done: what panics here has nowhere to go but the hook.
        if let Err(payload) = unwind::catch(|| drop(extras)) {
            node.send_failures(vec![self.panicked(&payload)]);
        }
    }

    /// Gives the region back as it is, so that somebody else can leave it (R2): a half-run exit is the
    /// next one again.
    pub(crate) fn detach(&mut self) {
        if self.stage != Stage::Inside {
            return;
        }
        self.stage = Stage::Left;
        let node = Arc::clone(self.node());
        let Extras { mut lane, exit, tally, .. } =
            self.extras.take().map(|extras| *extras).unwrap_or_default();
        let mut wave = lane.collapse(node.owner().task);
        if let Some(exit) = exit {
            wave.add_running(exit);
        }
        let Tally { mut failures, panic } = tally;
        let waker = {
            let mut inner = node.inner.lock();
            if !wave.is_empty() {
                inner.more().adopted.push(wave);
                node.raise(&inner, INBOX);
            }
            if panic.is_some() || !failures.is_empty() {
                let rest = inner.rest();
                rest.records.append(&mut failures);
                rest.panic = panic;
            }
            node.lower(&inner, ATTENDED);
            inner.waker.take()
        };
        drop(waker);
    }

    /// The panic to go on with when everything has left: the body's or the first exit's. A second one
    /// becomes a record (R15), and so does an exit's while the thread unwinds already, where it would end
    /// the process.
    pub(crate) fn take_panic(&mut self, body: Option<Payload>) -> Option<Payload> {
        let at = self.at;
        let Some(Extras { tally, .. }) = self.extras.as_deref_mut() else { return body };
        if body.is_some() || std::thread::panicking() {
            if let Some(payload) = tally.panic.take() {
                let message = unwind::message(&payload);
                tally.failures.push(ExitFailure::Panicked { registered_at: at, message });
            }
            return body;
        }
        tally.panic.take()
    }

    /// Notes the tasks whose errors a panic takes the place of: the errors themselves nobody can claim (R15).
    pub(crate) fn unclaimed<E>(&mut self, causes: &[Cause<E>]) {
        let own = self.node().owner_id();
        let tasks = causes.iter().filter_map(|cause| match cause {
            Cause::Child { task, .. } => Some(task.clone()),
            Cause::Body(_) => own.clone(),
            _ => None,
        });
        let registered_at = self.at;
        let unclaimed = tasks.map(|task| ExitFailure::Unclaimed { registered_at, task });
        self.add_failures(unclaimed.collect());
    }

    /// Goes on with `panic`, in place of `result`; the failures that no result will tell of go outwards.
    pub(crate) fn resume<R>(&mut self, panic: Payload, result: R) -> ! {
        if let Err(second) = unwind::catch(|| drop(result)) {
            self.add_failures(vec![self.panicked(&second)]);
        }
        self.send_failures();
        unwind::resume(panic);
    }

    pub(super) fn panicked(&self, payload: &Payload) -> ExitFailure {
        ExitFailure::Panicked { registered_at: self.at, message: unwind::message(payload) }
    }

    /// Sends the failures so far to the nearest record outwards (R15).
    #[inline]
    pub(crate) fn send_failures(&mut self) {
        if self.extras.is_some() {
            let failures = self.take_failures();
            self.node().send_failures(failures);
        }
    }

    /// Says so where the region is dropped by a task that does not own it (R2).
    pub(crate) fn report_foreign_drop(&self) {
        if self.stage == Stage::Inside && !self.has(ROOT) {
            self.node().report_foreign_drop();
        }
    }

    pub(super) fn keep_panic(&mut self, payload: Payload) {
        self.extras().tally.panic.get_or_insert(payload);
    }

    pub(super) fn add_failures(&mut self, failures: Vec<ExitFailure>) {
        if !failures.is_empty() {
            self.extras().tally.failures.extend(failures);
        }
    }

    /// The failures so far, for a record.
    pub(crate) fn take_failures(&mut self) -> Vec<ExitFailure> {
        let extras = self.extras_seen();
        extras.map(|extras| std::mem::take(&mut extras.tally.failures)).unwrap_or_default()
    }
}

impl Node {
    /// Hands over the exits of a region that no frame attends: a stack that is dropped without having
    /// been run or closed.
    pub(crate) fn abandon_unattended(self: &Arc<Self>) {
        if self.has(LEFT) || !self.has(ENTERED) {
            return;
        }
        self.report_foreign_drop();
        let at = self.entered_at().unwrap_or_else(|| Location::caller());
        Frame::entered(Arc::clone(self), at).abandon();
    }
}
