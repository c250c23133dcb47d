//! The frame in which a region polls its body, runs what it adopted, and leaves.
//!
//! Every future that enters a region owns one: `task`, a scope's, a stack's and a group's `run`, `close`,
//! and each child. It holds what only the poller needs, so that the poll path of a region that nobody
//! cancels takes no lock beyond registering a changed waker (R19).

use super::draft::Light;
use super::exit::{Running, run_exits};
use super::observe::Phase;
#[cfg(feature = "tracing")]
use super::observe::Span;
use super::timers::Timers;
use super::{
    ATTENDED, Batch, CANCELLED, DEADLINE, Draft, ENTERED, INBOX, LEFT, Lane, Next, Node, REWAKE,
    ROOT, SHIELD, STOP, Tally, ambient,
};
use crate::failure::{Cause, ExitFailure};
use crate::reason::{Leaving, Reason, ReasonKind};
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use crate::wakers::Mark;
use crate::wrong_task::{Misuse, WrongTask};
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// How a body ended.
pub(crate) enum Ended<T> {
    Value(T),
    Panicked(Payload),
    Cancelled(Reason),
    /// Polled by a task that does not own the region; its exits went home (R2). The value, where the body
    /// had ended already.
    Misplaced(Box<WrongTask>, Option<T>),
}

pub(crate) struct Frame {
    /// Our node: `None` before a [draft](Draft) has one, and while it is in the ambient context.
    node: Option<Arc<Node>>,
    at: &'static Location<'static>,
    stage: Stage,
    /// Which waker the node has, unless `REWAKE` says otherwise.
    waker: Mark,
    extras: Option<Box<Extras>>,
}

/// What a region needs only where something happens in it.
#[derive(Default)]
pub(super) struct Extras {
    pub(super) timers: Timers,
    lane: Lane,
    /// The region's own exit that has begun.
    exit: Option<Running>,
    why: Option<Leaving>,
    /// Whether shields that this poll did not reach were woken, since the last poll that one held.
    shields_woken: bool,
    tally: Tally,
    #[cfg(feature = "tracing")]
    span: Span,
}

/// What a poll came to that need not have done everything there is to do.
pub(super) enum Quick<T> {
    /// The region has been left.
    Value(T),
    Pending,
    /// The body has ended; the region has to be left.
    Ended(Ended<T>),
    Misuse(Box<Misuse>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Inside,
    Left,
}

impl Frame {
    pub(crate) fn new(node: Arc<Node>, at: &'static Location<'static>) -> Self {
        Frame { node: Some(node), ..Frame::draft(at) }
    }

    /// For a region that has no node yet.
    #[inline]
    pub(crate) fn draft(at: &'static Location<'static>) -> Self {
        Frame { node: None, at, stage: Stage::New, waker: Mark::default(), extras: None }
    }

    /// For what was entered already: a child, a stay in a scope.
    pub(crate) fn entered(node: Arc<Node>, at: &'static Location<'static>) -> Self {
        Frame { stage: Stage::Inside, ..Frame::new(node, at) }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        // Only `within` empties the slot, and it puts the node back before anybody can look.
        self.node.as_ref().expect("a frame has its node whenever its body is not polled")
    }

    #[inline]
    pub(crate) fn is_inside(&self) -> bool {
        self.stage == Stage::Inside
    }

    #[inline]
    pub(crate) fn has_left(&self) -> bool {
        self.stage == Stage::Left
    }

    /// Whether it has not been polled, and its node is still to come.
    #[inline]
    pub(crate) fn is_new_draft(&self) -> bool {
        self.stage == Stage::New && self.node.is_none()
    }

    pub(super) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    pub(super) fn extras_seen(&mut self) -> Option<&mut Extras> {
        self.extras.as_deref_mut()
    }

    fn keep_panic(&mut self, payload: Payload) {
        self.extras().tally.panic.get_or_insert(payload);
    }

    fn add_failures(&mut self, failures: Vec<ExitFailure>) {
        if !failures.is_empty() {
            self.extras().tally.failures.extend(failures);
        }
    }

    /// The failures so far, for a record.
    pub(crate) fn take_failures(&mut self) -> Vec<ExitFailure> {
        let extras = self.extras_seen();
        extras.map(|extras| std::mem::take(&mut extras.tally.failures)).unwrap_or_default()
    }

    /// Polls a region that has no node yet for the first time, where that can be done; it gets a node if it needs
    /// one. `shared` tells whether others can reach the draft. With a value the region has been left.
    #[inline(always)]
    pub(super) fn poll_light<F: Future>(
        &mut self,
        draft: &Draft,
        shared: bool,
        body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Option<Quick<F::Output>> {
        let light = draft.light(self.at)?;
        if shared {
            if let Err(misuse) = draft.note_entered(&light) {
                return Some(Quick::Misuse(misuse));
            }
        }
        let settle = |frame: &mut Frame, node| frame.settle(draft, shared, light, node);
        let polled = self.poll_first(light, settle, body, cx);
        if let (true, Some(Quick::Value(_))) = (shared, &polled) {
            draft.note_left();
        }
        polled
    }

    /// Polls a child for the first time, without a node; `settle` makes it, unless it was made inside.
    pub(super) fn poll_newborn<F: Future>(
        &mut self,
        light: Light,
        settle: impl FnOnce(Option<Arc<Node>>) -> Arc<Node>,
        body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Option<Quick<F::Output>> {
        let settle = |frame: &mut Frame, node| {
            frame.begin_in(settle(node));
            Ok(())
        };
        self.poll_first(light, settle, body, cx)
    }

    /// Polls a body in a region without a node; `settle` gives it one where it is not left in this poll, the one that
    /// was made inside or another one.
    #[inline(always)]
    fn poll_first<F: Future>(
        &mut self,
        light: Light,
        settle: impl FnOnce(&mut Self, Option<Arc<Node>>) -> Result<(), Box<Misuse>>,
        mut body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Option<Quick<F::Output>> {
        let mut value = None;
        let once = poll_once(body.as_mut(), cx, &mut value);
        let (caught, shielded, node) = ambient::watch_light(light, once)?;
        if let (Ok(()), Some(_), None) = (&caught, &value, &node) {
            self.stage = Stage::Left;
            return value.map(Quick::Value);
        }
        if let Err(misuse) = settle(self, node) {
            return Some(Quick::Misuse(misuse));
        }
        Some(match self.go_on(caught, value, shielded, false, body, cx) {
            Poll::Pending => Quick::Pending,
            Poll::Ready(ended) => Quick::Ended(ended),
        })
    }

    /// Gives a region that has none its node, which has been entered.
    pub(crate) fn begin_in(&mut self, node: Arc<Node>) {
        self.node = Some(node);
        self.stage = Stage::Inside;
    }

    /// Polls a body to which nothing has happened since it was polled last; `None` where it cannot be known.
    #[inline(always)]
    pub(super) fn poll_calm<F: Future>(
        &mut self,
        mut body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Ended<F::Output>>> {
        if self.stage != Stage::Inside || !self.is_uneventful(cx) || !self.is_in_its_task() {
            return None;
        }
        let mut value = None;
        let once = poll_once(body.as_mut(), cx, &mut value);
        let (caught, shielded) = ambient::watch_within(&mut self.node, false, once);
        if let (Ok(()), None, false, true) = (&caught, &value, shielded, self.is_calm()) {
            return Some(Poll::Pending);
        }
        Some(self.go_on(caught, value, shielded, false, body, cx))
    }

    /// Enters a region that has no node yet, with one.
    pub(super) fn begin_draft(&mut self, draft: &Draft, shared: bool) -> Result<(), Box<Misuse>> {
        if self.stage != Stage::New {
            return Ok(());
        }
        if self.node.is_none() {
            self.node = Some(Arc::clone(draft.node()));
        }
        if shared {
            draft.note_entered_by(ambient::task(), self.at)?;
        }
        self.begin("run")
    }

    #[inline(never)]
    fn settle(
        &mut self,
        draft: &Draft,
        shared: bool,
        light: Light,
        inside: Option<Arc<Node>>,
    ) -> Result<(), Box<Misuse>> {
        let node = match (inside, draft.made()) {
            // Made from outside, meanwhile, and not entered yet.
            (None, Some(outside)) => {
                self.node = Some(Arc::clone(outside));
                return self.begin("run");
            }
            (None, None) => light.node(ambient::current()),
            (Some(inside), _) => inside,
        };
        if shared {
            let settled = draft.settle(Arc::clone(&node));
            if !Arc::ptr_eq(settled, &node) {
                node.stay_in(settled);
            }
        }
        self.begin_in(node);
        Ok(())
    }

    /// Leaves the node that was made outside, where this frame attends another one; see [`settle`](Frame::settle).
    pub(super) fn leave_draft(&self, draft: &Draft) {
        if let (Some(outside), Some(node)) = (draft.made(), &self.node) {
            if !Arc::ptr_eq(outside, node) {
                outside.leave_dynamic();
            }
        }
    }

    /// Enters the region at the first poll; an error leaves it as it was.
    #[inline]
    pub(crate) fn begin(&mut self, operation: &'static str) -> Result<(), Box<Misuse>> {
        if self.stage == Stage::New { self.begin_anew(operation) } else { Ok(()) }
    }

    #[inline(never)]
    fn begin_anew(&mut self, operation: &'static str) -> Result<(), Box<Misuse>> {
        let panic = self.node().attend(operation, self.at)?;
        self.stage = Stage::Inside;
        if let Some(panic) = panic {
            self.keep_panic(panic);
        }
        Ok(())
    }

    /// As [`begin`](Frame::begin), for leaving without a body: every poll has to come from the owner.
    pub(crate) fn begin_close(&mut self) -> Result<(), Box<Misuse>> {
        match self.stage {
            Stage::New => self.begin("close"),
            Stage::Inside if !self.has(ROOT) => Ok(self.node().check("close", self.at)?),
            Stage::Inside | Stage::Left => Ok(()),
        }
    }

    /// Polls the body once, and once more where it turns out to be cancelled: if it is pending then, it
    /// is dropped at the await where it is parked (R6).
    #[inline]
    pub(crate) fn poll_body<F: Future>(
        &mut self,
        mut body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended<F::Output>> {
        if let Err(wrong) = self.check_poller() {
            return self.misplaced(wrong, body);
        }
        let mut last_poll = false;
        if !self.is_calm() {
            self.register(cx.waker());
            if self.is_timed() {
                self.poll_timers(cx);
            }
            last_poll = self.has(CANCELLED);
        }
        let mut value = None;
        let (caught, shielded) = self.poll_within(body.as_mut(), cx, &mut value);
        self.go_on(caught, value, shielded, last_poll, body, cx)
    }

    #[cold]
    fn misplaced<F: Future>(
        &mut self,
        wrong: Box<WrongTask>,
        body: Pin<&mut Option<F>>,
    ) -> Poll<Ended<F::Output>> {
        self.clear(body);
        self.abandon();
        Poll::Ready(Ended::Misplaced(wrong, None))
    }

    #[inline]
    fn poll_within<F: Future>(
        &mut self,
        body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
        value: &mut Option<F::Output>,
    ) -> (Result<(), Payload>, bool) {
        #[cfg(feature = "tracing")]
        let _in_span = {
            let node = Arc::clone(self.node());
            self.extras().span.enter(&node)
        };
        ambient::watch_within(&mut self.node, false, poll_once(body, cx, value))
    }

    /// After a poll of the body: `last_poll` tells whether it is dropped if it is pending.
    #[inline]
    fn go_on<F: Future>(
        &mut self,
        caught: Result<(), Payload>,
        value: Option<F::Output>,
        shielded: bool,
        last_poll: bool,
        body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended<F::Output>> {
        match (caught, value) {
            (Ok(()), Some(value)) => {
                self.drop_timers();
                Poll::Ready(Ended::Value(value))
            }
            (Ok(()), None) if !last_poll && !shielded && self.is_uneventful(cx) => Poll::Pending,
            (Ok(()), None) => self.go_on_pending(shielded, last_poll, body, cx),
            (Err(payload), value) => self.go_on_unwinding(payload, value, body),
        }
    }

    /// Whether a pending body is all there is to this region in this poll.
    #[inline]
    fn is_uneventful(&self, cx: &Context<'_>) -> bool {
        self.is_calm() && self.waker == Mark::of(cx.waker())
    }

    #[inline]
    fn is_calm(&self) -> bool {
        let events = CANCELLED | INBOX | REWAKE | DEADLINE | STOP | SHIELD;
        !self.has(events) && self.extras.is_none()
    }

    /// What the body, or its drop after it had a value, panicked with.
    #[cold]
    fn go_on_unwinding<F: Future>(
        &mut self,
        payload: Payload,
        value: Option<F::Output>,
        body: Pin<&mut Option<F>>,
    ) -> Poll<Ended<F::Output>> {
        match value {
            Some(value) => {
                self.keep_panic(payload);
                self.drop_timers();
                Poll::Ready(Ended::Value(value))
            }
            None => {
                self.clear(body);
                self.extras().why = Some(Leaving::Panicked);
                Poll::Ready(Ended::Panicked(payload))
            }
        }
    }

    #[inline(never)]
    fn go_on_pending<F: Future>(
        &mut self,
        mut shielded: bool,
        last_poll: bool,
        mut body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended<F::Output>> {
        // Whoever cancels or hands over from now on wakes us; what came before is looked at below.
        self.register(cx.waker());
        if !last_poll {
            self.poll_timers(cx);
        }
        if self.has(CANCELLED) {
            if !last_poll {
                let mut value = None;
                let (caught, shield) = self.poll_within(body.as_mut(), cx, &mut value);
                match (caught, value) {
                    (Ok(()), None) => shielded = shield,
                    (caught, value) => return self.go_on(caught, value, shield, true, body, cx),
                }
            }
            if !shielded && !self.shield_is_asleep() {
                return self.cancelled(body);
            }
            if !shielded {
                // What was woken now decides in the next poll.
                let _ = self.poll_adopted(cx);
                ambient::hold_shield();
                return Poll::Pending;
            }
            self.poll_timers(cx);
        }
        let _ = self.poll_adopted(cx);
        if let Some(extras) = self.extras_seen() {
            extras.shields_woken &= !shielded;
        }
        if shielded || self.shields() {
            ambient::hold_shield();
        }
        Poll::Pending
    }

    /// Drops the body at the await where it is parked.
    fn cancelled<F: Future>(&mut self, body: Pin<&mut Option<F>>) -> Poll<Ended<F::Output>> {
        self.clear(body);
        self.drop_timers();
        let reason = self.node().effective_reason();
        let reason = reason.unwrap_or_else(|| Reason::new(ReasonKind::Requested, None, None, None));
        Poll::Ready(Ended::Cancelled(reason))
    }

    #[inline]
    fn drop_timers(&mut self) {
        if let Some(extras) = self.extras_seen() {
            extras.timers = Timers::default();
        }
    }

    /// Whether a shield inside may be up that the last poll did not reach, because something between polls
    /// only what was woken, such as `FuturesUnordered`. It is woken then, and the next poll decides (R12).
    fn shield_is_asleep(&mut self) -> bool {
        if !self.node().has_links() {
            return false;
        }
        let extras = self.extras();
        if std::mem::replace(&mut extras.shields_woken, true) {
            return false;
        }
        self.node().wake_shields_below()
    }

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
        if polled.is_pending() && self.shields() {
            ambient::hold_shield();
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
                _ => match self.node().next_to_do() {
                    Next::Exits => self.run_exits(&why, cx).is_pending(),
                    Next::Inbox => false,
                    Next::Left(records) => {
                        self.add_failures(records);
                        self.stage = Stage::Left;
                        return Poll::Ready(());
                    }
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

    fn run_exits(&mut self, why: &Leaving, cx: &mut Context<'_>) -> Poll<()> {
        let mut tally = match self.extras_seen() {
            Some(extras) => std::mem::take(&mut extras.tally),
            None => Tally::default(),
        };
        let node = Arc::clone(self.node());
        let next = || {
            let exit = node.take_exit()?;
            node.tell_phase(Phase::Exit(exit.registered_at));
            Some(exit)
        };
        let running = run_exits(&node, next, why, cx, &mut tally);
        if !tally.is_empty() {
            self.extras().tally = tally;
        }
        match running {
            Some(running) => {
                self.extras().exit = Some(running);
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }

    /// Drops the body with its region current, so that what is inside finds its way home.
    pub(crate) fn clear<F>(&mut self, mut body: Pin<&mut Option<F>>) {
        if let Err(payload) = ambient::within(&mut self.node, false, || body.set(None)) {
            self.keep_panic(payload);
        }
    }

    /// Runs `user_code`, such as the drop of a group's children, with the region current.
    pub(crate) fn within<R>(&mut self, user_code: impl FnOnce() -> R) -> Result<R, Payload> {
        ambient::within(&mut self.node, false, user_code)
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
        let extras = self.extras.take().map(|extras| *extras).unwrap_or_default();
        let Extras { timers, mut lane, exit, why, mut tally, .. } = extras;
        let why = why.unwrap_or(match &around {
            Some(reason) => Leaving::Cancelled(reason.clone()),
            None => Leaving::Abandoned,
        });
        let (waves, exits, records) = node.leave_now(around);
        let task = node.owner().task;
        lane.take_in(waves);
        let mut wave = lane.collapse(task);
        if let Some(exit) = exit {
            wave.add_running(exit);
        }
        let number = node.number();
        wave.add_batch(Batch { number, why, home: Arc::clone(&node), exits });
        node.hand_over(wave);
        let mut failures = std::mem::take(&mut tally.failures);
        failures.extend(records);
        failures.extend(tally.panic.take().map(|payload| self.panicked(&payload)));
        node.send_failures(failures);
        // Others' drops, after everything of ours is done: what panics here has nowhere to go but the hook.
        if let Err(payload) = unwind::catch(|| drop(timers)) {
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
                node.raise(INBOX);
            }
            if panic.is_some() || !failures.is_empty() {
                let rest = inner.rest();
                rest.records.append(&mut failures);
                rest.panic = panic;
            }
            node.lower(ATTENDED);
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

    fn panicked(&self, payload: &Payload) -> ExitFailure {
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

    #[inline]
    fn is_in_its_task(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.has(ROOT) || node.is_current_tasks())
    }

    /// A root task may move with its future; what is nested in a task is polled by that task (R5).
    #[inline]
    pub(crate) fn check_poller(&self) -> Result<(), Box<WrongTask>> {
        if self.has(ROOT) { Ok(()) } else { self.node().check_owner("poll", self.at) }
    }

    #[inline]
    pub(super) fn has(&self, any_of: u32) -> bool {
        self.node().has(any_of)
    }

    #[inline]
    pub(crate) fn register(&mut self, waker: &Waker) {
        if self.waker != Mark::of(waker) || self.has(REWAKE) {
            self.register_anew(waker);
        }
    }

    #[inline(never)]
    fn register_anew(&mut self, waker: &Waker) {
        self.waker = Mark::of(waker);
        let waker = waker.clone();
        let old = {
            let mut inner = self.node().inner.lock();
            self.node().lower(REWAKE);
            inner.waker.replace(waker)
        };
        drop(old);
    }
}

/// Polls the body, to be run in its region, and drops it there if it has ended, so that what is left in it finds its
/// way home.
#[inline(always)]
fn poll_once<'a, F: Future>(
    mut body: Pin<&'a mut Option<F>>,
    cx: &'a mut Context<'_>,
    value: &'a mut Option<F::Output>,
) -> impl FnOnce() + 'a {
    move || {
        if let Some(Poll::Ready(ended)) = body.as_mut().as_pin_mut().map(|body| body.poll(cx)) {
            *value = Some(ended);
            body.set(None);
        }
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
