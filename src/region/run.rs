//! A body with its frame: the run of a task, a scope, a shield, a time limit or a stack. A child has a
//! [`ChildRun`](super::ChildRun), and a group's run has a frame of its own.

mod source;
mod steps;

pub(crate) use source::{Given, NodeSource, Parts, QuickSource};
pub(super) use steps::{drop_inside, poll_run};

use super::body::InPlace;
use super::draft::Draft;
use super::frame;
use super::frame::{Ended, Frame, Progress, Quick};
use super::lone::{Lone, LoneTimer};
use super::node::Node;
use crate::reason::{Leaving, Reason};
use crate::sync::Arc;
use crate::wrong_task::Misuse;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use steps::{poll_fresh, poll_scope};

pin_project! {
    /// Enters a region at its first poll, polls the body, and leaves.
    pub(crate) struct Run<F: Future, O: NodeSource = Given> {
        frame: Frame,
        #[pin]
        source: O,
        #[pin]
        body: Option<F>,
        // The value of the body, while the region is being left.
        value: Option<F::Output>,
    }

    impl<F: Future, O: NodeSource> PinnedDrop for Run<F, O> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let mut body = InPlace { body: this.body, value: this.value, why: completed };
            if this.frame.is_inside() {
                drop_inside(this.frame, this.source.parts(), &mut body);
            } else if this.frame.is_new_draft() {
                this.source.drop_light(this.frame, &mut body);
            }
        }
    }
}

/// The end of a region that returns the body's own value: the value, or the reason why there is none. `None` if the run is
/// polled again after a panic.
pub(crate) type BodyEnd<T> = Option<Result<T, Reason>>;

/// The result of a poll, if a quick one is all of it.
#[inline(always)]
pub(super) fn polled<T>(quick: Quick, value: &mut Option<T>) -> Option<Poll<T>> {
    match quick {
        Quick::Left => value.take().map(Poll::Ready),
        Quick::Pending => Some(Poll::Pending),
        Quick::GoOn => None,
    }
}

pub(super) fn completed<T>(_: &T) -> Leaving {
    Leaving::Completed
}

impl<F: Future> Run<F> {
    pub(crate) fn new(node: Arc<Node>, body: F, at: &'static Location<'static>) -> Self {
        Run::with(Frame::new(node, at), Given, body)
    }
}

impl<F: Future, T: LoneTimer> Run<F, Lone<Draft, T>> {
    /// The draft, for the settings of a run that was not polled yet.
    pub(crate) fn set_up(&self) -> &Draft {
        &self.source.draft
    }
}

impl<F: Future, O: NodeSource> Run<F, O> {
    fn with(frame: Frame, source: O, body: F) -> Self {
        Run { frame, source, body: Some(body), value: None }
    }

    /// For a region that has no node until it is needed.
    #[inline]
    pub(crate) fn draft(source: O, body: F, at: &'static Location<'static>) -> Self {
        Run::with(Frame::draft(at), source, body)
    }

    /// For a stay in a scope, which was entered when it was made.
    pub(crate) fn entered(
        node: Arc<Node>,
        source: O,
        body: F,
        at: &'static Location<'static>,
    ) -> Self {
        Run::with(Frame::entered(node, at), source, body)
    }

    pub(crate) fn frame(self: Pin<&mut Self>) -> &mut Frame {
        self.project().frame
    }

    /// The value of a body that has ended, once the region has been left.
    pub(crate) fn value(self: Pin<&mut Self>) -> Option<F::Output> {
        self.project().value.take()
    }

    pub(crate) fn has_left(&self) -> bool {
        self.frame.has_left()
    }

    /// Ready when the region has been left, with the body's end; an error if it could not be entered.
    /// `why` returns the reason for the region's own exits from the body's value.
    ///
    /// To be called if [`poll_quick`](Run::poll_quick) has returned `None`.
    pub(crate) fn poll_run(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        why: fn(&F::Output) -> Leaving,
    ) -> Poll<Result<Ended, Box<Misuse>>> {
        let this = self.project();
        let parts = this.source.parts();
        let mut body = InPlace { body: this.body, value: this.value, why };
        poll_run(this.frame, parts, &mut body, cx)
    }
}

impl<F: Future, O: QuickSource> Run<F, O> {
    /// The first part of every poll, and for most regions the whole poll. `None` if there is more to do, for
    /// [`poll_run`](Run::poll_run).
    #[inline(always)]
    pub(crate) fn poll_quick(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<F::Output>> {
        self.poll_quick_as(completed, cx)
    }

    /// As [`poll_quick`](Run::poll_quick), for a region with exits of its own: `why` as for [`poll_run`](Run::poll_run).
    #[inline(always)]
    pub(crate) fn poll_quick_as(
        self: Pin<&mut Self>,
        why: fn(&F::Output) -> Leaving,
        cx: &mut Context<'_>,
    ) -> Option<Poll<F::Output>> {
        let mut this = self.project();
        if !matches!(this.frame.progress, Progress::Body) {
            return None;
        }
        let value = &mut *this.value;
        let mut body = InPlace { body: this.body, value, why };
        let quick = if this.frame.is_inside() {
            let exits = this.source.parts().exits();
            let quick = frame::poll_calm(this.frame, body, exits, cx);
            // After the body, because a body that ends needs no timer.
            if O::HAS_TIMER
                && quick != Quick::Left
                && matches!(this.frame.progress, Progress::Body)
                && this.source.as_mut().poll_timer(this.frame, cx)
            {
                return None;
            }
            quick
        } else {
            if this.frame.is_new_draft() {
                let light = this.source.as_mut();
                let quick = light.poll_light(this.frame, body.again(), cx);
                if quick != Quick::GoOn || !this.frame.is_new_draft() {
                    return polled(quick, this.value);
                }
            }
            let parts = this.source.parts();
            poll_fresh(this.frame, parts, &mut body.again(), cx)
        };
        if quick == Quick::Left {
            this.source.has_left(this.frame);
        }
        polled(quick, this.value)
    }

    /// As [`poll_run`](Run::poll_run), for a region that returns the body's own value; see [`BodyEnd`].
    pub(crate) fn poll_scope(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyEnd<F::Output>, Box<Misuse>>> {
        let mut this = self.project();
        if this.frame.has_body_ended() {
            this.source.as_mut().body_has_ended();
        }
        let parts = this.source.parts();
        let mut body = InPlace { body: this.body, value: this.value, why: completed };
        let left = ready!(poll_scope(this.frame, parts, &mut body, cx));
        Poll::Ready(left.map(|left| match left? {
            Ok(()) => this.value.take().map(Ok),
            Err(reason) => Some(Err(reason)),
        }))
    }
}
