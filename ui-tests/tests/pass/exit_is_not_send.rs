// The values that the exit owns are `Send`.
use moored::ExitStack;
use std::sync::Arc;

async fn outer() {
    let count = Arc::new(1);
    let stack = ExitStack::new();
    stack.defer(async move { drop(count) });
    stack.close().await.unwrap();
}

fn main() {
    drop(outer());
}
