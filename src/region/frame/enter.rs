//! Entering a frame's region: at its first poll, with a node or without one.

use super::super::ambient::Posting;
use super::super::draft::Light;
use super::super::stamp::Signature;
use super::super::{Draft, Node, ROOT, ambient};
use super::{Frame, Quick, Stage, poll_once};
use crate::identity::Identity;
use crate::rt;
use crate::sync::Arc;
use crate::wrong_task::Misuse;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

impl Frame {
    /// Polls a region that has no node for the first time, if that is possible; it gets a node if it needs one.
    /// `shared` tells whether other threads can reach the draft. With a value the region has been left.
    #[inline(always)]
    pub(in crate::region) fn poll_light<F: Future>(
        &mut self,
        draft: &Draft,
        shared: bool,
        body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Option<Quick<F::Output>> {
        let light = draft.light(self.at)?;
        if shared {
            let who = Signature::of(light.who(), self.at)?;
            if let Err(misuse) = draft.note_entered(who, self.at) {
                return Some(Quick::Misuse(misuse));
            }
        }
        let settle = |frame: &mut Frame, node| frame.settle(draft, shared, light, node);
        let polled = self.poll_without_node(light, None, || false, settle, body, cx);
        match &polled {
            Some(Quick::Value(_)) if shared => draft.note_left(),
            // The thread is exiting, and no region can be polled without a node.
            None if shared => draft.note_not_entered(),
            _ => {}
        }
        polled
    }

    /// Polls a child that has no node. It gets none if it ends, or if it is pending and `stays` allows it; else
    /// `settle` makes its node, unless it was made inside. `posting` is that of an executor child.
    pub(in crate::region) fn poll_newborn<F: Future>(
        &mut self,
        light: Light,
        posting: Option<Posting>,
        stays: impl FnOnce() -> bool,
        settle: impl FnOnce(Option<Arc<Node>>) -> Arc<Node>,
        body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Option<Quick<F::Output>> {
        let settle = |frame: &mut Frame, node| {
            frame.begin_in(settle(node));
            Ok(())
        };
        self.poll_without_node(light, posting, stays, settle, body, cx)
    }

    /// Polls a body in a region without a node. Unless the region is left in this poll, `settle` gives it a node:
    /// that which was made inside, or another one. A pending region stays without a node if none was made and `stays`
    /// allows it.
    #[inline(always)]
    fn poll_without_node<F: Future>(
        &mut self,
        light: Light,
        posting: Option<Posting>,
        stays: impl FnOnce() -> bool,
        settle: impl FnOnce(&mut Self, Option<Arc<Node>>) -> Result<(), Box<Misuse>>,
        mut body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Option<Quick<F::Output>> {
        let mut value = None;
        let once = poll_once(body.as_mut(), cx, &mut value);
        let (caught, shielded, node) = match posting {
            None => ambient::watch_light(light, once)?,
            Some(posting) => ambient::watch_posted(posting, light, once)?,
        };
        if let (Ok(()), Some(_), None) = (&caught, &value, &node) {
            self.stage = Stage::Left;
            return value.map(Quick::Value);
        }
        if let (Ok(()), None, None, false) = (&caught, &value, &node, shielded) {
            if stays() {
                return Some(Quick::Pending);
            }
        }
        if let Err(misuse) = settle(self, node) {
            return Some(Quick::Misuse(misuse));
        }
        Some(match self.go_on(caught, value, shielded, false, body, cx) {
            Poll::Pending => Quick::Pending,
            Poll::Ready(ended) => Quick::Ended(ended),
        })
    }

    /// Gives a region without a node its node, which has been entered.
    pub(crate) fn begin_in(&mut self, node: Arc<Node>) {
        self.node = Some(node);
        self.stage = Stage::Inside;
    }

    /// Enters a region that has no node yet, with one.
    pub(in crate::region) fn begin_draft(
        &mut self,
        draft: &Draft,
        shared: bool,
    ) -> Result<(), Box<Misuse>> {
        if self.stage != Stage::New {
            return Ok(());
        }
        if self.node.is_none() {
            self.node = Some(Arc::clone(draft.node()));
        }
        if shared {
            let task = ambient::task();
            let runtime = if task == 0 { rt::task_number() } else { 0 };
            let who = Signature::of(Identity { task, runtime }, self.at);
            draft.note_entered(Signature::or_elsewhere(who), self.at)?;
        }
        self.begin("run")
    }

    #[inline(never)]
    pub(super) fn settle(
        &mut self,
        draft: &Draft,
        shared: bool,
        light: Light,
        inside: Option<Arc<Node>>,
    ) -> Result<(), Box<Misuse>> {
        let node = match (inside, draft.made()) {
            // The node was made from outside meanwhile, and is not entered yet.
            (None, Some(outside)) => {
                self.node = Some(Arc::clone(outside));
                return self.begin("run");
            }
            (None, None) => light.node(ambient::current()),
            (Some(inside), _) => inside,
        };
        draft.hand_over_census();
        #[cfg(feature = "testing")]
        node.count_as_node();
        if shared {
            let settled = draft.settle(Arc::clone(&node));
            if !Arc::ptr_eq(settled, &node) {
                node.stay_in(settled);
            }
        }
        self.begin_in(node);
        Ok(())
    }

    /// Leaves the node that was made outside, if this frame attends another one; see [`settle`](Frame::settle).
    pub(in crate::region) fn leave_draft(&self, draft: &Draft) {
        if let (Some(outside), Some(node)) = (draft.made(), &self.node) {
            if !Arc::ptr_eq(outside, node) {
                outside.leave_as(node);
            }
        }
    }

    /// Enters the region at the first poll; with an error the region is unchanged.
    #[inline]
    pub(crate) fn begin(&mut self, operation: &'static str) -> Result<(), Box<Misuse>> {
        if self.stage == Stage::New { self.begin_anew(operation) } else { Ok(()) }
    }

    #[inline(never)]
    fn begin_anew(&mut self, operation: &'static str) -> Result<(), Box<Misuse>> {
        let panic = self.node().attend(operation, self.at)?;
        self.stage = Stage::Inside;
        if let Some(panic) = panic {
            self.keep_caught(panic);
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

    /// Ends the frame of a region that could not be entered.
    pub(crate) fn reject(&mut self) {
        self.stage = Stage::Left;
    }
}
