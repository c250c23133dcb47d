// It is used, and put back by its drop.
use moored::ExitStack;

async fn outer() {
    let stack = ExitStack::new();
    let mut held = stack.hold(Vec::<u8>::new(), |_| async {});
    held.push(1);
    drop(held);
    stack.close().await.unwrap();
}

fn main() {
    drop(outer());
}
