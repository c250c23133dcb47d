// A body that returns nothing: a stack's body returns a `Result`, because its exits may fail too.
use moored::ExitStack;

async fn outer() {
    let stack = ExitStack::new();
    let _ = stack.run(async {}).await;
}

fn main() {
    drop(outer());
}
