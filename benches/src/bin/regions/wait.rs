//! The cost of waiting for a cancellation: polled once and dropped, and polled again.
//!
//! `n` is the number of other waiters meanwhile.

use benches::floor::Node;
use benches::{Bench, Wakes, inside_a_task, poll_with};
use event_listener::Event;
use moored::CancelScope;
use std::pin::{Pin, pin};
use std::task::Waker;
use stop_token::StopSource;
use tokio_util::sync::CancellationToken;

const OTHERS: &[u64] = &[1, 100, 1_000, 10_000];

pub(crate) fn ask(bench: &mut Bench) {
    inside_a_task(|| {
        for n in bench.sizes(OTHERS) {
            waits(bench, *n);
        }
    });
}

fn waits(bench: &mut Bench, n: u64) {
    let (wakes, waker) = Wakes::new();
    let scope = CancelScope::new().enter().unwrap();
    let handle = scope.handle();
    let token = CancellationToken::new();
    let event = Event::new();
    let source = StopSource::new();
    let stop = source.token();
    let ours = waiting(n, &waker, || handle.cancelled());
    let theirs = waiting(n, &waker, || token.clone().cancelled_owned());
    let listeners = waiting(n, &waker, || event.listen());
    let floor = Node::default();
    let least: Vec<_> = (0..n).map(|_| floor.register(&waker)).collect();
    let stops = waiting(n, &waker, || stop.clone());
    bench
        .question("a wait, polled once and dropped", n)
        .each("moored: CancelHandle::cancelled", || once(handle.cancelled(), &waker))
        .each("tokio-util: CancellationToken::cancelled", || once(token.cancelled(), &waker))
        .each("event-listener: listen (no flag)", || once(event.listen(), &waker))
        .each("stop-token: StopToken", || once(stop.clone(), &waker))
        .each("floor: a waker cloned, a lock to register it and one to give the place back", || {
            let place = floor.register(&waker);
            assert!(!floor.is_set());
            floor.forget(place);
        })
        .ask();
    let mut ours_again = pin!(handle.cancelled());
    let mut theirs_again = pin!(token.cancelled());
    let mut listener_again = pin!(event.listen());
    let mut stop_again = pin!(stop.clone());
    bench
        .question("a wait, polled again", n)
        .each("moored: CancelHandle::cancelled", || again(ours_again.as_mut(), &waker))
        .each("tokio-util: CancellationToken::cancelled", || again(theirs_again.as_mut(), &waker))
        .each("event-listener: listen (no flag)", || again(listener_again.as_mut(), &waker))
        .each("stop-token: StopToken", || again(stop_again.as_mut(), &waker))
        .ask();
    // No waiter was woken, so all of them are still registered.
    assert_eq!(wakes.count(), 0);
    handle.cancel();
    assert!(wakes.count() >= n);
    drop((ours, theirs, listeners, stops, least));
}

fn once<F: Future>(future: F, waker: &Waker) {
    assert!(poll_with(pin!(future), waker).is_pending());
}

fn again<F: Future>(future: Pin<&mut F>, waker: &Waker) {
    assert!(poll_with(future, waker).is_pending());
}

fn waiting<F: Future>(n: u64, waker: &Waker, wait: impl Fn() -> F) -> Vec<Pin<Box<F>>> {
    let mut all: Vec<_> = (0..n).map(|_| Box::pin(wait())).collect();
    for one in &mut all {
        again(one.as_mut(), waker);
    }
    all
}
