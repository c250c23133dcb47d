// A stack after `close`, which consumes it.
use moored::ExitStack;

async fn outer() {
    let stack = ExitStack::new();
    stack.defer(async {});
    stack.close().await.unwrap();
    stack.defer(async {});
}

fn main() {
    drop(outer());
}
