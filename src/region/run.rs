//! A body with its frame, of which every future that enters a region is made.

use super::ambient::Posting;
use super::frame::Quick;
use super::{Draft, Ended, Frame, Light, Node};
use crate::reason::Leaving;
use crate::sync::Arc;
use crate::wrong_task::Misuse;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The source of a run's node.
pub(crate) trait Origin {
    /// Whether other threads can reach the draft while the run goes on.
    const SHARED: bool;

    /// `None` if the run was given its node.
    fn draft(&self) -> Option<&Draft>;
}

/// For a run that was given its node.
pub(crate) struct Given;

impl Origin for Given {
    const SHARED: bool = false;

    #[inline]
    fn draft(&self) -> Option<&Draft> {
        None
    }
}

impl Origin for Draft {
    const SHARED: bool = false;

    #[inline]
    fn draft(&self) -> Option<&Draft> {
        Some(self)
    }
}

/// The draft of a scope, or `None` for a stay in an entered scope.
impl Origin for Option<&Draft> {
    const SHARED: bool = true;

    #[inline]
    fn draft(&self) -> Option<&Draft> {
        *self
    }
}

pin_project! {
    /// Enters a region at its first poll, polls the body, and leaves.
    pub(crate) struct Run<F: Future, O: Origin = Given> {
        frame: Frame,
        origin: O,
        #[pin]
        body: Option<F>,
        // The end of the body, while the region is being left.
        ended: Option<Ended<F::Output>>,
        // The error of a region that could not be entered, until it is returned.
        misuse: Option<Box<Misuse>>,
    }

    impl<F: Future, O: Origin> PinnedDrop for Run<F, O> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.frame.is_inside() {
                this.frame.report_foreign_drop();
                // Dropped before the exits are handed over, so that exits that the body abandons
                // come here (R7).
                this.frame.clear(this.body);
                if this.frame.has_error_to_tell() {
                    this.frame.unclaimed();
                }
                let ended = this.ended.take();
                this.frame.drop_within(ended);
                this.frame.abandon();
                after_leaving(this.frame, this.origin);
            }
        }
    }
}

fn after_leaving<O: Origin>(frame: &Frame, origin: &O) {
    if let (true, Some(draft)) = (O::SHARED, origin.draft()) {
        frame.leave_draft(draft);
    }
}

impl<F: Future> Run<F> {
    /// For a child, which gets its node when it is needed.
    pub(crate) fn newborn(body: F, at: &'static Location<'static>) -> Self {
        Run::with(Frame::draft(at), Given, body)
    }

    /// A poll of a child that has no node; returns as [`poll_quick`](Run::poll_quick) does. `stays` tells whether it
    /// may be pending without a node. Otherwise `settle` stores the node that was made inside, or makes one.
    pub(crate) fn poll_newborn(
        self: Pin<&mut Self>,
        light: Light,
        posting: Option<Posting>,
        stays: impl FnOnce() -> bool,
        settle: impl FnOnce(Option<Arc<Node>>) -> Arc<Node>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<F::Output>> {
        let this = self.project();
        match this.frame.poll_newborn(light, posting, stays, settle, this.body, cx)? {
            Quick::Value(value) => return Some(Poll::Ready(value)),
            Quick::Pending => return Some(Poll::Pending),
            Quick::Ended(ended) => *this.ended = Some(ended),
            Quick::Misuse(misuse) => *this.misuse = Some(misuse),
        }
        None
    }

    pub(crate) fn new(node: Arc<Node>, body: F, at: &'static Location<'static>) -> Self {
        Run::with(Frame::new(node, at), Given, body)
    }
}

impl<F: Future> Run<F, Draft> {
    pub(crate) fn origin(&mut self) -> &mut Draft {
        &mut self.origin
    }
}

impl<F: Future, O: Origin> Run<F, O> {
    fn with(frame: Frame, origin: O, body: F) -> Self {
        Run { frame, origin, body: Some(body), ended: None, misuse: None }
    }

    /// For a region that has no node until it is needed.
    #[inline]
    pub(crate) fn draft(origin: O, body: F, at: &'static Location<'static>) -> Self {
        Run::with(Frame::draft(at), origin, body)
    }

    /// For a region that was entered already: a child, a stay in a scope.
    pub(crate) fn entered(
        node: Arc<Node>,
        origin: O,
        body: F,
        at: &'static Location<'static>,
    ) -> Self {
        Run::with(Frame::entered(node, at), origin, body)
    }

    /// As [`frame`](Run::frame), before it is pinned.
    pub(crate) fn frame_mut(&mut self) -> &mut Frame {
        &mut self.frame
    }

    pub(crate) fn frame(self: Pin<&mut Self>) -> &mut Frame {
        self.project().frame
    }

    pub(crate) fn has_left(&self) -> bool {
        self.frame.has_left() && self.ended.is_none()
    }

    /// The first part of every poll, and for most regions the whole poll. `None` if there is more to do, for
    /// [`poll_run`](Run::poll_run).
    #[inline(always)]
    pub(crate) fn poll_quick(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<F::Output>> {
        let this = self.project();
        if this.ended.is_some() {
            return None;
        }
        if this.frame.is_inside() {
            match this.frame.poll_calm(this.body, cx)? {
                Poll::Pending => return Some(Poll::Pending),
                Poll::Ready(ended) => *this.ended = Some(ended),
            }
            return None;
        }
        let draft = this.origin.draft().filter(|_| this.frame.is_new_draft())?;
        let polled = this.frame.poll_light(draft, O::SHARED, this.body, cx)?;
        match polled {
            Quick::Value(value) => return Some(Poll::Ready(value)),
            Quick::Pending => return Some(Poll::Pending),
            Quick::Ended(ended) => *this.ended = Some(ended),
            Quick::Misuse(misuse) => *this.misuse = Some(misuse),
        }
        None
    }

    /// Ready when the region has been left, with the body's end; an error if it could not be entered.
    /// `why` returns the reason for the region's own exits from the body's value.
    ///
    /// To be called if [`poll_quick`](Run::poll_quick) has returned `None`.
    pub(crate) fn poll_run(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        why: impl FnOnce(&F::Output) -> Leaving,
    ) -> Poll<Result<Ended<F::Output>, Box<Misuse>>> {
        let this = self.project();
        if let Some(misuse) = this.misuse.take() {
            this.frame.reject();
            return Poll::Ready(Err(misuse));
        }
        if this.ended.is_none() {
            if this.frame.has_left() {
                return Poll::Pending;
            }
            let begun = match this.origin.draft() {
                Some(draft) => this.frame.begin_draft(draft, O::SHARED),
                None => this.frame.begin("run"),
            };
            if let Err(misuse) = begun {
                this.frame.reject();
                return Poll::Ready(Err(misuse));
            }
            let ended = ready!(this.frame.poll_body(this.body, cx));
            if matches!(ended, Ended::Misplaced(..)) {
                this.frame.abandon_keeping();
            }
            *this.ended = Some(ended);
        } else if let Err(wrong) = this.frame.check_poller() {
            // The body has ended, the exits have not: they are abandoned, and the body's end is
            // returned all the same.
            this.frame.abandon_keeping();
            after_leaving(this.frame, this.origin);
            return match this.ended.take() {
                Some(Ended::Value(value)) => Poll::Ready(Ok(Ended::Misplaced(wrong, Some(value)))),
                Some(Ended::Panicked) => Poll::Ready(Ok(Ended::Panicked)),
                _ => Poll::Ready(Ok(Ended::Misplaced(wrong, None))),
            };
        }
        if matches!(this.ended, Some(Ended::Cancelled(_))) && this.frame.waits_for_outer(cx) {
            return Poll::Pending;
        }
        let why = match this.ended {
            Some(Ended::Value(value)) => why(value),
            Some(Ended::Panicked) => Leaving::Panicked,
            Some(Ended::Cancelled(reason)) => Leaving::Cancelled(reason.clone()),
            Some(Ended::Misplaced(..)) | None => Leaving::Abandoned,
        };
        ready!(this.frame.poll_leave(cx, why));
        after_leaving(this.frame, this.origin);
        match this.ended.take() {
            Some(ended) => Poll::Ready(Ok(ended)),
            None => Poll::Pending,
        }
    }
}
