// A new stack for the exits that come afterwards.
use moored::ExitStack;

async fn outer() {
    let stack = ExitStack::new();
    stack.defer(async {});
    stack.close().await.unwrap();
    let stack = ExitStack::new();
    stack.defer(async {});
    stack.close().await.unwrap();
}

fn main() {
    drop(outer());
}
