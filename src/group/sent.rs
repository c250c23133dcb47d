//! An executor child: it holds the ledger of its group, and signs out when it ends or is dropped.

use super::child::{Child, Executor};
use super::ledger::Ledger;
use super::side::{HandleSide, Posted};
use crate::region::inbox;
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
            let mut this = this.project();
            let Some(ledger) = this.ledger.take() else { return };
            if let Some(executor) = this.executor.take() {
                if let Some(node) = this.child.as_mut().give_node(&ledger) {
                    inbox::set_spawner(&node, executor);
                }
            }
            this.child.drop_in(&ledger, true);
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
            ready!(this.child.poll_by(&Executor, ledger, cx));
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
    name: Option<Arc<str>>,
) where
    F: Future<Output = Result<T, E>> + Send + 'static,
    P: HandleSide<T> + Posted + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let child = Child::new(ledger, future, side, Location::caller(), name.as_ref(), true);
    let task = ExecutorChild { child, ledger: Some(Arc::clone(ledger)), executor: spawner.keep() };
    if let Err(Refused(task)) = spawner.spawn_named(name.as_deref(), task) {
        // The drop of the child signs it out.
        drop(task);
    }
}
