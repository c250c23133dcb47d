// An exit that borrows: it may run after the body that it borrows from was dropped.
use moored::ExitStack;

async fn outer() {
    let word = String::from("borrowed");
    let stack = ExitStack::new();
    let borrowed = &word;
    stack.defer(async move { drop(borrowed.len()) });
    stack.close().await.unwrap();
}

fn main() {
    drop(outer());
}
