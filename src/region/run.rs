//! A body with its frame: what every future that enters a region is made of.

use super::{Ended, Frame, Node};
use crate::reason::Leaving;
use crate::sync::Arc;
use crate::wrong_task::Misuse;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Enters a region at its first poll, polls the body, and leaves.
    pub(crate) struct Run<F: Future> {
        frame: Frame,
        #[pin]
        body: Option<F>,
        // How the body ended, while the region is being left.
        ended: Option<Ended<F::Output>>,
    }

    impl<F: Future> PinnedDrop for Run<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.frame.is_inside() {
                this.frame.report_foreign_drop();
                // Before the exits are handed over, so that what the body abandons comes here (R7).
                this.frame.clear(this.body);
                let ended = this.ended.take();
                let _ = this.frame.within(|| drop(ended));
                this.frame.abandon();
            }
        }
    }
}

impl<F: Future> Run<F> {
    pub(crate) fn new(node: Arc<Node>, body: F, at: &'static Location<'static>) -> Self {
        Run { frame: Frame::new(node, at), body: Some(body), ended: None }
    }

    /// For a child, which its group entered when it was spawned.
    pub(crate) fn entered(node: Arc<Node>, body: F, at: &'static Location<'static>) -> Self {
        Run { frame: Frame::entered(node, at), body: Some(body), ended: None }
    }

    pub(crate) fn node(&mut self) -> &Arc<Node> {
        self.frame.node()
    }

    pub(crate) fn frame(self: Pin<&mut Self>) -> &mut Frame {
        self.project().frame
    }

    pub(crate) fn has_left(&self) -> bool {
        self.frame.has_left() && self.ended.is_none()
    }

    /// Ready when the region has been left, with the body's end; an error where it could not be entered.
    /// `why` tells the region's own exits what a value means to them.
    pub(crate) fn poll_run(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        why: impl FnOnce(&F::Output) -> Leaving,
    ) -> Poll<Result<Ended<F::Output>, Misuse>> {
        let this = self.project();
        if this.ended.is_none() {
            if this.frame.has_left() {
                return Poll::Pending;
            }
            if let Err(misuse) = this.frame.begin("run") {
                this.frame.reject();
                return Poll::Ready(Err(misuse));
            }
            *this.ended = Some(ready!(this.frame.poll_body(this.body, cx)));
        } else if let Err(wrong) = this.frame.check_poller() {
            // The body has ended, the exits have not: they go home, and its end is told all the same.
            this.frame.abandon();
            return match this.ended.take() {
                Some(Ended::Value(value)) => Poll::Ready(Ok(Ended::Misplaced(wrong, Some(value)))),
                Some(Ended::Panicked(panic)) => Poll::Ready(Ok(Ended::Panicked(panic))),
                _ => Poll::Ready(Ok(Ended::Misplaced(wrong, None))),
            };
        }
        let why = match this.ended {
            Some(Ended::Value(value)) => why(value),
            Some(Ended::Panicked(_)) => Leaving::Panicked,
            Some(Ended::Cancelled(reason)) => Leaving::Cancelled(reason.clone()),
            Some(Ended::Misplaced(..)) | None => Leaving::Abandoned,
        };
        ready!(this.frame.poll_leave(cx, why));
        match this.ended.take() {
            Some(ended) => Poll::Ready(Ok(ended)),
            None => Poll::Pending,
        }
    }
}
