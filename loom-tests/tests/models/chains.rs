//! Chains of regions that are looked through, left and dropped while they are cancelled: the ends that walks leave behind, and
//! the reason that a dropped region keeps.

use crate::support::{Count, model, poll_once, yield_now};
use loom::future::block_on;
use loom::thread;
use moored::{CancelScope, EnteredScope, ExitStack, Leaving};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

/// A task that moves between threads.
type Away<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Scopes, each entered inside the one before, without a task around them.
fn chain<const N: usize>() -> [EnteredScope; N] {
    let mut all = vec![CancelScope::new().enter().unwrap()];
    while all.len() < N {
        let enters = all[all.len() - 1].run(async { CancelScope::new().enter().unwrap() });
        let inner = block_on(enters).unwrap();
        all.push(inner);
    }
    all.try_into().unwrap()
}

/// The regions between a wait and the outermost region are left on one thread while another one cancels the outermost: the
/// wait ends, although its region was told to look before and is linked anew.
#[test]
fn r07_a_cancellation_against_the_leaving_of_the_regions_between() {
    model(|| {
        let [outer, first, second, inner] = chain();
        let (handle, inner_handle) = (outer.handle(), inner.handle());
        let mut wait = Box::pin(inner_handle.cancelled());
        let wakes = Arc::new(Count::new());
        let waker = Waker::from(Arc::clone(&wakes));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        // From here on no look ends early, and a region that is linked anew is told to look.
        handle.stop();
        drop(first);
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let before = wakes.get();
        let leaves = thread::spawn(move || drop(second));
        handle.cancel();
        leaves.join().unwrap();
        // Not a wait that looks by itself: it has to be woken.
        assert!(wakes.get() > before);
        block_on(wait);
        drop((outer, inner));
    });
}

/// The same with a wait that begins meanwhile.
#[test]
fn r01_a_wait_that_begins_against_the_leaving_of_the_regions_between() {
    model(|| {
        let [outer, first, second, inner] = chain();
        let (handle, inner_handle) = (outer.handle(), inner.handle());
        let waits = thread::spawn(move || block_on(inner_handle.cancelled()));
        let leaves = thread::spawn(move || drop((first, second)));
        handle.cancel();
        leaves.join().unwrap();
        waits.join().unwrap();
        drop((outer, inner));
    });
}

/// A shield is left while a region around it is cancelled, and another thread looks from inside. If the look found nothing, because
/// it saw the shield, a later one finds the cancellation.
#[test]
fn r12_the_end_of_a_shield_against_a_cancellation_around_it_and_a_look_inside() {
    model(|| {
        let [outer] = chain();
        let enters = outer.run(async { CancelScope::new().shielded().enter().unwrap() });
        let shield = block_on(enters).unwrap();
        let inner = block_on(shield.run(async { CancelScope::new().enter().unwrap() })).unwrap();
        let (handle, looking) = (outer.handle(), inner.handle());
        let cancels = thread::spawn(move || handle.cancel());
        let looks = thread::spawn(move || looking.is_cancelled());
        drop(shield);
        cancels.join().unwrap();
        looks.join().unwrap();
        assert!(inner.handle().is_cancelled());
        drop((inner, outer));
    });
}

/// A look that leaves its end behind while that region is left finds the cancellation or not; a later look does not.
#[test]
fn r07_a_look_against_the_leaving_of_the_cancelled_region() {
    model(|| {
        let [outer, between, inner] = chain();
        outer.handle().cancel();
        outer.handle().stop();
        let handle = inner.handle();
        let looks = thread::spawn(move || (handle.is_cancelled(), handle.is_stop_requested()));
        drop(outer);
        looks.join().unwrap();
        let handle = inner.handle();
        assert!(!handle.is_cancelled() && handle.reason().is_none());
        assert!(!handle.is_stop_requested());
        drop((between, inner));
    });
}

/// A region between is cancelled while a look finds the outer one: a later look finds the nearer one.
#[test]
fn r10_a_look_against_the_cancellation_of_a_nearer_region() {
    model(|| {
        let [outer, between, further_in, inner] = chain();
        outer.handle().cancel_because("the outer one");
        let handle = inner.handle();
        let looks = thread::spawn(move || handle.reason().unwrap());
        between.handle().cancel_because("the nearer one");
        looks.join().unwrap();
        let reason = inner.handle().reason().unwrap();
        assert_eq!(reason.message(), Some("the nearer one"));
        drop((outer, between, further_in, inner));
    });
}

/// A region inside is cancelled while the request to the outermost one is on its way: it leaves the regions inside to that
/// request, and tells no other request to end here.
#[test]
fn r07_a_cancellation_that_meets_one_from_farther_out() {
    model(|| {
        let [outer, middle, first, inner] = chain();
        let (handle, middle_handle, inner_handle) =
            (outer.handle(), middle.handle(), inner.handle());
        let mut wait = Box::pin(inner_handle.cancelled());
        let wakes = Arc::new(Count::new());
        let waker = Waker::from(Arc::clone(&wakes));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let cancels = thread::spawn(move || middle_handle.cancel());
        handle.cancel();
        cancels.join().unwrap();
        assert!(wakes.get() > 0, "each request has left the wait to the other");
        block_on(wait);
        drop((outer, middle, first, inner));
    });
}

/// A region is dropped inside one that is being cancelled: if its exits are told of the cancellation, so is every later
/// question to it and to the region around it.
#[test]
fn r10_a_drop_against_a_cancellation_around() {
    model(|| {
        let [outer, middle, inner] = [(); 3].map(|()| CancelScope::new());
        let (handle, handles) = (outer.handle(), [middle.handle(), inner.handle()]);
        let why: Arc<OnceLock<bool>> = Arc::default();
        let told = Arc::clone(&why);
        let mut run: Away<bool> = Box::pin(async move {
            let body = async {
                let stack = ExitStack::new();
                let parked = async {
                    stack.defer_with(move |why| async move {
                        told.set(matches!(why, Leaving::Cancelled(_))).unwrap();
                    });
                    pending::<Result<(), ()>>().await
                };
                let mut lent = Box::pin(middle.run(inner.run(stack.run(parked))));
                assert!(poll_once(lent.as_mut()).is_pending());
                yield_now().await;
                drop(lent);
                pending::<()>().await;
            };
            outer.run(body).await.is_err()
        });
        assert!(poll_once(run.as_mut()).is_pending());
        let cancels = thread::spawn(move || handle.cancel());
        assert!(block_on(run));
        cancels.join().unwrap();
        let [middle, inner] = handles.map(|handle| handle.reason().is_some());
        let exits = *why.get().unwrap();
        assert!(exits <= inner && inner <= middle, "{exits} {inner} {middle}");
    });
}
