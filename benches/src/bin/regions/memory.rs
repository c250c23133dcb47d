//! The memory of an idle scope, an in-task child, an executor child, and an exit.
//!
//! Memory is counted, not timed, so these benches run only in a build with the feature `count`. A figure is the bytes
//! in use per item, among `n` items that wait, minus the size of the future itself.

use benches::{
    Allocations, Bench, COUNTS, Runtimes, allocations, finish, floor, inside_a_task, poll,
    poll_with,
};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use moored::rt::tokio::Tokio;
use moored::{CancelScope, ExitStack, TaskGroup};
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const N: u64 = 1_000;

pub(crate) fn ask(bench: &mut Bench) {
    if !COUNTS {
        println!(
            "  nothing to time; cargo run --profile bench -p benches --bin regions --features count -- memory"
        );
        return;
    }
    inside_a_task(|| {
        scopes(bench);
        waits(bench);
        in_task_children(bench);
        exits(bench);
    });
    executor_children(bench);
}

/// The bytes that stay in use for each of `N` calls of `make`, without the list that keeps the values;
/// and the values.
fn kept<T>(mut make: impl FnMut() -> T) -> (f64, Vec<T>) {
    let mut all = Vec::with_capacity(N as usize);
    let before = allocations();
    for _ in 0..N {
        all.push(make());
    }
    (per_item(before), all)
}

fn per_item(before: Allocations) -> f64 {
    allocations().since(before).in_use as f64 / N as f64
}

fn scopes(bench: &mut Bench) {
    let what = "an idle scope";
    let (bytes, all) = kept(|| CancelScope::new().enter().unwrap());
    let own = size_of_val(&all[0]) as f64;
    bench.figure(what, N, "moored: EnteredScope", "B", bytes + own);
    drop(all);
    let (bytes, all) = kept(|| {
        let scope = Box::new(CancelScope::new());
        let mut run = Box::pin(async move { scope.run(pending::<()>()).await });
        assert!(poll(run.as_mut()).is_pending());
        run
    });
    let own = size_of_val(&all[0]) as f64;
    bench.figure(what, N, "moored: CancelScope that runs, its future in a box", "B", bytes + own);
    drop(all);
    let (bytes, all) = kept(CancellationToken::new);
    let own = size_of_val(&all[0]) as f64;
    bench.figure(what, N, "tokio-util: CancellationToken", "B", bytes + own);
    drop(all);
    let parent = CancellationToken::new();
    let (bytes, all) = kept(|| parent.child_token());
    let own = size_of_val(&all[0]) as f64;
    bench.figure(what, N, "tokio-util: child of a token", "B", bytes + own);
}

fn waits(bench: &mut Bench) {
    let what = "a wait for a cancellation, in a box";
    let (_wakes, waker) = benches::Wakes::new();
    let scope = CancelScope::new().enter().unwrap();
    let handle = scope.handle();
    let (bytes, all) = kept(|| {
        let mut wait = Box::pin(handle.cancelled());
        assert!(poll_with(wait.as_mut(), &waker).is_pending());
        wait
    });
    bench.figure(what, N, "moored: CancelHandle::cancelled", "B", bytes);
    drop(all);
    let token = CancellationToken::new();
    let (bytes, _all) = kept(|| {
        let mut wait = Box::pin(token.cancelled());
        assert!(poll_with(wait.as_mut(), &waker).is_pending());
        wait
    });
    bench.figure(what, N, "tokio-util: CancellationToken::cancelled", "B", bytes);
}

/// A future of 64 bytes that waits.
async fn child() -> u64 {
    let held = std::hint::black_box([0_u64; 7]);
    pending::<()>().await;
    held[0]
}

fn in_task_children(bench: &mut Bench) {
    let what = "an in-task child that waits, beyond its future";
    let future = size_of_val(&child()) as f64;
    let mut handles = Vec::with_capacity(N as usize);
    let kept = in_a_group(|group| handles.push(group.spawn(async { Ok(child().await) })));
    bench.figure(what, N, "moored: TaskGroup, its handle kept", "B", kept);
    let dropped = in_a_group(|group| drop(group.spawn(async { Ok(child().await) })));
    bench.figure(what, N, "moored: TaskGroup, its handle dropped", "B", dropped);
    let without = in_a_group(|group| group.spawn_detached(async { Ok(child().await) }));
    bench.figure(what, N, "moored: without a handle", "B", without);
    let before = allocations();
    let mut all: FuturesUnordered<BoxFuture<'static, u64>> = FuturesUnordered::new();
    for _ in 0..N {
        all.push(Box::pin(child()));
    }
    assert!(poll(pin!(all.next())).is_pending());
    bench.figure(what, N, "futures: FuturesUnordered<BoxFuture>", "B", per_item(before) - future);
    drop(all);
    let mut handles = Vec::with_capacity(N as usize);
    let kept = in_a_floor(|group| handles.push(group.spawn(async { Ok(child().await) })));
    bench.figure(what, N, "floor: its handle kept", "B", kept);
    let without = in_a_floor(|group| group.spawn_detached(async { Ok(child().await) }));
    bench.figure(what, N, "floor: without a handle", "B", without);
}

/// The block around a child holds it, and a word of its own.
fn around() -> f64 {
    size_of_val(&async { Ok::<_, Infallible>(child().await) }) as f64
}

/// The bytes of each child in a group.
fn in_a_group(mut spawn: impl FnMut(&TaskGroup<'static, Infallible>)) -> f64 {
    let group = TaskGroup::new();
    let mut run = pin!(group.run(pending::<Result<(), Infallible>>()));
    assert!(poll(run.as_mut()).is_pending());
    let before = allocations();
    (0..N).for_each(|_| spawn(&group));
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(group.len() as u64, N);
    per_item(before) - around()
}

fn in_a_floor(mut spawn: impl FnMut(&floor::Group<'static, Infallible>)) -> f64 {
    let group = floor::Group::default();
    let mut run = pin!(group.run(pending::<()>()));
    assert!(poll(run.as_mut()).is_pending());
    let before = allocations();
    (0..N).for_each(|_| spawn(&group));
    assert!(poll(run.as_mut()).is_pending());
    per_item(before) - around()
}

fn executor_children(bench: &mut Bench) {
    let what = "an executor child that waits, beyond a tokio task of its future";
    let runtimes = Runtimes::new().unwrap();
    runtimes.current.block_on(moored::task(async {
        // A first round, so that the memory that the runtime keeps for this many tasks is
        // allocated before the count begins.
        drop(bare().await);
        let (task, handles) = bare().await;
        stop(handles).await;
        let spawner = Tokio::current();
        let group = TaskGroup::<Infallible>::new();
        let body = async {
            let before = allocations();
            for _ in 0..N {
                drop(group.spawn_on(&spawner, async { Ok(child().await) }));
            }
            turn().await;
            let bytes = per_item(before) - task;
            group.cancel();
            Ok(bytes)
        };
        let mut seen = f64::NAN;
        drop(group.run(async { body.await.map(|bytes: f64| seen = bytes) }).await);
        bench.figure(what, N, "moored: TaskGroup::spawn_on, its handle dropped", "B", seen);
        let group = TaskGroup::<Infallible>::new();
        let body = async {
            let before = allocations();
            (0..N).for_each(|_| group.spawn_detached_on(&spawner, async { Ok(child().await) }));
            turn().await;
            seen = per_item(before) - task;
            group.cancel();
            Ok(())
        };
        drop(group.run(body).await);
        bench.figure(what, N, "moored: without a handle", "B", seen);
        let crew = floor::Crew::default();
        let before = allocations();
        (0..N).for_each(|_| drop(crew.spawn(child())));
        turn().await;
        bench.figure(what, N, "floor: its handle dropped", "B", per_item(before) - task);
        crew.cancel();
        crew.empty().await;
        let before = allocations();
        let mut set = JoinSet::new();
        for _ in 0..N {
            set.spawn(child());
        }
        turn().await;
        bench.figure(what, N, "tokio: JoinSet", "B", per_item(before) - task);
        set.shutdown().await;
        let tracker = TaskTracker::new();
        let before = allocations();
        let handles: Vec<_> = (0..N).map(|_| tracker.spawn(child())).collect();
        turn().await;
        let list = size_of::<tokio::task::JoinHandle<u64>>() as f64;
        let bytes = per_item(before) - list - task;
        bench.figure(what, N, "tokio-util: TaskTracker", "B", bytes);
        stop(handles).await;
    }));
}

type Handles = Vec<tokio::task::JoinHandle<u64>>;

async fn bare() -> (f64, Handles) {
    let mut handles = Vec::with_capacity(N as usize);
    let before = allocations();
    for _ in 0..N {
        handles.push(tokio::spawn(child()));
    }
    turn().await;
    (per_item(before), handles)
}

async fn stop(handles: Handles) {
    for handle in handles {
        handle.abort();
        assert!(handle.await.unwrap_err().is_cancelled());
    }
}

/// Lets everything that was spawned run to its await.
async fn turn() {
    for _ in 0..N {
        tokio::task::yield_now().await;
    }
}

fn exits(bench: &mut Bench) {
    let what = "an exit that was registered, of a future of 8 B";
    let stack = ExitStack::new();
    let exit = |n: u64| async move {
        std::hint::black_box(n);
    };
    let before = allocations();
    for n in 0..N {
        stack.defer(exit(n));
    }
    bench.figure(what, N, "moored: ExitStack", "B", per_item(before));
    finish(stack.close()).unwrap();
    let before = allocations();
    let mut all: Vec<BoxFuture<'static, ()>> = Vec::new();
    for n in 0..N {
        all.push(Box::pin(exit(n)));
    }
    bench.figure(what, N, "by hand: a list of boxed futures", "B", per_item(before));
}
