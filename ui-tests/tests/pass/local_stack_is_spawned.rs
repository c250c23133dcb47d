// On a runtime of one thread it is at home.
use moored::local::ExitStack;
use std::convert::Infallible;
use std::rc::Rc;

async fn outer() {
    tokio::task::spawn_local(async {
        let stack = ExitStack::new();
        let count = Rc::new(1);
        stack.defer(async move { drop(count) });
        let _ = stack.run(async { Ok::<(), Infallible>(()) }).await;
    });
}

fn main() {
    drop(outer());
}
