//! The steps of a run that are not quick. They take the body as a trait object, so that each is compiled once.

use super::BodyEnd;
use super::source::Parts;
use crate::reason::Leaving;
use crate::region::body::Body;
use crate::region::frame;
use crate::region::frame::{Ended, Frame, Progress, Quick};
use crate::wrong_task::Misuse;
use std::task::{Context, Poll, ready};

/// For a run that is dropped before it has left: drops the body, and hands over the exits.
pub(in crate::region) fn drop_inside(frame: &mut Frame, parts: Parts<'_>, body: &mut dyn Body) {
    frame::report_foreign_drop(frame);
    // Before the hand-over, so that exits which the body abandons go to this region, and on with its own (R7).
    frame.clear_dropped(body);
    if body.has_value() && frame.has_error_to_tell() {
        frame.unclaimed();
    }
    let dropped = frame.within(|| body.drop_value());
    frame.keep_panic_of(dropped);
    frame::abandon(frame, parts.exits(), None);
    parts.leave_draft(frame);
}

/// Enters a region that has its node, or needs it, and polls it, if that is all of its first poll.
pub(super) fn poll_fresh(
    frame: &mut Frame,
    parts: Parts<'_>,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> Quick {
    if frame.has_left() || !matches!(frame.progress, Progress::Body) {
        return Quick::GoOn;
    }
    if let Err(misuse) = begin(frame, parts) {
        frame.progress = Progress::Refused(misuse);
        return Quick::GoOn;
    }
    frame::poll_fresh(frame, body, parts.exits(), cx)
}

pub(super) fn begin(frame: &mut Frame, parts: Parts<'_>) -> Result<(), Box<Misuse>> {
    match parts {
        Parts::Shared(draft) => frame::begin_draft(frame, draft, true),
        Parts::Lone(draft) => frame::begin_draft(frame, draft, false),
        Parts::Node => frame::begin(frame, "run"),
        Parts::Stack(draft, exits) => {
            frame::begin_draft(frame, draft, false)?;
            exits.enter(frame.node().owner.get());
            Ok(())
        }
    }
}

/// See [`Run::poll_run`](super::Run::poll_run).
pub(in crate::region) fn poll_run(
    frame: &mut Frame,
    parts: Parts<'_>,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> Poll<Result<Ended, Box<Misuse>>> {
    match &frame.progress {
        Progress::Refused(_) => {
            frame::end(frame);
            if let Progress::Refused(misuse) = std::mem::take(&mut frame.progress) {
                return Poll::Ready(Err(misuse));
            }
        }
        Progress::Body => {
            if frame.has_left() {
                return Poll::Pending;
            }
            if !frame.is_inside() {
                if let Err(misuse) = begin(frame, parts) {
                    frame::end(frame);
                    return Poll::Ready(Err(misuse));
                }
            }
            let ended = ready!(frame::poll_body(frame, body, cx));
            if matches!(ended, Ended::Misplaced(_)) {
                frame::abandon_keeping(frame, parts.exits(), None);
            }
            frame.progress = Progress::Ended(ended);
        }
        Progress::Ended(ended) => {
            if let Err(wrong) = frame.check_poller() {
                // The body has ended, the exits have not: they go home, and its end is told all the same.
                let panicked = matches!(ended, Ended::Panicked);
                frame.progress = Progress::Body;
                frame::abandon_keeping(frame, parts.exits(), None);
                parts.leave_draft(frame);
                let ended = if panicked { Ended::Panicked } else { Ended::Misplaced(wrong) };
                return Poll::Ready(Ok(ended));
            }
        }
    }
    let Progress::Ended(ended) = &frame.progress else { return Poll::Pending };
    let catches = matches!(ended, Ended::Cancelled(_));
    let why = match ended {
        Ended::Value => body.why(),
        Ended::Panicked => Leaving::Panicked,
        Ended::Cancelled(reason) => Leaving::Cancelled(reason.clone()),
        Ended::Misplaced(_) => Leaving::Abandoned,
    };
    parts.end_times(frame);
    ready!(frame::poll_leave(frame, cx, why, catches, parts.exits()));
    parts.leave_draft(frame);
    match std::mem::take(&mut frame.progress) {
        Progress::Ended(ended) => Poll::Ready(Ok(ended)),
        _ => Poll::Pending,
    }
}

/// See [`Run::poll_scope`](super::Run::poll_scope).
pub(super) fn poll_scope(
    frame: &mut Frame,
    parts: Parts<'_>,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> Poll<Result<BodyEnd<()>, Box<Misuse>>> {
    let ended = match ready!(poll_run(frame, parts, body, cx)) {
        Ok(ended) => ended,
        Err(misuse) => match *misuse {
            Misuse::WrongTask(wrong) => Ended::Misplaced(wrong),
            misuse => return Poll::Ready(Err(Box::new(misuse))),
        },
    };
    let left = match ended {
        Ended::Value => Some(Ok(())),
        ended => {
            if matches!(ended, Ended::Misplaced(_)) {
                frame.drop_value_of(body);
            }
            ended.into_reason().map(Err)
        }
    };
    if let Some(panic) = frame.take_panic(None) {
        frame.drop_value_of(body);
        frame.resume_now(panic);
    }
    Poll::Ready(Ok(left))
}
