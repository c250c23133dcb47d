//! A body of any type: the code behind the quick path of a poll is compiled once for all types.

use crate::reason::Leaving;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The future that a region polls, and the value that it ends with.
pub(crate) trait Body {
    /// Polls the body, to be called with its region current. A body that ends leaves its value here and is dropped at once,
    /// so that regions that are left in it hand their exits to its region.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether the body has ended with a value, even if the drop of the body, which comes after that, has panicked.
    fn has_value(&self) -> bool;

    /// The reason that the value gives to the exits of the region.
    fn why(&self) -> Leaving;

    fn drop_body(&mut self);

    fn drop_value(&mut self);
}

/// A body that stays where it is pinned, and the room for its value.
pub(crate) struct InPlace<'a, F: Future> {
    pub(crate) body: Pin<&'a mut Option<F>>,
    pub(crate) value: &'a mut Option<F::Output>,
    pub(crate) why: fn(&F::Output) -> Leaving,
}

impl<F: Future> InPlace<'_, F> {
    /// A second value for the slow path, which takes its address. So the first one, of the quick path, can stay in registers.
    #[inline(always)]
    pub(super) fn again(&mut self) -> InPlace<'_, F> {
        InPlace { body: self.body.as_mut(), value: self.value, why: self.why }
    }
}

impl<F: Future> Body for InPlace<'_, F> {
    #[inline(always)]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(body) = self.body.as_mut().as_pin_mut() else { return Poll::Pending };
        let value = ready!(body.poll(cx));
        *self.value = Some(value);
        self.body.set(None);
        Poll::Ready(())
    }

    fn has_value(&self) -> bool {
        self.value.is_some()
    }

    fn why(&self) -> Leaving {
        self.value.as_ref().map_or(Leaving::Completed, self.why)
    }

    fn drop_body(&mut self) {
        self.body.set(None);
    }

    fn drop_value(&mut self) {
        *self.value = None;
    }
}
