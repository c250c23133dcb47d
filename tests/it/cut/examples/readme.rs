use moored::{BoxError, CancelScope, ExitStack};
use std::time::Duration;

pub(crate) async fn main() {
    let scope = CancelScope::new().timeout(Duration::from_millis(10));
    let stack = ExitStack::new();
    let body = async {
        println!("begin");
        stack.defer(async { println!("roll back") }); // printed however this body ends
        std::future::pending::<Result<(), BoxError>>().await
    };
    let cancelled = scope.run(stack.run(body)).await.unwrap_err();
    println!("{cancelled}"); // cancelled: deadline passed (at src/main.rs:13:27)
}
