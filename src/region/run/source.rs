//! The source of a run's node.

use crate::region::ambient::Light;
use crate::region::body::{Body, InPlace};
use crate::region::draft::{Draft, OfStack};
use crate::region::frame;
use crate::region::frame::{Frame, Quick};
use crate::region::own_exits::OwnExits;
use crate::wrong_task::Misuse;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::Context;

/// The parts of a run's region that are not in its node.
#[derive(Clone, Copy)]
pub(crate) enum Parts<'a> {
    /// Nothing: the node was given.
    Node,
    /// A draft that other code can reach while the run goes on.
    Shared(&'a Draft),
    /// A draft that only the run has.
    Lone(&'a Draft),
    /// The draft of a stack that other code can reach, and the stack's exits. While it has no node, only its run makes one.
    Stack(&'a Draft<OfStack>, &'a OwnExits),
}

impl<'a> Parts<'a> {
    #[inline]
    pub(in crate::region) fn exits(self) -> Option<&'a OwnExits> {
        if let Parts::Stack(_, exits) = self { Some(exits) } else { None }
    }

    /// Enters the region without a node, if that is possible.
    #[inline(always)]
    pub(in crate::region) fn enter_light(
        self,
        at: &'static Location<'static>,
    ) -> Result<Option<Light>, Box<Misuse>> {
        match self {
            Parts::Stack(draft, exits) => draft.enter_light(at, exits),
            Parts::Lone(draft) | Parts::Shared(draft) => Ok(draft.light(at)),
            Parts::Node => Ok(None),
        }
    }

    /// The body has ended.
    pub(super) fn end_times(self, frame: &Frame) {
        if let Parts::Shared(draft) = self {
            frame::end_times(frame, draft);
        }
    }

    /// The region has been left.
    pub(super) fn leave_draft(self, frame: &Frame) {
        if let Parts::Shared(draft) = self {
            frame::leave_draft(frame, draft);
        }
    }
}

/// The source of a run's node. Most steps take its [`Parts`].
pub(crate) trait NodeSource {
    fn parts(&self) -> Parts<'_>;

    /// Drops the body of a region that was entered and has no node.
    fn drop_light(self: Pin<&mut Self>, _: &mut Frame, _: &mut dyn Body) {}
}

/// A source for runs with a quick path, which is generic.
pub(crate) trait QuickSource: NodeSource {
    /// Whether it may have a timer of its own. A constant, so that the poll of a region without one does not even compare.
    const HAS_TIMER: bool = false;

    /// Polls a region that has no node. `Quick::GoOn` if the region needs its node first; the frame may have it by then.
    fn poll_light<F: Future>(
        self: Pin<&mut Self>,
        frame: &mut Frame,
        body: InPlace<'_, F>,
        cx: &mut Context<'_>,
    ) -> Quick;

    /// Polls the own timer of a region that has its node, in a poll in which the body does not end. Returns whether the frame
    /// has to act on the region's times in this poll.
    #[inline(always)]
    fn poll_timer(self: Pin<&mut Self>, _: &mut Frame, _: &mut Context<'_>) -> bool {
        false
    }

    /// The body has ended: its timer is not needed any more.
    fn body_has_ended(self: Pin<&mut Self>) {}

    /// The region has been left in a quick poll.
    fn has_left(self: Pin<&mut Self>, frame: &Frame);
}

/// For a run that was given its node.
pub(crate) struct Given;

impl NodeSource for Given {
    #[inline]
    fn parts(&self) -> Parts<'_> {
        Parts::Node
    }
}

/// The draft of a scope, or `None` for a stay in an entered scope.
impl NodeSource for Option<&Draft> {
    #[inline]
    fn parts(&self) -> Parts<'_> {
        self.map_or(Parts::Node, Parts::Shared)
    }
}

impl QuickSource for Option<&Draft> {
    #[inline(always)]
    fn poll_light<F: Future>(
        self: Pin<&mut Self>,
        frame: &mut Frame,
        body: InPlace<'_, F>,
        cx: &mut Context<'_>,
    ) -> Quick {
        let Some(draft) = *self else { return Quick::GoOn };
        frame::poll_draft(frame, draft, body, cx)
    }

    #[inline]
    fn has_left(self: Pin<&mut Self>, frame: &Frame) {
        if let Some(draft) = *self {
            frame::leave_draft(frame, draft);
        }
    }
}
