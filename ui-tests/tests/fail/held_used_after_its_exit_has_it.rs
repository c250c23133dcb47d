// A value that was given back: at any time either the holder has it or its exit does.
use moored::ExitStack;

async fn outer() {
    let stack = ExitStack::new();
    let mut held = stack.hold(Vec::<u8>::new(), |_| async {});
    drop(held);
    held.push(1);
    stack.close().await.unwrap();
}

fn main() {
    drop(outer());
}
