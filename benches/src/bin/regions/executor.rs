//! The cost of an executor child: spawned, run on tokio, and waited for.
//!
//! `n` children, ready at once or with one yield, on the current thread and on two workers. The figure is that of one
//! child. On workers the code that spawns is a task of the runtime too, as it is in a server.

use benches::floor::{Crew, task};
use benches::{Bench, Runtimes, yield_once};
use moored::TaskGroup;
use moored::rt::tokio::Tokio;
use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SIZES: &[u64] = &[1, 100, 1_000, 10_000];

pub(crate) fn ask(bench: &mut Bench) {
    let runtimes = Runtimes::new().unwrap();
    for n in bench.sizes(SIZES) {
        let current = |work: Work| runtimes.current.block_on(work);
        let two = |work: Work| on_a_worker(&runtimes.two, work);
        children(bench, "executor child, current thread, ready", *n, false, &current);
        children(bench, "executor child, current thread, one yield", *n, true, &current);
        children(bench, "executor child, two workers, ready", *n, false, &two);
        children(bench, "executor child, two workers, one yield", *n, true, &two);
    }
}

/// Spawns the children, and ends when all have.
type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn on_a_worker(runtime: &Runtime, work: Work) {
    runtime.block_on(async { tokio::spawn(work).await.unwrap() });
}

async fn child(ran: Arc<AtomicU64>, yields: bool) {
    if yields {
        yield_once().await;
    }
    black_box(ran.fetch_add(1, Ordering::Relaxed));
}

fn children(bench: &mut Bench, name: &str, n: u64, yields: bool, run: &dyn Fn(Work)) {
    let ran = Arc::new(AtomicU64::new(0));
    let all_ran = |work: Work| {
        ran.store(0, Ordering::Relaxed);
        run(work);
        assert_eq!(ran.load(Ordering::Relaxed), n);
    };
    bench
        .question(name, n)
        .items(n)
        .each("moored: TaskGroup::spawn_on", || {
            all_ran(Box::pin(moored::task(group(n, yields, true, Arc::clone(&ran)))));
        })
        .each("moored: without a handle", || {
            all_ran(Box::pin(moored::task(group(n, yields, false, Arc::clone(&ran)))));
        })
        .each("tokio: JoinSet", || all_ran(Box::pin(join_set(n, yields, Arc::clone(&ran)))))
        .each("floor: value and region of a child in one", || {
            all_ran(Box::pin(task(floor(n, yields, true, Arc::clone(&ran)))));
        })
        .each("floor: the same without a handle", || {
            all_ran(Box::pin(task(floor(n, yields, false, Arc::clone(&ran)))));
        })
        .each("tokio-util: TaskTracker", || {
            all_ran(Box::pin(tracker(n, yields, Arc::clone(&ran))));
        })
        .each("tokio-util: TaskTracker, child token, run_until_cancelled", || {
            all_ran(Box::pin(recipe(n, yields, Arc::clone(&ran))));
        })
        .each("tokio: spawn, JoinHandle (nothing cancels)", || {
            all_ran(Box::pin(handles(n, yields, Arc::clone(&ran))));
        })
        .ask();
}

async fn group(n: u64, yields: bool, with_handle: bool, ran: Arc<AtomicU64>) {
    let spawner = Tokio::current();
    let group = TaskGroup::<Infallible>::new();
    let body = async {
        for _ in 0..n {
            let child = child(Arc::clone(&ran), yields);
            let child = async move {
                child.await;
                Ok(())
            };
            if with_handle {
                drop(group.spawn_on(&spawner, child));
            } else {
                group.spawn_detached_on(&spawner, child);
            }
        }
        Ok(())
    };
    group.run(body).await.unwrap();
}

async fn join_set(n: u64, yields: bool, ran: Arc<AtomicU64>) {
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(child(Arc::clone(&ran), yields));
    }
    while let Some(joined) = set.join_next().await {
        joined.unwrap();
    }
}

async fn tracker(n: u64, yields: bool, ran: Arc<AtomicU64>) {
    let tracker = TaskTracker::new();
    for _ in 0..n {
        tracker.spawn(child(Arc::clone(&ran), yields));
    }
    tracker.close();
    tracker.wait().await;
}

/// The recipe in the documentation of both types: a task that is waited for, and that a token
/// cancels.
async fn recipe(n: u64, yields: bool, ran: Arc<AtomicU64>) {
    let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
    for _ in 0..n {
        let (child, token) = (child(Arc::clone(&ran), yields), token.child_token());
        tracker.spawn(async move { token.run_until_cancelled(child).await });
    }
    tracker.close();
    tracker.wait().await;
}

async fn floor(n: u64, yields: bool, with_handle: bool, ran: Arc<AtomicU64>) {
    let crew = Crew::default();
    for _ in 0..n {
        let child = child(Arc::clone(&ran), yields);
        if with_handle {
            drop(crew.spawn(child));
        } else {
            crew.spawn_detached(child);
        }
    }
    crew.empty().await;
}

async fn handles(n: u64, yields: bool, ran: Arc<AtomicU64>) {
    let spawn = |_| tokio::spawn(child(Arc::clone(&ran), yields));
    let handles: Vec<_> = (0..n).map(spawn).collect();
    for handle in handles {
        handle.await.unwrap();
    }
}
