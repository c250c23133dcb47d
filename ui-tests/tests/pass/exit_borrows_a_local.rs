// An exit owns its values.
use moored::ExitStack;

async fn outer() {
    let word = String::from("owned");
    let stack = ExitStack::new();
    stack.defer(async move { drop(word.len()) });
    stack.close().await.unwrap();
}

fn main() {
    drop(outer());
}
