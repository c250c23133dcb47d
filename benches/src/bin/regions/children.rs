//! The cost of an in-task child: spawned, run and left.
//!
//! `n` is the number of children that are spawned into a new group. In the last question it is the number of idle
//! siblings beside one child that is spawned and leaves. The figure is that of one child.

use benches::floor::Group;
use benches::{Bench, finish, inside_a_task, poll, yield_once};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures_concurrency::future::FutureGroup;
use moored::TaskGroup;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::hint::black_box;
use std::pin::pin;

const CHILDREN: &[u64] = &[1, 100, 10_000, 100_000];
const SIBLINGS: &[u64] = &[1, 100, 1_000, 10_000];

pub(crate) fn ask(bench: &mut Bench) {
    inside_a_task(|| {
        for n in bench.sizes(CHILDREN) {
            started_and_left(bench, "in-task child, ready", *n, ready);
            started_and_left(bench, "in-task child, one yield", *n, once);
        }
        for n in bench.sizes(SIBLINGS) {
            one_more(bench, *n);
            one_more_without_a_value(bench, *n);
        }
    });
}

async fn ready(i: u64) -> u64 {
    black_box(i)
}

async fn once(i: u64) -> u64 {
    yield_once().await;
    black_box(i)
}

fn started_and_left<F>(
    bench: &mut Bench,
    name: &str,
    n: u64,
    child: impl Fn(u64) -> F + Copy + Send + Sync,
) where
    F: Future<Output = u64> + Send + 'static,
{
    let mut question = bench
        .question(name, n)
        .items(n)
        .each("moored: TaskGroup", || {
            let group = TaskGroup::<Infallible>::new();
            finish(group.run(async {
                for i in 0..n {
                    group.spawn(async move { Ok(child(i).await) });
                }
                Ok(())
            }))
            .unwrap();
        })
        .each("moored: without a handle", || {
            let group = TaskGroup::<Infallible>::new();
            finish(group.run(async {
                for i in 0..n {
                    group.spawn_detached(async move { Ok(child(i).await) });
                }
                Ok(())
            }))
            .unwrap();
        })
        .each("futures: FuturesUnordered<BoxFuture>", || {
            let mut all: FuturesUnordered<BoxFuture<'static, u64>> = FuturesUnordered::new();
            for i in 0..n {
                all.push(Box::pin(child(i)));
            }
            assert_eq!(finish(drain(&mut all)), n);
        })
        .each("floor: children that hold nothing of their group", || {
            let group = Group::<Infallible>::default();
            let body = async {
                for i in 0..n {
                    drop(group.spawn(async move { Ok(child(i).await) }));
                }
            };
            finish(group.run(body)).unwrap();
        })
        .each("floor: the same without a handle", || {
            let group = Group::<Infallible>::default();
            let body = async {
                for i in 0..n {
                    group.spawn_detached(async move { Ok(child(i).await) });
                }
            };
            finish(group.run(body)).unwrap();
        })
        .each("futures: FuturesUnordered, of one type", || {
            let mut all = FuturesUnordered::new();
            for i in 0..n {
                all.push(child(i));
            }
            assert_eq!(finish(drain(&mut all)), n);
        })
        .each("futures-buffered: FuturesUnordered, of one type", || {
            let mut all = futures_buffered::FuturesUnordered::new();
            for i in 0..n {
                all.push(child(i));
            }
            assert_eq!(finish(drain(&mut all)), n);
        });
    // `FutureGroup` looks at every member in each poll: it takes a minute where the others take
    // milliseconds.
    if n <= 100 {
        question = question.each("futures-concurrency: FutureGroup, of one type", || {
            let mut all = FutureGroup::new();
            for i in 0..n {
                all.insert(child(i));
            }
            assert_eq!(finish(drain(&mut pin!(all))), n);
        });
    }
    if n <= 10_000 {
        question = question.each("moro: async_scope", || {
            let scope = moro::async_scope!(|scope| {
                for i in 0..n {
                    scope.spawn(child(i));
                }
            });
            finish(scope);
        });
    }
    question.ask();
}

async fn drain(all: &mut (impl futures::Stream<Item = u64> + Unpin)) -> u64 {
    let mut left = 0;
    while all.next().await.is_some() {
        left += 1;
    }
    left
}

/// The steady state: a group that lives long, and one child that comes and goes, after the first one. Its value is
/// awaited, or its handle is dropped.
fn one_more(bench: &mut Bench, n: u64) {
    bench
        .question("one more in-task child, joined", n)
        .custom("moored: TaskGroup", |iterations, watch| {
            let group = TaskGroup::<Infallible>::new();
            let body = async {
                idle(&group, n).await;
                let one = async |i: u64| {
                    let child = group.spawn(async move { Ok(ready(i).await) });
                    black_box(child.join().await.unwrap());
                };
                one(0).await;
                watch.start();
                for i in 0..iterations {
                    one(i).await;
                }
                watch.stop();
                group.cancel();
                Ok(())
            };
            drop(finish(group.run(body)));
        })
        .custom("futures: FuturesUnordered<BoxFuture>", |iterations, watch| {
            let mut all = boxed(n);
            let mut one = |i: u64| {
                all.push(Box::pin(ready(i)));
                black_box(finish(all.next()).unwrap());
            };
            one(0);
            watch.start();
            for i in 0..iterations {
                one(i);
            }
            watch.stop();
        })
        .ask();
}

fn one_more_without_a_value(bench: &mut Bench, n: u64) {
    bench
        .question("one more in-task child, its handle dropped", n)
        .custom("moored: TaskGroup", |iterations, watch| {
            let group = TaskGroup::<Infallible>::new();
            let body = async {
                idle(&group, n).await;
                let idle = group.len();
                let one = async |i: u64| {
                    drop(group.spawn(async move {
                        ready(i).await;
                        Ok(())
                    }));
                    yield_once().await;
                };
                one(0).await;
                watch.start();
                for i in 0..iterations {
                    one(i).await;
                }
                watch.stop();
                assert_eq!(group.len(), idle);
                group.cancel();
                Ok(())
            };
            drop(finish(group.run(body)));
        })
        .custom("futures: FuturesUnordered<BoxFuture>", |iterations, watch| {
            let mut all = boxed(n);
            let mut one = |i: u64| {
                all.push(Box::pin(ready(i)));
                finish(all.next()).unwrap();
            };
            one(0);
            watch.start();
            for i in 0..iterations {
                one(i);
            }
            watch.stop();
            assert_eq!(all.len() as u64, n);
        })
        .ask();
}

async fn idle(group: &TaskGroup<'_, Infallible>, n: u64) {
    for _ in 0..n {
        group.spawn(pending::<Result<(), _>>());
    }
    yield_once().await;
}

fn boxed(n: u64) -> FuturesUnordered<BoxFuture<'static, u64>> {
    let mut all: FuturesUnordered<BoxFuture<'static, u64>> = FuturesUnordered::new();
    for _ in 0..n {
        all.push(Box::pin(pending()));
    }
    assert!(poll(pin!(all.next())).is_pending());
    all
}
