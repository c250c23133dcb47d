//! What does a scope cost beside a cancellation token, and a stack of exits beside one written by hand?
//!
//! The peers run side by side in one run, because only the ratios mean anything on a machine that does other things too.
//! Everything is polled by hand, without an executor, whose costs would be in both.
#![allow(missing_docs)] // criterion's macros make public functions

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures::future::BoxFuture;
use moored::{CancelScope, ExitStack, Failure};
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio_util::sync::CancellationToken;

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn finish<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

/// Polls once inside `body`'s region, and measures what `work` does there.
fn inside_a_scope(work: impl FnOnce()) {
    let task = moored::task(async { work() });
    finish(task);
}

/// A region, or a token, around work that is ready at once: the price of being cancellable.
fn around_a_ready_future(c: &mut Criterion) {
    let mut group = c.benchmark_group("around a ready future");
    group.bench_function("moored: new scope, run, leave; alone", |b| {
        b.iter(|| finish(CancelScope::new().run(ready(black_box(1)))).unwrap());
    });
    inside_a_scope(|| {
        group.bench_function("moored: new scope, run, leave; inside a task", |b| {
            b.iter(|| finish(CancelScope::new().run(ready(black_box(1)))).unwrap());
        });
    });
    let parent = CancellationToken::new();
    group.bench_function("tokio-util: child token, run_until_cancelled, drop", |b| {
        b.iter(|| {
            let child = parent.child_token();
            finish(child.run_until_cancelled(ready(black_box(1)))).unwrap()
        });
    });
    group.finish();
}

/// The same around work that yields four times.
fn around_four_yields(c: &mut Criterion) {
    async fn yields() {
        for _ in 0..4 {
            let mut first = true;
            std::future::poll_fn(|_| match std::mem::take(&mut first) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            })
            .await;
        }
    }
    fn drive<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = poll(future.as_mut()) {
                return output;
            }
        }
    }
    let mut group = c.benchmark_group("around four yields");
    group.bench_function("moored: scope", |b| {
        b.iter(|| drive(CancelScope::new().run(yields())).unwrap());
    });
    let parent = CancellationToken::new();
    group.bench_function("tokio-util: child token, run_until_cancelled", |b| {
        b.iter(|| drive(parent.child_token().run_until_cancelled(yields())).unwrap());
    });
    group.finish();
}

/// The question that a hot loop asks.
fn is_cancelled(c: &mut Criterion) {
    let mut group = c.benchmark_group("is_cancelled");
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = pin!(scope.run(pending::<()>()));
    assert!(poll(run.as_mut()).is_pending());
    group.bench_function("moored: handle of a scope that runs", |b| {
        b.iter(|| black_box(&handle).is_cancelled());
    });
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let nested = inner.handle();
    let mut run = pin!(outer.run(inner.run(pending::<()>())));
    assert!(poll(run.as_mut()).is_pending());
    group.bench_function("moored: handle of a scope inside another", |b| {
        b.iter(|| black_box(&nested).is_cancelled());
    });
    let token = CancellationToken::new();
    group.bench_function("tokio-util: token", |b| b.iter(|| black_box(&token).is_cancelled()));
    let child = token.child_token();
    group.bench_function("tokio-util: child token", |b| {
        b.iter(|| black_box(&child).is_cancelled());
    });
    group.finish();
}

/// One cancellation that a hundred wait for; the waits are registered outside the measurement.
fn cancel_with_waiters(c: &mut Criterion) {
    const WAITERS: usize = 100;
    let mut group = c.benchmark_group("cancel of 100 waiters");
    group.bench_function("moored", |b| {
        b.iter_batched(
            || {
                let handle = CancelScope::new().handle();
                let mut waiters: Vec<_> = (0..WAITERS)
                    .map(|_| {
                        let handle = handle.clone();
                        Box::pin(async move { handle.cancelled().await })
                    })
                    .collect();
                for waiter in &mut waiters {
                    assert!(poll(waiter.as_mut()).is_pending());
                }
                (handle, waiters)
            },
            |(handle, waiters)| {
                handle.cancel();
                waiters
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.bench_function("tokio-util", |b| {
        b.iter_batched(
            || {
                let token = CancellationToken::new();
                let mut waiters: Vec<_> =
                    (0..WAITERS).map(|_| Box::pin(token.clone().cancelled_owned())).collect();
                for waiter in &mut waiters {
                    assert!(poll(waiter.as_mut()).is_pending());
                }
                (token, waiters)
            },
            |(token, waiters)| {
                token.cancel();
                waiters
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Exits pushed, and run newest first.
fn exits(c: &mut Criterion) {
    let mut group = c.benchmark_group("exits pushed and run");
    for exits in [1_u64, 10, 1000] {
        group.throughput(criterion::Throughput::Elements(exits));
        group.bench_with_input(BenchmarkId::new("moored: run", exits), &exits, |b, exits| {
            b.iter(|| {
                let stack = ExitStack::new();
                let left: Result<(), Failure<Infallible>> = finish(stack.run(async {
                    for exit in 0..*exits {
                        stack.defer(async move {
                            let _ = black_box(exit);
                        });
                    }
                    Ok(())
                }));
                left.unwrap();
            });
        });
        group.bench_with_input(BenchmarkId::new("moored: close", exits), &exits, |b, exits| {
            b.iter(|| {
                let stack = ExitStack::new();
                for exit in 0..*exits {
                    stack.defer(async move {
                        let _ = black_box(exit);
                    });
                }
                finish(stack.close()).unwrap();
            });
        });
        let name = BenchmarkId::new("by hand: boxed closures, catch_unwind each", exits);
        group.bench_with_input(name, &exits, |b, exits| {
            b.iter(|| {
                let mut stack: Vec<Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>> = Vec::new();
                for exit in 0..*exits {
                    stack.push(Box::new(move || {
                        Box::pin(async move {
                            let _ = black_box(exit);
                        })
                    }));
                }
                finish(async {
                    while let Some(exit) = stack.pop() {
                        let mut exit = exit();
                        let caught = std::future::poll_fn(move |cx| {
                            match catch_unwind(AssertUnwindSafe(|| exit.as_mut().poll(cx))) {
                                Ok(polled) => polled.map(Ok),
                                Err(panic) => Poll::Ready(Err(panic)),
                            }
                        });
                        assert!(caught.await.is_ok());
                    }
                });
            });
        });
        let name = BenchmarkId::new("by hand: boxed futures, nothing caught", exits);
        group.bench_with_input(name, &exits, |b, exits| {
            b.iter(|| {
                let mut stack: Vec<BoxFuture<'static, ()>> = Vec::new();
                for exit in 0..*exits {
                    stack.push(Box::pin(async move {
                        let _ = black_box(exit);
                    }));
                }
                finish(async {
                    while let Some(exit) = stack.pop() {
                        exit.await;
                    }
                });
            });
        });
    }
    group.finish();
}

criterion_group!(
    scope_and_stack,
    around_a_ready_future,
    around_four_yields,
    is_cancelled,
    cancel_with_waiters,
    exits
);
criterion_main!(scope_and_stack);
