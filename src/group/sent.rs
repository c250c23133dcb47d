//! An executor child: it holds the ledger of its group, and signs out when it ends or is dropped.

use super::child::Child;
use super::ledger::Ledger;
use super::side::{HandleSide, Posted};
use crate::region::ambient::Reach;
use crate::spawn::{Refused, Spawn};
use crate::sync::Arc;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// An executor child, with its group's ledger, and the executor that runs the exits it abandons.
    struct ExecutorChild<F: Future<Output = Result<T, E>>, P: HandleSide<T>, T, E> {
        #[pin]
        child: Child<F, P>,
        // `None` once it has signed out.
        ledger: Option<Arc<Ledger<E>>>,
        executor: Option<Arc<dyn Spawn + Send + Sync>>,
    }

    impl<F: Future<Output = Result<T, E>>, P: HandleSide<T>, T, E> PinnedDrop for ExecutorChild<F, P, T, E> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(ledger) = this.ledger.take() {
                this.child.drop_in(&ledger, true, this.executor.take());
            }
        }
    }
}

impl<F, P, T, E> Future for ExecutorChild<F, P, T, E>
where
    F: Future<Output = Result<T, E>>,
    P: HandleSide<T> + Posted,
{
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Some(ledger) = this.ledger {
            let reach = |side: &P| Reach::Posted((Arc::clone(&ledger.node), side.node_store()));
            // No poll of the group's `run` reaches the child, so it may not be pending without a node.
            ready!(this.child.poll_by(true, reach, |_| false, ledger, cx));
            *this.ledger = None;
        }
        Poll::Ready(())
    }
}

/// Spawns an executor child that the group's gate has counted in.
#[track_caller]
pub(super) fn send<F, P, T, E>(
    ledger: &Arc<Ledger<E>>,
    spawner: &impl Spawn,
    future: F,
    side: P,
    name: Option<&Arc<str>>,
) where
    F: Future<Output = Result<T, E>> + Send + 'static,
    P: HandleSide<T> + Posted + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let child = Child::new(ledger, future, side, Location::caller(), name, true);
    let task = ExecutorChild { child, ledger: Some(Arc::clone(ledger)), executor: spawner.keep() };
    if let Err(Refused(task)) = spawner.spawn_named(name.map(|name| &**name), task) {
        // The drop of the child signs it out.
        drop(task);
    }
}
