//! The cost of a cancellation for each waiter or region that it reaches: many waiters of one handle, children with and
//! without a waiter, a chain of regions.
//!
//! The waiters are registered outside the measured part. That the cancellation reached all of them is checked
//! afterwards.

use benches::floor::Waiters;
use benches::{Bench, Wakes, finish, inside_a_task, poll_with};
use event_listener::Event;
use moored::{CancelHandle, CancelScope, Cancellation, EnteredScope};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use stop_token::StopSource;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

const SIZES: &[u64] = &[1, 100, 1_000, 10_000, 100_000];

fn main() {
    let mut bench = Bench::new("cancel");
    inside_a_task(|| {
        for n in bench.sizes(SIZES) {
            flat(&mut bench, *n);
            let star = |all: &[EnteredScope]| entered_in(&all[0]);
            let tokens = |all: &[CancellationToken]| all[0].child_token();
            regions(&mut bench, "cancel of children", *n, false, star, tokens);
            regions(&mut bench, "cancel of children with a waiter each", *n, true, star, tokens);
            let chain = |all: &[EnteredScope]| entered_in(&all[all.len() - 1]);
            let tokens = |all: &[CancellationToken]| all[all.len() - 1].child_token();
            regions(&mut bench, "cancel of a chain", *n, false, chain, tokens);
            regions(&mut bench, "cancel of a chain with a waiter each", *n, true, chain, tokens);
        }
    });
    bench.end();
}

/// Futures that were polled once, and the counter of their wakes.
struct Waits<F> {
    wakes: Arc<Wakes>,
    all: Vec<Pin<Box<F>>>,
}

impl<F: Future> Waits<F> {
    fn new(all: impl Iterator<Item = F>) -> Self {
        let (wakes, waker) = Wakes::new();
        let mut all: Vec<_> = all.map(Box::pin).collect();
        for one in &mut all {
            assert!(poll_with(one.as_mut(), &waker).is_pending());
        }
        Waits { wakes, all }
    }
}

/// Looks, when it is dropped outside of the measurement, whether everybody was woken.
struct Reached<F, K>(Waits<F>, K);

impl<F, K> Drop for Reached<F, K> {
    fn drop(&mut self) {
        assert_eq!(self.0.wakes.count(), self.0.all.len() as u64);
    }
}

fn flat(bench: &mut Bench, n: u64) {
    bench
        .question("cancel of waiters", n)
        .items(n)
        .batched(
            "moored: CancelHandle",
            || {
                let scope = CancelScope::new().enter().unwrap();
                let handle = scope.handle();
                (Waits::new((0..n).map(|_| handle.cancelled())), handle, scope)
            },
            |(waits, handle, scope)| {
                handle.cancel();
                Reached(waits, (handle, scope))
            },
        )
        .batched(
            "tokio-util: CancellationToken",
            || {
                let token = CancellationToken::new();
                (Waits::new((0..n).map(|_| token.clone().cancelled_owned())), token)
            },
            |(waits, token)| {
                token.cancel();
                Reached(waits, token)
            },
        )
        .batched(
            "event-listener: notify all (no flag)",
            || {
                let event = Event::new();
                (Waits::new((0..n).map(|_| event.listen())), event)
            },
            |(waits, event)| {
                event.notify(usize::MAX);
                Reached(waits, event)
            },
        )
        .batched(
            "stop-token: drop of the StopSource",
            || {
                let source = StopSource::new();
                (Waits::new((0..n).map(|_| source.token())), source)
            },
            |(waits, source)| {
                drop(source);
                Reached(waits, ())
            },
        )
        .ask();
}

fn entered_in(scope: &EnteredScope) -> EnteredScope {
    finish(scope.run(async { CancelScope::new().enter().unwrap() })).unwrap()
}

/// A root and `n` regions, each entered inside the region before it; the newest first, as a program
/// leaves them.
struct Regions {
    waits: Waits<Cancellation>,
    root: CancelHandle,
    all: Vec<EnteredScope>,
}

impl Regions {
    fn new(n: u64, waiters: bool, next: impl Fn(&[EnteredScope]) -> EnteredScope) -> Self {
        let mut all = vec![CancelScope::new().enter().unwrap()];
        for _ in 0..n {
            all.push(next(&all));
        }
        let waiting = if waiters { &all[1..] } else { &[] };
        let waits = Waits::new(waiting.iter().map(|scope| scope.handle().cancelled()));
        let root = all[0].handle();
        all.reverse();
        Regions { waits, root, all }
    }
}

struct Tokens {
    waits: Waits<WaitForCancellationFutureOwned>,
    root: CancellationToken,
    all: Vec<CancellationToken>,
}

impl Tokens {
    fn new(
        n: u64,
        waiters: bool,
        next: impl Fn(&[CancellationToken]) -> CancellationToken,
    ) -> Self {
        let mut all = vec![CancellationToken::new()];
        for _ in 0..n {
            all.push(next(&all));
        }
        let waiting = if waiters { &all[1..] } else { &[] };
        let waits = Waits::new(waiting.iter().map(|token| token.clone().cancelled_owned()));
        let root = all[0].clone();
        all.reverse();
        Tokens { waits, root, all }
    }
}

fn regions(
    bench: &mut Bench,
    name: &str,
    n: u64,
    waiters: bool,
    scope: impl Fn(&[EnteredScope]) -> EnteredScope + Copy,
    token: impl Fn(&[CancellationToken]) -> CancellationToken + Copy,
) {
    bench
        .question(name, n)
        .items(n)
        .batched(
            "moored: CancelHandle",
            || Regions::new(n, waiters, scope),
            |regions| {
                regions.root.cancel();
                assert!(regions.all[0].handle().is_cancelled());
                Reached(regions.waits, (regions.root, regions.all))
            },
        )
        .batched(
            "tokio-util: CancellationToken",
            || Tokens::new(n, waiters, token),
            |tokens| {
                tokens.root.cancel();
                assert!(tokens.all[0].is_cancelled());
                Reached(tokens.waits, (tokens.root, tokens.all))
            },
        )
        .batched(
            "floor: a lock each, and its waker taken and woken",
            || Floors::new(n, waiters),
            |floors| {
                Waiters::set_all(&floors.links);
                assert!(floors.all[0].is_set());
                floors
            },
        )
        .ask();
}

/// `n` that can be cancelled, found through one list, with a waker each or without.
struct Floors {
    all: Vec<Arc<Waiters>>,
    links: Vec<Weak<Waiters>>,
    wakes: Arc<Wakes>,
    waits: u64,
}

impl Floors {
    fn new(n: u64, waiters: bool) -> Self {
        let (wakes, waker) = Wakes::new();
        let all: Vec<_> = (0..n).map(|_| Arc::new(Waiters::default())).collect();
        let waiting = if waiters { &all[..] } else { &[] };
        for one in waiting {
            one.register(&waker);
        }
        let links = all.iter().map(Arc::downgrade).collect();
        Floors { links, wakes, waits: waiting.len() as u64, all }
    }
}

impl Drop for Floors {
    fn drop(&mut self) {
        let told = self.all.iter().all(|one| one.is_set());
        assert!(!told || self.wakes.count() == self.waits);
    }
}
