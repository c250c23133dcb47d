// Its twin wraps the handle in the executor of that runtime.
use moored::TaskGroup;
use moored::rt::tokio::Tokio;
use std::convert::Infallible;

async fn outer() {
    let group: TaskGroup<'_, Infallible> = TaskGroup::new();
    let handle = tokio::runtime::Handle::current();
    group.spawn_on(&Tokio::new(handle), async { Ok(()) });
    group.run(async { Ok(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
