//! A body with its frame, of which every future that enters a region is made.

use super::body::{Body, InPlace};
use super::draft::Draft;
use super::exits::Exits;
use super::frame;
use super::frame::{Ended, Frame, Progress, Quick};
use super::lone::{Lone, LoneTimer};
use super::node::Node;
use super::own_exits::OwnExits;
use crate::reason::{Leaving, Reason};
use crate::sync::Arc;
use crate::wrong_task::Misuse;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What a run's region has beside its node.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Nothing: the node was given.
    Node,
    /// A draft that others can reach while the run goes on.
    Shared(&'a Draft),
    /// A draft that only the run has.
    Lone(&'a Draft),
    /// Exits: it is a stack.
    Stack(&'a OwnExits),
}

impl<'a> Source<'a> {
    #[inline]
    fn exits(self) -> Option<&'a OwnExits> {
        if let Source::Stack(exits) = self { Some(exits) } else { None }
    }

    /// The region has been left.
    fn leave_draft(self, frame: &Frame) {
        if let Source::Shared(draft) = self {
            frame::leave_draft(frame, draft);
        }
    }
}

/// The source of a run's node.
pub(crate) trait Origin {
    fn source(&self) -> Source<'_>;

    /// Polls a region that has no node. `None` where it needs one first, and may have been given it.
    fn poll_light<F: Future>(
        self: Pin<&mut Self>,
        frame: &mut Frame,
        progress: &mut Progress,
        body: InPlace<'_, F>,
        cx: &mut Context<'_>,
    ) -> Quick;

    /// At the beginning of a poll of a region that has its node.
    #[inline(always)]
    fn poll_timer(self: Pin<&mut Self>, _: &mut Frame, _: &mut Context<'_>) {}

    fn body_has_ended(self: Pin<&mut Self>) {}

    /// The region has been left in a quick poll.
    fn has_left(self: Pin<&mut Self>, _: &Frame) {}

    /// Drops the body of a region that has no node, and is entered.
    fn drop_light(self: Pin<&mut Self>, _: &mut Frame, _: &mut dyn Body) {}
}

/// For a run that was given its node.
pub(crate) struct Given;

impl Origin for Given {
    #[inline]
    fn source(&self) -> Source<'_> {
        Source::Node
    }

    #[inline]
    fn poll_light<F: Future>(
        self: Pin<&mut Self>,
        _: &mut Frame,
        _: &mut Progress,
        _: InPlace<'_, F>,
        _: &mut Context<'_>,
    ) -> Quick {
        Quick::GoOn
    }
}

/// The exits of a stack, whose node was given.
impl Origin for &OwnExits {
    #[inline]
    fn source(&self) -> Source<'_> {
        Source::Stack(self)
    }

    #[inline]
    fn poll_light<F: Future>(
        self: Pin<&mut Self>,
        _: &mut Frame,
        _: &mut Progress,
        _: InPlace<'_, F>,
        _: &mut Context<'_>,
    ) -> Quick {
        Quick::GoOn
    }
}

/// The draft of a scope, or `None` for a stay in an entered scope.
impl Origin for Option<&Draft> {
    #[inline]
    fn source(&self) -> Source<'_> {
        self.map_or(Source::Node, Source::Shared)
    }

    #[inline(always)]
    fn poll_light<F: Future>(
        self: Pin<&mut Self>,
        frame: &mut Frame,
        progress: &mut Progress,
        body: InPlace<'_, F>,
        cx: &mut Context<'_>,
    ) -> Quick {
        let Some(draft) = *self else { return Quick::GoOn };
        frame::poll_draft(frame, draft, progress, body, cx)
    }

    #[inline]
    fn has_left(self: Pin<&mut Self>, frame: &Frame) {
        if let Some(draft) = *self {
            frame::leave_draft(frame, draft);
        }
    }
}

pin_project! {
    /// Enters a region at its first poll, polls the body, and leaves.
    pub(crate) struct Run<F: Future, O: Origin = Given> {
        frame: Frame,
        #[pin]
        origin: O,
        #[pin]
        body: Option<F>,
        // The body's, while the region is being left.
        value: Option<F::Output>,
        progress: Progress,
    }

    impl<F: Future, O: Origin> PinnedDrop for Run<F, O> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let mut body = InPlace { body: this.body, value: this.value, why: completed };
            if this.frame.is_inside() {
                drop_inside(this.frame, this.origin.source(), &mut body);
            } else if this.frame.is_new_draft() {
                this.origin.drop_light(this.frame, &mut body);
            }
        }
    }
}

/// The end of a region whose value goes outwards as it is: the value, or the reason why there is none. `None` if the run is
/// polled again after a panic.
pub(crate) type Left<T> = Option<Result<T, Reason>>;

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

impl<'a, F: Future> Run<F, &'a OwnExits> {
    /// For a stack.
    pub(crate) fn of_stack(
        node: Arc<Node>,
        exits: &'a OwnExits,
        body: F,
        at: &'static Location<'static>,
    ) -> Self {
        Run::with(Frame::new(node, at), exits, body)
    }
}

impl<F: Future, T: LoneTimer> Run<F, Lone<T>> {
    pub(crate) fn set_up(&self) -> &Draft {
        &self.origin.draft
    }
}

impl<F: Future, O: Origin> Run<F, O> {
    fn with(frame: Frame, origin: O, body: F) -> Self {
        Run { frame, origin, body: Some(body), value: None, progress: Progress::Body }
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

    pub(crate) fn frame(self: Pin<&mut Self>) -> &mut Frame {
        self.project().frame
    }

    /// The value of a body that has ended, once the region has been left.
    pub(crate) fn value(self: Pin<&mut Self>) -> Option<F::Output> {
        self.project().value.take()
    }

    pub(crate) fn has_left(&self) -> bool {
        self.frame.has_left() && !matches!(self.progress, Progress::Ended(_))
    }

    /// The first part of every poll, and for most regions the whole poll. `None` if there is more to do, for
    /// [`poll_run`](Run::poll_run).
    #[inline(always)]
    pub(crate) fn poll_quick(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<F::Output>> {
        let mut this = self.project();
        if !matches!(this.progress, Progress::Body) {
            return None;
        }
        let value = &mut *this.value;
        let mut body = InPlace { body: this.body, value, why: completed };
        let quick = if this.frame.is_inside() {
            this.origin.as_mut().poll_timer(this.frame, cx);
            frame::poll_calm(this.frame, this.progress, body, this.origin.source().exits(), cx)
        } else {
            if this.frame.is_new_draft() {
                let light = this.origin.as_mut();
                let quick = light.poll_light(this.frame, this.progress, body.again(), cx);
                if quick != Quick::GoOn || !this.frame.is_new_draft() {
                    return polled(quick, this.value);
                }
            }
            let source = this.origin.source();
            poll_fresh(this.frame, this.progress, source, &mut body.again(), cx)
        };
        if quick == Quick::Left {
            this.origin.has_left(this.frame);
        }
        polled(quick, this.value)
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
        let source = this.origin.source();
        let mut body = InPlace { body: this.body, value: this.value, why };
        poll_run(this.frame, this.progress, source, &mut body, cx)
    }

    /// As [`poll_run`](Run::poll_run), for a region whose value goes outwards as it is. It resolves to that, or to why there
    /// is none; to `None` where it is polled again after a panic.
    pub(crate) fn poll_scope(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Left<F::Output>, Box<Misuse>>> {
        let mut this = self.project();
        if matches!(this.progress, Progress::Ended(_)) {
            this.origin.as_mut().body_has_ended();
        }
        let source = this.origin.source();
        let mut body = InPlace { body: this.body, value: this.value, why: completed };
        let left = ready!(poll_scope(this.frame, this.progress, source, &mut body, cx));
        Poll::Ready(left.map(|left| match left? {
            Ok(()) => this.value.take().map(Ok),
            Err(reason) => Some(Err(reason)),
        }))
    }
}

/// Drops what is in a run that is dropped before it has left, and hands over its exits.
pub(super) fn drop_inside(frame: &mut Frame, source: Source<'_>, body: &mut dyn Body) {
    frame::report_foreign_drop(frame);
    // Before the exits are handed over, so that what the body abandons comes here (R7).
    frame.clear_dropped(body);
    if frame.has_error_to_tell() {
        frame.unclaimed();
    }
    if let Err(payload) = frame.within(|| body.drop_value()) {
        frame.keep_panic(payload);
    }
    frame::abandon(frame, source.exits());
    source.leave_draft(frame);
}

/// Enters a region that has its node, or needs it, and polls it, if that is all of its first poll.
fn poll_fresh(
    frame: &mut Frame,
    progress: &mut Progress,
    source: Source<'_>,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> Quick {
    if frame.has_left() || !matches!(progress, Progress::Body) {
        return Quick::GoOn;
    }
    if let Err(misuse) = begin(frame, source) {
        *progress = Progress::Refused(misuse);
        return Quick::GoOn;
    }
    frame::poll_fresh(frame, progress, body, source.exits(), cx)
}

fn begin(frame: &mut Frame, source: Source<'_>) -> Result<(), Box<Misuse>> {
    match source {
        Source::Shared(draft) => frame::begin_draft(frame, draft, true),
        Source::Lone(draft) => frame::begin_draft(frame, draft, false),
        Source::Node => frame::begin(frame, "run"),
        Source::Stack(exits) => frame::begin(frame, "run").inspect(|()| exits.enter()),
    }
}

/// See [`Run::poll_run`].
pub(super) fn poll_run(
    frame: &mut Frame,
    progress: &mut Progress,
    source: Source<'_>,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> Poll<Result<Ended, Box<Misuse>>> {
    match progress {
        Progress::Refused(_) => {
            frame::reject(frame);
            if let Progress::Refused(misuse) = std::mem::take(progress) {
                return Poll::Ready(Err(misuse));
            }
        }
        Progress::Body => {
            if frame.has_left() {
                return Poll::Pending;
            }
            if let Err(misuse) = begin(frame, source) {
                frame::reject(frame);
                return Poll::Ready(Err(misuse));
            }
            let ended = ready!(frame::poll_body(frame, body, cx));
            if matches!(ended, Ended::Misplaced(_)) {
                frame::abandon_keeping(frame, source.exits(), Exits::default());
            }
            *progress = Progress::Ended(ended);
        }
        Progress::Ended(ended) => {
            if let Err(wrong) = frame.check_poller() {
                // The body has ended, the exits have not: they go home, and its end is told all the same.
                let panicked = matches!(ended, Ended::Panicked);
                *progress = Progress::Body;
                frame::abandon_keeping(frame, source.exits(), Exits::default());
                source.leave_draft(frame);
                let ended = if panicked { Ended::Panicked } else { Ended::Misplaced(wrong) };
                return Poll::Ready(Ok(ended));
            }
        }
    }
    let Progress::Ended(ended) = progress else { return Poll::Pending };
    if matches!(ended, Ended::Cancelled(_)) && frame::waits_for_outer(frame, cx) {
        return Poll::Pending;
    }
    let why = match ended {
        Ended::Value => body.why(),
        Ended::Panicked => Leaving::Panicked,
        Ended::Cancelled(reason) => Leaving::Cancelled(reason.clone()),
        Ended::Misplaced(_) => Leaving::Abandoned,
    };
    ready!(frame::poll_leave(frame, cx, why, source.exits()));
    source.leave_draft(frame);
    match std::mem::take(progress) {
        Progress::Ended(ended) => Poll::Ready(Ok(ended)),
        _ => Poll::Pending,
    }
}

/// See [`Run::poll_scope`].
fn poll_scope(
    frame: &mut Frame,
    progress: &mut Progress,
    source: Source<'_>,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> Poll<Result<Left<()>, Box<Misuse>>> {
    let ended = match ready!(poll_run(frame, progress, source, body, cx)) {
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
