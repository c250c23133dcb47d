//! Snapshots of wide and deep trees.

use super::chain;
use crate::inspect::snapshot;
use crate::region::steps_of;
use crate::scope::{CancelScope, EnteredScope};
use crate::stack::ExitStack;
use crate::task::task;
use crate::testing::hand;
use futures::channel::oneshot::{Receiver, channel};
use futures::future::{FutureExt, Shared};
use std::future::pending;

/// As many exits as regions, of stacks in the innermost region, come out to the task around. They run until `ended`.
fn abandon_exits(chain: &[EnteredScope], ended: &Shared<Receiver<()>>) {
    let mut run = hand(chain[chain.len() - 1].run(async {
        for _ in 0..chain.len() {
            let stack = ExitStack::new();
            let mut leaving = hand(stack.run(async {
                stack.defer(ended.clone().map(drop));
                Ok::<_, ()>(())
            }));
            leaving.pending();
        }
        pending::<()>().await;
    }));
    run.pending();
}

/// Whether the searches of a snapshot take at most so many steps. Other tests have regions too, for a moment.
fn takes_at_most(most: usize) -> bool {
    (0..1_000).any(|_| {
        std::thread::yield_now();
        steps_of(|| drop(snapshot())) <= most
    })
}

#[test]
fn r14_a_look_comes_to_each_region_a_few_times_however_they_are_inside_each_other() {
    // Ten times as many regions, and no more for each.
    for n in [100, 1_000] {
        let (end, ended) = channel::<()>();
        let ended = ended.shared();
        let mut all = hand(task(async {
            let wide: Vec<_> = (0..n).map(|_| CancelScope::new().enter().unwrap()).collect();
            assert!(takes_at_most(4 * n + 100));
            wide.into_iter().rev().for_each(drop);

            let chain = chain(n);
            assert!(takes_at_most(6 * n + 100));
            abandon_exits(&chain, &ended);
            assert!(takes_at_most(12 * n + 100));
            chain.into_iter().rev().for_each(drop);
        }));
        all.pending();
        drop(end);
        all.ready();
    }
}
