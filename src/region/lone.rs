//! A task, a time limit or a stack that only its own run can reach: a *lone* region. It has no node, in its first poll and in
//! later ones, until a region inside needs its parent's node (R19).
//!
//! # Invariants
//!
//! 1. No handle reaches a lone region, and only its own run makes its node. So it gets no request and no exit of another
//!    region, and no other thread has to wake it: while it has no node, its run registers no waker. Other tasks can reach the
//!    draft of a stack, and the cell of its exits, which the run reads when it leaves.
//! 2. From its first pending poll on, the lone region keeps the node of the region around it. If it is polled or dropped in
//!    another region, it first gets its own node, inside the region that it was entered in (R1, R2).
//! 3. A region inside that needs its parent's node makes the node during a poll, and the run goes on with that node.
//! 4. The deadline of a lone region never changes. While the timer of this room is armed for the deadline, with a node and
//!    without one, the frame arms no timer for it. If a clock was given to a task around, the frame arms the timer instead,
//!    because only the frame's timers go by a given clock.

mod stack;
mod timer;

use timer::TimerPoll;
pub(crate) use timer::{Deadline, LoneTimer};

use super::ambient;
use super::ambient::Light;
use super::body::{Body, InPlace};
use super::draft::Draft;
use super::flags::DEADLINE;
use super::frame;
use super::frame::{Frame, Progress, Quick};
use super::node::Node;
use super::run::{NodeSource, Parts, QuickSource, drop_inside};
use super::time;
use super::time::Times;
use super::time::clock;
use crate::identity::Identity;
use crate::sync::Arc;
use crate::unwind;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// The draft of a lone region, and the timer of its deadline.
    pub(crate) struct Lone<D, T> {
        pub(crate) draft: D,
        // Since its first poll that was pending, until it has a node.
        entered: Option<EnteredLight>,
        #[pin]
        timer: T,
    }
}

struct EnteredLight {
    light: Light,
    /// The region around it, and whether an exit of that region ran. `None` if no region was around.
    around: Option<(Arc<Node>, bool)>,
}

/// The draft of a task or a time limit.
impl NodeSource for Draft {
    #[inline]
    fn parts(&self) -> Parts<'_> {
        Parts::Lone(self)
    }
}

impl<D, T: Default> Lone<D, T> {
    #[inline]
    pub(crate) fn new(draft: D) -> Self {
        Lone { draft, entered: None, timer: T::default() }
    }
}

impl<D: NodeSource, T: LoneTimer> Lone<D, T> {
    #[inline(always)]
    fn each(self: Pin<&mut Self>) -> LoneRef<'_> {
        let this = self.project();
        let parts = this.draft.parts();
        LoneRef { parts, entered: this.entered, timer: this.timer }
    }
}

impl<D: NodeSource, T: LoneTimer> NodeSource for Lone<D, T> {
    #[inline]
    fn parts(&self) -> Parts<'_> {
        self.draft.parts()
    }

    fn drop_light(self: Pin<&mut Self>, frame: &mut Frame, body: &mut dyn Body) {
        self.each().drop_body(frame, body);
    }
}

impl<D: NodeSource, T: LoneTimer> QuickSource for Lone<D, T> {
    const HAS_TIMER: bool = true;

    #[inline(always)]
    fn poll_light<F: Future>(
        mut self: Pin<&mut Self>,
        frame: &mut Frame,
        mut body: InPlace<'_, F>,
        cx: &mut Context<'_>,
    ) -> Quick {
        if !self.as_mut().each().is_where_it_was_entered(frame, cx) {
            return Quick::GoOn;
        }
        let light = match &self.entered {
            Some(entered) => entered.light,
            None => match self.draft.parts().enter_light(frame.at()) {
                Ok(Some(light)) => light,
                Ok(None) => return Quick::GoOn,
                Err(misuse) => {
                    frame.progress = Progress::Refused(misuse);
                    return Quick::GoOn;
                }
            },
        };
        let Some((caught, shielded, node)) = ambient::within_light(&light, || body.poll(cx)) else {
            self.each().give_node_if_entered(frame);
            return Quick::GoOn;
        };
        let waits = matches!(caught, Ok(Poll::Pending));
        match (&caught, &node) {
            (Ok(Poll::Ready(())), None) => {
                if self.draft.parts().exits().is_some() {
                    return self.each().run_exits(frame, light, body.why(), cx);
                }
                if self.entered.is_some() {
                    self.each().end();
                }
                frame::end(frame);
                return Quick::Left;
            }
            (Ok(Poll::Pending), None) if self.as_mut().each().stays(light, cx) => {
                return Quick::Pending;
            }
            _ => {}
        }
        self.each().give_node_after(waits, frame, light, node, cx);
        frame::after_quick_poll(frame, caught, shielded, &mut body.again(), cx)
    }

    #[inline(always)]
    fn poll_timer(self: Pin<&mut Self>, frame: &mut Frame, cx: &mut Context<'_>) -> bool {
        self.timer.is_armed() && self.each().poll_timer(frame, cx)
    }

    fn body_has_ended(self: Pin<&mut Self>) {
        self.each().disarm();
    }

    #[inline]
    fn has_left(self: Pin<&mut Self>, _: &Frame) {
        self.each().disarm();
    }
}

/// A lone region in a poll or in its drop, with a timer of any type.
struct LoneRef<'a> {
    parts: Parts<'a>,
    entered: &'a mut Option<EnteredLight>,
    timer: Pin<&'a mut dyn LoneTimer>,
}

impl LoneRef<'_> {
    /// Before a poll without a node: `false` if the region gets its node here, because it is polled in another region than that
    /// in which it was entered (invariant 2).
    #[inline(always)]
    fn is_where_it_was_entered(&mut self, frame: &mut Frame, cx: &mut Context<'_>) -> bool {
        let Some(EnteredLight { light, around }) = &self.entered else { return true };
        ambient::is_in(around.as_ref()) || {
            let light = *light;
            self.give_node(frame, light, None);
            self.poll_timer(frame, cx);
            false
        }
    }

    /// Polls the timer of a region that has its node; returns whether the frame has to act on the region's times.
    #[inline(never)]
    fn poll_timer(&mut self, frame: &mut Frame, cx: &mut Context<'_>) -> bool {
        match self.poll_armed(cx) {
            TimerPoll::Waits => return false,
            TimerPoll::HasCome(at) => time::come_due(frame.node(), at, Times::All),
            // The frame acts on the times of the region in its next poll.
            TimerPoll::Unknown => frame.node().lock_and_raise(DEADLINE),
        }
        true
    }

    fn poll_armed(&mut self, cx: &mut Context<'_>) -> TimerPoll {
        let polled = unwind::catch(|| self.timer.as_mut().poll(cx)).unwrap_or_else(|payload| {
            // The frame's timer panics in the same way, and the region ends with that panic.
            unwind::discard(payload);
            TimerPoll::Unknown
        });
        if polled != TimerPoll::Waits {
            self.disarm();
        }
        polled
    }

    /// Arms the timer, after the first pending poll; `false` if the frame has to do that (invariant 4).
    fn arm(&mut self, light: Light, clocked: bool) -> bool {
        let Some(deadline) = light.deadline else { return true };
        if !clocked {
            self.timer.as_mut().arm(deadline);
        }
        !clocked
    }

    fn disarm(&mut self) {
        self.timer.as_mut().disarm();
    }

    /// Whether the region stays without a node, after a pending poll in which no region inside needed it. No waker of the run is
    /// registered then (invariant 1). If its time has come, it gets its node, and the frame finds the time again.
    #[inline(never)]
    fn stays(&mut self, light: Light, cx: &mut Context<'_>) -> bool {
        if self.entered.is_some() {
            return self.poll_armed(cx) == TimerPoll::Waits;
        }
        let around = ambient::current();
        if let (Some(exits), Some((around, _)), None) = (self.parts.exits(), &around, light.root) {
            // Until now the runtime's task was hidden from all code that could ask.
            exits.enter(Identity { task: light.task, runtime: around.owner.get().runtime });
        }
        let clocked = clock::flag_within(around.as_ref().map(|(node, _)| node)) != 0;
        let stays = self.arm(light, clocked) && self.poll_armed(cx) == TimerPoll::Waits;
        *self.entered = stays.then_some(EnteredLight { light, around });
        stays
    }

    /// Gives the region its node after a poll that needed it (invariant 3). If the body `waits`, the timer is armed, unless an
    /// earlier poll did that, and polled.
    #[inline(never)]
    fn give_node_after(
        &mut self,
        waits: bool,
        frame: &mut Frame,
        light: Light,
        inside: Option<Arc<Node>>,
        cx: &mut Context<'_>,
    ) {
        let arms = waits && self.entered.is_none() && inside.is_some();
        self.give_node(frame, light, inside);
        if arms {
            self.arm(light, frame.node().is_clocked());
            self.leave_time_to(frame);
        }
        if waits {
            self.poll_timer(frame, cx);
        }
    }

    /// Gives the region its node, inside the region that it was entered in; `inside` is the node that this poll has made.
    #[inline(never)]
    fn give_node(&mut self, frame: &mut Frame, light: Light, inside: Option<Arc<Node>>) {
        let entered = self.entered.take();
        let node = inside.unwrap_or_else(|| {
            light.node(entered.map_or_else(ambient::current, |entered| entered.around), None)
        });
        #[cfg(feature = "testing")]
        node.live.take_up();
        match self.parts {
            Parts::Stack(draft, exits) => {
                draft.give_up_live_entry();
                exits.enter(node.owner.get());
                draft.store_node(Arc::clone(&node));
            }
            Parts::Lone(draft) | Parts::Shared(draft) => draft.give_up_live_entry(),
            Parts::Node => {}
        }
        frame::begin_in(frame, node);
        self.leave_time_to(frame);
    }

    /// Leaves the deadline to the timer here, if that is armed (invariant 4).
    fn leave_time_to(&self, frame: &Frame) {
        if self.timer.is_armed() {
            frame.node().lock_and_lower(DEADLINE);
        }
    }

    fn give_node_if_entered(&mut self, frame: &mut Frame) {
        match self.entered.as_ref().map(|entered| entered.light) {
            Some(light) => self.give_node(frame, light, None),
            None => {
                if let Parts::Stack(draft, _) = self.parts {
                    draft.stamp.take_back();
                }
            }
        }
    }

    /// The region is left without a node, after a poll that was pending.
    #[inline(never)]
    fn end(&mut self) {
        *self.entered = None;
        self.disarm();
    }

    /// Drops the body of a run that is dropped while it is pending, with its region current.
    #[cold]
    fn drop_body(&mut self, frame: &mut Frame, body: &mut dyn Body) {
        let Some(EnteredLight { light, around }) = &self.entered else { return };
        let (light, here) = (*light, ambient::is_in(around.as_ref()));
        let dropped = if here { ambient::within_light(&light, || body.drop_body()) } else { None };
        match dropped {
            Some((Ok(()), _, None)) if self.close() => {
                self.end();
                frame::end(frame);
            }
            Some((caught, _, node)) => {
                self.give_node(frame, light, node);
                frame.keep_panic_of(caught);
                frame::abandon(frame, self.parts.exits(), None);
            }
            None => {
                self.give_node(frame, light, None);
                drop_inside(frame, self.parts, body);
            }
        }
    }
}
