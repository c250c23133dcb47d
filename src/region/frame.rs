//! The frame in which a region polls its body, runs what it adopted, and leaves.
//!
//! Every future that enters a region owns one: `task`, a scope's, a stack's and a group's `run`, `close`,
//! and each child. It holds what only the poller needs, so that the poll path of a region that nobody
//! cancels takes no lock beyond registering a changed waker (R19).

use super::exit::Running;
use super::observe::Phase;
#[cfg(feature = "tracing")]
use super::observe::Span;
use super::timers::Timers;
use super::{
    ATTENDED, Batch, CANCELLED, ENTERED, INBOX, LEFT, Lane, Node, REWAKE, ROOT, Tally, ambient,
};
use crate::failure::{Cause, ExitFailure};
use crate::reason::{Leaving, Reason, ReasonKind};
use crate::sync::{Arc, Ordering};
use crate::unwind::{self, Payload};
use crate::wrong_task::{Misuse, WrongTask};
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

/// How a body ended.
pub(crate) enum Ended<T> {
    Value(T),
    Panicked(Payload),
    Cancelled(Reason),
    /// Polled by a task that does not own the region; its exits went home (R2). The value, where the body
    /// had ended already.
    Misplaced(WrongTask, Option<T>),
}

pub(crate) struct Frame {
    /// Our node, or while the body is polled whatever was current before.
    node: Option<Arc<Node>>,
    at: &'static Location<'static>,
    stage: Stage,
    /// The waker that the node has, unless `REWAKE` says otherwise.
    waker: Option<Waker>,
    pub(super) timers: Timers,
    lane: Lane,
    /// The region's own exit that has begun.
    exit: Option<Running>,
    why: Option<Leaving>,
    /// Whether shields that this poll did not reach were woken, since the last poll that one held.
    shields_woken: bool,
    #[cfg(feature = "tracing")]
    span: Span,
    pub(crate) tally: Tally,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Inside,
    Left,
}

impl Frame {
    pub(crate) fn new(node: Arc<Node>, at: &'static Location<'static>) -> Self {
        Frame {
            node: Some(node),
            at,
            stage: Stage::New,
            waker: None,
            timers: Timers::default(),
            lane: Lane::default(),
            exit: None,
            why: None,
            shields_woken: false,
            #[cfg(feature = "tracing")]
            span: Span::default(),
            tally: Tally::default(),
        }
    }

    /// For what was entered already: a child, a stay in a scope.
    pub(crate) fn entered(node: Arc<Node>, at: &'static Location<'static>) -> Self {
        Frame { stage: Stage::Inside, ..Frame::new(node, at) }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        // Only `within` empties the slot, and it puts the node back before anybody can look.
        self.node.as_ref().expect("a frame has its node whenever its body is not polled")
    }

    pub(crate) fn is_inside(&self) -> bool {
        self.stage == Stage::Inside
    }

    pub(crate) fn has_left(&self) -> bool {
        self.stage == Stage::Left
    }

    /// Enters the region at the first poll; an error leaves it as it was.
    pub(crate) fn begin(&mut self, operation: &'static str) -> Result<(), Misuse> {
        if self.stage == Stage::New {
            self.node().attend(operation, self.at)?;
            self.stage = Stage::Inside;
            let panic = self.node().inner.lock().panic.take();
            self.tally.panic = panic;
        }
        Ok(())
    }

    /// As [`begin`](Frame::begin), for leaving without a body: every poll has to come from the owner.
    pub(crate) fn begin_close(&mut self) -> Result<(), Misuse> {
        match self.stage {
            Stage::New => self.begin("close"),
            Stage::Inside if !self.has(ROOT) => self.node().check("close", self.at),
            Stage::Inside | Stage::Left => Ok(()),
        }
    }

    /// Polls the body once, and once more where it turns out to be cancelled: if it is pending then, it
    /// is dropped at the await where it is parked (R6).
    pub(crate) fn poll_body<F: Future>(
        &mut self,
        mut body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended<F::Output>> {
        if let Err(wrong) = self.check_poller() {
            self.clear(body);
            self.abandon();
            return Poll::Ready(Ended::Misplaced(wrong, None));
        }
        self.register(cx.waker());
        if self.is_timed() {
            self.poll_timers(cx);
        }
        let mut last_poll = self.has(CANCELLED);
        loop {
            #[cfg(feature = "tracing")]
            let in_span = {
                let node = Arc::clone(self.node());
                self.span.enter(&node)
            };
            let (polled, shielded) = ambient::poll_within(&mut self.node, || {
                unwind::catch(|| body.as_mut().as_pin_mut().map(|body| body.poll(cx)))
            });
            #[cfg(feature = "tracing")]
            drop(in_span);
            match polled {
                Err(payload) => {
                    self.clear(body);
                    self.why = Some(Leaving::Panicked);
                    return Poll::Ready(Ended::Panicked(payload));
                }
                Ok(Some(Poll::Ready(value))) => {
                    self.clear(body);
                    self.timers = Timers::default();
                    return Poll::Ready(Ended::Value(value));
                }
                Ok(_) if last_poll && !shielded && self.shield_is_asleep() => {
                    let _ = self.poll_adopted(cx);
                    ambient::hold_shield();
                    return Poll::Pending;
                }
                Ok(_) if last_poll && !shielded => {
                    self.clear(body);
                    self.timers = Timers::default();
                    let reason = self.node().effective_reason();
                    let reason = reason
                        .unwrap_or_else(|| Reason::new(ReasonKind::Requested, None, None, None));
                    self.why = Some(Leaving::Cancelled(reason.clone()));
                    return Poll::Ready(Ended::Cancelled(reason));
                }
                Ok(_) => {
                    self.poll_timers(cx);
                    if self.has(CANCELLED) && !last_poll {
                        last_poll = true;
                        continue;
                    }
                    let _ = self.poll_adopted(cx);
                    self.shields_woken &= !shielded;
                    if shielded || self.shields() {
                        ambient::hold_shield();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether a shield inside may be up that the last poll did not reach, because something between polls
    /// only what was woken, such as `FuturesUnordered`. It is woken then, and the next poll decides (R12).
    fn shield_is_asleep(&mut self) -> bool {
        if self.shields_woken {
            return false;
        }
        self.shields_woken = true;
        self.node().wake_shields_below()
    }

    /// Runs what was abandoned inside, beside whatever else the region does.
    pub(crate) fn poll_adopted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.has(INBOX) {
                let (waves, records) = self.node().take_inbox();
                self.lane.take_in(waves);
                self.tally.failures.extend(records);
            }
            let polled = self.lane.poll(cx, &mut self.tally);
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
        if polled.is_pending() && self.shields() {
            ambient::hold_shield();
        }
        polled
    }

    fn poll_exits(&mut self, cx: &mut Context<'_>, why: Leaving) -> Poll<()> {
        self.register(cx.waker());
        let why = self.why.get_or_insert(why).clone();
        loop {
            let adopted = self.poll_adopted(cx);
            if let Some(exit) = &mut self.exit {
                ready!(exit.poll(cx, &mut self.tally));
                self.exit = None;
                continue;
            }
            if adopted.is_pending() {
                self.node().tell_phase(Phase::Adopted);
                return Poll::Pending;
            }
            if let Some(exit) = self.node().pop_exit() {
                self.node().tell_phase(Phase::Exit(exit.registered_at));
                let home = Arc::clone(self.node());
                self.exit = Some(Running::start(exit, why.clone(), home));
                continue;
            }
            if let Some(records) = self.node().try_leave() {
                self.tally.failures.extend(records);
                self.stage = Stage::Left;
                self.waker = None;
                return Poll::Ready(());
            }
        }
    }

    /// Drops the body with its region current, so that what is inside finds its way home.
    pub(crate) fn clear<F>(&mut self, mut body: Pin<&mut Option<F>>) {
        let dropped = ambient::within(&mut self.node, false, || unwind::catch(|| body.set(None)));
        if let Err(payload) = dropped {
            self.tally.panic.get_or_insert(payload);
        }
    }

    /// Runs `user_code`, such as the drop of a group's children, with the region current.
    pub(crate) fn within<R>(&mut self, user_code: impl FnOnce() -> R) -> Result<R, Payload> {
        ambient::within(&mut self.node, false, || unwind::catch(user_code))
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
        let why = self.why.take().unwrap_or(match &around {
            Some(reason) => Leaving::Cancelled(reason.clone()),
            None => Leaving::Abandoned,
        });
        let (waves, exits, records) = node.leave_now(around);
        let task = node.owner().task;
        self.lane.take_in(waves);
        let mut wave = self.lane.collapse(task);
        if let Some(exit) = self.exit.take() {
            wave.add_running(exit);
        }
        let number = node.inner.lock().number;
        wave.add_batch(Batch { number, why, home: Arc::clone(&node), exits });
        node.hand_over(wave);
        let mut failures = std::mem::take(&mut self.tally.failures);
        failures.extend(records);
        failures.extend(self.panic_as_failure());
        node.send_failures(failures);
        // Others' drops, after everything of ours is done: what panics here has nowhere to go but the hook.
        let (waker, timers) = (self.waker.take(), std::mem::take(&mut self.timers));
        let dropped = unwind::catch(|| drop(waker)).and(unwind::catch(|| drop(timers)));
        if let Err(payload) = dropped {
            node.send_failures(vec![self.panicked(&payload)]);
        }
    }

    /// Gives up before the region was entered, because it could not be.
    pub(crate) fn reject(&mut self) {
        self.stage = Stage::Left;
    }

    /// Gives the region back as it is, so that somebody else can leave it (R2): a half-run exit is the
    /// next one again.
    pub(crate) fn detach(&mut self) {
        if self.stage != Stage::Inside {
            return;
        }
        self.stage = Stage::Left;
        let node = Arc::clone(self.node());
        let mut wave = self.lane.collapse(node.owner().task);
        if let Some(exit) = self.exit.take() {
            wave.add_running(exit);
        }
        let waker = {
            let mut inner = node.inner.lock();
            if !wave.is_empty() {
                inner.adopted.push(wave);
                node.raise(INBOX);
            }
            inner.records.append(&mut self.tally.failures);
            inner.panic = self.tally.panic.take();
            node.lower(ATTENDED);
            inner.waker.take()
        };
        drop((waker, self.waker.take()));
    }

    /// The panic to go on with when everything has left: the body's or the first exit's. A second one
    /// becomes a record (R15), and so does an exit's while the thread unwinds already, where it would end
    /// the process.
    pub(crate) fn take_panic(&mut self, body: Option<Payload>) -> Option<Payload> {
        if body.is_some() || std::thread::panicking() {
            let failure = self.panic_as_failure();
            self.tally.failures.extend(failure);
            return body;
        }
        self.tally.panic.take()
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
        self.tally.failures.extend(unclaimed);
    }

    /// Goes on with `panic`, in place of `result`; the failures that no result will tell of go outwards.
    pub(crate) fn resume<R>(&mut self, panic: Payload, result: R) -> ! {
        if let Err(second) = unwind::catch(|| drop(result)) {
            self.tally.failures.push(self.panicked(&second));
        }
        self.send_failures();
        unwind::resume(panic);
    }

    fn panicked(&self, payload: &Payload) -> ExitFailure {
        ExitFailure::Panicked { registered_at: self.at, message: unwind::message(payload) }
    }

    /// Sends the failures so far to the nearest record outwards (R15).
    pub(crate) fn send_failures(&mut self) {
        let failures = std::mem::take(&mut self.tally.failures);
        self.node().send_failures(failures);
    }

    /// Says so where the region is dropped by a task that does not own it (R2).
    pub(crate) fn report_foreign_drop(&self) {
        if self.stage == Stage::Inside && !self.has(ROOT) {
            self.node().report_foreign_drop();
        }
    }

    /// A panic that cannot go on any more, because what would have resumed it was dropped.
    fn panic_as_failure(&mut self) -> Option<ExitFailure> {
        let payload = self.tally.panic.take()?;
        Some(self.panicked(&payload))
    }

    /// A root task may move with its future; what is nested in a task is polled by that task (R5).
    pub(crate) fn check_poller(&self) -> Result<(), WrongTask> {
        if self.has(ROOT) { Ok(()) } else { self.node().check_owner("poll", self.at) }
    }

    pub(super) fn has(&self, any_of: u32) -> bool {
        self.node().flags.load(Ordering::Acquire) & any_of != 0
    }

    pub(crate) fn register(&mut self, waker: &Waker) {
        let registered =
            !self.has(REWAKE) && self.waker.as_ref().is_some_and(|w| w.will_wake(waker));
        if registered {
            return;
        }
        let (ours, theirs) = (waker.clone(), waker.clone());
        let old = {
            let mut inner = self.node().inner.lock();
            self.node().lower(REWAKE);
            inner.waker.replace(theirs)
        };
        drop((old, self.waker.replace(ours)));
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
