// The other task takes a handle, which can ask but neither enter nor leave.
use moored::CancelScope;

async fn outer() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    tokio::spawn(async move { handle.cancel() });
    scope.run(async {}).await.unwrap();
}

fn main() {
    drop(outer());
}
