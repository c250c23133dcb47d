//! The cost of an exit: registered, and run with all the others, newest first.
//!
//! `n` exits in a new stack. The figure is that of one exit; each of ours runs under its own panic catch.

use async_safe_defer::SendAsyncScope;
use benches::floor::Stack;
use benches::{Bench, caught, finish, inside_a_task};
use futures::future::BoxFuture;
use moored::ExitStack;
use std::convert::Infallible;
use std::hint::black_box;

const EXITS: &[u64] = &[1, 10, 100, 1_000, 10_000];

pub(crate) fn ask(bench: &mut Bench) {
    inside_a_task(|| {
        for n in bench.sizes(EXITS) {
            exits(bench, *n);
        }
    });
}

async fn exit(n: u64) {
    black_box(n);
}

fn exits(bench: &mut Bench, n: u64) {
    bench
        .question("exit, pushed and run", n)
        .items(n)
        .each("moored: ExitStack, run", || {
            let stack = ExitStack::new();
            let body = async {
                for i in 0..n {
                    stack.defer(exit(i));
                }
                Ok::<_, Infallible>(())
            };
            finish(stack.run(body)).unwrap();
        })
        .each("moored: ExitStack, close", || {
            let stack = ExitStack::new();
            for i in 0..n {
                stack.defer(exit(i));
            }
            finish(stack.close()).unwrap();
        })
        .each("by hand: boxed closures, each panic caught", || {
            let mut stack: Vec<Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>> = Vec::new();
            for i in 0..n {
                stack.push(Box::new(move || Box::pin(exit(i))));
            }
            finish(async {
                while let Some(exit) = stack.pop() {
                    caught(exit()).await.unwrap();
                }
            });
        })
        .each("floor: exits in the frame that polls", || {
            let stack = Stack::default();
            let body = async {
                for i in 0..n {
                    stack.defer(exit(i));
                }
            };
            finish(stack.run(body)).unwrap();
        })
        .each("by hand: boxed futures (a panic loses the rest)", || {
            let mut stack: Vec<BoxFuture<'static, ()>> = Vec::new();
            for i in 0..n {
                stack.push(Box::pin(exit(i)));
            }
            finish(async {
                while let Some(exit) = stack.pop() {
                    exit.await;
                }
            });
        })
        .each("async-safe-defer: SendAsyncScope (a panic or a drop loses the rest)", || {
            let mut scope = SendAsyncScope::new();
            for i in 0..n {
                scope.defer(move || exit(i));
            }
            finish(scope.finish());
        })
        .ask();
}
