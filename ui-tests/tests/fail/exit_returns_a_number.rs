// An exit that returns a value: no caller would get it.
use moored::ExitStack;

async fn outer() {
    let stack = ExitStack::new();
    stack.defer(async { 7 });
    stack.close().await.unwrap();
}

fn main() {
    drop(outer());
}
