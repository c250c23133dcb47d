//! The cost of bodies that wait once, as real ones do: a request, and each of its parts alone.
//!
//! A request is a task with a deadline, a stack with two exits, and a group with one child that is joined. The child
//! waits once, and so everything around it does.

use benches::floor::{self, Group, Scope, Stack};
use benches::{Bench, ChildTokens, Runtimes, caught, finish, inside_a_task, yield_once};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use moored::{CancelScope, ExitStack, TaskGroup, move_on_after};
use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn ask(bench: &mut Bench) {
    let runtimes = Runtimes::new().unwrap();
    let _inside = runtimes.current.enter();
    inside_a_task(|| {
        scope(bench);
        time_out(bench);
        stack(bench);
        group(bench);
        request(bench);
    });
}

async fn one() -> u64 {
    yield_once().await;
    black_box(1)
}

fn scope(bench: &mut Bench) {
    let tokens = ChildTokens::chain(0);
    let parent = tokens.innermost();
    bench
        .question("scope, one yield", 1)
        .each("moored: scope", || finish(CancelScope::new().run(one())).unwrap())
        .each("tokio-util: child token, run_until_cancelled", || {
            finish(parent.child_token().run_until_cancelled(one())).unwrap()
        })
        .each("floor: a scope without a handle", || finish(Scope::default().run(one())).unwrap())
        .ask();
}

fn time_out(bench: &mut Bench) {
    bench
        .question("move_on_after, one yield", 1)
        .each("moored: move_on_after", || finish(move_on_after(HOUR, one())).unwrap())
        .each("tokio: timeout", || finish(tokio::time::timeout(HOUR, one())).unwrap())
        .each("floor: the timer in the future", || finish(floor::timed(HOUR, one())).unwrap())
        .ask();
}

fn stack(bench: &mut Bench) {
    bench
        .question("stack with two exits, one yield", 1)
        .each("moored: ExitStack", || finish(two_exits(one())))
        .each("by hand: boxed closures, each panic caught", || finish(two_closures(one())))
        .each("floor: exits in the frame that polls", || finish(floor_two_exits(one())))
        .ask();
}

fn group(bench: &mut Bench) {
    bench
        .question("group with one child, one yield", 1)
        .each("moored: TaskGroup", || finish(one_child()))
        .each("futures: FuturesUnordered<BoxFuture>", || finish(one_future()))
        .each("floor: children that hold nothing of their group", || finish(floor_one_child()))
        .ask();
}

fn request(bench: &mut Bench) {
    bench
        .question("a request, one yield", 1)
        .each("moored: task, move_on_after, ExitStack, TaskGroup", || {
            finish(moored::task(move_on_after(HOUR, two_exits(one_child())))).unwrap()
        })
        .each("by hand: timeout, boxed closures, FuturesUnordered<BoxFuture>", || {
            finish(tokio::time::timeout(HOUR, two_closures(one_future()))).unwrap()
        })
        .each("floor: its parts", || {
            finish(floor::task(floor::timed(HOUR, floor_two_exits(floor_one_child())))).unwrap()
        })
        .ask();
}

async fn two_exits<T>(body: impl Future<Output = T>) -> T {
    let stack = ExitStack::new();
    let body = async {
        for exit in 0..2 {
            stack.defer(async move { _ = black_box(exit) });
        }
        Ok::<_, Infallible>(body.await)
    };
    stack.run(body).await.unwrap()
}

async fn two_closures<T>(body: impl Future<Output = T>) -> T {
    let mut stack: Vec<Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>> = Vec::new();
    for exit in 0..2 {
        stack.push(Box::new(move || Box::pin(async move { _ = black_box(exit) })));
    }
    let value = body.await;
    while let Some(exit) = stack.pop() {
        caught(exit()).await.unwrap();
    }
    value
}

async fn floor_two_exits<T>(body: impl Future<Output = T>) -> T {
    let stack = Stack::default();
    let body = async {
        for exit in 0..2 {
            stack.defer(async move { _ = black_box(exit) });
        }
        body.await
    };
    stack.run(body).await.unwrap()
}

async fn one_child() -> u64 {
    let group = TaskGroup::<Infallible>::new();
    let body = async { Ok(group.spawn(async { Ok(one().await) }).join().await.unwrap()) };
    group.run(body).await.unwrap()
}

async fn one_future() -> u64 {
    let mut all: FuturesUnordered<BoxFuture<'static, u64>> = FuturesUnordered::new();
    all.push(Box::pin(one()));
    all.next().await.unwrap()
}

async fn floor_one_child() -> u64 {
    let group = Group::<Infallible>::default();
    let body = async { group.spawn(async { Ok(one().await) }).await.unwrap() };
    group.run(body).await.unwrap()
}
