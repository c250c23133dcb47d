//! The frame in which a region polls its body, runs the exits that it adopted, and leaves.
//!
//! Every future that enters a region owns a frame: `task`, a scope's, a stack's and a group's `run`,
//! `close`, and each child that has a node. The frame holds the state that only the poller needs, so that the poll path of a
//! region that is not cancelled takes no lock beyond registering a changed waker (R19).
//!
//! # Invariants
//!
//! 1. The field `node` is `None` before the region has a node, and while code of the user runs with the region current: its
//!    body, the drop of the body, its exits. At any other time it is the node.
//! 2. The mark of the waker is that of the waker in the node, unless `REWAKE` is set (invariant 4 of the room).
//! 3. The body is dropped with its region current, and before the exits of the region run or are handed over (R7).
//! 4. A frame without extras has no timer, no adopted exit, no failure and no exit that has begun.

mod ending;
mod enter;
mod failures;
mod leave;
mod poll;
mod result;
mod shields;
mod timers;

use super::ambient;
use super::body::Body;
use super::crowd::Crowd;
use super::flags::{REWAKE, ROOT};
use super::kind::Kind;
use super::look;
use super::node::Node;
#[cfg(feature = "tracing")]
use super::observe::Span;
use super::owner;
use super::tally::Tally;
use super::wave::{Running, Wave};
use crate::failure::Failures;
use crate::reason::{Leaving, Reason};
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use crate::wakers::Mark;
use crate::wrong_task::{Misuse, WrongTask};
pub(crate) use ending::Ended;
pub(crate) use enter::{begin, begin_close, begin_in, end};
pub(super) use enter::{begin_draft, end_times, leave_draft, poll_draft};
pub(super) use leave::go_on_with;
pub(crate) use leave::{
    abandon, abandon_keeping, abandon_unattended, detach, poll_adopted, poll_leave, poll_meanwhile,
    report_foreign_drop,
};
pub(super) use poll::{after_quick_poll, poll_calm, poll_fresh};
pub(crate) use poll::{hold_own_shield, poll_body};
pub(crate) use result::Errors;
use shields::ShieldWait;
use shields::waits_for_shield;
use std::panic::Location;
use std::task::Waker;
use timers::Timers;
use timers::poll_timers;
pub(crate) use timers::{is_timed, poll_times};

pub(crate) struct Frame {
    /// The node: `None` before a [draft](super::Draft) has one, and while it is in the ambient context.
    node: Option<Arc<Node>>,
    at: &'static Location<'static>,
    stage: Stage,
    pub(super) progress: Progress,
    /// The waker that the node has, unless `REWAKE` is set.
    waker: Mark,
    extras: Option<Box<Extras>>,
}

/// State that is needed only once a region has an event.
#[derive(Default)]
pub(super) struct Extras {
    timers: Timers,
    lane: Crowd<Wave>,
    /// The region's own exit that has begun.
    exit: Option<Running>,
    why: Option<Leaving>,
    shield_wait: ShieldWait,
    tally: Tally,
    /// Of a scope: failures that were reported to the hook, for a cancellation that may come
    /// later.
    reported: Failures,
    #[cfg(feature = "tracing")]
    span: Span,
}

/// The result of a quick poll.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quick {
    /// The region has been left, with a value.
    Left,
    Pending,
    /// The caller has more to do; the frame's `progress` tells what.
    GoOn,
}

/// The next step of a run.
#[derive(Default)]
pub(super) enum Progress {
    /// The body is to be polled, once the region is entered.
    #[default]
    Body,
    /// The body has ended, and the region is being left.
    Ended(Ended),
    /// The region could not be entered; the run still has to return this error.
    Refused(Box<Misuse>),
}

/// Whether the region of a frame is entered, for this frame. The progress tells how far its body has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not entered: the frame was not polled, or the region could not be entered.
    New,
    Inside,
    /// Left, by this frame or elsewhere; or handed back to its owner. The frame does nothing any more.
    Left,
}

impl Frame {
    pub(crate) fn new(node: Arc<Node>, at: &'static Location<'static>) -> Self {
        Frame { node: Some(node), ..Frame::draft(at) }
    }

    /// For a region that has no node yet.
    #[inline]
    pub(crate) fn draft(at: &'static Location<'static>) -> Self {
        Frame {
            node: None,
            at,
            stage: Stage::New,
            progress: Progress::Body,
            waker: Mark::default(),
            extras: None,
        }
    }

    /// For a region that was entered already: a child, a stay in a scope.
    pub(crate) fn entered(node: Arc<Node>, at: &'static Location<'static>) -> Self {
        Frame { stage: Stage::Inside, ..Frame::new(node, at) }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        // The functions of `ambient` that take the node out put it back before they return (invariant 1).
        self.node.as_ref().expect("a frame has its node whenever its body is not polled")
    }

    /// The place where its future was made.
    #[inline]
    pub(crate) fn at(&self) -> &'static Location<'static> {
        self.at
    }

    #[inline]
    pub(crate) fn is_inside(&self) -> bool {
        self.stage == Stage::Inside
    }

    #[inline]
    pub(crate) fn has_left(&self) -> bool {
        self.stage == Stage::Left
    }

    pub(crate) fn end_body(&mut self, ended: Ended) {
        self.progress = Progress::Ended(ended);
    }

    pub(crate) fn has_body_ended(&self) -> bool {
        matches!(self.progress, Progress::Ended(_))
    }

    /// The reason for which the body was dropped, if it was.
    pub(crate) fn cancelled(&self) -> Option<&Reason> {
        if let Progress::Ended(Ended::Cancelled(reason)) = &self.progress {
            Some(reason)
        } else {
            None
        }
    }

    /// Whether it has not been polled, and has no node yet.
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

    /// The body has ended by itself. The times of a group count until its last child has left.
    #[inline]
    fn drop_timers_of_body(&mut self) {
        if self.extras.is_some() && self.node().kind != Kind::Group {
            self.drop_timers();
        }
    }

    /// Drops the timers, because nothing is left in the region that its times could cancel.
    #[inline]
    pub(crate) fn drop_timers(&mut self) {
        let Some(extras) = self.extras_seen() else { return };
        // A panic of the clock is kept.
        let timers = (extras.timers.next.take(), std::mem::take(&mut extras.shield_wait));
        self.keep_panic_of(unwind::catch(|| drop(timers)));
    }

    /// Drops the body with its region current, so that the regions inside hand their exits to
    /// it.
    pub(crate) fn clear(&mut self, body: &mut dyn Body) {
        let dropped = self.within(|| body.drop_body());
        self.keep_panic_of(dropped);
    }

    /// As [`clear`](Frame::clear), for a body that is dropped by the code around the region.
    pub(crate) fn clear_dropped(&mut self, body: &mut dyn Body) {
        look::doom(self.node());
        self.clear(body);
    }

    /// Runs `user_code`, such as the drop of a group's children, with the region current.
    pub(crate) fn within<R>(&mut self, user_code: impl FnOnce() -> R) -> Result<R, Payload> {
        ambient::within(&mut self.node, false, user_code)
    }

    /// Drops a value that the body returned, with the region current; a panic of the drop is
    /// kept.
    pub(crate) fn drop_within<T>(&mut self, left: T) {
        let dropped = self.within(|| drop(left));
        self.keep_panic_of(dropped);
    }

    #[inline]
    fn is_in_its_task(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.has(ROOT) || owner::is_current_tasks(node))
    }

    /// A root task may move with its future; a region that is nested in a task is polled by that
    /// task (R5).
    #[inline]
    pub(crate) fn check_poller(&self) -> Result<(), Box<WrongTask>> {
        if self.has(ROOT) { Ok(()) } else { owner::check_task(self.node(), "poll", self.at) }
    }

    #[inline]
    pub(super) fn has(&self, any_of: u32) -> bool {
        self.node().has(any_of)
    }

    /// Registers the waker of the run, unless the node has it (invariant 2).
    #[inline]
    pub(crate) fn register(&mut self, waker: &Waker) {
        if self.waker != Mark::of(waker) || self.has(REWAKE) {
            self.register_anew(waker);
        }
    }

    #[inline(never)]
    fn register_anew(&mut self, waker: &Waker) {
        let (mark, waker) = (Mark::of(waker), waker.clone());
        self.waker = mark;
        let old = {
            let mut inner = self.node().inner.lock();
            self.node().lower(&inner, REWAKE);
            inner.waker.replace(waker)
        };
        drop(old);
    }
}
