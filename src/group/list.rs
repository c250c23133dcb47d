//! A list through its items themselves: it needs no allocation, however many items come.

use pin_project_lite::pin_project;
use std::pin::Pin;

pin_project! {
    /// A child, and the next item of the list that it is in.
    pub(crate) struct WithNext<C: ?Sized, M> {
        next: Option<M>,
        #[pin]
        child: C,
    }
}

pub(crate) type PinWithNext<C, M> = Pin<Box<WithNext<C, M>>>;

impl<C, M> WithNext<C, M> {
    pub(crate) fn pin(child: C) -> PinWithNext<C, M> {
        Box::pin(WithNext { next: None, child })
    }
}

impl<C: ?Sized, M> WithNext<C, M> {
    #[inline]
    pub(super) fn next(self: Pin<&mut Self>) -> &mut Option<M> {
        self.project().next
    }

    #[inline]
    pub(super) fn child(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().child
    }
}

/// An item of a list.
pub(crate) trait HasNext: Sized {
    fn next(&mut self) -> &mut Option<Self>;
}

/// Yields the item that was pushed last.
pub(super) struct List<M: HasNext> {
    first: Option<M>,
}

impl<M: HasNext> List<M> {
    pub(super) fn new() -> Self {
        List { first: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(super) fn push(&mut self, mut item: M) {
        *item.next() = self.first.take();
        self.first = Some(item);
    }

    /// The item that was pushed last.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<M> {
        let mut first = self.first.take()?;
        self.first = first.next().take();
        Some(first)
    }

    pub(super) fn drain(&mut self) -> Self {
        List { first: self.first.take() }
    }

    /// The same items in the order in which they were pushed, before those of `rest`.
    #[inline]
    pub(super) fn reversed(self, mut rest: Self) -> Self {
        for item in self {
            rest.push(item);
        }
        rest
    }
}

impl<M: HasNext> Iterator for List<M> {
    type Item = M;

    #[inline]
    fn next(&mut self) -> Option<M> {
        self.pop()
    }
}

impl<M: HasNext> Drop for List<M> {
    /// Drops the items in a loop, because a long list must not be dropped by recursion (R14).
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
