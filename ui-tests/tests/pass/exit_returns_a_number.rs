// Its twin returns nothing, or a `Result`.
use moored::ExitStack;

async fn outer() {
    let stack = ExitStack::new();
    stack.defer(async {
        let _ = 7;
    });
    stack.defer(async { Err::<(), _>("the pool is gone") });
    stack.close().await.unwrap();
}

fn main() {
    drop(outer());
}
