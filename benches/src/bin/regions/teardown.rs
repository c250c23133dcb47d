//! The cost of ending a whole group: `n` children on an executor, with three exits each, cancelled and left.
//!
//! The figure is that of one child, from its spawn to the end of its last exit.

use benches::floor::{Crew, Stack, task};
use benches::{Bench, Runtimes, caught};
use futures::future::BoxFuture;
use moored::rt::tokio::Tokio;
use moored::{ExitStack, TaskGroup};
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_graceful_shutdown::{SubsystemBuilder, SubsystemHandle, Toplevel};
use tokio_util::sync::CancellationToken;

const SIZES: &[u64] = &[10, 100, 1_000, 10_000];

/// Counts children that started and exits that ran.
#[derive(Default)]
struct Counts {
    started: AtomicU64,
    exits: AtomicU64,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) fn ask(bench: &mut Bench) {
    let runtimes = Runtimes::new().unwrap();
    for n in bench.sizes(SIZES) {
        let current = |work: Work| runtimes.current.block_on(work);
        tear_down(bench, "a child with 3 exits, cancelled and left, current thread", *n, &current);
        let two = |work: Work| on_a_worker(&runtimes.two, work);
        tear_down(bench, "a child with 3 exits, cancelled and left, two workers", *n, &two);
    }
}

fn on_a_worker(runtime: &Runtime, work: Work) {
    runtime.block_on(async { tokio::spawn(work).await.unwrap() });
}

fn tear_down(bench: &mut Bench, name: &str, n: u64, run: &dyn Fn(Work)) {
    let all_left = |work: &dyn Fn(Arc<Counts>) -> Work| {
        let counts = Arc::new(Counts::default());
        run(work(Arc::clone(&counts)));
        assert_eq!(counts.exits.load(Ordering::Relaxed), 3 * n);
    };
    bench
        .question(name, n)
        .items(n)
        .each("moored: TaskGroup, ExitStack", || {
            all_left(&|counts| Box::pin(moored::task(group(n, counts))));
        })
        .each("by hand: JoinSet, a token each, boxed closures, each panic caught", || {
            all_left(&|counts| Box::pin(by_hand(n, counts)));
        })
        .each("tokio + tokio-util: JoinSet, token (no exits: three awaits at the end)", || {
            all_left(&|counts| Box::pin(without_exits(n, counts)));
        })
        .each("floor: value and region of a child in one, exits in the frame that polls", || {
            all_left(&|counts| Box::pin(task(floor(n, counts))));
        })
        .each("tokio-graceful-shutdown: subsystems (no exits: three awaits at the end)", || {
            all_left(&|counts| Box::pin(subsystems(n, counts)));
        })
        .ask();
}

async fn exit(counts: Arc<Counts>) {
    counts.exits.fetch_add(1, Ordering::Relaxed);
}

/// Children are cancelled where they wait, not before they have started.
async fn all_started(n: u64, counts: &Counts) {
    while counts.started.load(Ordering::Relaxed) < n {
        tokio::task::yield_now().await;
    }
}

async fn group(n: u64, counts: Arc<Counts>) {
    let spawner = Tokio::current();
    let group = TaskGroup::<Infallible>::new();
    let body = async {
        for _ in 0..n {
            let counts = Arc::clone(&counts);
            group.spawn_on(&spawner, async move {
                let stack = ExitStack::new();
                let body = async {
                    for _ in 0..3 {
                        stack.defer(exit(Arc::clone(&counts)));
                    }
                    counts.started.fetch_add(1, Ordering::Relaxed);
                    pending::<Result<(), Infallible>>().await
                };
                drop(stack.run(body).await);
                Ok(())
            });
        }
        all_started(n, &counts).await;
        group.cancel();
        Ok(())
    };
    drop(group.run(body).await);
}

async fn without_exits(n: u64, counts: Arc<Counts>) {
    let (mut set, token) = (JoinSet::new(), CancellationToken::new());
    for _ in 0..n {
        let (counts, token) = (Arc::clone(&counts), token.clone());
        set.spawn(async move {
            counts.started.fetch_add(1, Ordering::Relaxed);
            token.run_until_cancelled(pending::<()>()).await;
            for _ in 0..3 {
                exit(Arc::clone(&counts)).await;
            }
        });
    }
    all_started(n, &counts).await;
    token.cancel();
    while let Some(joined) = set.join_next().await {
        joined.unwrap();
    }
}

/// The tear-down written by hand: a token for each child, so that one can be cancelled alone; exits in boxed closures, each
/// under its own catch.
async fn by_hand(n: u64, counts: Arc<Counts>) {
    let (mut set, parent) = (JoinSet::new(), CancellationToken::new());
    for _ in 0..n {
        set.spawn(with_boxed_exits(parent.child_token(), Arc::clone(&counts)));
    }
    all_started(n, &counts).await;
    parent.cancel();
    while let Some(joined) = set.join_next().await {
        joined.unwrap();
    }
}

async fn with_boxed_exits(token: CancellationToken, counts: Arc<Counts>) {
    let mut exits: Vec<Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>> = Vec::new();
    let body = async {
        for _ in 0..3 {
            let counts = Arc::clone(&counts);
            exits.push(Box::new(|| Box::pin(exit(counts))));
        }
        counts.started.fetch_add(1, Ordering::Relaxed);
        pending::<()>().await;
    };
    token.run_until_cancelled(body).await;
    while let Some(exit) = exits.pop() {
        caught(exit()).await.unwrap();
    }
}

async fn floor(n: u64, counts: Arc<Counts>) {
    let crew = Crew::default();
    for _ in 0..n {
        let counts = Arc::clone(&counts);
        drop(crew.spawn(async move {
            let stack = Stack::default();
            let body = async {
                for _ in 0..3 {
                    stack.defer(exit(Arc::clone(&counts)));
                }
                counts.started.fetch_add(1, Ordering::Relaxed);
                pending::<()>().await;
            };
            drop(stack.run(body).await);
        }));
    }
    all_started(n, &counts).await;
    crew.cancel();
    crew.empty().await;
}

async fn subsystems(n: u64, counts: Arc<Counts>) {
    let all = async move |root: &mut SubsystemHandle| {
        for i in 0..n {
            let counts = Arc::clone(&counts);
            let child = async move |child: &mut SubsystemHandle| {
                counts.started.fetch_add(1, Ordering::Relaxed);
                child.on_shutdown_requested().await;
                for _ in 0..3 {
                    exit(Arc::clone(&counts)).await;
                }
                Ok::<(), std::io::Error>(())
            };
            root.start(SubsystemBuilder::new(i.to_string(), child));
        }
        all_started(n, &counts).await;
        root.request_shutdown();
    };
    Toplevel::new(all).handle_shutdown_requests(Duration::from_secs(60)).await.unwrap();
}
