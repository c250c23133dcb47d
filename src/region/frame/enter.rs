//! Entering a frame's region: at its first poll, with a node or without one.

use super::{Frame, Progress, Quick, Stage};
use crate::identity::Identity;
use crate::region::ambient::{self, Light};
use crate::region::body::{Body, InPlace};
use crate::region::draft::Draft;
use crate::region::flags::ROOT;
use crate::region::node::Node;
use crate::region::owner;
use crate::region::stamp::Signature;
use crate::region::stay;
use crate::rt;
use crate::sync::Arc;
use crate::wrong_task::Misuse;
use std::future::Future;
use std::task::{Context, Poll};

impl Frame {
    /// Polls a region that has no node for the first time, if that is possible; it gets a node if it needs one. Other
    /// threads can reach the draft. With a value the region has been left.
    #[inline(always)]
    pub(in crate::region) fn poll_draft<F: Future>(
        &mut self,
        draft: &Draft,
        progress: &mut Progress,
        mut body: InPlace<'_, F>,
        cx: &mut Context<'_>,
    ) -> Quick {
        let Some(light) = draft.light(self.at) else { return Quick::GoOn };
        let Some(who) = Signature::of(light.who(), self.at) else { return Quick::GoOn };
        if let Err(misuse) = draft.note_entered(who, self.at) {
            *progress = Progress::Refused(misuse);
            return Quick::GoOn;
        }
        let Some((caught, shielded, node)) = ambient::watch_light(&light, || body.poll(cx)) else {
            // The thread is exiting, and no region can be polled without a node.
            draft.note_not_entered();
            return Quick::GoOn;
        };
        if let (Ok(Poll::Ready(())), None) = (&caught, &node) {
            self.note_left();
            draft.note_left();
            return Quick::Left;
        }
        if let Err(misuse) = self.settle(draft, &light, node) {
            *progress = Progress::Refused(misuse);
            return Quick::GoOn;
        }
        self.go_on_from(progress, caught, shielded, &mut body.again(), cx)
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
    fn settle(
        &mut self,
        draft: &Draft,
        light: &Light,
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
        draft.give_up_live_entry();
        #[cfg(feature = "testing")]
        node.live.take_up();
        let stored = draft.store_node(Arc::clone(&node));
        if !Arc::ptr_eq(stored, &node) {
            stay::stay_in(&node, stored);
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
            Stage::Inside if !self.has(ROOT) => Ok(owner::check(self.node(), "close", self.at)?),
            Stage::Inside | Stage::Left => Ok(()),
        }
    }

    /// Notes that a region without a node has been left.
    #[inline]
    pub(in crate::region) fn note_left(&mut self) {
        self.stage = Stage::Left;
    }

    /// Ends the frame of a region that could not be entered.
    pub(crate) fn reject(&mut self) {
        self.stage = Stage::Left;
    }
}
