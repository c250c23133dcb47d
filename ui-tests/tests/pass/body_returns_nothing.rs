// Its twin ends with `Ok(())`, of a type that cannot fail.
use moored::ExitStack;
use std::convert::Infallible;

async fn outer() {
    let stack = ExitStack::new();
    stack.run(async { Ok::<_, Infallible>(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
