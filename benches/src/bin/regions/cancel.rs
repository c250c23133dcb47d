//! The cost of a cancellation for each waiter or region that it reaches: many waiters of one handle, children with and
//! without a waiter, a chain of regions.
//!
//! The waiters are registered outside the measured part. That the cancellation reached all of them is checked
//! afterwards.

use benches::floor::Node;
use benches::{Bench, Wakes, finish, inside_a_task, poll_with};
use event_listener::Event;
use moored::{CancelHandle, CancelScope, Cancellation, EnteredScope};
use std::pin::Pin;
use std::sync::Arc;
use stop_token::StopSource;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

const SIZES: &[u64] = &[1, 100, 1_000, 10_000, 100_000];

pub(crate) fn ask(bench: &mut Bench) {
    inside_a_task(|| {
        for n in bench.sizes(SIZES) {
            flat(bench, *n);
            let star = |all: &[EnteredScope]| entered_in(&all[0]);
            let tokens = |all: &[CancellationToken]| all[0].child_token();
            let nodes = |all: &[Arc<Node>]| Node::child(&all[0]);
            regions(bench, "cancel of children", *n, false, star, tokens, nodes);
            regions(bench, "cancel of children with a waiter each", *n, true, star, tokens, nodes);
            let chain = |all: &[EnteredScope]| entered_in(&all[all.len() - 1]);
            let tokens = |all: &[CancellationToken]| all[all.len() - 1].child_token();
            let nodes = |all: &[Arc<Node>]| Node::child(&all[all.len() - 1]);
            regions(bench, "cancel of a chain", *n, false, chain, tokens, nodes);
            regions(bench, "cancel of a chain with a waiter each", *n, true, chain, tokens, nodes);
        }
    });
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
            "floor: one walk, the first waiter in the region",
            || {
                let (_wakes, waker) = Wakes::new();
                let node = Arc::new(Node::default());
                (0..n).for_each(|_| _ = node.register(&waker));
                node
            },
            |node| {
                node.cancel();
                node
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
    node: impl Fn(&[Arc<Node>]) -> Arc<Node> + Copy,
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
            "floor: one walk, the first waiter in the region",
            || Floors::new(n, waiters, node),
            |floors| {
                floors.root.cancel();
                assert!(floors.all[0].is_set());
                floors
            },
        )
        .ask();
}

/// Nodes, found through the list of the node around them.
struct Floors {
    all: Vec<Arc<Node>>,
    root: Arc<Node>,
    wakes: Arc<Wakes>,
    waits: u64,
}

impl Floors {
    fn new(n: u64, waiters: bool, next: impl Fn(&[Arc<Node>]) -> Arc<Node>) -> Self {
        let (wakes, waker) = Wakes::new();
        let mut all = vec![Arc::<Node>::default()];
        for _ in 0..n {
            all.push(next(&all));
        }
        let waiting = if waiters { &all[1..] } else { &[] };
        waiting.iter().for_each(|node| _ = node.register(&waker));
        let (root, waits) = (Arc::clone(&all[0]), waiting.len() as u64);
        all.reverse();
        Floors { all, root, wakes, waits }
    }
}

impl Drop for Floors {
    fn drop(&mut self) {
        let told = self.all.iter().all(|node| node.is_set());
        assert!(!told || self.wakes.count() == self.waits);
    }
}
