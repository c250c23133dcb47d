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
    #[inline]
    pub(in crate::region) fn enter(&self) -> InSpan {
        #[allow(unused_mut, reason = "changed with the feature `tracing`")]
        let mut in_span = InSpan::default();
        #[cfg(feature = "tracing")]
        quietly(|| in_span.0 = self.span.as_ref().map(|span| span.clone().entered()));
        in_span
    }
}

/// Within the span, as long as it lives.
#[derive(Default)]
pub(in crate::region) struct InSpan(
    #[cfg(feature = "tracing")] pub(super) Option<tracing::span::EnteredSpan>,
);

#[cfg(feature = "tracing")]
impl Drop for InSpan {
    fn drop(&mut self) {
        let entered = self.0.take();
        quietly(|| drop(entered));
    }
}
