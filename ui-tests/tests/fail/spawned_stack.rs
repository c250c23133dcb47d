// A stack borrowed by another task of the executor, which would register exits in it.
use moored::ExitStack;

async fn outer() {
    let stack = ExitStack::new();
    let borrowed = &stack;
    tokio::spawn(async move { borrowed.defer(async {}) });
}

fn main() {
    drop(outer());
}
