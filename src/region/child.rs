//! A child's future: it is polled alone until its region needs a node (R19).
//!
//! # Invariants
//!
//! 1. `framed` is there from the moment in which the child gets its node: in a poll or the drop, or before the first poll.
//! 2. While it has none, no waker of its run is registered: after a request to its group, the group's `run` polls it; a request
//!    through its handle wakes the waker of its row.

use super::ambient::{self, Light, Reach};
use super::body::{Body, InPlace};
use super::frame;
use super::frame::{Ended, Frame, Progress, Quick};
use super::node::Node;
use super::run::{Parts, completed, drop_inside, poll_run, polled};
use crate::reason::Leaving;
use crate::sync::Arc;
use crate::wrong_task::Misuse;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// As [`Run`](super::Run), for a child. Most children end without a node, so the state that goes with a node is in a
    /// box, and a group can have many small children.
    pub(crate) struct ChildRun<F: Future> {
        at: &'static Location<'static>,
        framed: Option<Box<Framed<F::Output>>>,
        #[pin]
        body: Option<F>,
    }

    impl<F: Future> PinnedDrop for ChildRun<F> {
        fn drop(this: Pin<&mut Self>) {
            this.abandon();
        }
    }
}

/// The state of a child that has a node.
struct Framed<V> {
    frame: Frame,
    /// The value of the body, while the region is being left.
    value: Option<V>,
}

impl<V> Framed<V> {
    fn new(node: Arc<Node>, at: &'static Location<'static>, value: Option<V>) -> Box<Self> {
        Box::new(Framed { frame: Frame::entered(node, at), value })
    }
}

impl<F: Future> ChildRun<F> {
    pub(crate) fn new(body: F, at: &'static Location<'static>) -> Self {
        ChildRun { at, framed: None, body: Some(body) }
    }

    /// The place of the spawn.
    pub(crate) fn at(&self) -> &'static Location<'static> {
        self.at
    }

    /// Its node, if it has one.
    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        self.framed.as_ref().map(|framed| framed.frame.node())
    }

    /// Gives the child its node, which has been entered (invariant 1).
    pub(crate) fn begin_in(&mut self, node: Arc<Node>) {
        self.framed = Some(Framed::new(node, self.at, None));
    }

    /// As [`begin_in`](ChildRun::begin_in), once it is pinned.
    pub(crate) fn begin_pinned(self: Pin<&mut Self>, node: Arc<Node>) {
        let this = self.project();
        *this.framed = Some(Framed::new(node, this.at, None));
    }

    /// The frame, if it has a node.
    pub(crate) fn frame(self: Pin<&mut Self>) -> Option<&mut Frame> {
        self.project().framed.as_mut().map(|framed| &mut framed.frame)
    }

    /// Polls a child that has no node. It gets none if it ends, or if it is pending and `stays` allows it. Otherwise
    /// `store` stores the node that was made inside, or makes one.
    ///
    /// `None` if there is more to do, for [`poll_run`](ChildRun::poll_run); or, with the child still without a node, if
    /// no region can become current, because the thread is exiting.
    #[inline(always)]
    pub(crate) fn poll_light(
        self: Pin<&mut Self>,
        light: Light,
        reach: Reach,
        stays: impl FnOnce() -> bool,
        store: impl FnOnce(Option<Arc<Node>>) -> Arc<Node>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<F::Output>> {
        let mut this = self.project();
        let mut value = None;
        let mut body =
            InPlace { body: this.body.as_mut(), value: &mut value, why: completed::<F::Output> };
        let once = || body.poll(cx);
        let (caught, shielded, node) = match reach {
            Reach::Asked(asked) => {
                let _asking = asked.map(|asked| ambient::Asking::new(light.id, asked));
                ambient::within_light(&light, once)?
            }
            Reach::Posted(posting) => ambient::within_posted(posting, &light, once)?,
        };
        match (&caught, &node) {
            (Ok(Poll::Ready(())), None) => return value.map(Poll::Ready),
            (Ok(Poll::Pending), None) if stays() => return Some(Poll::Pending),
            _ => {}
        }
        let framed = this.framed.insert(Framed::new(store(node), this.at, value));
        let Framed { frame, value } = &mut **framed;
        let mut body = InPlace { body: this.body, value, why: completed };
        let quick = frame::after_quick_poll(frame, caught, shielded, &mut body, cx);
        polled(quick, &mut framed.value)
    }

    /// The first part of every poll of a child that has a node, and mostly the whole poll; see
    /// [`Run::poll_quick`](super::Run::poll_quick).
    #[inline(always)]
    pub(crate) fn poll_quick(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<F::Output>> {
        let this = self.project();
        let Framed { frame, value } = this.framed.as_deref_mut()?;
        if !matches!(frame.progress, Progress::Body) {
            return None;
        }
        let body = InPlace { body: this.body, value, why: completed };
        let quick: Quick = frame::poll_calm(frame, body, None, cx);
        polled(quick, value)
    }

    /// See [`Run::poll_run`](super::Run::poll_run). Pending for a child without a node, which registers no waker (invariant 2).
    pub(crate) fn poll_run(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        why: fn(&F::Output) -> Leaving,
    ) -> Poll<Result<Ended, Box<Misuse>>> {
        let this = self.project();
        let Some(framed) = this.framed else { return Poll::Pending };
        let Framed { frame, value } = &mut **framed;
        let mut body = InPlace { body: this.body, value, why };
        poll_run(frame, Parts::Node, &mut body, cx)
    }

    /// The value of a body that has ended, once the region has been left.
    pub(crate) fn value(self: Pin<&mut Self>) -> Option<F::Output> {
        self.project().framed.as_mut()?.value.take()
    }

    /// Drops the body, if it has not ended. If the child has a node and has not left, its exits are handed over.
    pub(crate) fn abandon(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Some(framed) = this.framed {
            if framed.frame.is_inside() {
                let Framed { frame, value } = &mut **framed;
                let mut body = InPlace { body: this.body, value, why: completed };
                return drop_inside(frame, Parts::Node, &mut body);
            }
        }
        this.body.set(None);
    }
}
