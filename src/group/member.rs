//! The in-task children of a group, as it keeps them: with `Send` or without.

use super::child::Child;
use super::gate::Gate;
use super::ledger::Ledger;
use super::list::{HasNext, PinWithNext, WithNext};
use super::side::HandleSide;
use crate::opaque::opaque;
use crate::region::ambient::Reach;
use crate::wakers::Seat;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A child in the task of its group. A child that is not pending any more is dropped without further ado; a pending one is
/// [abandoned](Member::abandon) first.
pub(crate) trait Member<E> {
    /// To be called with the group current.
    fn poll(self: Pin<&mut Self>, ledger: &Ledger<E>, seat: Seat<'_, Gate>) -> Poll<()>;

    fn abandon(self: Pin<&mut Self>, ledger: &Ledger<E>);
}

impl<F, P, T, E> Member<E> for Child<F, P>
where
    F: Future<Output = Result<T, E>>,
    P: HandleSide<T>,
{
    fn poll(self: Pin<&mut Self>, ledger: &Ledger<E>, seat: Seat<'_, Gate>) -> Poll<()> {
        let mut cx = Context::from_waker(seat.waker);
        let asked = |side: &P| side.has_parked().then(|| seat.asked());
        let stays = |side: &P| side.park(&seat);
        self.poll_by(false, |side| Reach::Asked(asked(side)), stays, ledger, &mut cx)
    }

    fn abandon(self: Pin<&mut Self>, ledger: &Ledger<E>) {
        self.drop_in(ledger, false, None);
    }
}

/// An in-task child, as a group keeps it; without `E`, all such children.
pub struct BoxChild<'env, E = ()>(PinWithNext<dyn Member<E> + Send + 'env, BoxChild<'env, E>>);

/// An in-task child that stays on its thread, as a [`local`](crate::local) group keeps it; without `E`, all such children.
pub struct LocalBoxChild<'env, E = ()>(PinWithNext<dyn Member<E> + 'env, LocalBoxChild<'env, E>>);

impl<'env, E> BoxChild<'env, E> {
    pub(crate) fn new(child: impl Member<E> + Send + 'env) -> Self {
        BoxChild(WithNext::pin(child))
    }
}

impl<'env, E> LocalBoxChild<'env, E> {
    pub(crate) fn new(child: impl Member<E> + 'env) -> Self {
        LocalBoxChild(WithNext::pin(child))
    }
}

opaque!({E} BoxChild<'_, E>);

opaque!({E} LocalBoxChild<'_, E>);

/// The type in which a group keeps in-task children, with `Send` or without.
pub(crate) trait Kept<E>: HasNext {
    fn member(&mut self) -> Pin<&mut dyn Member<E>>;
}

/// The types in which a group keeps in-task children, for every error. A `run` has a parameter with this trait, and not the type
/// of the children, so that its error comes from its body alone. Otherwise its type would contain the error twice, and a `Send`
/// check inside an `async` block takes two equal lifetimes in the errors for different ones.
pub(crate) trait Keeps {
    type Child<E>: Kept<E>;
}

impl<'env> Keeps for BoxChild<'env> {
    type Child<E> = BoxChild<'env, E>;
}

impl<'env> Keeps for LocalBoxChild<'env> {
    type Child<E> = LocalBoxChild<'env, E>;
}

impl<E> HasNext for BoxChild<'_, E> {
    #[inline]
    fn next(&mut self) -> &mut Option<Self> {
        self.0.as_mut().next()
    }
}

impl<E> HasNext for LocalBoxChild<'_, E> {
    #[inline]
    fn next(&mut self) -> &mut Option<Self> {
        self.0.as_mut().next()
    }
}

impl<E> Kept<E> for BoxChild<'_, E> {
    #[inline]
    fn member(&mut self) -> Pin<&mut dyn Member<E>> {
        self.0.as_mut().child()
    }
}

impl<E> Kept<E> for LocalBoxChild<'_, E> {
    #[inline]
    fn member(&mut self) -> Pin<&mut dyn Member<E>> {
        self.0.as_mut().child()
    }
}
