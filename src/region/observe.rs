//! Events for `tracing` and `inspect`, each behind its feature; without them these functions do nothing.
//!
//! Called outside every lock, because a subscriber is user code (R18). A panic of a subscriber ends here, after the
//! panic hook has reported it, because it must not interrupt the caller.

use super::Node;
use crate::reason::Reason;
use crate::sync::Arc;
use std::panic::Location;

/// The state of a region, as an observer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The state in which every region begins. Only a snapshot shows it.
    #[cfg(feature = "inspect")]
    Body,
    /// The body has ended, children have not.
    Children,
    /// It runs the exits that were abandoned inside.
    Adopted,
    /// It runs its own exit that was registered at this place.
    Exit(&'static Location<'static>),
}

/// The span around a region's body.
#[cfg(feature = "tracing")]
#[derive(Default)]
pub(super) struct Span(Option<tracing::Span>);

#[cfg(feature = "tracing")]
impl Span {
    /// Enters the span, which is made at the first poll.
    pub(super) fn enter(&mut self, node: &Node) -> Entered {
        let mut entered = None;
        quietly(|| {
            let span = self.0.get_or_insert_with(|| {
                let owner = node.owner_id().map(|task| task.to_string());
                tracing::debug_span!(target: "moored", "region", region = node.describe(), owner)
            });
            entered = Some(span.clone().entered());
        });
        Entered(entered)
    }
}

#[cfg(feature = "tracing")]
pub(super) struct Entered(Option<tracing::span::EnteredSpan>);

#[cfg(feature = "tracing")]
impl Drop for Entered {
    fn drop(&mut self) {
        let entered = self.0.take();
        quietly(|| drop(entered));
    }
}

#[cfg(feature = "tracing")]
fn quietly(tell: impl FnOnce()) {
    if let Err(payload) = crate::unwind::catch(tell) {
        crate::unwind::discard(payload);
    }
}

impl Node {
    pub(super) fn tell_entered(self: &Arc<Self>) {
        #[cfg(feature = "inspect")]
        super::register::enter(self);
        #[cfg(feature = "tracing")]
        quietly(|| tracing::trace!(target: "moored", region = self.describe(), "entered"));
    }

    pub(super) fn tell_left(&self) {
        #[cfg(feature = "inspect")]
        super::register::leave(self);
        #[cfg(feature = "tracing")]
        quietly(|| tracing::trace!(target: "moored", region = self.describe(), "left"));
    }

    pub(crate) fn tell_phase(&self, phase: Phase) {
        #[cfg(feature = "inspect")]
        super::register::note(self, phase);
        #[cfg(feature = "tracing")]
        quietly(|| tracing::trace!(target: "moored", region = self.describe(), ?phase));
        let _ = phase;
    }

    pub(super) fn tell_cancelled(&self, reason: &Reason) {
        #[cfg(feature = "tracing")]
        quietly(
            || tracing::debug!(target: "moored", region = self.describe(), %reason, "cancelled"),
        );
        let _ = reason;
    }
}
