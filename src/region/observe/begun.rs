//! An exit that has begun, as observers see it: its span, and its entry in the register.

#[cfg(feature = "inspect")]
use crate::region::register::listed::Listed;
#[cfg(feature = "tracing")]
use crate::unwind::quietly;

/// An exit that has begun.
#[derive(Default)]
pub(in crate::region) struct Begun {
    #[cfg(feature = "tracing")]
    pub(super) span: Option<tracing::Span>,
    /// The entry of an exit that was pending at its first poll.
    #[cfg(feature = "inspect")]
    pub(super) shown: Option<Listed>,
}

impl Begun {
    /// Enters the span, for a poll of the exit.
    #[cfg(feature = "tracing")]
    pub(in crate::region) fn enter(&self) -> InSpan {
        let mut entered = None;
        quietly(|| entered = self.span.as_ref().map(|span| span.clone().entered()));
        InSpan(entered)
    }

    #[cfg(not(feature = "tracing"))]
    #[inline]
    pub(in crate::region) fn enter(&self) -> InSpan {
        InSpan
    }
}

#[cfg(feature = "tracing")]
pub(in crate::region) struct InSpan(pub(super) Option<tracing::span::EnteredSpan>);

#[cfg(feature = "tracing")]
impl Drop for InSpan {
    fn drop(&mut self) {
        let entered = self.0.take();
        quietly(|| drop(entered));
    }
}

#[cfg(not(feature = "tracing"))]
pub(in crate::region) struct InSpan;
