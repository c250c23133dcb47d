//! A task or a time limit that only its own run can reach: a *lone* region. It has no node, in its first poll and in later
//! ones, until a region inside needs its parent's node (R19).
//!
//! # Invariants
//!
//! 1. No handle and no shared draft reaches a lone region. So it gets no request and no exit of another region, and no other
//!    thread has to wake it: while it has no node, its run registers no waker.
//! 2. From its first pending poll on, the lone region keeps the node of the region around it. If it is polled or dropped in
//!    another region, it first gets its own node, inside the region that it was entered in (R1, R2).
//! 3. A region inside that needs its parent's node makes the node during a poll, and the run goes on with that node.
//! 4. The deadline of a lone region never changes. `due` is set while the timer of this room is armed for the deadline, with
//!    a node and without one; the frame then arms no timer for it. If a clock was given to a task around, the frame arms the
//!    timer instead, because only the frame's timers go by a given clock.

use super::ambient;
use super::ambient::Light;
use super::body::{Body, InPlace};
use super::draft::Draft;
use super::frame;
use super::frame::{Frame, Progress, Quick};
use super::node::Node;
use super::run::{Origin, Source, drop_inside};
use super::time;
use super::time::Times;
use super::time::clock;
use crate::clock::Alarm;
use crate::sync::Arc;
use crate::unwind;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

pin_project! {
    /// The draft of a region that only its own run has, and the timer of its deadline.
    pub(crate) struct Lone<T> {
        pub(crate) draft: Draft,
        // Since its first poll that was pending, until it has a node.
        entered: Option<Entered>,
        // The deadline for which the timer is armed.
        due: Option<Instant>,
        #[pin]
        timer: T,
    }
}

struct Entered {
    task: u64,
    root: Option<u64>,
    deadline: Option<Instant>,
    /// The region around it, and whether an exit of that region ran. `None` if no region was around.
    around: Option<(Arc<Node>, bool)>,
}

/// The timer of a region that has no node.
pub(crate) trait LoneTimer {
    /// `None` if there is no clock.
    fn poll(self: Pin<&mut Self>, at: Instant, cx: &mut Context<'_>) -> Option<Poll<()>>;

    fn disarm(self: Pin<&mut Self>);
}

/// The timer of a task, which has no deadline.
impl LoneTimer for () {
    fn poll(self: Pin<&mut Self>, _: Instant, _: &mut Context<'_>) -> Option<Poll<()>> {
        None
    }

    fn disarm(self: Pin<&mut Self>) {}
}

impl LoneTimer for Alarm {
    fn poll(self: Pin<&mut Self>, at: Instant, cx: &mut Context<'_>) -> Option<Poll<()>> {
        Alarm::poll(self, at, cx)
    }

    fn disarm(mut self: Pin<&mut Self>) {
        unwind::quietly(|| self.set(Alarm::default()));
    }
}

impl<T: Default> Lone<T> {
    pub(crate) fn new(draft: Draft) -> Self {
        Lone { draft, entered: None, due: None, timer: T::default() }
    }
}

impl<T: LoneTimer> Lone<T> {
    #[inline(always)]
    fn each(self: Pin<&mut Self>) -> LoneRef<'_> {
        let this = self.project();
        LoneRef { draft: this.draft, entered: this.entered, due: this.due, timer: this.timer }
    }
}

impl<T: LoneTimer> Origin for Lone<T> {
    #[inline]
    fn source(&self) -> Source<'_> {
        Source::Lone(&self.draft)
    }

    #[inline(always)]
    fn poll_light<F: Future>(
        mut self: Pin<&mut Self>,
        frame: &mut Frame,
        progress: &mut Progress,
        mut body: InPlace<'_, F>,
        cx: &mut Context<'_>,
    ) -> Quick {
        let light = if self.entered.is_none() {
            self.draft.light(frame.at())
        } else {
            self.as_mut().each().look_around(frame, cx)
        };
        let Some(light) = light else { return Quick::GoOn };
        let Some((caught, shielded, node)) = ambient::watch_light(&light, || body.poll(cx)) else {
            self.each().give_node_if_entered(frame);
            return Quick::GoOn;
        };
        let waits = matches!(caught, Ok(Poll::Pending));
        match (&caught, &node) {
            (Ok(Poll::Ready(())), None) => {
                if self.entered.is_some() {
                    self.each().end();
                }
                frame::end(frame);
                return Quick::Left;
            }
            (Ok(Poll::Pending), None) if !shielded && self.as_mut().each().stays(&light, cx) => {
                return Quick::Pending;
            }
            _ => {}
        }
        self.each().give_node_after(waits, frame, &light, node, cx);
        frame::after_quick_poll(frame, progress, caught, shielded, &mut body.again(), cx)
    }

    #[inline(always)]
    fn poll_timer(self: Pin<&mut Self>, frame: &mut Frame, cx: &mut Context<'_>) {
        if self.due.is_some() {
            self.each().poll_timer(frame, cx);
        }
    }

    fn body_has_ended(self: Pin<&mut Self>) {
        self.each().disarm();
    }

    #[inline]
    fn has_left(self: Pin<&mut Self>, _: &Frame) {
        self.each().disarm();
    }

    fn drop_light(self: Pin<&mut Self>, frame: &mut Frame, body: &mut dyn Body) {
        self.each().drop_body(frame, body);
    }
}

/// A lone region in a poll or in its drop, with a timer of any type.
struct LoneRef<'a> {
    draft: &'a Draft,
    entered: &'a mut Option<Entered>,
    due: &'a mut Option<Instant>,
    timer: Pin<&'a mut dyn LoneTimer>,
}

/// The result of a poll of the timer.
#[derive(PartialEq, Eq)]
enum Time {
    /// The timer is armed, or there is no deadline.
    Waits,
    HasCome(Instant),
    /// The frame has to look at the deadline.
    Unknown,
}

impl LoneRef<'_> {
    /// The state for a later poll without a node (invariant 2). `None` if the region gets its node here, because it is polled in
    /// another region, or because its deadline has come.
    #[inline(never)]
    fn look_around(&mut self, frame: &mut Frame, cx: &mut Context<'_>) -> Option<Light> {
        let (light, here) = self.where_entered(frame)?;
        let time = self.poll_armed(cx);
        if here && time == Time::Waits {
            return Some(light);
        }
        self.give_node(frame, &light, None);
        act_on(time, frame);
        None
    }

    /// At the beginning of a poll of a region that has its node.
    #[inline(never)]
    fn poll_timer(&mut self, frame: &mut Frame, cx: &mut Context<'_>) {
        let time = self.poll_armed(cx);
        act_on(time, frame);
    }

    /// The region as it was entered, and whether the region around it then is the current one. `None` before its first pending
    /// poll, and once it has its node.
    fn where_entered(&self, frame: &Frame) -> Option<(Light, bool)> {
        let Entered { task, root, deadline, around } = self.entered.as_ref()?;
        let light = self.draft.light_of(frame.at(), *task, *root, *deadline);
        Some((light, ambient::is_in(around.as_ref())))
    }

    fn poll_armed(&mut self, cx: &mut Context<'_>) -> Time {
        let Some(at) = *self.due else { return Time::Waits };
        let time = match unwind::catch(|| self.timer.as_mut().poll(at, cx)) {
            Ok(Some(Poll::Pending)) => return Time::Waits,
            Ok(Some(Poll::Ready(()))) => Time::HasCome(at),
            Ok(None) => Time::Unknown,
            Err(payload) => {
                // The frame's timer panics in the same way, and the region ends with that panic.
                unwind::discard(payload);
                Time::Unknown
            }
        };
        self.disarm();
        time
    }

    /// After the first poll that is pending.
    fn arm(&mut self, light: &Light, clocked: bool, cx: &mut Context<'_>) -> Time {
        if light.deadline.is_none() {
            return Time::Waits;
        }
        if clocked {
            return Time::Unknown;
        }
        *self.due = light.deadline;
        self.poll_armed(cx)
    }

    fn disarm(&mut self) {
        if self.due.take().is_some() {
            self.timer.as_mut().disarm();
        }
    }

    /// After a pending poll in which no region inside needed the node: whether the region stays without one.
    #[inline(never)]
    fn stays(&mut self, light: &Light, cx: &mut Context<'_>) -> bool {
        if self.entered.is_some() {
            // The timer was polled before the body, in `look_around`.
            return true;
        }
        let around = ambient::current();
        let clocked = clock::flag_within(around.as_ref().map(|(node, _)| node)) != 0;
        let time = self.arm(light, clocked, cx);
        // A time that has come is found again with the node.
        let stays = time == Time::Waits;
        let Light { task, root, deadline, .. } = *light;
        *self.entered = stays.then_some(Entered { task, root, deadline, around });
        stays
    }

    /// Gives the region its node after a poll that needed it. If the body `waits`, its timer is armed, unless an earlier poll
    /// did that.
    #[inline(never)]
    fn give_node_after(
        &mut self,
        waits: bool,
        frame: &mut Frame,
        light: &Light,
        inside: Option<Arc<Node>>,
        cx: &mut Context<'_>,
    ) {
        let first = self.entered.is_none() && inside.is_some();
        let arms = waits && first && light.deadline.is_some();
        self.give_node(frame, light, inside);
        if arms {
            let clocked = frame.node().is_clocked();
            let time = self.arm(light, clocked, cx);
            self.leave_time_to(frame);
            act_on(time, frame);
        }
    }

    /// Gives the region its node, inside the region that it was entered in; `inside` is the node that this poll has made.
    #[inline(never)]
    fn give_node(&mut self, frame: &mut Frame, light: &Light, inside: Option<Arc<Node>>) {
        let entered = self.entered.take();
        let node = inside.unwrap_or_else(|| {
            light.node(entered.map_or_else(ambient::current, |entered| entered.around))
        });
        self.draft.give_up_live_entry();
        #[cfg(feature = "testing")]
        node.live.take_up();
        frame::begin_in(frame, node);
        self.leave_time_to(frame);
    }

    /// Leaves the deadline to the timer here, if that is armed (invariant 4).
    fn leave_time_to(&self, frame: &Frame) {
        if self.due.is_some() {
            time::watches_itself(frame.node());
        }
    }

    fn give_node_if_entered(&mut self, frame: &mut Frame) {
        if let Some((light, _)) = self.where_entered(frame) {
            self.give_node(frame, &light, None);
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
        let Some((light, here)) = self.where_entered(frame) else { return };
        let dropped = if here { ambient::watch_light(&light, || body.drop_body()) } else { None };
        match dropped {
            Some((Ok(()), _, None)) => {
                self.end();
                frame::end(frame);
            }
            Some((caught, _, node)) => {
                self.give_node(frame, &light, node);
                frame.keep_panic_of(caught);
                frame::abandon(frame, None);
            }
            None => {
                self.give_node(frame, &light, None);
                drop_inside(frame, Source::Node, body);
            }
        }
    }
}

fn act_on(time: Time, frame: &mut Frame) {
    match time {
        Time::Waits => {}
        Time::HasCome(at) => time::come_due(frame.node(), at, Times::All),
        Time::Unknown => time::has_new_times(frame.node()),
    }
}
