// A scope borrowed by another task of the executor: it would be left by a task that did not enter it.
use moored::CancelScope;

async fn outer() {
    let scope = CancelScope::new();
    tokio::spawn(scope.run(async {}));
}

fn main() {
    drop(outer());
}
