// The other task has a stack of its own, and the whole shape is `Send`.
use moored::{ExitStack, Failure};
use std::convert::Infallible;

async fn outer() {
    let other = tokio::spawn(async {
        let stack = ExitStack::new();
        stack
            .run(async {
                stack.defer(async {});
                Ok::<(), Infallible>(())
            })
            .await
    });
    let left: Result<(), Failure<Infallible>> = other.await.unwrap();
    left.unwrap();
}

fn main() {
    drop(outer());
}
