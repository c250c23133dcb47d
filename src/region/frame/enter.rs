//! Entering a frame's region: at its first poll, with a node or without one.

use super::{Frame, Progress, Quick, Stage};
use crate::identity::Identity;
use crate::region::ambient::{self, Light};
use crate::region::body::{Body, InPlace};
use crate::region::draft::{Draft, Set};
use crate::region::enter;
use crate::region::flags::{ROOT, TIMELESS};
use crate::region::frame;
use crate::region::leave;
use crate::region::node::Node;
use crate::region::owner;
use crate::region::stamp::Signature;
use crate::region::stay;
use crate::rt;
use crate::sync::Arc;
use crate::wakers::Mark;
use crate::wrong_task::Misuse;
use std::future::Future;
use std::task::{Context, Poll, Waker};

/// Polls a region that has no node for the first time, if that is possible; it gets a node if it needs one. Other
/// threads can reach the draft. With a value the region has been left.
#[inline(always)]
pub(in crate::region) fn poll_draft<F: Future>(
    frame: &mut Frame,
    draft: &Draft,
    mut body: InPlace<'_, F>,
    cx: &mut Context<'_>,
) -> Quick {
    let Some(light) = draft.light(frame.at) else { return Quick::GoOn };
    let Some(who) = Signature::of(light.who(), frame.at) else { return Quick::GoOn };
    if let Err(misuse) = draft.note_entered(who, frame.at) {
        frame.progress = Progress::Refused(misuse);
        return Quick::GoOn;
    }
    let Some((caught, shielded, node)) = ambient::within_light(&light, || body.poll(cx)) else {
        // The thread is exiting, and no region can be polled without a node.
        draft.stamp.take_back();
        return Quick::GoOn;
    };
    if let (Ok(Poll::Ready(())), None) = (&caught, &node) {
        end(frame);
        draft.note_left();
        return Quick::Left;
    }
    let waker = matches!(caught, Ok(Poll::Pending)).then(|| cx.waker());
    if let Err(misuse) = give_node(frame, draft, &light, node, waker) {
        frame.progress = Progress::Refused(misuse);
        return Quick::GoOn;
    }
    frame::after_quick_poll(frame, caught, shielded, &mut body.again(), cx)
}

/// Gives a region without a node its node, which has been entered.
pub(crate) fn begin_in(frame: &mut Frame, node: Arc<Node>) {
    frame.node = Some(node);
    frame.stage = Stage::Inside;
}

/// Enters a region that has no node yet, with one.
pub(in crate::region) fn begin_draft<T: Set>(
    frame: &mut Frame,
    draft: &Draft<T>,
    shared: bool,
) -> Result<(), Box<Misuse>> {
    if frame.node.is_none() {
        frame.node = Some(Arc::clone(draft.node()));
    }
    if shared {
        let task = ambient::task();
        let runtime = if task == 0 { rt::task_number() } else { 0 };
        let who = Signature::of(Identity { task, runtime }, frame.at);
        draft.note_entered(Signature::or_elsewhere(who), frame.at)?;
    }
    begin(frame, "run")
}

/// Gives a region that was polled without a node its node: `inside` if the poll has made one. `waker` is that of the run, if the
/// run is pending. A node that is made here has the waker from the start, so no lock is taken to register it.
#[inline(never)]
fn give_node(
    frame: &mut Frame,
    draft: &Draft,
    light: &Light,
    inside: Option<Arc<Node>>,
    waker: Option<&Waker>,
) -> Result<(), Box<Misuse>> {
    let node = match (inside, draft.made()) {
        // The node was made from outside meanwhile, and is not entered yet (invariant 3 of `draft`).
        (None, Some(outside)) => {
            frame.node = Some(Arc::clone(outside));
            return begin(frame, "run");
        }
        (None, None) => {
            frame.waker = waker.map_or(Mark::default(), Mark::of);
            light.node(ambient::current(), waker.cloned())
        }
        (Some(inside), _) => inside,
    };
    draft.give_up_live_entry();
    #[cfg(feature = "testing")]
    node.live.take_up();
    let stored = draft.store_node(Arc::clone(&node));
    if !Arc::ptr_eq(stored, &node) {
        stay::stay_in(&node, stored);
    }
    begin_in(frame, node);
    Ok(())
}

/// Leaves the node that was made outside, if this frame attends another one.
pub(in crate::region) fn leave_draft(frame: &Frame, draft: &Draft) {
    if let (Some(outside), Some(node)) = (made_outside(frame, draft), &frame.node) {
        leave::close_as(outside, node);
    }
}

/// The times of the region end with its body, also in the node that was made outside, if this frame attends another one.
pub(in crate::region) fn end_times(frame: &Frame, draft: &Draft) {
    if let Some(outside) = made_outside(frame, draft) {
        outside.lock_and_raise(TIMELESS);
    }
}

/// The node that was made outside, if the frame attends another one; see [`give_node`].
fn made_outside<'a>(frame: &Frame, draft: &'a Draft) -> Option<&'a Arc<Node>> {
    let (made, node) = (draft.made()?, frame.node.as_ref()?);
    (!Arc::ptr_eq(made, node)).then_some(made)
}

/// Enters the region at the first poll; with an error the region is unchanged.
#[inline]
pub(crate) fn begin(frame: &mut Frame, operation: &'static str) -> Result<(), Box<Misuse>> {
    if frame.stage == Stage::New { begin_anew(frame, operation) } else { Ok(()) }
}

#[inline(never)]
fn begin_anew(frame: &mut Frame, operation: &'static str) -> Result<(), Box<Misuse>> {
    let panic = enter::attend(frame.node(), operation, frame.at)?;
    frame.stage = Stage::Inside;
    if let Some(panic) = panic {
        frame.extras().tally.caught(panic);
    }
    Ok(())
}

/// As [`begin`], for leaving without a body: every poll has to come from the owner.
pub(crate) fn begin_close(frame: &mut Frame) -> Result<(), Box<Misuse>> {
    match frame.stage {
        Stage::New => begin(frame, "close"),
        Stage::Inside if !frame.has(ROOT) => Ok(owner::check(frame.node(), "close", frame.at)?),
        Stage::Inside | Stage::Left => Ok(()),
    }
}

/// Ends the frame, because its region was left elsewhere, or could not be entered.
#[inline]
pub(crate) fn end(frame: &mut Frame) {
    frame.stage = Stage::Left;
}
