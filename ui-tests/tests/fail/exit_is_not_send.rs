// An exit that is not `Send`: the region that adopts it may run it on another thread.
use moored::ExitStack;
use std::rc::Rc;

async fn outer() {
    let count = Rc::new(1);
    let stack = ExitStack::new();
    stack.defer(async move { drop(count) });
    stack.close().await.unwrap();
}

fn main() {
    drop(outer());
}
